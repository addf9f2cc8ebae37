"""What all runners have: the parts of a plan, and steps of training one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.op import Op, check_result
from tinygrad_lesson.plan.plan import Plan

Run = Callable[[], Any]
PARTS = "forward", "backward", "update"


def deliver(op: Op, results: Any, targets: Sequence[Any]) -> None:
    """Copy what the `forward` of an op gave into arrays, in their element types."""
    for target, result in zip(targets, results if isinstance(results, tuple) else (results,), strict=True):
        check_result(op, result, target.shape)
        target[...] = result


class Runner:
    """A plan on bound arrays; `calls` carry out its parts, forward, backward and update."""

    plan: Plan
    arrays: Mapping[str, Any]
    buffers: Any  # the array of each buffer of the plan, or its number
    calls: list[list[Any]]

    def run(self, part: int) -> None:
        """Carry out one part."""
        for call in self.calls[part]:
            call()

    def forward(self) -> None:
        """Carry out the forward part."""
        self.run(0)

    def backward(self) -> None:
        """Carry out the backward part."""
        self.run(1)

    def update(self) -> None:
        """Carry out the update part."""
        self.run(2)

    def result(self, name: str) -> Any:
        """The array of an output, overwritten by the next run."""
        raise NotImplementedError

    def call(self, values: Mapping[str, Any], results: Sequence[str]) -> list[Any]:
        """Bound arrays called `results`, as new arrays, after running with `values` in place of others."""
        for name, value in values.items():
            self.arrays[name][...] = value
        self.forward()
        return [self.arrays[name].copy() for name in results]

    def inputs_of(self, batches: Mapping[str, Any]) -> dict[str, Any]:
        """The bound arrays of those batches that the plan knows."""
        known = self.plan.arguments
        return {name: self.buffers[known[name]] for name in batches if name in known}

    def train_one_by_one(
        self, xp: Any, batches: Mapping[str, Any], steps: int, updater: Any, loss: str, watched: np.ndarray
    ) -> tuple[Any, Any]:
        """Steps of training: forward, backward and the optimizer, batch after batch.

        `batches` have for each input one more leading axis, over batches that are gone through in turn. `watched` are
        the (start, size) of gradients whose mean magnitude is wanted. Gives losses (steps,) and magnitudes
        (steps, watched), arrays of `xp`.
        """
        inputs = self.inputs_of(batches) if steps else {}
        kept = {name: xp.asarray(np.asarray(batches[name], x.dtype)) for name, x in inputs.items()}
        result, grad = self.result(loss), updater.grad
        losses, magnitudes = xp.empty(steps, result.dtype), xp.empty((steps, len(watched)), grad.dtype)
        for i in range(steps):
            for name, x in inputs.items():
                x[...] = kept[name][i % len(kept[name])]
            self.forward()
            self.backward()
            losses[i] = result.mean()
            updater.step()
            for k, (start, size) in enumerate(watched.tolist()):
                magnitudes[i, k] = abs(grad[start : start + size]).mean()
        return losses, magnitudes
