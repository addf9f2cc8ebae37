"""One number everywhere."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr


@op
class Full(Op):
    """An array filled with one number."""

    analytic = True
    differentiable = False
    to: tuple[int, ...] = attr(
        alias="shape", doc="shape of the result; -1 for a size that what it meets decides"
    )
    value: float = attr(0.0, doc="the number")
    type: str = attr("float32", alias="dtype", doc="element type of the result")

    def shape(self):
        return tuple(None if n < 0 else n for n in self.to)

    def sized(self, results):
        return self if min(self.to, default=0) >= 0 else dataclasses.replace(self, to=results[0])

    def dtype(self):
        return np.dtype(self.type)

    def forward(self, xp):
        if min(self.to, default=0) < 0:
            raise ShapeError(
                f"shape is {self.to}, expected sizes of 0 or more where nothing else decides them"
            )
        return xp.full(self.to, self.value, dtype=self.type)

    def vjp(self, F, g, y):
        return ()

    @classmethod
    def sample(cls, draw):
        return cls(to=draw.shape(), value=2.5, type=draw.choice(("float64", "float32"))), {}


def filled(F: Any, x: Any, value: float = 0.0) -> Any:
    """An array like `x`, filled with one number, in the world of a rule."""
    return F.full(shape=F.shape(x), value=value, dtype=str(F.dtype(x)))


@op
class FullLike(Op):
    """An array like `x`, filled with one number."""

    analytic = True
    differentiable = False
    value: float = attr(0.0, doc="the number")

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return xp.full(x.shape, self.value, dtype=x.dtype)

    def vjp(self, F, g, y, x):
        return (None,)

    def rewrite(self, F, shapes, x):
        return F.full(shapes[0], self.value, str(F.dtypes[x]))

    @classmethod
    def sample(cls, draw):
        return cls(value=1.5), {"x": draw.array(draw.shape())}
