"""Sums and extremes over rows; what comes after a training step."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tinygrad_lesson.run.tape.expressions import EXPRESSIONS, absolute, larger, lesser, truth
from tinygrad_lesson.run.tape.loops import APART
from tinygrad_lesson.run.tape.vector import (
    I1,
    I32,
    I64,
    IN_MEMORY,
    NOUGHT,
    Memory,
    Vector,
    as_long_as,
    declared,
    in_parts,
    itemsize,
    lanes_of,
    loop,
    shuffled,
    slot,
    smaller,
    splat,
    suffix,
    vector_of,
    where,
)

BLOCK = 64  # vectors that are added up before they join a total
ROWS = 128  # rows, likewise
AT_ONCE = 4  # registers that take turns, so that none waits for what it was given last


class Total:
    """A sum of many vectors: parts join a total, and what rounding takes from one is given to the next (Kahan 1965)."""

    def __init__(self, memory: Memory, kind: str, parts: int = AT_ONCE) -> None:
        self.memory, self.builder, self.kind = memory, memory.builder, kind
        vector = vector_of(kind, memory.lanes)
        self.zero = ir.Constant(vector, None)
        self.total, self.lost, *self.parts = (slot(self.builder, vector) for _ in range(2 + parts))
        for place in (self.total, self.lost, *self.parts):
            self.builder.store(self.zero, place)
        self.turns = itertools.cycle(self.parts)

    def add(self, value: Any) -> None:
        """Add to the part whose turn it is."""
        part = next(self.turns)
        self.builder.store(self.builder.fadd(self.builder.load(part), value), part)

    def collect(self) -> None:
        """The parts join the total."""
        b = self.builder
        first, *rest = map(b.load, self.parts)
        total, part = b.load(self.total), b.fsub(functools.reduce(b.fadd, rest, first), b.load(self.lost))
        new = b.fadd(total, part)
        lost = Vector(b, b.fsub(b.fsub(new, total), part))
        b.store(where(absolute(lost) < float("inf"), lost, 0).value, self.lost)  # infinity loses nothing
        b.store(new, self.total)
        for place in self.parts:
            b.store(self.zero, place)

    def sum(self) -> Any:
        """The sum of all lanes."""
        return across(self.builder, "fadd", self.builder.load(self.total))


def across(builder: Any, name: str, vector: Any) -> Any:
    """One number from all lanes, by LLVM's reduction of that name."""
    kind, element = vector.type, vector.type.element
    if name == "fadd":
        add = declared(builder, f"llvm.vector.reduce.fadd.{suffix(kind)}", element, [element, kind])
        return builder.call(add, [ir.Constant(element, -0.0), vector], fastmath=("reassoc",))
    return builder.call(
        declared(builder, f"llvm.vector.reduce.{name}.{suffix(kind)}", element, [kind]), [vector]
    )


def summed(memory: Memory, at: Any, count: Any, kind: str, of: Callable[[Any], Any], step: Any = None) -> Any:
    """The sum of `of` elements from `at` on, dense or `step` bytes apart."""
    b, size = memory.builder, I64(itemsize(kind))

    def element(j: Any, mask: Any, some: Any) -> Vector:
        if step is None:
            value = memory.load(memory.at(at, j, size), kind, mask)
        else:
            value = memory.apart(memory.at(at, j, step), step, kind, some)
        found: Vector = of(Vector(b, value))
        return found

    return total_of(memory, count, kind, element)


