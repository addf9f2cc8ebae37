"""What many training steps read and write on a device: batches, the optimizer's numbers, losses and magnitudes.

All of it lies there while the steps are taken. Data that is larger than the device comes through two pinned buffers:
while the steps go through one half of a ring of batches, the next ones are sent to the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import zeros_at
from tinygrad_lesson.devices import device_of, is_number, left, on, room_for
from tinygrad_lesson.run.cuda import Part, Row, UnsuitedError, checked, elementwise, settled
from tinygrad_lesson.run.gpu import DeviceRunner
from tinygrad_lesson.run.groups import Item

LEAST = 64  # steps for which there is room
SHARE = 2  # of the free memory of a device, what the batches of a call may take: one half
PINNED = 256 << 20  # bytes of each of the two buffers through which more of them come


def rows_of_ring(free: int, each: int, batches: int) -> tuple[int, bool]:
    """For how many batches of `each` bytes there is room on a device, and whether they must come in turn."""
    room = free // SHARE // max(1, each)
    if batches > room:
        return 2 * max(1, min(room // 2, PINNED // each)), True
    return min(room, max(LEAST, 1 << (batches - 1).bit_length())), False  # for calls of more batches too


def most_batches(batches: Mapping[str, Any], names: Iterable[str]) -> int:
    """How many batches there are of these inputs."""
    return max((len(batches[name]) for name in names), default=1)


class Steps:
    """Arrays for as many as `most` steps through `batches` of `inputs`, arrays that are bound by name.

    `result` is the loss, `grad` all gradients; of its parts `watched`, (first, size) each, mean magnitudes are kept.
    The `rings` of batches may be those of `before`, which had room for fewer steps.
    """

    def __init__(
        self, xp: Any, inputs: Mapping[str, Any], batches: int, most: int, places: Any, result: Any, grad: Any,
        watched: Any, before: Steps | None = None,
    ) -> None:  # fmt: skip
        self.xp, self.inputs, self.places, self.most = xp, dict(inputs), list(places), most
        self.result, self.grad, self.watched = result, grad, watched.tolist()
        place, each = device_of(grad), sum(x.nbytes for x in self.inputs.values())
        free = int(xp.cuda.runtime.memGetInfo()[0]) + left(place)
        self.rows, self.in_turn = rows_of_ring(free, each, batches)
        self.rings: dict[str, Any]
        if before is not None and before.reads(inputs) and before.holds(batches):
            self.rows, self.in_turn, self.rings = before.rows, before.in_turn, before.rings
        else:
            with room_for(f"{self.rows} batches of {', '.join(self.inputs)}, {each} bytes each,", place):
                shapes = {name: (self.rows, *x.shape) for name, x in self.inputs.items()}
                self.rings = {
                    name: zeros_at(place, shapes[name], x.dtype, False) for name, x in self.inputs.items()
                }
        self.rounds = 1  # batches after which they begin anew
        self.losses = zeros_at(place, most, result.dtype, False)
        self.magnitudes = zeros_at(place, (most, len(self.watched)), grad.dtype, False)
        self.numbers = zeros_at(place, (most, len(self.places)), self.places[0].dtype, False)
        self.counts = zeros_at(place, 2, np.int64, False)  # the number of the step, and `rounds`

    def reads(self, inputs: Mapping[str, Any]) -> bool:
        """Whether these are the arrays that batches are brought to."""
        return inputs.keys() == self.inputs.keys() and all(x is self.inputs[n] for n, x in inputs.items())

    def holds(self, batches: int) -> bool:
        """Whether the rings serve so many batches."""
        return batches <= self.rows or self.in_turn

    def fits(self, inputs: Mapping[str, Any], batches: int, steps: int, places: Any, watched: Any) -> bool:
        """Whether it serves another call."""
        same = self.reads(inputs) and all(x is y for x, y in zip(places, self.places, strict=True))
        return same and self.holds(batches) and steps <= self.most and watched.tolist() == self.watched

    # The rows of one step.

    def before(self) -> list[Row]:
        """What brings the batch of a step to the bound arrays."""
        rows = []
        for name, x in self.inputs.items():
            ring = self.rings[name]
            row = elementwise("copyto", (ring[0],), x)
            source = Part(ring, row.operands[1].strides, ring.strides[0], self.rows)
            rows.append(row._replace(operands=(row.operands[0], source)))
        return rows

    def after(self) -> list[Row]:
        """What notes the loss and the magnitudes, and brings the optimizer its numbers."""
        rows = self.mean("add.reduce", self.result.reshape(-1), self.losses, self.losses.itemsize)
        wide = self.magnitudes.strides[0]
        for k, (start, size) in enumerate(self.watched):
            place = self.magnitudes.reshape(-1)[k:]
            rows += self.mean("absolute.sum", self.grad[start : start + size], place, wide)
        for k, place in enumerate(self.places):
            source = Part(self.numbers.reshape(-1)[k:], (), self.numbers.strides[0])
            rows.append(Row("copyto", (), (), (Part(place, ()), source), place.dtype))
        return rows

    def mean(self, name: str, x: Any, out: Any, step: int) -> list[Row]:
        """Rows for the mean of a flat array, into a place that goes on from step to step."""
        target = Part(out, (0,), step)
        total = checked(Row(name, x.shape, (0,), (target, Part(x, settled(x.strides, x.shape))), out.dtype))
        place = target._replace(strides=())
        return [total, Row("divide", (), (), (place, place, float(x.size)), out.dtype)]

    def count(self) -> Row:
        """What counts the steps."""
        place = Part(self.counts, ())
        return Row("add", (), (), (place._replace(step=-1), place, 1), self.counts.dtype)

    # A call.

    def pieces(self, batches: Mapping[str, Any], steps: int, numbers: Any) -> Iterator[tuple[int, int]]:
        """The first step and the count of each piece of a call, once what it reads has been sent."""
        host = np.zeros((self.most, len(self.places)), self.numbers.dtype)
        host[:steps] = numbers
        self.numbers.set(host)
        total = most_batches(batches, self.inputs)
        self.rounds = min(total, self.rows)
        self.counts.set(np.array([0, self.rounds], np.int64))
        if total <= self.rows:
            for name, ring in self.rings.items():
                ring[:total].set(np.ascontiguousarray(batches[name], ring.dtype))
            yield 0, steps
            return
        yield from self.in_halves(batches, steps, total)

    def in_halves(self, batches: Mapping[str, Any], steps: int, total: int) -> Iterator[tuple[int, int]]:
        """As `pieces`, for more than the ring holds: two halves of it in turn."""
        cuda, half = self.xp.cuda, self.rows // 2
        pinned = [{name: self.pinned(half, ring) for name, ring in self.rings.items()} for _ in range(2)]
        sender, done = cuda.Stream(non_blocking=True), [cuda.Event(), cuda.Event()]
        for i, start in enumerate(range(0, steps, half)):
            side, count = i % 2, min(half, steps - start)
            sent = cuda.Event()
            if i > 1:
                done[side].synchronize()  # the steps that have read this half; the others go on meanwhile
            for name, ring in self.rings.items():
                here = pinned[side][name][:count]
                np.take(batches[name], np.arange(start, start + count) % total, axis=0, out=here)
                ring[side * half : side * half + count].set(here, stream=sender)
            sent.record(sender)
            cuda.get_current_stream().wait_event(sent)
            yield start, count
            done[side].record()

    def pinned(self, rows: int, ring: Any) -> np.ndarray:
        """Memory of the host for some rows of a ring, from which a device can fetch by itself."""
        shape = (rows, *ring.shape[1:])
        size = int(np.prod(shape)) * ring.itemsize
        memory = self.xp.cuda.alloc_pinned_memory(size)
        return np.frombuffer(memory, ring.dtype, size // ring.itemsize).reshape(shape)

    def noted(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Losses (steps,) and magnitudes (steps, watched), on the host."""
        return self.losses[:steps].get(), self.magnitudes[:steps].get()


