"""A tape carried out many times: the arrays that its instructions work on move on by a row from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.run.operands import Memory, address
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import loops, machine

AT_ONCE = 4096  # steps that are carried out in one call: between two, Ctrl-C may come


class Track(NamedTuple):
    """Where an array lies in the first step, how many bytes further on in the next, and then: there or back again."""

    start: int
    stride: int = 0
    turns: bool = False


class Rounds:
    """The instructions of some segments, and one that moves the words which tell where movable arrays are."""

    way = "all steps as one tape of instructions"

    def __init__(self, parts: Sequence[Segment], memory: Memory, moving: Sequence[bool]) -> None:
        ends = np.cumsum([0, *[len(part.tape) for part in parts]])
        self.places = np.concatenate([part.places + end for part, end in zip(parts, ends, strict=False)])
        self.numbers = np.concatenate([part.numbers for part in parts]).astype(np.int64)
        self.within = np.concatenate([part.within for part in parts]).astype(np.int64)
        found = np.flatnonzero(np.array(moving, bool)[self.numbers])
        self.moved = self.numbers[found]
        self.table = np.zeros((len(found), 3), np.int64)
        last = [machine.address(loops.advanced), memory.offset(self.table), len(found)]
        self.segment = Segment(np.concatenate([*[part.tape for part in parts], as_tape([last])]), memory)
        self.tape = self.segment.tape.view(np.int64)
        self.origin = memory.origin
        self.table[:, 0] = self.tape.ctypes.data - self.origin + 8 * self.places[found]

    def __call__(self, tracks: Mapping[str, Track], count: int) -> None:
        """So many steps; there is a track for each movable array."""
        starts, strides, turns = (np.array(column, np.int64) for column in zip(*tracks.values(), strict=True))
        self.tape[self.places] = starts[self.numbers] - self.origin + self.within
        self.table[:, 1], self.table[:, 2] = strides[self.moved], 1 - 2 * turns[self.moved]
        words = self.segment.words
        for first in range(0, count, AT_ONCE):
            words[2:] = first, min(count, first + AT_ONCE)
            self.segment()


def states_of(inputs: int, carried: int, scanned: int) -> dict[str, str]:
    """The arrays that hold states, and those that get the next ones: see `NumpyRunner.loop`."""
    begin = inputs - scanned - carried
    return {f"input {begin + i}": f"output {i}" for i in range(carried)}


def tracks_of(
    runner: Any, order: range, given: Sequence[np.ndarray], carried: int, scanned: int, rows: Sequence[Any]
) -> dict[str, Track]:
    """Where the arrays of a loop are: see `NumpyRunner.loop`. States lie in two places in turn."""
    found: dict[str, Track] = {}
    end = len(given) - scanned
    first = order[0] if len(order) else 0
    for i, x in enumerate(given[: end - carried]):
        found[f"input {i}"] = Track(address(x))
    for names in states_of(len(given), carried, scanned).items():
        here, there = (address(runner.arrays[name]) for name in names)
        found |= {names[0]: Track(here, there - here, True), names[1]: Track(there, here - there, True)}
    for side, arrays, begin in (("input", given[end:], end), ("output", rows, carried)):
        for i, x in enumerate(arrays, begin):
            stride = x.nbytes // max(1, len(x))
            found[f"{side} {i}"] = Track(address(x) + first * stride, stride * order.step)
    return {name: found.get(name, Track(address(x))) for name, x in runner.arrays.items()}
