"""The training of a `FeedForward`: an executor for its batches, and steps until an epoch is done."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, assign, host_copy
from tinygrad_lesson.engine.errors import BindError, DTypeError, NonFiniteError, ShapeError, listed
from tinygrad_lesson.engine.graph import EDGES, Edge, Node
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.train import optimizer
from tinygrad_lesson.train.at_once import train_at_once
from tinygrad_lesson.train.callback import BatchEndParam
from tinygrad_lesson.train.classes import ClassNumbers
from tinygrad_lesson.train.data import NDArrayIter, as_batches, is_iterator, is_plain
from tinygrad_lesson.train.guard import label_shape, refuse_loss, refuse_non_finite, undecided, whole_epoch
from tinygrad_lesson.train.history import Arrays, History
from tinygrad_lesson.train.initializer import Initializer
from tinygrad_lesson.train.interrupt import Whole
from tinygrad_lesson.train.monitor import GradientMonitor
from tinygrad_lesson.train.multipliers import refuse_unknown
from tinygrad_lesson.train.predictors import Predictors
from tinygrad_lesson.train.ranks import Ranks, SharedMonitor
from tinygrad_lesson.train.rows import as_rows, as_size, count_rows
from tinygrad_lesson.train.states import Course, States


class Learning:
    """How a model learns: what is bound, filled and stepped through."""

    symbol: Symbol
    prediction: Symbol
    ctx: Context
    begin_epoch: int
    optimizer: Any
    averages: bool
    initializer: Initializer
    numpy_batch_size: int
    arg_params: Arrays | None
    aux_params: Arrays
    allow_extra_params: bool
    generator: MXNetGenerator
    predictors: Predictors
    states: States | None  # where the next training goes on, and from which parameters
    states_of: Any
    whole: Whole
    ranks: Ranks | None  # while several train
    plans: dict[bool | str, Plan]  # that were compiled to know how much it takes
    room: Any  # on a device, while it trains
    checks: list[ClassNumbers]  # of the labels in each batch

    def batches(self, X: Any, y: Any, shuffle: bool) -> Any:
        """An iterator over the training data."""
        if is_iterator(X):
            if y is not None:
                raise BindError("fit: X is an iterator, which brings its own labels, so y has to be left out")
            return X
        if y is None and isinstance(X, tuple) and len(X) == 2:
            X, y = X
        names, label = self.symbol.list_arguments(), self.label_name()
        X = as_rows(X, "fit: X", "_0_data" in names)
        y = None if y is None else as_rows(y, "fit: y", f"_0_{label}" in names)
        size = min(as_size(self.numpy_batch_size, "numpy_batch_size"), max(1, count_rows(X)))
        column = isinstance(X, np.ndarray) and isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] == 1
        if column and label_shape(self.symbol, label, data=(size, *X.shape[1:])) == (size,):
            y = y[:, 0]
        return NDArrayIter(X, y, size, shuffle, label_name=label, generator=self.generator)

    def label_name(self) -> str:
        """The argument that takes the labels: the one whose name ends in `label`."""
        named = [name for name in self.symbol.list_arguments() if name.endswith("label")]
        return named[0] if len(named) == 1 else "softmax_label"

    def bind_training(self, batch: Mapping[str, np.ndarray]) -> Executor:
        """An executor for batches of this shape, with the present or with first parameters."""
        executor = self.bound(batch, self.ctx)
        executor.generator = self.generator
        executor.ready, self.plans = self.plans, {}
        self.fill(executor, [name for name in self.symbol.list_arguments() if name not in batch])
        return executor

    def bound(self, batch: Mapping[str, np.ndarray], place: Context) -> Executor:
        """An executor for batches of this shape on a device; its arrays are zero."""
        names = self.symbol.list_arguments()
        unknown = [name for name in batch if name not in names]
        if unknown and unknown[0].endswith("label") and not any(name.endswith("label") for name in names):
            raise BindError(
                "fit: the symbol has no loss, for none of its arguments takes labels; give the loss as symbol, and "
                f"these answers as prediction=; arguments: {listed(names)}"
            )
        if unknown:
            raise BindError(
                f"fit: the batches hold {unknown[0]!r}, which is no argument; arguments: {listed(names)}"
            )
        shapes: dict[str, Any] = {name: array.shape for name, array in batch.items()}
        for name, shape in shapes.items():
            if 0 in shape:
                raise ShapeError(f"fit: {name} is {show(shape)}; there is nothing to learn from")
        missing = undecided(self.symbol, shapes) or [
            name
            for name in names
            if name.endswith("label") and name not in batch and name not in (self.arg_params or {})
        ]
        if missing:
            given = ", ".join(f"{name} {show(shape)}" for name, shape in shapes.items())
            raise BindError(f"fit: the batches hold {given}; the symbol also needs {missing[0]!r}")
        requests = {name: "null" if name in batch else "write" for name in names}
        rows = len(next(iter(batch.values()))) if self.ranks is None else self.ranks.iterator.batch_size
        symbol = with_loss_first(self.symbol, rows if self.averages else 1)
        symbol = symbol if self.ranks is None else self.ranks.loss(symbol, shapes)
        executor: Executor = symbol.simple_bind(place, requests, None, **shapes)
        return executor

    def fill(self, executor: Executor, parameters: list[str]) -> None:
        """Give parameters and states their values: those there are, first ones for the rest."""
        attributes = {node.name: node.label.attributes for node in self.symbol.nodes if node.is_variable}
        known = self.arg_params or {}
        if not self.allow_extra_params:
            extra = [
                name
                for name in known
                if name not in executor.arguments and name not in self.prediction.list_arguments()
            ]
            if extra:
                raise BindError(
                    f"fit: {extra[0]!r} in arg_params is no argument; allow_extra_params=True ignores it"
                )
        for name, array in [(n, executor.arguments[n]) for n in parameters] + list(executor.states.items()):
            value = known.get(name, self.aux_params.get(name))
            if value is None:
                own = attributes.get(name, {}).get("__init__")
                value = self.initializer(name, array.shape, self.generator, array.dtype, own)
            if value.shape != array.shape:
                raise ShapeError(f"fit: {name!r} is {show(value.shape)}, expected {show(array.shape)}")
            first = np.asarray(value, array.dtype)
            assign(array, first)
            if not np.isfinite(first).all():
                wrong = first[~np.isfinite(first)][0]
                raise NonFiniteError(
                    f"fit: {name!r} holds {wrong} before the first step; expected finite numbers"
                )

    def room_for(self, batch: Mapping[str, np.ndarray], batches: int) -> Any:
        """Room for a training on a device, all of it allocated at once; nothing on the host."""
        if self.ctx.on_host:
            return nullcontext()
        bound = self.bound(batch, Context())
        module: Any = importlib.import_module("tinygrad_lesson.train.room")
        plan = self.plans[True] = bound.compile(True)
        return module.room_of_training(
            bound, plan, self.optimizer, self.symbol.nodes, list(batch), batches, self.ctx
        )

    def start(self, executor: Executor) -> tuple[Any, GradientMonitor]:
        """The updater over the flat buffers, and the monitor of the gradients."""
        flat, gradients = executor.flat_parameters, executor.flat_gradients
        if len(flat.buffers) > 1:
            raise DTypeError(
                f"fit: parameters of several types, {', '.join(map(str, flat.buffers))}; expected one"
            )
        weight = next(iter(flat.buffers.values()), np.zeros(0, np.float32))
        grad = next(iter(gradients.buffers.values()), np.zeros(0, np.float32))
        refuse_unknown(self.optimizer, {*self.symbol.list_inputs(), *self.prediction.list_inputs()})
        updater = optimizer.FlatUpdater(
            self.optimizer, weight, grad, list(flat.segments.items()), self.symbol
        )
        if self.ranks is not None:
            self.ranks.move(executor, updater)
            return updater, SharedMonitor(self.ranks.world, updater.grad, gradients.segments)
        return updater, GradientMonitor(grad, gradients.segments)

    def set_out(self, updater: Any, iterator: Any) -> Course:
        """The course of a training, taken up where that of the loaded parameters ended."""
        course = Course(self, updater, iterator)
        if self.states is not None and self.arg_params is self.states_of:
            course.take_up(self.states)
        return course

    def run_epochs(
        self,
        executor: Executor,
        updater: Any,
        monitor: GradientMonitor,
        iterator: Any,
        epoch: int,
        count: int,
        callbacks: list[Callable[..., Any]],
        history: History,
    ) -> list[float]:
        """`count` passes over the data; their mean losses, which the history gets too."""
        known, began = len(history.loss), time.perf_counter()
        with self.room:
            run = executor.runner(True)
        at_once = not callbacks and hasattr(run, "train") and self.ranks is None
        try:
            if at_once:
                batches = whole_epoch(iterator)
                self.look_at(batches, epoch, iterator)
                with self.room:
                    done = train_at_once(
                        executor, updater, monitor, batches, (epoch, count), history, self.whole
                    )
                if done:
                    return history.loss[known:]
            for e in range(epoch, epoch + count):
                self.run_epoch(executor, updater, monitor, iterator, e, callbacks, history)
        finally:
            history.seconds += time.perf_counter() - began
        return history.loss[known:]

    def look_at(self, batches: Mapping[str, np.ndarray], epoch: int, iterator: Any, first: int = 1) -> None:
        """Refuse what nothing can be learnt from in batches, which lie along a first axis and count from `first`."""
        if epoch == self.begin_epoch:
            refuse_non_finite(batches, first)
        if epoch == self.begin_epoch or not is_plain(iterator):
            for check in self.checks:
                check.refuse("fit", batches)

    def run_epoch(
        self,
        executor: Executor,
        updater: Any,
        monitor: GradientMonitor,
        iterator: Any,
        epoch: int,
        callbacks: list[Callable[..., Any]],
        history: History,
    ) -> float:
        """One pass over the data, a step at a time; the mean loss."""
        losses: list[float] = []
        for number, (batch, _) in enumerate(as_batches(iterator), 1):
            if epoch == self.begin_epoch or self.checks:
                self.look_at({name: array[None] for name, array in batch.items()}, epoch, iterator, number)
            with self.whole:
                executor.forward(is_train=True, **batch)
                executor.backward()
                if self.ranks is not None:
                    self.ranks.exchange(executor, monitor)
                losses.append(float(executor.outputs_now[0].mean(dtype=float)))
                if not math.isfinite(losses[-1]):
                    refuse_loss(executor, np.array(losses[-1:]), number, epoch, number - 1)
                updater.step()
                if self.ranks is None:
                    monitor.batch()
                else:
                    self.ranks.updated(updater)
                history.steps += 1
            for callback in callbacks:
                callback(BatchEndParam(epoch, number, None, locals()))
        if not losses:
            raise ShapeError("fit: the iterator gave no batch")
        losses = losses if self.ranks is None else self.ranks.losses(losses, monitor)
        with self.whole:
            monitor.epoch()
            history.loss.append(float(np.mean(losses)))
        return history.loss[-1]

    def parameters(self, executor: Executor) -> Arrays:
        """A copy of the executor's parameters and states."""
        executor.pin()
        held = {**executor.flat_parameters.arrays, **executor.states}
        return {name: host_copy(array) for name, array in held.items()}

    def take_from(self, executor: Executor) -> None:
        """Make the executor's parameters this model's own."""
        executor.pin()
        flat = executor.flat_parameters.arrays
        self.arg_params = {name: host_copy(array) for name, array in flat.items()}
        self.aux_params = {name: host_copy(array) for name, array in executor.states.items()}
        self.predictors.clear()


def with_loss_first(symbol: Symbol, rows: int) -> Symbol:
    """`symbol`, and before it the number that its first output brings down, where that is not the output itself.

    Gradients are then divided by `rows`.
    """
    head, *others = symbol.heads
    op = head.node.op
    loss = None if op is None else op.minimized(EDGES, *head.node.inputs)
    if op is None or loss is None:
        return symbol
    averaged = Edge(Node(op.averaged(rows), head.node.inputs, head.node.label))
    return Symbol([EDGES.stop_gradient(loss), averaged, *others])
