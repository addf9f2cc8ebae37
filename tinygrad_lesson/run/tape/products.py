"""Products of small matrices: a block of rows and a panel of columns stay in registers."""

from __future__ import annotations

import functools
from typing import Any

from tinygrad_lesson.run.tape.vector import (
    I64,
    Memory,
    fused,
    itemsize,
    lanes_of,
    loop,
    slot,
    smaller,
    vector_of,
)

BLOCK = 5  # rows


def product(builder: Any, base: Any, words: Any, step: Any, kind: str, started: int) -> None:
    """``o[i, :] = starts[i, :] + sum_k x[i, k] * w[k, :]``: a kernel. Rows of w, o and starts are dense.

    Words: the offset, row stride and column stride of x; offset and row stride of w, of o, and of each of so many
    starts; the sizes m, k, n.
    """
    memory = Memory(builder, base, words, lanes_of(kind))
    x, x_row, x_step, w, w_row, o, o_row = memory.take(7)
    starts = [memory.take(2) for _ in range(started)]
    m, k, n = memory.take(3)
    lanes, size, vector = I64(memory.lanes), itemsize(kind), vector_of(kind, memory.lanes)

    def block(rows: int, i: Any, j: Any, mask: Any) -> None:
        """So many rows from row `i` on, one panel from byte `j` of each on."""
        sums = [slot(builder, vector) for _ in range(rows)]
        numbers = [builder.add(i, I64(r)) for r in range(rows)]
        for row, total in zip(numbers, sums, strict=True):
            begun = [memory.load(builder.add(memory.at(at, row, by), j), kind, mask) for at, by in starts]
            builder.store(functools.reduce(builder.fadd, begun) if begun else memory.zero(kind), total)
        begun = [memory.at(x, row, x_row) for row in numbers]
        panel = builder.add(w, j)
        with loop(builder, k) as along:
            weights = memory.load(memory.at(panel, along, w_row), kind, mask)
            for at, total in zip(begun, sums, strict=True):
                fused(builder, memory.number(memory.at(at, along, x_step), kind), weights, total)
        for row, total in zip(numbers, sums, strict=True):
            memory.store(builder.add(memory.at(o, row, o_row), j), builder.load(total), kind, mask)

    blocks = builder.udiv(m, I64(BLOCK))
    done = builder.mul(blocks, I64(BLOCK))
    panels = builder.udiv(builder.add(n, I64(memory.lanes - 1)), lanes)
    with loop(builder, panels) as number:
        first = builder.mul(number, lanes)
        mask = memory.first(smaller(builder, builder.sub(n, first), lanes))
        j = builder.mul(first, I64(size))
        with loop(builder, blocks) as some:
            block(BLOCK, builder.mul(some, I64(BLOCK)), j, mask)
        with loop(builder, m, done) as i:
            block(1, i, j, mask)
