"""Steps that only copy parts of an array, or arrays into one: where the copies lie, so that loops need none.

A network written out step by step takes gates apart, and puts their gradients together again, in each of its steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Call, Ref, Trace, traced
from tinygrad_lesson.run.lower import KERNELS, elementwise_inputs, placed, resolved
from tinygrad_lesson.run.operands import WORD, Operand, spec_like


class Pieces(NamedTuple):
    """A step, the array that it takes apart or puts together, and where in that each part lies, by its buffer.

    `moved` says that the array lies aside, and not where the plan has it.
    """

    step: Step
    whole: Operand
    parts: dict[int, Operand]
    moved: bool = False


def pieces(runner: Any, step: Step) -> Pieces | None:
    """What a step takes apart or puts together; None for a step that does something else."""
    values = *step.sources, *step.targets
    operands = [runner.operand(v) for v in values]
    if None in operands or len({x.kind for x in operands}) != 1:
        return None
    specs, count = tuple(map(spec_like, operands)), len(step.sources)
    try:
        made = traced(step.op, specs[:count], specs[count:])
    except NotTraceableError:
        return None
    calls = [call for call in made.calls if not call.view]
    apart = count == 1
    found = taken_apart(made, calls, operands) if apart else put_together(calls, operands)
    ends, whole = (step.targets, operands[0]) if apart else (step.sources, operands[-1])
    parts = {values[n]: x for n, x in found}
    return Pieces(step, whole, parts) if found and parts.keys() == set(ends) else None


def taken_apart(made: Trace, calls: Sequence[Call], operands: Sequence[Operand]) -> list[tuple[int, Operand]]:
    """The numbers of the targets, each with the part of the source of which it is a copy; none if one is none."""
    found = []
    for call in calls:
        if KERNELS.get(call.name) != "positive":
            return []
        (x,) = elementwise_inputs(call, call.inputs) or (None,)
        if type(x) is not Ref or made.roots[x.number][0] != 0:
            return []
        spec, at = made.values[x.number], operands[0].offset + made.roots[x.number][1]
        strides = tuple([s % WORD for s in spec.strides])
        found.append((call.out, Operand(at % WORD, spec.shape, strides, operands[0].kind)))
    return found


def put_together(calls: Sequence[Call], operands: Sequence[Operand]) -> list[tuple[int, Operand]]:
    """The numbers of the sources, each with the part of the target where it goes; none if it is no such step."""
    if [call.name for call in calls] != ["concatenate"]:
        return []
    (call,) = calls
    parts = placed(call, resolved(call.inputs, operands, {}), operands[-1]) or []
    return [(ref.number, part) for ref, (_, part) in zip(call.inputs[0], parts, strict=False)]


def aside(runner: Any, maker: Step, taken: Pieces) -> Pieces:
    """The same with its array aside, if it is made by the step before and for this one alone.

    The plan has room for what the loop stores where the array was, since it has been taken apart by then.
    """
    (v,) = taken.step.sources
    if maker.targets != (v,) or maker.op.view or runner.readers[v] != 1 or not runner.plan.buffers[v].placed:
        return taken
    place = runner.memory.operand(runner.place_aside(v))
    by = place.offset - taken.whole.offset
    parts = {n: x._replace(offset=(x.offset + by) % WORD) for n, x in taken.parts.items()}
    return Pieces(taken.step, place, parts, moved=True)
