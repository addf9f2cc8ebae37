"""The gamma function and what belongs to it: its logarithm and slope in NumPy alone, the rest by SciPy."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.blocks import choose, in_blocks, in_one_pass
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of, in_type
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.namespace import Methods, as_method
from tinygrad_lesson.engine.op import FUNCTIONS, attr
from tinygrad_lesson.ops.by_scipy import ByScipy, called, library, of_floats, without_gradient
from tinygrad_lesson.ops.elementwise import FloatUnary
from tinygrad_lesson.ops.functions import FloatBinary
from tinygrad_lesson.ops.special import DOUBLE, Special, horner, quotient

# gammaln(x) / ((x - 1) (x - 2)) from 1/2 to 3: 2e-16.
GAMMALN = (
    (2.7240344432094075, 106.13198507845128, 873.3223601266254, 2382.6797237927226, 2496.273396600479,
     1018.5290373425037, 147.94420834258645, 5.724845940210584, 0.013226520237811247),
    (1.0, 64.30434025499453, 779.5482508121479, 3043.641611270366, 4607.863950951059, 2887.31386646883,
     733.1129959382313, 66.65249519484985, 1.51041388013843),
)  # fmt: skip
# What Stirling's formula leaves of gammaln(x), times x, from 3 on, in 1 / x**2: 3e-16.
STIRLING = (
    (0.0833333333333333, 0.711826649176208, 1.4960206343966906, 0.776162644151485, 0.05093718613974453),
    (1.0, 8.575253123447203, 18.228565574206044, 9.847044340088642, 0.8170277885396678),
)
# digamma(x) / (x - zero) from 1/2 to 3: 2e-15.
DIGAMMA = (
    (0.6841667098251714, 2.1684951583747742, 1.9041433287618748, 0.6217961309864007, 0.07465753521933201,
     0.0025044020151755468, 4.694409844673275e-06),
    (3.610801203818912e-09, 1.0, 1.9081602314720276, 1.158174421280036, 0.2729232450745926, 0.023505338169455846,
     0.0005242087093447794),
)  # fmt: skip
ZERO = (1.4616321449683622, 9.549995429965697e-17)  # of digamma, in two parts
# (log(x) - 1 / (2 x) - digamma(x)) * x**2 from 3 on, in 1 / x**2: 4e-15.
DIGAMMA_FAR = (
    (0.08333333333333301, 0.8280191734355394, 2.0814234415179533, 1.3379728935745776, 0.10925652660776201),
    (1.0, 10.036230081219307, 25.933085260929435, 18.221067264586626, 2.3091953199664035),
)


def mirrored(xp, x):
    """`x`, or below 1/2 ``1 - x``, from which all follows; whether that is so; how far the next whole number is."""
    below = xp.less(x, 0.5)
    return choose(xp, below, 1 - x, x), below, choose(xp, below, x - xp.rint(x), 0.5)


@op
class Gammaln(Special):
    """The logarithm of the absolute value of the gamma function: ``y = log(|gamma(x)|)``; infinite at 0, -1, -2, ..."""

    def values(self, xp, x):
        z, below, apart = mirrored(xp, xp.maximum(x, -1e300))
        near = xp.minimum(z, 3)
        near = (near - 1) * (near - 2) * quotient(GAMMALN, near)
        far = xp.maximum(z, 3)
        inverse = 1 / far
        rest = math.log(2 * math.pi) / 2 + inverse * quotient(STIRLING, inverse * inverse)
        far = (far - 0.5) * (xp.log(far) - 1) + (rest - 0.5)
        y = choose(xp, xp.less(z, 3), near, far)
        sine = xp.abs(xp.sin(math.pi * apart))
        turned = xp.log(math.pi / choose(xp, xp.equal(sine, 0), 1, sine)) - y
        turned = choose(xp, xp.equal(sine, 0), math.inf, turned)
        y = choose(xp, below, turned, y)
        return choose(xp, xp.equal(x, -math.inf), x, y)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * F.digamma(x),)

    def oracle(self, x):
        return np.vectorize(math.lgamma, otypes=[float])(x)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=-2.7, high=6, away_from=(-2, -1, 0))}


@op
class Digamma(Special):
    """The slope of `gammaln`: ``y = gamma'(x) / gamma(x)``; infinite at 0, NaN at -1, -2, ..."""

    def values(self, xp, x):
        z, below, apart = mirrored(xp, x)
        near = xp.minimum(z, 3)
        near = ((near - ZERO[0]) - ZERO[1]) * quotient(DIGAMMA, near)
        far = xp.maximum(z, 3)
        inverse = 1 / far
        square = inverse * inverse
        far = xp.log(far) - (0.5 * inverse + square * quotient(DIGAMMA_FAR, square))
        y = choose(xp, xp.less(z, 3), near, far)
        whole = xp.equal(apart, 0)
        turned = y - math.pi / xp.tan(math.pi * choose(xp, whole, 0.5, apart))
        pole = choose(xp, xp.equal(x, 0), xp.copysign(math.inf, -x), math.nan)
        return choose(xp, below, choose(xp, whole, pole, turned), y)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * F.polygamma(x, n=1),)

    def oracle(self, x):
        y = np.zeros_like(x)
        for k in range(40):
            y -= 1 / (x + k)
        z = x + 40
        return y + np.log(z) - 1 / (2 * z) - 1 / (12 * z**2) + 1 / (120 * z**4) - 1 / (252 * z**6)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=-2.7, high=6, away_from=(-2, -1, 0))}


