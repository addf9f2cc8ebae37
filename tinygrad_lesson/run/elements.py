"""Loops that treat each element alike, as instructions: as few axes as will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tinygrad_lesson.run.operands import WORD, Memory, Operand, Row, contiguous, joined_axes, spread
from tinygrad_lesson.run.segment import side_by_side
from tinygrad_lesson.run.tape import loops
from tinygrad_lesson.run.tape.loops import APART, DENSE, SINGLE
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.tape.vector import lanes_of
from tinygrad_lesson.run.threads import shares

ENOUGH = 1 << 15  # elements that a thread is woken for
LINE = 16  # elements; where one row is shared, each thread has a multiple of it


class Loops(NamedTuple):
    """Loops over some operands: the sizes of the axes, outermost first, and for each the stride of each operand."""

    sizes: list[int]
    strides: list[list[int]]

    def shared(self, offsets: Sequence[int], elements: int) -> list[tuple[Loops, list[int]]]:
        """Parts of the outermost loop, as many as threads are worth it, and where the operands of each begin."""
        if not self.sizes:
            return [(self, list(offsets))]
        (n, *sizes), (steps, *strides) = self
        some = shares(n, LINE if not sizes else 1, elements, ENOUGH)
        return [
            (
                Loops([last - first, *sizes], [steps, *strides]),
                [(at + first * s) % WORD for at, s in zip(offsets, steps, strict=True)],
            )
            for first, last in some
        ]


def loops_over(shape: tuple[int, ...], *strides: tuple[int, ...]) -> Loops:
    """As few loops as will do."""
    return Loops(*joined_axes(shape, strides))


def repeated(row: Row, offsets: Sequence[int], sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> Row:
    """An instruction again and again along more axes; its words number `offsets` say where its operands begin."""
    if not sizes:
        return row
    count = len(row) - 1
    kernel = address(loops.repeated, len(sizes), tuple(i - 1 for i in offsets), count)
    return [kernel, *sizes, *[s for by in strides for s in by], *row]


def way(stride: int, n: int, x: Operand) -> str:
    """How an operand lies along a row of `n`."""
    return DENSE if stride == x.itemsize or n == 1 else SINGLE if stride == 0 else APART


def elementwise(name: str, inside: str | None = None) -> Callable[..., list[Row] | None]:
    """An instruction that treats each element alike, once it is of the type `inside`, or that of the last operand."""

    def encode(memory: Memory, what: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
        operands = (target, *sources)
        if contiguous(target) and all(x[1:] == target[1:] for x in sources):
            found = Loops([target.size], [[x.itemsize for x in operands]])
        else:
            found = loops_over(target.shape, target.strides, *[spread(x, target.shape) for x in sources])
        shared = found.shared([x.offset for x in operands], target.size)
        return side_by_side(memory, [one(operands, *part) for part in shared])

    def one(operands: Sequence[Operand], found: Loops, begun: Sequence[int]) -> Row:
        """The instruction for operands that begin there."""
        *outer, m, n = (1, 1, *found.sizes)[-max(2, len(found.sizes)) :]
        nothing = [0] * len(operands)
        *around, rows, steps = [nothing, nothing, *found.strides][-max(2, len(found.sizes)) :]
        ways = tuple([way(s, n, x) for s, x in zip(steps, operands, strict=True)])
        kinds = tuple([x.kind for x in operands])
        kind = inside or kinds[-1]
        row, offsets = [address(loops.elementwise, name, kind, kinds, ways, n < lanes_of(kind, *kinds))], []
        for at, by, step, how in zip(begun, rows, steps, ways, strict=True):
            offsets.append(len(row))
            row += [at, by, step] if how == APART else [at, by]
        return repeated([*row, m, n], offsets, outer, around)

    return encode
