"""Elements in other places: shapes, axes, orders, parts of arrays and arrays put together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import cast, known, like, moved, numbers_of, picked, tensor
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import normalize_axes, normalize_axis

Axes = int | tuple[int, ...] | None


# Shapes and axes.


@like("ravel")
def ravel(a: Any, order: str = "C") -> Any:
    """The elements as one vector, row by row; with order "F" column by column."""
    return reshape(a, -1, order)


@like("lib.stride_tricks.sliding_window_view")
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, **named: Any) -> Any:
    """All windows of a shape, along new last axes."""
    return moved(np.lib.stride_tricks.sliding_window_view, x, window_shape, axis, **named)


@like("reshape")
def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """The same elements under another shape; one size may be -1. With order "F" the first axis counts fastest."""
    a = tensor(a)
    if order == "F":
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        return F.transpose(F.reshape(F.transpose(a), shape=sizes[::-1]))
    return F.reshape(a, shape=shape)


@like("moveaxis")
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Axes at other places; the others stay in their order."""
    a = tensor(a)
    np.moveaxis(np.empty((1,) * a.ndim), source, destination)  # which refuses what is wrong
    sources, targets = (
        [normalize_axis(i, a.ndim) for i in np.ravel(s).tolist()] for s in (source, destination)
    )
    rest = [i for i in range(a.ndim) if i not in sources]
    for target, i in sorted(zip(targets, sources, strict=True)):
        rest.insert(target, i)
    return F.transpose(a, axes=tuple(rest))


@like("rollaxis")
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """One axis before axis `start`; `moveaxis` says it more plainly."""
    a = tensor(a)
    axis, start = normalize_axis(axis, a.ndim), start + a.ndim if start < 0 else start
    return moveaxis(a, axis, start - 1 if axis < start else start)


