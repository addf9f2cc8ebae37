"""`mx.mod.BucketingModule`: a network for each length of sequence, all with the same parameters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import cpu
from tinygrad_lesson.engine.errors import BindError
from tinygrad_lesson.mx.module.base import BaseModule
from tinygrad_lesson.mx.module.single import Module
from tinygrad_lesson.mx.ndarray import array, save
from tinygrad_lesson.mxnet.ndarray import NDArray
from tinygrad_lesson.mxnet.params import load_parameters


class BucketingModule(BaseModule):
    """For each bucket a module, made when its first batch comes; they share parameters and optimizer.

    ``sym_gen(key)`` gives the symbol of a bucket, the names of its data and those of its labels.

    Source
        MXNet 1.9, ``mx.mod.BucketingModule``.
    """

    def __init__(
        self,
        sym_gen: Callable[[Any], tuple[Any, Any, Any]],
        default_bucket_key: Any = None,
        logger: Any = logging,
        context: Any = cpu(),
        work_load_list: Any = None,
        fixed_param_names: Any = None,
        state_names: Any = None,
        group2ctxs: Any = None,
        compression_params: Any = None,
    ) -> None:
        super().__init__(logger)
        if default_bucket_key is None:
            raise BindError("BucketingModule: default_bucket_key is missing")
        self.sym_gen, self.default_bucket_key = sym_gen, default_bucket_key
        self.settings = {
            "logger": logger, "context": context, "fixed_param_names": fixed_param_names, "state_names": state_names,
        }  # fmt: skip
        self.buckets: dict[Any, Module] = {}
        self.monitors: list[Any] = []
        self.current = self.generated(default_bucket_key)
        self.current_key = default_bucket_key

    @staticmethod
    def load(
        prefix: str,
        epoch: int,
        sym_gen: Any = None,
        default_bucket_key: Any = None,
        load_optimizer_states: bool = False,
        **settings: Any,
    ) -> BucketingModule:
        """The module of a checkpoint, to be bound; its parameters are there, its symbols are those of `sym_gen`."""
        made = BucketingModule.load_dict(
            None, sym_gen, default_bucket_key, *load_parameters(prefix, epoch), **settings
        )
        if load_optimizer_states:
            made.current.states_file = f"{prefix}-{epoch:04d}.states"
        return made

    @staticmethod
    def load_dict(
        sym_dict: Mapping[Any, Any] | None = None,
        sym_gen: Any = None,
        default_bucket_key: Any = None,
        arg_params: Mapping[str, Any] | None = None,
        aux_params: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> BucketingModule:
        """A module with these parameters, to be bound; for the buckets in `sym_dict` the symbols there are taken."""

        def generated(key: Any) -> tuple[Any, Any, Any]:
            symbol, data_names, label_names = sym_gen(key)
            return (sym_dict or {}).get(key, symbol), data_names, label_names

        made = BucketingModule(generated if sym_dict else sym_gen, default_bucket_key, **settings)
        made.current.loaded = arg_params or {}, aux_params or {}
        made.current.params_initialized = made.params_initialized = True
        return made

    def generated(self, key: Any) -> Module:
        """A module for a bucket."""
        symbol, data_names, label_names = self.sym_gen(key)
        return Module(symbol, data_names, label_names, **self.settings)

    @property
    def symbol(self) -> Any:  # type: ignore[override]
        """The symbol of the present bucket."""
        return self.current.symbol

    @property
    def data_names(self) -> Any:  # type: ignore[override]
        """The names of its data."""
        return self.current.data_names

    @property
    def output_names(self) -> Any:  # type: ignore[override]
        """The names of its outputs."""
        return self.current.output_names

    @property
    def data_shapes(self) -> Any:  # type: ignore[override]
        """The shapes of its data."""
        return self.current.data_shapes

    @property
    def label_shapes(self) -> Any:  # type: ignore[override]
        """The shapes of its labels."""
        return self.current.label_shapes

    @property
    def output_shapes(self) -> Any:  # type: ignore[override]
        """The shapes of its outputs."""
        return self.current.output_shapes

    def make_room(self, data_shapes: Any, label_shapes: Any, shared: Any, again: bool) -> None:
        """Make room for batches of the default bucket, which is to be the largest."""
        first = self.buckets.get(self.default_bucket_key) or self.current
        first.bind(
            data_shapes, label_shapes, self.for_training, self.inputs_need_grad, again, shared, self.grad_req
        )
        self.buckets = {self.default_bucket_key: first}
        self.current, self.current_key = first, self.default_bucket_key

    def switch_bucket(self, bucket_key: Any, data_shapes: Any, label_shapes: Any = None) -> None:
        """Go on with another bucket."""
        if not self.binded:
            raise BindError("BucketingModule: call bind before switching bucket")
        if bucket_key not in self.buckets:
            made = self.generated(bucket_key)
            first = self.buckets[self.default_bucket_key]
            made.bind(
                data_shapes, label_shapes, self.for_training, self.inputs_need_grad, shared_module=first,
                grad_req=self.grad_req,
            )  # fmt: skip
            self.buckets[bucket_key] = made
            for monitor in self.monitors:
                made.install_monitor(monitor)
        self.current, self.current_key = self.buckets[bucket_key], bucket_key

    def fill(self, force_init: bool, **given: Any) -> None:
        """Give the parameters, which all buckets share, their first values."""
        if self.params_initialized and not force_init:
            return
        self.current.init_params(force_init=force_init, **given)
        self.params_initialized = True
        for module in self.buckets.values():
            module.params_initialized = True

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Copies of the parameters and of the states, by name."""
        return self.current.get_params()

    def follow(self, force_init: bool, **given: Any) -> None:
        """Choose how parameters follow their gradients."""
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        first = self.buckets[self.default_bucket_key]
        first.init_optimizer(force_init=force_init, **given)
        for module in self.buckets.values():
            if module is not first:
                module.borrow_optimizer(first)
        self.optimizer_initialized = True

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        """Compute the outputs of a batch, in its bucket."""
        self.require()
        key = self.default_bucket_key if data_batch.bucket_key is None else data_batch.bucket_key
        shapes = data_batch.provide_data, data_batch.provide_label
        if key not in self.buckets or shapes[0] is not None:
            self.switch_bucket(key, *shapes)
        else:
            self.current, self.current_key = self.buckets[key], key
        self.current.forward(data_batch, is_train=is_train)

    def backward(self, out_grads: Any = None) -> None:
        """Compute the gradients of the present bucket."""
        self.current.backward(out_grads)

    def update(self) -> None:
        """Change the parameters by these."""
        self.require(optimizer=True)
        self.current.update()

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs of the last batch."""
        return self.current.get_outputs(merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients for the data of the last batch."""
        return self.current.get_input_grads(merge_multi_context)

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Let a metric count the last batch."""
        self.current.update_metric(eval_metric, labels)

    def save_checkpoint(self, prefix: str, epoch: int, remove_amp_cast: bool = False) -> None:
        """Write the parameters, the symbol of each bucket, and with them which buckets there are, as MXNet does."""
        self.save_params(f"{prefix}-{epoch:04d}.params")
        for key, module in self.buckets.items():
            module.symbol.save(f"{prefix}-{key}-symbol.json")
        if all(isinstance(key, int) for key in self.buckets):  # others are no numbers for an array
            save(f"{prefix}.buckets", array(list(self.buckets), dtype=np.int32))

    def install_monitor(self, mon: Any) -> None:
        """Let a monitor see what every bucket computes, those to come too."""
        self.require()
        self.monitors.append(mon)
        for module in self.buckets.values():
            module.install_monitor(mon)
