"""What goes along axes, as instructions: sums, products and extremes, whole and running."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.engine.shapes import reduced_axes
from tinygrad_lesson.plan.trace import Call
from tinygrad_lesson.run.elements import elementwise, loops_over, repeated
from tinygrad_lesson.run.operands import FLOATS, Encoder, Memory, Operand, Row, contiguous, row_major
from tinygrad_lesson.run.segment import side_by_side
from tinygrad_lesson.run.tape import reductions, scans
from tinygrad_lesson.run.tape.loops import APART, DENSE
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.tape.vector import lanes_of


def reduction(name: str) -> Encoder:
    """A sum, a product, an extreme over some axes."""

    def encode(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
        x, rank, named = operands[0], len(operands[0].shape), dict(call.named)
        axis = call.inputs[1] if len(operands) > 1 else named.get("axis", 0)
        if (
            not contiguous(target)
            or len(operands) > 2
            or named.keys() - {"axis", "keepdims", "dtype"}
            or 0 in x.shape
        ):
            return None
        if name in ("maximum", "minimum") and x.kind != target.kind:
            return None
        if name in ("add", "multiply") and x.kind in FLOATS and x.kind != target.kind:
            return None
        if x.kind not in FLOATS and target.kind in FLOATS:
            return None
        return fold(memory, name, *parted(x, reduced_axes(rank, axis)), target)

    return encode


def norm(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Absolute values, or squares and then the root, of elements as they are added up."""
    (x,) = sources
    if x.kind not in FLOATS or x.kind != target.kind or not contiguous(target) or 0 in x.shape:
        return None
    of, beside = "absolute" if op.ord == 1 else "square", parted(x, op.axes(len(x.shape)))
    rows = fold(memory, "add", *beside, target, of)
    if rows is None or op.ord == 1:
        return rows
    return rows + (elementwise("sqrt")(memory, op, [target], target) or [])


def parted(x: Operand, axes: Sequence[int]) -> tuple[Operand, list[tuple[int, int]]]:
    """An operand without some axes, and the sizes and strides of these."""
    each = list(enumerate(zip(x.shape, x.strides, strict=True)))
    shape = tuple(n for a, (n, _) in each if a not in axes)
    kept = tuple(s for a, (_, s) in each if a not in axes)
    return Operand(x.offset, shape, kept, x.kind), [pair for a, pair in each if a in axes]


def fold(
    memory: Memory,
    name: str,
    x: Operand,
    gone: Sequence[tuple[int, int]],
    target: Operand,
    of: str = "positive",
) -> list[Row] | None:
    """Instructions that fold the axes `gone`, pairs of size and stride, of an operand with other axes beside.

    A sum of floats may be one `of` its elements, a function of `EXPRESSIONS`.
    """
    inner = loops_over(tuple(n for n, _ in gone), tuple(s for _, s in gone))
    if len(inner.sizes) > 1:  # the last of them first
        n, (s,) = inner.sizes[-1], inner.strides[-1]
        shape = (*inner.sizes[:-1], *x.shape)
        part = memory.temporary(*shape, kind=target.kind)
        strides = (*[by[0] for by in inner.strides[:-1]], *x.strides)
        first = fold(memory, name, Operand(x.offset, shape, strides, x.kind), [(n, s)], part, of)
        count = len(inner.sizes) - 1
        rest = list(zip(part.shape[:count], part.strides[:count], strict=True))
        then = fold(
            memory, name, Operand(part.offset, x.shape, part.strides[count:], part.kind), rest, target
        )
        return None if first is None or then is None else [*first, *then]
    n, (s,) = (inner.sizes[0], inner.strides[0]) if inner.sizes else (1, [x.itemsize])
    found = loops_over(x.shape, x.strides, row_major(x.shape, target.itemsize))
    across, over = (found.strides or [[0, target.itemsize]])[-1]
    m, floats = (found.sizes or [1])[-1], name == "add" and x.kind in FLOATS
    if (
        x.kind == target.kind
        and across == x.itemsize
        and over == target.itemsize
        and s != x.itemsize
        and m > 1
    ):
        if of != "positive":
            return None
        kernel = address(reductions.down, name, x.kind)
    elif over != target.itemsize:
        return None
    elif floats:
        kernel = address(reductions.sums, x.kind, DENSE if s == x.itemsize or n == 1 else APART, of)
    elif name == "multiply" and x.kind in FLOATS and s == x.itemsize and n >= lanes_of(x.kind):
        kernel = address(reductions.products, x.kind)
    else:
        way = DENSE if s == x.itemsize and 2 * n >= lanes_of(x.kind) else APART  # one by one if they are few
        kernel = address(reductions.folded, name, x.kind, target.kind, way)
    rows: list[Row] = []
    for some, (begin, to) in found.shared([x.offset, target.offset], x.size * n):
        row = [kernel, begin, across, s, to, (some.sizes or [1])[-1], n]
        rows.append(repeated(row, (1, 4), some.sizes[:-1], some.strides[:-1]))
    return side_by_side(memory, rows)


def running(name: str) -> Encoder:
    """Sums or products of all elements up to each one, along one axis."""

    def encode(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
        x, named = operands[0], dict(call.named)
        axis = call.inputs[1] if len(operands) > 1 else named.get("axis")
        if named.keys() - {"axis"} or x.kind != target.kind or not contiguous(target):
            return None
        if axis is None and not contiguous(x):
            return None
        shape, axis = ((x.size,), 0) if axis is None else (x.shape, axis % len(x.shape))
        strides = x.strides if shape == x.shape else (x.itemsize,)
        before, after = (loops_over(shape[at], strides[at]) for at in (slice(axis), slice(axis + 1, None)))
        rows, (beside,) = (before.strides or [[0]]), (after.strides or [[x.itemsize]])[-1]
        if len(before.sizes) > 1 or len(after.sizes) > 1 or beside != x.itemsize:
            return None
        m, n, depth = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        kernel, by = address(scans.running, name, x.kind, depth == 1), depth * x.itemsize
        return [[kernel, x.offset, rows[-1][0], strides[axis], target.offset, n * by, by, m, n, depth]]

    return encode
