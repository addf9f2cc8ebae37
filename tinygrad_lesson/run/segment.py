"""Instructions that run in one go, as one tape of words; large loops may be shared among threads."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.run.operands import MOVABLE, PLACES, WORD, Memory, Row, Shared
from tinygrad_lesson.run.prefetch import fetch_ahead
from tinygrad_lesson.run.tape.machine import NAMES, runner
from tinygrad_lesson.run.threads import Turn

NOTHING = np.zeros(0, np.uint64)


class Segment:
    """Instructions that run in one go."""

    def __init__(self, tape: np.ndarray, memory: Memory) -> None:
        self.memory, self.run = memory, runner()
        self.place(tape)
        self.places = np.nonzero(tape >> np.uint64(62) == 1)[0]
        marked = tape[self.places] & np.uint64(MOVABLE - 1)
        self.numbers, self.within = marked >> np.uint64(PLACES), marked & np.uint64((1 << PLACES) - 1)
        self.move([start for start, _ in memory.movable])

    def place(self, tape: np.ndarray) -> None:
        """Let the instructions stand there."""
        self.tape = tape
        begin = tape.ctypes.data
        self.words = np.array([begin, begin + tape.nbytes, 0, 1], np.uint64)
        self.arguments = self.memory.origin, self.words.ctypes.data, 0

    def move(self, addresses: Sequence[int]) -> None:
        """Let the movable arrays begin there."""
        if len(self.numbers):
            starts = np.array([(at - self.memory.origin) % WORD for at in addresses], np.uint64)
            self.tape[self.places] = starts[self.numbers] + self.within

    def __call__(self) -> None:
        """Carry them out."""
        self.run(*self.arguments)


class ParallelSegments:
    """Stretches that run side by side, each in a thread of its own."""

    def __init__(self, parts: Sequence[Segment]) -> None:
        self.parts = parts

    def move(self, addresses: Sequence[int]) -> None:
        """Let the movable arrays begin there."""
        for part in self.parts:
            part.move(addresses)

    def __call__(self) -> None:
        """Carry them out; whatever ends this, no thread still works for it when it has ended."""
        turn = Turn(self.parts[1:])
        try:
            turn.begin()
            self.parts[0]()
            turn.finish()
        finally:
            turn.close()


def segments(calls: Sequence[Any], memory: Memory, *, ahead: bool = True) -> list[Any]:
    """Neighbouring instructions joined into stretches, which fetch `ahead` what lies far away."""
    joined: list[Any] = []
    for kind, some in itertools.groupby(
        calls, lambda call: isinstance(call, list) + isinstance(call, Shared)
    ):
        if kind == 2:
            joined += [
                ParallelSegments([Segment(as_tape([row]), memory) for row in call.parts]) for call in some
            ]
        elif kind:
            rows = list(some)
            if ahead and not memory.movable:
                rows = fetch_ahead(rows)
            joined.append(Segment(as_tape(rows), memory))
        else:
            joined += some
    return joined


def joined(parts: Sequence[Segment]) -> np.ndarray:
    """The tapes of all stretches as one, of which each has its part."""
    tape = np.concatenate([NOTHING, *[part.tape for part in parts]])
    end = 0
    for part in parts:
        start, end = end, end + len(part.tape)
        part.place(tape[start:end])
    return tape


def as_tape(rows: Sequence[Row]) -> np.ndarray:
    """Instructions one after the other: the address of a kernel, the words to the next instruction, its own words."""
    words = array(
        "Q", [word for row in rows for word in (row[0], len(row) + 1, *row[1:])]
    )  # quicker than np.array
    return np.frombuffer(words, np.uint64)


def told(tape: np.ndarray) -> list[str]:
    """The names of the kernels that a tape calls."""
    names, at = [], 0
    while at < len(tape):
        names.append(NAMES[int(tape[at])])
        at += int(tape[at + 1])
    return names


def run_steps(rows: Sequence[np.ndarray], memory: Memory, steps: int) -> None:
    """Carry out some tapes one after the other, all of them so many times."""
    segment = Segment(np.concatenate(rows), memory)
    segment.words[3] = steps
    segment()
