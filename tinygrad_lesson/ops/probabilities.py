"""Probabilities and what turns them back: logistic and normal distributions."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.blocks import choose, in_blocks, in_one_pass
from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.ops.angles import WithinOne
from tinygrad_lesson.ops.ramps import Sigmoid
from tinygrad_lesson.ops.special import (
    ERFCX_SHORT,
    FAR,
    Erfc,
    Erfcx,
    Special,
    bell,
    horner,
    inner,
    near_zero,
    quotient,
    scaled,
)


@op
class Logit(WithinOne):
    """The number whose `sigmoid` is `x`: ``y = log(x / (1 - x))``, with all digits near 1/2; NaN beyond 0 and 1."""

    compiled = True

    def forward(self, xp, x):
        def values(x, out):
            near = xp.clip(x, 0.25, 0.75)
            middle = xp.log1p(2 * (near - 0.5) / (1 - near))
            return choose(xp, xp.less(xp.abs(x - 0.5), 0.25), middle, xp.log(x / (1 - x)))

        return in_blocks(xp, values, x)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * (1 / x + 1 / (1 - x)),)

    def oracle(self, x):
        return np.log(x) - np.log1p(-x)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=0.1, high=0.9)}


class Smooth(Composite):
    """A smooth function of one number, in other ops."""

    def dtype(self, x):
        return None if x is None else np.result_type(x, np.float16)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}


@op
class LogExpit(Smooth):
    """The logarithm of the `sigmoid`: ``y = -log(1 + exp(-x))``, without overflow."""

    def compose(self, F, x):
        return F.negative(F.softplus(F.negative(x)))

    def dtype(self, x):
        return Sigmoid().dtype(x)

    def oracle(self, x):
        return np.log(1 / (1 + np.exp(-x)))


@op
class Ndtr(Special):
    """The probability that a standard normal number is at most `x`."""

    def values(self, xp, x):
        size = xp.minimum(xp.abs(x), FAR)
        z = size * math.sqrt(0.5)
        tail = 0.5 * bell(xp, size, -0.5) * scaled(xp.maximum(z, 0.5))
        far = choose(xp, xp.less(x, 0), tail, 1 - tail)
        return choose(xp, xp.less(z, 0.5), 0.5 + 0.5 * inner(xp, x * math.sqrt(0.5), 0.5), far)

    def short(self, xp, x):
        return 0.5 * Erfc().short(xp, x * -math.sqrt(0.5))

    @in_one_pass
    def vjp(self, F, g, y, x):
        near = near_zero(F, x)
        return (g * (F.exp(near * near * -0.5) * (1 / math.sqrt(2 * math.pi))),)

    def oracle(self, x):
        return np.vectorize(lambda t: (1 + math.erf(t / math.sqrt(2))) / 2, otypes=[float])(x)


# The slope of `normal_hazard` in 1 / x**2, from 32 on to 1e-13: the coefficients of x**(1 - 2 n) in the function, OEIS
# A000698 with alternating signs, times 1 - 2 n.
# And the function itself less `x`, times it, from 15 on in single precision.
HAZARD_SHORT = (1.0, -2.0, 10.0)
HAZARD_SLOPE = (1.0, -1.0, 6.0, -50.0, 518.0, -6354.0)


@op
class NormalHazard(Special):
    """The density of a standard normal number at `x`, by the probability that it is larger; about `x` far out."""

    def values(self, xp, x):
        return math.sqrt(2 / math.pi) / Erfcx().values(xp, x * math.sqrt(0.5))

    def short(self, xp, x):
        size = xp.abs(x)
        near = xp.minimum(size, 15.0)  # from -15 on down it is 0
        shifted = near * math.sqrt(0.5) + 1
        beyond = shifted * math.sqrt(2 / math.pi) / quotient(ERFCX_SHORT, 1 / shifted)
        tail = Ndtr().short(xp, -near)
        t = 1 / xp.maximum(size, 15.0)
        far = size + t * horner(HAZARD_SHORT, t * t)
        below = tail * beyond / (1 - tail)
        return choose(xp, xp.less(x, 0), below, choose(xp, xp.greater(size, 15), far, beyond))

    @in_one_pass
    def vjp(self, F, g, y, x):  # y - x would be lost in rounding far out
        far, t = F.greater(x, 32), F.square(F.reciprocal(F.maximum(x, 32.0)))
        slope = HAZARD_SLOPE[-1] * t
        for c in HAZARD_SLOPE[-2:0:-1]:
            slope = (slope + c) * t
        x, y = F.where(far, 0, x), F.where(far, 0, y)
        return (g * F.where(far, slope + HAZARD_SLOPE[0], y * (y - x)),)

    def oracle(self, x):
        return np.exp(-x * x / 2) / math.sqrt(2 * math.pi) / (1 - Ndtr().oracle(x))


@op
class LogNdtr(Special):
    """The logarithm of `ndtr`, where that is too small for a number too."""

    def values(self, xp, x):
        x = x * -math.sqrt(0.5)
        near = xp.log1p(-0.5 * Erfc().values(xp, -xp.minimum(x, 0.5)))
        far = xp.maximum(x, 0.5)
        return choose(xp, xp.less(x, 0.5), near, xp.log(0.5 * scaled(far)) - far * far)

    @in_one_pass
    def vjp(self, F, g, y, x):
        below = F.less(x, 0)
        low = F.normal_hazard(F.where(below, -x, 0))
        x = F.minimum(F.where(below, 0, x), FAR)
        return (g * F.where(below, low, F.exp(-0.5 * x * x - F.where(below, 0, y)) / math.sqrt(2 * math.pi)),)

    def oracle(self, x):
        return np.log(Ndtr().oracle(x))
