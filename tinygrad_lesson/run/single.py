"""One op on large arrays in machine code, outside of any plan: what the eager face asks for.

Instructions are those of a tape; they move to wherever the arrays of a call lie. Where a result would not be finite
NumPy computes it again, so that what NumPy makes of NaN and infinity, and what it warns of, stays as it is.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.backprop import gradient_of
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.kinds import Elementwise, result_dtypes
from tinygrad_lesson.engine.namespace import array_namespace
from tinygrad_lesson.engine.op import Op, attr, declares, exactly
from tinygrad_lesson.locks import lock
from tinygrad_lesson.ops.elementwise import Multiply
from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import traced
from tinygrad_lesson.run.fused import Joined, compiles
from tinygrad_lesson.run.lower import encode_trace
from tinygrad_lesson.run.operands import (
    FLOATS,
    MOVABLE,
    PLACES,
    Memory,
    Operand,
    address,
    kind_of,
    row_major,
    spec_like,
)
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import machine
from tinygrad_lesson.run.whole import by_pattern

MOST = 256  # forms that are kept


@declares
class Slope(Elementwise):
    """The `vjp` of an elementwise op of one input, as an op of the cotangent, the result and the input."""

    of: Op = attr(doc="the op")

    name: ClassVar[str] = "Slope"

    def forward(self, xp: Any, g: Any, y: Any, x: Any) -> Any:
        """What the rule gives for bare arrays."""
        return gradient_of(array_namespace(xp), self.of, (g, y, x), 0)


class Form:
    """An op on arrays of some shapes and one element type.

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
        if len(kinds) != 1 or kinds != {self.dtype} or kind not in FLOATS:
            raise NotTraceableError("its element types differ")
        self.memory, self.lock, self.check = Memory(), lock(), None
        self.memory.movable = [(0, 0)] * (len(arrays) + 1)
        places = iter(range(len(arrays)))
        sources = [
            movable(next(places), x.shape, kind) if isinstance(x, np.ndarray) else self.memory.number(x, kind)
            for x in inputs
        ]
        target = movable(len(arrays), self.shape, kind)
        rows = (
            self.loop(op, sources, target) if isinstance(op, Elementwise) else self.rows(op, sources, target)
        )
        self.segment = Segment(as_tape(rows), self.memory)

    def loop(self, op: Op, sources: Sequence[Operand], target: Operand) -> Any:
        """One loop, which adds up 0 times each result: what is not finite makes that NaN."""
        count = len(sources)
        new, nought, product, total = range(count, count + 4)
        steps = (
            Step(op, tuple(range(count)), (new,)),
            Step(Multiply(), (new, nought), (product,)),
            Step(Sum(), (product,), (total,)),
        )
        compiles(steps, target.kind)
        moving = {i: x for i, x in enumerate(sources) if x.size > 1} | {new: target}
        if any(x.shape != target.shape for x in moving.values()):
            raise NotTraceableError("its inputs broadcast")
        single = {i: x for i, x in enumerate(sources) if x.size == 1}
        single |= {
            nought: self.memory.number(0.0, target.kind),
            total: self.memory.temporary(1, kind=target.kind),
        }
        self.check = self.memory.kept[-1]
        return Joined(steps, moving, single, target.kind, target.size).rows(self.memory)

    def rows(self, op: Op, sources: Sequence[Operand], target: Operand) -> Any:
        """A pattern, or an instruction for each call."""
        *specs, place = [spec_like(x._replace(offset=0)) for x in (*sources, target)]
        return by_pattern(self.memory, op, sources, [target]) or encode_trace(
            self.memory, traced(op, tuple(specs), (place,)), [*sources, target]
        )

    def __call__(self, arrays: Sequence[np.ndarray]) -> np.ndarray | None:
        """The result; None if a number in it is not finite."""
        y = np.empty(self.shape, self.dtype)
        with self.lock:
            self.segment.move([address(x) for x in (*arrays, y)])
            self.segment()
            finite = np.isfinite(y).all() if self.check is None else self.check[0] == 0
        return y if finite else None


def movable(number: int, shape: Any, kind: str) -> Operand:
    """An array in rows that lies elsewhere in each call."""
    return Operand(MOVABLE | number << PLACES, shape, row_major(shape, np.dtype(kind).itemsize), kind)


FORMS = OrderedDict[Any, tuple[Op, Form | None]]()  # an op that is kept has its number for itself
LOCK = lock()


def carried_out(op: Op, inputs: Sequence[Any]) -> np.ndarray | None:
    """What an op makes of large arrays and numbers; None where NumPy is to compute it."""
    arrays, specs = [], list[Any]()
    for x in inputs:
        if x.__class__ is np.ndarray:
            if not (x.flags.c_contiguous and x.flags.aligned):
                return None
            arrays.append(x)
            specs.append((x.shape, x.dtype))
        elif x.__class__ in (int, float):
            specs.append(exactly(x))
        else:
            return None
    key = id(op), *specs
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
def slope_of(op: Op) -> Slope:
    """The rule of an op as an op."""
    return Slope(of=op)


def slope(op: Op, operands: Sequence[Any]) -> np.ndarray | None:
    """The gradient by the one input of an elementwise op, for a cotangent, the result and the input."""
    return carried_out(slope_of(op), operands)
