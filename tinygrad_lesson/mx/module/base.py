"""What all modules share: training, scoring and predicting over the batches of an iterator."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import BindError, DTypeError, FormatError
from tinygrad_lesson.mx.ndarray import load, save
from tinygrad_lesson.mxnet.ndarray import NDArray, as_ndarray, bare
from tinygrad_lesson.train import metric
from tinygrad_lesson.train.batches import DataDesc
from tinygrad_lesson.train.callback import BatchEndParam, as_list
from tinygrad_lesson.train.initializer import Uniform

Arrays = Mapping[str, Any]


PRIVATE = {  # names of MXNet's own that scripts use all the same
    "_symbol": "symbol", "_optimizer": "optimizer", "_updater": "updater", "_context": "context",
    "_exec_group": "group", "_param_names": "param_names", "_aux_names": "aux_names", "_output_names": "output_names",
    "_modules": "modules", "_data_names": "data_names", "_label_names": "label_names", "_data_shapes": "data_shapes",
    "_buckets": "buckets", "_arg_params": "arg_params", "_aux_params": "aux_params",
    "_label_shapes": "label_shapes", "_curr_module": "current", "_grad_req": "grad_req",
    "_fixed_param_names": "fixed_param_names", "_state_names": "state_names", "_curr_bucket_key": "current_key",
    "_default_bucket_key": "default_bucket_key", "_sym_gen": "sym_gen",
}  # fmt: skip


def described(shapes: Any) -> list[DataDesc]:
    """Descriptions of arrays, from those or from pairs of a name and a shape.

    Errors
        DTypeError for a shape that is no tuple of sizes.
    """
    found = [x if isinstance(x, DataDesc) else DataDesc(*x) for x in shapes or ()]
    for told in found:
        if not isinstance(told.shape, list | tuple):
            raise DTypeError(
                f"bind: the shape of {told.name!r} is no tuple of sizes, but a {type(told.shape).__name__}"
            )
    return found


def as_metric(eval_metric: Any) -> Any:
    """A metric, from one or from what `mx.metric.create` takes."""
    return eval_metric if isinstance(eval_metric, metric.EvalMetric) else metric.create(eval_metric)


class BaseModule:
    """What a module is: it is bound to shapes, gets parameters and an optimizer, and then goes through batches.

    Source
        MXNet 1.9, ``mx.mod.BaseModule``.
    """

    binded = False
    for_training = False
    inputs_need_grad = False
    grad_req: Any = "write"
    params_initialized = False
    optimizer_initialized = False
    symbol: Any = None
    data_names: Sequence[str]
    output_names: Sequence[str]
    data_shapes: list[DataDesc]
    label_shapes: list[DataDesc] | None
    output_shapes: list[tuple[str, tuple[int, ...]]]

    def __init__(self, logger: Any = logging) -> None:
        self.logger = logger

    def require(self, *, optimizer: bool = False, gradients: bool = False) -> None:
        """Refuse what comes too early.

        Errors
            BindError saying what to call first.
        """
        first = (
            (self.binded, "bind(data_shapes=...)"),
            (self.params_initialized, "init_params()"),
            (self.optimizer_initialized or not optimizer, "init_optimizer()"),
            (self.for_training or not gradients, "bind(..., for_training=True)"),
        )
        for done, call in first:
            if not done:
                raise BindError(f"{type(self).__name__}: call {call} first")

    def bind(
        self,
        data_shapes: Any,
        label_shapes: Any = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: Any = None,
        grad_req: Any = "write",
    ) -> None:
        """Make room for batches of these shapes; parameters are those of `shared_module`, if there is one."""
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        self.for_training, self.inputs_need_grad, self.grad_req = for_training, inputs_need_grad, grad_req
        self.make_room(data_shapes, label_shapes, shared_module, force_rebind)
        self.binded = True

    def __getattr__(self, name: str) -> Any:
        if name not in PRIVATE:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return getattr(self, PRIVATE[name])

    @property
    def arg_params(self) -> dict[str, NDArray]:
        """Copies of the parameters."""
        return self.get_params()[0]

    @property
    def aux_params(self) -> dict[str, NDArray]:
        """Copies of the states."""
        return self.get_params()[1]

    # What each kind of module does its own way.

    def make_room(self, data_shapes: Any, label_shapes: Any, shared: Any, again: bool) -> None:
        """Make the arrays for batches of these shapes, over the parameters of `shared`; `again` if there are some."""
        raise NotImplementedError

    def init_params(
        self,
        initializer: Any = Uniform(0.01),
        arg_params: Mapping[str, Any] | None = None,
        aux_params: Mapping[str, Any] | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """Give the parameters their first values."""
        self.fill(
            force_init, initializer=initializer, arg_params=arg_params, aux_params=aux_params,
            allow_missing=allow_missing, allow_extra=allow_extra,
        )  # fmt: skip

    def fill(self, force_init: bool, **given: Any) -> None:
        """As `init_params`, with its other arguments by name."""
        raise NotImplementedError

    def init_optimizer(
        self,
        kvstore: Any = "local",
        optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        """Choose how parameters follow their gradients."""
        self.follow(force_init, kvstore=kvstore, optimizer=optimizer, optimizer_params=optimizer_params)

    def follow(self, force_init: bool, **given: Any) -> None:
        """As `init_optimizer`, with its other arguments by name."""
        raise NotImplementedError

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Copies of the parameters and of the states, by name."""
        raise NotImplementedError

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        """Compute the outputs of a batch."""
        raise NotImplementedError

    def backward(self, out_grads: Any = None) -> None:
        """Compute the gradients."""
        raise NotImplementedError

    def update(self) -> None:
        """Change the parameters by their gradients."""
        raise NotImplementedError

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs of the last batch."""
        raise NotImplementedError

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Let a metric count the last batch."""
        raise NotImplementedError

    def prepare(self, data_batch: Any, sparse_row_id_fn: Any = None) -> None:
        """What is done before a batch: nothing."""

    # What follows from it.

    def set_params(
        self,
        arg_params: Arrays,
        aux_params: Arrays,
        allow_missing: bool = False,
        force_init: bool = True,
        allow_extra: bool = False,
    ) -> None:
        """Copy parameters and states into the module."""
        self.init_params(
            initializer=None, arg_params=arg_params, aux_params=aux_params, allow_missing=allow_missing,
            force_init=force_init, allow_extra=allow_extra,
        )  # fmt: skip

    def save_params(self, fname: str) -> None:
        """Write parameters and states as MXNet does."""
        arguments, states = self.get_params()
        named = {f"arg:{name}": x for name, x in arguments.items()}
        save(fname, {**named, **{f"aux:{name}": x for name, x in states.items()}})

    def load_params(self, fname: str) -> None:
        """Take parameters and states from a file.

        Errors
            FormatError for a file that holds something else.
        """
        arrays, parts = load(fname), {"arg": {}, "aux": {}}  # type: ignore[var-annotated]
        for name, x in (arrays if isinstance(arrays, dict) else dict.fromkeys(["list"])).items():
            kind, _, rest = name.partition(":")
            if kind not in parts:
                raise FormatError(f"Invalid param file {fname}")
            parts[kind][rest] = x
        self.set_params(parts["arg"], parts["aux"])

    def forward_backward(self, data_batch: Any) -> None:
        """Both passes of a batch, in training."""
        self.forward(data_batch, is_train=True)
        self.backward()

    def score(
        self,
        eval_data: Any,
        eval_metric: Any,
        num_batch: int | None = None,
        batch_end_callback: Any = None,
        score_end_callback: Any = None,
        reset: bool = True,
        epoch: int = 0,
        sparse_row_id_fn: Any = None,
    ) -> list[tuple[str, Any]]:
        """What a metric says of the predictions for all batches: names and numbers."""
        self.require()
        if reset:
            eval_data.reset()
        eval_metric = as_metric(eval_metric)
        eval_metric.reset()
        count = 0
        for nbatch, batch in enumerate(eval_data):
            if nbatch == num_batch:
                break
            self.forward(batch, is_train=False)
            self.update_metric(eval_metric, batch.label)
            told = BatchEndParam(epoch, nbatch, eval_metric, locals())
            for callback in as_list(batch_end_callback):
                callback(told)
            count += 1
        for callback in as_list(score_end_callback):
            callback(BatchEndParam(epoch, count, eval_metric, locals()))
        found: list[tuple[str, Any]] = eval_metric.get_name_value()
        return found

    def iter_predict(
        self, eval_data: Any, num_batch: int | None = None, reset: bool = True, sparse_row_id_fn: Any = None
    ) -> Iterator[tuple[list[NDArray], int, Any]]:
        """For each batch its outputs without padding, its number and itself."""
        self.require()
        if reset:
            eval_data.reset()
        for nbatch, batch in enumerate(eval_data):
            if nbatch == num_batch:
                break
            self.forward(batch, is_train=False)
            yield [unpadded(y, batch.pad) for y in self.get_outputs()], nbatch, batch

    def predict(
        self,
        eval_data: Any,
        num_batch: int | None = None,
        merge_batches: bool = True,
        reset: bool = True,
        always_output_list: bool = False,
        sparse_row_id_fn: Any = None,
    ) -> Any:
        """The outputs for all batches, one behind the other; for an array, its outputs."""
        if isinstance(eval_data, NDArray | np.ndarray):
            self.require()
            self.forward([as_ndarray(bare(eval_data))], is_train=False)
            return self.get_outputs()[0].copy()
        found = [
            [y.copy() for y in outputs] for outputs, _, _ in self.iter_predict(eval_data, num_batch, reset)
        ]
        if not found or not merge_batches:
            return found
        merged = [
            as_ndarray(np.concatenate([y.asnumpy() for y in part])) for part in zip(*found, strict=True)
        ]
        return merged if len(merged) > 1 or always_output_list else merged[0]

    def fit(
        self, train_data: Any, eval_data: Any = None, eval_metric: Any = "acc", epoch_end_callback: Any = None,
        batch_end_callback: Any = None, kvstore: Any = "local", optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),), eval_end_callback: Any = None,
        eval_batch_end_callback: Any = None, initializer: Any = Uniform(0.01), arg_params: Arrays | None = None,
        aux_params: Arrays | None = None, allow_missing: bool = False, force_rebind: bool = False,
        force_init: bool = False, begin_epoch: int = 0, num_epoch: int | None = None, validation_metric: Any = None,
        monitor: Any = None, sparse_row_id_fn: Any = None,
    ) -> None:  # fmt: skip
        """Train from `begin_epoch` up to `num_epoch`.

        Errors
            BindError if `num_epoch` is missing.
        """
        if num_epoch is None:
            raise BindError("fit: please specify number of epochs: num_epoch")
        shapes = train_data.provide_data, train_data.provide_label
        self.bind(*shapes, for_training=True, force_rebind=force_rebind)
        if monitor is not None:
            self.install_monitor(monitor)
        self.init_params(
            initializer=initializer, arg_params=arg_params, aux_params=aux_params, allow_missing=allow_missing,
            force_init=force_init,
        )  # fmt: skip
        self.init_optimizer(kvstore=kvstore, optimizer=optimizer, optimizer_params=optimizer_params)
        eval_metric = as_metric(eval_metric)
        for epoch in range(begin_epoch, num_epoch):
            began = time.time()
            self.fit_epoch(train_data, eval_metric, epoch, as_list(batch_end_callback), monitor)
            self.log(epoch, "Train", eval_metric.get_name_value())
            self.logger.info("Epoch[%d] Time cost=%.3f", epoch, time.time() - began)
            arguments, states = self.get_params()
            for callback in as_list(epoch_end_callback):
                callback(epoch, self.symbol, arguments, states)
            if eval_data is not None:
                found = self.score(
                    eval_data, validation_metric or eval_metric, batch_end_callback=eval_batch_end_callback,
                    score_end_callback=eval_end_callback, epoch=epoch,
                )  # fmt: skip
                self.log(epoch, "Validation", found)
            train_data.reset()

    def log(self, epoch: int, what: str, found: Iterable[tuple[str, Any]]) -> None:
        """Log what a metric says after an epoch."""
        for name, number in found:
            self.logger.info("Epoch[%d] %s-%s=%f", epoch, what, name, number)

    def fit_epoch(self, train_data: Any, eval_metric: Any, epoch: int, callbacks: Any, monitor: Any) -> None:
        """Train on each batch once."""
        eval_metric.reset()
        for nbatch, data_batch in enumerate(train_data):
            if monitor is not None:
                monitor.tic()
            self.prepare(data_batch)
            self.forward_backward(data_batch)
            self.update()
            self.update_metric(eval_metric, data_batch.label)
            if monitor is not None:
                monitor.toc_print()
            for callback in callbacks:
                callback(BatchEndParam(epoch, nbatch, eval_metric, locals()))

    def install_monitor(self, mon: Any) -> None:
        """Let a monitor see what is computed."""
        raise NotImplementedError(f"{type(self).__name__} has no monitor")


def unpadded(y: NDArray, pad: int | None) -> NDArray:
    """Rows without those that only fill the batch."""
    return y[: y.shape[0] - (pad or 0)]
