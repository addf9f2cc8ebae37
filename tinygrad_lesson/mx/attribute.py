"""`mx.attribute`: attributes that nodes get inside a `with` block."""

from tinygrad_lesson.mxnet.naming import AttrScope

__all__ = ["AttrScope"]
