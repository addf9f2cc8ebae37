"""One op on large arrays in machine code, outside of any plan: what the eager face asks for.

Instructions are those of a tape; they move to wherever the arrays of a call lie. Where a result would not be finite
NumPy computes it again, so that what NumPy makes of NaN and infinity, and what it warns of, stays as it is.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.kinds import Elementwise, result_dtypes
from tinygrad_lesson.engine.op import Op, exactly
from tinygrad_lesson.locks import lock
from tinygrad_lesson.ops.elementwise import Multiply
from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.ops.scans import Cumprod, Cumsum
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import traced
from tinygrad_lesson.run.elements import loops_over
from tinygrad_lesson.run.fused import Joined, compiles
from tinygrad_lesson.run.lower import encode_trace
from tinygrad_lesson.run.operands import (
    FLOATS,
    MOVABLE,
    PLACES,
    WORD,
    Memory,
    Operand,
    Row,
    address,
    kind_of,
    row_major,
    spec_like,
)
from tinygrad_lesson.run.rounds import Rounds
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import machine
from tinygrad_lesson.run.whole import ALONE, SLOPES, Slope, along_rows, by_pattern

MOST = 256  # forms that are kept
NOUGHT = np.zeros(1)  # the check of an op that computes nothing
PART = 1024  # elements of rows that go together: what is made of them stays in the first cache


class Form:
    """An op on arrays of some shapes and one element type.

    Where the op treats each row of axis 0 by itself it goes from some rows to the next, so that what is made on the
    way stays in the cache; the last ones may overlap.

    Errors
        NotTraceableError where there are no instructions for it.
    """

    def __init__(self, op: Op, inputs: Sequence[Any]) -> None:
        arrays = [x for x in inputs if isinstance(x, np.ndarray)]
        shapes, kinds = [np.shape(x) for x in inputs], {x.dtype for x in arrays}
        dtypes = [x.dtype if isinstance(x, np.ndarray) else None for x in inputs]
        numbers = [x for x in inputs if not isinstance(x, np.ndarray)]
        self.shape: Any = op.complete(shapes, [None])[1][0]
        self.dtype: Any = result_dtypes(op, dtypes, numbers)[0]
        kind = kind_of(self.dtype)
        alike = kinds == {self.dtype} or type(op) in ALONE
        if not alike or kind not in FLOATS or None in map(kind_of, kinds):
            raise NotTraceableError("its element types differ")
        self.memory, self.lock = Memory(), lock()
        self.memory.movable = [(0, 0)] * (len(arrays) + 1)
        whole = [x.shape for x in arrays] + [self.shape]
        self.some, self.length = rows_at_once(op, whole)
        parts = [(self.some, *shape[1:]) if self.some < self.length else shape for shape in whole]
        strides = [strides_of(x) for x in arrays] + [row_major(self.shape, np.dtype(kind).itemsize)]
        if any(by and by[-1] < 0 for by in strides) and not isinstance(op, Cumsum | Cumprod):
            raise NotTraceableError(
                "NumPy is faster with rows that go backwards, where no element needs the last"
            )
        types: list[Any] = [*[kind_of(x.dtype) for x in arrays], kind]
        moved = [movable(i, *each) for i, each in enumerate(zip(parts, types, strides, strict=True))]
        self.before = [before_first(shape, by) for shape, by in zip(parts, strides, strict=True)]
        given, target = iter(moved), moved[-1]
        sources = [next(given) if isinstance(x, np.ndarray) else self.memory.number(x, kind) for x in inputs]
        each = is_elementwise(op)
        rows = self.loop(op, sources, target) if each else self.rows(op, sources, target)
        self.rounds = None
        if self.some < self.length:
            move = np.ones(len(whole), bool)
            self.rounds = Rounds([Segment(as_tape(rows), self.memory)], self.memory, ~move, move)
            self.by = np.array([by[0] for by in strides])
            rows = []
        if op.moves:
            self.check = NOUGHT if self.memory.wrong is None else self.memory.wrong
        elif not each:
            rows += self.watched([], {0: movable(len(arrays), self.shape, kind, strides[-1])}, {}, 0)
        self.segment = Segment(as_tape(rows), self.memory)
        self.words = self.segment.tape.data
        found = self.segment.places, self.segment.numbers, self.segment.within
        self.offsets = list(zip(*[x.tolist() for x in found], strict=True))

    def loop(self, op: Op, sources: Sequence[Operand], target: Operand) -> Any:
        """One loop."""
        new = len(sources)
        moving = {i: x for i, x in enumerate(sources) if x.size > 1} | {new: target}
        if any((x.shape, x.kind) != (target.shape, target.kind) for x in moving.values()):
            raise NotTraceableError("its inputs broadcast")
        single = {i: x for i, x in enumerate(sources) if x.size == 1}
        return self.watched([Step(op, tuple(range(new)), (new,))], moving, single, new)

    def watched(
        self, steps: Sequence[Step], moving: dict[int, Operand], single: dict[int, Operand], new: int
    ) -> list[Row]:
        """Steps as one loop, which adds up 0 times each result `new`: what is not finite makes that NaN."""
        target, (nought, product, total) = moving[new], range(new + 1, new + 4)
        multiplied = Step(Multiply(), (new, nought), (product,))
        steps = (*steps, multiplied, Step(Sum(), (product,), (total,)))
        compiles(steps, target.kind)
        single = single | {
            nought: self.memory.number(0.0, target.kind),
            total: self.memory.temporary(1, kind=target.kind),
        }
        self.check = self.memory.kept[-1]
        loops = loops_over(target.shape, *[x.strides for x in moving.values()])
        if len(loops.sizes) > 2 or any(set(by) != {target.itemsize} for by in loops.strides[-1:]):
            raise NotTraceableError("its inputs lie in another order")
        by_rows = loops if len(loops.sizes) == 2 else None
        return Joined(steps, moving, single, target.kind, target.size, by_rows).rows(self.memory)

    def rows(self, op: Op, sources: Sequence[Operand], target: Operand) -> Any:
        """A pattern, or an instruction for each call."""
        *specs, place = [spec_like(x._replace(offset=0)) for x in (*sources, target)]
        if isinstance(op, Slope) and type(op.of) in SLOPES:
            found = SLOPES[type(op.of)](self.memory, op.of, sources, target)
        elif type(op) in ALONE:
            found = ALONE[type(op)](self.memory, op, sources, target)
        else:
            found = by_pattern(self.memory, op, sources, [target])
        return found or encode_trace(self.memory, traced(op, tuple(specs), (place,)), [*sources, target])

    def __call__(self, arrays: Sequence[np.ndarray]) -> np.ndarray | None:
        """The result; None if a number in it is not finite, or one of the inputs cannot be."""
        y = np.empty(self.shape, self.dtype)
        starts = [address(x) - before for x, before in zip((*arrays, y), self.before, strict=True)]
        with self.lock:
            if self.rounds is not None:
                begin, strides = np.array(starts), self.by * self.some
                self.rounds(begin, strides, self.length // self.some)
                self.rounds(begin + (self.length - self.some) * self.by, strides, 1)
            for place, number, within in self.offsets:  # few, so that NumPy would take longer
                self.words[place] = (starts[number] + within) % WORD
            self.segment()
            return y if self.check[0] == 0 else None


def is_elementwise(op: Op) -> bool:
    """Whether it is an elementwise op, or the slope of one."""
    return isinstance(op.of if isinstance(op, Slope) else op, Elementwise)


def rows_at_once(op: Op, shapes: Sequence[Any]) -> tuple[int, int]:
    """How many rows of arrays an op is carried out on at a time, and how many there are.

    What one instruction does has no need of parts.
    """
    rank = len(shapes[0])
    whole = isinstance(op, Slope) and type(op.of) in SLOPES and along_rows(op.of, rank)
    length = shapes[0][0] if op.apart(rank) and not whole else 1
    return min(length, max(1, PART * length // max(map(math.prod, shapes)))), length


def movable(number: int, shape: Any, kind: str, strides: Sequence[int]) -> Operand:
    """An array that lies elsewhere in each call; its place is counted from its lowest address."""
    start = MOVABLE | number << PLACES | before_first(shape, strides)
    return Operand(start, shape, tuple([by % WORD for by in strides]), kind)


def before_first(shape: Any, strides: Sequence[int]) -> int:
    """How many bytes an array, which may go backwards, has before its first element."""
    return sum([(n - 1) * -by for n, by in zip(shape, strides, strict=True) if by < 0])


def strides_of(x: np.ndarray) -> tuple[int, ...]:
    """The strides of an array; along axes of one element as if it had more."""
    return row_major(x.shape, x.itemsize) if x.flags.c_contiguous else x.strides


def in_rows(x: np.ndarray) -> bool:
    """Whether the elements lie in row-major order, along some axes perhaps from the last to the first."""
    return x.flags.c_contiguous or tuple(map(abs, x.strides)) == row_major(x.shape, x.itemsize)


# An op that is kept has its number for itself; one of any number of inputs may be made anew in each call.
FORMS = OrderedDict[Any, tuple[Op, Form | None]]()
LOCK = lock()


def carried_out(op: Op, inputs: Sequence[Any]) -> np.ndarray | None:
    """What an op makes of large arrays and numbers; None where NumPy is to compute it."""
    arrays, specs = [], list[Any]()
    for x in inputs:
        if x.__class__ is np.ndarray:
            if not (x.flags.aligned and (in_rows(x) or op.moves or is_elementwise(op))):
                return None
            arrays.append(x)
            specs.append((x.shape, x.dtype, strides_of(x)))
        elif x.__class__ in (int, float):
            specs.append(exactly(x))
        else:
            return None
    key = exactly(op) if op.variadic else id(op), *specs
    with LOCK:
        known = FORMS.get(key)
        if known is not None:
            FORMS.move_to_end(key)
    if known is None:
        known = op, made(op, inputs)
        with LOCK:
            FORMS[key] = known
            while len(FORMS) > MOST:
                FORMS.popitem(last=False)
    return None if known[1] is None else known[1](arrays)


def made(op: Op, inputs: Sequence[Any]) -> Form | None:
    """The instructions; None where there are none, or where the op refuses its inputs, which NumPy says in words."""
    try:
        return Form(op, inputs) if machine.works() else None
    except (LessonError, TypeError, ValueError):
        return None


@functools.lru_cache(MOST)
def slope_of(op: Op, number: int = 0) -> Slope:
    """The rule of an op by one of its inputs as an op."""
    return Slope(of=op, number=number)


def slope(op: Op, operands: Sequence[Any], number: int = 0) -> np.ndarray | None:
    """The gradient by one input of an op, for a cotangent, the result and the inputs."""
    return carried_out(slope_of(op, number), operands)
