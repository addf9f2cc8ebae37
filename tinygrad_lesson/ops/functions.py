"""Functions of one number and of two, beyond arithmetic: angles, hyperbolas, powers of two, logarithms of sums."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of
from tinygrad_lesson.ops.elementwise import Binary, FloatUnary, Kinked, PositiveUnary


def each(function, *arrays):
    """A function of Python's `math`, for every element."""
    return np.vectorize(function, otypes=[float])(*arrays)


class FloatBinary(Binary):
    """A function of two numbers whose results are no integers, even for integers."""

    def dtype(self, *dtypes):
        known = [np.result_type(x, np.float16) for x in dtypes if x is not None]
        return np.result_type(*known) if known else None


# Angles, in radians.


@op
class Sin(FloatUnary):
    """The sine of an angle in radians: ``y = sin(x)``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.sin(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * F.cos(x),)

    def oracle(self, x):
        return each(math.sin, x)


@op
class Cos(FloatUnary):
    """The cosine of an angle in radians: ``y = cos(x)``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.cos(x, out=out)

    def vjp(self, F, g, y, x):
        return (-g * F.sin(x),)

    def oracle(self, x):
        return each(math.cos, x)


@op
class Tan(FloatUnary):
    """The tangent of an angle in radians: ``y = tan(x)``; infinitely steep at odd multiples of pi / 2."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.tan(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * (1 + y * y),)

    def oracle(self, x):
        return each(math.tan, x)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=-1.2, high=1.2)}


class WithinOne(FloatUnary):
    """A function of numbers between -1 and 1."""

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=-0.9, high=0.9)}


@op
class Arcsin(WithinOne):
    """The angle in radians whose sine is `x`, from -pi / 2 to pi / 2; NaN beyond -1 and 1, infinitely steep there."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.arcsin(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / F.sqrt((1 - x) * (1 + x)),)

    def oracle(self, x):
        return each(math.asin, x)


@op
class Arccos(WithinOne):
    """The angle in radians whose cosine is `x`, from 0 to pi; NaN beyond -1 and 1, infinitely steep there."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.arccos(x, out=out)

    def vjp(self, F, g, y, x):
        return (-g / F.sqrt((1 - x) * (1 + x)),)

    def oracle(self, x):
        return each(math.acos, x)


@op
class Arctan(FloatUnary):
    """The angle in radians whose tangent is `x`, from -pi / 2 to pi / 2."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.arctan(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / (1 + x * x),)

    def oracle(self, x):
        return each(math.atan, x)


@op
class Arctan2(FloatBinary):
    """The angle in radians of the point (`b`, `a`), from -pi to pi: ``tan(y) = a / b``; no gradient at the origin."""

    def forward(self, xp, a, b, out=None):
        return xp.arctan2(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        r = F.hypot(a, b)
        r = F.where(F.equal(r, 0), 1, r)  # not 0 / 0
        return lambda: g * (b / r) / r, lambda: -g * (a / r) / r

    def oracle(self, a, b):
        return each(math.atan2, a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, away_from=0), "b": draw.array(b, away_from=0)}


@op
class Hypot(FloatBinary):
    """The length of a vector, without overflow: ``y = sqrt(a * a + b * b)``; its slope at the origin is taken as 0."""

    whole = True

    def forward(self, xp, a, b, out=None):
        return xp.hypot(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        length = F.where(F.equal(y, 0), 1, y)  # not 0 / 0
        return lambda: g * (a / length), lambda: g * (b / length)

    def oracle(self, a, b):
        return each(math.hypot, a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, away_from=0), "b": draw.array(b)}


def by_factor(xp, function, x, factor, out):
    """A product with a number; NumPy's `function` of that name takes fifteen times as long, and knows integers."""
    dtype = dtype_of(x)
    if dtype is not None and dtype.kind == "f":
        return xp.multiply(x, factor, out=out)
    return function(x, out=out)


@op
class Degrees(FloatUnary):
    """An angle in radians, in degrees: ``y = x * 180 / pi``."""

    def forward(self, xp, x, out=None):
        return by_factor(xp, xp.degrees, x, 180 / math.pi, out)

    def vjp(self, F, g, y, x):
        return (g * (180 / math.pi),)

    def oracle(self, x):
        return each(math.degrees, x)


@op
class Radians(FloatUnary):
    """An angle in degrees, in radians: ``y = x * pi / 180``."""

    def forward(self, xp, x, out=None):
        return by_factor(xp, xp.radians, x, math.pi / 180, out)

    def vjp(self, F, g, y, x):
        return (g * (math.pi / 180),)

    def oracle(self, x):
        return each(math.radians, x)


# Hyperbolas.