FUNCTIONS["psi"] = Digamma  # SciPy's other name for it
Methods.psi = as_method(Digamma)  # type: ignore[attr-defined]


@op
class Gamma(ByScipy):
    """The gamma function: ``y = integral of t ** (x - 1) * exp(-t) from 0``, so that ``gamma(n + 1) = n!``."""

    def vjp(self, F, g, y, x):
        return (g * (y * F.digamma(x)),)

    def oracle(self, x):
        return np.vectorize(math.gamma, otypes=[float])(x)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=-2.7, high=4, away_from=(-2, -1, 0))}


@op
class Polygamma(FloatUnary):
    """Derivative number `n` of `digamma`; the first in NumPy alone, others by SciPy."""

    compiled = True
    n: int = attr(1, minimum=0, doc="how often `digamma` is differentiated")

    @property
    def traceable(self):
        """The first is NumPy's calls, the others are SciPy's code."""
        return self.n == 1

    def forward(self, xp, x):
        kind = self.dtype(dtype_of(x))
        if self.n == 1 and kind is not None and kind.kind == "f":
            return in_blocks(xp, lambda x, out: in_type(xp, slope(xp, in_type(xp, x, DOUBLE)), kind), x)
        y = library(xp, "polygamma").polygamma(self.n, in_type(xp, x, np.dtype(float)))
        return y if kind is None else in_type(xp, y, kind)

    def vjp(self, F, g, y, x):
        return (g * F.polygamma(x, n=self.n + 1),)

    def oracle(self, x):
        if not self.n:
            return slopes_of_digamma(0, x)
        sign = (-1) ** (self.n + 1) * math.factorial(self.n)
        return sign * slopes_of_digamma(self.n, x)

    @classmethod
    def sample(cls, draw):
        return cls(n=draw.integer(0, 2)), {"x": draw.array(draw.shape(), low=0.6, high=6)}


SLOPE = (
    1 / 6,
    -1 / 30,
    1 / 42,
    -1 / 30,
    5 / 66,
    -691 / 2730,
    7 / 6,
)  # Bernoulli's numbers, from the second on
HUGE = 1e150  # from there on it is ``1 / x``, and the square would overflow


def slope(xp, x):
    """The slope of `digamma`: by ``f(x) = f(x + 1) + 1 / x**2`` up to 10, and from there by its asymptotic series.

    Source
        DLMF 5.15.5, 5.15.6 and 5.15.8.
    """
    z, below, apart = mirrored(xp, xp.clip(x, -HUGE, HUGE))
    y: Any = 0.0
    for _ in range(10):
        low = xp.less(z, 10)
        y = xp.add(y, choose(xp, low, 1 / (z * z), 0))
        z = xp.add(z, low)
    t = 1 / z
    square = t * t
    y = y + t + square * 0.5 + t * square * horner(SLOPE, square)
    sine = xp.sin(math.pi * apart)
    whole = xp.equal(sine, 0)
    turned = xp.square(math.pi / choose(xp, whole, 1, sine)) - y
    y = choose(xp, xp.greater(x, HUGE), 1 / xp.maximum(x, HUGE), y)
    return choose(xp, below, choose(xp, whole, math.inf, turned), y)


