"""What products of windows and of large matrices read: panels of what columns see, and weights, packed and turned.

An entry of a table says how a row of a panel begins: its offset, where it comes from, zeros before, runs, elements of a
run, zeros behind.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from tinygrad_lesson.run.tape import machine
from tinygrad_lesson.run.tape.vector import (
    I64,
    IN_MEMORY,
    NOUGHT,
    Memory,
    in_parts,
    itemsize,
    lanes_of,
    loop,
    shuffled,
    slot,
    smaller,
)

ENTRY = 6  # words that say how a row of a panel is made


class Tile(NamedTuple):
    """What stays in registers: so many rows of so many vectors, each of so many bytes."""

    rows: int
    vectors: int
    width: int

    def lanes(self, kind: str) -> int:
        """Elements of a vector."""
        return self.width // itemsize(kind)

    def for_filters(self, count: int) -> Tile:
        """A tile with a quarter more rows, if `count` filters then leave fewer of them idle."""
        more = self.rows + self.rows // 4
        return (
            self._replace(rows=more)
            if -(-count // more) * more < -(-count // self.rows) * self.rows
            else self
        )

    def for_columns(self, count: int, kind: str) -> Tile:
        """A tile of as many sums for `count` columns: a single vector wide, if the last of two would see none."""
        odd = -(-count // self.lanes(kind)) % self.vectors
        return Tile(self.rows * self.vectors, 1, self.width) if odd else self


TILES = {"avx512f": Tile(8, 2, 64), "avx2": Tile(4, 2, 32), "neon": Tile(8, 2, 16), "": Tile(4, 2, 16)}


@functools.cache
def tile() -> Tile:
    """The tile for this processor."""
    features = machine.target()[2].split(",")
    return next(tile for name, tile in TILES.items() if not name or f"+{name}" in features)


class Packer:
    """Packs what the windows of a row see of some channels. Takes its words."""

    def __init__(self, memory: Memory, kind: str, turn: bool = False) -> None:
        self.memory, self.kind, self.size, self.turn = memory, kind, I64(itemsize(kind)), turn
        self.nothing = memory.zero(kind)
        self.x, self.channel, self.step, self.entries, self.count, self.panel, self.across = memory.take(7)

    def pack(self, row: Any, first: Any, channels: Any) -> None:
        """The channels from `first` on, for row `row`."""
        m, b = self.memory, self.memory.builder
        begin = m.at(self.entries, b.mul(row, self.count), I64(8 * ENTRY))
        with loop(b, self.count) as e:
            at = m.at(begin, e, I64(8 * ENTRY))
            to, source, before, runs, length, behind = [self.word(at, i) for i in range(ENTRY)]
            if self.turn:
                begun = m.at(b.add(self.x, source), first, self.channel)
                turned(m, self.kind, begun, self.step, self.panel, self.across, length, channels)
                channels = NOUGHT
            whole = b.mul(length, self.size)
            with loop(b, channels) as c:
                target, come = m.at(b.add(self.panel, to), c, self.across), b.add(self.x, source)
                come = m.at(come, b.add(first, c), self.channel)
                self.zeros(target, before)
                target = m.at(target, before, self.size)
                with loop(b, runs) as r:
                    self.copy(m.at(target, r, whole), m.at(come, r, self.step), length)
                self.zeros(m.at(target, runs, whole), behind)

    def word(self, at: Any, i: int) -> Any:
        """A word of a table."""
        return self.memory.word(self.memory.further(at, 8 * i))

    def zeros(self, at: Any, count: Any) -> None:
        """So many zeros."""
        m, nothing = self.memory, self.nothing
        in_parts(m, count, lambda j, mask, _: m.store(m.at(at, j, self.size), nothing, self.kind, mask))

    def copy(self, to: Any, source: Any, count: Any) -> None:
        """So many elements."""
        m, kind = self.memory, self.kind

        def part(j: Any, mask: Any, _: Any) -> None:
            m.store(m.at(to, j, self.size), m.load(m.at(source, j, self.size), kind, mask), kind, mask)

        in_parts(m, count, part)


def packed_weights(builder: Any, base: Any, words: Any, step: Any, kind: str, rows: int) -> None:
    """Weights in the order in which tiles of so many filters read them: a kernel.

    Words: the offset of the result and of the weights, the strides of filters and channels, the table of the offsets of
    places, filters, channels, places.
    """
    b, memory = builder, Memory(builder, base, words, 1)
    o, w, filter_step, channel_step, table, filters, channels, places = memory.take(8)
    element, size = IN_MEMORY[kind], itemsize(kind)
    to = slot(b, I64)
    b.store(o, to)
    last = b.sub(filters, I64(1))
    with loop(b, b.udiv(b.add(filters, I64(rows - 1)), I64(rows))) as tile:
        numbers = [smaller(b, b.add(b.mul(tile, I64(rows)), I64(f)), last) for f in range(rows)]
        begun = [memory.at(w, number, filter_step) for number in numbers]
        with loop(b, channels) as c, loop(b, places) as t:
            beyond = b.add(b.mul(c, channel_step), memory.word(memory.at(table, t, I64(8))))
            target = b.load(to)
            for f, at in enumerate(begun):
                value = b.load(memory.pointer(b.add(at, beyond), element), align=1)
                b.store(value, memory.pointer(memory.further(target, f * size), element), align=1)
            b.store(memory.further(target, rows * size), to)


def packed_matrix(builder: Any, base: Any, words: Any, step: Any, kind: str, rows: int, turn: bool) -> None:
    """The same for what each filter sees side by side in memory or, without `turn`, filters side by side: a kernel.

    It writes whole vectors one after the other, and with `turn` whole squares: there must be room behind the last.

    Words: the offset of the result and of the weights, the stride of filters or of channels, filters, channels.
    """
    b, memory = builder, Memory(builder, base, words, 1 << (rows - 1).bit_length())
    o, w, by, filters, channels = memory.take(5)
    width = I64(rows * itemsize(kind))
    with loop(b, b.udiv(b.add(filters, I64(rows - 1)), I64(rows))) as tile:
        first, to = b.mul(tile, I64(rows)), memory.at(o, b.mul(tile, channels), width)
        some = smaller(b, b.sub(filters, first), I64(rows))
        if turn:
            turned(memory, kind, memory.at(w, first, by), by, to, width, some, channels)
        else:
            mask, begin = memory.first(some), memory.at(w, first, I64(itemsize(kind)))
            with loop(b, channels) as c:
                memory.store(memory.at(to, c, width), memory.load(memory.at(begin, c, by), kind, mask), kind)


def turned(
    memory: Memory, kind: str, x: Any, x_row: Any, o: Any, o_row: Any, m: Any, n: Any, exact: bool = False
) -> None:
    """``o[j, i] = x[i, j]``; unless `exact`, a multiple of the lanes in both directions, and beyond is anything."""
    b, lanes = memory.builder, memory.lanes
    size, width = I64(itemsize(kind)), I64(lanes * itemsize(kind))
    last = b.sub(m, I64(1))
    with loop(b, b.udiv(b.add(m, I64(lanes - 1)), I64(lanes))) as down:
        first = b.mul(down, I64(lanes))
        begun = [memory.at(x, smaller(b, b.add(first, I64(r)), last), x_row) for r in range(lanes)]
        there = smaller(b, b.sub(m, first), I64(lanes))
        with loop(b, b.udiv(b.add(n, I64(lanes - 1)), I64(lanes))) as along:
            j = b.mul(along, I64(lanes))
            mask = memory.first(smaller(b, b.sub(n, j), I64(lanes)))
            square = [memory.load(b.add(at, b.mul(along, width)), kind, mask) for at in begun]
            for r, value in enumerate(transposed(b, square)):
                number = b.add(j, I64(r))
                to = memory.at(memory.at(o, number, o_row), first, size)
                some = b.select(b.icmp_unsigned("<", number, n), there, NOUGHT)
                memory.store(to, value, kind, memory.first(some) if exact else None)


def turned_matrix(builder: Any, base: Any, words: Any, step: Any, kind: str, exact: bool = False) -> None:
    """``o[j, i] = x[i, j]``, both with dense rows: a kernel. Unless `exact`, there is room for a multiple of the lanes.

    Words: the offset and the row stride of x, of o; the sizes of x.
    """
    memory = Memory(builder, base, words, lanes_of(kind))
    x, x_row, o, o_row, m, n = memory.take(6)
    turned(memory, kind, x, x_row, o, o_row, m, n, exact)


def transposed(b: Any, square: list[Any]) -> list[Any]:
    """As many vectors as they have lanes, turned around: halves change places, then quarters, and so on."""
    lanes = len(square)
    half = lanes // 2
    while half:
        near = [i if not i & half else lanes + (i ^ half) for i in range(lanes)]
        far = [i | half if not i & half else lanes + i for i in range(lanes)]
        new = list(square)
        for i in range(lanes):
            if not i & half:
                a, c = square[i], square[i | half]
                new[i], new[i | half] = shuffled(b, a, c, near), shuffled(b, a, c, far)
        square, half = new, half // 2
    return square
