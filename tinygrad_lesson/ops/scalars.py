"""A number beside an array: a binary op of which one side is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.ops.choices import Greater, Maximum
from tinygrad_lesson.ops.elementwise import Add, Divide, Multiply, Power, Subtract


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
