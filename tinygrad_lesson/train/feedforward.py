"""`FeedForward`: a symbol with parameters that can be fitted, asked and saved, as in MXNet 1.x."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import Context, assign, cpu, require_device
from tinygrad_lesson.engine.errors import BindError, DTypeError, shown
from tinygrad_lesson.mxnet.bound import as_numbers
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.params import load_checkpoint, save_checkpoint
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.random import MXNetGenerator, default_generator
from tinygrad_lesson.train import metric, optimizer
from tinygrad_lesson.train.answering import Answering
from tinygrad_lesson.train.callback import Callbacks, as_list, as_writer, is_logged, log_line
from tinygrad_lesson.train.classes import ClassNumbers, check_labels
from tinygrad_lesson.train.data import as_pair, count_batches, is_plain
from tinygrad_lesson.train.guard import first_batches, kept_epochs, span
from tinygrad_lesson.train.history import Arrays, History, Trained
from tinygrad_lesson.train.initializer import Initializer, Uniform
from tinygrad_lesson.train.interrupt import AT_ONCE, Whole
from tinygrad_lesson.train.learning import Learning
from tinygrad_lesson.train.monitor import GradientMonitor
from tinygrad_lesson.train.predictors import Predictors
from tinygrad_lesson.train.ranks import Ranks, joined
from tinygrad_lesson.train.rows import as_size
from tinygrad_lesson.train.states import Course, States


def progress_bar(**settings: Any) -> Any:
    """A bar of tqdm's, which is imported when first shown."""
    return importlib.import_module("tqdm").tqdm(**settings)


class Watched(NamedTuple):
    """What a call of `fit` shows, and to whom."""

    batch_ends: list[Callable[..., Any]]
    epoch_ends: list[Callable[..., Any]]
    write: Callable[[str], Any] | None  # a line
    eval_data: Any
    eval_metric: Any
    progress: bool

    @classmethod
    def by(
        cls, callbacks: tuple[Any, Any], write: Any, evaluation: tuple[Any, Any], progress: Any
    ) -> Watched:
        """As the arguments of `fit` say: what is called after batches and epochs, data and metric in pairs."""
        batch_end, epoch_end = callbacks
        eval_data, eval_metric = evaluation
        metric.create(eval_metric)
        return cls(
            as_list(batch_end, "fit: batch_end_callback"),
            as_list(epoch_end, "fit: epoch_end_callback"),
            write,
            as_pair(eval_data, "fit: eval_data"),
            eval_metric,
            bool(progress) if progress is not None else sys.stderr.isatty(),
        )

    @property
    def between(self) -> bool:
        """Whether somebody looks after each epoch."""
        return bool(self.batch_ends or self.epoch_ends) or self.eval_data is not None

    def tell(self, epoch: int, losses: Sequence[float], speed: float) -> None:
        """Write the lines of some epochs, which began with this one."""
        for number, loss in enumerate(losses, epoch + 1):
            if self.write is not None and is_logged(number):
                self.write(log_line(number, loss, speed))


