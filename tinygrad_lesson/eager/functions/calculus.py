"""Running sums, differences, slopes and areas, lines through points."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.arrays import at
from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.joins import concatenate
from tinygrad_lesson.eager.functions.moves import moveaxis
from tinygrad_lesson.eager.functions.reductions import above_zero, mean
from tinygrad_lesson.eager.functions.table import beside, cast, constant, known, like, made, refuse, tensor
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.dtypes import floating, summed
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import normalize_axis

Slices = tuple[Any, ...]


def along(axis: int, *ends: Any) -> Slices:
    """The index of a part along one axis."""
    return (*[slice(None)] * axis, slice(*ends))


@like("cumsum")
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """Sums of all elements up to each one along `axis`; without one, of all as a vector."""
    refuse("cumsum", out=out)
    return F.cumsum(cast(tensor(a), dtype), axis=axis)


@like("cumprod")
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """Products of all elements up to each one along `axis`; without one, of all as a vector. Right for zeros too."""
    refuse("cumprod", out=out)
    a = tensor(a)
    a = cast(a, dtype or (summed(a.dtype) if a.dtype.kind in "iub" else None))
    return F.cumprod(a if a.ndim and axis is not None else F.reshape(a, shape=(-1,)), axis=axis or 0)


def running(function: Any, start: float, x: Any, axis: int | None, dtype: Any, include_initial: bool) -> Any:
    """A running sum or product, with the number that it starts from in front."""
    x = tensor(x)
    if axis is None and x.ndim > 1:
        raise ShapeError(f"cumulative: axis is missing for {x.ndim} axes")
    y = function(x, axis or 0, dtype)
    if not include_initial:
        return y
    first = F.full_like(y[along(normalize_axis(axis or 0, y.ndim), 0, 1)], start)
    if not x.size:
        first = F.full(shape=tuple(1 if i == normalize_axis(axis or 0, y.ndim) else n for i, n in enumerate(y.shape)),
                       value=start, dtype=str(y.dtype))  # fmt: skip
    return concatenate([first, y], axis or 0)


@like("cumulative_sum")
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> Any:
    """Sums of all elements up to each one along `axis`, with `include_initial` 0 in front."""
    refuse("cumulative_sum", out=out)
    return running(cumsum, 0.0, x, axis, dtype, include_initial)


@like("cumulative_prod")
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> Any:
    """Products of all elements up to each one along `axis`, with `include_initial` 1 in front."""
    refuse("cumulative_prod", out=out)
    return running(cumprod, 1.0, x, axis, dtype, include_initial)


@like("nancumsum")
def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """As `cumsum`, in which NaN counts as 0."""
    return cumsum(F.where(F.isnan(a), False, a), axis, dtype, out)


@like("nancumprod")
def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """As `cumprod`, in which NaN counts as 1."""
    return cumprod(F.where(F.isnan(a), True, a), axis, dtype, out)


@like("diff")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along `axis`, `n` times; after `prepend` and before `append`, if given."""
    a = tensor(a)
    axis = normalize_axis(axis, a.ndim)
    if n < 0:
        raise AttributeValueError(f"diff: n is {n}, expected 0 or more")
    edge = (*a.shape[:axis], 1, *a.shape[axis + 1 :])
    ends = [None if e is None else beside(e, a) for e in (prepend, append)]
    parts = [e if e is None or e.ndim else F.broadcast_to(e, shape=edge) for e in ends]
    if n and ends != [None, None]:
        a = concatenate([p for p in (parts[0], a, parts[1]) if p is not None], axis)
    for _ in range(n):
        step = F.not_equal if a.dtype.kind == "b" else F.subtract
        a = step(a[along(axis, 1, None)], a[along(axis, 0, -1 if a.shape[axis] else 0)])
    return a


@like("unwrap")
def unwrap(p: Any, discont: float | None = None, axis: int = -1, *, period: float = 2 * np.pi) -> Any:
    """Angles without jumps along `axis`: multiples of `period` are added, which have no gradient."""
    p = tensor(p)
    whole = np.result_type(p.dtype, period).kind in "iu"
    half = period // 2 if whole else period / 2
    steps = diff(F.stop_gradient(p), axis=axis)
    inside = F.remainder(steps + half, period) - half
    if not whole or period % 2 == 0:
        inside = F.where(F.logical_and(inside <= -half, steps > 0), half, inside)
    jumps = F.where(F.abs(steps) < (period / 2 if discont is None else discont), 0, inside - steps)
    axis = normalize_axis(axis, p.ndim)
    rest = p[along(axis, 1, None)] + F.cumsum(jumps, axis=axis)
    return concatenate([F.cast(p[along(axis, 0, 1)], dtype=str(rest.dtype)), rest], axis)


