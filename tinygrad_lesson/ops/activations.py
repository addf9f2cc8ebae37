"""Functions of one number between the layers of a network, in pieces."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.blocks import at_least, at_most, by_blocks, in_blocks
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.ops.elementwise import Kinked, floated


@op
class SmoothL1(Kinked):
    """Half the square near 0, the distance from it further off: ``y = (s x)**2 / 2`` up to ``|x| = 1 / s**2``.

    Beyond, ``y = |x| - 1 / (2 s**2)``.

    Source
        MXNet 1.9, `smooth_l1`.
    """

    function = "smooth_l1"
    scalar: float = attr(1.0, doc="s")

    def dtype(self, x):
        return floating(x)

    def forward(self, xp, x, out=None):
        square = self.scalar**2

        def smooth(x, out):
            size = xp.abs(x)
            near = at_most(xp, size, 1 / square)
            rest = size - near * 0.5
            return xp.multiply(near if square == 1 else near * square, rest, out=out)

        return in_blocks(xp, smooth, floated(xp, x), out=out)

    @by_blocks
    def vjp(self, F, g, y, x):
        return (g * F.minimum(F.maximum(x * self.scalar**2, -1.0), 1.0),)

    def oracle(self, x):
        s = self.scalar
        return np.where(abs(x) < 1 / s**2, (s * x) ** 2 / 2, abs(x) - 0.5 / s**2)

    @classmethod
    def sample(cls, draw):
        s = draw.choice((1.0, 2.0))
        return cls(scalar=s), {"x": draw.array(draw.shape(), away_from=(-1 / s**2, 1 / s**2))}


@op
class HardSigmoid(Kinked):
    """A line between 0 and 1: ``y = alpha * x + beta``, kept between them.

    Source
        MXNet 1.9, `hard_sigmoid`.
    """

    alpha: float = attr(0.2, doc="its slope")
    beta: float = attr(0.5, doc="its value at 0")

    def __post_init__(self):
        super().__post_init__()
        if not self.alpha:
            raise AttributeValueError(f"{self.name}: alpha is 0, expected another number")

    def dtype(self, x):
        return floating(x)

    def forward(self, xp, x, out=None):
        def line(x, out):
            y = at_least(xp, xp.add(xp.multiply(x, self.alpha), self.beta), 0)
            return at_most(xp, y, 1, out=out)

        return in_blocks(xp, line, floated(xp, x), out=out)

    @by_blocks
    def vjp(self, F, g, y, x):
        inside = F.logical_and(F.greater(y, 0), F.less(y, 1))
        return (F.where(inside, g * self.alpha, 0),)

    def oracle(self, x):
        return np.clip(self.alpha * x + self.beta, 0, 1)

    @classmethod
    def sample(cls, draw):
        return cls(alpha=0.5, beta=0.25), {"x": draw.array(draw.shape(), away_from=(-0.5, 1.5))}
