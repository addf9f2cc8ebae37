"""MXNet's update operators whose steps are scaled by the gradients so far: Adam and its kin.

Source
    MXNet 1.9.1, ``optimizer_op-inl.h`` and ``contrib/optimizer_op.cc``.
"""

from __future__ import annotations

from typing import ClassVar

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.ops.updates import Precise, RateUpdate, Step, Update


@op
class AdamUpdate(RateUpdate):
    """Adam's step, without the corrections for the first steps, which are part of `lr`.

    ``mean = beta1 * mean + (1 - beta1) * g``, ``var = beta2 * var + (1 - beta2) * g**2``, then
    ``weight - lr * mean / (sqrt(var) + epsilon)``, where ``g`` is the gradient, rescaled, decayed, clipped.

    Source
        Kingma and Ba 2015.
    """

    states = ("mean", "var")
    beta1: float = attr(0.9, doc="what is kept of the running mean")
    beta2: float = attr(0.999, doc="what is kept of the running mean of squares")
    epsilon: float = attr(1e-8, doc="added to the root")

    def compose(self, F, weight, grad, mean, var):
        g = self.decayed(F, weight, grad)
        mean = mean * self.beta1 + g * (1 - self.beta1)
        var = var * self.beta2 + g * g * (1 - self.beta2)
        return weight - mean * self.lr / (F.sqrt(var) + self.epsilon), mean, var


@op
class RmspropUpdate(RateUpdate):
    """RMSProp's step: ``n = gamma1 * n + (1 - gamma1) * g**2``, then ``weight - lr * g / sqrt(n + epsilon)``.

    ``g`` is the gradient, rescaled, decayed, clipped.

    Source
        Tieleman and Hinton 2012; epsilon inside the root as in MXNet.
    """

    states = ("n",)
    gamma1: float = attr(0.95, doc="what is kept of the running mean of squares")
    epsilon: float = attr(1e-8, doc="added to it")
    clip_weights: float = attr(-1.0, doc="the largest size of a weight; below 0 there is none")

    def compose(self, F, weight, grad, n):
        g = self.decayed(F, weight, grad)
        n = n * self.gamma1 + g * g * (1 - self.gamma1)
        return self.clipped(F, weight - g / F.sqrt(n + self.epsilon) * self.lr, self.clip_weights), n


@op
class RmspropalexUpdate(RateUpdate):
    """RMSProp's step by squares around a running mean `g`, with momentum.

    ``n = gamma1 * n + (1 - gamma1) * d**2``, ``g = gamma1 * g + (1 - gamma1) * d``,
    ``delta = gamma2 * delta - lr * d / sqrt(n - g**2 + epsilon)``, then ``weight + delta``,
    where ``d`` is the gradient, rescaled, decayed, clipped.

    Source
        Graves 2013, equations 38 to 45.
    """

    states = ("n", "g", "delta")
    gamma1: float = attr(0.95, doc="what is kept of the running means")
    gamma2: float = attr(0.9, doc="the share of the last step that is taken again")
    epsilon: float = attr(1e-8, doc="added to the variance")
    clip_weights: float = attr(-1.0, doc="the largest size of a weight; below 0 there is none")

    def compose(self, F, weight, grad, n, g, delta):
        d = self.decayed(F, weight, grad)
        n = n * self.gamma1 + d * (1 - self.gamma1) * d
        g = g * self.gamma1 + d * (1 - self.gamma1)
        delta = delta * self.gamma2 - d * self.lr / F.sqrt(n - g * g + self.epsilon)
        return self.clipped(F, weight + delta, self.clip_weights), n, g, delta

    @classmethod
    def sample(cls, draw):  # with a variance that is well above 0
        arrays = cls.arrays(draw)
        return cls(**cls.settings(draw)), arrays | {"n": arrays["n"] + 4, "delta": -arrays["delta"]}


