"""The operations, declared once each, by family."""

from tinygrad_lesson.ops import (
    conv,
    elementwise,
    functions,
    gather,
    index,
    labels,
    linear,
    loss,
    movement,
    nn,
    order,
    pool,
    random,
    reduce,
    repeated,
    rounding,
)

__all__ = [
    "conv",
    "elementwise",
    "functions",
    "gather",
    "index",
    "labels",
    "linear",
    "loss",
    "movement",
    "nn",
    "order",
    "pool",
    "random",
    "reduce",
    "repeated",
    "rounding",
]
