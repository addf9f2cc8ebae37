"""exp, log, tanh and their kin in float32, sixteen at a time, as straight lines of arithmetic.

Source
    Coefficients and reductions from Cephes 2.8 (expf, logf, tanhf). Scaling is done in two steps, so
    that subnormal results are right; infinities and NaN keep their meaning.
"""

import math

from tinygrad_lesson.run.simd import INTEGERS, VECTOR, Contracted, Vector, where

LOG2E = 1.44269504088896341
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
SMALLEST_NORMAL = 1.1754943508222875e-38
SQRT_HALF = 0.707106781186547524
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)


def polynomial(coefficients: tuple[float, ...], x: Vector) -> Vector:
    """Highest power first."""
    p = x * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        p = p * x + c
    return p


def power_of_two(k: Vector) -> Vector:
    """2 to an integer, as the bits of its exponent."""
    return ((k + 127) << 23).cast("bitcast", VECTOR)


def exp_parts(x: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """``exp(x) = (high + low) * a * b`` for x in [-104, 89]; a and b are powers of two."""
    n = (x * LOG2E + 0.5).called("floor")
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    p = polynomial(EXP, r) * (r * r) + r
    high = p + 1.0
    low = p - (high - 1.0)
    k = n.cast("fptosi", INTEGERS)
    half = k >> 1
    return high, low, power_of_two(half), power_of_two(k - half)


def exp32(x: Vector) -> Vector:
    """Exponential, within 1 ulp."""
    x = Contracted(x.builder, x.value)
    above = where(x > -104.0, x, -104.0)  # NaN too: it comes back at the end
    high, _, a, b = exp_parts(where(above < 89.0, above, 89.0))
    return where(x != x, x, high * a * b)  # e**89 overflows by itself


def log32(x: Vector) -> Vector:
    """Natural logarithm, within 1 ulp."""
    x = Contracted(x.builder, x.value)
    tiny = x < SMALLEST_NORMAL
    bits = where(tiny, x * 8388608.0, x).cast("bitcast", INTEGERS)
    e = ((bits >> 23) - 126).cast("sitofp", VECTOR) - where(tiny, 23.0, 0.0)
    m = ((bits & 0x007FFFFF) | 0x3F000000).cast("bitcast", VECTOR)
    low = m < SQRT_HALF
    e = e - where(low, 1.0, 0.0)
    m = where(low, m + m, m) - 1.0
    z = m * m
    y = polynomial(LOG, m) * m * z + e * LN2_LOW - z * 0.5
    y = m + y + e * LN2_HIGH
    y = where(x == 0.0, -math.inf, y)
    y = where(x < 0.0, math.nan, y)
    return where((x != x) | (x == math.inf), x, y)


def log1p32(x: Vector) -> Vector:
    """log(1 + x), within 1.5 ulp: what is lost where 1 + x is rounded to u is made good."""
    x = Vector(x.builder, x.value)
    u = x + 1.0
    y = Vector(x.builder, log32(u).value) + (x - (u - 1.0)) / u
    y = where(u == 0.0, -math.inf, y)
    return where((u == 1.0) | (x == math.inf), x, y)


def tanh32(x: Vector) -> Vector:
    """Hyperbolic tangent, within 2 ulp."""
    x = Contracted(x.builder, x.value)
    a = x.called("fabs")
    z = a * a
    near = polynomial(TANH, z) * z * a + a
    high, _, b, c = exp_parts(where(a < 10.0, a + a, 20.0))  # from 10 on it is 1
    far = 1.0 - 2.0 / (high * b * c + 1.0)
    y = where(a < 0.625, near, far).called("copysign", x)
    return where(x != x, x, y)


def sigmoid32(x: Vector) -> Vector:
    """Logistic function, within 1.5 ulp: the rounding of exp(-|x|) and of 1 + exp(-|x|) is made good."""
    x = Contracted(x.builder, x.value)
    below = -x.called("fabs")
    high, low, a, b = exp_parts(where(below > -104.0, below, -104.0))
    e, rest = high * a * b, low * a * b
    d = e + 1.0
    missing = (1.0 - d) + e + rest
    positive = x >= 0.0
    y = where(positive, 1.0, e) / d
    y = y + (where(positive, 0.0, rest) - y * missing) / d
    return where(x != x, x, y)
