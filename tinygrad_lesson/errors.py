"""The errors: see `engine/errors.py`."""

from __future__ import annotations

from tinygrad_lesson.engine.errors import *  # noqa: F403