@op
class Sinh(FloatUnary):
    """The hyperbolic sine: ``y = (exp(x) - exp(-x)) / 2``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.sinh(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * F.cosh(x),)

    def oracle(self, x):
        return each(math.sinh, x)


@op
class Cosh(FloatUnary):
    """The hyperbolic cosine: ``y = (exp(x) + exp(-x)) / 2``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.cosh(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * F.sinh(x),)

    def oracle(self, x):
        return each(math.cosh, x)


@op
class Arcsinh(FloatUnary):
    """The number whose hyperbolic sine is `x`."""

    def forward(self, xp, x, out=None):
        return xp.arcsinh(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / F.hypot(x, 1),)

    def oracle(self, x):
        return each(math.asinh, x)


@op
class Arccosh(FloatUnary):
    """The number of at least 0 whose hyperbolic cosine is `x`; NaN below 1, infinitely steep there."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.arccosh(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / (F.sqrt(x - 1) * F.sqrt(x + 1)),)

    def oracle(self, x):
        return each(math.acosh, x)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=1.1, high=4)}


@op
class Arctanh(WithinOne):
    """The number whose hyperbolic tangent is `x`; infinite at -1 and 1, NaN beyond."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.arctanh(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / ((1 - x) * (1 + x)),)

    def oracle(self, x):
        return each(math.atanh, x)


# Powers and logarithms.


@op
class Exp2(FloatUnary):
    """Two to the power `x`: ``y = 2 ** x``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.exp2(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * (y * math.log(2)),)

    def oracle(self, x):
        return each(lambda t: 2.0**t, x)


@op
class Log2(PositiveUnary):
    """The logarithm to base 2."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.log2(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / (x * math.log(2)),)

    def oracle(self, x):
        return each(math.log2, x)


@op
class Log10(PositiveUnary):
    """The logarithm to base 10."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.log10(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / (x * math.log(10)),)

    def oracle(self, x):
        return each(math.log10, x)


@op
class Cbrt(Kinked, FloatUnary):
    """The cube root, of negative numbers too; infinitely steep at 0."""

    def forward(self, xp, x, out=None):
        return xp.cbrt(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / (3 * y * y),)

    def oracle(self, x):
        return each(lambda t: math.copysign(abs(t) ** (1 / 3), t), x)


@op
class Rcbrt(Kinked, FloatUnary):
    """One by the cube root: ``y = 1 / cbrt(x)``; infinite at 0."""

    def forward(self, xp, x, out=None):
        return xp.divide(1, xp.cbrt(x), out=out)

    def vjp(self, F, g, y, x):
        return (g * (y / (-3 * x)),)

    def oracle(self, x):
        return each(lambda t: math.copysign(abs(t) ** (-1 / 3), t), x)


@op
class Reciprocal(PositiveUnary):
    """One by `x`: ``y = 1 / x``, for integers too; infinite at 0."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.divide(1, x, out=out)

    def vjp(self, F, g, y, x):
        return (-g * (y * y),)

    def oracle(self, x):
        return each(lambda t: 1 / t, x)


def is_large(a, b):
    """Whether two arrays of floats are worth the steps of `above_gap`: NumPy's own function goes one by one."""
    return all(isinstance(x, np.ndarray) and x.size > 256 and x.dtype.char in "fd" for x in (a, b))


def above_gap(a, b):
    """The larger of both, and the smaller less that; 0 where both are equal, and infinite perhaps."""
    high, low = np.maximum(a, b), np.minimum(a, b)
    return high, np.subtract(low, high, out=np.zeros_like(low), where=low != high)


@op
class Logaddexp(FloatBinary):
    """The logarithm of a sum of exponentials, without overflow: ``y = log(exp(a) + exp(b))``."""

    def forward(self, xp, a, b, out=None):
        if out is None and xp is np and is_large(a, b):
            high, e = above_gap(a, b)
            return np.add(high, np.log1p(np.exp(e, out=e), out=e), out=e)
        return xp.logaddexp(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return lambda: g * F.exp_share(a, y), lambda: g * F.exp_share(b, y)

    def oracle(self, a, b):
        return each(lambda s, t: math.log(math.exp(s) + math.exp(t)), a, b)


@op
class Logaddexp2(FloatBinary):
    """The logarithm to base 2 of a sum of powers of two, without overflow: ``y = log2(2 ** a + 2 ** b)``."""

    def forward(self, xp, a, b, out=None):
        if out is None and xp is np and is_large(a, b):
            high, e = above_gap(a, b)
            e = np.log1p(np.exp2(e, out=e), out=e)
            e *= 1 / math.log(2)
            return np.add(high, e, out=e)
        return xp.logaddexp2(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        def share(x):
            return g * F.exp_share(x * math.log(2), y * math.log(2))

        return lambda: share(a), lambda: share(b)

    def oracle(self, a, b):
        return each(lambda s, t: math.log2(2**s + 2**t), a, b)
