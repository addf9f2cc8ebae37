"""Many steps of training in one go: a plan and the step of an optimizer as one tape, which fetches the batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.run.operands import ROWS, Memory, address
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import loops, machine, reductions

FETCH, NOTE = 6, 5  # words of the instructions that stand before and after those of the plans


class Training:
    """Instructions for a step of training, made once; where the batches are, and what they leave, is told each time.

    `inputs` are the arrays that a batch is copied to, by name; `numbers` is what the optimizer is given. The mean of
    `result` is noted after each step, and for each of `watched`, (begin, size), the mean magnitude in `grad`.
    """

    def __init__(
        self,
        tapes: Sequence[np.ndarray],
        memory: Memory,
        inputs: Mapping[str, np.ndarray],
        numbers: np.ndarray,
        result: np.ndarray,
        grad: np.ndarray,
        watched: np.ndarray,
    ) -> None:
        self.inputs, self.result, self.grad, self.parts = dict(inputs), result, grad, len(watched)
        self.places = np.zeros(
            (1 + len(watched), 2), np.int64
        )  # begin and size of the loss, and of each gradient
        self.places[0] = address(result), result.size
        self.places[1:] = watched * (grad.itemsize, 1) + (address(grad), 0)
        fetch = machine.address(loops.gathered)
        first = [[fetch, address(x), 0, x.nbytes, 1] for x in (*inputs.values(), numbers)]
        means = machine.address(reductions.average, result.dtype.name, False)
        sizes = machine.address(reductions.average, grad.dtype.name, True)
        last = [[means, 0, 1, address(self.places)], [sizes, 0, len(watched), address(self.places[1:])]]
        tape = np.concatenate([as_tape(first), *tapes, as_tape(last)])
        self.segment = Segment(tape, memory)
        self.fetched = tape[: FETCH * len(first)].reshape(-1, FETCH)[
            :, 3::2
        ]  # where the rows begin, how many
        self.noted = tape[-NOTE * len(last) :].reshape(-1, NOTE)[:, 2]  # where to

    def __call__(
        self, batches: Mapping[str, np.ndarray], numbers: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The loss of each of so many steps, and the magnitudes (steps, watched)."""
        losses, magnitudes = (
            np.empty(steps, self.result.dtype),
            np.empty((steps, self.parts), self.grad.dtype),
        )
        rows = [as_rows(batches[name], x.dtype) for name, x in self.inputs.items()]
        self.fetched[:] = [(address(x), len(x)) for x in (*rows, numbers)]
        self.noted[:] = address(losses), address(magnitudes)
        self.segment.words[3] = steps
        self.segment()
        return losses, magnitudes


def as_rows(x: np.ndarray, dtype: Any) -> np.ndarray:
    """An array of this element type, row after row: the same one where it is that already."""
    return x if x.dtype == dtype and x.flags.carray else np.require(x, dtype, ROWS)
