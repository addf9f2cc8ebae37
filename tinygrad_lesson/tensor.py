"""The eager face: see `eager/tensor.py`."""

from tinygrad_lesson.eager.tensor import *  # noqa: F403
