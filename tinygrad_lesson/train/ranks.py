"""One training by several ranks (docs/parallel.md): each takes its part of every batch, gradients are summed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson import parallel
from tinygrad_lesson.arrays import module_of, on_host
from tinygrad_lesson.engine.errors import BindError, DTypeError, ShapeError
from tinygrad_lesson.engine.graph import Edge, Node, outputs_of
from tinygrad_lesson.engine.infer import infer_shapes
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.engine.shapes import show, size_of
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.ops.loss import MakeLoss
from tinygrad_lesson.ops.nn import BatchNorm, SyncBatchNorm
from tinygrad_lesson.plan.memory import rounded
from tinygrad_lesson.random import MXNetGenerator, default_generator
from tinygrad_lesson.train.data import is_rows
from tinygrad_lesson.train.monitor import GradientMonitor
from tinygrad_lesson.train.states import told_settings

LEAST = 1 << 16  # bytes of parameters from which sharing memory is faster than a message
BLOCK = 1 << 16  # elements whose magnitudes are summed in one go, so that they stay in the cache


class Parts:
    """An iterator of which a rank takes its rows of each batch; or all of them, where only this rank has them.

    Each rank has its own rows where the iterator was made with `num_parts`, or `split` is False. `batch_size` counts
    the rows of all ranks.

    Errors
        ShapeError where there are fewer rows in a batch than ranks.
    """

    def __init__(self, world: parallel.World, iterator: Any, split: bool = True) -> None:
        self.world, self.iterator = world, iterator
        self.split = split and getattr(iterator, "num_parts", 1) == 1
        rows = int(iterator.batch_size)
        self.part = world.part(rows) if self.split else slice(0, rows)
        self.batch_size = rows if self.split else int(world.sum(np.array([rows]))[0])
        self.share = (self.part.stop - self.part.start) / self.batch_size
        if self.batch_size < world.size:
            raise ShapeError(
                f"fit: a batch has {self.batch_size} rows, expected one for each of {world.size} ranks"
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.iterator, name)

    @property
    def generator(self) -> Any:
        """What the order of rows is drawn from."""
        return self.iterator.generator

    @generator.setter
    def generator(self, generator: Any) -> None:
        self.iterator.generator = generator

    def iter_next(self) -> bool:
        """Go to the next batch; False if there is none."""
        return bool(self.iterator.iter_next())

    def reset(self) -> None:
        """Go to the start of an epoch."""
        self.iterator.reset()

    def value(self) -> Mapping[str, Any]:
        """This rank's rows of the batch, by name."""
        iterator = self.iterator
        if self.split and is_rows(iterator):
            rows = iterator.getindex()[self.part]
            return {name: array[rows] for name, array in iterator.data + iterator.label}
        return {name: np.asarray(array)[self.part] for name, array in iterator.value().items()}


class SharedMonitor(GradientMonitor):
    """A monitor that looks at this rank's part of the elements; the sums of all ranks come with the losses."""

    def __init__(self, world: parallel.World, gradients: np.ndarray, segments: Mapping[str, slice]) -> None:
        super().__init__(gradients, segments)
        whole = world.part(gradients.size)
        self.own: list[slice] = []
        places: list[int] = []
        for place, part in enumerate(segments.values()):
            end = min(part.stop, whole.stop)
            for start in range(max(part.start, whole.start), end, BLOCK):
                self.own.append(slice(start, min(start + BLOCK, end)))
                places.append(place)
        self.places = np.array(places, np.intp)
        self.ones = module_of(gradients).ones(
            BLOCK, gradients.dtype
        )  # a product with these is the fastest sum

    def batch(self, others: Sequence[np.ndarray] = ()) -> None:
        """Note this part of the gradients; those of `others` are added to it first, block by block."""
        sums = []
        for x in self.own:
            mine, sizes = self.gradients[x], self.scratch[: x.stop - x.start]
            for other in others:
                np.add(mine, other[x], out=mine)
            sums.append(float(np.abs(mine, out=sizes).dot(self.ones[: sizes.size])))
        means = np.bincount(self.places, sums, len(self.sizes)) / self.sizes
        self.batches.append(means[self.wanted][None])


