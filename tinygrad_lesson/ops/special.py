"""The error function, with what belongs to it, in NumPy alone.

Everything is computed in float64 and then rounded to the element type of `x`. The quotients of polynomials were
fitted for this file, in 50 digits with mpmath: least squares on Chebyshev points, made nearly minimax by iterated
weights (Sanathanan and Koerner 1963, Lawson 1961). Next to each stands its largest relative error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.blocks import choose, each_in_one_pass, in_blocks, in_one_pass
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of, in_type
from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.engine.namespace import Methods, as_method
from tinygrad_lesson.engine.op import FUNCTIONS
from tinygrad_lesson.ops.angles import WithinOne
from tinygrad_lesson.ops.elementwise import FloatUnary
from tinygrad_lesson.ops.functions import FloatBinary
from tinygrad_lesson.ops.ramps import Sigmoid

FUNCTIONS["expit"] = Sigmoid  # SciPy's name for it
Methods.expit = as_method(Sigmoid)  # type: ignore[attr-defined]

# erf(x) / x up to 1, in x**2: 8e-17.
ERF = (
    (1.1283791670955126, 0.08822304914913398, 0.03818025231780661, -0.00016211173367665688, 0.00011881126413538361,
     -3.0865970600644983e-06),
    (1.0, 0.4115189749348205, 0.07100935927016228, 0.006183744947995962, 0.00023404738843023774),
)  # fmt: skip
# exp(x**2) erfc(x) / t from 1/2 on, in t = 1 / (1 + x): 5e-16.
ERFCX = (
    (0.5641895835477566, 2.759013434224999, 13.948400228000859, 40.017203301922315, 96.55862217406295,
     164.31975286947377, 212.47688913226378, 183.87857821691284, 87.49946342421235, -0.23458841994026683),
    (1.0, 3.890223986192955, 20.332671711677364, 49.150862414187536, 115.02361407277678, 166.92929582095235,
     200.25216281473453, 151.43973269914613, 76.75714491838622, 17.01181813686593),
)  # fmt: skip
# In single precision: artanh(erf(x)) / x up to 4, in x**2, to 3e-9 of erf; exp(x**2) erfc(x) / t, in t: 1.3e-8.
ERF_SHORT = (
    (1.1283791708, 0.279806945, 0.04264667444, 0.002178295283),
    (1.0, 0.1568926807, 0.02369002172, 0.0003249272),
)
ERFCX_SHORT = (
    (0.56418762727, 0.84036441421, 2.64131680835, 2.53190069785, 1.97859591696, -0.23809077736),
    (1.0, 0.489387158, 3.6937107978, 1.0427652935, 2.0924115468),
)
# erfinv(x) / x up to 3/4, in 9/16 - x**2: 5e-17.
ERFINV = (
    (1.0845597967968246, 6.1424160443577644, 12.615610744619959, 11.435769874682356, 4.429433151067932,
     0.5848797141202806, 0.011916443030513969),
    (1.0, 6.1822588050121805, 14.219684637155996, 15.028728562705275, 7.281627501411505, 1.3941898363291543,
     0.06768164465840375),
)  # fmt: skip
# The same in single precision: 2.3e-9.
ERFINV_SHORT = (
    (1.08455979434, 2.79050723541, 1.61115853825, 0.119168882134),
    (1.0, 3.09168743937, 2.47001274006, 0.413101677776),
)
# The x for which erfc(x) = q is at most 1/4, in sqrt(-log(q)): 3e-9, before a step of Newton's.
ERFCINV = (
    (-0.027168968162073027, 0.1804256197610098, 0.3644951295819361, 1.9640072031548985, 0.7908618725813853,
     0.052852635168586674),
    (1.0, 1.2999628704886852, 2.0784879533384575, 0.791554839584184, 0.05284552973526855, 4.622398666316365e-08),
)  # fmt: skip


def quotient(coefficients, t):
    """One polynomial by another, the lowest coefficients first."""
    over, under = coefficients
    return horner(over, t) / horner(under, t)


def horner(coefficients, t):
    """A polynomial."""
    y = coefficients[-1] * t
    for c in coefficients[-2:0:-1]:
        y += c
        y *= t
    y += coefficients[0]
    return y


SINGLE: Any = np.dtype(np.float32)
DOUBLE: Any = np.dtype(float)


class Special(FloatUnary):
    """A function of one number in float64: by `values(xp, x)`, or `short(xp, x)`, with fewer digits for float32."""

    compiled = True
    values: ClassVar[Callable[..., Any]]
    short: ClassVar[Callable[..., Any] | None] = None

    def forward(self, xp, x):
        kind = dtype_of(x)
        if kind is None:
            return self.values(xp, x)
        if kind.kind == "c":
            raise DTypeError(f"{self.function}: x is {kind}, expected real numbers")
        function = self.values
        if self.short is not None and kind.kind == "f" and kind.itemsize <= SINGLE.itemsize:
            function = self.short

        def values(x, out):
            return in_type(xp, function(xp, in_type(xp, x, DOUBLE)), self.dtype(kind))

        return in_blocks(xp, values, x)


# The error function. Pieces are given numbers of their own range only, so that none overflows where it is not used.


def bell(xp, x, sign):
    """``exp(sign * x * x)``; the square in two parts, since its rounding would be felt."""
    near = xp.floor(x * 16) / 16
    return xp.exp(sign * near * near) * xp.exp(sign * (x - near) * (x + near))


FAR = 40.0  # from where on a Gaussian is 0 in float64, and so are its derivatives


def near_zero(F, x):
    """`x` kept where a Gaussian is not 0."""
    return F.minimum(F.maximum(x, -FAR), FAR)


def gaussian(F, x):
    """``exp(-x * x)`` for rules: of large numbers the square would be infinite, and 0 times that NaN in derivatives."""
    return F.exp(F.negative(F.square(near_zero(F, x))))


def scaled(x):
    """``exp(x**2) * erfc(x)`` from 1/2 on."""
    t = 1 / (1 + x)
    return t * quotient(ERFCX, t)


def inner(xp, x, bound):
    """`erf` up to `bound`, which is at most 1."""
    x = xp.minimum(xp.maximum(x, -bound), bound)
    return x * quotient(ERF, x * x)


def outer(xp, x, bound):
    """`erfc` of `x` from `bound` on; from 30 on it is 0."""
    x = xp.minimum(xp.maximum(x, bound), 30.0)
    return bell(xp, x, -1) * scaled(x)


@op
class Erf(Special):
    """The error function: ``y = 2 / sqrt(pi) * integral of exp(-t * t) from 0 to x``."""

    def values(self, xp, x):
        size = xp.abs(x)
        far = xp.copysign(1 - outer(xp, size, 1.0), x)
        return choose(xp, xp.less(size, 1), inner(xp, x, 1.0), far)

    def short(self, xp, x):
        x = xp.minimum(xp.maximum(x, -4), 4)
        return xp.tanh(in_type(xp, x * quotient(ERF_SHORT, x * x), SINGLE))

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * (gaussian(F, x) * (2 / math.sqrt(math.pi))),)

    def oracle(self, x):
        return np.vectorize(math.erf, otypes=[float])(x)


@op
class Erfc(Special):
    """What the error function lacks to 1: ``y = 1 - erf(x)``, with all digits where that is small."""

    def values(self, xp, x):
        tail = outer(xp, xp.abs(x), 0.5)
        far = choose(xp, xp.less(x, 0), 2 - tail, tail)
        return choose(xp, xp.less(xp.abs(x), 0.5), 1 - inner(xp, x, 0.5), far)

    def short(self, xp, x):
        size = xp.minimum(xp.abs(x), 11)  # from there on it is 0
        t = 1 / (size + 1)
        tail = xp.exp(-size * size) * (t * quotient(ERFCX_SHORT, t))
        return choose(xp, xp.less(x, 0), 2 - tail, tail)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * (gaussian(F, x) * (-2 / math.sqrt(math.pi))),)

    def oracle(self, x):
        return np.vectorize(math.erfc, otypes=[float])(x)


@op
class Erfcx(Special):
    """`erfc` without its bell: ``y = exp(x * x) * erfc(x)``."""

    def values(self, xp, x):
        far = scaled(xp.maximum(xp.abs(x), 0.5))
        near = bell(xp, xp.clip(x, -0.5, 0.5), 1) * (1 - inner(xp, x, 0.5))
        far = choose(xp, xp.less(x, 0), 2 * bell(xp, xp.clip(x, -30.0, 0.0), 1) - far, far)
        return choose(xp, xp.less(xp.abs(x), 0.5), near, far)

    def vjp(self, F, g, y, x):
        return (g * (2 * x * y - 2 / math.sqrt(math.pi)),)

    def oracle(self, x):
        return np.vectorize(lambda t: math.exp(t * t) * math.erfc(t), otypes=[float])(x)


def middle(xp, x, coefficients):
    """`erfinv` up to 3/4."""
    x = xp.minimum(xp.maximum(x, -0.75), 0.75)
    return x * quotient(coefficients, 0.5625 - x * x)


def quantile(xp, q, single=False):
    """The number whose `erfc` is `q`, at most 1/4: one step of Newton's in logarithms from a good guess.

    The guess alone will do in single precision, and so will a logarithm with as many digits.
    """
    least = 1e-45 if single else 5e-324
    log = -xp.log(xp.minimum(xp.maximum(in_type(xp, q, SINGLE if single else DOUBLE), least), 0.25))
    y = quotient(ERFCINV, in_type(xp, xp.sqrt(log), DOUBLE))
    if not single:
        e = scaled(y)
        y = y - (y * y - xp.log(e) - log) * (math.sqrt(math.pi) / 2) * e
    return choose(xp, xp.greater(q, 0), y, choose(xp, xp.equal(q, 0), math.inf, math.nan))


@op
class Erfinv(Special, WithinOne):
    """The number whose `erf` is `x`; infinite at -1 and 1, NaN beyond."""

    def values(self, xp, x):
        far = xp.copysign(quantile(xp, 1 - xp.abs(x)), x)
        return choose(xp, xp.less_equal(xp.abs(x), 0.75), middle(xp, x, ERFINV), far)

    def short(self, xp, x):
        far = xp.copysign(quantile(xp, 1 - xp.abs(x), single=True), x)
        return choose(xp, xp.less_equal(xp.abs(x), 0.75), middle(xp, x, ERFINV_SHORT), far)

    def vjp(self, F, g, y, x):
        return (g * (math.sqrt(math.pi) / 2 * F.exp(y * y)),)

    def oracle(self, x):
        return bisected(lambda y: math.erf(y), x, 1)


@op
class Erfcinv(Special):
    """The number whose `erfc` is `x`; infinite at 0 and 2, NaN beyond."""

    def values(self, xp, x):
        far = xp.copysign(quantile(xp, xp.minimum(x, 2 - x)), 1 - x)
        return choose(xp, xp.less_equal(xp.abs(1 - x), 0.75), middle(xp, 1 - x, ERFINV), far)

    def short(self, xp, x):
        far = xp.copysign(quantile(xp, xp.minimum(x, 2 - x), single=True), 1 - x)
        return choose(xp, xp.less_equal(xp.abs(1 - x), 0.75), middle(xp, 1 - x, ERFINV_SHORT), far)

    def vjp(self, F, g, y, x):
        return (g * (-math.sqrt(math.pi) / 2 * F.exp(y * y)),)

    def oracle(self, x):
        return bisected(lambda y: math.erfc(y), x, -1)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=0.1, high=1.9)}


def bisected(function, x, sign):
    """Where a function that rises (`sign` 1) or falls has the values `x`."""
    low, high = np.full(np.shape(x), -8.0), np.full(np.shape(x), 8.0)
    for _ in range(80):
        half = (low + high) / 2
        above = sign * np.vectorize(function, otypes=[float])(half) > sign * np.asarray(x)
        low, high = np.where(above, low, half), np.where(above, half, high)
    return (low + high) / 2


# Products with a logarithm.


@op
class Xlogy(FloatBinary):
    """``y = a * log(b)``, and 0 where `a` is 0 and `b` is a number."""

    compiled = True

    def forward(self, xp, a, b):
        nothing = xp.logical_and(xp.equal(a, 0), xp.equal(b, b))
        return choose(xp, nothing, 0, a * xp.log(choose(xp, nothing, 1, b)))

    @each_in_one_pass
    def vjp(self, F, g, y, a, b):
        return lambda: g * F.log(b), lambda: g * (a / b)

    def oracle(self, a, b):
        return a * np.log(b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a), "b": draw.array(b, low=0.2, high=3)}


@op
class Xlog1py(FloatBinary):
    """``y = a * log(1 + b)``, and 0 where `a` is 0 and `b` is a number."""

    compiled = True
    function = "xlog1py"

    def forward(self, xp, a, b):
        nothing = xp.logical_and(xp.equal(a, 0), xp.equal(b, b))
        return choose(xp, nothing, 0, a * xp.log1p(choose(xp, nothing, 0, b)))

    @each_in_one_pass
    def vjp(self, F, g, y, a, b):
        return lambda: g * F.log1p(b), lambda: g * (a / (1 + b))

    def oracle(self, a, b):
        return a * np.log1p(b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a), "b": draw.array(b, low=-0.7, high=3)}
