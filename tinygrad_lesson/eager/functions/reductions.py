"""Sums, means, extremes and quantiles along axes, with NumPy's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.elementwise import imag, real
from tinygrad_lesson.eager.functions.table import cast, like, refuse, tensor
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.shapes import normalize_axis, reduced, reduced_axes, size_of

Axis = int | tuple[int, ...] | None


def chosen(a: Any, where: Any, otherwise: Any) -> Any:
    """`a` with a number in the place of what `where` leaves out."""
    return a if where is True else F.where(where, a, otherwise)


def axes_of(a: Any, axis: Axis) -> tuple[int, ...]:
    """The axes of a reduction, counted from the front."""
    return reduced_axes(a.ndim, axis)


def counted(a: Any, axis: Axis, where: Any, keepdims: bool = False) -> Any:
    """How many elements become one: a number, or one for each result where `where` leaves some out."""
    if where is True:
        return float(size_of(tuple(a.shape[i] for i in axes_of(a, axis))) or 0)
    ones = F.broadcast_to(cast(where, floating(a.dtype)), shape=a.shape)
    return F.sum(ones, axis=axis, keepdims=keepdims)


@like("sum")
def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 0,
    where: Any = True,
    *,
    exclude: bool = False,
) -> Any:
    """Sum along `axis`, of what `where` chooses, and `initial`; with `exclude` along all other axes."""
    if out is not None:
        refuse("sum", out=out)
    if where is not True or dtype is not None or a.__class__ is not Tensor:
        a = chosen(cast(tensor(a), dtype), where, 0)
    y = F.sum(a, axis, keepdims, exclude) if axis is not None or keepdims else F.sum(a)
    return y if initial.__class__ is int and initial == 0 else y + initial


@like("prod")
def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 1,
    where: Any = True,
    *,
    exclude: bool = False,
) -> Any:
    """Product along `axis`, of what `where` chooses, and `initial`; right for zeros too."""
    refuse("prod", out=out)
    y = F.prod(chosen(cast(tensor(a), dtype), where, 1), axis=axis, keepdims=keepdims, exclude=exclude)
    return y if initial.__class__ is int and initial == 1 else y * initial


@like("mean")
def mean(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
    exclude: bool = False,
) -> Any:
    """Arithmetic mean along `axis`, of what `where` chooses."""
    if out is not None:
        refuse("mean", out=out)
    if dtype is not None or a.__class__ is not Tensor:
        a = cast(tensor(a), dtype)
    if where is True:
        return F.mean(a, axis, keepdims, exclude) if axis is not None or keepdims else F.mean(a)
    total = F.sum(chosen(a, where, 0), axis=axis, keepdims=keepdims)
    return total / counted(a, axis, where, keepdims)


def extreme(op: str, lowest: bool) -> Callable[..., Any]:
    """`max` or `min`."""
    reduction, pair = getattr(F, op), F.maximum if lowest else F.minimum

    def function(
        a: Any,
        axis: Axis = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
        *,
        exclude: bool = False,
    ) -> Any:
        if out is not None:
            refuse(op, out=out)
        if isinstance(axis, Tensor | np.ndarray) and axis.ndim:
            raise AttributeValueError(f"{op}: axis is an array; write {op}imum(a, b) for two arrays")
        if where is not True and initial is None:
            raise AttributeValueError(f"{op}: initial is missing, for where `where` chooses nothing")
        if where is not True or a.__class__ is not Tensor:
            a = chosen(tensor(a), where, initial)
        if initial is not None and not a.size:
            shape = reduced(a.shape, reduced_axes(a.ndim, axis, exclude), keepdims)
            return F.broadcast_to(cast(tensor(initial), a.dtype), shape=shape)
        y = reduction(a, axis, keepdims, exclude, False, "share")
        return y if initial is None else pair(y, initial, False, "share")

    which = "Largest" if lowest else "Smallest"
    function.__name__ = op
    function.__doc__ = (
        f"{which} element along `axis`, of what `where` chooses, and `initial`; ties share the gradient."
    )
    return function


max = like("max", "amax")(extreme("max", lowest=True))
min = like("min", "amin")(extreme("min", lowest=False))


@like("ptp")
def ptp(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Any:
    """Largest less smallest element along `axis`."""
    refuse("ptp", out=out)
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


@like("var")
def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
    exclude: bool = False,
) -> Any:
    """Variance along `axis`: squared distances from the mean, summed, by their count less `ddof`.

    `mean` is that of `a` with kept dimensions, where it is known already; `correction` is another name of `ddof`.
    """
    refuse("var", out=out)
    a, ddof = cast(tensor(a), dtype), ddof if correction is None else correction
    is_complex = a.dtype.kind == "c"
    if where is True and mean is None and not ddof and not is_complex:
        return F.var(a, axis=axis, keepdims=keepdims, exclude=exclude)
    if exclude:
        axis = reduced_axes(a.ndim, axis, True)
    if mean is None:
        mean = sum(a, axis, keepdims=True, where=where) / counted(a, axis, where, keepdims=True)
    centred = a - mean
    squares = F.square(real(centred)) + F.square(imag(centred)) if is_complex else F.square(centred)
    squares = sum(squares, axis, keepdims=keepdims, where=where)
    return squares / above_zero(counted(a, axis, where, keepdims) - ddof)


def above_zero(count: Any) -> Any:
    """A count, or 0 where it is below."""
    return F.maximum(count, 0.0)


@like("std")
def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """Standard deviation along `axis`: the root of `var`. Where all are equal its slope is 0, as in PyTorch."""
    refuse("std", out=out)
    named = {"where": where, "mean": mean, "correction": correction}
    return root(var(a, axis, dtype, None, ddof, keepdims, **named))


def root(x: Any) -> Any:
    """The square root, whose slope at 0 is taken as 0."""
    zero = F.equal(x, 0)
    return F.where(zero, 0, F.sqrt(F.where(zero, 1, x)))


@like("average")
def average(
    a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False
) -> Any:
    """Mean along `axis` with weights, of the shape of `a` or of its axis; with `returned` their sum too."""
    a = tensor(a)
    if weights is None:
        y = mean(a, axis, keepdims=keepdims)
        return (y, F.full_like(y, counted(a, axis, True))) if returned else y
    weights = tensor(weights)
    if weights.shape != a.shape:
        axes = axes_of(a, axis)
        if axis is None or weights.shape != tuple(a.shape[i] for i in axes_in_order(a, axis)):
            raise AttributeValueError(f"average: weights of shape {weights.shape} for {a.shape} along {axis}")
        weights = F.transpose(weights, axes=tuple(np.argsort(axes_in_order(a, axis))))
        weights = F.reshape(weights, shape=tuple(n if i in axes else 1 for i, n in enumerate(a.shape)))
    whole = F.broadcast_to(weights, shape=a.shape)
    scale = F.sum(whole, axis=axis, keepdims=keepdims)
    y = F.sum(a * weights, axis=axis, keepdims=keepdims) / scale
    return (y, scale) if returned else y


def axes_in_order(a: Any, axis: Any) -> tuple[int, ...]:
    """The axes as they were given, counted from the front."""
    return tuple(normalize_axis(i, a.ndim) for i in ((axis,) if isinstance(axis, int) else axis))


# Where NaN does not count.


def present(a: Any, where: Any) -> Any:
    """What is chosen and no NaN."""
    found = F.logical_not(F.isnan(a))
    return found if where is True else F.logical_and(found, where)


@like("nansum")
def nansum(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False,
    initial: Any = 0, where: Any = True,
) -> Any:  # fmt: skip
    """Sum along `axis`, in which NaN counts as 0."""
    a = tensor(a)
    if where is True and dtype is None and out is None and initial.__class__ is int and initial == 0:
        return F.nansum(a, axis, keepdims)
    return sum(a, axis, dtype, out, keepdims, initial, present(a, where))


@like("nanprod")
def nanprod(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False,
    initial: Any = 1, where: Any = True,
) -> Any:  # fmt: skip
    """Product along `axis`, in which NaN counts as 1."""
    a = tensor(a)
    return prod(a, axis, dtype, out, keepdims, initial, present(a, where))


@like("nanmean")
def nanmean(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Any:  # fmt: skip
    """Mean along `axis` of what is no NaN."""
    a = tensor(a)
    return mean(a, axis, dtype, out, keepdims, where=present(a, where))


@like("nanvar")
def nanvar(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False,
    *, where: Any = True, mean: Any = None, correction: float | None = None,
) -> Any:  # fmt: skip
    """Variance along `axis` of what is no NaN."""
    a = tensor(a)
    there = present(a, where)
    plain = F.where(F.isnan(a), 0, a)
    return var(plain, axis, dtype, out, ddof, keepdims, where=there, mean=mean, correction=correction)


@like("nanstd")
def nanstd(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False,
    *, where: Any = True, mean: Any = None, correction: float | None = None,
) -> Any:  # fmt: skip
    """Standard deviation along `axis` of what is no NaN."""
    named = {"where": where, "mean": mean, "correction": correction}
    return root(nanvar(a, axis, dtype, out, ddof, keepdims, **named))


def present_extreme(name: str, reduction: Callable[..., Any], worst: float) -> Callable[..., Any]:
    """`nanmax` or `nanmin`."""

    def function(
        a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Any:  # fmt: skip
        refuse(name, out=out)
        a = tensor(a)
        if a.dtype.kind not in "fc" or not a.size:
            return reduction(a, axis, out, keepdims, initial, where)
        there = present(a, where)
        y = reduction(a, axis, keepdims=keepdims, initial=worst, where=there)
        if initial is not None:
            return reduction(F.stack(y, F.broadcast_to(initial, shape=y.shape)), 0)
        return F.where(F.greater(counted(a, axis, there, keepdims), 0), y, np.nan)

    function.__name__ = name
    function.__doc__ = (
        f"As `{reduction.__name__}`, of what is no NaN; NaN if all are. Ties share the gradient."
    )
    return function


nanmax = like("nanmax")(present_extreme("nanmax", max, -np.inf))
nanmin = like("nanmin")(present_extreme("nanmin", min, np.inf))
