"""Optimizers whose rule is one of MXNet's update operators (`ops/updates.py`, `ops/adaptive.py`).

The operator says how a step is taken; here its attributes are an optimizer's settings, and the rate and the decay are
those of the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.ops.adaptive import (
    FtmlUpdate,
    FtrlUpdate,
    LambUpdatePhase1,
    RmspropalexUpdate,
    RmspropUpdate,
)
from tinygrad_lesson.ops.updates import NagMomUpdate, SgdUpdate, SignsgdUpdate, SignumUpdate
from tinygrad_lesson.plan.update import Given
from tinygrad_lesson.train.indexed import settled
from tinygrad_lesson.train.rate import Rate
from tinygrad_lesson.train.rules import Optimizer, multiplied


class Spoken:
    """The attributes of an update operator, as its `compose` reads them: some are numbers that a step is given."""

    def __init__(self, kind: Any, found: Mapping[str, Any]) -> None:
        self.kind, self.found = kind, found

    def __getattr__(self, name: str) -> Any:
        if name in self.found:
            return self.found[name]
        return getattr(self.kind, name).__get__(self)


def taken(kind: Any, optimizer: Optimizer, F: Any, given: Given, *moments: Any, **more: Any) -> Any:
    """What the operator `kind` gives in this step: the new weights and moments."""
    real = F.dtype(given.weight).type  # MXNet's attributes are float32
    found: dict[str, Any] = {part.name: getattr(optimizer, part.name) for part in fields(optimizer)}
    found = {key: real(x) if isinstance(x, float | np.floating) else x for key, x in found.items()}
    for bound in ("clip_gradient", "clip_weights"):
        found[bound] = real(getattr(optimizer, bound, None) or -1.0)
    found["lr"] = multiplied(given.rate, given.lr_mult)
    found["wd"] = multiplied(given.decay, given.wd_mult) if optimizer.wd else 0.0
    return kind.compose(Spoken(kind, {**found, **more}), F, given.weight, given.gradient, *moments)


def powers(optimizer: Any, num_update: int) -> tuple[float, ...]:
    """``beta**num_update`` of both means; MXNet's betas are float32."""
    return tuple([float(np.float32(beta)) ** num_update for beta in (optimizer.beta1, optimizer.beta2)])


@settled
class NAG(Optimizer):
    """Nesterov's momentum: ``m = momentum * m - rate * g``, then ``w = w + momentum * m - rate * g``.

    ``g`` is the gradient, rescaled and clipped, and the decay ``wd * w``; in ``m`` that is kept, of the new ``w``.
    Without momentum it is `SGD`.

    Source
        Sutskever et al. 2013, as in MXNet 1.9, ``nag_mom_update``.
    """

    copy_last: ClassVar[bool] = True
    weight_first: ClassVar[bool] = True
    momentum: float = 0.0

    def moments(self) -> int:
        """One, if there is momentum."""
        return 1 if self.momentum else 0

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        if not self.momentum:
            return taken(SgdUpdate, self, F, given)
        weight, moment = taken(NagMomUpdate, self, F, given, *moments)
        if self.wd and self.weight_first:  # so that what MXNet remembers has the decay of the new one
            moment -= multiplied(
                (weight - given.weight) * (given.rate * given.decay), given.lr_mult, given.wd_mult
            )
        return weight, moment


@settled
class Nesterov(NAG):
    """`NAG` whose decay is that of the weight before the step in ``m`` too, as PyTorch has it."""

    weight_first: ClassVar[bool] = False


@settled
class Signum(Optimizer):
    """Steps of one size along the sign of a running mean: ``w = w * (1 - rate * wd_lh) + rate * sign(m)``.

    ``m = momentum * m - (1 - momentum) * (g + wd * w)``. Without momentum each step goes against the gradient's sign.

    Source
        Bernstein et al. 2018, as in MXNet 1.9, ``signum_update``; `wd_lh` is the decay of Loshchilov and Hutter 2017.
    """

    learning_rate: float = Rate(0.01)  # type: ignore[assignment]
    momentum: float = 0.9
    wd_lh: float = 0.0

    def moments(self) -> int:
        """One, if there is momentum."""
        return 1 if self.momentum else 0

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        return taken(SignumUpdate if self.momentum else SignsgdUpdate, self, F, given, *moments)


