"""PyTorch's methods that take more than a line, or that mean something else where its own words are used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import held, own_copy
from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions import NAMES, TABLE
from tinygrad_lesson.eager.functions.table import known, known_if_shared, tensor
from tinygrad_lesson.eager.tensor import Tensor, lent
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import show


class Found(NamedTuple):
    """Elements along an axis, and where they stand."""

    values: Any
    indices: Any


class Bounds(NamedTuple):
    """The smallest and the largest element."""

    min: Any
    max: Any


class Size(int):
    """A number of elements, as NumPy has it; called, as PyTorch has it, the shape or the size along an axis."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        """The shape, or the size along `dim`."""
        return self.shape if dim is None else self.shape[dim]


def size(x: Tensor) -> Size:
    """Number of elements."""
    found = Size(np.size(x.array))
    found.shape = x.shape
    return found


def at_places(x: Any, dim: int, places: Any, keepdim: bool = True) -> Found:
    """The elements of `x` at places along `dim`; the gradient goes there."""
    pair = F.take_along_axis(x, places, axis=dim), places
    return Found(*(pair if keepdim else [F.squeeze(part, dim) for part in pair]))


def extreme(name: str) -> Callable[..., Any]:
    """`max` or `min` along an axis."""

    def function(x: Any, dim: int, keepdim: bool = False) -> Found:
        return at_places(tensor(x), dim, NAMES[f"arg{name}"](x, axis=dim, keepdims=True), keepdim)

    return function


def in_order(x: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Found:
    """`sort`: the elements in order of size, and where they stood."""
    return at_places(tensor(x), dim, NAMES["argsort"](x, axis=dim, descending=descending))


def spread(name: str) -> Callable[..., Any]:
    """`std` or `var`, which divide by one less than the number of elements."""

    def function(
        x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float = 1
    ) -> Any:
        return NAMES[name](x, axis=dim, ddof=correction if unbiased else 0, keepdims=keepdim)

    return function


def split(x: Any, size: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts of `size` elements along `dim`, the last of what is left; of a list of sizes, as many as it has."""
    x = tensor(x)
    ends = np.cumsum(size)[:-1] if isinstance(size, list | tuple) else range(size, x.shape[dim], size)
    return tuple(NAMES["split"](x, list(ends), dim))


UNLIKE: dict[str, Callable[..., Any]] = {  # what differs from NumPy's where PyTorch's words are used
    "max": extreme("max"),
    "min": extreme("min"),
    "sort": in_order,
    "split": split,
    "std": spread("std"),
    "var": spread("var"),
}


def norm(x: Any, ord: Any = 2, axis: Any = None, keepdims: bool = False, **more: Any) -> Any:
    """The length of all elements as one vector, or along `axis`; `ord` as in `tl.linalg.norm`."""
    if ord in (2, "fro", None):
        return F.norm(x, axis=axis, keepdims=keepdims, **more)
    if axis is None and keepdims:
        return norm(x, ord, **more).reshape((1,) * x.ndim)
    return TABLE["np.linalg.norm"](x.ravel() if axis is None else x, ord, axis, keepdims, **more)


