"""The meaning of a plan: its calls, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.shapes import size_of
from tinygrad_lesson.plan.calls import Array, Line, Program, row_major
from tinygrad_lesson.plan.trace import Ref
from tinygrad_lesson.run.calls import function_of


def run(lines: Sequence[Line], arrays: Sequence[Any]) -> None:
    """Carry out the calls of `lines` on the arrays of a program."""

    def array(x: Any) -> Any:
        return arrays[x.number] if isinstance(x, Ref) else tuple(map(array, x)) if isinstance(x, tuple) else x

    for call in (call for line in lines for call in line.calls):
        y = function_of(call.name)(*array(call.inputs), **{key: array(x) for key, x in call.named})
        arrays[call.out][...] = y if call.part is None else y[call.part]


def bound(program: Program, named: Mapping[str, np.ndarray]) -> list[Any]:
    """The arrays of a program: those with a name are given, row by row; the others lie in an arena."""
    arena = np.zeros(program.arena, np.uint8)
    flat: dict[int, np.ndarray] = {}  # the memory of those that are no views
    for v, a in enumerate(program.arrays):
        if a.name:
            flat[v] = named[a.name].reshape(-1)
        elif a.offset is not None:
            flat[v] = arena[a.offset : a.offset + size_of(a.shape) * a.dtype.itemsize].view(a.dtype)
    return [
        named[a.name]
        if a.name
        else a.value
        if a.value is not None
        else strided(flat[v if a.of is None else a.of], a)
        for v, a in enumerate(program.arrays)
    ]


def strided(flat: np.ndarray, a: Array) -> np.ndarray:
    """An array like `a` in the memory of a flat one."""
    strides = [s * a.dtype.itemsize for s in a.strides or row_major(a.shape)]
    return np.lib.stride_tricks.as_strided(flat[a.start :], a.shape, strides)