class Ranks:
    """What a training does because there are several ranks."""

    def __init__(self, world: parallel.World, iterator: Parts) -> None:
        self.world, self.iterator, self.share = world, iterator, iterator.share
        self.gradients: Any = None  # of all ranks, a row for each, where they share memory
        self.parameters: Any = None  # there

    def loss(self, symbol: Symbol, shapes: Mapping[str, Sequence[int]]) -> Symbol:
        """`symbol` with the gradients of this rank's part of the loss, which sum up to those of the whole batch.

        A loss of one number is taken as the mean over the rows of a batch; one with a number for each row, and what
        MXNet calls an output, as their sum.
        """
        whole = {name: (self.iterator.batch_size, *shape[1:]) for name, shape in shapes.items()}
        known = infer_shapes(symbol.nodes, symbol.given_shapes((), whole), "fit")

        def rule(node: Node, inputs: tuple[Edge, ...]) -> Sequence[Edge] | None:
            op: Any = node.op
            if type(op) is BatchNorm and self.world.sync:
                told = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
                op = SyncBatchNorm(**told, share=self.share)
            mean = isinstance(op, MakeLoss) and size_of(known[Edge(node)]) == 1  # type: ignore[arg-type]
            if mean or (getattr(op, "normalization", "") == "batch" and hasattr(op, "grad_scale")):
                op = dataclasses.replace(op, grad_scale=op.grad_scale * self.share)
            return None if op is node.op else outputs_of(Node(op, inputs, node.label))

        return Symbol(substitute(symbol.heads, rule))

    def join(self, model: Any, executor: Executor, last: int) -> None:
        """Begin: make sure that all ranks train the same network, and give them rank 0's parameters and generators.

        Errors
            BindError on all ranks if one trains another network, with both fingerprints.
        """
        arrays = executor.flat_parameters.arrays
        seed = None if model.generator is default_generator() else model.generator.seed
        self.world.agree(
            "fit",
            {
                "network": hashlib.sha256(model.symbol.tojson().encode()).hexdigest(),
                "parameters": {name: f"{show(x.shape)} of {x.dtype}" for name, x in arrays.items()},
                "optimizer": type(model.optimizer).__name__,
                **told_settings(model.optimizer),
                "seed": seed,
                "epochs": [model.begin_epoch, last],
                "rows of a batch": self.iterator.batch_size,
            },
        )
        for array in (*executor.flat_parameters.buffers.values(), *executor.states.values()):
            self.world.broadcast(array)
        self.same(model.generator)
        order = getattr(self.iterator, "generator", None)
        if isinstance(order, MXNetGenerator) and order is not model.generator:
            self.same(order)
        stream = f"{model.generator.seed} {model.begin_epoch} {self.world.rank}"
        executor.generator = MXNetGenerator(int(hashlib.sha256(stream.encode()).hexdigest()[:7], 16))

    def same(self, generator: MXNetGenerator) -> None:
        """Let a generator go on as that of rank 0: the order of rows must be the same."""
        numbers = np.array([generator.seed, len(generator.get_state())], np.int64)
        seed, streams = self.world.broadcast(numbers).tolist()
        state = np.zeros((streams, generator.get_state().shape[1]), np.int32)
        state[:] = generator.get_state() if self.world.rank == 0 else 0
        generator.set_state(seed, self.world.broadcast(state))

    def move(self, executor: Executor, updater: Any) -> None:
        """Let the ranks of one machine share memory for gradients and moments; each updates a part of the parameters.

        Where they are on several machines, or a step of a part needs the whole, or all is small, each sums and updates
        all.
        """
        weight, moments = updater.weight, updater.state.moments
        if not updater.parts or weight.nbytes < max(LEAST, 1):
            return
        each = rounded(weight.nbytes) // weight.itemsize
        rows = self.world.size + 1 + len(moments)
        whole = self.world.shared((rows, each), weight.dtype)
        if whole is None:
            return
        self.gradients, (self.parameters, *kept) = np.split(whole[:, : weight.size], [self.world.size])
        if self.world.rank == 0:
            self.parameters[:] = weight  # moments are 0 yet
        self.world.meet()
        gradient = self.gradients[self.world.rank]
        executor.move(self.parameters, gradient)
        updater.move(gradient, kept, self.world.part(weight.size))

    def exchange(self, executor: Executor, monitor: Any) -> None:
        """Add up the gradients of all ranks and note them; of shared memory, the part that this rank updates."""
        others: list[np.ndarray] = []
        if self.gradients is None:
            for buffer in executor.flat_gradients.buffers.values():
                self.world.sum(buffer)
        else:
            self.world.meet()
            others = [x for i, x in enumerate(self.gradients) if i != self.world.rank]
        monitor.batch(others)

    def updated(self, updater: Any) -> None:
        """Show the others what this rank has updated, and wait for what they have.

        The step itself is taken in memory of this rank's own. To read a line of the cache that others have read, and
        then write to it, takes ten times as long as to write to it alone.
        """
        if self.gradients is not None:
            part = self.world.part(self.parameters.size)
            self.parameters[part] = updater.weight[part]
            self.world.meet()

    def leave(self, updater: Any) -> None:
        """End: the updater gets what the others have updated."""
        if self.gradients is not None:
            updater.weight[:] = self.parameters

    def losses(self, losses: Sequence[float], monitor: GradientMonitor) -> list[float]:
        """The losses of whole batches, from those of this rank's rows; the monitor gets the sums of all ranks too."""
        both = np.hstack([np.array(losses)[:, None] * self.share, np.concatenate(monitor.batches)])
        self.world.sum(both)
        monitor.batches[:] = [both[:, 1:]]
        found: list[float] = both[:, 0].tolist()
        return found

    def refuse_parted(self, executor: Executor) -> None:
        """Make sure at the end that all ranks have the same parameters.

        Errors
            BindError on all ranks if one has others.
        """
        digests = {
            str(k): hashlib.sha256(on_host(x).tobytes()).hexdigest()
            for k, x in executor.flat_parameters.buffers.items()
        }
        self.world.agree("fit: the ranks have come apart", digests)


def joined(model: Any, given: Any, kvstore: Any, iterator: Any) -> tuple[Ranks | None, Any]:
    """How `fit` takes part in what it was given as `parallel` or `kvstore`, and the iterator for that."""
    if not isinstance(given, parallel.World | None):
        raise DTypeError(f"fit: parallel is {given!r:.80}, expected tl.parallel.world()")
    world = parallel.of_store(kvstore, "fit: kvstore") if given is None else given
    if world is None or world.size == 1:
        return None, iterator
    if not model.ctx.on_host and world.sync:
        raise BindError("fit: sync=True needs batch normalization on the processor; leave it out on a GPU")
    parts = Parts(world, iterator, split=given is not None)
    return Ranks(world, parts), parts


__all__ = ["Parts", "Ranks", "joined"]
