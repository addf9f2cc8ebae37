"""What comes after the gradients of a training step: the loss, the optimizer's step, the means that are watched."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.run.operands import Memory, Row
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import machine, reductions, updates

UPDATES: dict[int, Any] = {1: updates.sgd, 2: updates.adam}


class Tail:
    """What comes after the gradients: the loss, the optimizer's step, what the monitor wants to know.

    `watched` are the (start, size) of gradients whose mean magnitude is wanted.
    """

    def __init__(
        self,
        memory: Memory,
        update: Any,
        result: np.ndarray,
        watched: Any,
        losses: np.ndarray,
        magnitudes: np.ndarray,
    ) -> None:
        self.memory, self.update, self.losses, self.magnitudes = memory, update, losses, magnitudes
        dtype = update.weight.dtype
        self.kind, self.rates = dtype.name, np.array(update.rates, dtype)
        moments = [*update.moments, *[update.weight] * (2 - len(update.moments))]
        moments = moments[:1] if update.kind == 1 else moments
        self.constants = np.array(update.constants, dtype)
        self.places = [memory.offset(x) for x in (update.weight, update.grad, *moments)]
        self.result = np.array([[memory.offset(result), result.size]], np.uint64)
        grad = memory.offset(update.grad)
        self.watched = np.array(
            [[grad + dtype.itemsize * int(at), size] for at, size in watched], np.uint64
        ).reshape(-1, 2)

    def rows(self, first: int) -> list[Row]:
        """Instructions for the steps from number `first` on."""
        at = self.memory.offset
        rows: list[Row] = [
            [
                machine.address(reductions.average, self.kind, False),
                at(self.losses[first:]),
                1,
                at(self.result),
            ]
        ]
        if self.update.kind in UPDATES:
            kernel = machine.address(UPDATES[self.update.kind], self.kind)
            rates = at(self.rates[first:])
            rows.append([kernel, *self.places, self.update.weight.size, at(self.constants), rates])
        if len(self.watched):
            kernel = machine.address(reductions.average, self.kind, True)
            rows.append([kernel, at(self.magnitudes[first:]), len(self.watched), at(self.watched)])
        return rows


class Update:
    """An optimizer's step over flat arrays, as one instruction."""

    def __init__(self, update: Any) -> None:
        memory = Memory()
        nothing = np.zeros(1, update.weight.dtype)
        self.tail = Tail(memory, update._replace(rates=(0.0,)), nothing, (), nothing, nothing)
        self.segment = Segment(as_tape(self.tail.rows(0)[1:]), memory)

    def __call__(self, rate: float) -> None:
        """Take a step with this rate."""
        self.tail.rates[0] = rate
        self.segment()
