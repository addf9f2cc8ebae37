"""Where the operands of instructions lie: addresses and strides, in bytes; what else is allocated."""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import aligned_zeros
from tinygrad_lesson.plan.trace import Spec

Row = list[int]  # one instruction: the address of a kernel, then offsets, strides and sizes
Encoder = Callable[..., "list[Row] | None"]  # instructions for something, None where there are none
WORD = 1 << 64
KINDS = {"float32", "float64", "int32", "int64", "bool"}  # element types that there are kernels for
FLOATS = ("float32", "float64")
ROWS: Any = ("C", "A")  # row after row, each element where its type may begin
ITEMSIZE = {kind: np.dtype(kind).itemsize for kind in KINDS}
MOVABLE, PLACES = 1 << 62, 40  # mark of an offset in a movable array; its number is above the lower 40 bits


@functools.cache
def kind_of(dtype: Any) -> str | None:
    """The element type as kernels call it; None if there are none for it, or its bytes lie the other way round."""
    return dtype.name if dtype is not None and dtype.name in KINDS and dtype.isnative else None


class Operand(NamedTuple):
    """An array as the kernels see it: where it begins, its shape, its strides in bytes, its element type."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    kind: str = "float32"

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ITEMSIZE[self.kind]

    @property
    def size(self) -> int:
        """How many elements there are."""
        return math.prod(self.shape)


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
    """What instructions call arrays; temporaries and numbers that live as long as the tape.

    A tape is run with the base 0, so that an offset is an address, and tapes of several plans can be run as one.
    """

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.scratches: dict[tuple[tuple[int, ...], str, str], Operand] = {}
        self.between: dict[tuple[int, int], Operand] = {}
        self.numbers: dict[tuple[str, bytes], np.ndarray] = {}  # by their bits: 0. and -0. are two
        self.lasting = set[tuple[int, int]]()  # offset and size of what several steps read and none writes
        self.copies = dict[
            Operand, Operand
        ]()  # of matrices among these, with their elements in another order
        self.wrong: np.ndarray | None = (
            None  # no longer 0 once an instruction met numbers that it cannot take
        )
        self.movable: list[tuple[int, int]] = []  # begin and end of arrays that may lie elsewhere next time

    @functools.cached_property
    def in_order(self) -> list[tuple[int, int, int]]:
        """Begin, end and number of the movable arrays, by where they begin."""
        return sorted([(start, stop, i) for i, (start, stop) in enumerate(self.movable)])

    @functools.cached_property
    def board(self) -> int:
        """The offset of the board on which threads put up work for each other (`tape/sharing.py`)."""
        return self.temporary(24, kind="int64").offset

    def operand(self, x: np.ndarray) -> Operand | None:
        """An array as an operand; None if there are no kernels for its element type."""
        kind = kind_of(x.dtype)
        return kind and Operand(self.offset(x), x.shape, tuple(s % WORD for s in x.strides), kind)  # type: ignore[return-value]

    def number(self, x: Any, kind: str) -> Operand:
        """A number as an operand of some type."""
        with np.errstate(over="ignore"):
            array = np.array(x, kind)
        array = self.numbers.setdefault((kind, array.tobytes()), array)
        return Operand(self.offset(array), (), (), kind)

    def offset(self, x: np.ndarray) -> int:
        """Where its elements begin; within a movable array which one, and how far behind its first byte, marked."""
        at = address(x)
        below = bisect.bisect_right(self.in_order, (at, WORD)) - 1
        if below >= 0:
            start, stop, i = self.in_order[below]
            if at < stop:
                return MOVABLE | i << PLACES | (at - start)
        return at

    def keep(self, table: np.ndarray) -> int:
        """The offset of a table that lives as long as the tape."""
        self.kept.append(np.ascontiguousarray(table))
        return self.offset(self.kept[-1])

    def temporary(self, *shape: int, kind: str = "float32") -> Operand:
        """A new array."""
        self.kept.append(aligned_zeros(math.prod(shape), np.dtype(kind)).reshape(shape))
        found = self.operand(self.kept[-1])
        assert found is not None
        return found

    def scratch(self, *shape: int, kind: str, use: str = "") -> Operand:
        """An array for the very next instruction alone; the same for all that ask for its shape for that use."""
        if (shape, kind, use) not in self.scratches:
            self.scratches[shape, kind, use] = self.temporary(*shape, kind=kind)
        return self.scratches[shape, kind, use]

    def value(self, spec: Spec, number: int) -> Operand | None:
        """Room for value `number` of a trace, which the next trace has again; None if no kernel knows its type."""
        kind = kind_of(spec.dtype)
        if kind is None:
            return None
        size = math.prod(spec.shape) * spec.dtype.itemsize
        if (size, number) not in self.between:
            self.between[size, number] = self.temporary(-(-size // 8), kind="int64")
        at = self.between[size, number].offset
        return Operand(at, spec.shape, tuple([s % WORD for s in spec.strides]), kind)


@functools.cache
def row_major(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides of an array whose elements lie one after the other."""
    return tuple(itemsize * math.prod(shape[i + 1 :]) for i in range(len(shape)))


def spread(x: Any, shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of an operand, or an array, broadcast to `shape`."""
    beside = (0,) * (len(shape) - len(x.shape))
    return beside + tuple([0 if n == 1 else s for n, s in zip(x.shape, x.strides, strict=True)])


def joined_axes(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """The sizes of as few axes as will do, outermost first, and for each the stride of each operand.

    An axis joins the one before if its elements follow on in all operands.
    """
    sizes: list[int] = []
    along: list[list[int]] = []
    for n, *mine in zip(shape, *strides, strict=True):
        if n == 1:
            continue
        if sizes and all(
            (outer - inner * n) % WORD == 0 for outer, inner in zip(along[-1], mine, strict=True)
        ):
            sizes[-1], along[-1] = sizes[-1] * n, mine
        else:
            sizes.append(n)
            along.append(mine)
    return sizes, along


@functools.cache
def spec_like(x: Operand) -> Spec:
    """What a trace has to know of an operand like this."""
    return Spec(x.shape, np.dtype(x.kind), tuple([signed(s) for s in x.strides]))


def signed(word: int) -> int:
    """An unsigned word as the number that it stands for."""
    return word - WORD if word >= WORD // 2 else word


def extent(x: Operand) -> tuple[int, int]:
    """Where its elements begin and end."""
    start = signed(x.offset)
    if x.strides == row_major(x.shape, x.itemsize):
        return start, start + x.size * x.itemsize
    ends = [(n - 1) * signed(s) for n, s in zip(x.shape, x.strides, strict=True)]
    return start + sum(min(end, 0) for end in ends), start + sum(max(end, 0) for end in ends) + x.itemsize


def apart(a: Operand, b: Operand) -> bool:
    """Whether two operands share no memory."""
    (start, stop), (begin, end) = extent(a), extent(b)
    return stop <= begin or end <= start


def address(x: np.ndarray) -> int:
    """Where the elements begin."""
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]


def contiguous(x: Operand) -> bool:
    """Whether the elements lie one after the other in row-major order."""
    if x.strides == row_major(x.shape, x.itemsize):
        return True
    expected = x.itemsize
    for n, s in zip(x.shape[::-1], x.strides[::-1], strict=True):
        if n != 1 and s != expected:
            return False
        expected *= n
    return True
