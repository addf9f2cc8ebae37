"""Two neighbouring steps as one instruction, where only the second reads what the first makes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import linear
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.encode import WORD, Memory, Operand, Row, elementwise, noted, product, row_major

# Of an encoder: the memory, the operands of the first step, the other operand of the second, the result.
Encoder = Callable[[Memory, Sequence[Operand], Operand, Operand], list[Row] | None]


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


def product_and_sum(
    memory: Memory, factors: Sequence[Operand], other: Operand, target: Operand
) -> list[Row] | None:
    """``x @ w + other``: the product begins with what is added."""
    x, w = factors
    fits = len(x.shape) == len(w.shape) == len(other.shape) == 2 and other.shape == target.shape
    fits = fits and (other == target or apart(other, target)) and apart(x, target) and apart(w, target)
    return (
        product(memory, x, w, target, other) if fits and (other.strides[1] == 1 or w.shape[1] == 1) else None
    )


def passed_sign(memory: Memory, signed: Sequence[Operand], g: Operand, target: Operand) -> list[Row] | None:
    """``g * sign(y)``."""
    safe = all(x == target or apart(x, target) for x in (g, *signed))
    return elementwise("pass_sign")(memory, None, [g, *signed], target) if safe else None


PAIRS: dict[tuple[type, type], Encoder] = {
    (linear.MatMul, e.Add): product_and_sum,
    (e.Sign, e.Multiply): passed_sign,
}


def encode_pair(first: Step, second: Step, runner: Any) -> list[Row] | None:
    """One instruction for both; None where there is none, or where others need the first result."""
    encoder, between = PAIRS.get((type(first.op), type(second.op))), first.targets[0]
    if encoder is None or runner.readers[between] != 1 or between not in second.sources:
        return None
    (other,) = [v for v in second.sources if v != between]
    operands = [runner.operand(v) for v in (*first.sources, other, *second.targets)]
    if None in operands or any(0 in x.shape for x in operands):
        return None
    return noted(encoder(runner.memory, operands[:-2], operands[-2], operands[-1]), operands)
