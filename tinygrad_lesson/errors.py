"""The errors: see `engine/errors.py`."""

from tinygrad_lesson.engine.errors import *  # noqa: F403
