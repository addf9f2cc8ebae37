"""MXNet's update operators: one step of an optimizer as an op on a weight, its gradient and what is remembered.

The first result is the new weight; the inputs after the gradient take their new values when the op runs, as in MXNet.
An optimizer for `fit` is a rule (`train/rules.py`), which all its parameters share; these are for graphs that hold a
step themselves, and for files that do.

Source
    MXNet 1.9.1, ``optimizer_op-inl.h``.
"""

from __future__ import annotations

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.ops.composing import FloatComposite


class Step(FloatComposite):
    """A step of an optimizer. It has no gradient, as in MXNet: what it remembers has changed once it has run."""

    immediate = True
    method = False
    differentiable = False

    def rewrite(self, F, shapes, *inputs):
        """The ops themselves, which would have a gradient."""
        return self.compose(F, *[F.stop_gradient(x) for x in inputs])

    def vjp(self, F, g, y, *inputs):
        return (None,) * len(inputs)


@declares
class Update(Step):
    """A step for one weight; all arrays have its shape."""

    wd: float = attr(0.0, doc="weight decay, in units of the gradient per unit of weight")
    rescale_grad: float = attr(1.0, doc="multiplies the gradient first")
    clip_gradient: float = attr(
        -1.0, doc="the largest size of an element of the gradient; below 0 there is none"
    )

    def parameters(self, weight):
        """All other inputs are like the weight."""
        return dict.fromkeys(self.inputs[1:], weight)

    def clipped(self, F, x, bound):
        """`x` within the bounds, if there are any."""
        return x if bound < 0 else F.maximum(F.minimum(x, bound), -bound)

    def scaled(self, F, grad):
        """The gradient, rescaled and clipped."""
        return self.clipped(F, grad * self.rescale_grad, self.clip_gradient)

    def decayed(self, F, weight, grad):
        """The gradient, rescaled, with the decay added, then clipped."""
        return self.clipped(F, grad * self.rescale_grad + weight * self.wd, self.clip_gradient)

    @classmethod
    def sample(cls, draw):
        return cls(**cls.settings(draw)), cls.arrays(draw)

    @classmethod
    def settings(cls, draw, **more):
        """Attributes under which no gradient of `arrays` lies where clipping begins."""
        clip = draw.choice((-1.0, 0.5))
        found = {"wd": 0.0 if clip > 0 else draw.choice((0.0, 0.1)), "clip_gradient": clip}
        return {"lr": 0.5, "rescale_grad": draw.choice((1.0, 0.5)), **found, **more}

    @classmethod
    def arrays(cls, draw, low=0.5, high=2.0):
        """A weight, a gradient, and positive numbers for what is remembered."""
        shape = draw.shape()
        found = {
            "weight": draw.array(shape),
            "grad": draw.array(shape, away_from=(-1.0, -0.5, 0.0, 0.5, 1.0)),
        }
        return found | {name: draw.array(shape, low=low, high=high) for name in cls.inputs[2:]}


@declares
class RateUpdate(Update):
    """A step with a rate."""

    lr: float = attr(doc="the rate: units of the weight per step")


@declares
class MomentumUpdate(RateUpdate):
    """A step that remembers the last one."""

    momentum: float = attr(0.0, doc="the share of the last step that is taken again")

    @classmethod
    def settings(cls, draw, **more):
        return super().settings(draw, momentum=draw.choice((0.0, 0.9)), **more)


@op
class SgdUpdate(RateUpdate):
    """Gradient descent: ``weight - lr * (grad + wd * weight)``, the gradient rescaled and clipped before."""

    def compose(self, F, weight, grad):
        return weight * (1 - self.lr * self.wd) - self.scaled(F, grad) * self.lr


