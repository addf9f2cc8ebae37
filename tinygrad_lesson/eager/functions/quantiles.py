"""Medians and quantiles along axes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.reductions import Axis, axes_of
from tinygrad_lesson.eager.functions.table import constant, known, like, refuse, tensor
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.shapes import reduced, size_of


def in_rows(a: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """The elements along `axis` as the last axis, and the shape of a result with kept dimensions."""
    axes = axes_of(a, axis)
    others = tuple(i for i in range(a.ndim) if i not in axes)
    rest = tuple(a.shape[i] for i in others)
    rows = F.reshape(F.transpose(a, axes=(*others, *axes)), shape=(*rest, a.size // (size_of(rest) or 1)))
    return rows, reduced(a.shape, axes, True)


@functools.cache
def levels(n: int, q: tuple[float, ...], method: str) -> np.ndarray:
    """Where quantiles lie among `n` numbers in order: a whole number, or between two."""
    return np.atleast_1d(np.quantile(np.arange(float(n)), q, method=method))  # type: ignore[call-overload,no-any-return]


def between(rows: Any, at: np.ndarray, spoilt: bool = False) -> Any:
    """What lies at places, which may lie between two, among the elements of each row in order of size.

    There is one row of places for all, or one for each. With `spoilt` it is NaN where any element is.
    """
    low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
    share = (at - low).astype(floating(rows.dtype))
    if at.ndim == 1:  # only these, and the last one, which is NaN if any is
        last = rows.shape[-1] - 1
        wanted = sorted({*low.tolist(), *high.tolist(), last})
        chosen = F.take_along_axis(rows, F.places_in_order(rows, at=tuple(wanted)), axis=-1)
        first, second = (F.take(chosen, np.searchsorted(wanted, i), axis=-1) for i in (low, high))
    else:
        chosen = F.sort(rows, axis=-1)
        first, second = (F.take_along_axis(chosen, i, axis=-1) for i in (low, high))
    y = first if not share.any() else F.where(share == 0, first, first + (second - first) * share)
    return F.where(F.isnan(chosen[..., -1:]), np.nan, y) if spoilt else y


@like("quantile")
def quantile(
    a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """The numbers below which the shares `q` (0 to 1) of the elements along `axis` lie; `method` as in NumPy.

    The gradient goes to the one or two elements that a quantile lies at. Shape: that of `q`, then that of the rest.
    """
    refuse("quantile", out=out)
    a, q = tensor(a), constant("quantile: q", q)
    rows, kept = in_rows(a, axis)
    if not rows.shape[-1]:
        return nothing(q, a, axis, kept, keepdims)
    if weights is None:
        at = levels(rows.shape[-1], tuple(q.ravel().tolist()), method)
    else:
        at = weighted(np.quantile, a, q, axis, weights, method)
    y = between(rows, at, spoilt=True)
    return of_levels(y, q, a, axis, kept, keepdims)


def weighted(numpys: Any, a: Any, q: np.ndarray, axis: Axis, weights: Any, method: str) -> np.ndarray:
    """Which of the elements in order are weighted quantiles: NumPy is asked about their numbers in that order.

    Weights have the shape of `a`, or of its axis; they are taken as constants.
    """
    plain, weights = known(a), constant("quantile: weights", weights)
    axes = axes_of(a, axis)
    if weights.shape != plain.shape:
        weights = weights.reshape([n if i in axes else 1 for i, n in enumerate(a.shape)])
    others = [i for i in range(a.ndim) if i not in axes]
    lines = [np.transpose(np.broadcast_to(x, a.shape), (*others, *axes)) for x in (plain, weights)]
    rows, shares = (x.reshape((*x.shape[: len(others)], -1)) for x in lines)
    numbers = np.argsort(np.argsort(rows, axis=-1, kind="stable"), axis=-1, kind="stable").astype(float)
    numbers[np.isnan(rows)] = np.nan
    with np.errstate(invalid="ignore"):
        found = numpys(numbers, q.ravel(), axis=-1, method=method, weights=shares)
    return np.nan_to_num(np.moveaxis(found, 0, -1))  # type: ignore[no-any-return]


def nothing(q: Any, a: Any, axis: Axis, kept: Any, keepdims: bool) -> Any:
    """The quantiles of no elements: NaN."""
    rest = kept if keepdims else reduced(a.shape, axes_of(a, axis), False)
    return tensor(np.full((*q.shape, *rest), np.nan, floating(a.dtype)))


def of_levels(y: Any, q: Any, a: Any, axis: Axis, kept: Any, keepdims: bool) -> Any:
    """Quantiles, which lie along the last axis, in the shape that NumPy gives them."""
    rest = kept if keepdims else reduced(a.shape, axes_of(a, axis), False)
    y = F.transpose(y, axes=(y.ndim - 1, *range(y.ndim - 1)))
    return F.reshape(y, shape=(*q.shape, *rest))


@like("nanquantile")
def nanquantile(
    a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """As `quantile`, of what is no NaN; NaN where there is nothing else."""
    refuse("nanquantile", out=out)
    a, q = tensor(a), constant("nanquantile: q", q)
    rows, kept = in_rows(a, axis)
    if not rows.shape[-1]:
        return nothing(q, a, axis, kept, keepdims)
    if weights is not None:
        at = weighted(np.nanquantile, a, q, axis, weights, method)
        return of_levels(between(rows, at), q, a, axis, kept, keepdims)
    counts = np.sum(~np.isnan(known(rows)), axis=-1)
    table = {n: levels(n, tuple(q.ravel().tolist()), method) for n in set(counts.ravel().tolist()) if n}
    at = np.array([table.get(n, np.zeros(q.size)) for n in counts.ravel().tolist()]).reshape(
        (*counts.shape, q.size)
    )
    return of_levels(between(rows, at), q, a, axis, kept, keepdims)


@like("percentile")
def percentile(
    a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """As `quantile`, with `q` from 0 to 100."""
    return quantile(
        a, constant("percentile: q", q) / 100, axis, out, overwrite_input, method, keepdims, weights=weights
    )


@like("nanpercentile")
def nanpercentile(
    a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """As `percentile`, of what is no NaN."""
    return nanquantile(
        a, constant("percentile: q", q) / 100, axis, out, overwrite_input, method, keepdims, weights=weights
    )


@like("median")
def median(
    a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Any:
    """The middle one of the elements along `axis`, or the mean of the two in the middle."""
    return quantile(a, 0.5, axis, out, keepdims=keepdims)


@like("nanmedian")
def nanmedian(
    a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Any:
    """As `median`, of what is no NaN."""
    return nanquantile(a, 0.5, axis, out, keepdims=keepdims)
