"""Normalization of the columns of a matrix, by panels of columns that stay in registers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.run.tape.reductions import Total
from tinygrad_lesson.run.tape.vector import (
    I64,
    IN_MEMORY,
    NOUGHT,
    Contracted,
    Memory,
    itemsize,
    lanes_of,
    loop,
    smaller,
    splat,
)

BLOCK = 128  # rows that are added up before they join a total


def squared_distance(center: Contracted, v: Contracted) -> Contracted:
    """Of each lane."""
    return (v - center) * (v - center)


class Panel:
    """As many columns of matrices with m rows and n columns, all of them dense, as a vector has lanes."""

    def __init__(self, memory: Memory, kind: str, number: Any, m: Any, n: Any) -> None:
        b, size = memory.builder, I64(itemsize(kind))
        first = b.mul(number, I64(memory.lanes))
        self.memory, self.kind, self.rows, self.width = memory, kind, m, b.mul(n, size)
        self.mask, self.beyond = memory.first(b.sub(n, first)), b.mul(first, size)

    def place(self, offset: Any, row: Any) -> Any:
        """Where it begins in a row of the matrix at `offset`."""
        return self.memory.builder.add(self.memory.at(offset, row, self.width), self.beyond)

    def read(self, offset: Any, row: Any = NOUGHT) -> Contracted:
        """What lies there."""
        value = self.memory.load(self.place(offset, row), self.kind, self.mask)
        return Contracted(self.memory.builder, value)

    def write(self, offset: Any, value: Contracted, row: Any = NOUGHT) -> None:
        """Leave it there."""
        self.memory.store(self.place(offset, row), value.value, self.kind, self.mask)

    def average(self, x: Any, term: Callable[[Contracted], Contracted]) -> Contracted:
        """The mean of a term over the rows of the matrix at `x`."""
        b, m, total = self.memory.builder, self.rows, Total(self.memory, self.kind, 1)
        with loop(b, b.udiv(b.add(m, I64(BLOCK - 1)), I64(BLOCK))) as block:
            begin = b.mul(block, I64(BLOCK))
            with loop(b, smaller(b, b.sub(m, begin), I64(BLOCK))) as row:
                total.add(term(self.read(x, b.add(begin, row))).value)
            total.collect()
        count = splat(b, b.uitofp(m, IN_MEMORY[self.kind]), self.memory.lanes)
        return Contracted(b, b.load(total.total)) / Contracted(b, count)


def batch_norm(
    builder: Any, base: Any, words: Any, step: Any, kind: str, is_train: bool, fixed: bool
) -> None:
    """`BatchNorm` of the dense x (m, n) along its columns: a kernel.

    Words: the offsets of x, gamma, beta, mean, inverse deviation, result, new mean, new variance, of epsilon and
    momentum, of the old mean and variance; m, n.
    """
    b, memory = builder, Memory(builder, base, words, lanes_of(kind))
    x, gamma, beta, mean, inverse, o, new_mean, new_var, settings, old_mean, old_var, m, n = memory.take(13)
    places = settings, memory.further(settings, itemsize(kind))
    eps, momentum = (Contracted(b, memory.number(at, kind)) for at in places)
    with loop(b, b.udiv(b.add(n, I64(memory.lanes - 1)), I64(memory.lanes))) as number:
        panel = Panel(memory, kind, number, m, n)
        if is_train:
            center = panel.average(x, lambda v: v)
            spread = panel.average(x, functools.partial(squared_distance, center))
            for new, before, value in ((new_mean, old_mean, center), (new_var, old_var, spread)):
                panel.write(new, panel.read(before) * momentum + value * (1.0 - momentum))
        else:
            center, spread = panel.read(old_mean), panel.read(old_var)
            panel.write(new_mean, center)
            panel.write(new_var, spread)
        deviation = (spread + eps).called("sqrt")
        ones = 1.0 / deviation
        panel.write(mean, center)
        panel.write(inverse, ones)
        scale, shift = ones if fixed else panel.read(gamma) / deviation, panel.read(beta)
        with loop(b, m) as row:
            panel.write(o, (panel.read(x, row) - center) * scale + shift, row)
