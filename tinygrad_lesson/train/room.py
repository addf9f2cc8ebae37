"""What a training takes on a device, allocated at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context
from tinygrad_lesson.devices import Room, apart, on
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.mxnet.bound import room_for_arrays
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.plan.update import names_of_numbers, update_plan
from tinygrad_lesson.run.gpu import arena_of, largest
from tinygrad_lesson.run.steps import LEAST, rows_of_ring
from tinygrad_lesson.train.optimizer import all_multipliers


def room_of_training(
    bound: Executor,
    plan: Plan,
    optimizer: Any,
    nodes: Sequence[Node],
    inputs: Sequence[str],
    batches: int,
    place: Context,
) -> Room:
    """Room on a device for what an executor like `bound`, which lies on the host, and its training need there.

    `nodes` are the graph that the optimizer looks at, `inputs` the arguments to which `batches` are brought.

    Errors
        BindError that says how many bytes were asked for, and what for.
    """
    needs = sizes(bound, plan, optimizer, nodes)
    with on(place) as module:
        free = int(module.cuda.runtime.memGetInfo()[0]) - sum(map(apart, chain(*needs.values())))
    needs["batches"] = ring(bound, inputs, batches, free)
    told = ", ".join(f"{what} {sum(part)}" for what, part in needs.items() if part)
    with room_for_arrays("fit"):
        return Room(place, [*chain(*needs.values())], f"{told} (of which {largest(plan)}),")


def sizes(bound: Executor, plan: Plan, optimizer: Any, nodes: Sequence[Node]) -> dict[str, list[int]]:
    """The bytes of each array but the batches, by what they are for."""
    flat, others = bound.flat_parameters, {**bound.arguments, **bound.states}
    found = {
        "parameters": [x.nbytes for x in flat.buffers.values()],
        "gradients": [x.nbytes for x in flat.buffers.values()],
        "inputs, states and outputs": [x.nbytes for name, x in others.items() if name not in flat.arrays]
        + [x.nbytes for x in bound.blank],
    }
    arenas = [arena_of(plan)]
    for weight in flat.buffers.values():
        found.setdefault("moments", []).extend([weight.nbytes] * optimizer.moments())
        arenas.append(arena_of(plan_of_rule(optimizer, weight, flat.segments, nodes)))
        numbers = len(names_of_numbers(optimizer))
        noted = [LEAST * n * weight.itemsize for n in (1, len(flat.segments), numbers)]
        found.setdefault("numbers of the steps", []).extend([weight.itemsize] * numbers + noted + [16])
    return {**found, "an arena": arenas}


def plan_of_rule(
    optimizer: Any, weight: np.ndarray, segments: Mapping[str, slice], nodes: Sequence[Node]
) -> Plan:
    """The plan of an optimizer's step, as the updater will ask for it."""
    rates, decays = all_multipliers(optimizer, list(segments), nodes)
    scaled = len(set(rates)) > 1, len(set(decays)) > 1
    parts = tuple([(part.start, part.stop) for part in segments.values()])
    return update_plan(optimizer, weight.size, weight.dtype, scaled, parts, tuple(segments))


def ring(bound: Executor, inputs: Sequence[str], batches: int, free: int) -> list[int]:
    """The bytes of the batches that lie on the device at a time, by input."""
    each = [bound.arguments[name].nbytes for name in inputs]
    rows = rows_of_ring(free, sum(each), batches)[0] if batches else 0
    return [rows * n for n in each]
