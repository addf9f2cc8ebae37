"""Where the operands of instructions lie: offsets from the arena and strides, in elements; what else is allocated."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.plan.trace import Spec

Row = list[int]  # one instruction: a code, then offsets and sizes
WORD = 1 << 64
F32 = np.dtype(np.float32)
MOVABLE, PLACES = 1 << 62, 40  # mark of an offset in a movable array; its number is above the lower 40 bits


class Operand(NamedTuple):
    """A float32 array as the kernels see it: where it begins, and its strides, all in elements."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Noted(list[int]):
    """An instruction that knows the operands of its step."""

    touched: Sequence[Operand] = ()


def noted(rows: list[Row], operands: Sequence[Operand]) -> list[Row]:
    """Instructions for one step, of which the last knows what it touches."""
    if rows:
        rows[-1] = last = Noted(rows[-1])
        last.touched = operands
    return rows


class Memory:
    """Addresses relative to the base of one array; temporaries and numbers that live as long as the tape."""

    def __init__(self, arena: np.ndarray) -> None:
        self.base = (
            np.zeros(16, np.float32) if arena.nbytes < 64 else arena[: arena.nbytes // 4 * 4].view(np.float32)
        )
        self.origin = address(self.base)
        self.kept: list[Any] = []
        self.vectors: dict[int, Operand] = {}
        self.matrices: dict[tuple[int, int], Operand] = {}
        self.between: dict[tuple[int, int], Operand] = {}
        self.numbers: dict[bytes, np.ndarray] = {}  # by their bits: 0. and -0. are two
        self.movable: list[tuple[int, int]] = []  # begin and end of arrays that may lie elsewhere next time

    def operand(self, x: Any) -> Operand | None:
        """An array, or a number, as an operand; None if it is no float32, or not where float32 can be reached."""
        if not isinstance(x, np.ndarray):
            x = np.array(x, np.float32)
            x = self.numbers.setdefault(x.tobytes(), x)
        if x.dtype != np.float32 or not x.flags.aligned or any(s % 4 for s in x.strides):
            return None
        return Operand(self.offset(x), x.shape, tuple(s // 4 % WORD for s in x.strides))

    def offset(self, x: np.ndarray) -> int:
        """Distance from the base, in elements, as an unsigned word; marked, in a movable array."""
        at = address(x)
        for i, (start, stop) in enumerate(self.movable):
            if start <= at < stop:
                return MOVABLE | i << PLACES | (at - start) // 4
        return (at - self.origin) // 4 % WORD

    def temporary(self, *shape: int) -> Operand:
        """A new array."""
        self.kept.append(np.zeros(shape, np.float32))
        found = self.operand(self.kept[-1])
        assert found is not None
        return found

    def ones(self, size: int) -> Operand:
        """A vector of ones; the same for all that ask for its length."""
        if size not in self.vectors:
            self.vectors[size] = self.temporary(size)
            self.kept[-1][:] = 1
        return self.vectors[size]

    def ones_before(self, w: Operand) -> Operand:
        """A row of ones, with which a product adds up the rows of `w`."""
        return Operand(self.ones(w.shape[0]).offset, (1, w.shape[0]), (0, 1))

    def scratch(self, rows: int, columns: int) -> Operand:
        """A matrix for the very next instruction alone; the same for all that ask for its shape."""
        if (rows, columns) not in self.matrices:
            self.matrices[rows, columns] = self.temporary(rows, columns)
        return self.matrices[rows, columns]

    def value(self, spec: Spec, number: int) -> Operand | None:
        """Room for value `number` of a trace; the next trace has it again. None if it is no float32."""
        if spec.dtype != np.float32:
            return None
        size = math.prod(spec.shape)
        if (size, number) not in self.between:
            self.between[size, number] = self.temporary(size)
        return self.between[size, number]._replace(shape=spec.shape, strides=in_elements(spec))


@functools.cache
def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of an array whose elements lie one after the other."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def in_elements(spec: Spec) -> tuple[int, ...]:
    """The strides of an operand like a float32 array of a trace."""
    return tuple(s // 4 % WORD for s in spec.strides)


@functools.cache
def spec_like(shape: tuple[int, ...], strides: tuple[int, ...]) -> Spec:
    """What a trace has to know of an operand like this."""
    return Spec(shape, F32, tuple([4 * signed(s) for s in strides]))


def signed(word: int) -> int:
    """An unsigned word as the number that it stands for."""
    return word - WORD if word >= WORD // 2 else word


def extent(x: Operand) -> tuple[int, int]:
    """Where its elements begin and end."""
    start = signed(x.offset)
    if x.strides == row_major(x.shape):
        return start, start + math.prod(x.shape)
    ends = [(n - 1) * signed(s) for n, s in zip(x.shape, x.strides, strict=True)]
    return start + sum(min(end, 0) for end in ends), start + sum(max(end, 0) for end in ends) + 1


def apart(a: Operand, b: Operand) -> bool:
    """Whether two operands share no memory."""
    (start, stop), (begin, end) = extent(a), extent(b)
    return stop <= begin or end <= start


def address(x: np.ndarray) -> int:
    """Where the elements begin."""
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]


def contiguous(x: Operand) -> bool:
    """Whether the elements lie one after the other in row-major order."""
    if x.strides == row_major(x.shape):
        return True
    expected = 1
    for n, s in zip(x.shape[::-1], x.strides[::-1], strict=True):
        if n != 1 and s != expected:
            return False
        expected *= n
    return True
