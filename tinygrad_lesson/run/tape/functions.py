"""exp, log, tanh and their kin, many at a time, as straight lines of arithmetic, in single and in double precision.

Source
    Coefficients and reductions from Cephes 2.8 (expf, logf, exp, log), but for `EXP`, which is the polynomial of
    its degree with the least relative error of ``exp(r) - 1``, 1.3e-8. Scaling is done in two steps, so
    that subnormal results are right; infinities and NaN keep their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tinygrad_lesson.run.tape.vector import FLOATS, I32, I64, Vector, contracted, where

LOG2E = 1.44269504088896341
SQRT_HALF = 0.707106781186547524
Rational = tuple[
    Sequence[float], Sequence[float]
]  # coefficients above and below the line, highest power first


class Format(NamedTuple):
    """A format of numbers: its integers, bits of its mantissa, bias of its exponent, smallest normal number.

    `least` and `most` bound the arguments of exp: beyond them it is 0 or infinite; from `one` on tanh is 1. `ln2` is
    the logarithm of 2 in two parts, of which the first has so few bits that its multiples are exact. Near 0
    ``log(1 + x) = x - x**2 / 2 + x**3 * log(x)``.
    """

    integer: Any
    mantissa: int
    bias: int
    smallest: float
    least: float
    most: float
    one: float
    ln2: tuple[float, float]
    log: Rational


SINGLE = Format(
    I32, 23, 127, 2.0**-126, -104.0, 89.0, 10.0, (0.693359375, -2.12194440e-4),
    ((7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1), ()),
)  # fmt: skip
DOUBLE = Format(
    I64, 52, 1023, 2.0**-1022, -746.0, 710.0, 20.0, (0.693359375, -2.121944400546905827679e-4),
    ((1.01875663804580931796e-4, 4.97494994976747001425e-1, 4.70579119878881725854, 1.44989225341610930846e1,
      1.79368678507819816313e1, 7.70838733755885391666),
     (1, 1.12873587189167450590e1, 4.52279145837532221105e1, 8.29875266912776603211e1, 7.11544750618563894466e1,
      2.31251620126765340583e1)),
)  # fmt: skip
EXP = (1.3882515e-3, 8.3665475e-3, 4.1667201e-2, 1.6666543e-1, 4.9999997e-1)
EXP_ABOVE = (1.26177193074810590878e-4, 3.02994407707441961300e-2, 9.99999999999999999910e-1)
EXP_BELOW = (3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1, 2.0)
EXP_LN2 = (6.93145751953125e-1, 1.42860682030941723212e-6)


def format_of(x: Vector) -> Format:
    """The format of a vector's numbers."""
    return SINGLE if x.kind == FLOATS[0] else DOUBLE


def polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """Highest power first."""
    p = x * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        p = p * x + c
    return p


def rational(parts: Rational, x: Any) -> Any:
    """One polynomial by another, if there is one."""
    above, below = parts
    p = polynomial(above, x)
    return p / polynomial(below, x) if below else p


def power_of_two(k: Any, f: Format, kind: Any) -> Any:
    """2 to an integer, as the bits of its exponent."""
    return ((k + f.bias) << f.mantissa).cast("bitcast", kind)


def exp_less_one(r: Any) -> Any:
    """``exp(r) - 1`` for a small number."""
    if r.kind == FLOATS[0]:
        return polynomial(EXP, r) * (r * r) + r
    z = r * r
    p = polynomial(EXP_ABOVE, z) * r
    return p * 2.0 / (polynomial(EXP_BELOW, z) - p)


def reduced(x: Any, beside_one: bool = False) -> tuple[Any, Any]:
    """``exp(x) = (1 + p) * 2**k``, for x between `least` and `most`; of NaN p is NaN, and k anything.

    What is small `beside_one`, to which it is added, need not be that exact.
    """
    f = format_of(x)
    # Beside such a number another is rounded to a whole one, which the last bits tell.
    large = x.like(x.lift(1.5 * 2.0**f.mantissa))
    moved = x * LOG2E + large
    n, k = moved - large, moved.cast("bitcast", f.integer) - large.cast("bitcast", f.integer)
    if beside_one:
        return exp_less_one(x - n * math.log(2)), k
    first, second = f.ln2 if x.kind == FLOATS[0] else EXP_LN2
    r = x - n * first
    return exp_less_one(r - n * second), k


