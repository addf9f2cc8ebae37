"""Normalization of the columns of a matrix, by panels of columns that stay in registers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.run.tape.expressions import relu
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


def batch_norm(
    builder: Any, base: Any, words: Any, step: Any, kind: str, is_train: bool, fixed: bool, positive: bool
) -> None:
    """`BatchNorm` of the dense x (m, n) along its columns, or relu of it: a kernel.

    Words: the offsets of x, gamma, beta, mean, inverse deviation, result, new mean, new variance, of epsilon and
    momentum, of the old mean and variance; m, n.
    """
    b, memory = builder, Memory(builder, base, words, lanes_of(kind))
    x, gamma, beta, mean, inverse, o, new_mean, new_var, settings, old_mean, old_var, m, n = memory.take(13)
    size, lanes = I64(itemsize(kind)), I64(memory.lanes)
    eps, momentum = (
        Contracted(b, memory.number(b.add(settings, I64(i * itemsize(kind))), kind)) for i in (0, 1)
    )
    count = Contracted(b, splat(b, b.uitofp(m, IN_MEMORY[kind]), memory.lanes))
    width = b.mul(n, size)
    with loop(b, b.udiv(b.add(n, I64(memory.lanes - 1)), lanes)) as panel:
        first = b.mul(panel, lanes)
        mask, j = memory.first(smaller(b, b.sub(n, first), lanes)), b.mul(first, size)

        def read(offset: Any, row: Any = NOUGHT, j: Any = j, mask: Any = mask) -> Contracted:
            return Contracted(b, memory.load(b.add(memory.at(offset, row, width), j), kind, mask))

        def write(offset: Any, value: Contracted, row: Any = NOUGHT, j: Any = j, mask: Any = mask) -> None:
            memory.store(b.add(memory.at(offset, row, width), j), value.value, kind, mask)

        def average(term: Callable[[Contracted], Contracted], read: Any = read) -> Contracted:
            """The mean over the rows."""
            total = Total(memory, kind)
            with loop(b, b.udiv(b.add(m, I64(BLOCK - 1)), I64(BLOCK))) as block:
                begin = b.mul(block, I64(BLOCK))
                with loop(b, smaller(b, b.sub(m, begin), I64(BLOCK))) as row:
                    total.add(term(read(x, b.add(begin, row))).value)
                total.collect()
            return Contracted(b, b.load(total.total)) / count

        if is_train:
            center = average(lambda v: v)
            spread = average(functools.partial(squared_distance, center))
            for new, before, value in ((new_mean, old_mean, center), (new_var, old_var, spread)):
                write(new, read(before) * momentum + value * (1.0 - momentum))
        else:
            center, spread = read(old_mean), read(old_var)
            write(new_mean, center)
            write(new_var, spread)
        deviation = (spread + eps).called("sqrt")
        ones = 1.0 / deviation
        write(mean, center)
        write(inverse, ones)
        scale, shift = ones if fixed else read(gamma) / deviation, read(beta)
        with loop(b, m) as row:
            value = (read(x, row) - center) * scale + shift
            write(o, relu(value) if positive else value, row)
