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
from tinygrad_lesson.run.elements import loops_over
from tinygrad_lesson.run.fused import MOST, Joined, given_and_made, vector_code
from tinygrad_lesson.run.operands import FLOATS, Operand, apart, contiguous
from tinygrad_lesson.run.pieces import Pieces, aside, pieces

OFTEN = 8  # runs that are alike
FEWEST = 3  # steps of a run
LEAST = 512  # elements; a loop over fewer is all beginning and end


def recurring(runner: Any, steps: Sequence[Step], often: int = OFTEN, least: int = LEAST) -> list[Joined]:
    """The runs among `steps`, over at least so many elements, of which there are many."""
    ends = [0]
    runs = []
    for alike, group in itertools.groupby(steps, functools.partial(treats_alike, runner, least)):
        ends.append(ends[-1] + len(list(group)))
        if alike and ends[-1] - ends[-2] >= FEWEST:
            runs.append(joined(runner, steps, *ends[-2:]))
    found = [(run, run.form()) for run in runs if run is not None]
    counts = Counter([form for _, form in found])
    found = [(run, form) for run, form in found if counts[form] >= often]
    for run, _ in found:
        for x in run.around:
            if x.moved:
                runner.set_aside(*x.step.sources)
    return [run for run, _ in found]


def treats_alike(runner: Any, least: int, step: Step) -> tuple[Any, ...] | None:
    """Shape and element type of a step that treats each element of arrays in one row alike; None for others."""
    buffer = runner.plan.buffers[step.targets[0]]
    if not isinstance(step.op, Elementwise) or step.op.view or len(step.targets) != 1 or buffer.size < least:
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


def joined(runner: Any, steps: Sequence[Step], first: int, end: int) -> Joined | None:
    """These steps as one loop, that before and after too where these only take apart and put together."""
    before = pieces(runner, steps[first - 1]) if first else None
    after = pieces(runner, steps[end]) if end < len(steps) else None
    if before is not None and first > 1:
        before = aside(runner, steps[first - 2], before)
    around = [x for x in (before, after) if x is not None and len(x.parts) > 1]
    for some in (around, around[:1], around[1:]) if around else ():
        run = made(runner, steps[first:end], some)
        if run is not None:
            return run
    return made(runner, steps[first:end])


def made(runner: Any, steps: Sequence[Step], around: Sequence[Pieces] = ()) -> Joined | None:
    """These steps as one loop, with those `around`; None where one stores what another has yet to read elsewhere."""
    if len(steps) > MOST:
        return None
    found: dict[int, Operand] = {}
    for step in steps:
        found |= zip((*step.sources, *step.targets), operands_of(runner, step), strict=True)
    given, new = given_and_made(steps)
    inside = Counter(v for step in steps for v in step.sources)
    bound = {v for v in new if runner.plan.buffers[v].output or runner.plan.buffers[v].argument}
    stored = {v for v in new if v in bound or runner.readers[v] > inside[v]}
    wholes = dict[int, Operand]()
    for step, whole, parts, _ in around:
        inside.update(v for v in step.sources if v in parts)
        if not all(v in found and v not in bound and runner.readers[v] == inside[v] for v in parts):
            return None
        found |= parts
        wholes |= dict.fromkeys(parts, whole)
    moving = {v: x for v, x in found.items() if v in stored or (v in given and x.size > 1)}
    for v, (w, x) in itertools.product(stored, moving.items()):
        beside = v in wholes and w in new and wholes[v] == wholes.get(w)
        same = (
            v == w
            or beside
            or (w not in new and (found[v].offset, found[v].strides) == (x.offset, x.strides))
        )
        if not same and not apart(wholes.get(v, found[v]), wholes.get(w, x)):
            return None
    single = {v: x for v, x in found.items() if v in given and x.size == 1}
    target = found[steps[0].targets[0]]
    loops = loops_over(target.shape, *[x.strides for x in moving.values()])
    if len(loops.sizes) > 2 or set(loops.strides[-1]) != {target.itemsize}:
        return None
    by_rows = loops if len(loops.sizes) == 2 else None
    return Joined(tuple(steps), moving, single, target.kind, target.size, by_rows, tuple(around))
