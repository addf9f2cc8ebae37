"""`mx.name`: names that nodes get when the user gives none."""

from __future__ import annotations

from tinygrad_lesson.mxnet.naming import NameManager, Prefix

__all__ = ["NameManager", "Prefix"]
