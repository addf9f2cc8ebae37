"""Powers, roots, logarithms of other bases, hyperbolas, remainders: in double precision, whatever they are asked in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.run.tape import functions
from tinygrad_lesson.run.tape.functions import exp, expm1, log, log1p, polynomial
from tinygrad_lesson.run.tape.vector import FLOATS, I1, I64, Vector, contracted, declared, slot, suffix, where

OF_TEN, OF_TEN_LOW = 0.4342944819032518, 1.098319650216765e-17  # 1 / log(10) in two parts
# log2((1 + s) / (1 - s)) / s in s**2 up to 1/9, and (2**r - 1) / r up to 1/2: Chebyshev fits in 40 digits, to 5e-17
# and 2e-17.
LOG2_SERIES = (0.2565221979515153, 0.14254965360722935, 0.19608109023253079, 0.2216509953409951,
               0.26232321663323, 0.32059844553352324, 0.41219859090498345, 0.5770780162875998,
               0.9617966939262051, 2.8853900817779268)  # fmt: skip
EXP2_SERIES = (4.4549605981865186e-10, 7.072585949269223e-09, 1.0178062445845774e-07,
               1.321544258792169e-06, 1.525273382983612e-05, 0.0001540353044173605,
               0.0013333558146416936, 0.009618129107606888, 0.0555041086648216, 0.24022650695910097,
               0.6931471805599453)  # fmt: skip
LN2_LOW = 2.319046813846299558e-17  # what log(2) has beyond double precision


def in_double(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in double precision, of single numbers too, which are then right but for the last rounding."""

    def wider(*inputs: Vector) -> Any:
        kind = inputs[0].kind
        if kind != FLOATS[0]:
            return function(*inputs)
        y = function(*[Vector(x.builder, x.cast("fpext", FLOATS[1]).value) for x in inputs])
        return y.cast("fptrunc", kind) if y.is_float else y

    wider.arity = function.__code__.co_argcount  # type: ignore[attr-defined]
    return wider


def one_like(x: Any) -> Any:
    """Ones."""
    return x.like(x.lift(1.0))


def exp2(x: Vector) -> Any:
    """2 to a number; whole numbers are exact."""
    x, f = contracted(x), functions.DOUBLE
    bounded = where(x > -1076.0, x, -1076.0)
    bounded = where(bounded < 1025.0, bounded, 1025.0)
    n = bounded.called("rint")
    p = functions.exp_less_one((bounded - n) * math.log(2)) + 1.0
    k = n.cast("fptosi", f.integer)
    half = k >> 1
    y = p * functions.power_of_two(half, f, x.kind) * functions.power_of_two(k - half, f, x.kind)
    return where(x != x, x, y)


def parted(x: Any) -> tuple[Any, Any]:
    """``x = 2**e * m`` for positive numbers, with m between the root of a half and that of two."""
    f = functions.DOUBLE
    ones, half = (1 << f.mantissa) - 1, f.bias - 1
    tiny = x < f.smallest
    bits = where(tiny, x * 2.0**f.mantissa, x).cast("bitcast", f.integer)
    e = ((bits >> f.mantissa) - half).cast("sitofp", x.kind) - where(
        tiny, one_like(x) * float(f.mantissa), 0.0
    )
    m = ((bits & ones) | (half << f.mantissa)).cast("bitcast", x.kind)
    low = m < functions.SQRT_HALF
    return e - where(low, one_like(x), 0.0), where(low, m + m, m)


def of_base(x: Vector, of_two: float, of_e: float) -> Any:
    """A logarithm of another base, from those of 2 and of e."""
    x = Vector(x.builder, x.value)
    e, m = parted(x)
    y = e * of_two + log(m) * of_e
    y = where(x == 0.0, -math.inf, where(x < 0.0, math.nan, y))
    return where((x != x) | (x == math.inf), x, y)


def log2(x: Vector) -> Any:
    """Logarithm of base 2; exact of powers of 2."""
    return of_base(x, 1.0, 1 / math.log(2))


def log10(x: Vector) -> Any:
    """Logarithm of base 10; exact of powers of 10."""
    high, low = logarithm_in_parts(*parted(where((x > 0.0) & (x < math.inf), x, 1.0)))
    product = high * OF_TEN
    lost = high.called("fma", one_like(x) * OF_TEN, -product)
    y = product + (lost + (high * OF_TEN_LOW + low * OF_TEN))
    y = where(x == 0.0, -math.inf, where(x < 0.0, math.nan, y))
    return where((x != x) | (x == math.inf), x, y)


