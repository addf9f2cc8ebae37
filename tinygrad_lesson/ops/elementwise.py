"""Arithmetic and functions of one number, element by element; inputs broadcast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of, floating, in_type
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import merge, show

SHORT = {  # what MXNet calls those that have another name there
    "subtract": "sub", "multiply": "mul", "divide": "div", "remainder": "mod", "less": "lesser",
    "less_equal": "lesser_equal",
}  # fmt: skip


@declares
class Paired(Elementwise):
    """An elementwise op of two inputs, which may have to be of one shape."""

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
            name = f"broadcast_{SHORT.get(self.function, self.function)}"
            raise ShapeError(
                f"{self.inputs[1]} is {found}, expected {expected}; {name} would repeat it"
            ) from None
        return [shape, shape], [shape]


class Binary(Paired):
    """Arithmetic with two arrays."""

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


class Kinked(Unary):
    """A function of one number whose slope jumps at 0."""

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), away_from=0)}


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

    compiled = True
    differentiable = False

    def forward(self, xp, x, out=None):
        if getattr(x, "dtype", None) is not None and x.dtype.kind == "c":
            raise TypeError(
                "the numbers are complex, expected real ones; write x / abs(x), which has a gradient"
            )
        return xp.sign(x, out=out)

    def vjp(self, F, g, y, x):
        return (None,)