@op
class FtrlUpdate(RateUpdate):
    """FTRL-Proximal's step, which makes weights exactly 0.

    ``z = z + g - (sqrt(n + g**2) - sqrt(n)) * weight / lr``, ``n = n + g**2``, then
    ``(sign(z) * lamda1 - z) / ((beta + sqrt(n)) / lr + wd)`` where ``abs(z) > lamda1``, else 0;
    ``g`` is the gradient, rescaled and clipped.

    Source
        McMahan et al. 2013, algorithm 1.
    """

    states = ("z", "n")
    lamda1: float = attr(0.01, doc="how strongly weights are drawn to 0")
    beta: float = attr(1.0, doc="keeps the rate in bounds while there are few gradients")

    def compose(self, F, weight, grad, z, n):
        g = self.scaled(F, grad)
        square = n + g * g
        z = z + (g - (F.sqrt(square) - F.sqrt(n)) * weight / self.lr)
        moved = (F.sign(z) * self.lamda1 - z) / ((F.sqrt(square) + self.beta) / self.lr + self.wd)
        return F.where(F.greater(F.abs(z), self.lamda1), moved, moved * 0.0), z, square

    @classmethod
    def sample(cls, draw):  # where no weight becomes 0
        arrays = cls.arrays(draw)
        return cls(**cls.settings(draw)), arrays | {"z": arrays["z"] + 20}


@op
class FtmlUpdate(RateUpdate):
    """FTML's step number `t`.

    ``v = beta2 * v + (1 - beta2) * g**2``, ``d = (1 - beta1**t) / lr * (sqrt(v / (1 - beta2**t)) + epsilon)``,
    ``z = beta1 * z + (1 - beta1) * g - (d - beta1 * d_before) * weight``, then ``-z / d``;
    ``g`` is the gradient, rescaled, decayed, clipped.

    Source
        Zheng and Kwok 2017, algorithm 1.
    """

    states = ("d", "v", "z")
    beta1: float = attr(0.6, doc="what is kept of the running mean")
    beta2: float = attr(0.999, doc="what is kept of the running mean of squares")
    epsilon: float = attr(1e-8, doc="added to the root")
    t: int = attr(minimum=1, doc="number of the step, from 1")

    @property
    def shares(self):
        """How much of the running means the gradients so far make up."""
        return 1 - self.beta1**self.t, 1 - self.beta2**self.t

    def compose(self, F, weight, grad, d, v, z):
        g = self.decayed(F, weight, grad)
        v = v * self.beta2 + g * g * (1 - self.beta2)
        first, second = self.shares
        root = F.sqrt(v / second) + self.epsilon
        now = root * (first / self.lr)
        z = z * self.beta1 + g * (1 - self.beta1) - (now - d * self.beta1) * weight
        return -z / now, now, v, z

    @classmethod
    def settings(cls, draw, **more):
        return super().settings(draw, t=draw.choice((1, 5)), **more)


@op
class SparseAdagradUpdate(RateUpdate):
    """AdaGrad's step: ``history = history + g**2``, then ``weight - lr * g / sqrt(history + epsilon)``.

    ``g`` is the gradient, rescaled and clipped; it is dense here, and MXNet admits no decay.

    Source
        Duchi et al. 2011.
    """

    states = ("history",)
    epsilon: float = attr(1e-7, doc="added to the sum of squares")
    wd: float = attr(0.0, minimum=0, maximum=0, doc="weight decay, which is not there: 0")

    def compose(self, F, weight, grad, history):
        g = self.scaled(F, grad)
        history = history + g * g
        return weight - g * self.lr / F.sqrt(history + self.epsilon), history

    @classmethod
    def settings(cls, draw, **more):
        return super().settings(draw, **more) | {"wd": 0.0}