class StepRunner(DeviceRunner):
    """A runner that has a whole step of training in one form: `step_of` makes it once, `take` takes such steps."""

    steps: tuple[Steps, Any] | None = None  # once there were any

    def steps_of(self, batches: Mapping[str, Any], most: int, updater: Any, loss: str, watched: Any) -> Steps:
        """What `most` steps of training read and write."""
        inputs, places = self.inputs_of(batches), updater.made().places
        before, count = None if self.steps is None else self.steps[0], most_batches(batches, inputs)
        return Steps(self.xp, inputs, count, most, places, self.result(loss), updater.grad, watched, before)

    def step_of(self, noted: Steps, update: DeviceRunner) -> Any:
        """One step: batch, forward, backward, what is noted, the optimizer.

        Errors
            UnsuitedError where it cannot be had.
        """
        raise NotImplementedError

    def take(self, step: Any, noted: Steps, first: int, count: int) -> None:
        """Take so many steps, the first of which has this number."""
        raise NotImplementedError

    def rows_of_step(self, noted: Steps, update: DeviceRunner) -> list[Row | Item]:
        """What a step does, up to counting it."""
        body = [item for part in self.told[1:3] for item in self.items(part)]
        count = self.count if update.generator is self.generator else update.count
        return [*noted.before(), *body, *noted.after(), *update.items(update.told[3], count)]

    def train(
        self, batches: Mapping[str, Any], steps: int, updater: Any, loss: str, watched: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of `DeviceRunner`, without the host between two steps; with 0 of them all is made ready."""
        update = updater.made()
        if is_number(self.buffers[self.plan.outputs[loss]]):
            return super().train(batches, steps, updater, loss, watched)
        with on(self.place):
            inputs = self.inputs_of(batches)
            count = most_batches(batches, inputs)
            if self.steps is None or not self.steps[0].fits(inputs, count, steps, update.places, watched):
                most = max(LEAST, 1 << steps.bit_length())
                noted = self.steps_of(batches, most, updater, loss, watched)
                try:
                    self.steps = noted, self.step_of(noted, update.run)
                except UnsuitedError:
                    return super().train(batches, steps, updater, loss, watched)
            noted, step = self.steps
            for first, number in noted.pieces(batches, steps, updater.numbers(steps)) if steps else ():
                self.take(step, noted, first, number)
            updater.num_update += steps
            return noted.noted(steps)
