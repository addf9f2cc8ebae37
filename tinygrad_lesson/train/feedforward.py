"""`FeedForward`: a symbol with parameters that can be fitted, asked and saved, as in MXNet 1.x."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, assign, cpu, host_copy, require_device
from tinygrad_lesson.engine.errors import BindError, DTypeError, NonFiniteError, ShapeError, listed, shown
from tinygrad_lesson.engine.graph import EDGES, Edge, Node
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet.bound import as_numbers
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.params import load_checkpoint, save_checkpoint
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.random import MXNetGenerator, default_generator
from tinygrad_lesson.train import metric, optimizer
from tinygrad_lesson.train.at_once import train_at_once
from tinygrad_lesson.train.callback import BatchEndParam, Callbacks, as_list, as_writer, is_logged, log_line
from tinygrad_lesson.train.classes import ClassNumbers, check_labels, per_label
from tinygrad_lesson.train.data import (
    NDArrayIter,
    as_batches,
    as_pair,
    as_rows,
    as_size,
    count_batches,
    count_rows,
    is_iterator,
    is_plain,
)
from tinygrad_lesson.train.guard import (
    first_batches,
    kept_epochs,
    label_shape,
    refuse_loss,
    refuse_non_finite,
    span,
    undecided,
    whole_epoch,
)
from tinygrad_lesson.train.history import Arrays, History, Trained
from tinygrad_lesson.train.initializer import Initializer, Uniform
from tinygrad_lesson.train.interrupt import AT_ONCE, Whole
from tinygrad_lesson.train.monitor import GradientMonitor
from tinygrad_lesson.train.multipliers import refuse_unknown
from tinygrad_lesson.train.predictors import Predictors
from tinygrad_lesson.train.ranks import Ranks, SharedMonitor, joined
from tinygrad_lesson.train.states import Course, States


def progress_bar(**settings: Any) -> Any:
    """A bar of tqdm's, which is imported when first shown."""
    return importlib.import_module("tqdm").tqdm(**settings)