@op
class LambUpdatePhase1(Update):
    """The direction of LAMB's step number `t`: Adam's, corrected for the first steps, and the decay.

    ``mean`` and ``var`` are those of `AdamUpdate`; the result is ``mean / (sqrt(var) + epsilon) + wd * weight``, of
    both their shares ``1 - beta**t`` if `bias_correction`.

    Source
        You et al. 2020, algorithm 2.
    """

    function = "lamb_update_phase1"
    states: ClassVar[tuple[str, ...]] = ("mean", "var")
    beta1: float = attr(0.9, doc="what is kept of the running mean")
    beta2: float = attr(0.999, doc="what is kept of the running mean of squares")
    epsilon: float = attr(1e-6, doc="added to the root")
    t: int = attr(minimum=1, doc="number of the step, from 1")
    bias_correction: bool = attr(True, doc="whether the means are corrected for the first steps")

    @property
    def shares(self):
        """How much of the running means the gradients so far make up, if that is to be corrected."""
        return (1 - self.beta1**self.t, 1 - self.beta2**self.t) if self.bias_correction else (1.0, 1.0)

    def compose(self, F, weight, grad, mean, var):
        g = self.scaled(F, grad)
        mean = mean * self.beta1 + g * (1 - self.beta1)
        var = var * self.beta2 + g * (1 - self.beta2) * g
        first, second = self.shares
        adam = mean / first / (F.sqrt(var / second) + self.epsilon)
        return adam + weight * self.wd, mean, var

    @classmethod
    def settings(cls, draw, **more):
        found = super().settings(draw, t=draw.choice((1, 5)), bias_correction=draw.boolean(), **more)
        return {key: value for key, value in found.items() if key != "lr"}


@op
class MpLambUpdatePhase1(LambUpdatePhase1, Precise):
    """`LambUpdatePhase1` of a weight in half precision, of which `weight32` is the copy in single.

    The direction is in single precision; the copy stays, until `MpLambUpdatePhase2` has taken the step.
    """

    function = "mp_lamb_update_phase1"
    states = ("mean", "var", "weight32")

    def compose(self, F, weight, grad, mean, var, weight32):
        grad = F.cast(grad, dtype=str(F.dtype(weight32)))
        return (*LambUpdatePhase1.compose(self, F, weight32, grad, mean, var), weight32)

    def dtype(self, weight, grad, *remembered):
        kinds = tuple(map(floating, remembered))
        return kinds[-1], *kinds


@op
class LambUpdatePhase2(Step):
    """LAMB's step along `g`, as long as a share `lr` of the weight: ``weight - lr * r1 / r2 * g``.

    `r1` is the norm of the weight, held between the bounds, `r2` that of `g`; where one of them is 0, their quotient is
    taken as 1.

    Shapes
        weight and g (...), r1 and r2 (1,) -> (...)
    """

    function = "lamb_update_phase2"
    lr: float = attr(doc="the rate")
    lower_bound: float = attr(-1.0, doc="what `r1` is at least; below 0 there is no bound")
    upper_bound: float = attr(-1.0, doc="what `r1` is at most; below 0 there is no bound")

    def parameters(self, weight):
        return {"g": weight, "r1": (1,), "r2": (1,)}

    def compose(self, F, weight, g, r1, r2):
        r1 = r1 if self.lower_bound < 0 else F.maximum(r1, self.lower_bound)
        r1 = r1 if self.upper_bound < 0 else F.minimum(r1, self.upper_bound)
        none = F.equal(r1 * r2, 0.0)
        r1, r2 = (F.reshape(F.where(none, F.full_like(r, value=1.0), r), shape=()) for r in (r1, r2))
        return weight - g * (r1 * self.lr / r2)

    @classmethod
    def sample(cls, draw):
        made = cls(lr=0.5, lower_bound=draw.choice((-1.0, 0.75)), upper_bound=draw.choice((-1.0, 1.25)))
        norms = {name: draw.array((1,), low=0.5, high=2.0, away_from=(0.75, 1.25)) for name in ("r1", "r2")}
        shape = draw.shape()
        return made, {"weight": draw.array(shape), "g": draw.array(shape), **norms}


@op
class MpLambUpdatePhase2(LambUpdatePhase2, Precise):
    """`LambUpdatePhase2` of a weight in half precision, of which `weight32` is the copy in single."""

    function = "mp_lamb_update_phase2"
    states = ("weight32",)

    def parameters(self, weight):
        return super().parameters(weight) | {"weight32": weight}

    def compose(self, F, weight, g, r1, r2, weight32):
        new = super().compose(F, weight32, g, r1, r2)
        return F.cast(new, dtype=str(F.dtype(weight))), new

    def dtype(self, weight, g, r1, r2, weight32):
        return floating(weight), floating(weight32)

    def input_dtype(self, i, first):
        """All but the weight is in single precision."""
        return "float32" if i else first

    @classmethod
    def sample(cls, draw):
        made, arrays = super().sample(draw)
        return made, arrays | {"weight32": draw.array(arrays["weight"].shape)}
