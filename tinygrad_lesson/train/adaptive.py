"""Optimizers whose steps are scaled by the gradients so far. Their arithmetic is that of MXNet's Python."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from tinygrad_lesson.plan.update import Given
from tinygrad_lesson.train.indexed import settled
from tinygrad_lesson.train.rate import Rate
from tinygrad_lesson.train.rules import Optimizer, clipped, multiplied


def prepared(F: Any, optimizer: Optimizer, given: Given, *, decayed: bool) -> Any:
    """The gradient: rescaled, with the decay if `decayed`, then clipped."""
    grad = given.gradient * optimizer.rescale_grad
    if decayed and optimizer.wd:
        grad = grad + multiplied(given.weight * given.decay, given.wd_mult)
    return clipped(F, grad, optimizer.clip_gradient) if optimizer.clip_gradient else grad


@settled
class AdaGrad(Optimizer):
    """Steps scaled by all squares so far: ``h = h + g**2``, then ``w = w - rate * (g / sqrt(h + eps) + wd * w)``.

    ``g`` is the gradient, rescaled and clipped.

    Source
        Duchi et al. 2011, as in MXNet 1.9.
    """

    eps: float = 1e-7

    def moments(self) -> int:
        """The sum of squares."""
        return 1

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        grad = prepared(F, self, given, decayed=False)
        history = moments[0] + grad * grad
        down = grad / F.sqrt(history + self.eps)
        if self.wd:
            down = down + multiplied(given.weight * given.decay, given.wd_mult)
        return given.weight - down * multiplied(given.rate, given.lr_mult), history


@settled
class AdaDelta(Optimizer):
    """Steps in the units of the weights: ``d = sqrt(a + epsilon) / sqrt(v + epsilon) * g``, then ``w - d - wd * w``.

    ``v = rho * v + (1 - rho) * g**2`` before, and ``a = rho * a + (1 - rho) * d**2`` after. ``g`` is the gradient,
    rescaled and clipped. There is no rate, so multipliers of it count for nothing.

    Source
        Zeiler 2012, algorithm 1, as in MXNet 1.9.
    """

    rho: float = 0.9
    epsilon: float = 1e-5

    def moments(self) -> int:
        """The means of squares of gradients and of steps."""
        return 2

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        rest = 1 - self.rho
        grad = prepared(F, self, given, decayed=False)
        squares = moments[0] * self.rho + grad * rest * grad
        down = F.sqrt(moments[1] + self.epsilon) / F.sqrt(squares + self.epsilon) * grad
        steps = moments[1] * self.rho + down * rest * down
        if self.wd:
            down = down + multiplied(given.weight * given.decay, given.wd_mult)
        return given.weight - down, squares, steps


@settled
class Adamax(Optimizer):
    """Adam with the largest gradient in the place of the root: ``u = max(beta2 * u, |g|)``, ``w - rate * m / u``.

    ``m = beta1 * m + (1 - beta1) * g``, and in step t ``rate = learning_rate / (1 - beta1**t)``. ``g`` is the gradient,
    rescaled, decayed, clipped. A weight whose gradients were all 0 becomes NaN, as in MXNet.

    Source
        Kingma and Ba 2015, algorithm 2, as in MXNet 1.9.
    """

    learning_rate: float = Rate(0.002)  # type: ignore[assignment]
    beta1: float = 0.9
    beta2: float = 0.999

    def rate(self, num_update: int) -> float:
        """The rate with the correction of the mean."""
        return super().rate(num_update) / (1 - self.beta1**num_update)

    def moments(self) -> int:
        """The mean and the largest."""
        return 2

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        grad = prepared(F, self, given, decayed=True)
        mean = moments[0] * self.beta1 + grad * (1 - self.beta1)
        largest = F.maximum(moments[1] * self.beta2, F.abs(grad))
        return given.weight - multiplied(mean * given.rate, given.lr_mult) / largest, mean, largest


@settled
class Nadam(Optimizer):
    """Adam with Nesterov's momentum, which grows: ``beta1 * (1 - 0.96**(t * schedule_decay) / 2)`` in step t.

    Source
        Dozat 2016, algorithm 8, as in MXNet 1.9. There the product of momenta is shared by all parameters and grows
        with each of them, as it does here in MXNet's form (`update`); in `fit` it grows step by step.
    """

    learning_rate: float = Rate(0.001)  # type: ignore[assignment]
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    schedule_decay: float = 0.004
    products: ClassVar[list[float]]  # of momenta so far, of each optimizer its own
    shared: ClassVar[float] = 1.0  # that of all calls of `update`

    def __post_init__(self, sym: Any, *more: Any) -> None:
        """Refuse settings out of their range."""
        super().__post_init__(sym, *more)
        self.__dict__["products"] = [1.0]

    def moments(self) -> int:
        """The two means."""
        return 2

    def momentum(self, num_update: int) -> float:
        """That of a step."""
        return self.beta1 * (1 - 0.5 * math.pow(0.96, num_update * self.schedule_decay))

    def product(self, num_update: int) -> float:
        """Of the momenta of all steps up to this one."""
        while self.products[-1] > 1e-300 and len(self.products) <= num_update:
            self.products.append(self.products[-1] * self.momentum(len(self.products)))
        return self.products[min(num_update, len(self.products) - 1)]

    def _update_count(self, index: Any) -> None:
        super()._update_count(index)
        self.__dict__["shared"] = self.shared * self.momentum(self.counts[index])

    def numbers(self, num_update: int) -> tuple[float, ...]:
        """What the products of momenta and this momentum leave of 1, the next momentum, and the share of squares."""
        now, after = self.momentum(num_update), self.momentum(num_update + 1)
        product = self.shared if self.counts else self.product(num_update)
        return 1 - product, 1 - product * after, 1 - now, after, 1 - self.beta2**num_update

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        rest, rest_after, rest_now, after, share = given.numbers
        grad = prepared(F, self, given, decayed=True)
        mean = moments[0] * self.beta1 + grad * (1 - self.beta1)
        square = moments[1] * self.beta2 + grad * (1 - self.beta2) * grad
        bar = grad / rest * rest_now + mean / rest_after * after
        down = multiplied(bar * given.rate, given.lr_mult) / (F.sqrt(square / share) + self.epsilon)
        return given.weight - down, mean, square
