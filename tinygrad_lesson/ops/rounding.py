"""Whole numbers and signs: rounding, remainders, which of two, and questions about a number."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.blocks import are_many_floats, choose, in_blocks, in_one_pass
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of, floating
from tinygrad_lesson.engine.kinds import Comparison
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.ops.choices import Extremum
from tinygrad_lesson.ops.elementwise import Binary, Kinked, Paired, Unary
from tinygrad_lesson.ops.functions import each


class Rounding(Unary):
    """A function that is constant between whole numbers: it has no gradient."""

    differentiable = False

    def vjp(self, F, g, y, x):
        return (None,)

    @classmethod
    def sample(cls, draw):
        jumps = [n / 2 for n in range(-5, 6)]
        return cls(), {"x": draw.array(draw.shape(), low=-2.9, high=2.9, away_from=jumps)}


@op
class Floor(Rounding):
    """The largest whole number that is not above `x`."""

    def forward(self, xp, x, out=None):
        return xp.floor(x, out=out)

    def oracle(self, x):
        return each(math.floor, x)


@op
class Ceil(Rounding):
    """The smallest whole number that is not below `x`."""

    def forward(self, xp, x, out=None):
        return xp.ceil(x, out=out)

    def oracle(self, x):
        return each(math.ceil, x)


@op
class Trunc(Rounding):
    """`x` with its fraction cut off."""

    def forward(self, xp, x, out=None):
        return xp.trunc(x, out=out)

    def oracle(self, x):
        return each(math.trunc, x)


@op
class Rint(Rounding):
    """The nearest whole number; `ties` says which of two that are as near.

    Source
        NumPy's `rint` takes the even one, MXNet's `rint` the lower one, its `round` the one that is further from 0.
    """

    ties: str = attr(
        "even", choices=("even", "down", "away"), doc="the one that is even, lower, or further from 0"
    )

    def forward(self, xp, x):
        if self.ties == "even":
            return xp.rint(x)
        if x.dtype.kind in "iu":
            return xp.positive(x)
        if self.ties == "down":
            low, high = xp.floor(x), xp.ceil(x)
            return xp.where(xp.less_equal(xp.subtract(x, low), xp.subtract(high, x)), low, high)
        whole = xp.trunc(x)
        far = xp.greater_equal(xp.abs(xp.subtract(x, whole)), 0.5)
        return xp.add(whole, xp.where(far, xp.sign(x), 0))

    def oracle(self, x):
        ways = {
            "even": round,
            "down": lambda t: math.ceil(t - 0.5),
            "away": lambda t: math.copysign(int(abs(t) + 0.5), t),
        }
        return each(ways[self.ties], x)

    def dtype(self, x):
        whole = self.ties != "even" and x is not None and x.kind in "iu"  # NumPy alone makes them fractions
        return x if x is None or whole else np.result_type(x, np.float16)

    @classmethod
    def sample(cls, draw):
        return cls(ties=draw.choice(("even", "down", "away"))), super().sample(draw)[1]


@op
class Remainder(Binary):
    """What is left of `a` when `b` is taken from it as often as it goes; it has the sign of `b`, as Python's ``a % b``.

    The gradient is that between the jumps.
    """

    compiled = True

    zero: bool = attr(False, shown=False, doc="0 instead of NaN where `b` is 0, as in MXNet")

    def forward(self, xp, a, b):
        y = xp.remainder(a, b)
        return xp.where(xp.equal(b, 0), 0, y) if self.zero else y

    def vjp(self, F, g, y, a, b):
        return g, lambda: -g * F.floor_divide(a, b)

    def oracle(self, a, b):
        return each(lambda s, t: s % t, a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, low=0.2, high=0.9), "b": draw.array(b, low=1.1, high=2)}


@op
class Fmod(Binary):
    """What is left of `a` when `b` is taken from it as often as it goes; it has the sign of `a`, as in C.

    The gradient is that between the jumps.
    """

    compiled = True

    def forward(self, xp, a, b, out=None):
        return xp.fmod(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return g, lambda: -g * F.trunc(a / b)

    def oracle(self, a, b):
        return each(math.fmod, a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, low=0.2, high=0.9), "b": draw.array(b, low=1.1, high=2)}


@op
class FloorDivide(Binary):
    """How often `b` goes into `a`: ``y = floor(a / b)``, without gradient."""

    compiled = True
    differentiable = False

    def forward(self, xp, a, b, out=None):
        return xp.floor_divide(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return None, None

    def oracle(self, a, b):
        return each(lambda s, t: s // t, a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, low=0.2, high=0.9), "b": draw.array(b, low=1.1, high=2)}


@op
class Fmax(Extremum):
    """The larger of two numbers, the other one where one is NaN; on a tie `a` has the gradient, or each half of it."""

    ties: str = attr(
        "first", choices=("first", "share"), shown=False, doc="which of two that tie get the gradient"
    )

    def forward(self, xp, a, b, out=None):
        return xp.fmax(a, b, out=out)

    def shares(self, F, y, a, b):
        return F.equal(a, y), F.not_equal(a, y)

    def oracle(self, a, b):
        return each(max, a, b)


@op
class Fmin(Extremum):
    """The smaller of two numbers, the other one where one is NaN; on a tie `a` has the gradient, or each half of it."""

    ties: str = attr(
        "first", choices=("first", "share"), shown=False, doc="which of two that tie get the gradient"
    )

    def forward(self, xp, a, b, out=None):
        return xp.fmin(a, b, out=out)

    def shares(self, F, y, a, b):
        return F.equal(a, y), F.not_equal(a, y)

    def oracle(self, a, b):
        return each(min, a, b)


@op
class Copysign(Binary):
    """`a` with the sign of `b`."""

    compiled = True

    def forward(self, xp, a, b, out=None):
        return xp.copysign(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return lambda: g * (F.sign(a) * F.sign(y)), None

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    def oracle(self, a, b):
        return each(math.copysign, a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, away_from=0), "b": draw.array(b, away_from=0)}


@op
class Heaviside(Binary):
    """0 below 0, 1 above it, and `b` where `a` is 0."""

    compiled = True

    def forward(self, xp, a, b, out=None):
        return xp.heaviside(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return None, lambda: F.where(F.equal(a, 0), g, 0)

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    def oracle(self, a, b):
        return each(lambda s, t: t if s == 0 else float(s > 0), a, b)

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, away_from=0), "b": draw.array(b)}


@op
class NanToNum(Kinked):
    """`x` with numbers in the place of NaN and of infinities, where no gradient passes."""

    compiled = True
    nan: float = attr(0.0, doc="in the place of NaN")
    posinf: float | None = attr(None, doc="in the place of infinity; None for the largest number of the type")
    neginf: float | None = attr(
        None, doc="in the place of minus infinity; None for the lowest number of the type"
    )

    def forward(self, xp, x):
        kind = dtype_of(x)
        if kind is None or kind.kind != "f":
            return xp.nan_to_num(x, nan=self.nan, posinf=self.posinf, neginf=self.neginf)
        most = float(np.finfo(kind).max)
        high, low = (m if b is None else b for m, b in ((most, self.posinf), (-most, self.neginf)))

        def finite(x, out):
            y = choose(xp, xp.isnan(x), self.nan, x)
            y = choose(xp, xp.equal(x, math.inf), high, y)
            return choose(xp, xp.equal(x, -math.inf), low, y)

        return in_blocks(xp, finite, x)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (F.where(F.isfinite(x), g, 0),)

    def oracle(self, x):
        return x


class Question(Comparison):
    """A question about a number."""

    broadcasts = None

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}


@op
class Isnan(Question):
    """Whether a number is NaN."""

    def forward(self, xp, x, out=None):
        return xp.isnan(x, out=out)

    def oracle(self, x):
        return np.vectorize(math.isnan, otypes=[bool])(x)


@op
class Isinf(Question):
    """Whether a number is infinite."""

    def forward(self, xp, x, out=None):
        return xp.isinf(x, out=out)

    def oracle(self, x):
        return np.vectorize(math.isinf, otypes=[bool])(x)


@op
class Isfinite(Question):
    """Whether a number is neither infinite nor NaN."""

    def forward(self, xp, x, out=None):
        return xp.isfinite(x, out=out)

    def oracle(self, x):
        return np.vectorize(math.isfinite, otypes=[bool])(x)


class Logical(Comparison):
    """A combination of truth values; a number is true unless it is 0."""

    @staticmethod
    def truths(xp, *values):
        """Many floats as truth values, of which NumPy combines sixteen at a time, and floats one by one."""
        return [xp.not_equal(x, 0) if are_many_floats(xp, x) else x for x in values]

    @classmethod
    def sample(cls, draw):
        arrays = [np.trunc(draw.array(shape)) for shape in draw.broadcasting(len(cls.inputs))]
        return cls(), dict(zip(cls.inputs, arrays, strict=True))


@op
class LogicalAnd(Paired, Logical):
    """Whether both are true."""

    def forward(self, xp, a, b, out=None):
        return xp.logical_and(*self.truths(xp, a, b), out=out)

    def oracle(self, a, b):
        return np.vectorize(lambda s, t: bool(s and t), otypes=[bool])(a, b)


@op
class LogicalOr(Paired, Logical):
    """Whether one is true, or both are."""

    def forward(self, xp, a, b, out=None):
        return xp.logical_or(*self.truths(xp, a, b), out=out)

    def oracle(self, a, b):
        return np.vectorize(lambda s, t: bool(s or t), otypes=[bool])(a, b)


@op
class LogicalXor(Paired, Logical):
    """Whether one is true and the other is not."""

    def forward(self, xp, a, b, out=None):
        return xp.logical_xor(*self.truths(xp, a, b), out=out)

    def oracle(self, a, b):
        return np.vectorize(lambda s, t: bool(s) != bool(t), otypes=[bool])(a, b)


@op
class LogicalNot(Logical):
    """Whether it is not true."""

    def forward(self, xp, x, out=None):
        return xp.logical_not(*self.truths(xp, x), out=out)

    def oracle(self, x):
        return np.vectorize(lambda s: not s, otypes=[bool])(x)