@like("ediff1d")
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours of all elements as a vector, between two other arrays."""
    middle = diff(F.reshape(tensor(ary), shape=(-1,)))
    ends = [None if e is None else cast(tensor(e), middle.dtype) for e in (to_begin, to_end)]
    parts = [None if e is None else F.reshape(e, shape=(-1,)) for e in ends]
    return concatenate([p for p in (parts[0], middle, parts[1]) if p is not None])


@like("gradient")
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes along each axis by central differences, at the edges one-sided ones of this order.

    `varargs` are distances, one for all axes or one for each: numbers, or the places along the axis.
    """
    f = tensor(f)
    f = f if f.dtype.kind in "fc" else cast(f, float)
    axes = (
        range(f.ndim) if axis is None else [normalize_axis(i, f.ndim) for i in np.atleast_1d(axis).tolist()]
    )
    spacings = list(varargs) or [1.0]
    spacings = spacings * len(axes) if len(spacings) == 1 else spacings
    if len(spacings) != len(axes):
        raise AttributeValueError(f"gradient: {len(spacings)} distances for {len(axes)} axes")
    found = tuple(
        slope_along(f, constant("gradient: a distance", h), i, edge_order)
        for h, i in zip(spacings, axes, strict=True)
    )
    return found[0] if len(found) == 1 else found


def slope_along(f: Any, spacing: np.ndarray, axis: int, edge_order: int) -> Any:
    """Slopes along one axis: inside by both neighbours, at the edges by what follows, as NumPy weighs them."""
    size = f.shape[axis]
    if edge_order not in (1, 2) or size < edge_order + 1:
        raise ShapeError(f"gradient: an axis of size {size} is too short for edges of order {edge_order}")
    if spacing.ndim and spacing.shape != (size,):
        raise ShapeError(f"gradient: {spacing.shape[0]} places for an axis of size {size}")
    kind = floating(f.dtype) if f.dtype.kind == "f" else np.dtype(float)
    steps = np.diff(spacing).astype(kind) if spacing.ndim else spacing.reshape(1)
    if not steps.all():
        raise AttributeValueError("gradient: a distance is 0, which divides")
    if (steps == steps[0]).all():
        return F.slope(f, axis=axis, distance=float(steps[0]), edge_order=edge_order)
    along_axis = [-1 if i == axis else 1 for i in range(f.ndim)]
    before, after = steps[:-1].reshape(along_axis), steps[1:].reshape(along_axis)
    weights = (
        -after / (before * (before + after)),
        (after - before) / (before * after),
        before / (after * (before + after)),
    )
    near = [f[along(axis, k, size - 2 + k)] * weight for k, weight in enumerate(weights)]
    inside = near[0] + near[1] + near[2]
    first = edge([f[along(axis, k, k + 1)] for k in range(edge_order + 1)], steps)
    last = edge([f[along(axis, size - 1 - k, size - k)] for k in range(edge_order + 1)], -steps[::-1])
    return concatenate([first, inside, last], axis)


def edge(f: list[Any], h: np.ndarray) -> Any:
    """The slope at the first of two or three places, `h` apart."""
    if len(f) == 2:
        return (f[1] - f[0]) / h[0]
    a, b = h[:2]
    return f[0] * (-(2 * a + b) / (a * (a + b))) + f[1] * ((a + b) / (a * b)) + f[2] * (-a / (b * (a + b)))


@like("trapezoid")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The area under `y` along `axis`, by trapezoids: at the places `x`, or `dx` apart."""
    y = tensor(y)
    axis = normalize_axis(axis, y.ndim)
    if x is None and np.ndim(dx) == 0 and y.shape[axis] > 1 and y.dtype.kind in "fc":
        return F.trapezoid(y, axis=axis) * dx
    if x is None:
        step = dx
    else:
        x = tensor(x)
        step = diff(x) if x.ndim == 1 else diff(x, axis=axis)
        if x.ndim == 1:
            step = F.reshape(step, shape=tuple(step.size if i == axis else 1 for i in range(y.ndim)))
    return F.sum((y[along(axis, 1, None)] + y[along(axis, 0, -1)]) * step / 2.0, axis=axis)


@like("interp")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: float | None = None) -> Any:
    """Straight lines through the points (`xp`, `fp`), at `x`; beyond the ends `left` and `right`, or their values.

    With `period` angles, as it were. It has kinks at the points; there the slope is that of the line to the right.
    """
    xp, fp = tensor(xp), tensor(fp)
    x = beside(x, fp)
    if period is not None:
        x, xp = F.remainder(x, abs(period)), F.remainder(xp, abs(period))
        order = np.argsort(known(xp))
        xp, fp = F.take(xp, order, axis=0), F.take(fp, order, axis=0)
        xp = concatenate([xp[-1:] - abs(period), xp, xp[:1] + abs(period)])
        fp = concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    places, points = known(x), known(xp)
    if points.size == 1:
        y = F.broadcast_to(fp, shape=x.shape) if x.ndim else fp[0]
    else:
        low = np.clip(np.searchsorted(points, places, side="right") - 1, 0, points.size - 2)
        x0, x1, f0, f1 = (F.reshape(F.take(p, low.reshape(-1) + k, axis=0), shape=x.shape)
                          for p in (xp, fp) for k in (0, 1))  # fmt: skip
        y = f0 + (f1 - f0) * ((x - x0) / (x1 - x0))
    y = F.where(places < points[0], fp[0] if left is None else left, y)
    y = F.where(places > points[-1], fp[-1] if right is None else right, y)
    return F.where(np.isnan(places), x, y)


# From one number to another.


@like("linspace")
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    """`num` numbers at equal distances from `start` to `stop`, or before it; with `retstep` the distance too."""
    if device is not None:
        with at(device):
            return linspace(start, stop, num, endpoint, retstep, dtype, axis)
    start = beside(start, stop) if isinstance(stop, Tensor) else tensor(start)
    stop = beside(stop, start)
    shape = np.broadcast_shapes(start.shape, stop.shape)
    start, stop = (F.broadcast_to(cast(x, floating(x.dtype)), shape=shape) for x in (start, stop))
    parts = num - 1 if endpoint else num
    share = np.arange(num).reshape((num, *(1,) * len(shape))) / (parts or 1)
    y = start + (stop - start) * made(share.astype(np.result_type(start.dtype, stop.dtype)))
    if endpoint and num > 1:
        y = concatenate([y[:-1], F.expand_dims(stop, axis=0)])
    y = cast(moveaxis(y, 0, axis) if axis else y, dtype)
    return (y, (stop - start) / (float(parts) or np.nan)) if retstep else y


@like("logspace")
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` powers of `base`, whose exponents are at equal distances from `start` to `stop`."""
    return cast(F.power(base, linspace(start, stop, num, endpoint, axis=axis)), dtype)


