"""Angles and hyperbolas: sines, tangents, what turns them back, the lengths of vectors."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.blocks import choose, each_in_one_pass, in_blocks, in_one_pass
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of
from tinygrad_lesson.ops.elementwise import FloatUnary, Unary, floated
from tinygrad_lesson.ops.functions import FloatBinary, each

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
class Sinc(FloatUnary):
    """``y = sin(pi x) / (pi x)``, and 1 at 0, where its slope is 0 and its curvature ``-pi**2 / 3``."""

    compiled = True
    analytic = True

    def forward(self, xp, x):
        def values(x, out):
            z = floated(xp, x) * math.pi
            zero = xp.equal(z, 0)
            return choose(xp, zero, 1, xp.sin(z) / choose(xp, zero, 1, z))

        return in_blocks(xp, values, x)

    @in_one_pass
    def vjp(self, F, g, y, x):
        z = x * math.pi
        near = F.less(F.abs(z), 0.5)  # where the difference would lose digits there is a series
        small = F.where(near, z, 0)
        square, series = F.square(small), 1
        for n in (180, 130, 88, 54, 28, 10):
            series = 1 - square * series * (1 / n)
        slope = (F.cos(z) - y) / F.where(near, 1, x)
        return (g * F.where(near, small * series * (-math.pi / 3), slope),)

    def oracle(self, x):
        return np.sinc(x)


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
class OneLessSquare(Unary):
    """``y = 1 - x * x``, with all digits near -1 and 1."""

    analytic = True

    def forward(self, xp, x):
        return (1 - x) * (1 + x)

    def vjp(self, F, g, y, x):
        return (g * (-2 * x),)

    def oracle(self, x):
        return 1 - x**2


@op
class Arcsin(WithinOne):
    """The angle in radians whose sine is `x`, from -pi / 2 to pi / 2; NaN beyond -1 and 1, infinitely steep there."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.arcsin(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / F.sqrt(F.one_less_square(x)),)

    def oracle(self, x):
        return each(math.asin, x)


@op
class Arccos(WithinOne):
    """The angle in radians whose cosine is `x`, from 0 to pi; NaN beyond -1 and 1, infinitely steep there."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.arccos(x, out=out)

    def vjp(self, F, g, y, x):
        return (-g / F.sqrt(F.one_less_square(x)),)

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

    @each_in_one_pass
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

    compiled = True
    whole = True

    def forward(self, xp, a, b, out=None):
        return xp.hypot(a, b, out=out)

    @each_in_one_pass
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

    @in_one_pass
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
        return (g / F.sqrt(x - 1) / F.sqrt(x + 1),)

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
        return (g / F.one_less_square(x),)

    def oracle(self, x):
        return each(math.atanh, x)