def divided(x: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """`x / other`, rounded down with "floor" and towards 0 with "trunc"."""
    if rounding_mode == "floor":
        return NAMES["floor_divide"](x, other)
    if rounding_mode not in (None, "trunc"):
        raise AttributeValueError(f"div: rounding_mode is {rounding_mode!r}, expected 'floor' or 'trunc'")
    return x / other if rounding_mode is None else F.trunc(x / other)


def along(x: Any, dim: int, index: Any) -> Any:
    """The places of `x` whose numbers along `dim` an array holds, and whose others are its own.

    Errors
        ShapeError for an array with another number of axes.
    """
    index = known_if_shared(index)
    if index.ndim != x.ndim:
        raise ShapeError(f"scatter: index has {index.ndim} axes, expected {x.ndim} as {show(x.shape)}")
    key = list(np.indices(index.shape, sparse=True))
    key[dim] = index
    return x.at[tuple(key)]


def part(source: Any, index: Any) -> Any:
    """As much of `source` as `index` has places."""
    return source[tuple(map(slice, np.shape(index)))] if np.ndim(source) else source


def slices(x: Any, dim: int, index: Any) -> Any:
    """The slices of `x` whose numbers along `dim` a vector holds."""
    return x.at[(*(slice(None),) * (dim % x.ndim), known(index))]


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """`x` with the first elements of `source` where `mask` holds."""
    mask = np.broadcast_to(known(mask), x.shape)
    return x.at[mask].set(tensor(source).ravel()[: int(mask.sum())])


def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """`x` with `values` at an index of arrays, set or added."""
    places = x.at[tuple(indices)]
    return places.add(values) if accumulate else places.set(values)


def plus_product(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``beta * x + alpha * a @ b``."""
    return beta * x + alpha * (a @ b)


def random(name: str) -> Callable[..., Any]:
    """Random numbers in the shape and element type of a tensor, by PyTorch's parameters in their order."""

    def function(x: Any, *parameters: float) -> Any:
        drawing = importlib.import_module("tinygrad_lesson.eager.functions.drawing")
        return drawing.RANDOM[name](*parameters, size=x.shape).astype(x.dtype)

    return function


def stride(x: Tensor, dim: int | None = None) -> Any:
    """How many elements lie between one and the next along each axis, or along `dim`."""
    found = tuple(n // x.dtype.itemsize for n in held(x.array).strides)
    return found if dim is None else found[dim]


def unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of `size` elements along an axis, one every `step` elements, along a new last axis."""
    windows = TABLE["np.lib.stride_tricks.sliding_window_view"](x, size, dimension)
    return windows[(*(slice(None),) * (dimension % x.ndim), slice(None, None, step))]


def fill(x: Any, value: Any) -> None:
    """`x.fill_(value)`, which gives nothing back in NumPy."""
    x.fill_(value)


def set_data(x: Tensor, new: Any) -> None:
    """Give a leaf other elements."""
    array = new.seen("x.data = y") if isinstance(new, Tensor) else held(new)
    x.value = array if array is x.array else own_copy(array)


PYTORCH: dict[str, Callable[..., Any]] = {
    "fill": fill,
    "stride": stride,
    "unfold": unfold,
    "div": divided,
    "divide": divided,
    "scatter": lambda x, dim, index, src: along(x, dim, index).set(part(src, index)),
    "scatter_add": lambda x, dim, index, src: along(x, dim, index).add(part(src, index)),
    "index_add": lambda x, dim, index, source, *, alpha=1: slices(x, dim, index).add(alpha * source),
    "index_fill": lambda x, dim, index, value: slices(x, dim, index).set(value),
    "index_put": index_put,
    "masked_scatter": masked_scatter,
    "addmm": plus_product,
    "addmv": plus_product,
    "baddbmm": plus_product,
    "addr": lambda x, a, b, *, beta=1, alpha=1: beta * x + alpha * NAMES["outer"](a, b),
    "addcmul": lambda x, a, b, *, value=1: x + value * a * b,
    "addcdiv": lambda x, a, b, *, value=1: x + value * a / b,
    "aminmax": lambda x, *, dim=None, keepdim=False: Bounds(
        NAMES["min"](x, axis=dim, keepdims=keepdim), NAMES["max"](x, axis=dim, keepdims=keepdim)
    ),
    "cdist": lambda x, y, p=2.0: TABLE["np.linalg.norm"](
        tensor(x)[..., :, None, :] - tensor(y)[..., None, :, :], p, -1
    ),
    "bernoulli": lambda x: importlib.import_module("tinygrad_lesson.eager.functions.drawing")
    .RANDOM["bernoulli"](x.detach())
    .astype(x.dtype),
}  # fmt: skip
RANDOM = {
    "normal_": random("normal"),
    "uniform_": random("uniform"),
    "bernoulli_": random("bernoulli"),
    "exponential_": lambda x, lambd=1.0: random("exponential")(x, 1 / lambd),
}
DATA = property(lambda x: lent(x.value), set_data, doc="The elements as a tensor that no graph records.")