@like("geomspace")
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """`num` numbers from `start` to `stop`, each the same multiple of the one before; both of one sign."""
    sign = np.sign(known(start))
    ends = [F.log(tensor(x) * sign) for x in (start, stop)]
    return cast(F.exp(linspace(ends[0], ends[1], num, endpoint, axis=axis)) * sign, dtype)


# Statistics of several variables.


@like("cov")
def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None,
    aweights: Any = None, *, dtype: Any = None,
) -> Any:  # fmt: skip
    """Covariances of variables, one in each row of `m` and of `y`, or in each column; their squares by count less 1.

    `bias` divides by the count, `ddof` says what is taken from it; `fweights` and `aweights` weigh observations.
    """
    rows = [two_axes(x, rowvar) for x in (m, y) if x is not None]
    x = cast(concatenate(rows), dtype)
    weights = None if fweights is None else beside(fweights, x)
    if aweights is not None:
        aweights = beside(aweights, x)
        weights = aweights if weights is None else weights * aweights
    ddof = (0 if bias else 1) if ddof is None else ddof
    total = float(x.shape[1]) if weights is None else F.sum(weights)
    average = (
        mean(x, 1, keepdims=True) if weights is None else F.sum(x * weights, axis=1, keepdims=True) / total
    )
    scale = total - ddof if aweights is None or not ddof else total - ddof * F.sum(weights * aweights) / total
    scale = above_zero(scale)
    centred = x - average
    spread = F.transpose(centred if weights is None else centred * weights)
    return F.squeeze(F.matmul(centred, spread) / scale)


def two_axes(x: Any, rowvar: bool) -> Any:
    """Variables in rows."""
    x = tensor(x)
    if x.ndim < 2:
        return F.reshape(x, shape=(1, -1))
    return x if rowvar or x.shape[0] == 1 else F.transpose(x)


@like("corrcoef")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """Correlations of variables: covariances by the roots of both variances."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    deviation = F.sqrt(F.diagonal(c))
    return F.clip(c / F.reshape(deviation, shape=(-1, 1)) / deviation, -1.0, 1.0)


@like("piecewise")
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """For each condition a function of `x`, or a number, where it holds; one more for where none does."""
    x = tensor(x)
    conditions = [tensor(c) for c in (condlist if isinstance(condlist, list | tuple) else [condlist])]
    conditions = conditions if conditions[0].shape == x.shape or len(conditions) > 1 else list(conditions[0])
    rest = funclist[len(conditions)] if len(funclist) > len(conditions) else 0.0
    y = rest(x, *args, **kw) if callable(rest) else F.full_like(x, float(rest))
    for condition, f in zip(conditions, funclist, strict=False):
        y = F.where(condition, f(x, *args, **kw) if callable(f) else f, y)
    return y


@like("apply_along_axis")
def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function gives for each vector along `axis`."""
    arr = moveaxis(arr, axis, -1)
    rest = arr.shape[:-1]
    found = [tensor(func1d(row, *args, **kwargs)) for row in F.reshape(arr, shape=(-1, arr.shape[-1]))]
    made = F.stack(*found)
    y = F.reshape(made, shape=(*rest, *made.shape[1:]))
    axis = axis % (len(rest) + 1)
    return moveaxis(y, list(range(len(rest), y.ndim)), list(range(axis, axis + y.ndim - len(rest))))


@like("apply_over_axes")
def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """A function of an array and an axis, axis after axis, which keeps the number of axes or loses one."""
    a = tensor(a)
    for axis in [axes] if isinstance(axes, int) else axes:
        y = tensor(func(a, axis))
        a = y if y.ndim == a.ndim else F.expand_dims(y, axis=normalize_axis(axis, a.ndim))
    return a
