"""MXNet's `.params` files: see `mxnet/params.py`."""

from tinygrad_lesson.mxnet.params import *  # noqa: F403
