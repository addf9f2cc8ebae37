"""`mx.callback`: what training calls after batches and epochs."""

from __future__ import annotations

from tinygrad_lesson.train.callback import (
    LogValidationMetricsCallback,
    ProgressBar,
    Speedometer,
    do_checkpoint,
    log_train_metric,
)

__all__ = ["LogValidationMetricsCallback", "ProgressBar", "Speedometer", "do_checkpoint", "log_train_metric"]
