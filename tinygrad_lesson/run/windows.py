"""Products over windows as instructions: where what a window sees lies, said in tables that kernels read."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.run.elements import elementwise
from tinygrad_lesson.run.operands import FLOATS, WORD, Memory, Operand, Row, contiguous, row_major
from tinygrad_lesson.run.panels import (
    ENOUGH,
    LINE,
    LONGEST_SUM,
    PANEL,
    Given,
    Sums,
    Tables,
    Weights,
    beginning,
    dense,
    room,
    sums,
)
from tinygrad_lesson.run.segment import side_by_side
from tinygrad_lesson.run.tape import panels as packing
from tinygrad_lesson.run.tape import windows as kernels
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.threads import shares


class Axis(NamedTuple):
    """Windows along one axis of `length` elements: window `i` sees ``i * step + offset`` for each of its places.

    There are so many of them. A place is told by its number in the weight.
    """

    length: int
    windows: int
    step: int
    places: tuple[tuple[int, int], ...]  # number in the weight, offset


def forwards(window: Any) -> Axis:
    """How windows see what they slide over."""
    places = tuple((i, i * window.dilate - window.pad) for i in range(window.size))
    return Axis(window.length, window.count, window.stride, places)


def backwards(window: Any, phase: int) -> Axis:
    """The windows in which element ``phase + i * stride`` lies, likewise: each place of it in one, if in any."""
    found = [(i, phase + window.pad - i * window.dilate) for i in range(window.size)]
    places = tuple((i, at // window.stride) for i, at in found if at % window.stride == 0)
    return Axis(window.count, -(-(window.length - phase) // window.stride), 1, places)


@functools.lru_cache(256)
def tables(
    axes: tuple[Axis, ...], batch: int, channels: int, size: int, width: int, rows: int, padded: bool
) -> Tables:
    """The tables for some windows; `size` is that of an element, `width` that of a tile, both in bytes.

    Unless they are `padded` with zeros, each column sees but the places that are inside.
    """
    *outer, last = axes
    places = list(itertools.product(*[axis.places for axis in axes]))
    some = max(1, min(channels, LONGEST_SUM // max(1, len(places))))
    some = -(-channels // -(-channels // some))  # blocks of much the same size
    phases: dict[int, list[int]] = {}
    for _, offset in last.places:
        phases.setdefault(offset % last.step, []).append(offset // last.step)
    leading = list(itertools.product(*[axis.places for axis in outer])) if last.places else []
    around = sum(max(by) - min(by) for by in phases.values())
    most = PANEL // (max(1, some * len(leading)) * batch * size)
    columns = max(1, min(last.windows, (most - around) // max(1, len(phases))))
    columns = -(-last.windows // -(-last.windows // columns))
    starts, at = {}, 0  # where the part of a row for each phase begins
    for phase, by in phases.items():
        starts[phase] = at
        at += (columns + max(by) - min(by)) * batch * size
    seen_by_place = []
    for place in places:
        row = leading.index(place[:-1]) * at
        offset, phase = place[-1][1] // last.step, place[-1][1] % last.step
        seen_by_place.append(row + starts[phase] + (offset - min(phases[phase])) * batch * size)
    across = (-(-len(leading) * at // LINE) | 1) * LINE
    seen = np.add.outer(np.arange(some) * across, np.array(seen_by_place, np.int64)).ravel()
    padding = np.full(rows, seen[-1] if seen.size else 0)
    numbers = np.array([[n for n, _ in place] for place in places], np.int64).reshape(-1, len(axes))
    lines, entries = rows_of(outer, last, leading, phases, starts, at, columns, batch, size)
    seen, parts = np.concatenate([seen, padding]), None
    effort = int(lines[:, 1].sum()) * len(places)
    if not padded:
        lines, parts, seen = parts_of(outer, last, columns, batch, size, seen_by_place)
        effort = int((parts[:, 1] * parts[:, 4]).sum())
    panel = (some * across + width + LINE) // size
    return Tables(lines, entries, seen, numbers, across, some, panel, effort, parts)


def rows_of(
    outer: Sequence[Axis], last: Axis, leading: Sequence[Any], phases: Any, starts: Any, at: int, columns: int,
    batch: int, size: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Where each row of windows goes and how long it is; how each row of its panel is packed."""
    rows, entries = [], []
    run = batch * size
    strides = row_major((*[axis.length for axis in outer], last.length), run)
    for number, index in enumerate(itertools.product(*[range(axis.windows) for axis in outer])):
        for first in range(0, last.windows, columns):
            count = min(columns, last.windows - first)
            rows.append(((number * last.windows + first) * run, count * batch))
            for i, place in enumerate(leading):
                where = [
                    n * axis.step + offset for n, axis, (_, offset) in zip(index, outer, place, strict=True)
                ]
                inside = all(0 <= n < axis.length for n, axis in zip(where, outer, strict=True))
                begin = sum(n * s for n, s in zip(where, strides[:-1], strict=True))
                for phase, by in phases.items():
                    low, high = first + min(by), first + count + max(by)
                    start = min(max(low, 0), high)  # those of which `u * step + phase` is inside
                    stop = max(min(high, -((phase - last.length) // last.step)), start) if inside else start
                    n = stop - start
                    runs, length = (n, batch) if last.step > 1 else (min(n, 1), n * batch)
                    source = begin + (start * last.step + phase) * run if n else 0
                    before, behind = (start - low) * batch, (high - stop) * batch
                    entries.append((i * at + starts[phase], source, before, runs, length, behind))
    return np.array(rows, np.int64), np.array(entries, np.int64).reshape(len(rows), -1, packing.ENTRY)


def parts_of(
    outer: Sequence[Axis], last: Axis, columns: int, batch: int, size: int, seen_by_place: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of rows, neighbouring windows that see the same places: which each row has, the parts, and their places."""
    run, rows, parts, entries = batch * size, [], list[tuple[int, ...]](), list[tuple[int, int]]()
    known: dict[tuple[int, ...], int] = {}  # where the table of some places begins
    along = [inside(last, u) for u in range(last.windows)]
    for number, index in enumerate(itertools.product(*[range(axis.windows) for axis in outer])):
        there = [inside(axis, n) for axis, n in zip(outer, index, strict=True)]
        every = itertools.product(*[range(len(axis.places)) for axis in outer])
        leading = [i for i, place in enumerate(every) if all(map(operator.contains, there, place))]
        for first in range(0, last.windows, columns):
            begin, at = len(parts), first
            for some, same in itertools.groupby(along[first : first + columns]):
                count = len(list(same))
                places = tuple([i * len(last.places) + j for i in leading for j in some])
                if places not in known:
                    known[places] = 16 * len(entries)
                    entries += [(seen_by_place[p], p) for p in places]
                to, column = (number * last.windows + at) * run, (at - first) * run
                parts.append((to, count * batch, column, known[places], len(places)))
                at += count
            rows.append((begin, len(parts)))
    return np.array(rows, np.int64), np.array(parts, np.int64), np.array(entries, np.int64).reshape(-1, 2)


def inside(axis: Axis, window: int) -> tuple[int, ...]:
    """The places that a window sees inside of the padding, counted as they come."""
    where = [window * axis.step + offset for _, offset in axis.places]
    return tuple([i for i, n in enumerate(where) if 0 <= n < axis.length])


def image(
    axes: tuple[Axis, ...], batch: int, channels: int, begin: int, x: Operand, tile: Any, padded: bool = True
) -> Given:
    """Some channels of an image whose batch is last."""
    size = x.itemsize
    found = tables(axes, batch, channels, size, tile.vectors * tile.width, tile.rows, padded)
    return Given(begin, x.strides[0], axes[-1].step * batch * size, found)


def sliding_product(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """What the windows over an image see, times each filter."""
    x, weight, *bias = sources
    if not fits((*sources, target)):
        return None
    before, x = dense(memory, x, "image")
    more, weight = dense(memory, weight, "filters")
    last, start = dense(memory, bias[0], "bias") if bias else ([], None)
    axes = tuple(map(forwards, op.windows(x.shape)))
    rows = [*before, *more, *last]
    groups, batch = op.num_group, x.shape[-1]
    filters, each = weight.shape[0] // groups, weight.shape[1]
    strides = row_major(weight.shape, weight.itemsize)
    o, after = result(memory, target)
    for g in range(groups):
        weights = Weights(weight, part(weight, g * filters), strides[0], strides[1], strides[2:])
        begin = beginning(
            [start._replace(offset=part(start, g * filters), strides=(start.itemsize, 0))] if start else []
        )
        given = image(axes, batch, each, part(x, g * each), x, packing.tile())
        to = Sums(part(o, g * filters), o.strides[0], *begin)
        rows += sums(memory, given, weights, each, filters, to)
    return [*rows, *after]


def fits(operands: Sequence[Operand]) -> bool:
    """Whether all are floats of one type, with elements."""
    kind = operands[-1].kind
    return kind in FLOATS and all(x.kind == kind and x.size for x in operands)


def part(x: Operand, index: int) -> int:
    """Where element `index` along the first axis begins."""
    return (x.offset + index * x.strides[0]) % WORD


def result(memory: Memory, target: Operand) -> tuple[Operand, list[Row]]:
    """Where a result is computed, and the instruction that brings it from there to its place."""
    if contiguous(target):
        return target._replace(strides=row_major(target.shape, target.itemsize)), []
    o = memory.scratch(*target.shape, kind=target.kind, use="result")
    return o, elementwise("positive")(memory, None, [o], target) or []


def sliding_product_data(
    memory: Memory, op: Any, sources: Sequence[Operand], target: Operand
) -> list[Row] | None:
    """The gradient by the image: the same products, of windows over the gradient, for each phase of the strides."""
    g, weight = sources
    if not fits((*sources, target)):
        return None
    before, g = dense(memory, g, "image")
    more, weight = dense(memory, weight, "filters")
    windows, batch, groups = op.windows(target.shape), g.shape[-1], op.num_group
    each, channels = weight.shape[0] // groups, weight.shape[1]
    strides = row_major(weight.shape, weight.itemsize)
    rows = [*before, *more]
    o, after = result(memory, target)
    for phases in itertools.product(*[range(min(w.stride, w.length)) for w in windows]):
        axes = tuple(map(backwards, windows, phases))
        place = whole = in_phase(o, phases, [w.stride for w in windows])
        if not contiguous(place):
            place = memory.scratch(*place.shape, kind=o.kind, use="phase")
        for n in range(groups):
            weights = Weights(weight, part(weight, n * each), strides[1], strides[0], strides[2:])
            given = image(axes, batch, each, part(g, n * each), g, packing.tile(), padded=False)
            to = Sums(part(place, n * channels), place.strides[0])
            rows += sums(memory, given, weights, each, channels, to)
        if place is not whole:
            rows += elementwise("positive")(memory, None, [place], whole) or []
    return [*rows, *after]


def in_phase(x: Operand, phases: Sequence[int], strides: Sequence[int]) -> Operand:
    """Every so manieth element along each axis of an image."""
    offset, shape, along = x.offset, list(x.shape), list(x.strides)
    for a, (phase, step) in enumerate(zip(phases, strides, strict=True), 1):
        offset += phase * along[a]
        shape[a], along[a] = -(-(shape[a] - phase) // step), along[a] * step
    return Operand(offset % WORD, tuple(shape), tuple(along), x.kind)


def sliding_product_weight(
    memory: Memory, op: Any, sources: Sequence[Operand], target: Operand
) -> list[Row] | None:
    """The gradient by the weight: what each window sees times the gradient of its result, summed over windows."""
    x, g = sources
    if not fits((*sources, target)):
        return None
    before, x = dense(memory, x, "image")
    more, g = dense(memory, g, "gradient")
    rows, (o, after) = [*before, *more], result(memory, target)
    gradient = Gradient(tuple(map(forwards, op.windows(x.shape))), op.num_group, x, g, o)
    effort = math.prod([*[axis.windows for axis in gradient.axes], x.shape[-1], *o.shape]) / op.num_group
    for group in range(op.num_group):
        some = enumerate(shares(o.shape[1], 1, effort, ENOUGH))
        parts = [gradient.row(memory, group, number, *channels) for number, channels in some]
        rows += side_by_side(memory, parts)
    return [*rows, *after]


class Gradient(NamedTuple):
    """What a gradient by a weight is taken of."""

    axes: tuple[Axis, ...]
    groups: int
    x: Operand
    g: Operand
    o: Operand

    def row(self, memory: Memory, group: int, number: int, first: int, stop: int) -> Row:
        """The instruction for some channels of a group, which is part `number` of the work."""
        o, kind, batch = self.o, self.o.kind, self.x.shape[-1]
        filters, channels = o.shape[0] // self.groups, o.shape[1]
        tile = packing.tile().for_columns(filters, kind)
        given = image(self.axes, batch, channels, part(self.x, group * channels + first), self.x, tile)
        found, lanes = given.found, tile.lanes(kind)
        places, some = len(found.places), min(found.some, stop - first)
        wide = -(-filters // (lanes * tile.vectors)) * lanes * tile.vectors
        high = -(-some * places // tile.rows) * tile.rows
        longest = -(-int(found.rows[:, 1].max()) // lanes) * lanes
        turn = room(memory, f"turned {number}", longest * wide, kind)
        totals = room(memory, f"totals {number}", -(-(stop - first) // some) * high * wide, kind)
        begin = part(o, group * filters) + first * o.strides[1]
        weights = Weights(o, begin % WORD, o.strides[0], o.strides[1], o.strides[2:])
        return [
            address(kernels.window_weights, kind, tile), *given.words(memory, kind, number),
            part(self.g, group * filters), self.g.strides[0], memory.keep(found.rows), len(found.rows),
            memory.keep(found.seen), places, stop - first, some, filters, turn, totals, weights.offset,
            weights.filters, weights.channels, weights.places(memory, found.places),
        ]  # fmt: skip
