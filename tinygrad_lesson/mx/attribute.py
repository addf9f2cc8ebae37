"""`mx.attribute`: attributes that nodes get inside a `with` block."""

from __future__ import annotations

from tinygrad_lesson.mxnet.naming import AttrScope

__all__ = ["AttrScope"]
