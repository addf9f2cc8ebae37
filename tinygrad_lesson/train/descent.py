"""Optimizers near plain gradient descent: with noise, with a correction for delay, with a rate for each layer."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.errors import OptimizerError
from tinygrad_lesson.plan.update import Given
from tinygrad_lesson.train.adaptive import prepared
from tinygrad_lesson.train.indexed import settled
from tinygrad_lesson.train.rules import Array, Optimizer, descended, multiplied


@settled
class SGLD(Optimizer):
    """Langevin dynamics: ``w - rate / 2 * (g + wd * w)`` and normal noise of standard deviation ``sqrt(rate)``.

    ``g`` is the gradient, rescaled and clipped. The noise is drawn from the package's generator.

    Source
        Welling and Teh 2011, as in MXNet 1.9.
    """

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        rate, grad = multiplied(given.rate, given.lr_mult), prepared(F, self, given, decayed=False)
        if self.wd:
            grad = grad + multiplied(given.weight * given.decay, given.wd_mult)
        sizes = [stop - start for start, stop in given.segments] or [math.prod(F.shape(given.weight))]
        dtype = str(F.dtype(given.weight))
        normal = {"distribution": "normal", "given": (0.0, 1.0), "type": dtype}
        noise = [F.random_numbers(**normal, to=(size,)) for size in sizes]
        drawn = noise[0] if len(noise) == 1 else F.concat(*noise, dim=0)
        drawn = F.reshape(drawn, shape=F.shape(given.weight))
        return given.weight - rate * 0.5 * grad + drawn * F.sqrt(rate)


@settled
class DCASGD(Optimizer):
    """Descent that makes up for delay: ``m = momentum * m - rate * d``, then ``w = w + m``.

    ``d = g + wd * w + lamda * g**2 * (w - before)``, where ``before`` are the weights of the step before.
    ``g`` is the gradient, rescaled and clipped.

    Source
        Zheng et al. 2017, as MXNet 1.9 documents it; there momentum ends in an error.
    """

    momentum: float = 0.0
    lamda: float = 0.04

    def moments(self) -> int:
        """The step, if there is momentum, and the weights before."""
        return 2 if self.momentum else 1

    def first_moments(self, weight: Array) -> tuple[Array, ...]:
        """No step, and the weights themselves."""
        return (*[np.zeros_like(weight)][: self.moments() - 1], weight.copy())

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        weight, grad = given.weight, prepared(F, self, given, decayed=False)
        decayed = grad + multiplied(weight * given.decay, given.wd_mult) if self.wd else grad
        late = decayed + grad * self.lamda * grad * (weight - moments[-1])
        step = late * -multiplied(given.rate, given.lr_mult)
        if not self.momentum:
            return weight + step, weight
        step = moments[0] * self.momentum + step
        return weight + step, step, weight


@settled
class Test(Optimizer):
    """``w = w + rescale_grad * g``, which is also remembered: for tests of what is around an optimizer."""

    def moments(self) -> int:
        """The new weights."""
        return 1

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        new = given.weight + given.gradient * self.rescale_grad
        return new, new


@settled
class LARS(Optimizer):
    """`SGD` whose rate is, for each parameter, times ``eta * |w| / (|g| + wd * |w| + eps)``.

    Where a norm is 0, and for parameters whose names end in gamma, beta or bias, the rate stays as it is. With
    `momentum_correction` the momentum grows with the rate when a schedule changes it.

    Source
        You et al. 2017, as in MXNet 1.9, ``multi_lars``.
    """

    copy_last: ClassVar[bool] = True
    momentum: float = 0.0
    eta: float = 0.001
    eps: float = 0.0
    momentum_correction: bool = True
    by_name = True
    past: ClassVar[dict[int, float]]  # rates of this step and the last, of each optimizer its own
    again: ClassVar[bool] = False  # whether `update` was called before in this step

    def __post_init__(self, sym: Any, *more: Any) -> None:
        """Refuse settings out of their range."""
        super().__post_init__(sym, *more)
        self.__dict__["past"] = {}

    def moments(self) -> int:
        """One, if there is momentum."""
        return 1 if self.momentum else 0

    def rate(self, num_update: int) -> float:
        """That of the schedule; it is remembered until the next step."""
        rate = super().rate(num_update)
        for old in [n for n in self.past if n < num_update - 1]:
            del self.past[old]
        self.past[num_update] = rate
        return rate

    def _update_count(self, index: Any) -> None:
        before = self.num_update
        super()._update_count(index)
        self.__dict__["again"] = self.num_update == before

    @staticmethod
    def decays(name: Any) -> bool:
        """Weights do, `gamma` does not."""
        return not isinstance(name, str) or name.endswith("_weight")

    def numbers(self, num_update: int) -> tuple[float, ...]:
        """The momentum of this step, as in MXNet that of the last for all parameters but the first."""
        last = self.past.get(num_update - 1)
        if not self.momentum_correction or not last or self.again:
            return (self.momentum,)
        return (self.momentum * (self.past.get(num_update, last) / last),)

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""

        def rate(name: str, weight: Any, grad: Any, wd_mult: Any) -> Any:
            if name.endswith(("gamma", "beta", "bias")):
                return given.rate + 0.0
            size, length = F.sqrt(F.sum(weight * weight)), F.sqrt(F.sum(grad * grad)) * self.rescale_grad
            decay = own_decay(F, given, wd_mult) * size if self.wd else 0.0
            found = F.greater(size * length, 0.0)
            share = size * self.eta / F.where(found, length + decay + self.eps, 1.0)
            return given.rate * F.where(found, share, 1.0)

        own = given.per_parameter(F, rate, given.weight, given.gradient, given.wd_mult)
        return descended(F, self, given._replace(rate=own), given.numbers[0], *moments)


@settled
class LBSGD(Optimizer):
    """`SGD` for large batches: gradients of `batch_scale` steps are averaged, then one step is taken.

    The rate is multiplied by a number that grows from 1 to `batch_scale` during the first `warmup_epochs` epochs of
    `updates_per_epoch` updates: ``"linear"``, ``"power2"`` or ``"sqrt"``; or, with ``"lars"``, for each parameter by
    ``sqrt(w.w / (g.g + wd * w.w))``, held between 0.01 and 100.

    Source
        MXNet 1.9, where the rate of all parameters but the first is that of the next update.
    """

    momentum: float = 0.0
    warmup_strategy: str = "linear"
    warmup_epochs: int = 5
    batch_scale: int = 1
    updates_per_epoch: int = 32
    begin_epoch: int = 0
    num_epochs: int = 60
    seen: ClassVar[int] = 0  # updates before this call of `update`

    def __post_init__(self, sym: Any, *more: Any) -> None:
        """Refuse settings out of their range."""
        super().__post_init__(sym, *more)
        if self.batch_scale < 1:
            raise OptimizerError(f"LBSGD: batch_scale is {self.batch_scale!r}, expected 1 or more")

    def moments(self) -> int:
        """The step, if there is momentum, and the gradients so far, if there are several."""
        return (1 if self.momentum else 0) + (self.batch_scale > 1)

    def rate(self, num_update: int) -> float:
        """That of the schedule before this update is counted, as in MXNet."""
        return super().rate(self.seen if self.counts else num_update - 1)

    def _update_count(self, index: Any) -> None:
        self.__dict__["seen"] = self.num_update
        super()._update_count(index)

    def numbers(self, num_update: int) -> tuple[float, ...]:
        """What the rate is multiplied by, and whether a step is taken now and the last time: 1, else 0."""
        count = self.begin_epoch * self.updates_per_epoch + num_update
        taken = [float(n % self.batch_scale == 0) for n in (count, count - 1)]
        return (self._warmed(count), *taken)

    def _warmed(self, count: int) -> float:
        most, whole = float(self.batch_scale), self.warmup_epochs * self.updates_per_epoch
        if count >= whole or whole <= 1:
            return most if count >= whole else 1.0
        share = count / whole
        known = {"linear": share, "power2": share * share, "sqrt": math.sqrt(share)}
        return 1 + (most - 1) * known.get(self.warmup_strategy, 0.0)

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        factor, now, fresh = given.numbers
        gradient: Any = given.gradient
        sums: tuple[Any, ...] = ()
        if self.batch_scale > 1:
            total = moments[-1] * (fresh * -1.0 + 1.0) + gradient
            gradient, sums = total / float(self.batch_scale), (total,)
        rate = given.rate * (self._lars(F, given, gradient) if self.warmup_strategy == "lars" else factor)
        found = descended(F, self, given._replace(gradient=gradient, rate=rate), self.momentum, *moments)
        new, *step = found if isinstance(found, tuple) and self.momentum else (found,)
        if self.batch_scale == 1:
            return found
        taken = F.greater(now, 0.5)
        olds = (given.weight, *moments[: len(step)])
        kept = [F.where(taken, x, old) for x, old in zip((new, *step), olds, strict=True)]
        return (*kept, *sums)

    def _lars(self, F: Any, given: Given, gradient: Any) -> Any:
        def factor(weight: Any, grad: Any, wd_mult: Any) -> Any:
            size, length = F.sum(weight * weight), F.sum(grad * grad)
            below = length + size * own_decay(F, given, wd_mult) if self.wd else length
            return F.maximum(F.minimum(F.sqrt(size / (below + 1e-18)), 100.0), 0.01)

        return given.per_parameter(F, factor, given.weight, gradient, given.wd_mult)


def own_decay(F: Any, given: Given, factors: Any) -> Any:
    """The decay of one parameter, of which all elements have the same factor."""
    factor = factors if factors is None or isinstance(factors, int | float) else F.mean(factors)
    return multiplied(given.decay, factor)
