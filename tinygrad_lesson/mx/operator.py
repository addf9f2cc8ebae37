"""`mx.operator`: operators of one's own, written in NumPy."""

from __future__ import annotations

from tinygrad_lesson.mxnet.operator import CustomOp, CustomOpProp, register

__all__ = ["CustomOp", "CustomOpProp", "register"]
