"""Joined elementwise steps as one loop in machine code: what lies between them never leaves the registers.

Each loop is compiled for itself, in some hundredths of a second, and only for arrays so large that this is soon
made good. `Loop.text` is its code, in LLVM's own language, to be read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Call, Ref, Spec, Trace, traced
from tinygrad_lesson.run.elements import LINE, Loops, elementwise
from tinygrad_lesson.run.lower import KERNELS, as_numpy_does, common_kind, elementwise_inputs
from tinygrad_lesson.run.operands import FLOATS, WORD, Memory, Operand, Row, noted
from tinygrad_lesson.run.pieces import Pieces
from tinygrad_lesson.run.segment import side_by_side
from tinygrad_lesson.run.tape import vector
from tinygrad_lesson.run.tape.expressions import EXPRESSIONS, applied, converted, is_choice
from tinygrad_lesson.run.tape.machine import address_of_text, text_of
from tinygrad_lesson.run.tape.reductions import Total
from tinygrad_lesson.run.tape.vector import (
    I64,
    IN_MEMORY,
    Vector,
    contracted,
    itemsize,
    lanes_of,
    loop,
    smaller,
)
from tinygrad_lesson.run.threads import parted, shares
from tinygrad_lesson.run.whole import as_expression

LEAST = 1 << 16  # elements that a thread is woken for
MOST_PARTS = 64  # of a sum
MOST = 1000  # steps; a hundred compile in a tenth of a second
CHUNK = 8  # pairs of vectors that are added up before they join the total, so that small numbers are not lost in it


def compiles(steps: Sequence[Step], kind: str) -> None:
    """Refuse steps for which there is no vector code, or for which LLVM would take longer than seconds.

    Errors
        NotTraceableError saying why.
    """
    if len(steps) > MOST:
        raise NotTraceableError(f"{len(steps)} steps would compile for long")
    if kind not in FLOATS:
        raise NotTraceableError(f"there is no loop for {kind}")
    for step in steps:
        if type(step.op) is not Sum:
            vector_code(step, kind)


def vector_code(step: Step, kind: str, kinds: Sequence[str] = ()) -> Callable[..., Vector]:
    """What a step computes of some elements of each source; `kinds` are those of sources and target, if they differ.

    Errors
        NotTraceableError naming a call that has no vector code.
    """
    name = as_expression(step.op, kind)
    if name is not None:
        return EXPRESSIONS[name]
    kinds, lanes = kinds or [kind] * (len(step.sources) + 1), lanes_of(kind)
    *sources, target = [Spec((lanes,), np.dtype(each), (itemsize(each),)) for each in kinds]
    made = traced(step.op, tuple(sources), (target,))
    calls = [expression(call, made, target.shape) for call in made.calls]
    code = functools.partial(carried_out, calls, made.results[0])
    return (lambda *sources: code(*map(contracted, sources))) if step.op.contracts else code


class Expression(NamedTuple):
    """A call as an expression: of operands that become `inside` first, with a result that becomes `kind`."""

    name: str
    inputs: Sequence[Any]
    inside: str
    kind: str
    out: int


def expression(call: Call, made: Trace, shape: tuple[int, ...]) -> Expression:
    """A call of a trace that treats each element alike, as code for vectors.

    Errors
        NotTraceableError naming it, where there is none.
    """
    inputs, target = elementwise_inputs(call, call.inputs), made.values[call.out]
    if not call.view and inputs is not None and call.name in KERNELS and target.shape == shape:
        name, inputs = as_numpy_does(KERNELS[call.name], inputs)
        kinds = [made.values[x.number].dtype.name if isinstance(x, Ref) else x for x in inputs]
        kind, choice = target.dtype.name, kinds[:1] if is_choice(name, 0) else ["bool"]
        inside = common_kind(name, kinds, kind, dict(call.named).get("dtype"))
        if choice == ["bool"] and {inside, kind} <= {*FLOATS, "bool"}:
            return Expression(name, inputs, inside, kind, call.out)  # type: ignore[arg-type]
    raise NotTraceableError(f"np.{call.name} has no vector code")


def carried_out(calls: Sequence[Expression], result: int, *sources: Vector) -> Vector:
    """The result of calls, each an expression."""
    values = dict(enumerate(sources))
    for name, inputs, inside, kind, out in calls:
        found = [values[x.number] if isinstance(x, Ref) else x for x in inputs]
        like = converted(next(x for x in found if isinstance(x, Vector)), inside)
        vectors = [x if isinstance(x, Vector) else like.like(like.lift(x)) for x in found]
        values[out] = applied(name, vectors, inside, kind)
    return values[result]


class Loop:
    """A compiled loop over some steps.

    `moving` are the values that lie in arrays, `single` those that are one number, sums among them. The code is called
    with the base of all offsets and with a row of words: the number of elements, and the offset of each value in
    `places`. If it goes by `rows`, first their number, then that of the elements of each, then how far the rows of each
    array are apart.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        moving: Sequence[int],
        single: Sequence[int],
        kind: str,
        rows: bool = False,
    ) -> None:
        given, made = given_and_made(steps)
        self.places, self.kind = [*moving, *single], kind

        def emit(builder: Any, base: Any, words: Any, step: Any) -> None:
            memory = vector.Memory(builder, base, words, lanes_of(kind))
            body = Body(memory, steps, self.places, kind, moving if rows else ())
            body.read = [v for v in moving if v in given]
            body.stored = [v for v in moving if v in made]
            body.numbers = {v: body.memory.number(body.offsets[v], kind) for v in single if v in given}
            body.emit()

        self.text = text_of("loop", emit, ())
        self.address = address_of_text(self.text, "loop")


