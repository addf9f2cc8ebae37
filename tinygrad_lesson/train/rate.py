"""The attribute `learning_rate` of an optimizer: a number, or what a schedule of ours says by now."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.engine.errors import OptimizerError
from tinygrad_lesson.train.schedule import LRScheduler


class ScheduledError(OptimizerError, UserWarning):
    """A rate that a schedule tells cannot be set; MXNet raises a warning."""


class Unasked(float):
    """A number that nobody gave, which a schedule's own `base_lr` stands before."""


class Rate:
    """The attribute `learning_rate`: the number that was given or set, or what a schedule of ours says by now."""

    def __init__(self, default: float) -> None:
        self.default = default

    def __get__(self, optimizer: Any, cls: Any = None) -> Any:
        if optimizer is None:
            return self.default
        schedule = getattr(optimizer, "lr_scheduler", None)
        return (
            schedule(optimizer.num_update) if isinstance(schedule, LRScheduler) else vars(optimizer)["_rate"]
        )

    def __set__(self, optimizer: Any, rate: float) -> None:
        vars(optimizer)["_rate"] = rate
