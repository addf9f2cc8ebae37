"""What an op is: see `engine/op.py`."""

from tinygrad_lesson.engine.op import *  # noqa: F403