class FeedForward(Learning, Answering):
    """A network that learns: `symbol` gives the loss, `prediction` (or `symbol`) the answers.

    `optimizer` is a name with its settings as further keywords, or an `Optimizer`; `num_epoch` is the number of the
    last epoch. `seed` makes the first weights and everything drawn later repeatable; without it the default generator
    is used.

    A symbol that ends in `SoftmaxOutput` gives the answers itself. What is then reported as the loss is the mean
    cross-entropy. That op's gradients are sums over the rows: as in MXNet they are divided by the batch size if the
    optimizer is given by its name, without `rescale_grad`.

    Source
        MXNet 1.9, `mx.model.FeedForward`, and the training loop of the lesson.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.sym.FullyConnected(tl.sym.Variable("data"), num_hidden=2)
        >>> model = tl.FeedForward(tl.sym.SoftmaxOutput(x, name="softmax"), num_epoch=100, learning_rate=1.0)
        >>> data, label = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
        >>> history = model.fit(data, label)
        >>> model.predict(data).argmax(axis=1).tolist()
        [0, 0, 1, 1]
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
        epochs = epoch, last = span(self.begin_epoch, self.num_epoch)
        callbacks, written = (batch_end_callback, epoch_end_callback), as_writer(log, logger)
        watched = Watched.by(callbacks, written, (eval_data, eval_metric), progress)
        self.ranks, iterator = joined(self, parallel, kvstore, self.batches(X, y, shuffle))
        batches = first_batches(iterator)
        executor = self.bind_batches(batches[0], iterator, bool(watched.batch_ends))
        if self.ranks is not None:
            self.ranks.join(self, executor, last)
            if self.ranks.world.rank:
                watched = watched._replace(batch_ends=[], epoch_ends=[], write=None, progress=False)
        self.checks = check_labels(executor, iterator, batches[0], watched.eval_data)
        with self.room:
            updater, monitor = self.start(executor)
        first = self.parameters(executor)
        self.history = History(optimizer=type(self.optimizer).__name__.lower())
        kept: dict[int, Arrays | None] = dict.fromkeys(kept_epochs(keep, last - epoch))
        self.course = self.set_out(updater, iterator)
        with self.whole.watching():
            try:
                self.learn(executor, updater, monitor, iterator, epochs, watched, kept)
                if self.ranks is not None:
                    self.ranks.refuse_parted(executor)
            except KeyboardInterrupt:
                self.break_off(executor, monitor, first)
                raise
            finally:  # also of a training that ended in an error one can ask what happened
                self.end(executor, updater, monitor)
                known = {epoch: arrays for epoch, arrays in kept.items() if arrays is not None}
                self.history.trained = Trained(self.symbol, batches, first, self.parameters(executor), known)
        return self.history

    def bind_batches(self, batch: Mapping[str, Any], iterator: Any, looked_at: bool) -> Executor:
        """The executor for batches like this one, of which somebody may look at each, and its room on a device."""
        step_by_step = looked_at or self.ranks is not None
        self.room = self.room_for(batch, 0 if step_by_step else count_batches(iterator))
        with self.room:
            return self.bind_training(batch)

    def learn(
        self,
        executor: Executor,
        updater: Any,
        monitor: GradientMonitor,
        iterator: Any,
        epochs: tuple[int, int],
        watched: Watched,
        kept: dict[int, Arrays | None],
    ) -> None:
        """All epochs, as many at a time as nobody looks between; `kept` gets the parameters after those it names."""
        (epoch, last), history, count = epochs, self.history, 1
        shown = {"total": last - epoch, "unit": "epoch", "leave": False, "disable": not watched.progress}
        with progress_bar(**shown) as bar:
            while epoch < last:
                done = epoch - self.begin_epoch
                count = min(count, next((n for n in kept if n > done), last) - done, last - epoch)
                began, before = history.seconds, history.steps
                losses = self.run_epochs(
                    executor, updater, monitor, iterator, epoch, count, watched.batch_ends, history
                )
                spent = history.seconds - began
                self.take_from(executor)
                if done + count in kept:
                    kept[done + count] = self.parameters(executor)
                if watched.eval_data is not None:
                    history.accuracy.append(self.score(watched.eval_data, eval_metric=watched.eval_metric))
                watched.tell(epoch, losses, (history.steps - before) * iterator.batch_size / spent)
                for callback in watched.epoch_ends:
                    callback(epoch, self.prediction, self.arg_params, self.aux_params)
                bar.update(count)
                epoch += count
                if not watched.between and is_plain(iterator) and iterator.repeats:
                    count = max(1, int(count * AT_ONCE / spent))
            if not history.loss:
                self.take_from(executor)

    def break_off(self, executor: Executor, monitor: GradientMonitor, first: Arrays) -> None:
        """Have the parameters of the last step that was whole."""
        with self.whole:
            monitor.batches.clear()
            if not self.history.steps:  # a runner that is being made writes into the arrays
                for name, array in {**executor.flat_parameters.arrays, **executor.states}.items():
                    assign(array, first[name])
            if not (self.history.steps and self.whole.broken):
                self.take_from(executor)

    def end(self, executor: Executor, updater: Any, monitor: GradientMonitor) -> None:
        """Leave the ranks and the device, and note what was seen."""
        if self.ranks is not None:
            monitor.batches.clear()  # of this rank's part alone
            self.ranks.leave(updater)
        self.ranks, self.room = None, contextlib.nullcontext()
        monitor.epoch()
        self.history.mean_abs_grad = monitor.mean_abs_grad
        if self.course is not None:
            self.course = self.course.rest(self.arg_params)

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
