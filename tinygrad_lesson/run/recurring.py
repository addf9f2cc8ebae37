"""Runs of elementwise steps that a plan has again and again, as a network written out step by step has: one loop each.

A loop is compiled in some hundredths of a second, so that only those are joined that recur. They share the code.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import NotTraceableError
from tinygrad_lesson.run.fused import MOST, Loop, given_and_made, vector_code
from tinygrad_lesson.run.operands import FLOATS, Operand, Row, apart, contiguous

OFTEN = 8  # runs that are alike
FEWEST = 3  # steps of a run
LEAST = 512  # elements; a loop over fewer is all beginning and end


class Form(NamedTuple):
    """What runs that are alike have in common: steps on values by number, those in arrays, single ones, their type."""

    steps: tuple[Step, ...]
    moving: tuple[int, ...]
    single: tuple[int, ...]
    kind: str


class Run(NamedTuple):
    """Steps side by side, the operands in the order of the numbers of the form."""

    steps: list[Step]
    operands: list[Operand]
    form: Form

    def row(self) -> Row:
        """The instruction."""
        loop = compiled(self.form)
        size = max(x.size for x in self.operands)
        (row,) = loop.rows(size, {number: x.offset for number, x in enumerate(self.operands)})
        return row


@functools.lru_cache(256)
def compiled(form: Form) -> Loop:
    """The loop for all runs of a form."""
    return Loop(*form)


def recurring(runner: Any, steps: Sequence[Step]) -> list[Run]:
    """The runs among `steps` of which there are many."""
    groups = itertools.groupby(steps, functools.partial(treats_alike, runner))
    runs = [
        made(runner, some)
        for alike, some in ((a, list(g)) for a, g in groups)
        if alike and len(some) >= FEWEST
    ]
    found = [run for run in runs if run is not None]
    often = Counter(run.form for run in found)
    return [run for run in found if often[run.form] >= OFTEN]


def treats_alike(runner: Any, step: Step) -> tuple[Any, ...] | None:
    """Shape and element type of a step that treats each element of arrays in one row alike; None for others."""
    buffer = runner.plan.buffers[step.targets[0]]
    if not isinstance(step.op, Elementwise) or step.op.view or len(step.targets) != 1 or buffer.size < LEAST:
        return None
    operands = operands_of(runner, step)
    if None in operands or buffer.owner != step.targets[0]:
        return None
    *sources, target = operands
    dense = all(x.size == 1 or (x.shape == target.shape and contiguous(x)) for x in operands)
    if not dense or target.kind not in FLOATS or {x.kind for x in sources} != {target.kind}:
        return None
    try:
        vector_code(step, target.kind)
    except NotTraceableError:
        return None
    return target.shape, target.kind


def operands_of(runner: Any, step: Step) -> list[Any]:
    """Sources and the target; a number takes the type of the target."""
    target = runner.operand(step.targets[0])
    values = [runner.plan.buffers[v].value for v in step.sources]
    given = [
        runner.operand(v) if value is None else target and runner.memory.number(value, target.kind)
        for v, value in zip(step.sources, values, strict=True)
    ]
    return [*given, target]


def made(runner: Any, steps: list[Step]) -> Run | None:
    """The run of these steps; None where one stores what another has yet to read elsewhere."""
    if len(steps) > MOST:
        return None
    found: dict[int, Operand] = {}
    for step in steps:
        found |= zip((*step.sources, *step.targets), operands_of(runner, step), strict=True)
    number = {v: i for i, v in enumerate(found)}
    given, new = given_and_made(steps)
    inside = Counter(v for step in steps for v in step.sources)
    bound = {v for v in new if runner.plan.buffers[v].output or runner.plan.buffers[v].argument}
    stored = [v for v in new if v in bound or runner.readers[v] > inside[v]]
    kept = [v for v in found if v in stored or (v in given and found[v].size > 1)]
    for v, w in itertools.product(stored, kept):
        if (
            v != w
            and not (w not in new and found[v].offset == found[w].offset)
            and not apart(found[v], found[w])
        ):
            return None
    single = tuple(number[v] for v in found if v in given and found[v].size == 1)
    by_number = tuple(
        Step(step.op, tuple(number[v] for v in step.sources), tuple(number[v] for v in step.targets))
        for step in steps
    )
    form = Form(by_number, tuple(number[v] for v in kept), single, next(iter(found.values())).kind)
    return Run(steps, list(found.values()), form)
