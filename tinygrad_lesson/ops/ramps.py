"""Activations that other functions are made of: a smooth step, ramps, a line with a kink."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.blocks import at_least, choose, in_blocks, in_one_pass
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.ops.elementwise import Kinked, Unary, floated


@op
class Sigmoid(Unary):
    """The logistic function: ``y = 1 / (1 + exp(-x))``, without overflow."""

    compiled = True

    def forward(self, xp, x, out=None):
        def logistic(x, out):
            e = xp.exp(-xp.abs(x))
            return xp.divide(choose(xp, xp.less(x, 0), e, 1), e + 1, out=out)

        return in_blocks(xp, logistic, floated(xp, x), out=out)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * (y * (1 - y)),)

    def dtype(self, x):
        return floating(x)


@op
class Softplus(Unary):
    """A smooth ramp: ``y = log(1 + exp(x))``, without overflow. MXNet calls it softrelu."""

    compiled = True

    def forward(self, xp, x, out=None):
        def ramp(x, out):
            return xp.add(xp.log1p(xp.exp(-xp.abs(x))), at_least(xp, x, 0), out=out)

        return in_blocks(xp, ramp, floated(xp, x), out=out)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g * F.sigmoid(x),)

    def dtype(self, x):
        return floating(x)


@op
class Softsign(Kinked):
    """``y = x / (1 + |x|)``."""

    def forward(self, xp, x, out=None):
        x = floated(xp, x)
        return xp.divide(x, 1 + xp.abs(x), out=out)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (g / F.square(1 + F.abs(x)),)

    def dtype(self, x):
        return floating(x)


@op
class Relu(Kinked):
    """The positive part: ``y = max(x, 0)``; its slope at 0 is taken as 0."""

    compiled = True

    def forward(self, xp, x, out=None):
        return at_least(xp, x, 0, out=out)

    @in_one_pass
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

    compiled = True
    function = "leaky_relu"
    slope: float = attr(0.25, doc="the derivative for negative numbers")

    def forward(self, xp, x, out=None):
        x = floated(xp, x)
        if 0 <= self.slope <= 1:
            return xp.maximum(x, xp.multiply(x, self.slope), out=out)
        return xp.add(xp.maximum(x, 0), self.slope * xp.minimum(x, 0), out=out)

    @in_one_pass
    def vjp(self, F, g, y, x):
        return (F.where(F.greater(x, 0), g, self.slope * g),)

    def dtype(self, x):
        return floating(x)

    @classmethod
    def sample(cls, draw):
        return cls(slope=draw.choice((0.25, 0.01, 1.5))), {"x": draw.array(draw.shape(), away_from=0)}
