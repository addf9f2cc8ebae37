"""`mx.callback`: what training calls after batches and epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_lesson.train.callback import (
    LogValidationMetricsCallback,
    ProgressBar,
    Speedometer,
    do_checkpoint,
    log_train_metric,
)


def module_checkpoint(
    mod: Any, prefix: str, period: int = 1, save_optimizer_states: bool = False
) -> Callable[..., None]:
    """What saves a module after every `period` epochs."""
    period = max(1, int(period))

    def callback(epoch: int, *more: Any) -> None:
        if (epoch + 1) % period == 0:
            mod.save_checkpoint(prefix, epoch + 1, save_optimizer_states)

    return callback


__all__ = [
    "LogValidationMetricsCallback", "ProgressBar", "Speedometer", "do_checkpoint", "log_train_metric",
    "module_checkpoint",
]  # fmt: skip
