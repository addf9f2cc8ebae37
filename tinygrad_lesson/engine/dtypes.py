"""Element types: which a result has, and in which one sums keep their digits."""

from __future__ import annotations

from typing import Any

import numpy as np

DType = np.dtype[Any] | None
NUMBERS = frozenset((bool, int, float, complex))


def floating(dtype: DType) -> DType:
    """`dtype`, or float64 in the place of integers."""
    return dtype if dtype is None or dtype.kind in "fc" else np.dtype(float)


HALF = np.dtype(np.float16)


def has_room(dtype: DType) -> bool:
    """Whether sums in this type keep their digits: in integers they may overflow, in half precision they do both."""
    return dtype is None or (dtype.kind in "fc" and dtype.itemsize > 2)


def roomy(dtype: DType) -> DType:
    """The type in which numbers of `dtype` are added up: float64 for integers, single precision for half."""
    return np.dtype(np.float32) if dtype == HALF else floating(dtype)


def summed(dtype: DType) -> DType:
    """Element type of a sum, which for short integers is a wider one, as in NumPy."""
    return None if dtype is None else np.sum(np.empty(0, dtype)).dtype


def in_type(xp: Any, x: Any, dtype: DType) -> Any:
    """`x` in another element type; itself if it has that one, or is Python's number, which adapts."""
    if type(x) in NUMBERS or x.dtype == dtype:
        return x
    if dtype == np.bool:
        return xp.not_equal(x, 0)
    return xp.positive(x, dtype=dtype, casting="unsafe")


def copied(xp: Any, x: Any, out: Any = None) -> Any:
    """A copy of `x` that lies as `x` does, its bytes in this machine's order, or in `out`."""
    if out is None and x.dtype.isnative:
        return x.copy("K")  # in a third of the time that `positive` takes
    return xp.logical_or(x, x, out=out) if x.dtype.kind == "b" else xp.positive(x, out=out)  # no truth values


def with_room(xp: Any, x: Any) -> Any:
    """`x` in a type in which sums and differences of it keep their digits."""
    dtype = getattr(x, "dtype", None)
    return x if dtype is None or dtype.char in "fdgFDG" else in_type(xp, x, roomy(dtype))


def rounded(xp: Any, y: Any, dtype: DType) -> Any:
    """A result that was computed with room, in half precision where that is its type."""
    return in_type(xp, y, dtype) if dtype == HALF else y


def dtype_of(x: Any) -> DType:
    """Element type of an array; None for Python's number, which adapts."""
    return getattr(x, "dtype", None)
