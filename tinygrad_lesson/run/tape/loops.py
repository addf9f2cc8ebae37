"""Loops that treat each element alike, over rows and columns, and the loop around a kernel for more axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from tinygrad_lesson.run.tape.expressions import applied
from tinygrad_lesson.run.tape.machine import BYTES, KERNEL
from tinygrad_lesson.run.tape.vector import (
    I1,
    I64,
    IN_MEMORY,
    NOUGHT,
    ROWS_AT_ONCE,
    Memory,
    Vector,
    declared,
    in_parts,
    itemsize,
    lanes_of,
    loop,
    slot,
    smaller,
)

# How an operand lies along a row: its elements one after the other, one number, or so many bytes apart.
DENSE, SINGLE, APART = "dense", "single", "apart"


class Rows:
    """The rows of a result and of its operands. Takes their words."""

    def __init__(
        self, memory: Memory, name: str, inside: str, kinds: Sequence[str], ways: Sequence[str]
    ) -> None:
        self.memory, self.name, self.inside, self.kinds, self.ways = memory, name, inside, kinds, ways
        self.places = [memory.take(3 if way == APART else 2) for way in ways]

    def starts(self, row: Any) -> list[Any]:
        """Where a row of each begins, or its one number."""
        begun = [self.memory.at(offset, row, stride) for offset, stride, *_ in self.places]
        alone = zip(begun[1:], self.kinds[1:], self.ways[1:], strict=True)
        return begun[:1] + [self.memory.number(at, kind) if way == SINGLE else at for at, kind, way in alone]

    def result(self, begun: Sequence[Any], j: Any, mask: Any, count: Any) -> Any:
        """What the expression gives from column `j` of a row on."""
        loaded, memory = list[Vector](), self.memory
        for at, kind, way, place in zip(
            begun[1:], self.kinds[1:], self.ways[1:], self.places[1:], strict=True
        ):
            if way == DENSE:
                at = memory.load(memory.at(at, j, I64(itemsize(kind))), kind, mask)
            elif way == APART:
                at = memory.apart(memory.at(at, j, place[2]), place[2], kind, count)
            loaded.append(Vector(memory.builder, at))
        return applied(self.name, loaded, self.inside, self.kinds[0]).value

    def put(self, begun: Sequence[Any], j: Any, value: Any, mask: Any, count: Any) -> None:
        """Leave it in the result."""
        memory, kind = self.memory, self.kinds[0]
        if self.ways[0] == DENSE:
            memory.store(memory.at(begun[0], j, I64(itemsize(kind))), value, kind, mask)
        else:
            step = self.places[0][2]
            memory.put_apart(memory.at(begun[0], j, step), step, value, kind, count)


def elementwise(
    builder: Any, base: Any, words: Any, step: Any, name: str, inside: str, kinds: Sequence[str], ways: Sequence[str],
    narrow: bool,
) -> None:  # fmt: skip
    """``o[i, j] = expression(a[i, j], ...)``: a kernel.

    `kinds` and `ways` are those of the result and of each operand; the operands become `inside` before anything is
    done, but for answers that choose. Words: of the result and each operand the offset,
    the stride between rows, and, if its elements lie apart, that between columns; the numbers of rows and of columns.
    `narrow` rows are shorter than a vector. An operand may be the result itself.
    """
    memory, first = Memory(builder, base, words, lanes_of(inside, *kinds)), NOUGHT
    rows = Rows(memory, name, inside, kinds, ways)
    m, n = memory.take(2)
    if narrow and APART not in ways:
        groups, mask = builder.udiv(m, I64(ROWS_AT_ONCE)), memory.first(n)
        with loop(builder, groups) as group:
            several = [
                builder.add(builder.mul(group, I64(ROWS_AT_ONCE)), I64(r)) for r in range(ROWS_AT_ONCE)
            ]
            begun = [rows.starts(row) for row in several]
            for each, value in [(each, rows.result(each, NOUGHT, mask, n)) for each in begun]:
                rows.put(each, NOUGHT, value, mask, n)
        first = builder.mul(groups, I64(ROWS_AT_ONCE))
    with loop(builder, m, first) as row:
        begun = rows.starts(row)

        def part(j: Any, mask: Any, count: Any, begun: Any = begun) -> None:
            rows.put(begun, j, rows.result(begun, j, mask, count), mask, count)

        if narrow:
            part(NOUGHT, memory.first(n), n)
        else:
            in_parts(memory, n, part)


def repeated(
    builder: Any, base: Any, words: Any, step: Any, axes: int, offsets: Sequence[int], count: int
) -> None:
    """Another kernel again and again, along so many axes of its operands: a kernel.

    Words: the sizes of the axes; for each axis the stride of each operand; the address of the kernel, and its `count`
    words, of which those numbered `offsets` say where its operands begin.
    """
    memory = Memory(builder, base, words, 1)
    sizes = memory.take(axes)
    strides = [memory.take(len(offsets)) for _ in range(axes)]
    (kernel,) = memory.take(1)
    inner = memory.take(count)
    with builder.goto_entry_block():
        copy = builder.alloca(I64, count)
    for i, word in enumerate(inner):
        if i not in offsets:
            builder.store(word, builder.gep(copy, [I64(i)]))
    function = builder.inttoptr(kernel, KERNEL.as_pointer())

    def along(axis: int, begun: Sequence[Any]) -> None:
        """The axes from this one on."""
        if axis == axes:
            for i, at in zip(offsets, begun, strict=True):
                builder.store(at, builder.gep(copy, [I64(i)]))
            builder.call(function, [base, copy, step])
            return
        with loop(builder, sizes[axis]) as i:
            along(axis + 1, [memory.at(at, i, by) for at, by in zip(begun, strides[axis], strict=True)])

    along(0, [inner[i] for i in offsets])


def filled(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """All elements become one number: a kernel. Words: the offset of the result, that of the number, how many."""
    memory = Memory(builder, base, words, lanes_of(kind))
    o, value, n = memory.take(3)
    number = memory.number(value, kind)
    size = I64(itemsize(kind))
    in_parts(memory, n, lambda j, mask, _: memory.store(memory.at(o, j, size), number, kind, mask))


def taken(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """Elements from places that a table tells: a kernel.

    Words: the offset of the dense result, that of the source, that of a table of bytes beyond it, how many.
    """
    memory = Memory(builder, base, words, 1)
    o, x, table, n = memory.take(4)
    element, size = IN_MEMORY[kind], I64(itemsize(kind))
    with loop(builder, n) as i:
        beyond = memory.word(memory.at(table, i, I64(8)))
        value = builder.load(memory.pointer(builder.add(x, beyond), element), align=1)
        builder.store(value, memory.pointer(memory.at(o, i, size), element), align=1)


def beside(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """Rows of several operands side by side as the rows of one: a kernel.

    A row is written from its first element to its last before the next one: the processor fetches what lies ahead.
    Words: the offset of the dense result, the number of rows, the number of operands; of each the offset, the stride
    between rows, and how many dense elements a row has.
    """
    memory = Memory(builder, base, words, lanes_of(kind))
    o, m, count = memory.take(3)
    size, place = I64(itemsize(kind)), slot(builder, I64)
    builder.store(o, place)
    with loop(builder, m) as row, loop(builder, count) as i:
        about = builder.mul(i, I64(3))
        at, stride, n = [builder.load(builder.gep(words, [builder.add(about, I64(3 + j))])) for j in range(3)]
        source, target = memory.at(at, row, stride), builder.load(place)

        def part(j: Any, mask: Any, _: Any, source: Any = source, target: Any = target) -> None:
            value = memory.load(memory.at(source, j, size), kind, mask)
            memory.store(memory.at(target, j, size), value, kind, mask)

        in_parts(memory, n, part)
        builder.store(memory.at(target, n, size), place)


def put(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """``o[i, at[i, j]] = x[i, j]``, all dense: a kernel. A place beyond the row is taken for its last, and noted.

    Words: the offsets of the result, of the places, of x, and of a word that is no longer 0 once one was wrong; m, n.
    """
    memory = Memory(builder, base, words, 1)
    o, at, x, wrong, m, n = memory.take(6)
    b, element, size, last = builder, IN_MEMORY[kind], I64(itemsize(kind)), builder.sub(n, I64(1))
    so_far = slot(b, I64)
    b.store(NOUGHT, so_far)
    with loop(b, m) as i:
        begun = b.mul(i, n)
        row = memory.at(o, begun, size)
        with loop(b, n) as j:
            number = b.add(begun, j)
            place = memory.word(memory.at(at, number, I64(8)))
            beyond = b.icmp_unsigned(">", place, last)
            b.store(b.or_(b.load(so_far), b.zext(beyond, I64)), so_far)
            value = b.load(memory.pointer(memory.at(x, number, size), element), align=1)
            target = memory.at(row, smaller(b, place, last), size)
            b.store(value, memory.pointer(target, element), align=1)
    b.store(b.load(so_far), memory.pointer(wrong, I64), align=1)


def gathered(builder: Any, base: Any, words: Any, step: Any) -> None:
    """A batch: a kernel. Words: the offset of the result, of all batches, bytes of one, how many there are."""
    memory = Memory(builder, base, words, 64)
    o, source, size, batches = memory.take(4)
    begin = memory.at(source, builder.urem(step, batches), size)
    copied(memory, o, begin, size)


def copied(memory: Memory, o: Any, source: Any, size: Any) -> None:
    """So many bytes from one place to another."""
    builder = memory.builder
    function = declared(builder, "llvm.memcpy.p0.p0.i64", ir.VoidType(), [BYTES, BYTES, I64, I1])
    places = [builder.gep(memory.base, [at]) for at in (o, source)]
    builder.call(function, [*places, size, I1(0)])


def fetched(builder: Any, base: Any, words: Any, step: Any) -> None:
    """Ask for cache lines, to be there when they are read: a kernel. Words: an offset, how many lines."""
    memory = Memory(builder, base, words, 1)
    offset, lines = memory.take(2)
    with loop(builder, lines) as line:
        memory.fetch(memory.at(offset, line, I64(64)))


def advanced(builder: Any, base: Any, words: Any, step: Any) -> None:
    """Words of other instructions move on: a kernel. Words: the offset of a table, how many rows it has.

    A row is the offset of a word, what is added to it, and 1, or -1 for a word that goes there and back again.
    """
    memory = Memory(builder, base, words, 1)
    table, n = memory.take(2)
    with loop(builder, n) as i:
        at = memory.at(table, i, I64(24))
        offset, stride, sign = [memory.word(memory.further(at, 8 * j)) for j in range(3)]
        new = builder.add(memory.word(offset), stride)
        builder.store(new, memory.pointer(offset, I64), align=1)
        builder.store(builder.mul(stride, sign), memory.pointer(memory.further(at, 8), I64), align=1)
