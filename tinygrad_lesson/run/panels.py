"""Sums of products as instructions: panels of what columns see are packed, and tables tell where it lies.

Convolutions (`windows.py`) and large products of matrices share this, and its kernels: `tape/panels.py`, which packs,
and `tape/windows.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_lesson.run.elements import elementwise
from tinygrad_lesson.run.operands import WORD, Memory, Operand, Row, contiguous, row_major, signed, spread
from tinygrad_lesson.run.segment import side_by_side
from tinygrad_lesson.run.tape import panels as packing
from tinygrad_lesson.run.tape import windows as kernels
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.tape.vector import lanes_of
from tinygrad_lesson.run.threads import shares, workers

PANEL = 1 << 19  # bytes of a panel; a larger one leaves the second cache
LINE = 64  # bytes of a cache line
ENOUGH = 5e6  # products that a thread is woken for
LONGEST_SUM = 512  # products that are added up one after the other


class Tables(NamedTuple):
    """What the kernels read, all in bytes but for lengths; see `tape/windows.py`."""

    rows: np.ndarray  # (rows, 2)
    entries: np.ndarray  # (rows, entries, 6)
    seen: np.ndarray  # the offset of each `q` in the panel
    places: np.ndarray  # the number of each place in the weight
    across: int  # from channel to channel of the panel
    some: int  # channels at a time
    panel: int  # elements of a panel
    effort: int  # products of all columns for a channel and a filter
    parts: np.ndarray | None = None  # (parts, 5), if columns see but some of the places


class Weights(NamedTuple):
    """Weights as an operand, and the strides of filters, of channels and of each axis of the window."""

    operand: Operand
    offset: int
    filters: int
    channels: int
    axes: tuple[int, ...]
    lying: bool = False  # whether they are read where they lie: what each filter has is side by side

    def places(self, memory: Memory, numbers: np.ndarray) -> int:
        """The table of the offsets of places."""
        return memory.keep(numbers @ np.array(self.axes, np.int64))

    def lie_as_read(self, filters: int, channels: int) -> bool:
        """Whether kernels read these of a window with one place where they lie, since they stay in the first cache."""
        size, rows = self.operand.itemsize, packing.tile().for_filters(filters).rows
        little = filters % rows == 0 and filters * channels * size <= LITTLE
        return little and size in (self.filters, self.channels)

    def packed(
        self, memory: Memory, filters: int, channels: int, places: np.ndarray, rows: int
    ) -> tuple[list[Row], tuple[int, int, int, int]]:
        """Instructions that pack some; where they then lie, how far tiles are apart, filters, and what these see."""
        size, kind = self.operand.itemsize, self.operand.kind
        offsets, one, tall = places @ np.array(self.axes, np.int64), len(places) == 1, rows * size
        if self.lying:
            return [], (self.offset, rows * self.filters, self.filters, self.channels)
        beside = self.filters == size and one
        if one and self.lie_as_read(filters, channels):
            return [], (self.offset, rows * self.filters, self.filters, self.channels)
        seen = channels * len(places)
        to = room(memory, "weights", -(-filters // rows) * rows * (seen + 2 * rows), kind)
        in_a_row = self.channels == len(places) * size and np.array_equal(
            offsets, np.arange(len(places)) * size
        )
        if beside or in_a_row:
            kernel, by = (
                address(packing.packed_matrix, kind, rows, in_a_row),
                self.filters if in_a_row else self.channels,
            )
            row = [kernel, to, self.offset, by, filters, seen]
        else:
            kernel, table = address(packing.packed_weights, kind, rows), memory.keep(offsets)
            row = [
                kernel,
                to,
                self.offset,
                self.filters,
                self.channels,
                table,
                filters,
                channels,
                len(places),
            ]
        return [row], (to, seen * tall, size, tall)


def room(memory: Memory, use: str, size: int, kind: str) -> int:
    """The offset of room for so many elements, which the next instruction for that use has again."""
    return memory.scratch(1 << (size - 1).bit_length(), kind=kind, use=use).offset


def dense(memory: Memory, x: Operand, use: str) -> tuple[list[Row], Operand]:
    """`x` itself, or a copy that an instruction makes, in row-major order."""
    if contiguous(x):
        return [], x._replace(strides=row_major(x.shape, x.itemsize))
    copy = memory.scratch(*x.shape, kind=x.kind, use=use)
    return elementwise("positive")(memory, None, [x], copy) or [], copy


class Given(NamedTuple):
    """What columns see: where it begins, how far channels and runs lie apart, tables; a panel if nothing is packed."""

    x: int
    channel: int
    step: int
    found: Tables
    panel: int | None = None

    def words(self, memory: Memory, kind: str, part: int) -> list[int]:
        """The words of a packer, for one of several parts of the work."""
        panel = room(memory, f"panel {part}", self.found.panel, kind) if self.panel is None else self.panel
        entries = self.found.entries
        table = memory.keep(entries)
        return [self.x, self.channel, self.step, table, entries.shape[1], panel, self.found.across]


class Sums(NamedTuple):
    """Where sums go: the first, and how far those of the next filter are; how they begin."""

    o: int
    row: int
    started: tuple[str, ...] = ()
    start: tuple[int, ...] = ()

    def starts_of(self, filter_: int) -> list[int]:
        """The words that tell where the sums from this filter on begin."""
        pairs = zip(self.start[::2], self.start[1::2], strict=True)
        return [word for at, by in pairs for word in ((at + filter_ * by) % WORD, by)]


def sums(
    memory: Memory, given: Given, weights: Weights, channels: int, filters: int, to: Sums, *, turn: bool = False
) -> list[Row]:  # fmt: skip
    """Instructions for the products of what columns see with filters."""
    kind, found, places = weights.operand.kind, given.found, len(given.found.places)
    tile = packing.tile().for_filters(filters)
    before, where = weights.packed(memory, filters, channels, found.places, tile.rows)
    apart, far = where[2] != weights.operand.itemsize, (True,) if weights.lying else ()
    rows, seen = memory.keep(found.rows), memory.keep(found.seen)
    among = [] if found.parts is None else [memory.keep(found.parts)]
    kernel = address(kernels.window_sums, kind, tile, to.started, bool(among), turn, apart, *far)
    effort = found.effort * filters * channels
    of_rows, of_filters = [(0, len(found.rows))], [(0, filters)]  # begin and end of each thread's
    if far:  # so that each row of the matrix is read once
        of_filters = shares(filters, tile.rows, effort, ENOUGH)
    else:
        of_rows = shares(len(found.rows), 1, effort, ENOUGH)
    parts = [
        [kernel, *given.words(memory, kind, i), (where[0] + first * where[2]) % WORD, *where[1:],
         (to.o + first * to.row) % WORD, to.row, rows, *some, seen, places, channels, found.some, end - first, *among,
         *to.starts_of(first)]
        for i, ((first, end), some) in enumerate(itertools.product(of_filters, of_rows))
    ]  # fmt: skip
    return [*before, *side_by_side(memory, parts)]


# Large products of matrices.

FEWEST = 4  # rows or columns; with less most of a tile is idle
LITTLE = 1 << 15  # bytes of weights that stay in the first cache as they lie
WHOLE = 1 << 18  # bytes of a matrix that needs no packing
CHEAP = 1 << 16  # bytes of a matrix that is packed in no time
ONE = np.zeros((1, 0), np.int64)  # the places of a window that has one


def large_product(
    memory: Memory, x: Operand, w: Operand, o: Operand, starts: Sequence[Operand],
    others: Sequence[tuple[Operand, Operand]] = (),
) -> list[Row] | None:  # fmt: skip
    """``o = x @ w`` plus `starts`, which broadcast.

    The products of `others`, which lie like x and w, are added; not where factors have to be packed.
    """
    (m, n), rows = o.shape, list[Row]()
    if min(m, n) < FEWEST:
        return None
    starts = [start._replace(shape=o.shape, strides=spread(start, o.shape)) for start in starts]
    # A matrix whose columns are dense can be read where it lies, once all is turned around, and nothing is packed.
    dense_columns = w.strides[0] == w.itemsize != w.strides[1] and (w.offset, w.size) not in memory.lasting
    lying = dense_columns and w.size * w.itemsize > CHEAP
    lying = lying and effort(n, m, packed=False) < 0.96 * effort(m, n)
    if lying or effort(n, m) < 0.8 * effort(m, n):  # the same, as the product of both turned around
        x, w, o, starts = around(w), around(x), around(o), [around(start) for start in starts]
        others = [(around(w), around(x)) for x, w in others]
    to = o if o.strides[1] == o.itemsize else memory.scratch(*o.shape, kind=o.kind, use="result")
    for i, start in enumerate(starts):
        if start.strides[1] not in (0, o.itemsize):
            place = memory.scratch(*o.shape, kind=o.kind, use=f"start {i}")
            rows += elementwise("positive")(memory, None, [start], place) or []
            starts[i] = place
    if w.itemsize not in w.strides:
        before, w = dense(memory, w, "matrix")
        rows += before
    elif w.strides[1] != w.itemsize and all(
        (v.offset, v.size) in memory.lasting for _, v in [(x, w), *others]
    ):
        made = [with_dense_rows(memory, v) for _, v in [(x, w), *others]]
        rows += [row for before, _ in made for row in before]
        w, others = made[0][1], [(y, v) for (y, _), (_, v) in zip(others, made[1:], strict=True)]
    (k, _), turn = w.shape, w.strides[1] != w.itemsize
    weights = Weights(x, x.offset, x.strides[0], x.strides[1], (), lying)
    sums_to = Sums(to.offset, to.strides[0], *beginning(starts))
    given = columns(memory, w, turn, workers(m * n * k, ENOUGH))
    if others:
        several = of_all(given, [(x, w), *others]) if weights.lie_as_read(x.shape[0], k) else None
        if several is None:
            return None
        given = several
    rows += sums(memory, given, weights, k, x.shape[0], sums_to, turn=turn)
    if to is not o and o.strides[0] == o.itemsize:
        turned = address(packing.turned_matrix, o.kind, True)
        return [*rows, [turned, to.offset, to.strides[0], o.offset, o.strides[1], *o.shape]]
    return rows if to is o else rows + (elementwise("positive")(memory, None, [to], o) or [])


def of_all(given: Given, factors: Sequence[tuple[Operand, Operand]]) -> Given | None:
    """The same for the sum of the products of several factors, that of the first being given; None if it is packed."""
    (x, w), by = factors[0], factors[0][0].strides[1]
    far = [(signed((v.offset - w.offset) % WORD), signed((y.offset - x.offset) % WORD)) for y, v in factors]
    if given.panel is None or by == 0 or any(along % by for _, along in far):
        return None
    seen = np.array([(at, along // by) for at, along in far], np.int64)
    columns, count = w.shape[1], len(far)
    found = given.found._replace(
        rows=np.array([[0, 1]], np.int64), seen=seen, across=w.strides[0], effort=columns * count,
        parts=np.array([[0, columns, 0, 0, count]], np.int64),
    )  # fmt: skip
    return given._replace(found=found)


def beginning(starts: Sequence[Operand]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """How sums begin, and the words that tell where: matrices, then numbers along filters."""
    starts = sorted(starts, key=lambda start: not start.strides[1])
    how = [kernels.MATRIX if start.strides[1] else kernels.PER_FILTER for start in starts]
    return tuple(how), tuple(word for start in starts for word in (start.offset, start.strides[0]))


def with_dense_rows(memory: Memory, w: Operand) -> tuple[list[Row], Operand]:
    """A copy of a matrix whose columns are dense; of several products that read it the first makes it for all."""
    known = memory.copies.get(w)
    if known is not None:
        return [], known
    (k, n), size, lanes = w.shape, w.itemsize, lanes_of(w.kind)
    across = (-(-n * size // LINE) | 1) * LINE
    shape, lasting = (-(-k // lanes) * lanes, across // size), (w.offset, w.size) in memory.lasting
    place = memory.temporary(*shape, kind=w.kind) if lasting else memory.scratch(*shape, kind=w.kind)
    copy = place._replace(shape=w.shape)
    if lasting:
        memory.copies[w] = copy
    return [[address(packing.turned_matrix, w.kind), w.offset, w.strides[1], copy.offset, across, n, k]], copy


def around(x: Operand) -> Operand:
    """A matrix turned around."""
    return x._replace(shape=x.shape[::-1], strides=x.strides[::-1])


def effort(filters: int, columns: int, packed: bool = True) -> float:
    """What a product takes for each number that filters and columns share, and what it takes to pack them, about."""
    tile = packing.tile()
    wide = tile.width // 4
    covered = -(-filters // tile.rows) * tile.rows * -(-columns // wide)
    return covered + (packed * filters + columns) / 2


def columns(memory: Memory, w: Operand, turn: bool, parts: int) -> Given:
    """A matrix as what columns see, in blocks, at least so many; with `turn` columns are dense, else rows."""
    (k, n), size = w.shape, w.itemsize
    tile = packing.tile()
    lanes = tile.lanes(w.kind)
    if not turn and k <= LONGEST_SUM and n % lanes == 0 and k * n * size <= WHOLE:
        rows = np.array([[0, n]], np.int64)
        nothing = np.zeros((1, 0, packing.ENTRY), np.int64)
        found = Tables(rows, nothing, np.arange(k) * w.strides[0], ONE, 0, k, 0, n)
        return Given(w.offset, 0, 0, found, w.offset)
    some = -(-k // -(-k // LONGEST_SUM))
    wide = tile.vectors * lanes
    block = max(1, PANEL // (some * size * wide)) * wide
    block = min(block, -(-n // parts))
    block = -(-n // -(-n // block) // wide) * wide
    across = (-(-block * size // LINE) | 1) * LINE
    rows = np.array([[j * size, min(block, n - j)] for j in range(0, n, block)], np.int64)
    step = w.strides[1] if turn else size
    entries = np.array(
        [[0, j * step, 0, 1, length, 0] for j, length in zip(range(0, n, block), rows[:, 1], strict=True)]
    )
    panel = ((some + lanes) * across + LINE) // size
    found = Tables(rows, entries[:, None], np.arange(some) * across, ONE, across, some, panel, n)
    return Given(w.offset, w.strides[0], step, found)
