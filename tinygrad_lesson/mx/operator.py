"""`mx.operator`: operators of one's own, written in NumPy."""

from tinygrad_lesson.mxnet.operator import CustomOp, CustomOpProp, register

__all__ = ["CustomOp", "CustomOpProp", "register"]
