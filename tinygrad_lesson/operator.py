"""MXNet's `mx.operator`: see `mxnet/operator.py`."""

from tinygrad_lesson.mxnet.operator import *  # noqa: F403
