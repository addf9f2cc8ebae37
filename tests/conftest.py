"""How much hypothesis tries: HYPOTHESIS_PROFILE is `default`, for every change, or `nightly`."""

import os

from hypothesis import settings

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
