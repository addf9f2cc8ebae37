"""`mx.base`: the error that scripts of MXNet catch, and a few kinds of value."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.mxnet.asked import NotImplementedForSymbol

MXNetError = LessonError
mx_real_t = np.float32
mx_uint = int
_Null = None  # what an attribute is that is not given
string_types = (str,)
numeric_types, integer_types = (float, int, np.generic), (int, np.integer)


def py_str(x: bytes) -> str:
    """A name that MXNet hands to a callback, as text."""
    return x.decode()


def _as_list(found: Any) -> list[Any]:
    """A list of it, if it is none."""
    return list(found) if isinstance(found, list | tuple) else [found]


__all__ = [
    "MXNetError", "NotImplementedForSymbol", "integer_types", "mx_real_t", "mx_uint", "numeric_types", "py_str",
    "string_types",
]  # fmt: skip
