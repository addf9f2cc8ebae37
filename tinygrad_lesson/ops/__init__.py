"""The operations, declared once each, by family."""

from tinygrad_lesson.ops import (
    conv,
    elementwise,
    index,
    labels,
    linear,
    loss,
    movement,
    nn,
    pool,
    random,
    reduce,
)

__all__ = [
    "conv",
    "elementwise",
    "index",
    "labels",
    "linear",
    "loss",
    "movement",
    "nn",
    "pool",
    "random",
    "reduce",
]
