"""Elements chosen by numbers and masks, and put where these say."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import brought, holds_tensors, known, like, refuse, tensor
from tinygrad_lesson.engine.errors import DTypeError, ShapeError


@like("take")
def take(a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise") -> Any:
    """Parts of `a` along `axis`, one for each of `indices`; without one, elements of `a` as a vector."""
    refuse("take", out=out)
    a = tensor(a)
    a, axis = (F.reshape(a, shape=(-1,)), 0) if axis is None else (a, axis)
    return F.take(a, brought(a, indices), axis=axis, mode=mode)


@like("take_along_axis")
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """From each vector along `axis` the elements whose numbers `indices` holds; other axes broadcast."""
    arr, indices = tensor(arr), tensor(indices)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"take_along_axis: indices are {indices.dtype}, expected integers")
    if axis is None:
        return F.take_along_axis(F.reshape(arr, shape=(-1,)), indices, axis=0)
    if arr.ndim != indices.ndim:
        raise ShapeError(f"take_along_axis: indices have {indices.ndim} axes, expected {arr.ndim}")
    axis = axis % arr.ndim
    shapes = [(*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in (arr, indices)]
    common = np.broadcast_shapes(*shapes)
    whole = [(*common[:axis], x.shape[axis], *common[axis + 1 :]) for x in (arr, indices)]
    arr, indices = (F.broadcast_to(x, shape=s) for x, s in zip((arr, indices), whole, strict=True))
    return F.take_along_axis(arr, F.where(F.less(indices, 0), indices + arr.shape[axis], indices), axis=axis)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> Any:
    """`arr` with `values` at the numbers that `indices` holds along `axis`: a new tensor, where NumPy changes `arr`."""
    arr, indices = tensor(arr), known(indices)
    if axis is None:
        flat = put_along_axis(F.reshape(arr, shape=(-1,)), indices.reshape(-1), values, 0)
        return F.reshape(flat, shape=arr.shape)
    axis = axis % arr.ndim
    whole = np.broadcast_shapes(
        (*arr.shape[:axis], 1, *arr.shape[axis + 1 :]), (*indices.shape[:axis], 1, *indices.shape[axis + 1 :])
    )
    at = np.broadcast_to(indices, (*whole[:axis], indices.shape[axis], *whole[axis + 1 :]))
    key: list[Any] = list(np.indices(at.shape, sparse=True))
    key[axis] = at
    return arr.at[tuple(key)].set(values)


@like("where")
def where(condition: Any, x: Any = None, y: Any = None, /, **more: Any) -> Any:
    """`x` where `condition` holds, else `y`; without both, where it holds, as `nonzero`."""
    if x is None and y is None:
        return nonzero(condition)
    return F.where(condition, x, y, **more)


@like("select")
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The first of `choicelist` whose condition holds, else `default`."""
    if len(condlist) != len(choicelist):
        raise ShapeError(f"select: {len(condlist)} conditions for {len(choicelist)} choices")
    y = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1], strict=True):
        y = F.where(condition, choice, y)
    return y


@like("choose")
def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    """For each of the numbers `a` the element there of that one of `choices`; all broadcast."""
    refuse("choose", out=out)
    a, parts = known(a), [tensor(c) for c in choices]
    shape = np.broadcast_shapes(a.shape, *[p.shape for p in parts])
    whole = F.stack(*[F.broadcast_to(p, shape=shape) for p in parts])
    at = np.choose(np.broadcast_to(a, shape), np.arange(len(parts)), mode=mode)  # type: ignore[call-overload]
    return F.reshape(F.take_along_axis(whole, at[None], axis=0), shape=shape)


@like("compress")
def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Any:
    """The parts of `a` along `axis` for which `condition` holds; without one, of `a` as a vector."""
    refuse("compress", out=out)
    return take(a, np.flatnonzero(known(condition)), axis)


@like("extract")
def extract(condition: Any, arr: Any) -> Any:
    """The elements of `arr` for which `condition` holds, as a vector."""
    return take(arr, np.flatnonzero(known(condition)))


@like("trim_zeros")
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """Without the zeros in front ("f") and at the back ("b")."""
    x = tensor(filt)
    found = np.argwhere(known(x))
    axes = (
        range(x.ndim) if axis is None else [i % x.ndim for i in ([axis] if isinstance(axis, int) else axis)]
    )
    key = [slice(None)] * x.ndim
    for i in axes:
        first, last = (found[:, i].min(), found[:, i].max() + 1) if len(found) else (x.shape[i], x.shape[i])
        front, back = "f" in trim.lower(), "b" in trim.lower()
        key[i] = slice(
            int(first) if front else 0, (int(last) if len(found) or not back else 0) if back else None
        )
    return x[tuple(key)]


@like("sort")
def sort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: None = None,
    *,
    stable: Any = None,
    descending: bool = False,
) -> Any:
    """The elements along `axis` in their order of size; None takes all as one vector. Always stable."""
    refuse("sort", order=order)
    return F.sort(a, axis=axis, descending=descending)