def total_of(memory: Memory, count: Any, kind: str, element: Callable[[Any, Any, Any], Vector]) -> Any:
    """The sum of `count` elements: `element(j, mask, some)` has the next ones from `j` on."""
    b, lanes, total = memory.builder, I64(memory.lanes), Total(memory, kind)
    block = I64(BLOCK * memory.lanes)

    def part(j: Any, mask: Any, some: Any) -> None:
        value = element(j, mask, some).value
        total.add(value if mask is None else b.select(mask, value, total.zero))

    with loop(b, b.udiv(count, block)) as number:
        first = b.mul(number, block)
        with loop(b, I64(BLOCK // AT_ONCE)) as some:
            for i in range(AT_ONCE):
                one = b.add(b.mul(some, I64(AT_ONCE)), I64(i))
                part(b.add(first, b.mul(one, lanes)), None, lanes)
        total.collect()
    done = b.mul(b.udiv(count, block), block)
    in_parts(memory, b.sub(count, done), lambda j, mask, some: part(b.add(done, j), mask, some))
    total.collect()
    return total.sum()


def sums(builder: Any, base: Any, words: Any, step: Any, kind: str, way: str, of: str) -> None:
    """``o[i] = sum_j of(x[i, j])``: a kernel. Words: offset, row stride and column stride of x; offset of o; m, n."""
    memory = Memory(builder, base, words, lanes_of(kind))
    x, x_row, x_step, o, m, n = memory.take(6)
    with loop(builder, m) as i:
        at, by = memory.at(x, i, x_row), x_step if way == APART else None
        total = summed(memory, at, n, kind, EXPRESSIONS[of], by)
        builder.store(total, memory.pointer(memory.at(o, i, I64(itemsize(kind))), IN_MEMORY[kind]), align=1)


def fold_of(
    memory: Memory,
    fold: Callable[[Any, Any], Vector],
    start: Vector,
    count: Any,
    element: Callable[[Any, Any], Vector],
) -> Any:
    """One number from `count` elements, each lane beginning with `start`: `element(j, mask)` has those from `j` on.

    Several registers of many lanes take turns.
    """
    b, lanes, at_once = memory.builder, memory.lanes, AT_ONCE if memory.lanes > 1 else 1
    places, block = [slot(b, start.value.type) for _ in range(at_once)], I64(at_once * lanes)
    for place in places:
        b.store(start.value, place)

    def join(place: Any, value: Vector) -> None:
        b.store(fold(Vector(b, b.load(place)), value).value, place)

    with loop(b, b.udiv(count, block)) as number:
        first = b.mul(number, block)
        values = [element(b.add(first, I64(i * lanes)), None) for i in range(at_once)]
        for place, value in zip(places, values, strict=True):
            join(place, value)
    done = b.mul(b.udiv(count, block), block)

    def rest(j: Any, mask: Any, _: Any) -> None:
        value = element(b.add(done, j), mask)
        join(places[0], value if mask is None else where(Vector(b, mask), value, start))

    if lanes > 1:
        in_parts(memory, b.sub(count, done), rest)
    parts = [Vector(b, b.load(place)) for place in places]
    while len(parts) > 1:
        parts = [fold(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    (value,) = parts
    while lanes > 1:
        lanes //= 2
        low, high = (shuffled(b, value.value, value.value, range(at, at + lanes)) for at in (0, lanes))
        value = fold(Vector(b, low), Vector(b, high))
    return b.extract_element(value.value, I32(0))


def products(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """``o[i] = prod_j x[i, j]``, x dense along j: a kernel. Words as for `sums`.

    Lanes multiply every so many numbers, which may leave the range of the type where the product of all of them, one
    after the other, does not. What has left it above stays infinite or NaN, and what is below its normal numbers is
    looked for at each step; such a row is multiplied again in order.
    """
    memory = Memory(builder, base, words, lanes_of(kind))
    b = builder
    x, x_row, _, o, m, n = memory.take(6)
    size, info = I64(itemsize(kind)), np.finfo(kind)
    lows = [slot(b, vector_of(kind, memory.lanes)) for _ in range(AT_ONCE)]
    turns = itertools.cycle(lows)
    place, reached = slot(b, IN_MEMORY[kind]), slot(b, I64)

    def multiplied(p: Vector, q: Vector) -> Vector:
        y = p * q
        if y.value.type.count == memory.lanes:
            least, size = next(turns), absolute(y)
            low = Vector(b, b.load(least))
            b.store(where(size < low, size, low).value, least)
        return y

    with loop(b, m) as i:
        row = memory.at(x, i, x_row)

        def element(j: Any, mask: Any, row: Any = row) -> Vector:
            return Vector(b, memory.load(memory.at(row, j, size), kind, mask))

        start = Vector(b, ir.Constant(vector_of(kind, memory.lanes), None))
        start = start.like(start.lift(1))
        for low in lows:
            b.store(start.value, low)
        found = fold_of(memory, multiplied, start, n, element)
        b.store(found, place)
        low = functools.reduce(lesser, [Vector(b, b.load(low)) for low in lows])
        number = low.like(splat(b, found, memory.lanes))
        inside = (lesser(low, absolute(number)) >= float(info.tiny)) & (absolute(number) <= float(info.max))
        with b.if_then(b.not_(across(b, "and", inside.value))):
            finite = across(b, "and", (absolute(number) <= float(info.max)).value)
            b.store(ir.Constant(IN_MEMORY[kind], 1.0), place)
            b.store(NOUGHT, reached)

            def goes_on(finite: Any = finite) -> Any:
                """Until the end, or until it is 0, which only infinity and NaN change."""
                nothing = b.fcmp_ordered("==", b.load(place), ir.Constant(IN_MEMORY[kind], 0.0))
                return b.and_(b.icmp_unsigned("<", b.load(reached), n), b.not_(b.and_(nothing, finite)))

            with as_long_as(b, goes_on):
                j = b.load(reached)
                value = b.load(memory.pointer(memory.at(row, j, size), IN_MEMORY[kind]), align=1)
                b.store(b.fmul(b.load(place), value), place)
                b.store(b.add(j, I64(1)), reached)
        b.store(b.load(place), memory.pointer(memory.at(o, i, size), IN_MEMORY[kind]), align=1)


def folded(builder: Any, base: Any, words: Any, step: Any, name: str, kind: str, to: str, way: str) -> None:
    """Largest, smallest, product, sum of integers, all, any along rows: a kernel. Words as for `sums`."""
    memory = Memory(builder, base, words, 1 if way == APART else lanes_of(kind, to))
    x, x_row, x_step, o, m, n = memory.take(6)
    fold, begin = FOLDS[name]
    first = I64(1 if begin is None and way == APART else 0)  # the one that it starts with need not come again
    with loop(builder, m) as i:
        row = memory.at(x, i, x_row)

        def told(value: Any) -> Vector:
            return truth(Vector(builder, value)) if to == "bool" else widened(Vector(builder, value), to)

        def element(j: Any, mask: Any, row: Any = row) -> Vector:
            at = memory.at(row, builder.add(j, first), x_step)
            return told(memory.number(at, kind) if way == APART else memory.load(at, kind, mask))

        start = told(memory.number(row, kind))
        start = start if begin is None else start.like(start.lift(begin))
        found, place = (
            fold_of(memory, fold, start, builder.sub(n, first), element),
            memory.at(o, i, I64(itemsize(to))),
        )
        found = builder.zext(found, IN_MEMORY[to]) if to == "bool" else found
        builder.store(found, memory.pointer(place, IN_MEMORY[to]), align=1)


def down(builder: Any, base: Any, words: Any, step: Any, name: str, kind: str) -> None:
    """``o[j] = fold of x[i, j] over i``, both dense along j: a kernel. Words: as for `sums`, x turned around."""
    memory = Memory(builder, base, words, lanes_of(kind))
    x, _, x_row, o, m, n = memory.take(6)
    size, vector = I64(itemsize(kind)), vector_of(kind, memory.lanes)
    fold, begin = FOLDS[name]

    def columns(places: Sequence[Any], mask: Any = None) -> None:
        """Neighbouring panels of so many lanes, each from a place on."""
        at = [memory.at(x, j, size) for j in places]

        def row(i: Any) -> list[Vector]:
            return [Vector(builder, memory.load(memory.at(a, i, x_row), kind, mask)) for a in at]

        if name == "add" and kind in ("float32", "float64"):
            totals = [Total(memory, kind, 1) for _ in places]
            with loop(builder, builder.udiv(builder.add(n, I64(ROWS - 1)), I64(ROWS))) as block:
                first = builder.mul(block, I64(ROWS))
                with loop(builder, smaller(builder, builder.sub(n, first), I64(ROWS))) as i:
                    for total, v in zip(totals, row(builder.add(first, i)), strict=True):
                        total.add(v.value)
                for total in totals:
                    total.collect()
            found = [total.total for total in totals]
        else:
            nothing = Vector(builder, ir.Constant(vector, None))
            found = [slot(builder, vector) for _ in places]
            for so_far, v in zip(found, row(NOUGHT) if begin is None else [nothing] * len(at), strict=True):
                builder.store(v.value if begin is None else v.lift(begin), so_far)
            with loop(builder, n, I64(1 if begin is None else 0)) as i:
                for so_far, v in zip(found, row(i), strict=True):
                    builder.store(fold(Vector(builder, builder.load(so_far)), v).value, so_far)
        for j, value in zip(places, found, strict=True):
            memory.store(memory.at(o, j, size), builder.load(value), kind, mask)

    lanes = I64(memory.lanes)
    wide, panels = builder.mul(lanes, I64(AT_ONCE)), builder.udiv(m, builder.mul(lanes, I64(AT_ONCE)))
    with loop(builder, panels) as panel:
        begun = builder.mul(panel, wide)
        columns([builder.add(begun, I64(i * memory.lanes)) for i in range(AT_ONCE)])
    done = builder.mul(panels, wide)
    rest = builder.sub(m, done)
    in_parts(memory, rest, lambda j, mask, _: columns([builder.add(done, j)], mask))


def widened(x: Vector, kind: str) -> Vector:
    """Integers, or answers, as wider integers."""
    to = IN_MEMORY[kind]
    if x.kind == to:
        return x
    return x.cast("zext" if x.kind == I1 else "sext", to)


FOLDS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "maximum": (larger, None),
    "minimum": (lesser, None),
    "multiply": (lambda a, b: a * b, 1),
    "add": (lambda a, b: a + b, 0),
    "logical_and": (lambda a, b: a & b, 1),
    "logical_or": (lambda a, b: a | b, 0),
}


# What comes after a training step.


def average(builder: Any, base: Any, words: Any, step: Any, kind: str, magnitudes: bool) -> None:
    """Means of elements, or of their magnitudes, kept for each step: a kernel.

    Words: the offset where the first step's means go, and how many there are; of each part the offset and the size
    follow in memory behind a third word, an offset too.
    """
    memory = Memory(builder, base, words, lanes_of(kind))
    o, count, parts = memory.take(3)
    size = I64(itemsize(kind))
    first = memory.at(o, builder.mul(step, count), size)
    with loop(builder, count) as i:
        about = memory.at(parts, i, I64(16))
        at, n = memory.word(about), memory.word(memory.further(about, 8))
        of = absolute if magnitudes else lambda v: v
        total = summed(memory, at, n, kind, of)
        mean = builder.fdiv(total, builder.uitofp(n, total.type))
        builder.store(mean, memory.pointer(memory.at(first, i, size), total.type), align=1)