compiled = functools.lru_cache(256)(Loop)


class Joined(NamedTuple):
    """Steps as one loop: the arrays that it reads and writes, single numbers with the sums among them, by value."""

    steps: tuple[Step, ...]
    moving: dict[int, Operand]
    single: dict[int, Operand]
    kind: str
    size: int
    by_rows: Loops | None = None  # where the elements of an array are not all in one row
    around: tuple[Pieces, ...] = ()  # steps before and after that it makes needless

    @property
    def covered(self) -> list[Step]:
        """All steps that need nothing else."""
        return [*self.steps, *[x.step for x in self.around]]

    def form(self) -> tuple[Any, ...]:
        """What loops have in common that share their code: the steps, with values numbered as they come."""
        values = dict.fromkeys(v for step in self.steps for v in (*step.sources, *step.targets))
        number = {v: i for i, v in enumerate(values)}

        def known(some: Iterable[int]) -> tuple[int, ...]:
            return tuple([number[v] for v in some])

        steps = tuple([Step(step.op, known(step.sources), known(step.targets)) for step in self.steps])
        return steps, known(self.moving), known(self.single), self.kind, self.by_rows is not None

    def rows(self, memory: Memory) -> list[Row]:
        """The instruction, or parts for threads. Sums are of parts that the size alone settles, added up in order."""
        loop, summed = compiled(*self.form()), [s.targets[0] for s in self.steps if type(s.op) is Sum]
        fixed = min(max(self.size // LEAST, 1), MOST_PARTS)
        count, least, length, apart = self.size, LINE, list[int](), [x.itemsize for x in self.moving.values()]
        if self.by_rows is not None:
            ((count, columns), (apart, _)), least = self.by_rows, 1
            length = [columns, *apart]
        parts = parted(count, least, fixed) if summed else shares(count, least, self.size, LEAST)
        summed = summed if len(parts) > 1 else []
        sums = {v: [memory.temporary(1, kind=self.kind) for _ in parts] for v in summed}
        rows: list[Row] = []
        for i, (first, last) in enumerate(parts):
            begun = zip(self.moving.values(), apart, strict=True)
            arrays = [(x.offset + first * by) % WORD for x, by in begun]
            numbers = [sums[v][i].offset if v in sums else x.offset for v, x in self.single.items()]
            rows.append([loop.address, last - first, *length, *arrays, *numbers])
        rows = noted(side_by_side(memory, rows), [*self.moving.values(), *self.single.values()])
        for v, places in sums.items():
            target = self.single[v]
            for so_far, place in zip([places[0], *[target] * len(parts)], places[1:], strict=False):
                rows += elementwise("add")(memory, None, [so_far, place], target) or []
        return rows


def given_and_made(steps: Sequence[Step]) -> tuple[set[int], set[int]]:
    """The values that steps take from outside, and those that they make; a gradient that is added to is both."""
    given: set[int] = set()
    made: set[int] = set()
    for step in steps:
        given.update(v for v in step.sources if v not in made)
        made.update(step.targets)
    return given, made


class Body:
    """Emits the code of a loop; see `Loop`. The arrays `in_rows` lie in rows."""

    def __init__(
        self, memory: vector.Memory, steps: Sequence[Step], places: Sequence[int], kind: str,
        in_rows: Sequence[int],
    ) -> None:  # fmt: skip
        self.builder, self.memory, self.steps, self.kind = memory.builder, memory, steps, kind
        self.rows = memory.take(1)[0] if in_rows else None
        self.size, *strides = memory.take(1 + len(in_rows))
        self.strides = dict(zip(in_rows, strides, strict=True))
        self.offsets = dict(zip(places, memory.take(len(places)), strict=True))
        self.read: list[int] = []
        self.stored: list[int] = []
        self.numbers: dict[int, Any] = {}
        self.totals = {step.targets[0]: Total(memory, kind) for step in steps if type(step.op) is Sum}

    def emit(self) -> None:
        """All rows, or the only one; then the sums."""
        b, begun = self.builder, self.offsets
        if self.rows is None:
            self.row()
        else:
            with loop(b, self.rows) as row:
                self.offsets = begun | {
                    v: self.memory.at(begun[v], row, by) for v, by in self.strides.items()
                }
                self.row()
        for v, total in self.totals.items():
            b.store(total.sum(), self.memory.pointer(begun[v], IN_MEMORY[self.kind]), align=1)

    def row(self) -> None:
        """A row by pairs of vectors, then what is left."""
        b, memory, lanes = self.builder, self.memory, self.memory.lanes
        pairs = b.udiv(self.size, I64(2 * lanes))
        chunk, chunks = pairs, I64(1)
        if self.totals:
            chunk, chunks = I64(CHUNK), b.udiv(b.add(pairs, I64(CHUNK - 1)), I64(CHUNK))
        with loop(b, chunks) as number:
            first = b.mul(number, chunk)
            with loop(b, smaller(b, b.sub(pairs, first), chunk)) as part:
                at = b.mul(b.add(first, part), I64(2 * lanes))
                self.vectors([at, b.add(at, I64(lanes))], None)
            self.collect()
        done = b.mul(pairs, I64(2 * lanes))
        with loop(b, b.udiv(b.add(b.sub(self.size, done), I64(lanes - 1)), I64(lanes))) as rest:
            at = b.add(done, b.mul(rest, I64(lanes)))
            self.vectors([at], memory.first(b.sub(self.size, at)))
        self.collect()

    def vectors(self, places: Sequence[Any], mask: Any) -> None:
        """So many elements from each place on, or those that the mask lets through.

        Step by step for all places: while one waits for what it needs, another goes on.
        """
        b, memory, size = self.builder, self.memory, I64(itemsize(self.kind))
        values: list[dict[int, Any]] = [
            self.numbers
            | {v: memory.load(memory.at(self.offsets[v], at, size), self.kind, mask) for v in self.read}
            for at in places
        ]
        for step in self.steps:
            target = step.targets[0]
            code = None if type(step.op) is Sum else vector_code(step, self.kind)
            for known in values:
                sources = [Vector(b, known[v]) for v in step.sources]
                if code is None:
                    value, total = sources[0].value, self.totals[target]
                    total.add(value if mask is None else b.select(mask, value, total.zero))
                else:
                    known[target] = code(*sources).value
        for at, known in zip(places, values, strict=True):
            for v in self.stored:
                memory.store(memory.at(self.offsets[v], at, size), known[v], self.kind, mask)

    def collect(self) -> None:
        """Partial sums join the totals."""
        for total in self.totals.values():
            total.collect()
