"""MXNet's `.params` files: see `mxnet/params.py`."""

from __future__ import annotations

from tinygrad_lesson.mxnet.params import *  # noqa: F403