def power(x: Vector, y: Vector) -> Any:
    """x to the power of y: the logarithm of x in two parts, so that the error does not grow with the result."""
    a = x.called("fabs")
    e, m = parted(where(a < math.inf, a, 1.0))
    high, low = logarithm_in_parts(e, m)
    product = y * high
    rest = y.called("fma", high, -product) + y * low
    product = where(product < 800.0, where(product > -800.0, product, -800.0), 800.0)
    rest = where((rest.called("fabs") < 1.0), rest, 0.0)
    size = exp_of_parts(product, rest)
    whole = y == y.called("rint")
    half = y * 0.5
    odd = whole & (half != half.called("rint"))
    size = where(x < 0.0, where(odd, -size, where(whole, size, math.nan)), size)
    up = y > 0.0
    signed = where(odd, x, a)  # of zeros and infinities an odd power keeps the sign
    size = where(a == 0.0, where(up, where(odd, x, 0.0), where(odd, 1.0 / signed, math.inf)), size)
    size = where(a == math.inf, where(up, signed, 1.0 / signed), size)
    steep = y.called("fabs") == math.inf
    size = where(steep, where(a == 1.0, 1.0, where((a > 1.0) ^ up, one_like(x) * 0.0, math.inf)), size)
    size = where((x != x) | (y != y), x + y, size)
    return where((y == 0.0) | (x == 1.0), 1.0, size)


def exp_of_parts(x: Any, rest: Any) -> Any:
    """``exp(x + rest)``, rounded once: what can be exact is."""
    f, minus = functions.DOUBLE, -(x * (1 / math.log(2))).called("rint")
    left = x + minus * functions.EXP_LN2[0]  # exact
    r = minus.called("fma", functions.EXP_LN2[1], left)
    rest = rest + minus.called("fma", functions.EXP_LN2[1], left - r)
    tail = r * r * functions.polynomial([1 / math.factorial(n) for n in range(15, 1, -1)], r)
    one = r + 1.0
    y = one + (((1.0 - one) + r) + (tail + rest * (one + tail)))
    k = -minus.cast("fptosi", f.integer)
    half = k >> 1
    return y * functions.power_of_two(half, f, x.kind) * functions.power_of_two(k - half, f, x.kind)


def logarithm_in_parts(e: Any, m: Any) -> tuple[Any, Any]:
    """``e * log(2) + log(m)`` as a number and what rounding takes from it."""
    fma = lambda p, q, r: p.called("fma", q, r)  # noqa: E731
    above, below = m - 1.0, m + 1.0  # the first is exact; of the second the rest is known
    below_low = m - (below - 1.0)
    s = above / below
    s_low = (fma(-s, below, above) - s * below_low) / below
    z = s * s
    z_low = fma(s, s, -z) + s * s_low * 2.0
    cube = z * s
    cube_low = fma(z, s, -cube) + z * s_low + z_low * s
    third = cube * (1 / 3)
    third_low = fma(one_like(m) * (1 / 3), cube, -third) + cube_low * (1 / 3) + cube * 1.850371707708594e-17
    series = one_like(m) / 23.0
    for k in range(21, 3, -2):
        series = series * z + 1.0 / k
    tail = cube * z * series + third_low
    first = s + third
    first_low = (s - first) + third + (s_low + tail)
    first, first_low = first * 2.0, first_low * 2.0
    base = e * functions.EXP_LN2[0]  # exact: the first part of log(2) has few bits
    base_low = e * (math.log(2) - functions.EXP_LN2[0]) + e * LN2_LOW
    high = base + first
    back = high - base
    low = (base - (high - back)) + (first - back) + (first_low + base_low)
    total = high + low
    return total, (high - total) + low


def cbrt(x: Vector) -> Any:
    """Cube root: a first guess from the exponent, then Halley's steps."""
    a = x.called("fabs")
    e, m = parted(where((a > 0.0) & (a < math.inf), a, 1.0))
    third = (e * (1 / 3)).called("floor")
    left = e - third * 3.0  # 0, 1 or 2
    m = m * where(left == 0.0, 1.0, where(left == 1.0, one_like(x) * 2.0, 4.0))
    y = m * 0.25 + 0.8
    for _ in range(4):
        cube = y * y * y
        y = y * (cube + m * 2.0) / (cube * 2.0 + m)
    z = y * y
    cube = z * y
    lost = z.called("fma", y, -cube) + y.called("fma", y, -z) * y
    y = y - ((cube - m) + lost) / (z * 3.0)
    k = third.cast("fptosi", I64)
    y = y * functions.power_of_two(k, functions.DOUBLE, x.kind)
    return where((x == 0.0) | (a == math.inf) | (x != x), x, y.called("copysign", x))


def sinh(x: Vector) -> Any:
    """Hyperbolic sine."""
    a = x.called("fabs")
    e = expm1(a)
    half = exp(a * 0.5)
    y = where(a > 700.0, half * 0.5 * half, (e + e / (e + 1.0)) * 0.5)
    return where(x == 0.0, x, y.called("copysign", x))


def cosh(x: Vector) -> Any:
    """Hyperbolic cosine."""
    a = x.called("fabs")
    half, whole = exp(a * 0.5), exp(a)
    return where(a > 700.0, half * 0.5 * half, whole * 0.5 + 0.5 / whole)


