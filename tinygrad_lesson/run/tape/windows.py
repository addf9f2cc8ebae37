"""Products over windows of images: a panel of what some windows see is packed, and a tile of sums stays in registers.

Images have the batch last, so that neighbouring windows of all images lie side by side: `j` counts those. `q` counts
what a window sees, channel after channel, place after place. What lies where is told by tables (`run/windows.py`): a
row of windows has an output offset and a length; a table gives the offset of each `q` in the panel.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_lesson.run.tape.panels import Packer, Tile, turned
from tinygrad_lesson.run.tape.vector import (
    I64,
    IN_MEMORY,
    NOUGHT,
    Memory,
    fused,
    itemsize,
    loop,
    slot,
    smaller,
    vector_of,
)

LINE = 64  # bytes of a line of the cache
PART = 5  # words about a part of a row
PER_FILTER, MATRIX = "per filter", "matrix"  # with what sums begin


class Products(Packer):
    """Sums of products of windows and filters, a tile of filters and columns at a time. Takes its words."""

    def __init__(
        self, memory: Memory, kind: str, tile: Tile, started: Sequence[str], some_places: bool,
        turn: bool, apart: bool, far: bool,
    ) -> None:  # fmt: skip
        super().__init__(memory, kind, turn)
        take, b = memory.take, memory.builder
        self.tile, self.apart, self.far = tile, apart, far
        self.weights, self.per_tile, self.per_filter, self.per_place = take(4)
        self.o, self.o_row, self.rows, self.first_row, self.last_row = take(5)
        self.table, self.places, self.channels, self.some, self.filters = take(5)
        self.parts = take(1)[0] if some_places else None
        self.starts, self.matrix = [(how, *take(2)) for how in started], MATRIX in started[:1]
        vector = vector_of(kind, memory.lanes)
        self.sums = [[slot(b, vector) for _ in range(tile.vectors)] for _ in range(tile.rows)]

    def row(self, row: Any) -> None:
        """All products of a row of windows, some channels after others."""
        m, b = self.memory, self.memory.builder
        about = m.at(self.rows, row, I64(16))
        about = m.word(about), m.word(m.further(about, 8))
        blocks = b.udiv(b.add(self.channels, b.sub(self.some, I64(1))), self.some)
        with loop(b, blocks) as block:
            begin = b.mul(block, self.some)
            self.now = smaller(b, b.sub(self.channels, begin), self.some)
            self.pack(row, begin, self.now)
            self.is_first = b.icmp_unsigned("==", block, NOUGHT)
            self.q = b.mul(self.now, self.places)
            done = b.mul(b.mul(begin, self.places), self.per_place)
            with loop(b, b.udiv(b.add(self.filters, I64(self.tile.rows - 1)), I64(self.tile.rows))) as number:
                w = b.add(m.at(self.weights, number, self.per_tile), done)
                if self.far:
                    self.fetch(b.add(w, self.per_tile))
                k = b.mul(number, I64(self.tile.rows))
                if self.parts is None:
                    self.begin_of_panel, self.seen = self.panel, self.table
                    self.along(k, w, *about)
                else:
                    with loop(b, about[1], about[0]) as part:
                        at = m.at(self.parts, part, I64(8 * PART))
                        beyond, length, column, seen, self.q = [self.word(at, i) for i in range(PART)]
                        self.begin_of_panel, self.seen = b.add(self.panel, column), b.add(self.table, seen)
                        self.along(k, w, beyond, length)

    def fetch(self, w: Any) -> None:
        """Ask for the weights of the filters from `w` on, each of which has its own side by side."""
        m, b = self.memory, self.memory.builder
        with loop(b, b.udiv(b.mul(self.q, self.size), I64(LINE))) as line:
            for f in range(self.tile.rows):
                m.fetch(m.at(m.at(w, I64(f), self.per_filter), line, I64(LINE)), 2)

    def along(self, k: Any, w: Any, beyond: Any, length: Any) -> None:
        """The tiles from filter `k` on: as many as are whole, then single vectors.

        Beyond the last filter a tile has that again and again.
        """
        m, b, lanes = self.memory, self.memory.builder, self.memory.lanes
        last = b.sub(self.filters, I64(1))
        numbers = [smaller(b, b.add(k, I64(f)), last) for f in range(self.tile.rows)]
        self.lines = [m.at(b.add(self.o, beyond), n, self.o_row) for n in numbers]
        self.begun = [
            (how, [m.at(b.add(at, beyond) if how == MATRIX else at, n, by) for n in numbers])
            for how, at, by in self.starts
        ]
        if self.matrix:
            _, begun = self.begun.pop(0)
            self.so_far = [b.select(self.is_first, *both) for both in zip(begun, self.lines, strict=True)]
        size = itemsize(self.kind)
        beside = [
            m.at(w, b.sub(n, k), self.per_filter) if self.apart else m.further(w, f * size)
            for f, n in enumerate(numbers)
        ]
        most = self.tile.vectors * lanes
        wide = b.udiv(length, I64(most))
        with loop(b, wide) as one:
            self.part(beside, b.mul(one, I64(most)), None)
        over = b.mul(wide, I64(most))
        narrow = b.udiv(b.add(b.sub(length, over), I64(lanes - 1)), I64(lanes))
        with loop(b, narrow) as one:
            j = b.add(over, b.mul(one, I64(lanes)))
            self.part(beside, j, smaller(b, b.sub(length, j), I64(lanes)))

    def part(self, weights: Sequence[Any], j: Any, rest: Any) -> None:
        """A tile from column `j` on; if `rest` is given, one vector of so many columns."""
        m, b, tile, kind = self.memory, self.memory.builder, self.tile, self.kind
        vectors, mask = range(tile.vectors if rest is None else 1), None if rest is None else m.first(rest)
        along = b.mul(j, self.size)
        places = [[m.further(b.add(line, along), v * tile.width) for v in vectors] for line in self.lines]
        self.begin(places, along, mask)
        panel = b.add(self.begin_of_panel, along)
        with self.all_seen() as (at, number):
            seen = [m.load(m.further(b.add(panel, at), v * tile.width), kind) for v in vectors]
            beyond = b.mul(number, self.per_place)
            for line, w in zip(self.sums, weights, strict=True):
                weight = m.number(b.add(w, beyond), kind)
                for v in vectors:
                    fused(b, seen[v], weight, line[v])
        for f in reversed(range(tile.rows)):  # the last filter after what is beyond
            for v in vectors:
                m.store(places[f][v], b.load(self.sums[f][v]), kind, mask)

    @contextmanager
    def all_seen(self) -> Iterator[tuple[Any, Any]]:
        """Emit what is inside for all that a column sees: where it lies in the panel, and the number of its weight."""
        m, b = self.memory, self.memory.builder
        if self.parts is None:
            with loop(b, self.q) as i:
                yield m.word(m.at(self.seen, i, I64(8))), i
            return
        with loop(b, self.q) as i:
            entry = m.at(self.seen, i, I64(16))
            at, place = m.word(entry), m.word(m.further(entry, 8))
            with loop(b, self.now) as c:
                yield m.at(at, c, self.across), m.at(place, c, self.places)

    def begin(self, places: Sequence[Sequence[Any]], along: Any, mask: Any) -> None:
        """Begin the sums with the sum of all starts, later with what is there."""
        m, b, kind = self.memory, self.memory.builder, self.kind

        def begun(how: str, lines: Sequence[Any], f: int, v: int) -> Any:
            at = m.further(b.add(lines[f], along), v * self.tile.width)
            return m.load(at, kind, mask) if how == MATRIX else m.number(lines[f], kind)

        def added(how: str, lines: Sequence[Any], f: int, v: int) -> Any:
            return b.fadd(b.load(self.sums[f][v]), begun(how, lines, f, v))

        def store(value: Callable[[int, int], Any]) -> None:
            for f, line in enumerate(places):
                for v in range(len(line)):
                    b.store(value(f, v), self.sums[f][v])

        if self.matrix:  # no branch here: of two loads LLVM would make one, and keep their places in memory
            store(functools.partial(begun, MATRIX, self.so_far))
        else:
            store(lambda f, v: m.zero(kind))
            with b.if_then(b.not_(self.is_first)):
                store(lambda f, v: m.load(places[f][v], kind, mask))
        for how, lines in self.begun:
            with b.if_then(self.is_first):
                store(functools.partial(added, how, lines))


def window_sums(
    builder: Any, base: Any, words: Any, step: Any, kind: str, tile: Tile, started: Sequence[str],
    some_places: bool, turn: bool, apart: bool, far: bool = False,
) -> None:  # fmt: skip
    """``o[k, j] = starts + sum_q w[k, q] * window[q, j]``: a kernel.

    A start is a number per filter, or a matrix, which may be o. With `turn` what a column sees lies side by side
    in memory. Weights of neighbouring filters lie side by side or, if `apart`, so far apart as a word says;
    if they are `far` away, those of the next filters are asked for early.

    With `some_places` a row of windows has parts, and each column of a part sees but some of the places: padding is
    absent then, as it is where numbers are scattered, and no NaN even where a weight is infinite. A part is
    where its sums go, their number, where it begins in the panel, the offset of its places in the table, and how
    many there are; of each place the table has where it lies and its number.

    Words: those of the packer; the weights (`packed_weights`), the distances of their tiles and, in these, of filters
    and of what these see, the offset of o and the distance of its rows, the
    table of rows (which has the first part of each and the one after the last, if there are parts), the first and the
    one after the last, the table of `q`, places of a window, channels, how many at a
    time, filters, the parts if there are any, the offset of each start and the distance of its rows or numbers.
    """
    memory = Memory(builder, base, words, tile.lanes(kind))
    products = Products(memory, kind, tile, started, some_places, turn, apart, far)
    with loop(builder, products.last_row, products.first_row) as row:
        products.row(row)


def upwards(b: Any, n: Any, step: int) -> Any:
    """The least multiple that is no smaller."""
    return b.mul(b.udiv(b.add(n, I64(step - 1)), I64(step)), I64(step))


class Gradients(Packer):
    """Sums of products of gradients and windows, a tile of both at a time. Takes its words."""

    def __init__(self, memory: Memory, kind: str, tile: Tile) -> None:
        super().__init__(memory, kind)
        take, b = memory.take, memory.builder
        self.tile = tile
        self.g, self.g_row, self.rows, self.count_of_rows, self.table, self.places = take(6)
        self.channels, self.some, self.filters, self.turned, self.totals = take(5)
        self.o, self.o_filter, self.o_channel, self.offsets = take(4)
        self.wide = upwards(b, self.filters, memory.lanes * tile.vectors)
        self.row_size = b.mul(self.wide, self.size)
        self.blocks = b.udiv(b.add(self.channels, b.sub(self.some, I64(1))), self.some)
        self.high = upwards(b, b.mul(self.some, self.places), tile.rows)
        vector = vector_of(kind, memory.lanes)
        self.sums = [[slot(b, vector) for _ in range(tile.vectors)] for _ in range(tile.rows)]

    def clear(self) -> None:
        """Begin with zeros."""
        b = self.memory.builder
        self.zeros(self.totals, b.mul(b.mul(self.blocks, self.high), self.wide))

    def row(self, row: Any) -> None:
        """Add all products of a row of windows."""
        m, b, tile = self.memory, self.memory.builder, self.tile
        about = m.at(self.rows, row, I64(16))
        begin, length = b.add(self.g, m.word(about)), m.word(m.further(about, 8))
        turned(m, self.kind, begin, self.g_row, self.turned, self.row_size, self.filters, length)
        with loop(b, self.blocks) as block:
            first = b.mul(block, self.some)
            count = smaller(b, b.sub(self.channels, first), self.some)
            self.pack(row, first, count)
            here = m.at(self.totals, b.mul(block, self.high), self.row_size)
            with loop(b, b.udiv(self.wide, I64(tile.vectors * m.lanes))) as k:
                beyond = b.mul(k, I64(tile.vectors * tile.width))
                tiles = b.udiv(b.add(b.mul(count, self.places), I64(tile.rows - 1)), I64(tile.rows))
                with loop(b, tiles) as number:
                    q = b.mul(number, I64(tile.rows))
                    self.part(q, b.add(here, beyond), b.add(self.turned, beyond), length)

    def part(self, q: Any, sums_at: Any, turned_at: Any, length: Any) -> None:
        """A tile from `q` on."""
        m, b, tile, kind = self.memory, self.memory.builder, self.tile, self.kind
        for total in itertools.chain(*self.sums):
            b.store(self.nothing, total)
        numbers = [b.add(q, I64(f)) for f in range(tile.rows)]
        begun = [b.add(self.panel, m.word(m.at(self.table, n, I64(8)))) for n in numbers]
        with loop(b, length) as j:
            at = m.at(turned_at, j, self.row_size)
            gradients = [m.load(m.further(at, v * tile.width), kind) for v in range(tile.vectors)]
            along = b.mul(j, self.size)
            for line, begin in zip(self.sums, begun, strict=True):
                seen = m.number(b.add(begin, along), kind)
                for gradient, total in zip(gradients, line, strict=True):
                    fused(b, gradient, seen, total)
        for line, n in zip(self.sums, numbers, strict=True):
            at = m.at(sums_at, n, self.row_size)
            for v, total in enumerate(line):
                place = m.further(at, v * tile.width)
                m.store(place, b.fadd(m.load(place, kind), b.load(total)), kind)

    def deliver(self) -> None:
        """Leave the sums where the gradient of the weight lies."""
        m, b, element = self.memory, self.memory.builder, IN_MEMORY[self.kind]
        with loop(b, self.channels) as c, loop(b, self.places) as t:
            within = b.add(b.mul(b.urem(c, self.some), self.places), t)
            source = m.at(self.totals, b.add(b.mul(b.udiv(c, self.some), self.high), within), self.row_size)
            target = b.add(m.at(self.o, c, self.o_channel), m.word(m.at(self.offsets, t, I64(8))))
            with loop(b, self.filters) as k:
                value = b.load(m.pointer(m.at(source, k, self.size), element), align=1)
                b.store(value, m.pointer(m.at(target, k, self.o_filter), element), align=1)


def window_weights(builder: Any, base: Any, words: Any, step: Any, kind: str, tile: Tile) -> None:
    """``o[k, q] = sum_j g[k, j] * window[q, j]`` over all rows of windows: a kernel.

    Words: those of the packer; the offset of g and the distance of its rows, the table of rows, how many there are, the
    table of `q`, places of a window, channels, how many at a time, filters; room for g turned around and for sums; the
    offset of o, the strides of filters and channels, the table of the offsets of places.
    """
    gradients = Gradients(Memory(builder, base, words, tile.lanes(kind)), kind, tile)
    gradients.clear()
    with loop(builder, gradients.count_of_rows) as row:
        gradients.row(row)
    gradients.deliver()
