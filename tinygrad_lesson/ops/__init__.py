"""The operations, declared once each, by family."""

from tinygrad_lesson.ops import (
    conv,
    elementwise,
    functions,
    index,
    labels,
    linear,
    loss,
    movement,
    nn,
    pool,
    random,
    reduce,
    rounding,
)

__all__ = [
    "conv",
    "elementwise",
    "functions",
    "index",
    "labels",
    "linear",
    "loss",
    "movement",
    "nn",
    "pool",
    "random",
    "reduce",
    "rounding",
]
