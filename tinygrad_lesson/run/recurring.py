"""Runs of elementwise steps that a plan has again and again, as a network written out step by step has: one loop each.

A loop is compiled in some hundredths of a second, so that only those are joined that recur. They share the code.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.fused import MOST, Joined, given_and_made, vector_code
from tinygrad_lesson.run.operands import FLOATS, Operand, apart, contiguous

OFTEN = 8  # runs that are alike
FEWEST = 3  # steps of a run
LEAST = 512  # elements; a loop over fewer is all beginning and end


def recurring(runner: Any, steps: Sequence[Step]) -> list[Joined]:
    """The runs among `steps` of which there are many."""
    groups = itertools.groupby(steps, functools.partial(treats_alike, runner))
    runs = [
        made(runner, some)
        for alike, some in ((a, list(g)) for a, g in groups)
        if alike and len(some) >= FEWEST
    ]
    found = [(run, run.form()) for run in runs if run is not None]
    often = Counter([form for _, form in found])
    return [run for run, form in found if often[form] >= OFTEN]


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


def made(runner: Any, steps: list[Step]) -> Joined | None:
    """These steps as one loop; None where one stores what another has yet to read elsewhere."""
    if len(steps) > MOST:
        return None
    found: dict[int, Operand] = {}
    for step in steps:
        found |= zip((*step.sources, *step.targets), operands_of(runner, step), strict=True)
    given, new = given_and_made(steps)
    inside = Counter(v for step in steps for v in step.sources)
    bound = {v for v in new if runner.plan.buffers[v].output or runner.plan.buffers[v].argument}
    stored = {v for v in new if v in bound or runner.readers[v] > inside[v]}
    moving = {v: x for v, x in found.items() if v in stored or (v in given and x.size > 1)}
    for v, (w, x) in itertools.product(stored, moving.items()):
        if v != w and (w in new or found[v].offset != x.offset) and not apart(found[v], x):
            return None
    single = {v: x for v, x in found.items() if v in given and x.size == 1}
    target = found[steps[0].targets[0]]
    return Joined(tuple(steps), moving, single, target.kind, target.size)
