"""The normal distribution in single precision: `ndtr`, `normal_hazard`, and `gelu` with its slope.

For a number of size s the probability of more is ``exp(-s * s / 2) * q(s)``. The square is taken in two parts, of
which the second goes into the reduced argument of the exponential; q is ``t * p(s * t)`` with ``t = 1 / (s + SHIFT)``.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lesson.run.tape.functions import (
    LOG2E,
    SINGLE,
    exp_less_one,
    polynomial,
    power_of_two,
)
from tinygrad_lesson.run.tape.vector import Vector, contracted, where

SHIFT = 2.5  # with it a polynomial loses least in rounding
# (s + SHIFT) * exp(s * s / 2) times the probability of more than s, in s / (s + SHIFT), up to 15: 6.2e-9. Fitted by
# least squares on Chebyshev points with iterated weights, as those in `ops/special.py`.
TAIL = (-0.0221849195, 0.01498598397, 0.107717473, -0.1407649346, 0.03362438824, -0.1108848184, 0.04731964228,
        0.2929637578, 0.1695414096, -1.243391055, 1.250000008)  # fmt: skip
HAZARD = (10.0, -2.0, 1.0)  # from `MOST` on x times what `normal_hazard` has more than x, in 1 / x**2
MOST = 15.0  # from there on the probability is 0
HEIGHT = 1 / math.sqrt(2 * math.pi)  # of the density
LIFT = 64  # with so many powers of two more what is subnormal is a normal number


class Tail:
    """What belongs to the size of `x`: ``t``, ``s * t``, the polynomial, and the exponential as ``(1 + p) * power``."""

    def __init__(self, x: Vector) -> None:
        x = contracted(x)
        size = x.called("fabs")
        self.size = s = where(size < MOST, size, MOST)
        self.t = 1.0 / (s + SHIFT)
        self.share = s * self.t
        self.value = polynomial(TAIL, self.share)
        square = s * s
        rest = s.called("fma", s, -square)
        large = s.like(s.lift(1.5 * 2.0**SINGLE.mantissa))
        moved = square * (-0.5 * LOG2E) + large
        n, k = (
            moved - large,
            moved.cast("bitcast", SINGLE.integer) - large.cast("bitcast", SINGLE.integer),
        )
        first, second = SINGLE.ln2
        self.p = exp_less_one(square * -0.5 - n * first - n * second - rest * 0.5)
        self.power = power_of_two(k + LIFT, SINGLE, x.kind)

    def times(self, y: Any) -> Any:
        """A number times the exponential, rounded once where the product is subnormal."""
        return (y * self.p + y) * self.power * 2.0**-LIFT


def ndtr(x: Vector) -> Any:
    """The probability of at most `x`, within 4 ulp."""
    tail = Tail(x)
    more = tail.times(tail.t * tail.value)
    return where(x != x, x, where(x < 0.0, more, 1.0 - more))


def normal_hazard(x: Vector) -> Any:
    """The density at `x` by the probability of more than `x`, within 4 ulp."""
    tail, size = Tail(x), x.called("fabs")
    more = tail.t * tail.value
    below = tail.times(size.like(size.lift(HEIGHT))) / (1.0 - tail.times(more))
    t = 1.0 / contracted(size)
    far = t * polynomial(HAZARD, t * t) + size
    return where(x < 0.0, below, where(size < MOST, HEIGHT / more, far))


def gelu(x: Vector) -> Any:
    """`x` times the probability of at most `x`, within 4 ulp."""
    tail = Tail(x)
    lost = tail.times(tail.share * tail.value)
    return where(x < 0.0, -0.0, x) - lost


def gelu_slope(g: Vector, y: Vector, x: Vector) -> Any:
    """The slope of `gelu`: the probability of at most `x`, and `x` times the density."""
    tail = Tail(x)
    less = tail.times(tail.t * tail.value - tail.size * HEIGHT)
    return g * where(x != x, x, where(x < 0.0, less, 1.0 - less))


def log_ndtr_slope(g: Vector, y: Vector, x: Vector) -> Any:
    """The slope of the logarithm of `ndtr`."""
    return g * normal_hazard(-x)
