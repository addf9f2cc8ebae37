"""A plan as calls on numbered arrays: the form in which it is carried out, printed and written to a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.plan.fusion import members
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.memory import rounded
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Call, Ref, Spec, renumbered, traced


class Array(NamedTuple):
    """A numbered array: bound under a name, a number, at an offset in the arena, or a view of array `of`.

    A view begins `start` elements after the first of `of`; strides count elements too.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str = ""
    value: float | None = None
    offset: int | None = None  # in bytes
    of: int | None = None
    start: int = 0
    strides: tuple[int, ...] | None = None  # None: row by row


class Line(NamedTuple):
    """The calls of one step: what its op is, and what its node is called."""

    op: str
    name: str
    calls: tuple[Call, ...]
    untraced: str = ""  # why the step runs its own `forward` instead
    nested: Nested | None = None  # what it does instead of calls


class Nested(NamedTuple):
    """Programs that a step carries out, each in its forward part, on arrays of the program around it.

    Inputs are bound as input 0, input 1, ..., results as output 0, ... A "scan" carries out its one program `length`
    times. Of its inputs the last `scanned` have a row for each step, those before are `carried` states: the first
    results are the next ones, and in the end the last ones; the other results are rows of the outputs. `reverse` goes
    from the last row to the first. A "cond" carries out the first program where its first input is not 0, else the
    second; that input is none of theirs. `held` are arrays that are bound to the same elements always.
    """

    kind: str
    programs: tuple[Program, ...]
    held: tuple[dict[str, Any], ...]
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]
    length: int = 1
    carried: int = 0
    scanned: int = 0
    reverse: bool = False


class Program(NamedTuple):
    """The calls of a plan, and the arrays that they work on."""

    arrays: list[Array]
    setup: list[Line]
    forward: list[Line]
    backward: list[Line]
    update: list[Line]
    outputs: dict[str, int]
    arena: int  # bytes, those between the calls of a step among them


def program(plan: Any) -> Program:
    """The calls of a plan."""
    return Lowering(plan).program()


class Lowering:
    """Numbers the arrays of a plan; what lies between a step's calls lies behind its arena."""

    counted = False  # whether random ops draw from a counting generator, in calls

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.arena = rounded(plan.arena)
        self.arrays: list[Array] = []
        for v, b in enumerate(plan.buffers):
            place = b.offset
            if b.block:  # the reference takes the whole of what is there block by block elsewhere
                place, self.arena = self.arena, rounded(self.arena + math.prod(b.shape) * b.dtype.itemsize)
            array = Array(tuple(b.shape), b.dtype, b.argument or b.output, b.value, place)
            self.arrays.append(
                array if b.owner == v or not b.placed else array._replace(offset=None, of=b.owner)
            )
        self.end = self.arena

    def program(self) -> Program:
        """All parts."""
        plan = self.plan
        parts = [plan.setup, plan.forward, plan.backward, plan.update]
        told = [[line for step in part for line in self.lines(step)] for part in parts]
        return Program(self.arrays, told[0], told[1], told[2], told[3], plan.outputs, self.end)

    def lines(self, step: Step) -> list[Line]:
        """A step, or the steps that are joined in it."""
        return [self.line(member) for member in members([step])]

    def spec(self, v: int) -> Any:
        """What a trace has to know of an array; of a number the number."""
        array = self.arrays[v]
        if array.value is not None:
            return array.value
        strides = array.strides or row_major(array.shape)
        return Spec(array.shape, array.dtype, tuple([s * array.dtype.itemsize for s in strides]))

    def line(self, step: Step) -> Line:
        """The calls of one step; its views, and what lies between its calls, get numbers of their own."""
        op = step.op
        if op.nested:
            return Line(op.label(), step.name, (), nested=self.nested(step))
        sources = [self.spec(v) for v in step.sources]
        views = [self.arrays[v].of is not None for v in step.targets]
        targets = [None if view else self.spec(v) for v, view in zip(step.targets, views, strict=True)]
        if op.view and not isinstance(sources[0], Spec):
            return Line(op.label(), step.name, (), "is a view of a number")
        try:
            made = traced(op, tuple(sources), tuple(targets), counted=self.counted)
        except NotTraceableError as error:
            return Line(op.label(), step.name, (), str(error))
        numbers = [v for v, x in zip(step.sources, sources, strict=True) if isinstance(x, Spec)]
        numbers += [v for v, view in zip(step.targets, views, strict=True) if not view]
        given, at = len(numbers), self.arena
        for n, (spec, (root, start)) in enumerate(
            zip(made.values[given:], made.roots[given:], strict=True), given
        ):
            numbers.append(len(self.arrays))
            strides = tuple([s // spec.dtype.itemsize for s in spec.strides])
            if root != n:
                self.arrays.append(self.view(numbers[root], spec, start // spec.dtype.itemsize, strides))
                continue
            size = math.prod(spec.shape) * spec.dtype.itemsize
            kept = n in made.results  # what is given on has a place of its own
            self.arrays.append(
                Array(spec.shape, spec.dtype, offset=self.arena if kept else at, strides=strides)
            )
            at = rounded(at + size)
            self.arena = at if kept else self.arena
        self.end = max(self.end, at)
        for v, view, n in zip(step.targets, views, made.results, strict=True):
            if view:
                self.arrays[v] = self.arrays[numbers[n]]
        return Line(
            op.label(),
            step.name,
            tuple([renumbered(call, numbers.__getitem__) for call in made.calls if not call.view]),
        )

    def nested(self, step: Step) -> Nested:
        """The programs of an op that holds plans."""
        op: Any = step.op
        kind, plans, settings = op.plans()
        known = [(v, self.arrays[v].value) for v in step.sources]
        sources = tuple([Ref(v) if number is None else number for v, number in known])
        programs, held = (tuple(part) for part in zip(*[(program(p), h) for p, h in plans], strict=True))
        return Nested(kind, programs, held, sources, step.targets, **settings)

    def view(self, v: int, spec: Spec, start: int, strides: tuple[int, ...]) -> Array:
        """A view of array `v`, which may be a view itself."""
        root = self.arrays[v]
        if root.of is not None:
            v, start = root.of, root.start + start
        return Array(spec.shape, spec.dtype, of=v, start=start, strides=strides)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of an array whose elements lie row by row."""
    return tuple([math.prod(shape[a + 1 :]) for a in range(len(shape))])