@op
class SgdMomUpdate(MomentumUpdate):
    """Gradient descent with momentum: ``mom = momentum * mom - lr * (grad + wd * weight)``, then ``weight + mom``."""

    states = ("mom",)

    def compose(self, F, weight, grad, mom):
        mom = mom * self.momentum - weight * (self.lr * self.wd) - self.scaled(F, grad) * self.lr
        return weight + mom, mom


@op
class NagMomUpdate(MomentumUpdate):
    """Nesterov's momentum: ``mom = momentum * mom - lr * g``, then ``weight + momentum * mom - lr * g``.

    ``g`` is ``grad + wd * weight``, the gradient rescaled and clipped before.
    """

    states = ("mom",)

    def compose(self, F, weight, grad, mom):
        new = mom * self.momentum - (self.scaled(F, grad) + weight * self.wd) * self.lr
        return weight - mom * self.momentum + new * (1 + self.momentum), new  # in MXNet's order


class Precise(Update):
    """A step that is carried out on a copy of the weight in another type, single precision in MXNet."""

    mixes_dtypes = True

    def dtype(self, weight, grad, *remembered):
        return weight, *map(floating, remembered)

    def input_dtype(self, i, first):
        """What is remembered is in single precision."""
        return first if i < 2 else "float32"

    def precisely(self, F, rule, weight, grad, *remembered):
        """A rule for weights and gradients of one type, on the copy, which comes last."""
        *moments, copy = remembered
        found = rule(self, F, copy, F.cast(grad, dtype=str(F.dtype(copy))), *moments)
        copy, *moments = found if moments else (found,)
        return F.cast(copy, dtype=str(F.dtype(weight))), *moments, copy


@op
class MpSgdUpdate(RateUpdate, Precise):
    """`SgdUpdate` of a weight in half precision, of which `weight32` is the copy in single."""

    states = ("weight32",)

    def compose(self, F, weight, grad, weight32):
        return self.precisely(F, SgdUpdate.compose, weight, grad, weight32)


@op
class MpSgdMomUpdate(MomentumUpdate, Precise):
    """`SgdMomUpdate` of a weight in half precision, of which `weight32` is the copy in single."""

    states = ("mom", "weight32")

    def compose(self, F, weight, grad, mom, weight32):
        return self.precisely(F, SgdMomUpdate.compose, weight, grad, mom, weight32)


@op
class MpNagMomUpdate(MomentumUpdate, Precise):
    """`NagMomUpdate` of a weight in half precision, of which `weight32` is the copy in single."""

    states = ("mom", "weight32")

    def compose(self, F, weight, grad, mom, weight32):
        return self.precisely(F, NagMomUpdate.compose, weight, grad, mom, weight32)


@op
class SignsgdUpdate(RateUpdate):
    """A step of one size against each gradient: ``weight * (1 - lr * wd) - lr * sign(grad)``."""

    def compose(self, F, weight, grad):
        return weight * (1 - self.lr * self.wd) - F.sign(grad * self.rescale_grad) * self.lr


@op
class SignumUpdate(MomentumUpdate):
    """A step of one size along a running mean of gradients.

    ``mom = momentum * mom - (1 - momentum) * (grad + wd * weight)``, then
    ``weight * (1 - lr * wd_lh) + lr * sign(mom)``.

    Source
        Bernstein et al. 2018; `wd_lh` is the decay of Loshchilov and Hutter 2017.
    """

    states = ("mom",)
    wd_lh: float = attr(0.0, doc="decay of the weight itself")

    def compose(self, F, weight, grad, mom):
        rest = 1 - self.momentum
        mom = mom * self.momentum - weight * (rest * self.wd) - self.scaled(F, grad) * rest
        return weight * (1 - self.lr * self.wd_lh) + F.sign(mom) * self.lr, mom

    @classmethod
    def sample(cls, draw):  # where no running mean is near 0
        made = cls(**cls.settings(draw, wd_lh=draw.choice((0.0, 0.1))) | {"wd": 0.0})
        return made, cls.arrays(draw, low=1.0)
