"""Schedules: functions that tell the rate from the number of the update, for an optimizer's `lr_scheduler`.

`base_lr` is the rate as it stands; an optimizer that is made with a rate of its own sets it first. During the first
`warmup_steps` updates the rate grows from `warmup_begin_lr` to the `base_lr` it was made with (``"linear"``), or
stays at `warmup_begin_lr` (``"constant"``).

Source
    MXNet 1.9, ``mx.lr_scheduler``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygrad_lesson.engine.errors import OptimizerError


class LRScheduler:
    """What all schedules share; one of your own says in `rate` what holds after the warm-up.

    Errors
        OptimizerError for a setting that is out of its range.
    """

    def __init__(
        self,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0.0,
        warmup_mode: str = "linear",
    ) -> None:
        self.base_lr = self.warmup_final_lr = base_lr
        self.warmup_steps, self.warmup_begin_lr = warmup_steps, warmup_begin_lr
        self.warmup_mode = warmup_mode
        self.require(isinstance(warmup_steps, int) and warmup_steps >= 0, "warmup_steps", "0, 1, 2, ...")
        self.require(warmup_begin_lr <= base_lr, "warmup_begin_lr", f"at most base_lr, {base_lr!r}")
        self.require(warmup_mode in ("linear", "constant"), "warmup_mode", "linear or constant")

    def require(self, fits: bool, setting: str, expected: str) -> None:
        """Refuse a setting that does not fit."""
        if not fits:
            given = getattr(self, setting)
            raise OptimizerError(f"{type(self).__name__}: {setting} is {given!r:.80}, expected {expected}")

    def get_warmup_lr(self, num_update: int) -> float:
        """The rate of an update that belongs to the warm-up."""
        if self.warmup_mode == "constant":
            return self.warmup_begin_lr
        increase = (self.warmup_final_lr - self.warmup_begin_lr) * num_update / self.warmup_steps
        return self.warmup_begin_lr + increase

    def __call__(self, num_update: int) -> float:
        """The rate of update `num_update`."""
        return self.get_warmup_lr(num_update) if num_update < self.warmup_steps else self.rate(num_update)

    def rate(self, num_update: int) -> float:
        """The rate of an update after the warm-up."""
        raise NotImplementedError


class FactorScheduler(LRScheduler):
    """The rate times `factor` after every `step` updates, until it is `stop_factor_lr`."""

    def __init__(
        self,
        step: int,
        factor: float = 1.0,
        stop_factor_lr: float = 1e-8,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0.0,
        warmup_mode: str = "linear",
    ) -> None:
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.step, self.factor, self.stop_factor_lr = step, factor, stop_factor_lr
        self.require(step >= 1, "step", "1 or more")
        self.require(factor <= 1, "factor", "at most 1")
        self.count = 0  # the update after which the rate changed last

    def rate(self, num_update: int) -> float:
        """The rate, brought up to this update."""
        while num_update > self.count + self.step:
            self.count += self.step
            self.base_lr = max(self.base_lr * self.factor, self.stop_factor_lr)
        return self.base_lr


class MultiFactorScheduler(LRScheduler):
    """The rate times `factor` after each of the updates that `step` lists."""

    def __init__(
        self,
        step: Sequence[int],
        factor: float = 1.0,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0.0,
        warmup_mode: str = "linear",
    ) -> None:
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.step, self.factor, self.cur_step_ind = list(step), factor, 0
        rising = all(a < b for a, b in zip([0, *self.step], self.step, strict=False))
        self.require(bool(self.step) and rising, "step", "rising numbers of updates, from 1")
        self.require(factor <= 1, "factor", "at most 1")

    def rate(self, num_update: int) -> float:
        """The rate, brought up to this update."""
        while self.cur_step_ind < len(self.step) and num_update > self.step[self.cur_step_ind]:
            self.cur_step_ind += 1
            self.base_lr *= self.factor
        return self.base_lr


class Falling(LRScheduler):
    """A rate that falls from `base_lr` to `final_lr`, which it reaches at update `max_update`."""

    def __init__(
        self,
        max_update: int,
        base_lr: float = 0.01,
        final_lr: float = 0.0,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0.0,
        warmup_mode: str = "linear",
    ) -> None:
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.base_lr_orig, self.max_update, self.final_lr = base_lr, max_update, final_lr
        self.require(isinstance(max_update, int) and max_update >= 1, "max_update", "1, 2, 3, ...")
        self.max_steps = max_update - warmup_steps

    def rate(self, num_update: int) -> float:
        """The rate, which stays as it is after `max_update`."""
        if num_update <= self.max_update:
            left = self.left(num_update - self.warmup_steps, self.max_steps)
            self.base_lr = self.final_lr + (self.base_lr_orig - self.final_lr) * left
        return self.base_lr

    def left(self, done: int, steps: int) -> float:
        """What share of the way is left when some of the updates are done."""
        raise NotImplementedError


class PolyScheduler(Falling):
    """A rate that falls as a power: ``final_lr + (base_lr - final_lr) * (1 - n / max_update)**pwr``."""

    def __init__(
        self,
        max_update: int,
        base_lr: float = 0.01,
        pwr: float = 2,
        final_lr: float = 0.0,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0.0,
        warmup_mode: str = "linear",
    ) -> None:
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.power = pwr

    def left(self, done: int, steps: int) -> float:
        """The power of what is not done."""
        return float((1 - done / steps) ** self.power)


class CosineScheduler(Falling):
    """A rate that falls as half a cosine: ``final_lr + (base_lr - final_lr) * (1 + cos(pi * n / max_update)) / 2``."""

    def left(self, done: int, steps: int) -> float:
        """Half of 1 and the cosine."""
        return (1 + math.cos(math.pi * done / steps)) / 2


__all__ = ["CosineScheduler", "FactorScheduler", "LRScheduler", "MultiFactorScheduler", "PolyScheduler"]
