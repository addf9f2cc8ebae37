"""Functions of one number between the layers of a network, in pieces and smooth ones."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.blocks import at_least, at_most, in_blocks, in_one_pass
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.ops.elementwise import FloatUnary, Kinked, floated
from tinygrad_lesson.ops.probabilities import Ndtr
from tinygrad_lesson.ops.ramps import Sigmoid
from tinygrad_lesson.ops.special import FAR, Special, near_zero


@op
class SmoothL1(Kinked):
    """Half the square near 0, the distance from it further off: ``y = (s x)**2 / 2`` up to ``|x| = 1 / s**2``.

    Beyond, ``y = |x| - 1 / (2 s**2)``.

    Source
        MXNet 1.9, `smooth_l1`.
    """

    compiled = True
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

    @in_one_pass
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

    compiled = True

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

    @in_one_pass
    def vjp(self, F, g, y, x):
        inside = F.logical_and(F.greater(y, 0), F.less(y, 1))
        return (F.where(inside, g * self.alpha, 0),)

    def oracle(self, x):
        return np.clip(self.alpha * x + self.beta, 0, 1)

    @classmethod
    def sample(cls, draw):
        return cls(alpha=0.5, beta=0.25), {"x": draw.array(draw.shape(), away_from=(-0.5, 1.5))}


@op
class Elu(Kinked):
    """`x` where it is positive, else ``slope * (exp(x) - 1)``, all times `scale`.

    Source
        Clevert et al. 2016; with `scale` 1.0507 and `slope` 1.6733 it is SELU, Klambauer et al. 2017.
    """

    compiled = True

    slope: float = attr(1.0, doc="what negative numbers approach, with the other sign")
    scale: float = attr(1.0, doc="multiplies the result")

    def forward(self, xp, x, out=None):
        def bent(x, out):  # of the two one is 0
            below = xp.multiply(xp.expm1(at_most(xp, x, 0)), self.slope * self.scale)
            return xp.add(xp.multiply(at_least(xp, x, 0), self.scale), below, out=out)

        return in_blocks(xp, bent, floated(xp, x), out=out)

    @in_one_pass
    def vjp(self, F, g, y, x):
        e = F.exp(F.minimum(x, 0))
        if self.slope != 1:
            e = F.where(F.greater(x, 0), 1, e * self.slope)
        return (g * (e * self.scale),)

    def dtype(self, x):
        return floating(x)

    def oracle(self, x):
        return self.scale * np.where(x > 0, x, self.slope * (np.exp(np.minimum(x, 0)) - 1))

    @classmethod
    def sample(cls, draw):
        return cls(slope=1.5, scale=draw.choice((1.0, 2.0))), {"x": draw.array(draw.shape(), away_from=0)}


@op
class Gelu(Special):
    """`x` times the probability that a standard normal number is less: a smooth kin of `relu`.

    Source
        Hendrycks and Gimpel 2016; MXNet 1.9, `LeakyReLU` with act_type gelu.
    """

    def values(self, xp, x):
        return xp.maximum(x, -FAR) * Ndtr().values(xp, x)

    def short(self, xp, x):
        return xp.maximum(x, -FAR) * Ndtr().short(xp, x)

    @in_one_pass
    def vjp(self, F, g, y, x):
        near = near_zero(F, x)
        return (g * (F.ndtr(x) + near * F.exp(near * near * -0.5) * (1 / math.sqrt(2 * math.pi))),)

    def oracle(self, x):
        return x * Ndtr().oracle(x)


@op
class Silu(FloatUnary):
    """`x` times its `sigmoid`, a smooth kin of `relu`, also called swish.

    Source
        Elfwing et al. 2018.
    """

    compiled = True

    def forward(self, xp, x, out=None):
        return in_blocks(xp, lambda x, out: xp.multiply(x, Sigmoid().forward(xp, x), out=out), x, out=out)

    @in_one_pass
    def vjp(self, F, g, y, x):
        s = F.sigmoid(x)
        return (g * (s + y * (1 - s)),)

    def dtype(self, x):
        return Sigmoid().dtype(x)

    def oracle(self, x):
        return x / (1 + np.exp(-x))
