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

# Their rules hold for complex numbers too: they are analytic, or linear, or say what holds.
for _op in (
    elementwise.Add, elementwise.Subtract, elementwise.Multiply, elementwise.Divide, elementwise.Negative,
    elementwise.Exp, elementwise.Sqrt, elementwise.Square, elementwise.Tanh, elementwise.Abs, elementwise.Where,
    reduce.Sum, reduce.Mean, reduce.SumLike, reduce.SpreadLike, reduce.FullLike, linear.MatMul, linear.FullyConnected,
    loss.StopGradient, movement.Identity, movement.TypeLike, movement.Movement, index.Slice, index.PutLike,
    index.Concat, index.ConcatParts, index.Split, index.Stack,
):  # fmt: skip
    _op.analytic = True  # type: ignore[attr-defined]

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
