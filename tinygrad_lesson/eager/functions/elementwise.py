"""Elementwise functions that are more than one op, or have other parameters than theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import TABLE, cast, known, like, refuse, tensor
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.op import FUNCTIONS

SAME = {  # NumPy's name: ours, where the op takes what NumPy's function takes
    "absolute": "abs", "abs": "abs", "true_divide": "divide", "deg2rad": "radians", "rad2deg": "degrees",
    "pow": "power", "mod": "remainder", "fix": "trunc", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin",
    "asinh": "arcsinh", "atan": "arctan", "atan2": "arctan2", "atanh": "arctanh", "positive": "identity",
    "conj": "conj", "conjugate": "conj",
}  # fmt: skip
for _name in dir(np):
    _ours = SAME.get(_name, _name if isinstance(vars(np).get(_name), np.ufunc) else "")
    if _ours in FUNCTIONS:
        TABLE.setdefault(f"np.{_name}", getattr(F, _ours))
for _name in ("argmax", "argmin", "i0"):
    if _name in FUNCTIONS:
        TABLE.setdefault(f"np.{_name}", getattr(F, _name))


NUMBERS = (int, float, np.generic)


def larger(name: str) -> Callable[..., Any]:
    """`maximum`, `minimum`, `fmax` and `fmin`, whose gradient those that tie share."""
    op = getattr(F, name)

    def function(x1: Any, x2: Any, /) -> Any:
        return op(x1, x2, False, "share")

    which = "larger" if name.endswith("max") or name == "maximum" else "smaller"
    nan = ", the other one where one is NaN" if name.startswith("f") else ""
    function.__name__ = name
    function.__doc__ = f"The {which} of two numbers{nan}; on a tie each gets half of the gradient."
    return like(name)(function)


maximum, minimum, fmax, fmin = map(larger, ("maximum", "minimum", "fmax", "fmin"))


@like("clip")
def clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    out: None = None,
    *,
    min: Any = None,
    max: Any = None,
    **ends: Any,
) -> Any:
    """`a` kept between two bounds, numbers or arrays; None is no bound. The gradient passes at numbers as bounds."""
    if out is not None:
        refuse("clip", out=out)
    low = ends.get("low", a_min if min is None else min)
    high = ends.get("high", a_max if max is None else max)
    plain = (low is None or isinstance(low, NUMBERS)) and (high is None or isinstance(high, NUMBERS))
    if plain:
        return F.clip(a, low, high)
    a = a if low is None else maximum(a, low)
    return a if high is None else minimum(a, high)


@like("round", "around")
def round(a: Any, decimals: int = 0, out: None = None) -> Any:
    """The nearest number with so many decimals, of two as near the even one; without gradient."""
    refuse("round", out=out)
    a = tensor(a)
    if a.dtype.kind in "iu":
        return tensor(np.round(known(a), decimals))
    if not decimals:
        return F.rint(a)
    factor = 10.0 ** abs(decimals)
    return F.rint(a * factor) / factor if decimals > 0 else F.rint(a / factor) * factor


@like("float_power")
def float_power(x1: Any, x2: Any, /) -> Any:
    """``x1**x2`` in double precision."""
    return F.power(F.cast(tensor(x1), dtype="float64"), x2)


@like("fabs")
def fabs(x: Any, /) -> Any:
    """The absolute value, of integers too as floats."""
    x = tensor(x)
    return F.abs(cast(x, floating(x.dtype)))


@like("divmod")
def divmod(x1: Any, x2: Any, /) -> tuple[Any, Any]:
    """`floor_divide` and `remainder`."""
    return F.floor_divide(x1, x2), F.remainder(x1, x2)


@like("modf")
def modf(x: Any, /) -> tuple[Any, Any]:
    """The fraction, which has the sign of `x`, and the whole part."""
    x = tensor(x)
    x = cast(x, floating(x.dtype))
    whole = F.trunc(x)
    return F.where(F.isinf(x), F.copysign(0.0, x), x - F.where(F.isinf(x), 0.0, whole)), whole


@like("frexp")
def frexp(x: Any, /) -> tuple[Any, Any]:
    """The mantissa, at least 0.5 and below 1, and the exponent to 2, a constant: ``x == mantissa * 2**exponent``."""
    x = tensor(x)
    exponent = np.asarray(np.frexp(known(x))[1])
    return x * np.ldexp(np.ones(x.shape, floating(x.dtype)), -exponent), tensor(exponent)


@like("ldexp")
def ldexp(x1: Any, x2: Any, /) -> Any:
    """``x1 * 2**x2``."""
    x1 = tensor(x1)
    return x1 * F.exp2(F.cast(tensor(x2), dtype=str(x1.dtype if x1.dtype.kind == "f" else np.dtype(float))))


@like("sinc")
def sinc(x: Any) -> Any:
    """``sin(pi x) / (pi x)``, and 1 at 0, where its slope is 0 and its curvature ``-pi**2 / 3``."""
    return F.sinc(tensor(x))


@like("real")
def real(val: Any) -> Any:
    """The real part."""
    val = tensor(val)
    return (
        val
        if val.dtype.kind != "c"
        else F.cast(val, dtype="float32" if val.dtype.itemsize == 8 else "float64")
    )


@like("imag")
def imag(val: Any) -> Any:
    """The imaginary part; zeros of real numbers."""
    val = tensor(val)
    return real(val * -1j) if val.dtype.kind == "c" else F.full_like(val, 0.0)


@like("angle")
def angle(z: Any, deg: bool = False) -> Any:
    """The angle of a complex number, in radians, or in degrees."""
    z = tensor(z)
    y = F.arctan2(imag(z), real(z))
    return F.degrees(y) if deg else y


@like("full_like")
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None,
    *, device: Any = None,
) -> Any:  # fmt: skip
    """An array like `a`, or of another `shape`, filled with one number, or with an array that is repeated."""
    a = tensor(a)
    if shape is None and dtype is None and isinstance(fill_value, int | float):
        return F.full_like(a, fill_value)
    filled = cast(tensor(fill_value), a.dtype if dtype is None else dtype)
    return F.broadcast_to(filled, shape=a.shape if shape is None else tuple(np.atleast_1d(shape).tolist()))


@like("nan_to_num")
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """`x` with numbers in the place of NaN and of infinities, where no gradient passes; None: the largest there is."""
    return F.nan_to_num(tensor(x), nan=nan, posinf=posinf, neginf=neginf)


@like("real_if_close")
def real_if_close(a: Any, tol: float = 100) -> Any:
    """The real part, if the imaginary part is below `tol` of the precision everywhere."""
    a = tensor(a)
    return real(a) if np.isrealobj(np.real_if_close(np.asarray(F.stop_gradient(a).array), tol)) else a
