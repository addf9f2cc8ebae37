"""Arithmetic, comparisons and functions of one number, element by element; inputs broadcast."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.blocks import at_least, at_most, by_blocks, choose, in_blocks
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import NUMBERS, dtype_of, floating, has_room, in_type, roomy, with_room
from tinygrad_lesson.engine.errors import DTypeError, ShapeError
from tinygrad_lesson.engine.kinds import Comparison, Elementwise
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import broadcast, merge, show


@declares
class Binary(Elementwise):
    """An elementwise op of two inputs."""

    same_shape: bool = attr(False, shown=False, doc="refuse to broadcast, as MXNet's `a + b` does")

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "fits", self.ours and self.same_shape)

    def complete(self, shapes: Any, results: Any) -> Any:
        """With `same_shape`, what is known of one input holds for the other and for the result."""
        if not self.same_shape:
            return super().complete(shapes, results)
        try:
            shape = merge(merge(shapes[0], shapes[1]), results[0])
        except ShapeError:
            found, expected = show(shapes[1]), show(shapes[0])
            message = (
                f"{self.inputs[1]} is {found}, expected {expected}; broadcast_{self.function} would repeat it"
            )
            raise ShapeError(message) from None
        return [shape, shape], [shape]

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a), "b": draw.array(b)}


def products(g, a, b):
    """`g` times the other operand; by itself, since a rule that makes functions costs more to call."""
    return lambda: g * b, lambda: g * a


def is_nothing(F, x, other):
    """Whether adding the number `x` leaves `other` as it is: with floats -0.0 does, while 0.0 makes 0.0 of -0.0."""
    number, dtype = F.number(x), F.dtypes[other]
    return number == 0 and ((dtype is not None and dtype.kind in "iu") or math.copysign(1, number) < 0)


def negated(F, x):
    """Whether `x` is a negative that can be done later: of floats, since it makes short integers wrap around."""
    dtype = F.dtypes[x]
    return isinstance(x.node.op, Negative) and (dtype is None or dtype.kind == "f")


@op
class Add(Binary):
    """Sum of two arrays: ``y = a + b``."""

    analytic = True

    def forward(self, xp, a, b, out=None):
        return xp.add(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return g, g

    def rewrite(self, F, shapes, a, b):
        if is_nothing(F, a, b) or is_nothing(F, b, a):
            return b if is_nothing(F, a, b) else a
        if negated(F, b):
            return F.subtract(a, b.node.inputs[0])
        return F.subtract(b, a.node.inputs[0]) if negated(F, a) else None


@op
class Subtract(Binary):
    """Difference of two arrays: ``y = a - b``."""

    analytic = True

    def forward(self, xp, a, b, out=None):
        return xp.subtract(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return g, lambda: -g

    def rewrite(self, F, shapes, a, b):
        if F.number(b) == 0 and math.copysign(1, F.number(b)) > 0:  # -0.0 less -0.0 is 0.0
            return a
        return F.add(a, b.node.inputs[0]) if negated(F, b) else None


@op
class Multiply(Binary):
    """Product of two arrays: ``y = a * b``."""

    analytic = True

    def forward(self, xp, a, b, out=None):
        return xp.multiply(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return (g * b, g * a) if self.same_shape else products(g, a, b)

    def rewrite(self, F, shapes, a, b):
        if F.number(a) == 1 or F.number(b) == 1:
            return b if F.number(a) == 1 else a
        if negated(F, a):
            return F.negative(F.multiply(a.node.inputs[0], b))
        return F.negative(F.multiply(a, b.node.inputs[0])) if negated(F, b) else None


@op
class Divide(Binary):
    """Quotient of two arrays: ``y = a / b``."""

    analytic = True
    whole = True

    def forward(self, xp, a, b, out=None):
        return xp.divide(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return lambda: g / b, lambda: -g * y / b

    def rewrite(self, F, shapes, a, b):
        if F.number(b) == 1:
            return a
        return F.negative(F.divide(a.node.inputs[0], b)) if negated(F, a) else None

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a), "b": draw.array(b, away_from=0)}


@op
class Power(Binary):
    """`a` to the power `b`: ``y = a ** b``.

    The gradient for the exponent is 0 where the base is 0.
    """

    analytic = True
    whole = True

    def forward(self, xp, a, b, out=None):
        return xp.power(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        def base():
            safe = F.where(F.equal(b, 0), F.where(F.equal(a, 0), 1, a), a)  # 0 ** 0: not 0 * 0**-1
            return g * (b * safe ** (b - 1))

        def exponent():
            zero = F.equal(a, 0)
            return F.where(zero, 0, g * (y * F.log(F.where(zero, 1, a))))

        return base, exponent

    def dtype(self, *operands):
        return counted(super().dtype(*operands))

    @classmethod
    def sample(cls, draw):
        a, b = draw.broadcasting(2)
        return cls(), {"a": draw.array(a, low=0.2, high=3), "b": draw.array(b)}


class Extremum(Binary):
    """One of two arrays, element by element."""

    ties = "first"

    def shares(self, F, y, a, b):
        """Where the gradient goes to `a` on a tie, and where to `b`."""
        raise NotImplementedError

    def vjp(self, F, g, y, a, b):
        to_a, to_b = self.shares(F, y, a, b)
        if self.ties == "first":
            return lambda: F.where(to_a, g, 0), lambda: F.where(to_b, g, 0)
        half = F.where(F.equal(a, b), g * 0.5, g)
        return lambda: F.where(to_a, half, 0), lambda: F.where(F.logical_or(to_b, F.equal(a, b)), half, 0)

    @classmethod
    def sample(cls, draw):
        return dataclasses.replace(cls(), **{"ties": draw.choice(("first", "share"))}), draw.apart("a", "b")


@op
class Maximum(Extremum):
    """The larger of two arrays; on a tie the gradient goes to `a`, or half of it to each.

    Source
        MXNet 1.9, `broadcast_maximum`, where it goes to `a`.
    """

    ties: str = attr(
        "first", choices=("first", "share"), shown=False, doc="which of two that tie get the gradient"
    )

    def forward(self, xp, a, b, out=None):
        return at_least(xp, a, b, out=out) if type(b) in NUMBERS else xp.maximum(a, b, out=out)

    def shares(self, F, y, a, b):
        return F.greater_equal(a, b), F.less(a, b)


@op
class Minimum(Extremum):
    """The smaller of two arrays; on a tie the gradient goes to `a`, or half of it to each.

    Source
        MXNet 1.9, `broadcast_minimum`, where it goes to `a`.
    """

    ties: str = attr(
        "first", choices=("first", "share"), shown=False, doc="which of two that tie get the gradient"
    )

    def forward(self, xp, a, b, out=None):
        return at_most(xp, a, b, out=out) if type(b) in NUMBERS else xp.minimum(a, b, out=out)

    def shares(self, F, y, a, b):
        return F.less_equal(a, b), F.greater(a, b)


@op
class WithScalar(Elementwise):
    """A binary op with a number on one side: ``x + 1``, ``1 - x``, ``x > 0``."""

    binary: Op = attr(doc="the op of two inputs")
    scalar: float = attr(doc="the number")
    reverse: bool = attr(False, doc="the number stands on the left")

    def label(self) -> str:
        """`WithScalar(Subtract(1.0, x))`."""
        left, right = self.sides("x")
        return f"{self.name}({self.binary.name}({left}, {right}))"

    def sides(self, x):
        """The array and the number in their order."""
        return (self.scalar, x) if self.reverse else (x, self.scalar)

    @property
    def differentiable(self):
        """Whether the op of two inputs is."""
        return self.binary.differentiable

    @property
    def whole(self):
        """Whether the op of two inputs is."""
        return self.binary.whole

    def keeping(self, dtype):
        """With the number cut off to an integer of this type.

        Source
            MXNet 1.9.1, ``DType(alpha)`` in `elemwise_binary_scalar_op.h`; powers are taken of floats there.
        """
        if not math.isfinite(self.scalar):
            raise DTypeError(f"the number is {self.scalar}, expected a finite one for {dtype}")
        kind = np.dtype(np.int64) if dtype.kind == "b" else dtype
        scalar = np.array(int(self.scalar)).astype(kind).item()
        if scalar == 0 and isinstance(self.binary, Divide) and not self.reverse:
            raise DTypeError(f"the number {self.scalar} is 0 in {dtype}, which divides; bind float32 instead")
        return dataclasses.replace(self, scalar=float(scalar) if isinstance(self.binary, Power) else scalar)

    def dtype(self, x):
        return self.binary.dtype(None if x is None else np.result_type(x, type(self.scalar)()))

    def forward(self, xp, x, out=None):
        return self.binary.forward(xp, *self.sides(x), out=out)

    def vjp(self, F, g, y, x):
        return (self.binary.vjp(F, g, y, *self.sides(x))[int(self.reverse)],)

    def rewrite(self, F, shapes, x):
        return F.apply(self.binary, self.sides(x))

    @classmethod
    def sample(cls, draw):
        binary = draw.choice((Add(), Subtract(), Multiply(), Divide(), Power(), Maximum(), Greater()))
        x = draw.array(draw.shape(), low=0.5, high=2, away_from=1.5)
        return cls(binary=binary, scalar=1.5, reverse=draw.boolean()), {"x": x}


class BinaryComparison(Comparison):
    """A comparison of two arrays."""

    @classmethod
    def sample(cls, draw):
        return cls(), draw.apart("a", "b")


@op
class Equal(BinaryComparison):
    """Whether two arrays are equal, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.equal(a, b, out=out)


