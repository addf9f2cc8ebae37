"""`mx.lr_scheduler`: the rate from the number of the update."""

from __future__ import annotations

from tinygrad_lesson.train.schedule import (
    CosineScheduler,
    FactorScheduler,
    LRScheduler,
    MultiFactorScheduler,
    PolyScheduler,
)

__all__ = ["CosineScheduler", "FactorScheduler", "LRScheduler", "MultiFactorScheduler", "PolyScheduler"]