@like("argsort")
def argsort(
    a: Any, axis: int | None = -1, kind: Any = None, order: None = None, *, stable: Any = None, **more: Any
) -> Any:
    """The numbers of the elements along `axis` in their order of size; they have no gradient. Always stable."""
    refuse("argsort", order=order)
    return F.argsort(a, axis=axis, **more)


@like("partition")
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None) -> Any:
    """The elements along `axis` so that number `kth` is where it would be in order, smaller ones before it."""
    refuse("partition", order=order)
    a = tensor(a)
    a, axis = (F.reshape(a, shape=(-1,)), 0) if axis is None else (a, axis)
    return F.take_along_axis(a, np.argpartition(known(a), kth, axis), axis=axis)


@like("unique")
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The elements in order, each once, or the slices along `axis`; the first of equal ones has the gradient."""
    ar, numpys = tensor(ar), np.unique
    _, places, *more = numpys(known(ar), True, return_inverse, return_counts, axis, equal_nan=equal_nan)  # type: ignore[call-overload]
    found = take(ar, places, axis)
    answers = [tensor(y) for y in ([places] if return_index else []) + more]
    return (found, *answers) if answers else found


@like("union1d")
def union1d(ar1: Any, ar2: Any) -> Any:
    """The elements of both in order, each once."""
    return unique(F.concat(*[F.reshape(tensor(x), shape=(-1,)) for x in (ar1, ar2)], dim=0))


@like("intersect1d")
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The elements of `ar1` in order, each once, that are in `ar2` too."""
    _, first, second = np.intersect1d(known(ar1), known(ar2), assume_unique, True)
    found = take(ar1, first)
    return (found, tensor(first), tensor(second)) if return_indices else found


@like("setdiff1d")
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The elements of `ar1` in order, each once, that are not in `ar2`."""
    found = F.reshape(tensor(ar1), shape=(-1,)) if assume_unique else unique(ar1)
    return found[np.isin(known(found), known(ar2), invert=True)]


@like("bincount")
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number from 0 on is in `x`, or the sum of the `weights` there, which have a gradient."""
    x = known(x)
    count = np.bincount(x, minlength=minlength)
    if weights is None:
        return tensor(count)
    return F.add_at(F.cast(tensor(weights), dtype="float64"), x, shape=count.shape)


@like("nonzero")
def nonzero(a: Any) -> tuple[Any, ...]:
    """Where `a` is not 0: the numbers along each axis. They have no gradient."""
    return tuple(tensor(i) for i in np.nonzero(known(a)))


def answered(name: str, meaning: str) -> None:
    """A question about values, whose answer has no gradient: as NumPy's function of this name."""
    numpys = getattr(np, name)

    def function(*inputs: Any, **named: Any) -> Any:
        plain = [known(x) if holds_tensors(x) else x for x in inputs]
        return tensor(numpys(*plain, **{k: known(v) if holds_tensors(v) else v for k, v in named.items()}))

    function.__name__, function.__doc__ = (
        name,
        f"{meaning} Without gradient; parameters as those of `numpy.{name}`.",
    )
    globals()[name] = like(name)(function)


for _name, _meaning in {
    "all": "Whether all elements along `axis` are true.",
    "any": "Whether one of the elements along `axis` is true.",
    "count_nonzero": "How many elements along `axis` are not 0.",
    "searchsorted": "Before which elements of a sorted vector others belong.",
    "digitize": "In which of the ranges between sorted numbers others lie.",
    "argwhere": "Where an array is not 0, one row for each element.",
    "flatnonzero": "Where an array, as a vector, is not 0.",
    "nanargmax": "Where the largest element along `axis` is that is no NaN.",
    "nanargmin": "Where the smallest element along `axis` is that is no NaN.",
    "argpartition": "The numbers of the elements in the order of `partition`.",
    "lexsort": "The numbers of the elements in the order of several keys, the last one first.",
    "signbit": "Whether the sign is minus.",
    "isclose": "Whether elements are nearly equal.",
    "allclose": "Whether all elements are nearly equal.",
    "array_equal": "Whether arrays have one shape and equal elements.",
}.items():
    answered(_name, _meaning)


@like("unique_values")
def unique_values(x: Any) -> Any:
    """The different elements in order; each gradient goes to the first of those that are equal."""
    flat = F.reshape(tensor(x), shape=(-1,))
    return F.take(flat, np.unique(known(flat), return_index=True)[1])


@like("tril_indices_from")
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    """Where the elements on and below a diagonal are."""
    return np.tril_indices(tensor(arr).shape[-2], k=k, m=tensor(arr).shape[-1])


@like("triu_indices_from")
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    """Where the elements on and above a diagonal are."""
    return np.triu_indices(tensor(arr).shape[-2], k=k, m=tensor(arr).shape[-1])