@op
class NotEqual(BinaryComparison):
    """Whether two arrays differ, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.not_equal(a, b, out=out)


@op
class Greater(BinaryComparison):
    """Whether `a` is larger than `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.greater(a, b, out=out)


@op
class GreaterEqual(BinaryComparison):
    """Whether `a` is at least `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.greater_equal(a, b, out=out)


@op
class Less(BinaryComparison):
    """Whether `a` is smaller than `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.less(a, b, out=out)


@op
class LessEqual(BinaryComparison):
    """Whether `a` is at most `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.less_equal(a, b, out=out)


@op
class Where(Elementwise):
    """`a` where `condition` holds, else `b`.

    Source
        For `rows`: MXNet 1.9, `where`.
    """

    analytic = True
    mixes_dtypes = True
    rows: bool = attr(False, doc="a condition of one axis chooses rows, one for each, as in MXNet")

    def row_shape(self, shapes):
        """The shape in which a condition that chooses rows broadcasts with them; None if it chooses elements."""
        condition, rank = shapes[0], max(map(len, shapes[1:]), default=0)
        return (*condition, *[1] * (rank - 1)) if self.rows and len(condition) == 1 < rank else None

    def shape(self, condition, *values):
        by_row = self.row_shape((condition, *values))
        if by_row is None:
            return super().shape(condition, *values)
        y = broadcast(*values)
        if None not in (by_row[0], y[0]) and by_row[0] != y[0]:
            raise ShapeError(
                f"condition is {show(condition)}, expected {show(y[:1])}, one for each row of {show(y)}"
            )
        return broadcast(by_row, y)

    def forward(self, xp, condition, a, b):
        if self.rows:
            by_row = self.row_shape([np.shape(x) for x in (condition, a, b)])
            condition = condition if by_row is None else xp.reshape(condition, by_row)
        return choose(xp, condition, a, b)

    def vjp(self, F, g, y, condition, a, b):
        return (
            None,
            lambda: F.where(condition, g, 0, rows=self.rows),
            lambda: F.where(condition, 0, g, rows=self.rows),
        )

    def dtype(self, condition, a, b):
        return super().dtype(a, b)

    def rewrite(self, F, shapes, condition, a, b):
        if self.rows:
            by_row = self.row_shape(shapes)
            return F.where(condition if by_row is None else F.reshape(condition, by_row), a, b)
        known = F.number(condition)
        chosen = None if known is None else 1 if known else 2
        return (condition, a, b)[chosen] if chosen and shapes[chosen] == self.shape(*shapes) else None

    @classmethod
    def sample(cls, draw):
        condition, a, b = draw.broadcasting(3)
        rows = draw.boolean()
        if rows:
            a = b = (2, *draw.shape(min_rank=1))
            condition = a[:1] if draw.boolean() else a
        return cls(rows=rows), {
            "condition": draw.array(condition) > 0,
            "a": draw.array(a),
            "b": draw.array(b),
        }


def counted(dtype):
    """The type of a power: that of its base, but that truth values become the shortest integers, as in NumPy."""
    return np.dtype(np.int8) if dtype == np.bool else dtype


class Unary(Elementwise):
    """A smooth function of one number."""

    broadcasts = None

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}


def floated(xp, x):
    """`x`, integers as float64: a function of several steps would wrap around in between, or overflow."""
    dtype = dtype_of(x)
    return x if dtype is None or dtype.kind in "fc" else in_type(xp, x, floating(dtype))


class FloatUnary(Unary):
    """A function whose results are no integers, even for integers: short ones become short floats."""

    def dtype(self, x):
        return None if x is None else np.result_type(x, np.float16)


@op
class Negative(Unary):
    """The negative: ``y = -x``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.negative(x, out=out)

    def vjp(self, F, g, y, x):
        return (-g,)

    def rewrite(self, F, shapes, x):
        return x.node.inputs[0] if isinstance(x.node.op, Negative) else None


@op
class Exp(FloatUnary):
    """The exponential: ``y = exp(x)``."""

    analytic = True
    whole = True

    def forward(self, xp, x, out=None):
        return xp.exp(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * y,)


@op
class Expm1(FloatUnary):
    """``y = exp(x) - 1``, exact near 0."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.expm1(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * F.exp(x),)


class PositiveUnary(FloatUnary):
    """A function of a positive number."""

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=0.2, high=3)}


@op
class Log(PositiveUnary):
    """The natural logarithm: ``y = log(x)``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.log(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / x,)


@op
class Log1p(PositiveUnary):
    """``y = log(1 + x)``, exact near 0."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.log1p(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / (1 + x),)


@op
class Sqrt(PositiveUnary):
    """The square root: ``y = sqrt(x)``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.sqrt(x, out=out)

    def vjp(self, F, g, y, x):
        return (g / (2 * y),)


@op
class Square(Unary):
    """The square: ``y = x * x``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.square(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * (2 * x),)

    def dtype(self, x):
        return counted(x)


@op
class Tanh(FloatUnary):
    """Hyperbolic tangent of each element: ``y = tanh(x)``."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.tanh(x, out=out)

    def vjp(self, F, g, y, x):
        return (g * (1 - y * y),)


@op
class Sigmoid(Unary):
    """The logistic function: ``y = 1 / (1 + exp(-x))``, without overflow."""

    def forward(self, xp, x, out=None):
        def logistic(x, out):
            e = xp.exp(-xp.abs(x))
            return xp.divide(choose(xp, xp.less(x, 0), e, 1), e + 1, out=out)

        return in_blocks(xp, logistic, floated(xp, x), out=out)

    @by_blocks
    def vjp(self, F, g, y, x):
        return (g * (y * (1 - y)),)

    def dtype(self, x):
        return floating(x)


@op
class Softplus(Unary):
    """A smooth ramp: ``y = log(1 + exp(x))``, without overflow. MXNet calls it softrelu."""

    def forward(self, xp, x, out=None):
        def ramp(x, out):
            return xp.add(xp.log1p(xp.exp(-xp.abs(x))), at_least(xp, x, 0), out=out)

        return in_blocks(xp, ramp, floated(xp, x), out=out)

    @by_blocks
    def vjp(self, F, g, y, x):
        return (g * F.sigmoid(x),)

    def dtype(self, x):
        return floating(x)


class Kinked(Unary):
    """A function of one number whose slope jumps at 0."""

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), away_from=0)}


@op
class Softsign(Kinked):
    """``y = x / (1 + |x|)``."""

    def forward(self, xp, x, out=None):
        x = floated(xp, x)
        return xp.divide(x, 1 + xp.abs(x), out=out)

    @by_blocks
    def vjp(self, F, g, y, x):
        return (g / F.square(1 + F.abs(x)),)

    def dtype(self, x):
        return floating(x)


@op
class Abs(Kinked):
    """The absolute value: ``y = |x|``; its slope at 0 is taken as 0.

    Of a complex number it is not analytic: its cotangent is ``g conj(x) / |x|``, see `tensor.sweep`.
    """

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.abs(x, out=out)

    def vjp(self, F, g, y, x):
        if getattr(getattr(x, "dtype", None), "kind", "") != "c":
            return (g * F.sign(x),)
        zero = F.equal(x, 0)
        return (F.where(zero, 0, g * y / F.where(zero, 1, x)),)


@op
class Sign(Kinked):
    """-1, 0 or 1, as `x` is negative, zero or positive.

    Errors
        TypeError for complex numbers, of which NumPy gives ``x / abs(x)``: that is not flat, and has a gradient.
    """

    differentiable = False

    def forward(self, xp, x, out=None):
        if getattr(x, "dtype", None) is not None and x.dtype.kind == "c":
            raise TypeError(
                "the numbers are complex, expected real ones; write x / abs(x), which has a gradient"
            )
        return xp.sign(x, out=out)

    def vjp(self, F, g, y, x):
        return (None,)


@op
class Relu(Kinked):
    """The positive part: ``y = max(x, 0)``; its slope at 0 is taken as 0."""

    def forward(self, xp, x, out=None):
        return at_least(xp, x, 0, out=out)

    def vjp(self, F, g, y, x):
        return (g * F.sign(y),)

    def dtype(self, x):
        return None if x is None else np.result_type(x, 0)


@op
class LeakyReLU(Kinked):
    """``y = x`` where `x` is positive, else ``slope * x``; the slope at 0 is `slope`.

    Source
        MXNet 1.9, `LeakyReLU` with act_type leaky.
    """

    function = "leaky_relu"
    slope: float = attr(0.25, doc="the derivative for negative numbers")

    def forward(self, xp, x, out=None):
        x = floated(xp, x)
        if 0 <= self.slope <= 1:
            return xp.maximum(x, xp.multiply(x, self.slope), out=out)
        return xp.add(xp.maximum(x, 0), self.slope * xp.minimum(x, 0), out=out)

    @by_blocks
    def vjp(self, F, g, y, x):
        return (F.where(F.greater(x, 0), g, self.slope * g),)

    def dtype(self, x):
        return floating(x)

    @classmethod
    def sample(cls, draw):
        return cls(slope=draw.choice((0.25, 0.01, 1.5))), {"x": draw.array(draw.shape(), away_from=0)}


@op
class Clip(Elementwise):
    """`x` kept between `low` and `high`; the gradient passes at both bounds, as in MXNet 1.9."""

    low: float | None = attr(None, doc="least result; None for no bound")
    high: float | None = attr(None, doc="largest result; None for no bound")

    def forward(self, xp, x, out=None):
        return xp.clip(x, self.low, self.high, out=out)

    def vjp(self, F, g, y, x):
        return (F.where(F.equal(x, y), g, 0),)

    def dtype(self, x):
        bounds = [type(bound)() for bound in (self.low, self.high) if bound is not None]
        return None if x is None else np.result_type(x, *bounds)

    def keeping(self, dtype):
        """With the bounds cut off to integers of this type."""
        if dtype.kind == "b":
            return self
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        bounds = [b if b is None else int(min(max(b, least), most)) for b in (self.low, self.high)]
        return dataclasses.replace(self, low=bounds[0], high=bounds[1])

    @classmethod
    def sample(cls, draw):
        low, high = draw.choice(((-1.0, 1.0), (None, 0.5), (-0.5, None)))
        kinks = tuple(k for k in (low, high) if k is not None)
        return cls(low=low, high=high), {"x": draw.array(draw.shape(), away_from=kinks)}


@op
class Widen(Unary):
    """`x` in a type in which it can be added up: half precision as single, integers as float64."""

    analytic = True

    def forward(self, xp, x):
        return with_room(xp, x)

    def vjp(self, F, g, y, x):
        return (g,)

    def rewrite(self, F, shapes, x):
        return x if has_room(F.dtypes[x]) else None

    def dtype(self, x):
        return roomy(x)


@op
class Rsqrt(PositiveUnary):
    """``y = 1 / sqrt(x)``."""

    def forward(self, xp, x, out=None):
        root = xp.sqrt(x, out=out)
        return xp.divide(1, root, out=root if root.__class__ is np.ndarray else out)

    def vjp(self, F, g, y, x):
        return (g * (-0.5 * y / x),)
