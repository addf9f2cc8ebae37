"""Powers, roots and logarithms beyond arithmetic, of one number and of two."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.blocks import each_in_one_pass, in_one_pass
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.ops.elementwise import Binary, FloatUnary, Kinked, PositiveUnary


def each(function, *arrays):
    """A function of Python's `math`, for every element."""
    return np.vectorize(function, otypes=[float])(*arrays)


class FloatBinary(Binary):
    """A function of two numbers whose results are no integers, even for integers."""

    def dtype(self, *dtypes):
        known = [np.result_type(x, np.float16) for x in dtypes if x is not None]
        return np.result_type(*known) if known else None


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
        r = F.reciprocal(y)  # not y * y, which would be 0 times infinity in the second derivative at 0
        return (g * r * r / 3,)

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

    compiled = True

    def forward(self, xp, a, b, out=None):
        if out is None and xp is np and is_large(a, b):
            high, e = above_gap(a, b)
            return np.add(high, np.log1p(np.exp(e, out=e), out=e), out=e)
        return xp.logaddexp(a, b, out=out)

    @each_in_one_pass
    def vjp(self, F, g, y, a, b):
        return lambda: g * F.exp_share(a, y), lambda: g * F.exp_share(b, y)

    def oracle(self, a, b):
        return each(lambda s, t: math.log(math.exp(s) + math.exp(t)), a, b)


@op
class Logaddexp2(FloatBinary):
    """The logarithm to base 2 of a sum of powers of two, without overflow: ``y = log2(2 ** a + 2 ** b)``."""

    compiled = True

    def forward(self, xp, a, b, out=None):
        if out is None and xp is np and is_large(a, b):
            high, e = above_gap(a, b)
            e = np.log1p(np.exp2(e, out=e), out=e)
            e *= 1 / math.log(2)
            return np.add(high, e, out=e)
        return xp.logaddexp2(a, b, out=out)

    @each_in_one_pass
    def vjp(self, F, g, y, a, b):
        def share(x):
            return g * F.exp_share(x * math.log(2), y * math.log(2))

        return lambda: share(a), lambda: share(b)

    def oracle(self, a, b):
        return each(lambda s, t: math.log2(2**s + 2**t), a, b)


@op
class Rsqrt(PositiveUnary):
    """``y = 1 / sqrt(x)``."""

    compiled = True

    def forward(self, xp, x, out=None):
        root = xp.sqrt(x, out=out)
        return xp.divide(1, root, out=root if root.__class__ is np.ndarray else out)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * (-0.5 * y / x),)
