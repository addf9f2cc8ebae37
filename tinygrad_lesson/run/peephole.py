"""Two neighbouring steps as one instruction, where only the second reads what the first makes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import linear, nn
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.lower import (
    FLAGS,
    RELU,
    WORD,
    Memory,
    Operand,
    Row,
    batch_norm,
    elementwise,
    fully_connected,
    noted,
    product,
    row_major,
)  # fmt: skip

# An encoder takes the memory, the first op, its operands, other operands of the second, all results but that between.
Operands = Sequence[Operand]
Rows = list[Row] | None


def extent(x: Operand) -> tuple[int, int]:
    """Where its elements begin and end."""
    start = x.offset - WORD if x.offset >= WORD // 2 else x.offset
    if x.strides == row_major(x.shape):
        return start, start + math.prod(x.shape)
    steps = [s - WORD if s >= WORD // 2 else s for s in x.strides]
    ends = [(n - 1) * s for n, s in zip(x.shape, steps, strict=True)]
    return start + sum(min(end, 0) for end in ends), start + sum(max(end, 0) for end in ends) + 1


def apart(a: Operand, b: Operand) -> bool:
    """Whether two operands share no memory."""
    (start, stop), (begin, end) = extent(a), extent(b)
    return stop <= begin or end <= start


def product_and_sum(memory: Memory, op: Any, factors: Operands, others: Operands, targets: Operands) -> Rows:
    """``x @ w + other``: the product begins with what is added."""
    (x, w), (other,), (target,) = factors, others, targets
    fits = len(x.shape) == len(w.shape) == len(other.shape) == 2 and other.shape == target.shape
    fits = fits and (other == target or apart(other, target)) and apart(x, target) and apart(w, target)
    return (
        product(memory, x, w, target, other) if fits and (other.strides[1] == 1 or w.shape[1] == 1) else None
    )


def passed_sign(memory: Memory, op: Any, signed: Operands, others: Operands, targets: Operands) -> Rows:
    """``g * sign(y)``."""
    safe = all(x == targets[0] or apart(x, targets[0]) for x in (*others, *signed))
    return elementwise("pass_sign")(memory, op, [*others, *signed], targets[0]) if safe else None


def positive_layer(memory: Memory, op: Any, sources: Operands, others: Operands, targets: Operands) -> Rows:
    """Relu of a fully connected layer."""
    rows = (
        fully_connected(memory, op, sources, targets[0])
        if all(apart(x, targets[0]) for x in sources)
        else None
    )
    return positive(rows, "product")


def positive_norm(memory: Memory, op: Any, sources: Operands, others: Operands, targets: Operands) -> Rows:
    """Relu of a normalization."""
    safe = sources[0] == targets[0] or apart(sources[0], targets[0])
    return positive(batch_norm(memory, op, sources, targets) if safe else None, "batch_norm")


def positive(rows: Rows, name: str) -> Rows:
    """Instructions of which the last gives the positive part."""
    if rows:
        rows[-1][FLAGS] |= RELU[name]
    return rows


PAIRS: dict[tuple[type, type], Callable[[Memory, Any, Operands, Operands, Operands], Rows]] = {
    (linear.MatMul, e.Add): product_and_sum,
    (e.Sign, e.Multiply): passed_sign,
    (linear.FullyConnected, e.Relu): positive_layer,
    (nn.BatchNorm, e.Relu): positive_norm,
}


def encode_pair(first: Step, second: Step, runner: Any) -> Rows:
    """One instruction for both; None where there is none, or where others need the first result."""
    encoder, between = PAIRS.get((type(first.op), type(second.op))), first.targets[0]
    if encoder is None or runner.readers[between] != 1 or between not in second.sources:
        return None
    others = [v for v in second.sources if v != between]
    values = first.sources, others, (*second.targets, *first.targets[1:])
    sources, rest, targets = ([runner.operand(v) for v in part] for part in values)
    operands = [*sources, *rest, *targets]
    if None in operands or any(0 in x.shape for x in operands):
        return None
    return noted(encoder(runner.memory, first.op, sources, rest, targets), operands)