def arcsinh(x: Vector) -> Any:
    """Inverse hyperbolic sine."""
    a = x.called("fabs")
    z = a * a
    near = log1p(a + z / ((z + 1.0).called("sqrt") + 1.0))
    y = where(a > 1e8, Vector(x.builder, log(a).value) + math.log(2), near)
    return where(x == 0.0, x, y.called("copysign", x))


def arccosh(x: Vector) -> Any:
    """Inverse hyperbolic cosine."""
    t = x - 1.0
    near = log1p(t + (t * (t + 2.0)).called("sqrt"))
    y = where(x > 1e8, Vector(x.builder, log(x).value) + math.log(2), near)
    return where(x < 1.0, math.nan, y)


def arctanh(x: Vector) -> Any:
    """Inverse hyperbolic tangent."""
    a = x.called("fabs")
    y = log1p(a * 2.0 / (1.0 - a)) * 0.5
    return where(x == 0.0, x, y.called("copysign", x))


def logaddexp(a: Vector, b: Vector) -> Any:
    """``log(exp(a) + exp(b))``."""
    most = where((a > b) | (a != a), a, b)
    y = most + Vector(a.builder, log1p(Vector(a.builder, exp(-(a - b).called("fabs")).value)).value)
    return where((a != a) | (b != b), a + b, where(a == b, a + math.log(2), y))


def logaddexp2(a: Vector, b: Vector) -> Any:
    """``log2(2**a + 2**b)``: the larger, and ``log2(1 + e)`` of ``e = 2**-|a - b|``, which is an artanh."""
    f = functions.DOUBLE
    most = where((a > b) | (a != a), a, b)
    gap = contracted((a - b).called("fabs"))
    gap = where(gap < 1100.0, gap, 1100.0)
    n = gap.called("rint")
    r = n - gap
    k = -n.cast("fptosi", f.integer)
    first, second = functions.halves(k, f, gap.kind)
    e = (polynomial(EXP2_SERIES, r) * r + 1.0) * first * second
    s = e / (e + 2.0)
    y = Vector(a.builder, (polynomial(LOG2_SERIES, s * s) * s).value) + most
    return where((a != a) | (b != b), a + b, where(a == b, a + 1.0, y))


def hypot(a: Vector, b: Vector) -> Any:
    """The length of a vector of two numbers."""
    a, b = a.called("fabs"), b.called("fabs")
    swapped = a > b
    low, high = where(swapped, b, a), where(swapped, a, b)
    ratio = low / high
    y = where(high == 0.0, high, high * (ratio * ratio + 1.0).called("sqrt"))
    return where((a == math.inf) | (b == math.inf), math.inf, where((a != a) | (b != b), a + b, y))


def fmod(a: Vector, b: Vector) -> Any:
    """What is left of a division, with the sign of `a`.

    The quotient, rounded to nearest, is at most one too large, so that one product, taken from `a` without rounding,
    leaves all digits. Only where it has more digits than the type the division is done digit by digit.
    """
    builder, digits = a.builder, 23 if a.kind == FLOATS[0] else 52
    size, by = a.called("fabs"), b.called("fabs")
    quotient = (size / by).called("trunc")
    left = (-quotient).called("fma", by, size)
    left = where(by == math.inf, size, where(left < 0.0, left + by, left)).called("copysign", a)
    far = ~(quotient < 2.0**digits)
    place = slot(builder, left.value.type)
    builder.store(left.value, place)
    some = declared(builder, f"llvm.vector.reduce.or.{suffix(far.value.type)}", I1, [far.value.type])
    with builder.if_then(builder.call(some, [far.value])):
        builder.store(where(far, a.like(builder.frem(a.value, b.value)), left).value, place)
    return a.like(builder.load(place))


def remainder(a: Vector, b: Vector) -> Any:
    """What is left of a division, with the sign of `b`."""
    left = fmod(a, b)
    other = (left < 0.0) ^ (b < 0.0)
    return where(left == 0.0, (left * 0.0).called("copysign", b), where(other, left + b, left))


def floor_divide(a: Vector, b: Vector) -> Any:
    """The largest whole number that is no larger than the quotient."""
    left = fmod(a, b)
    other = (left != 0.0) & ((left < 0.0) ^ (b < 0.0))
    quotient = (a - left) / b
    quotient = where(other, quotient - 1.0, quotient)
    near = quotient.called("floor")
    near = where(quotient - near > 0.5, near + 1.0, near)
    near = where(quotient == 0.0, (quotient * 0.0).called("copysign", a / b), near)
    return where(b == 0.0, a / b, near)


def heaviside(x: Vector, at_zero: Vector) -> Any:
    """0 below 0, 1 above, and between them what is given."""
    return where(x < 0.0, 0.0, where(x > 0.0, 1.0, where(x == 0.0, at_zero, x)))


def larger_number(a: Vector, b: Vector) -> Any:
    """The larger of two, and of NaN and a number the number."""
    return where((a > b) | (b != b), a, b)


def smaller_number(a: Vector, b: Vector) -> Any:
    """The smaller of two, likewise."""
    return where((a < b) | (b != b), a, b)
