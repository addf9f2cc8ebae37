"""Products of matrices that are added up, as one instruction: their sums stay in registers from the first to the last.

A recurrent network written out step by step adds up one product per step for the gradient of a weight, and two for its
gates. Products wait for the last that is added to them, if nobody overwrites what they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.ops.elementwise import Add
from tinygrad_lesson.ops.linear import FullyConnected, MatMul
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.operands import FLOATS, PLACES, Memory, Operand, Row, apart, extent
from tinygrad_lesson.run.panels import LONGEST_SUM, PANEL, large_product
from tinygrad_lesson.run.products import LARGEST_PRODUCT


class Read(NamedTuple):
    """Operands, two factors or what is added, and the number of the step that reads them."""

    number: int
    operands: Sequence[Any]


class Summed(NamedTuple):
    """Factors, two by two, and what begins the sum of their products; where that goes; the steps and their numbers."""

    factors: tuple[Read, ...]
    starts: tuple[Read, ...]
    target: Operand
    covered: tuple[Step, ...]
    numbers: tuple[int, ...]

    def fits(self) -> bool:
        """Whether one instruction may have them all: factors lie alike, and stay in the cache."""
        (x, w), *others = [read.operands for read in self.factors]
        alike = all(
            a._replace(offset=0) == b._replace(offset=0) and together(a, b)
            for pair in others for a, b in zip((x, w), pair, strict=True)
        )  # fmt: skip
        count, size = len(self.factors), (x.size + w.size) * x.itemsize
        return alike and count * w.shape[0] <= LONGEST_SUM and count * size <= PANEL

    def rows(self, memory: Memory) -> list[Row] | None:
        """The instructions; None where factors have to be packed."""
        (_, (x, w)), *others = self.factors
        starts = [x for start in self.starts for x in start.operands]
        return large_product(memory, x, w, self.target, starts, [(y, v) for _, (y, v) in others])

    def lasts(self, written: np.ndarray) -> bool:
        """Whether all that is read is still there at the last of its steps, and when the sum is stored."""
        number, begin, end = written[~np.isin(written[:, 0], self.numbers)].T
        for reads in (self.factors, self.starts):
            for first, operands in reads:
                between = (number > first) & (number < self.numbers[-1])
                for x in operands:
                    start, stop = extent(x)
                    if (between & (begin < stop) & (start < end)).any():
                        return False
                    if not apart(x, self.target) and (reads is self.factors or x != self.target):
                        return False
        return True


def summed(runner: Any, steps: Sequence[Step], taken: set[int]) -> list[Summed]:
    """All sums of several products among `steps`; some of these, by identity, are `taken` already."""
    sums: dict[int, Summed] = {}  # by the buffer that they leave
    written = None
    for number, step in enumerate(steps):
        if type(step.op) in (MatMul, FullyConnected):
            found = of_one(runner, step, number)
        elif type(step.op) is Add and id(step) not in taken and not sums.keys().isdisjoint(step.sources):
            written = spans(runner, steps) if written is None else written
            found = of_two(runner, step, number, sums, written)
        else:
            continue
        if found is not None:
            sums[step.targets[0]] = found
    dry = Memory()  # so that what is tried and does not fit leaves nothing behind
    dry.lasting = runner.memory.lasting
    return [x for x in sums.values() if len(x.factors) > 1 and x.rows(dry) is not None]


def of_one(runner: Any, step: Step, number: int) -> Summed | None:
    """A product, or a layer with its bias."""
    (v,) = step.targets
    operands = [runner.operand(n) for n in (*step.sources, v)]
    if None in operands:
        return None
    x, w, *bias, o = operands
    alike = {a.kind for a in operands} == {o.kind} and o.kind in FLOATS
    if not alike or len(x.shape) != 2 or len(w.shape) != 2:
        return None
    if type(step.op) is FullyConnected:
        w = w._replace(shape=w.shape[::-1], strides=w.strides[::-1])
    if x.shape[0] * w.size <= LARGEST_PRODUCT or any(b.strides != (b.itemsize,) for b in bias):
        return None
    return Summed((Read(number, (x, w)),), (Read(number, tuple(bias)),), o, (step,), (number,))


def of_two(
    runner: Any, step: Step, number: int, sums: dict[int, Summed], written: np.ndarray
) -> Summed | None:
    """A sum with one or two of `sums`, which it replaces; None if it cannot wait for this step."""
    target = runner.operand(step.targets[0])
    parts, operands = [sums.get(v) for v in step.sources], [runner.operand(v) for v in step.sources]
    alone = [runner.readers[v] == 1 and runner.plan.buffers[v].placed for v in step.sources]
    both = [i for i, x in enumerate(parts) if x is not None and alone[i]]
    if (
        not both
        or target is None
        or any(x is None or (x.shape, x.strides) != (target.shape, target.strides) for x in operands)
    ):
        return None
    shorter = sorted(both, key=lambda i: len(parts[i].factors))[:1]  # type: ignore[union-attr]
    for some in (both, shorter) if step.sources[0] != step.sources[1] else ():
        joined = [x for i, x in enumerate(parts) if i in some and x is not None]
        others = tuple([x for i, x in enumerate(operands) if i not in some])
        factors = tuple([read for x in joined for read in x.factors])
        starts = [read for x in joined for read in x.starts]
        made = Summed(
            factors, (*starts, Read(number, others)), target,
            (*[s for x in joined for s in x.covered], step), (*[n for x in joined for n in x.numbers], number),
        )  # fmt: skip
        if made.fits() and made.lasts(written):
            for i in some:
                del sums[step.sources[i]]
            return made
    return None


def together(a: Operand, b: Operand) -> bool:
    """Whether two arrays keep their distance: neither is one that may lie elsewhere next time, or both are the same."""
    return 1 not in (a.offset >> 62, b.offset >> 62) or a.offset >> PLACES == b.offset >> PLACES


def spans(runner: Any, steps: Sequence[Step]) -> np.ndarray:
    """What steps write: the number of the step, begin and end of each target."""
    found = [(i, runner.operand(v)) for i, step in enumerate(steps) if not step.op.view for v in step.targets]
    return np.array([(i, *extent(x)) for i, x in found if x is not None], np.int64).reshape(-1, 3)