class FeedForward:
    """A network that learns: `symbol` gives the loss, `prediction` (or `symbol`) the answers.

    `optimizer` is a name with its settings as further keywords, or an `Optimizer`. `seed` makes the first
    weights and everything drawn later repeatable; without it the default generator is used.

    A symbol that ends in `SoftmaxOutput` gives the answers itself. What is then reported as the loss is the mean
    cross-entropy. That op's gradients are sums over the rows: as in MXNet they are divided by the batch size if the
    optimizer is given by its name, without `rescale_grad`.

    Source
        MXNet 1.9, `mx.model.FeedForward`, and the training loop of the lesson.
    """

    def __init__(
        self,
        symbol: Symbol,
        ctx: Any = cpu(),
        num_epoch: int | None = None,
        optimizer: Any = "sgd",
        initializer: Initializer = Uniform(0.01),
        numpy_batch_size: int = 128,
        arg_params: Mapping[str, Any] | None = None,
        aux_params: Mapping[str, Any] | None = None,
        allow_extra_params: bool = False,
        begin_epoch: int = 0,
        *,
        prediction: Symbol | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(symbol, Symbol):
            raise DTypeError(f"FeedForward: symbol is {symbol!r}, expected a Symbol")
        if not isinstance(prediction, Symbol | None):
            raise DTypeError(f"FeedForward: prediction is {prediction!r:.80}, expected a Symbol")
        if not callable(initializer) or isinstance(initializer, type):
            raise DTypeError(
                f"FeedForward: initializer is {initializer!r:.80}, expected one such as Xavier()"
            )
        self.symbol = symbol
        self.prediction = symbol if prediction is None else prediction
        self.ctx: Context = ctx[0] if isinstance(ctx, list | tuple) and len(ctx) == 1 else ctx
        require_device(self.ctx)
        self.num_epoch, self.begin_epoch = num_epoch, begin_epoch
        refuse_batch_size(settings)
        self.optimizer = as_optimizer(optimizer, settings)
        self.averages = isinstance(optimizer, str) and "rescale_grad" not in settings
        self.initializer, self.numpy_batch_size = initializer, numpy_batch_size
        self.arg_params = None if arg_params is None else as_parameters(arg_params, "arg_params")
        self.aux_params: Arrays = {} if aux_params is None else as_parameters(aux_params, "aux_params")
        self.allow_extra_params = allow_extra_params
        self.generator = default_generator() if seed is None else MXNetGenerator(as_size(seed, "seed"))
        self.history = History()
        self.predictors = Predictors()
        self.course: Course | None = None  # of the last training
        self.states: States | None = None  # where the next one goes on, and from which parameters
        self.states_of: Any = None
        self.whole = Whole()
        self.ranks: Ranks | None = None  # while several train
        self.plans: dict[bool | str, Plan] = {}  # that were compiled to know how much it takes
        self.room: Any = contextlib.nullcontext()  # on a device, while it trains
        self.checks: list[ClassNumbers] = []  # of the labels in each batch

    def __repr__(self) -> str:
        name, trained = self.prediction.list_outputs()[0], self.history.epochs
        kind = type(self.optimizer).__name__.lower()
        state = f"trained for {trained} epochs" if trained else "not trained"
        return (
            f"<FeedForward {shown(name)}: {kind}, {'loaded' if self.arg_params and not trained else state}>"
        )

    # Learning.

    def fit(
        self,
        X: Any,
        y: Any = None,
        eval_data: Any = None,
        eval_metric: Any = "acc",
        epoch_end_callback: Callbacks = None,
        batch_end_callback: Callbacks = None,
        logger: Any = None,
        *,
        shuffle: bool = False,
        log: Callable[[str], Any] | None = None,
        progress: bool | None = None,
        keep: Iterable[int] = (),
        kvstore: Any = "local",
        parallel: Any = None,
    ) -> History:
        """Train up to epoch `num_epoch` on arrays or on an iterator of batches.

        `log` gets the lesson's lines; `progress` shows a bar, by default on a terminal only. The history holds
        the parameters before training, after the first epoch and after the last, and after those of `keep`.

        Ctrl-C is answered after the step that is being taken: KeyboardInterrupt is raised, the model has the
        parameters of that step, and the history holds the epochs that were whole. A second Ctrl-C does not wait;
        if it breaks a step, the parameters stay as they were.

        With `parallel`, which is `tl.parallel.world()`, all ranks train together: each takes its part of the rows of
        every batch. With the `kvstore` ``"dist_sync"`` each has rows of its own, and a batch is those of all. Only rank
        0 calls callbacks, writes lines and shows the bar.

        Errors
            ShapeError or BindError naming the layer where a batch does not fit the symbol;
            AttributeValueError for labels that are no class numbers where such are expected;
            NonFiniteError where data or loss is NaN or infinite. The parameters stay as they were; `history`
            tells what came before.
        """
        epoch, last = span(self.begin_epoch, self.num_epoch)
        metric.create(eval_metric)
        batch_ends = as_list(batch_end_callback, "fit: batch_end_callback")
        epoch_ends = as_list(epoch_end_callback, "fit: epoch_end_callback")
        write = as_writer(log, logger)
        eval_data = as_pair(eval_data, "fit: eval_data")
        self.ranks, iterator = joined(self, parallel, kvstore, self.batches(X, y, shuffle))
        batches = first_batches(iterator)
        self.room = self.room_for(batches[0], 0 if batch_ends or self.ranks else count_batches(iterator))
        with self.room:
            executor = self.bind_training(batches[0])
        if self.ranks is not None:
            self.ranks.join(self, executor, last)
            if self.ranks.world.rank:
                batch_ends, epoch_ends, write, progress = [], [], None, False
        self.checks = check_labels(executor, iterator, batches[0], eval_data)
        with self.room:
            updater, monitor = self.start(executor)
        first = self.parameters(executor)
        self.history = history = History(optimizer=type(self.optimizer).__name__.lower())
        hidden = not progress if progress is not None else not sys.stderr.isatty()
        count = 1
        stops, kept = kept_epochs(keep, last - epoch), dict[int, Arrays]()
        self.course = self.set_out(updater, iterator)
        watched = batch_ends or epoch_ends or eval_data is not None
        with self.whole.watching():
            try:
                with progress_bar(total=last - epoch, unit="epoch", leave=False, disable=hidden) as bar:
                    while epoch < last:
                        done = epoch - self.begin_epoch
                        count = min(count, next((n for n in stops if n > done), last) - done, last - epoch)
                        began, before = history.seconds, history.steps
                        losses = self.run_epochs(
                            executor, updater, monitor, iterator, epoch, count, batch_ends, history
                        )
                        spent = history.seconds - began
                        self.take_from(executor)
                        if done + count in stops:
                            kept[done + count] = self.parameters(executor)
                        if eval_data is not None:
                            history.accuracy.append(self.score(eval_data, eval_metric=eval_metric))
                        speed = (history.steps - before) * iterator.batch_size / spent
                        for number, loss in enumerate(losses, epoch + 1):
                            if write is not None and is_logged(number):
                                write(log_line(number, loss, speed))
                        for callback in epoch_ends:
                            callback(epoch, self.prediction, self.arg_params, self.aux_params)
                        bar.update(count)
                        epoch += count
                        if not watched and is_plain(iterator) and iterator.repeats:
                            count = max(1, int(count * AT_ONCE / spent))
                    if not history.loss:
                        self.take_from(executor)
                if self.ranks is not None:
                    self.ranks.refuse_parted(executor)
            except KeyboardInterrupt:
                with self.whole:
                    monitor.batches.clear()
                    if not history.steps:  # a runner that is being made writes into the arrays
                        for name, array in {**executor.flat_parameters.arrays, **executor.states}.items():
                            assign(array, first[name])
                    if not (history.steps and self.whole.broken):
                        self.take_from(executor)
                raise
            finally:  # also of a training that ended in an error one can ask what happened
                if self.ranks is not None:
                    monitor.batches.clear()  # of this rank's part alone
                    self.ranks.leave(updater)
                self.ranks, self.room = None, contextlib.nullcontext()
                monitor.epoch()
                history.mean_abs_grad = monitor.mean_abs_grad
                history.trained = Trained(self.symbol, batches, first, self.parameters(executor), kept)
                self.course = self.course.rest(self.arg_params)
        return history

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
            return contextlib.nullcontext()
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
        takes = getattr(run, "any_rule", False) or updater.take(0)
        at_once = not callbacks and hasattr(run, "train") and takes and self.ranks is None
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

    # Answering.

    def predict(self, X: Any, num_batch: int | None = None) -> np.ndarray:
        """Answers for rows of an array, or for the rows of an iterator, in its order and each of them once.

        Shapes
            (rows, ...) -> (rows, results)
        """
        return self.answers(X, num_batch)[0]

    def answers(self, X: Any, num_batch: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Answers, and the labels that the batches carried, if any."""
        num_batch = None if num_batch is None else as_size(num_batch, "predict: num_batch")
        plain = type(X) is np.ndarray and X.dtype.kind in "fiub"
        if not plain and not is_iterator(X):
            X = X[0] if isinstance(X, tuple) and len(X) == 2 else X  # without labels, which are not asked for
            X = as_rows(
                X, "predict: X", isinstance(X, list) and "_0_data" in self.prediction.list_arguments()
            )
            plain = isinstance(X, np.ndarray)
        if plain and X.ndim and 0 < len(X) <= self.numpy_batch_size and num_batch != 0:
            X = np.asarray(X, np.float32)  # one batch, without ado
            return self.answer({"data": X}), None
        if not is_iterator(X):
            size = as_size(self.numpy_batch_size, "numpy_batch_size")
            X = NDArrayIter(X, batch_size=min(size, max(1, count_rows(X))))
        iterator: Any = X.once() if isinstance(X, NDArrayIter) else X
        names = self.prediction.list_arguments()
        told = {name for name, *_ in getattr(iterator, "provide_label", None) or ()}
        results, labels = [], []
        for number, (batch, pad) in enumerate(as_batches(iterator)):
            if number == num_batch:
                break
            rows = len(next(iter(batch.values()))) - pad
            given = {name: array for name, array in batch.items() if name in names}
            results.append(self.answer(given)[:rows])
            labels += [
                array[:rows] for name, array in batch.items() if name.endswith("label") or name in told
            ]
        if not results:
            raise ShapeError("predict: there are no rows")
        return np.concatenate(results), np.concatenate(labels) if labels else None

    def answer(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first output for one batch. Threads wait for each other."""
        with self.predictors.lock:
            executor = self.predictor(batch)
            executor.run(False, batch)
            return host_copy(executor.outputs_now[0])

    def predictor(self, batch: Mapping[str, np.ndarray]) -> Executor:
        """An executor of the prediction for batches of this shape."""
        if self.arg_params is None:
            raise BindError("predict: there are no parameters yet; call fit or load first")
        key = tuple([(name, array.shape) for name, array in batch.items()])
        known = self.predictors.find(key, self.arg_params, self.aux_params)
        if known is not None:
            return known
        shapes: dict[str, Any] = {name: array.shape for name, array in batch.items()}
        executor = self.bind_prediction(shapes)
        missing = [
            n
            for n in executor.arguments
            if n not in batch and n not in self.arg_params and not n.endswith("label")
        ]
        if missing:
            raise BindError(f"predict: there is no value for {missing[0]!r}")
        return self.predictors.add(key, executor, self.arg_params, self.aux_params)

    def bind_prediction(self, shapes: dict[str, Any]) -> Executor:
        """An executor of the prediction, refused where a parameter does not fit rows of this shape."""
        executor = self.prediction.simple_bind(self.ctx, "null", None, **shapes)
        for name, value in (self.arg_params or {}).items():
            wanted = executor.arguments[name].shape if name in executor.arguments else value.shape
            if value.shape != wanted:
                given = ", ".join(f"{n} {show(shape)}" for n, shape in shapes.items())
                raise ShapeError(
                    f"predict: {name!r} is {show(value.shape)}, expected {show(wanted)} for rows {given}: the "
                    "parameter or the rows have another shape than in training"
                )
        return executor

    def score(self, X: Any, y: Any = None, eval_metric: Any = "acc") -> Any:
        """Accuracy, or another metric, on labelled rows: a number, or a list of them for a list of metrics.

        `eval_metric` is a name, a function of (label, prediction) that gives a number, a metric, or a list of these.
        Where the network ends in `SoftmaxOutput` a metric gets a row for each label that is not ignored.

        Errors
            BindError if there are no labels.
        """
        measure = metric.create(eval_metric)
        if y is not None or isinstance(X, tuple):
            X, y = as_pair(X if y is None else (X, y), "score")
        if y is not None and isinstance(X, NDArrayIter) and X.shuffle:
            raise BindError("score: X is an iterator that shuffles, so its rows are not in the order of y")
        predicted, true = self.answers(X)
        true = true if y is None else y
        if true is None:
            raise BindError("score: there are no labels; give y, or an iterator with a label")
        predicted, true = per_label(self.symbol, predicted, true)
        measure.reset()
        measure.update([true], [predicted])
        return measure.get()[1]

    # Keeping.

    def save(self, prefix: str, epoch: int | None = None, *, states: bool = False) -> None:
        """Write `prefix-symbol.json` (the prediction) and `prefix-0100.params`, each whole or not at all.

        With `states`, also `prefix-0100.states`, with which `load` goes on as if there had been no break: the loss, the
        optimizer with its settings and what it remembers, the number of updates, the generators of random numbers and
        the order of the rows. In a callback at the end of an epoch it says where the training stands then.
        """
        if self.arg_params is None:
            raise BindError("save: there are no parameters yet; call fit first")
        if epoch is None:
            trained = self.begin_epoch + (self.course is not None)
            epoch = trained if self.num_epoch is None else self.num_epoch
        kept = self.where_it_stands().to_arrays() if states else None
        save_checkpoint(prefix, epoch, self.prediction, self.arg_params, self.aux_params, states=kept)

    def where_it_stands(self) -> States:
        """What the present parameters need to be trained on.

        Errors
            BindError if they are not those of a training's last step.
        """
        if self.states is not None and self.arg_params is self.states_of:
            return self.states
        if self.course is None:
            raise BindError("save: there are no states beside these parameters; call fit first, to its end")
        return self.course.states()

    @classmethod
    def load(
        cls, prefix: str, epoch: int, ctx: Context = cpu(), *, states: bool | None = None, **more: Any
    ) -> FeedForward:
        """The model of a checkpoint, MXNet's or ours.

        If it was saved with `states`, `fit` goes on bit for bit; settings given here win over those saved. What is in
        no file is given again: a `lr_scheduler`, an optimizer of your own, and the data. `states` True insists
        on them, False leaves them.

        Errors
            FormatError naming the file and the place in it that is wrong.
        """
        symbol, arguments, auxiliary = load_checkpoint(prefix, epoch)
        found = States.beside(prefix, epoch, arguments, auxiliary, wanted=states)
        given = {"arg_params": arguments, "aux_params": auxiliary, "begin_epoch": epoch, "prediction": symbol}
        given |= found.settings_of_model(more) if found else {}
        loss = found.loss() if found else None
        model = cls(symbol if loss is None else loss, ctx, **{**given, **more})
        model.states, model.states_of = found, model.arg_params
        return model

    @classmethod
    def create(
        cls, symbol: Symbol, X: Any, y: Any = None, ctx: Any = cpu(), num_epoch: int = 1, **more: Any
    ) -> FeedForward:
        """A model of `symbol`, fitted to the data; `more` are settings of the model and of `fit`."""
        fitting = {k: more.pop(k) for k in inspect.signature(cls.fit).parameters if k in more}
        model = cls(symbol, ctx, num_epoch, **more)
        model.fit(X, y, **fitting)
        return model


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


def as_parameters(given: Any, what: str) -> Arrays:
    """Parameters as a user gives them.

    Errors
        DTypeError or ShapeError, which call them `what`, for anything but real numbers by name.
    """
    if not isinstance(given, Mapping):
        raise DTypeError(f"FeedForward: {what} is {given!r:.80}, expected arrays by name")
    arrays = {name: as_numbers(array, f"FeedForward: {what}[{name!r}]") for name, array in given.items()}
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}  # as predictors need them


def refuse_batch_size(settings: Mapping[str, Any]) -> None:
    """Say what the size of a batch is called here."""
    if "batch_size" in settings:
        raise DTypeError(
            "FeedForward: unknown keyword 'batch_size'; the rows of a batch are numpy_batch_size, or those of the "
            "iterator that fit is given"
        )


def as_optimizer(given: Any, settings: dict[str, Any]) -> Any:
    """An optimizer from its name and settings, or one that is made already."""
    if isinstance(given, str):
        return optimizer.create(given, **settings)
    if not isinstance(given, optimizer.Optimizer):
        raise DTypeError(f"FeedForward: optimizer is {given!r:.80}, expected a name or one such as SGD()")
    if settings:
        raise DTypeError(
            f"FeedForward: unknown keyword {next(iter(settings))!r}; the optimizer is made already"
        )
    return given
