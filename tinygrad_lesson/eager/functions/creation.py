"""New tensors, with NumPy's parameters and element types: float64 unless another is asked for, as `Tensor([1.0])`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, Context, at
from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import known, made, tensor
from tinygrad_lesson.eager.given import devices, numbers_in
from tinygrad_lesson.eager.tensor import Tensor

Shape = int | Sequence[int]


def full(shape: Shape, fill_value: Any = 0.0, dtype: Any = None, *, device: Context | None = None) -> Any:
    """A tensor filled with one number, whose element type it takes where none is given."""
    if device is not None:
        with at(device):
            return full(shape, fill_value, dtype)
    if isinstance(fill_value, float | np.floating):
        own = np.result_type(type(fill_value))
        return F.full(shape=sizes(shape), value=float(fill_value), dtype=str(np.dtype(dtype or own)))
    return F.broadcast_to(cast_to(tensor(fill_value), dtype), shape=sizes(shape))


def sizes(shape: Shape) -> tuple[int, ...]:
    """A shape as a tuple."""
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)


def cast_to(x: Tensor, dtype: Any) -> Tensor:
    """`x` in another element type, if one is wanted."""
    return x if dtype is None else x.astype(dtype)  # type: ignore[no-any-return]


def as_in_pytorch(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes a tensor, which takes `requires_grad`, and sizes one by one if it takes a shape alone."""
    by_size = list(inspect.signature(function).parameters)[:2] == ["shape", "dtype"]

    @functools.wraps(function)
    def spelled(*given: Any, requires_grad: bool = False, **named: Any) -> Any:
        apart = by_size and len(given) > 1 and all(isinstance(n, int | np.integer) for n in given)
        x = function(*(given,) if apart else given, **named)
        return x.requires_grad_() if requires_grad else x

    return spelled


def filled(name: str, value: float) -> Callable[..., Any]:
    """`zeros` or `ones`."""

    def function(shape: Shape, dtype: Any = None, *, device: Context | None = None) -> Any:
        return full(shape, value, np.float64 if dtype is None else dtype, device=device)

    function.__name__ = name
    function.__doc__ = f"A tensor of {name} of a shape, float64 unless another element type is asked for."
    return function


def filled_like(name: str, value: float) -> Callable[..., Any]:
    """`zeros_like` or `ones_like`."""

    def function(a: Any, dtype: Any = None, shape: Shape | None = None) -> Any:
        a = tensor(a)
        device = devices().device_of(a.example()) if MODULES else None
        return full(
            a.shape if shape is None else shape, value, a.dtype if dtype is None else dtype, device=device
        )

    function.__name__ = f"{name}_like"
    function.__doc__ = f"A tensor of {name} in the shape and element type of another."
    return function


def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Context | None = None
) -> Tensor:
    """Numbers from `start` up to `stop`, which is not reached; of one number alone, from 0 up to it."""
    first, end = (0, start) if stop is None else (start, stop)
    with at(device):
        return made(np.arange(known(first), known(end), known(step), dtype=dtype))


def array(
    object: Any, dtype: Any = None, copy: bool | None = True, order: str = "K", subok: bool = False, ndmin: int = 0,
    *, device: Context | None = None,
) -> Any:  # fmt: skip
    """A tensor of an array, of numbers, or of nested lists of them, tensors among them: their gradients are kept.

    It has `ndmin` axes at least: what is missing has size 1, in front. `order` and `subok` change nothing here.
    """
    if ndmin:
        x = array(object, dtype, copy, device=device)
        return F.reshape(x, shape=(*[1] * (ndmin - x.ndim), *x.shape))
    if isinstance(object, Tensor) or (isinstance(object, list | tuple) and object):
        x = tensor(object) if device is None else tensor(object).to(device)
        return F.identity(x) if x is object and dtype is None and copy else cast_to(x, dtype)
    return Tensor(object, dtype=dtype, device=device)


def asarray(a: Any, dtype: Any = None) -> Any:
    """A tensor of `a`; what is one already comes back as it is."""
    return cast_to(a, dtype) if isinstance(a, Tensor) else array(a, dtype, copy=None)


def from_dlpack(x: Any) -> Tensor:
    """A tensor of the array of another library."""
    return Tensor(numbers_in(np.from_dlpack(x), None))


CREATION: dict[str, Callable[..., Any]] = {
    "arange": arange,
    "array": array,
    "asarray": asarray,
    "empty": filled("zeros", 0.0),  # nobody may write to a tensor
    "from_dlpack": from_dlpack,
    "from_numpy": asarray,
    "full": full,
    "ones": filled("ones", 1.0),
    "ones_like": filled_like("ones", 1.0),
    "zeros": filled("zeros", 0.0),
    "zeros_like": filled_like("zeros", 0.0),
}
CREATION |= {name: as_in_pytorch(function) for name, function in CREATION.items()}
CREATION["empty_like"] = CREATION["zeros_like"]