@settled
class RMSProp(Optimizer):
    """Steps scaled by a running mean of squares: ``w = w - rate * g / sqrt(n + epsilon)``.

    ``n = gamma1 * n + (1 - gamma1) * g**2`` before; ``g`` is the gradient, rescaled, decayed, clipped. With `centered`
    the squares are those around the running mean, and `gamma2` is the share of the last step that is taken again.
    `clip_weights` bounds the weights, if it is given.

    Source
        Tieleman and Hinton 2012; `centered`: Graves 2013, equations 38 to 45; as in MXNet 1.9.
    """

    learning_rate: float = Rate(0.001)  # type: ignore[assignment]
    gamma1: float = 0.9
    gamma2: float = 0.9
    epsilon: float = 1e-8
    centered: bool = False
    clip_weights: float | None = None

    def moments(self) -> int:
        """The mean of squares; with `centered` also the mean, and the last step."""
        return 3 if self.centered else 1

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        return taken(RmspropalexUpdate if self.centered else RmspropUpdate, self, F, given, *moments)


@settled
class Ftrl(Optimizer):
    """FTRL-Proximal, which makes weights exactly 0 where ``abs(z) <= lamda1``: see `ops.adaptive.FtrlUpdate`.

    Source
        McMahan et al. 2013, algorithm 1, as in MXNet 1.9.
    """

    learning_rate: float = Rate(0.1)  # type: ignore[assignment]
    tells_schedule = False  # as in MXNet 1.9
    lamda1: float = 0.01
    beta: float = 1.0

    def moments(self) -> int:
        """``z`` and the sum of squares."""
        return 2

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        return taken(FtrlUpdate, self, F, given, *moments)


@settled
class FTML(Optimizer):
    """Follow the moving leader: see `ops.adaptive.FtmlUpdate`.

    Source
        Zheng and Kwok 2017, algorithm 1, as in MXNet 1.9.
    """

    beta1: float = 0.6
    beta2: float = 0.999
    epsilon: float = 1e-8

    def moments(self) -> int:
        """``d``, ``v`` and ``z``."""
        return 3

    def numbers(self, num_update: int) -> tuple[float, ...]:
        """The decay of both means since the first step."""
        return powers(self, num_update)

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        return taken(
            FtmlUpdate, self, F, given, *moments, shares=tuple([1.0 - power for power in given.numbers])
        )


@settled
class LAMB(Optimizer):
    """Adam's direction and the decay, each parameter as far as its own length: ``w - rate * |w| / |d| * d``.

    ``|w|`` is held between `lower_bound` and `upper_bound`; where it or ``|d|`` is 0, their quotient is taken as 1. See
    `ops.adaptive.LambUpdatePhase1` for ``d``.

    Source
        You et al. 2020, algorithm 2, as in MXNet 1.9.
    """

    learning_rate: float = Rate(0.001)  # type: ignore[assignment]
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    lower_bound: float | None = None
    upper_bound: float | None = None
    bias_correction: bool = True

    def moments(self) -> int:
        """The two means."""
        return 2

    def numbers(self, num_update: int) -> tuple[float, ...]:
        """The decay of both means since the first step."""
        return powers(self, num_update)

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        corrections = tuple([1.0 - power for power in given.numbers]) if self.bias_correction else (1.0, 1.0)
        down, *means = taken(LambUpdatePhase1, self, F, given, *moments, shares=corrections)

        def ratio(weight: Any, direction: Any) -> Any:
            size, length = F.sqrt(F.sum(weight * weight)), F.sqrt(F.sum(direction * direction))
            size = F.maximum(size, self.lower_bound) if self.lower_bound else size
            size = F.minimum(size, self.upper_bound) if self.upper_bound else size
            found = F.greater(size * length, 0.0)
            return F.where(found, size, 1.0) * given.rate / F.where(found, length, 1.0)

        rates = multiplied(given.per_parameter(F, ratio, given.weight, down), given.lr_mult)
        return given.weight - down * rates, *means
