"""Products over windows of images: a panel of what some windows see is packed, and a tile of sums stays in registers.

Images have the batch last, so that neighbouring windows of all images lie side by side: `j` counts those. `q` counts
what a window sees, channel after channel, place after place. What lies where is told by tables (`run/windows.py`): a
row of windows has an output offset and a length; an entry says how a row of the panel begins: its offset, where it
comes from, zeros before, runs, elements of a run, zeros behind; a table gives the offset of each `q` in the panel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir

from tinygrad_lesson.run.tape import machine
from tinygrad_lesson.run.tape.expressions import relu
from tinygrad_lesson.run.tape.vector import (
    I32,
    I64,
    IN_MEMORY,
    NOUGHT,
    Memory,
    Vector,
    fused,
    in_parts,
    itemsize,
    lanes_of,
    loop,
    shuffled,
    slot,
    smaller,
    vector_of,
)

LINE = 64  # bytes of a line of the cache
ENTRY = 6  # words that say how a row of a panel is made
HEAD = 64  # bytes before packed weights
PER_FILTER, MATRIX = "per filter", "matrix"  # with what sums begin


class Tile(NamedTuple):
    """What stays in registers: so many rows of so many vectors, each of so many bytes."""

    rows: int
    vectors: int
    width: int

    def lanes(self, kind: str) -> int:
        """Elements of a vector."""
        return self.width // itemsize(kind)

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


def upwards(b: Any, n: Any, step: int) -> Any:
    """The least multiple that is no smaller."""
    return b.mul(b.udiv(b.add(n, I64(step - 1)), I64(step)), I64(step))


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


class Products(Packer):
    """Sums of products of windows and filters, a tile of filters and columns at a time. Takes its words."""

    def __init__(
        self, memory: Memory, kind: str, tile: Tile, started: Sequence[str], positive: bool, guarded: bool,
        turn: bool, apart: bool, far: bool,
    ) -> None:  # fmt: skip
        super().__init__(memory, kind, turn)
        take, b = memory.take, memory.builder
        self.tile, self.positive, self.slow, self.apart, self.far = tile, positive, None, apart, far
        self.weights, self.per_tile, self.per_filter, self.per_place = take(4)
        self.o, self.o_row, self.rows, self.first_row, self.last_row = take(5)
        self.table, self.places, self.channels, self.some, self.filters = take(5)
        self.starts, self.matrix = [(how, *take(2)) for how in started], MATRIX in started[:1]
        vector = vector_of(kind, memory.lanes)
        self.sums = [[slot(b, vector) for _ in range(tile.vectors)] for _ in range(tile.rows)]
        if guarded:
            flag = b.load(memory.pointer(b.sub(self.weights, I64(HEAD)), IN_MEMORY[kind]), align=1)
            self.slow = b.fcmp_unordered("uno", flag, flag)
            self.absent = absence(kind, memory.lanes)
            self.nothing = b.select(self.slow, b.bitcast(self.absent, vector), self.nothing)

    def row(self, row: Any) -> None:
        """All products of a row of windows, some channels after others."""
        m, b = self.memory, self.memory.builder
        about = m.at(self.rows, row, I64(16))
        self.beyond, length = m.word(about), m.word(m.further(about, 8))
        blocks = b.udiv(b.add(self.channels, b.sub(self.some, I64(1))), self.some)
        with loop(b, blocks) as block:
            begin = b.mul(block, self.some)
            count = smaller(b, b.sub(self.channels, begin), self.some)
            self.pack(row, begin, count)
            self.is_first = b.icmp_unsigned("==", block, NOUGHT)
            self.is_last = b.icmp_unsigned("==", b.add(block, I64(1)), blocks)
            self.q = b.mul(count, self.places)
            done = b.mul(b.mul(begin, self.places), self.per_place)
            with loop(b, b.udiv(b.add(self.filters, I64(self.tile.rows - 1)), I64(self.tile.rows))) as number:
                w = b.add(m.at(self.weights, number, self.per_tile), done)
                if self.far:
                    self.fetch(b.add(w, self.per_tile))
                self.along(b.mul(number, I64(self.tile.rows)), w, length)

    def fetch(self, w: Any) -> None:
        """Ask for the weights of the filters from `w` on, each of which has its own side by side."""
        m, b = self.memory, self.memory.builder
        with loop(b, b.udiv(b.mul(self.q, self.size), I64(LINE))) as line:
            for f in range(self.tile.rows):
                m.fetch(m.at(m.at(w, I64(f), self.per_filter), line, I64(LINE)), 2)

    def along(self, k: Any, w: Any, length: Any) -> None:
        """The tiles from filter `k` on: as many as are whole, then single vectors; all of these if it is slow.

        Beyond the last filter a tile has that again and again.
        """
        m, b, lanes = self.memory, self.memory.builder, self.memory.lanes
        last = b.sub(self.filters, I64(1))
        numbers = [smaller(b, b.add(k, I64(f)), last) for f in range(self.tile.rows)]
        self.lines = [m.at(b.add(self.o, self.beyond), n, self.o_row) for n in numbers]
        self.begun = [
            (how, [m.at(b.add(at, self.beyond) if how == MATRIX else at, n, by) for n in numbers])
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
        wide = wide if self.slow is None else b.select(self.slow, NOUGHT, wide)
        with loop(b, wide) as one:
            self.part(beside, b.mul(one, I64(most)), None)
        over = b.mul(wide, I64(most))
        narrow = b.udiv(b.add(b.sub(length, over), I64(lanes - 1)), I64(lanes))
        fast = narrow if self.slow is None else b.select(self.slow, NOUGHT, narrow)
        for slow in (False,) if self.slow is None else (False, True):
            with loop(b, b.sub(narrow, fast) if slow else fast) as one:
                j = b.add(over, b.mul(one, I64(lanes)))
                self.part(beside, j, smaller(b, b.sub(length, j), I64(lanes)), slow)

    def part(self, weights: Sequence[Any], j: Any, rest: Any, slow: bool = False) -> None:
        """A tile from column `j` on; if `rest` is given, one vector of so many columns."""
        m, b, tile, kind = self.memory, self.memory.builder, self.tile, self.kind
        vectors, mask = range(tile.vectors if rest is None else 1), None if rest is None else m.first(rest)
        along = b.mul(j, self.size)
        places = [[m.further(b.add(line, along), v * tile.width) for v in vectors] for line in self.lines]
        self.begin(places, along, mask)
        panel = b.add(self.panel, along)
        with loop(b, self.q) as i:
            at = b.add(panel, m.word(m.at(self.table, i, I64(8))))
            seen = [m.load(m.further(at, v * tile.width), kind) for v in vectors]
            beyond = b.mul(i, self.per_place)
            for line, w in zip(self.sums, weights, strict=True):
                weight = m.number(b.add(w, beyond), kind)
                for v in vectors:
                    factors = both_there(b, seen[v], weight, self.absent) if slow else (seen[v], weight)
                    fused(b, *factors, line[v])
        for f in reversed(range(tile.rows)):  # the last filter after what is beyond
            for v in vectors:
                value = b.load(self.sums[f][v])
                if self.positive:
                    value = b.select(self.is_last, relu(Vector(b, value)).value, value)
                m.store(places[f][v], value, kind, mask)

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
    builder: Any, base: Any, words: Any, step: Any, kind: str, tile: Tile, started: Sequence[str], positive: bool,
    guarded: bool, turn: bool, apart: bool, far: bool = False,
) -> None:  # fmt: skip
    """``o[k, j] = starts + sum_q w[k, q] * window[q, j]``, or relu of it: a kernel.

    A start is a number per filter, or a matrix, which may be o. With `turn` what a column sees lies side by side
    in memory. Weights of neighbouring filters lie side by side or, if `apart`, so far apart as a word says;
    if they are `far` away, those of the next filters are asked for early.

    If it is `guarded`, padding counts as absent, as it does where numbers are scattered, even where a weight is
    infinite: a slower way is taken then, in which a NaN that nobody else writes stands for the padding.

    Words: those of the packer; the weights (`packed_weights`), the distances of their tiles and, in these, of filters
    and of what these see, the offset of o and the distance of its rows, the
    table of rows, the first and the one after the last, the table of `q`, places of a window, channels, how many at a
    time, filters, the offset of each start and the distance of its rows or numbers.
    """
    memory = Memory(builder, base, words, tile.lanes(kind))
    products = Products(memory, kind, tile, started, positive, guarded, turn, apart, far)
    with loop(builder, products.last_row, products.first_row) as row:
        products.row(row)


def absence(kind: str, lanes: int) -> Any:
    """The bits of the NaN that stands for padding, in all lanes."""
    bits = I32(0x7FC00C15) if kind == "float32" else I64(0x7FF8000000000C15)
    return ir.Constant(ir.VectorType(bits.type, lanes), [bits] * lanes)


def both_there(b: Any, seen: Any, weight: Any, absent: Any) -> tuple[Any, Any]:
    """Two factors, both of them 0 where the first has those bits."""
    gone = b.icmp_signed("==", b.bitcast(seen, absent.type), absent)
    zero = ir.Constant(seen.type, None)
    return b.select(gone, zero, seen), b.select(gone, zero, weight)


def packed_weights(
    builder: Any, base: Any, words: Any, step: Any, kind: str, rows: int, guarded: bool
) -> None:
    """Weights in the order in which tiles of so many filters read them: a kernel.

    If it is `guarded`, a number before them says whether all are finite: 0, else NaN.

    Words: the offset of the result and of the weights, the strides of filters and channels, the table of the offsets of
    places, filters, channels, places.
    """
    b, memory = builder, Memory(builder, base, words, 1)
    o, w, filter_step, channel_step, table, filters, channels, places = memory.take(8)
    element, size = IN_MEMORY[kind], itemsize(kind)
    to, flag = slot(b, I64), slot(b, element)
    b.store(o, to)
    b.store(element(0.0), flag)
    last = b.sub(filters, I64(1))
    with loop(b, b.udiv(b.add(filters, I64(rows - 1)), I64(rows))) as tile:
        numbers = [smaller(b, b.add(b.mul(tile, I64(rows)), I64(f)), last) for f in range(rows)]
        begun = [memory.at(w, number, filter_step) for number in numbers]
        with loop(b, channels) as c, loop(b, places) as t:
            beyond = b.add(b.mul(c, channel_step), memory.word(memory.at(table, t, I64(8))))
            target = b.load(to)
            for f, at in enumerate(begun):
                value = b.load(memory.pointer(b.add(at, beyond), element), align=1)
                if guarded:
                    b.store(b.fadd(b.load(flag), b.fmul(value, element(0.0))), flag)
                b.store(value, memory.pointer(memory.further(target, f * size), element), align=1)
            b.store(memory.further(target, rows * size), to)
    if guarded:
        b.store(b.load(flag), memory.pointer(b.sub(o, I64(HEAD)), element), align=1)


def packed_matrix(builder: Any, base: Any, words: Any, step: Any, kind: str, rows: int, turn: bool) -> None:
    """The same for what each filter sees side by side in memory or, without `turn`, filters side by side: a kernel.

    Words: the offset of the result and of the weights, the stride of filters or of channels, filters, channels.
    """
    b, memory = builder, Memory(builder, base, words, rows)
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


def window_weights(builder: Any, base: Any, words: Any, step: Any, kind: str, tile: Tile) -> None:
    """``o[k, q] = sum_j g[k, j] * window[q, j]`` over all rows of windows: a kernel.

    Words: those of the packer; the offset of g and the distance of its rows, the table of rows, how many there are, the
    table of `q`, places of a window, channels, how many at a time, filters; room for g turned around and for sums; the
    offset of o, the strides of filters and channels, the table of the offsets of places.
    """
    b, memory = builder, Memory(builder, base, words, tile.lanes(kind))
    packer = Packer(memory, kind)
    g, g_row, rows, count_of_rows, table, places, channels, some, filters, turn, totals = memory.take(11)
    o, o_filter, o_channel, offsets = memory.take(4)
    size, lanes, vector = I64(itemsize(kind)), memory.lanes, vector_of(kind, memory.lanes)
    wide = upwards(b, filters, lanes * tile.vectors)
    row_size = b.mul(wide, size)
    blocks = b.udiv(b.add(channels, b.sub(some, I64(1))), some)
    high = upwards(b, b.mul(some, places), tile.rows)
    zero = memory.zero(kind)
    all_sums = b.mul(b.mul(blocks, high), wide)
    in_parts(memory, all_sums, lambda j, mask, _: memory.store(memory.at(totals, j, size), zero, kind, mask))
    sums = [[slot(b, vector) for _ in range(tile.vectors)] for _ in range(tile.rows)]

    def part(q: Any, sums_at: Any, turned_at: Any, length: Any) -> None:
        """A tile from `q` on."""
        for line in sums:
            for total in line:
                b.store(zero, total)
        begun = [
            b.add(packer.panel, memory.word(memory.at(table, b.add(q, I64(f)), I64(8))))
            for f in range(tile.rows)
        ]
        with loop(b, length) as j:
            at = memory.at(turned_at, j, row_size)
            gradients = [memory.load(memory.further(at, v * tile.width), kind) for v in range(tile.vectors)]
            along = b.mul(j, size)
            for f, begin in enumerate(begun):
                seen = memory.number(b.add(begin, along), kind)
                for v, gradient in enumerate(gradients):
                    fused(b, gradient, seen, sums[f][v])
        for f in range(tile.rows):
            at = memory.at(sums_at, b.add(q, I64(f)), row_size)
            for v in range(tile.vectors):
                place = memory.further(at, v * tile.width)
                memory.store(place, b.fadd(memory.load(place, kind), b.load(sums[f][v])), kind)

    with loop(b, count_of_rows) as row:
        about = memory.at(rows, row, I64(16))
        begin, length = b.add(g, memory.word(about)), memory.word(memory.further(about, 8))
        turned(memory, kind, begin, g_row, turn, row_size, filters, length)
        with loop(b, blocks) as block:
            first = b.mul(block, some)
            count = smaller(b, b.sub(channels, first), some)
            packer.pack(row, first, count)
            here = memory.at(totals, b.mul(block, high), row_size)
            with loop(b, b.udiv(wide, I64(tile.vectors * lanes))) as k:
                beyond = b.mul(k, I64(tile.vectors * tile.width))
                tiles = b.udiv(b.add(b.mul(count, places), I64(tile.rows - 1)), I64(tile.rows))
                with loop(b, tiles) as number_of:
                    q = b.mul(number_of, I64(tile.rows))
                    part(q, b.add(here, beyond), b.add(turn, beyond), length)
    element = IN_MEMORY[kind]
    with loop(b, channels) as c, loop(b, places) as t:
        row_of = b.add(b.mul(b.udiv(c, some), high), b.add(b.mul(b.urem(c, some), places), t))
        source = memory.at(totals, row_of, row_size)
        target = b.add(memory.at(o, c, o_channel), memory.word(memory.at(offsets, t, I64(8))))
        with loop(b, filters) as k:
            value = b.load(memory.pointer(memory.at(source, k, size), element), align=1)
            b.store(value, memory.pointer(memory.at(target, k, o_filter), element), align=1)
