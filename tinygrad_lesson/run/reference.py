"""The meaning of a plan: its calls, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.shapes import size_of
from tinygrad_lesson.plan.calls import Array, Line, Nested, Program, row_major
from tinygrad_lesson.plan.trace import Ref
from tinygrad_lesson.run.calls import function_of


def run(lines: Sequence[Line], arrays: Sequence[Any]) -> None:
    """Carry out the calls of `lines` on the arrays of a program."""

    def array(x: Any) -> Any:
        return arrays[x.number] if isinstance(x, Ref) else tuple(map(array, x)) if isinstance(x, tuple) else x

    for line in lines:
        for call in line.calls:
            y = function_of(call.name)(*array(call.inputs), **{key: array(x) for key, x in call.named})
            arrays[call.out][...] = y if call.part is None else y[call.part]
        if line.nested is not None:
            carry_out(line.nested, array(line.nested.inputs), [arrays[v] for v in line.nested.outputs])


def carry_out(step: Nested, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """A loop, or a choice: see `Nested`."""
    if step.kind == "cond":
        one = 0 if np.asarray(inputs[0]).item() else 1
        for place, y in zip(outputs, results(step, one, inputs[1:]), strict=True):
            place[...] = y
        return
    end = len(inputs) - step.scanned
    begin, states = end - step.carried, list(inputs[end - step.carried : end])
    for i in range(step.length)[:: -1 if step.reverse else 1]:
        found = results(step, 0, [*inputs[:begin], *states, *[x[i] for x in inputs[end:]]])
        states = found[: step.carried]
        for place, y in zip(outputs[step.carried :], found[step.carried :], strict=True):
            place[i] = y
    for place, y in zip(outputs, states, strict=False):
        place[...] = y


def results(step: Nested, number: int, inputs: Sequence[Any]) -> list[Any]:
    """What a program gives for inputs."""
    program = step.programs[number]
    named = {a.name: np.zeros(a.shape, a.dtype) for a in program.arrays if a.name}
    given = {f"input {i}": x for i, x in enumerate(inputs)} | step.held[number]
    for name in named.keys() & given.keys():
        named[name][...] = given[name]
    arrays = bound(program, named)
    for part in (program.setup, program.forward):
        run(part, arrays)
    return [arrays[v] for v in program.outputs.values()]


def bound(program: Program, named: Mapping[str, np.ndarray]) -> list[Any]:
    """The arrays of a program, those without a name in new memory."""
    return arrays_of(program.arrays, named, np.zeros(program.arena, np.uint8), np)


def arrays_of(arrays: Sequence[Array], named: Mapping[str, Any], arena: Any, xp: Any) -> list[Any]:
    """The arrays of a plan: those with a name are given, row by row; the others are numbers, or lie in an arena.

    A view of a number is None.
    """
    flat: dict[int, Any] = {}  # the memory of those that are no views
    for v, a in enumerate(arrays):
        if a.name:
            flat[v] = named[a.name].reshape(-1)
        elif a.offset is not None:
            flat[v] = arena[a.offset : a.offset + size_of(a.shape) * a.dtype.itemsize].view(a.dtype)

    def made(v: int, a: Array) -> Any:
        if a.name or a.value is not None:
            return named[a.name] if a.name else a.value
        root = flat.get(v if a.of is None else a.of)
        return None if root is None else strided(xp, root, a)

    return [made(v, a) for v, a in enumerate(arrays)]


def strided(xp: Any, flat: Any, a: Array) -> Any:
    """An array like `a` in the memory of a flat one."""
    strides = [s * a.dtype.itemsize for s in a.strides or row_major(a.shape)]
    return xp.lib.stride_tricks.as_strided(flat[a.start :], a.shape, strides)
