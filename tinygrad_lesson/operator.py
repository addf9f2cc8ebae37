"""MXNet's `mx.operator`: see `mxnet/operator.py`."""

from __future__ import annotations

from tinygrad_lesson.mxnet.operator import *  # noqa: F403
