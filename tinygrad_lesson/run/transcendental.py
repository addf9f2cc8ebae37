"""exp, log, tanh and their kin in float32, as straight lines of arithmetic that vectorize.

Source
    Coefficients and reductions from Cephes 2.8 (expf, logf, tanhf). Scaling is done in two steps, so
    that subnormal results are right; infinities and NaN keep their meaning.
"""

from typing import Any

import numpy as np
from numba import njit

from tinygrad_lesson.run.simd import bits_float, float_bits

F = np.float32
I = np.int32  # noqa: E741
LOG2E = F(1.44269504088896341)
LN2_HIGH, LN2_LOW = F(0.693359375), F(-2.12194440e-4)
SMALLEST_NORMAL = F(1.1754943508222875e-38)
SQRT_HALF = F(0.707106781186547524)
INFINITY, NAN = F(np.inf), F(np.nan)

# No `reassoc` here: the reductions live from the order of their operations.
exact = njit(forceinline=True, error_model="numpy", fastmath={"nsz", "contract"})


@exact
def exp_parts(x: Any) -> Any:
    """``exp(x) = (high + low) * a * b`` for x in [-104, 89]; a and b are powers of two."""
    n = np.floor(x * LOG2E + F(0.5))
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * (r * r) + r
    high = F(1.0) + p
    low = p - (high - F(1.0))
    k = I(n)
    half = k >> I(1)
    return high, low, bits_float((half + I(127)) << I(23)), bits_float((k - half + I(127)) << I(23))


@exact
def exp32(x: Any) -> Any:
    """Exponential, within 1 ulp."""
    high, _, a, b = exp_parts(min(max(x, F(-104.0)), F(89.0)))
    y = high * a * b
    y = INFINITY if x > F(88.722839) else y
    return x if x != x else y


@exact
def log32(x: Any) -> Any:
    """Natural logarithm, within 1 ulp."""
    tiny = x < SMALLEST_NORMAL
    bits = float_bits(x * F(8388608.0) if tiny else x)
    e = F((bits >> I(23)) - I(126)) - (F(23.0) if tiny else F(0.0))
    m = bits_float((bits & I(0x007FFFFF)) | I(0x3F000000))
    low = m < SQRT_HALF
    e = e - (F(1.0) if low else F(0.0))
    m = (m + m if low else m) - F(1.0)
    z = m * m
    p = F(7.0376836292e-2)
    p = p * m + F(-1.1514610310e-1)
    p = p * m + F(1.1676998740e-1)
    p = p * m + F(-1.2420140846e-1)
    p = p * m + F(1.4249322787e-1)
    p = p * m + F(-1.6668057665e-1)
    p = p * m + F(2.0000714765e-1)
    p = p * m + F(-2.4999993993e-1)
    p = p * m + F(3.3333331174e-1)
    y = p * m * z + e * LN2_LOW - F(0.5) * z
    y = m + y + e * LN2_HIGH
    y = -INFINITY if x == F(0.0) else y
    y = NAN if x < F(0.0) else y
    return x if (x != x or x == INFINITY) else y


@exact
def tanh32(x: Any) -> Any:
    """Hyperbolic tangent, within 2 ulp."""
    a = abs(x)
    z = x * x
    p = F(-5.70498872745e-3)
    p = p * z + F(2.06390887954e-2)
    p = p * z + F(-5.37397155531e-2)
    p = p * z + F(1.33314422036e-1)
    p = p * z + F(-3.33332819422e-1)
    near = p * z * x + x
    far = F(1.0) - F(2.0) / (exp32(a + a) + F(1.0))
    return near if a < F(0.625) else (-far if x < F(0.0) else far)


@exact
def sigmoid32(x: Any) -> Any:
    """Logistic function, within 1.5 ulp: the rounding of exp(-|x|) and of 1 + exp(-|x|) is made good."""
    high, low, a, b = exp_parts(max(-abs(x), F(-104.0)))
    e, rest = high * a * b, low * a * b
    d = F(1.0) + e
    missing = (F(1.0) - d) + e + rest
    top = F(1.0) if x >= F(0.0) else e
    y = top / d
    y = y + ((F(0.0) if x >= F(0.0) else rest) - y * missing) / d
    return x if x != x else y
