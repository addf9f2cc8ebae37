"""Two neighbouring steps as one instruction, where only the second reads what the first makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import linear
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.operands import Memory, Operand, Row, apart, noted
from tinygrad_lesson.run.products import product
from tinygrad_lesson.run.whole import Pattern, of_floats

# An encoder takes the memory, the first op, its operands, other operands of the second, its results.
Operands = Sequence[Operand]
Rows = list[Row] | None


def product_and_sum(memory: Memory, op: Any, factors: Operands, others: Operands, targets: Operands) -> Rows:
    """``x @ w + other``: the product begins with what is added."""
    x, w = factors
    fits = len(x.shape) == 2 and begins(others, factors, targets)
    return product(memory, x, w, targets[0], others) if fits else None


def begins(others: Operands, factors: Operands, targets: Operands) -> bool:
    """Whether the sums of a product may begin with another matrix."""
    (other,), (target,) = others, targets
    dense = len(other.shape) == 2 and (other.strides[1] == other.itemsize or other.shape[1] == 1)
    safe = (other == target or apart(other, target)) and all(apart(x, target) for x in factors)
    return dense and safe and other.shape == target.shape


def passed_sign(memory: Memory, op: Any, signed: Operands, others: Operands, targets: Operands) -> Rows:
    """``g * sign(y)``."""
    safe = all(x == targets[0] or apart(x, targets[0]) for x in (*others, *signed))
    return of_floats("pass_sign")(memory, op, [*others, *signed], targets[0]) if safe else None


PAIRS = (
    Pattern("product_and_sum", (linear.MatMul, e.Add), product_and_sum, "a product begins with what is added to it"),
    Pattern("pass_sign", (e.Sign, e.Multiply), passed_sign, "`g * sign(y)`, the slope of relu, in one loop"),
)  # fmt: skip
OF_PAIR = {pattern.ops: pattern for pattern in PAIRS}


def encode_pair(first: Step, second: Step, runner: Any) -> Rows:
    """One instruction for both; None where there is none, or where others need the first result."""
    pattern, between = OF_PAIR.get((type(first.op), type(second.op))), first.targets[0]
    if pattern is None or runner.readers[between] != 1 or between not in second.sources:
        return None
    others = [v for v in second.sources if v != between]
    values = first.sources, others, second.targets
    sources, rest, targets = ([runner.operand(v) for v in part] for part in values)
    operands = [*sources, *rest, *targets]
    if None in operands or any(0 in x.shape for x in operands):
        return None
    rows: Rows = pattern.encode(runner.memory, first.op, sources, rest, targets)
    if rows is None:
        return None
    runner.ways[id(first)] = way = f"pattern {pattern.name}"
    runner.ways[id(second)] = f"{way}, with the step before"
    return noted(rows, operands)
