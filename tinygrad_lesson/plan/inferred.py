"""What a NumPy call gives, as far as shape and element type go, and which calls a trace may hold."""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.shapes import broadcast, reduced, reduced_axes

CREATING = {"arange", "asarray", "empty", "eye", "full", "identity", "linspace", "ones", "tri", "zeros"}
SMALL = 1 << 16  # bytes of an array that may as well be there
LIBRARY = set(
    """
    argmax argmin argsort array astype broadcast_to clip concatenate copy cumprod cumsum diag diagonal dot einsum
    empty_like expand_dims flip full_like imag inner kron matmul mean median moveaxis nan_to_num ones_like outer pad
    ptp ravel real repeat reshape roll round shape size ndim sort split squeeze stack std swapaxes take
    take_along_axis tensordot tile trace transpose tril triu var where zeros_like array_split atleast_1d
    atleast_2d hstack vstack [] result_type
    """.split()  # noqa: SIM905
)  # functions whose results have the same shape whatever the numbers


class NotTraceableError(LessonError):
    """An op did something that is no fixed list of NumPy calls."""


def inferred(name: str, function: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What a call gives, as far as shape and element type go.

    Rules for ufuncs and reductions, which are most; whatever else is called, on zeros.
    """
    ufunc = getattr(np, name.partition(".")[0], None)
    if isinstance(ufunc, np.ufunc) and ufunc.signature is None and ufunc.nout == 1:
        if name.endswith(".reduce"):
            return reduction(ufunc, *inputs, **named)
        if "." not in name and not named.keys() - {"dtype", "casting"}:
            shape = broadcast(*[np.shape(x) for x in inputs])
            types = [type(x) if type(x) in (bool, int, float, complex) else np.result_type(x) for x in inputs]
            types = [np.dtype(bool) if t is bool else t for t in types]
            dtype = named.get("dtype") or ufunc.resolve_dtypes((*types, None))[-1]
            return blank(shape, np.dtype(dtype))
    if name == "matmul" and min(map(np.ndim, inputs)) > 1:
        (*batch, m, _), (*other, _, n) = (np.shape(x) for x in inputs)
        return blank((*broadcast(tuple(batch), tuple(other)), m, n), np.result_type(*inputs))
    if not is_known(name):
        raise NotTraceableError(f"calls np.{name}, whose result may have another shape for other numbers")
    try:
        return function(*inputs, **named)
    except Exception as error:
        raise NotTraceableError(f"calls np.{name}, which says: {error}") from error


def is_known(name: Any) -> bool:
    """Whether a trace may hold this call; what a file names is not called unless it is."""
    ufunc, _, method = str(name).partition(".")
    if isinstance(getattr(np, ufunc, None), np.ufunc):
        return method in ("", "reduce", "accumulate", "outer")
    return name in LIBRARY or name in CREATING or name == "copyto"


def reduction(
    ufunc: np.ufunc, x: Any, axis: Any = 0, dtype: Any = None, keepdims: bool = False, **named: Any
) -> Any:
    """What a reduction gives."""
    shape = reduced(np.shape(x), reduced_axes(np.ndim(x), axis), keepdims)
    if named.get("initial") is None and ufunc.identity is None and 0 in np.shape(x):
        return ufunc.reduce(x, axis=axis, keepdims=keepdims)  # which says that it has none
    one = np.zeros((1,) * max(1, np.ndim(x)), np.result_type(x))
    return blank(shape, ufunc.reduce(one, axis=None, dtype=dtype).dtype)


def blank(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array in memory that nobody reads, so that it need not be there."""
    size = math.prod(shape) * dtype.itemsize
    return np.ndarray(shape, dtype, mmap.mmap(-1, size)) if size > SMALL else np.zeros(shape, dtype)  # type: ignore[arg-type]
