"""The symbolic face: see `mxnet/`."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson import mxnet
from tinygrad_lesson.mxnet import *  # noqa: F403
from tinygrad_lesson.mxnet import __dir__  # noqa: F401

__all__ = mxnet.__all__


def __getattr__(name: str) -> Any:
    return getattr(mxnet, name)
