"""Instructions that run in one go, as one tape of words; large loops may be shared among threads."""

import itertools
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.run.interpreter import WIDTH, interpret
from tinygrad_lesson.run.operands import MOVABLE, PLACES, WORD, Memory, Row
from tinygrad_lesson.run.prefetch import fetch_ahead
from tinygrad_lesson.run.threads import Turn

STEP = np.uint64(0)
NOTHING = np.zeros((0, WIDTH), np.uint64)
REST = [(0,) * (WIDTH - n) for n in range(WIDTH + 1)]


class Segment:
    """Instructions that run in one go."""

    def __init__(self, tape: np.ndarray, memory: Memory) -> None:
        self.tape, self.base, self.origin = tape, memory.base, memory.origin
        self.places = np.nonzero(tape >> np.uint64(62) == 1)
        marked = tape[self.places] & np.uint64(MOVABLE - 1)
        self.numbers, self.within = marked >> np.uint64(PLACES), marked & np.uint64((1 << PLACES) - 1)
        self.move([start for start, _ in memory.movable])

    def move(self, addresses: Sequence[int]) -> None:
        """Let the movable arrays begin there."""
        if len(self.numbers):
            starts = np.array([(at - self.origin) // 4 % WORD for at in addresses], np.uint64)
            self.tape[self.places] = starts[self.numbers] + self.within

    def __call__(self) -> None:
        """Carry them out."""
        interpret(self.tape, self.base, STEP)


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
    for instructions, some in itertools.groupby(calls, lambda call: isinstance(call, list)):
        if instructions:
            rows = list(some)
            if ahead and not memory.movable:
                fetch_ahead(rows)
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
        part.tape = tape[start:end]
    return tape


def as_tape(rows: Sequence[Row]) -> np.ndarray:
    """Instructions as one array of unsigned words."""
    words = array("Q", [word for row in rows for word in (*row, *REST[len(row)])])  # quicker than np.array
    return np.frombuffer(words, np.uint64).reshape(len(rows), WIDTH)
