"""Running sums and products: what goes along an axis from one element to the next, each rounded in turn."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinygrad_lesson.run.tape.reductions import FOLDS
from tinygrad_lesson.run.tape.vector import (
    I64,
    IN_MEMORY,
    Memory,
    Vector,
    in_parts,
    itemsize,
    lanes_of,
    loop,
    slot,
)


def running(builder: Any, base: Any, words: Any, step: Any, name: str, kind: str, alone: bool) -> None:
    """``o[i, j, k] = fold of x[i, :j + 1, k]``, both dense along k: a kernel; `alone` says that k is 0.

    Words: the offset of x and its strides along i and j, the offset of o and its strides, and how many i, j and k
    there are.
    """
    memory = Memory(builder, base, words, 1 if alone else lanes_of(kind))
    x, x_row, x_step, o, o_row, o_step, m, n, depth = memory.take(9)
    fold, begin = FOLDS[name]
    size, vector = I64(itemsize(kind)), ir.VectorType(IN_MEMORY[kind], memory.lanes)
    so_far = slot(builder, vector)
    first = Vector(builder, ir.Constant(vector, None))
    with loop(builder, m) as i:
        source, target = memory.at(x, i, x_row), memory.at(o, i, o_row)

        def along(k: Any, mask: Any, _: Any, source: Any = source, target: Any = target) -> None:
            """The elements from `k` on, of which there are as many as lanes."""
            builder.store(first.lift(-0.0 if name == "add" else begin), so_far)  # which leaves -0 as it is
            with loop(builder, n) as j:
                at, to = (
                    memory.at(memory.at(p, j, by), k, size) for p, by in ((source, x_step), (target, o_step))
                )
                new = fold(
                    Vector(builder, builder.load(so_far)), Vector(builder, memory.load(at, kind, mask))
                )
                builder.store(new.value, so_far)
                memory.store(to, new.value, kind, mask)

        if alone:
            along(I64(0), None, None)
        else:
            in_parts(memory, depth, along)
