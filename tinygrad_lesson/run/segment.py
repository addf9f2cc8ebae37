"""Instructions that run in one go, as one tape of words."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_lesson.run.operands import MOVABLE, PLACES, Memory, Row
from tinygrad_lesson.run.prefetch import fetch_ahead
from tinygrad_lesson.run.tape import sharing
from tinygrad_lesson.run.tape.machine import NAMES, address, runner
from tinygrad_lesson.run.threads import ask, helpers

NOTHING = np.zeros(0, np.uint64)


class Segment:
    """Instructions that run in one go. Other threads are asked to help where there is work for several."""

    def __init__(self, tape: np.ndarray, memory: Memory) -> None:
        self.memory, self.run, self.words = memory, runner(), np.array([0, 0, 0, 1, 0], np.uint64)
        self.arguments = 0, self.words.ctypes.data, 0
        self.place(tape)
        self.places = np.nonzero(tape >> np.uint64(62) == 1)[0]
        marked = tape[self.places] & np.uint64(MOVABLE - 1)
        self.numbers, self.within = marked >> np.uint64(PLACES), marked & np.uint64((1 << PLACES) - 1)
        self.move([start for start, _ in memory.movable])
        self.helpers = min(helpers(), most_parts(tape) - 1) if "board" in vars(memory) else 0
        self.watched: Any = None

    def place(self, tape: np.ndarray) -> None:
        """Let the instructions stand there."""
        self.tape = tape
        self.words[:2] = tape.ctypes.data, tape.ctypes.data + tape.nbytes

    def move(self, addresses: Sequence[int]) -> None:
        """Let the movable arrays begin there."""
        if len(self.numbers):
            self.tape[self.places] = np.array(addresses, np.uint64)[self.numbers] + self.within

    @cached_property
    def help(self) -> Segment:
        """What another thread carries out meanwhile."""
        row = [address(sharing.helping), self.memory.board, self.words.ctypes.data + 8 * 4]
        made = Segment(as_tape([row]), self.memory)
        made.watched = self.words  # whoever comes late looks there
        return made

    def __call__(self) -> None:
        """Carry them out."""
        if self.helpers:
            ask(self.help, self.helpers)
        self.run(*self.arguments)


def segments(calls: Sequence[Any], memory: Memory, *, ahead: bool = True) -> list[Any]:
    """Neighbouring instructions joined into stretches, which fetch `ahead` what lies far away."""
    joined: list[Any] = []
    for is_row, some in itertools.groupby(calls, lambda call: isinstance(call, list)):
        if is_row:
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


def words_of(rows: Sequence[Row]) -> list[int]:
    """Instructions one after the other: the address of a kernel, the words to the next instruction, its own words."""
    return [word for row in rows for word in (row[0], len(row) + 1, *row[1:])]


def as_tape(rows: Sequence[Row]) -> np.ndarray:
    """Instructions as words of a tape."""
    return np.frombuffer(array("Q", words_of(rows)), np.uint64)  # quicker than np.array


def side_by_side(memory: Memory, parts: Sequence[Row]) -> list[Row]:
    """One instruction that carries out several, in any order, by as many threads as have time."""
    if len(parts) < 2:
        return list(parts)
    return [[address(sharing.shared), memory.board, len(parts), *words_of(parts)]]


def most_parts(tape: np.ndarray) -> int:
    """The most instructions that one of a tape puts up for threads; 1 if there is none that does."""
    found = np.flatnonzero(tape == np.uint64(address(sharing.shared)))
    return int(tape[found + 3].max(initial=1))


def told(tape: np.ndarray) -> list[str]:
    """The names of the kernels that a tape calls."""
    names, at = [], 0
    while at < len(tape):
        names.append(NAMES[int(tape[at])])
        at += int(tape[at + 1])
    return names