def axes_together(function: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse axes that are given one by one, which mean one thing to NumPy's arrays and another to PyTorch."""

    @functools.wraps(function)
    def checked(a: Any, *axes: Any, **named: Any) -> Any:
        if len(axes) > 1:
            name, told = function.__name__, ", ".join(map(str, axes))
            raise AttributeValueError(
                f"{name}: axes are one tuple, as in {name}(x, ({told})); swapaxes(x, {told}) exchanges two"
            )
        return function(a, *axes, **named)

    return checked


@like("transpose", "permute_dims")
@axes_together
def transpose(a: Any, axes: Any = None) -> Any:
    """Axes in another order, reversed by default."""
    return F.transpose(tensor(a), axes=axes)


@like("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    return F.swapaxes(tensor(x), -1, -2)


@like("swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    return F.swapaxes(tensor(a), axis1, axis2)


@like("expand_dims")
def expand_dims(a: Any, axis: Any) -> Any:
    """New axes of size 1, at these places of the result."""
    a = tensor(a)
    count = 1 if isinstance(axis, int) else len(axis)
    for i in sorted(normalize_axes(axis, a.ndim + count)):
        a = F.expand_dims(a, axis=i)
    return a


@like("squeeze")
def squeeze(a: Any, axis: Axes = None) -> Any:
    """Without axes of size 1: all of them, or those named."""
    return F.squeeze(tensor(a), axis=axis)


def atleast(rank: int) -> Callable[..., Any]:
    """`atleast_1d`, `atleast_2d` and `atleast_3d`."""
    numpys = getattr(np, f"atleast_{rank}d")

    def function(*arys: Any) -> Any:
        made = [F.reshape(x, shape=numpys(np.empty(x.shape)).shape) for x in map(tensor, arys)]
        return made[0] if len(made) == 1 else tuple(made)

    function.__name__ = f"atleast_{rank}d"
    function.__doc__ = f"Arrays with at least {rank} axes: what is missing has size 1, at NumPy's places."
    return like(f"atleast_{rank}d")(function)


atleast_1d, atleast_2d, atleast_3d = map(atleast, (1, 2, 3))


@like("broadcast_to")
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """`array` repeated along axes of size 1, or along new axes in front."""
    return F.broadcast_to(tensor(array), shape=(shape,) if isinstance(shape, int) else tuple(shape))


@like("broadcast_arrays")
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    """Arrays repeated to their common shape."""
    if any(x is None for x in args):  # as matplotlib does
        return np.broadcast_arrays(*[known(x) for x in args])
    arrays = [tensor(x) for x in args]
    shape = np.broadcast_shapes(*[x.shape for x in arrays])
    return tuple(F.broadcast_to(x, shape=shape) for x in arrays)


@like("meshgrid")
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """Vectors spread over a grid, one axis for each; with indexing "xy" the first two are exchanged."""
    numbers = np.meshgrid(*[np.arange(tensor(x).size) for x in xi], sparse=sparse, indexing=indexing)  # type: ignore[call-overload]
    return tuple(picked(n, x) for n, x in zip(numbers, xi, strict=True))


# Orders.


@like("flip")
def flip(m: Any, axis: Axes = None) -> Any:
    """The elements in reverse order along `axis`, or along every axis."""
    return F.flip(tensor(m), axis=axis)


@like("flipud")
def flipud(m: Any) -> Any:
    """The rows in reverse order."""
    return F.flip(tensor(m), axis=0)


@like("fliplr")
def fliplr(m: Any) -> Any:
    """The columns in reverse order."""
    return F.flip(tensor(m), axis=1)


@like("rot90")
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Turned by 90 degrees `k` times, from the first towards the second of two axes."""
    m, k = tensor(m), k % 4
    np.rot90(np.empty((1,) * m.ndim), k, axes)  # which refuses axes that are not there
    if k == 2:
        return F.flip(m, axis=tuple(axes))
    turned = F.swapaxes(F.flip(m, axis=axes[1]) if k == 1 else m, *axes) if k else m
    return F.flip(turned, axis=axes[1]) if k == 3 else turned


@like("roll")
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved on by `shift` along `axis`, the last ones to the front; without one as one vector."""
    a = tensor(a)
    if axis is None:
        return F.reshape(roll(F.reshape(a, shape=(-1,)), shift, 0), shape=a.shape)
    for by, along in np.broadcast(shift, axis):
        along, size = int(along), a.shape[along]
        at = -int(by) % (size or 1)
        if at:
            a = F.concat(*F.split_at(a, places=(at,), axis=along)[::-1], dim=along)
    return a


# Repeated, and with margins.


@like("repeat")
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element `repeats` times in a row along `axis`; one number, or one for each."""
    a, repeats = tensor(a), known(repeats)
    if not repeats.ndim:
        return F.repeat(a, repeats=int(repeats), axis=axis)
    a = F.reshape(a, shape=(-1,)) if axis is None else a
    along = axis or 0
    return F.take(a, np.repeat(np.arange(a.shape[along]), repeats), axis=along)


@like("tile")
def tile(A: Any, reps: Any) -> Any:
    """`A` beside itself: `reps` times along each axis, counted from the last."""
    return F.tile(tensor(A), reps=reps)


@like("resize")
def resize(a: Any, new_shape: Any) -> Any:
    """The elements, repeated as often as needed, under another shape."""
    a = tensor(a)
    return moved(np.resize, a, new_shape) if a.size else tensor(np.resize(a.numpy(), new_shape))


@like("pad")
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """`array` with margins of `pad_width` before and after along each axis; the modes that move elements.

    "constant" (`constant_values`), "edge", "reflect", "symmetric", "wrap", "empty" (here zeros); "mean", "maximum",
    "minimum", "median" and "linear_ramp" compute something: put margins on with `concatenate`.
    """
    array = tensor(array)
    widths = np.asarray(pad_width)
    plain = array.size and array.ndim and widths.dtype.kind in "iu" and (widths >= 0).all()
    fill = known(kwargs.get("constant_values", 0))
    if plain and mode in ("constant", "edge") and not fill.ndim and fill.dtype.kind in "iuf":
        pairs = tuple((int(a), int(b)) for a, b in np.broadcast_to(widths, (array.ndim, 2)))
        return F.pad(array, pairs, mode, fill.item())
    if mode in ("constant", "empty"):
        filled = known(kwargs.get("constant_values", 0)) if mode == "constant" else np.array(0)
        inside = np.pad(np.ones(array.shape, bool), pad_width)  # elements; the others are margins
        numbers = np.pad(numbers_of(array), pad_width)
        margins = np.pad(np.zeros(array.shape), pad_width, constant_values=filled)
        return (
            F.where(inside, picked(numbers, array), margins.astype(array.dtype))
            if array.size
            else tensor(margins)
        )
    if mode not in ("edge", "reflect", "symmetric", "wrap") or kwargs.get("reflect_type", "even") != "even":
        raise ShapeError(f"pad: mode {mode!r} does not only move elements; put margins on with concatenate")
    return moved(np.pad, array, pad_width, mode=mode)


@like("copy")
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """The same elements; a tensor does not change, so that this is one with a name of its own."""
    return F.identity(tensor(a))


@like("astype")
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """`x` in another element type."""
    return cast(tensor(x), dtype)
