"""A tape carried out many times: the arrays that its instructions work on move on by a row from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.run.operands import Memory, address
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import loops, machine

AT_ONCE = 4096  # steps that are carried out in one call: between two, Ctrl-C may come


class Tracks:
    """Where the arrays of a loop lie in the first step, and how many bytes further on in the next.

    A state lies in two places in turn: that of the input and that of the result, `turns` there and back again.
    """

    def __init__(self, runner: Any, inputs: int, carried: int, scanned: int) -> None:
        names, begin, end = list(runner.arrays), inputs - scanned - carried, inputs - scanned
        where, sizes = {name: i for i, name in enumerate(names)}, [x.nbytes for x in runner.arrays.values()]
        self.home = np.array([address(x) for x in runner.arrays.values()], np.int64)
        self.seen = [(k, where[f"input {k}"]) for k in range(begin)]
        self.read = [(k, i, sizes[i]) for k, i in ((k, where[f"input {k}"]) for k in range(end, inputs))]
        results = sum(name.startswith("output ") for name in names)
        made = [where[f"output {k}"] for k in range(carried, results)]
        self.written = [(k, i, sizes[i]) for k, i in enumerate(made)]
        self.turns = np.zeros(len(names), bool)
        rows = np.zeros(len(names), np.int64)
        for _, i, size in (*self.read, *self.written):
            rows[i] = size
        turned = np.zeros(len(names), np.int64)
        for here, there in states_of(inputs, carried, scanned).items():
            pair = [where[here], where[there]]
            self.turns[pair] = True
            turned[pair] = self.home[pair[::-1]] - self.home[pair]
        self.strides = {1: turned + rows, -1: turned - rows}

    def at(self, order: range, given: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> Any:
        """Both, for these arrays: see `NumpyRunner.loop`."""
        starts, first = self.home.copy(), order[0] if order else 0
        for k, i in self.seen:
            starts[i] = address(given[k])
        for arrays, tracks in ((given, self.read), (rows, self.written)):
            for k, i, size in tracks:
                starts[i] = address(arrays[k]) + first * size
        return starts, self.strides[order.step]


class Rounds:
    """The instructions of some segments, and one that moves the words which tell where movable arrays are.

    `move` tells which of these do, `turns` which go there and back again.
    """

    way = "all steps as one tape of instructions"

    def __init__(self, parts: Sequence[Segment], memory: Memory, turns: np.ndarray, move: np.ndarray) -> None:
        ends = np.cumsum([0, *[len(part.tape) for part in parts]])
        self.places = np.concatenate([part.places + end for part, end in zip(parts, ends, strict=False)])
        self.numbers = np.concatenate([part.numbers for part in parts]).astype(np.int64)
        self.within = np.concatenate([part.within for part in parts]).astype(np.int64)
        found = np.flatnonzero(move[self.numbers])
        self.moved = self.numbers[found]
        self.signs = 1 - 2 * turns[self.moved]
        self.table = np.zeros((len(found), 3), np.int64)
        last = [machine.address(loops.advanced), memory.offset(self.table), len(found)]
        self.segment = Segment(np.concatenate([*[part.tape for part in parts], as_tape([last])]), memory)
        self.tape = self.segment.tape.view(np.int64)
        self.table[:, 0] = self.tape.ctypes.data + 8 * self.places[found]

    def __call__(self, starts: np.ndarray, strides: np.ndarray, count: int) -> None:
        """So many steps; `starts` tells where each movable array is, `strides` how far it moves."""
        self.tape[self.places] = starts[self.numbers] + self.within
        self.table[:, 1], self.table[:, 2] = strides[self.moved], self.signs
        words = self.segment.words
        for first in range(0, count, AT_ONCE):
            words[2:4] = first, min(count, first + AT_ONCE)
            self.segment()


def states_of(inputs: int, carried: int, scanned: int) -> dict[str, str]:
    """The arrays that hold states, and those that get the next ones: see `NumpyRunner.loop`."""
    begin = inputs - scanned - carried
    return {f"input {begin + i}": f"output {i}" for i in range(carried)}
