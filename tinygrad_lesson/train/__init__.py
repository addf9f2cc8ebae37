"""Training: initializers, optimizers, data, metrics, callbacks, `FeedForward`."""

from __future__ import annotations

from tinygrad_lesson.train import (
    callback,
    confusion,
    data,
    initializer,
    metric,
    monitor,
    optimizer,
    schedule,
    scores,
    structured,
)
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.diagnosis import Diagnosis, diagnose
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.history import History

__all__ = [
    "Diagnosis", "FeedForward", "History", "NDArrayIter", "callback", "confusion", "data", "diagnose",
    "initializer", "metric", "monitor", "optimizer", "schedule", "scores", "structured",
]  # fmt: skip