def exp_parts(x: Any) -> tuple[Any, Any, Any]:
    """``exp(x) = (high + low) * 2**k``, likewise."""
    p, k = reduced(x)
    high = p + 1.0
    return high, p - (high - 1.0), k


def halves(k: Any, f: Format, kind: Any) -> tuple[Any, Any]:
    """``2**k`` as two factors, both of them normal numbers."""
    half = k >> 1
    return power_of_two(half, f, kind), power_of_two(k - half, f, kind)


def exp(x: Vector) -> Any:
    """Exponential, within 1.1 ulp in single precision."""
    x, f = contracted(x), format_of(x)
    above = where(x < f.least, f.least, x)
    high, _, k = exp_parts(where(above > f.most, f.most, above))
    a, b = halves(k, f, x.kind)
    return high * a * b  # e**89 overflows by itself


def log(x: Vector) -> Any:
    """Natural logarithm, within 1 ulp in single precision."""
    x, f = contracted(x), format_of(x)
    ones, half = (1 << f.mantissa) - 1, f.bias - 1
    tiny = x < f.smallest
    bits = where(tiny, x * 2.0**f.mantissa, x).cast("bitcast", f.integer)
    e = ((bits >> f.mantissa) - half).cast("sitofp", x.kind) - where(
        tiny, x.like(x.lift(float(f.mantissa))), 0.0
    )
    m = ((bits & ones) | (half << f.mantissa)).cast("bitcast", x.kind)
    low = m < SQRT_HALF
    e = e - where(low, x.like(x.lift(1.0)), 0.0)
    m = where(low, m + m, m) - 1.0
    z = m * m
    y = rational(f.log, m) * m * z + e * f.ln2[1] - z * 0.5
    y = m + y + e * f.ln2[0]
    y = where(x == 0.0, -math.inf, y)
    y = where(x < 0.0, math.nan, y)
    return where((x != x) | (x == math.inf), x, y)


def log1p(x: Vector) -> Any:
    """log(1 + x), within 1.5 ulp: what is lost where 1 + x is rounded to u is made good."""
    x = Vector(x.builder, x.value)
    u = x + 1.0
    y = Vector(x.builder, log(u).value) + (x - (u - 1.0)) / u
    y = where(u == 0.0, -math.inf, y)
    return where((u == 1.0) | (x == math.inf), x, y)


def expm1(x: Vector) -> Any:
    """exp(x) - 1: far from 0 the rounding of exp is made good by its second part, near 0 it is ``t * (t + 2)``."""
    x, f = contracted(x), format_of(x)
    above = where(x > f.least, x, f.least)
    high, low, k = exp_parts(where(above < f.most, above, f.most))
    a, b = halves(k, f, x.kind)
    far = (high * a * b - 1.0) + low * a * b
    t = exp_less_one(x * 0.5)
    near = t * t + t * 2.0
    far, size = where(x > f.most, math.inf, far), x.called("fabs")
    near = where(size < 2.0 ** -(f.mantissa + 1), x, near)  # a half of what is subnormal may be 0
    return where(x != x, x, where(size < 0.45, near, far))


def tanh(x: Vector) -> Any:
    """Hyperbolic tangent, within 2 ulp: ``(e - 1) / (e + 1)`` of ``e = exp(-2 |x|)``, rounded once in each."""
    x, f = contracted(x), format_of(x)
    below = -x.called("fabs")
    below = where(below < -f.one, -f.one, below)
    p, k = reduced(below + below, beside_one=True)
    scale = power_of_two(k, f, x.kind)
    y = (p * scale + (scale - 1.0)) / (p * scale + (scale + 1.0))
    return y.called("copysign", x)


def sigmoid(x: Vector) -> Any:
    """Logistic function, within 1.7 ulp: ``y = e - e * e / (1 + e)`` of ``e = exp(-|x|)``, or ``1 - y``."""
    x, f = contracted(x), format_of(x)
    below = -x.called("fabs")
    p, k = reduced(where(below < f.least, f.least, below))
    bits = f.mantissa + 1
    # Where this is subnormal its exponent alone could not say it.
    scale = power_of_two(k + bits, f, x.kind) * 2.0**-bits
    e = p * scale + scale
    y = e - e / (e + 1.0) * e
    return where(x >= 0.0, 1.0 - y, y)