def slopes_of_digamma(n, x):
    """Sums of ``1 / (x + k) ** (n + 1)``, by Euler and Maclaurin; for `n` 0 `digamma`."""
    z, p = x + 40, n + 1
    y = sum(1 / (x + k) ** p for k in range(40))
    rest = 1 / (2 * z**p) + p / (12 * z ** (p + 1)) - p * (p + 1) * (p + 2) / (720 * z ** (p + 3))
    rest = rest + p * (p + 1) * (p + 2) * (p + 3) * (p + 4) / (30240 * z ** (p + 5))
    return y + rest + z ** (1 - p) / (p - 1) if n else np.log(z) - rest - y


class OfTwo(FloatBinary):
    """A function of two positive numbers, by a library call."""

    traceable = False

    def forward(self, xp, a, b):
        return called(self, xp, a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, low=0.5, high=4), "b": draw.array(b, low=0.5, high=4)}


@op
class Beta(OfTwo):
    """The beta function: ``y = gamma(a) * gamma(b) / gamma(a + b)``."""

    def vjp(self, F, g, y, a, b):
        both = F.digamma(a + b)
        return lambda: g * (y * (F.digamma(a) - both)), lambda: g * (y * (F.digamma(b) - both))

    def oracle(self, a, b):
        return np.vectorize(lambda s, t: math.gamma(s) * math.gamma(t) / math.gamma(s + t), otypes=[float])(
            a, b
        )


@op
class Betaln(OfTwo):
    """The logarithm of the beta function: ``y = log(|beta(a, b)|)``."""

    def vjp(self, F, g, y, a, b):
        both = F.digamma(a + b)
        return lambda: g * (F.digamma(a) - both), lambda: g * (F.digamma(b) - both)

    def oracle(self, a, b):
        return np.log(Beta().oracle(a, b))


def beside(F, a, x):
    """A parameter in the type of `x`: an integer would make wider numbers of it."""
    kinds = [F.dtype(t) for t in (a, x)]
    is_whole = None not in kinds and kinds[0].kind != "f" == kinds[1].kind
    return F.cast(a, dtype=str(kinds[1])) if is_whole else a


class Incomplete(FloatBinary):
    """A part of the integral that the gamma function of `a` is, by a library call; `a` is positive."""

    traceable = False
    sign: ClassVar[float] = 1.0

    def forward(self, xp, a, x):
        return called(self, xp, a, x)

    def vjp(self, F, g, y, a, x):
        def slope():
            p = beside(F, a, x)
            return g * (F.exp(F.xlogy(p - 1, x) - x - F.gammaln(p)) * self.sign)

        return without_gradient(F, self, "a", a), slope

    def dtype(self, a, x):
        return of_floats(a, x)

    @classmethod
    def sample(cls, draw):
        a, x = draw.broadcasting(2)
        return cls(), {
            "a": np.rint(draw.array(a, low=1, high=4)).astype(int),
            "x": draw.array(x, low=0.5, high=4),
        }


@op
class Gammainc(Incomplete):
    """The part of the integral of ``gamma(a)`` that lies between 0 and `x`; it has no derivative by `a` here."""


@op
class Gammaincc(Incomplete):
    """The part of the integral of ``gamma(a)`` that lies beyond `x`; it has no derivative by `a` here."""

    sign = -1.0


@op
class Betainc(Elementwise):
    """The part of the integral of ``beta(a, b)`` that lies between 0 and `x`, at most 1; by `x` it has a derivative.

    By `a` and `b`, which are positive, it has none here.
    """

    traceable = False

    def forward(self, xp, a, b, x):
        return called(self, xp, a, b, x)

    def vjp(self, F, g, y, a, b, x):
        def slope():
            p, q = beside(F, a, x), beside(F, b, x)
            return g * F.exp(F.xlogy(p - 1, x) + F.xlog1py(q - 1, -x) - F.betaln(p, q))

        return without_gradient(F, self, "a", a), without_gradient(F, self, "b", b), slope

    def dtype(self, a, b, x):
        return of_floats(a, b, x)

    @classmethod
    def sample(cls, draw):
        a, b, x = draw.broadcasting(3)
        powers = {
            name: np.rint(draw.array(of, low=1, high=4)).astype(int) for name, of in (("a", a), ("b", b))
        }
        return cls(), {**powers, "x": draw.array(x, low=0.1, high=0.9)}
