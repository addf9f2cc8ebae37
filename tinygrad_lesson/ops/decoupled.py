"""MXNet's update operators whose weight decay is no part of the gradient: AdamW.

Source
    MXNet 1.9.1, ``contrib/adamw-inl.h``.
"""

from __future__ import annotations

from typing import ClassVar

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.ops.updates import Step


@op
class AdamwUpdate(Step):
    """AdamW's step: the weight decays by itself, and not through the running means.

    ``mean = beta1 * mean + (1 - beta1) * g``, ``var = beta2 * var + (1 - beta2) * g**2``, then
    ``weight - eta * (lr * mean / (sqrt(var) + epsilon) + wd * weight)``, where ``g`` is the gradient times
    `rescale_grad`, clipped. Where `rescale_grad` is 0, infinite or NaN, nothing changes. It is the last input in MXNet.

    Shapes
        weight, grad, mean and var (...), rescale_grad (1,) -> (...)

    Source
        Loshchilov and Hutter 2019, algorithm 2.
    """

    states: ClassVar[tuple[str, ...]] = ("mean", "var")
    name = "AdamwUpdate"
    function = "adamw_update"
    mixes_dtypes = True
    lr: float = attr(doc="the rate: units of the weight per step")
    beta1: float = attr(0.9, doc="what is kept of the running mean")
    beta2: float = attr(0.999, doc="what is kept of the running mean of squares")
    epsilon: float = attr(1e-8, doc="added to the root")
    wd: float = attr(0.0, doc="weight decay: the share of the weight that is taken away, in units of `eta`")
    eta: float = attr(doc="multiplies the whole step")
    clip_gradient: float = attr(
        -1.0, doc="the largest size of an element of the gradient; below 0 there is none"
    )

    def parameters(self, weight):
        """All other inputs but one are like the weight."""
        return dict.fromkeys(self.inputs[1:], weight) | {"rescale_grad": (1,)}

    def arranged(self, count):
        """For each input its place in MXNet's order, which has `rescale_grad` last."""
        return [0, 1, count - 1, *range(2, count - 1)]

    def compose(self, F, weight, grad, rescale_grad, mean, var):
        factor = F.reshape(rescale_grad, shape=())
        usable = F.logical_and(F.isfinite(factor), F.not_equal(factor, 0.0))
        g, bound = grad * F.where(usable, factor, 1.0), self.clip_gradient
        g = g if bound < 0 else F.clip(g, low=-bound, high=bound)
        new_mean = mean * self.beta1 + g * (1 - self.beta1)
        new_var = var * self.beta2 + g * g * (1 - self.beta2)
        step = new_mean * self.lr / (F.sqrt(new_var) + self.epsilon) + weight * self.wd
        new = weight - step * self.eta
        return F.where(usable, new, weight), F.where(usable, new_mean, mean), F.where(usable, new_var, var)

    def dtype(self, weight, grad, rescale_grad, *remembered):
        return floating(weight), *map(floating, remembered)

    def input_dtype(self, i, first):
        """All are of one type."""
        return first

    @classmethod
    def sample(cls, draw):
        clip, shape = draw.choice((-1.0, 0.5)), draw.shape()
        arrays = {name: draw.array(shape, low=0.5, high=2.0) for name in cls.states}
        arrays |= {"weight": draw.array(shape), "grad": draw.array(shape, away_from=(-0.25, 0.0, 0.25))}
        made = cls(lr=0.5, eta=0.5, wd=draw.choice((0.0, 0.1)), clip_gradient=clip)
        return made, arrays | {"rescale_grad": 0.0 * draw.array((1,)) + draw.choice((0.0, 2.0))}


@op
class MpAdamwUpdate(AdamwUpdate):
    """`AdamwUpdate` of a weight in half precision, of which `weight32` is the copy in single."""

    states = ("mean", "var", "weight32")
    name = "MpAdamwUpdate"
    function = "mp_adamw_update"

    def compose(self, F, weight, grad, rescale_grad, mean, var, weight32):
        grad = F.cast(grad, dtype=str(F.dtype(weight32)))
        copy, mean, var = AdamwUpdate.compose(self, F, weight32, grad, rescale_grad, mean, var)
        return F.cast(copy, dtype=str(F.dtype(weight))), mean, var, copy

    def input_dtype(self, i, first):
        """What is remembered is in single precision."""
        return first if i < 2 else "float32"
