"""`mx.mod.SequentialModule`: modules one behind the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tinygrad_lesson.engine.errors import BindError
from tinygrad_lesson.mx.module.base import BaseModule, described
from tinygrad_lesson.mxnet.ndarray import NDArray
from tinygrad_lesson.train.batches import DataBatch, DataDesc
from tinygrad_lesson.train.initializer import Uniform


class SequentialModule(BaseModule):
    """Modules whose outputs are the data of the next: ``SequentialModule().add(first).add(second, take_labels=True)``.

    With `auto_wiring` outputs get the names that the module has for its data.

    Source
        MXNet 1.9, ``mx.mod.SequentialModule``.
    """

    META_TAKE_LABELS = "take_labels"
    META_AUTO_WIRING = "auto_wiring"

    def __init__(self, logger: Any = logging) -> None:
        super().__init__(logger)
        self.modules: list[Any] = []
        self.settings: list[dict[str, Any]] = []

    def add(self, module: Any, **settings: Any) -> SequentialModule:
        """Add a module behind the others.

        Errors
            BindError for a setting that is neither `take_labels` nor `auto_wiring`.
        """
        for key in settings:
            if key not in (self.META_TAKE_LABELS, self.META_AUTO_WIRING):
                raise BindError(f"add: unknown setting {key!r}; known: take_labels, auto_wiring")
        self.modules.append(module)
        self.settings.append(settings)
        self.binded = self.params_initialized = self.optimizer_initialized = False
        return self

    @property
    def data_names(self) -> Any:  # type: ignore[override]
        """The names of the data of the first."""
        return self.modules[0].data_names if self.modules else []

    @property
    def output_names(self) -> Any:  # type: ignore[override]
        """The names of the outputs of the last."""
        return self.modules[-1].output_names if self.modules else []

    @property
    def data_shapes(self) -> Any:  # type: ignore[override]
        """The shapes of the data of the first."""
        return self.modules[0].data_shapes

    @property
    def output_shapes(self) -> Any:  # type: ignore[override]
        """The shapes of the outputs of the last."""
        return self.modules[-1].output_shapes

    def make_room(self, data_shapes: Any, label_shapes: Any, shared: Any, again: bool) -> None:
        """Make room for batches of these shapes in every module."""
        if not self.modules:
            raise BindError("Attempting to bind an empty SequentialModule")
        labels_wanted, shapes = False, described(data_shapes)
        for i, (module, settings) in enumerate(zip(self.modules, self.settings, strict=True)):
            takes = bool(settings.get(self.META_TAKE_LABELS))
            labels_wanted |= takes
            if settings.get(self.META_AUTO_WIRING):
                pairs = zip(module.data_names, shapes, strict=True)
                shapes = [DataDesc(name, tuple(d.shape), d.dtype) for name, d in pairs]
            module.bind(
                shapes, label_shapes if takes else None, for_training=self.for_training,
                inputs_need_grad=self.inputs_need_grad or (self.for_training and i > 0), force_rebind=again,
                grad_req=self.grad_req,
            )  # fmt: skip
            shapes = described(module.output_shapes)
        self.label_shapes = described(label_shapes) if labels_wanted else None

    def init_params(
        self,
        initializer: Any = Uniform(0.01),
        arg_params: Mapping[str, Any] | None = None,
        aux_params: Mapping[str, Any] | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = True,
    ) -> None:
        """Give the parameters of every module their first values.

        Errors
            BindError where two modules have a parameter of one name.
        """
        if self.params_initialized and not force_init:
            return
        for module in self.modules:
            module.init_params(initializer, arg_params, aux_params, allow_missing, force_init, allow_extra)
        owners: dict[str, int] = {}
        for i, module in enumerate(self.modules):
            for name in (*module.get_params()[0], *module.get_params()[1]):
                if owners.setdefault(name, i) != i:
                    raise BindError(f"Duplicated parameter names: {name!r} in layers {owners[name]} and {i}")
        self.params_initialized = True

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Copies of the parameters and of the states of all modules, by name."""
        self.require()
        arguments: dict[str, NDArray] = {}
        states: dict[str, NDArray] = {}
        for module in self.modules:
            own, aux = module.get_params()
            arguments.update(own)
            states.update(aux)
        return arguments, states

    def follow(self, force_init: bool, **given: Any) -> None:
        """Choose how the parameters of every module follow their gradients."""
        self.require()
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        for module in self.modules:
            module.init_optimizer(force_init=force_init, **given)
        self.optimizer_initialized = True

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        """Compute the outputs of a batch, module by module."""
        self.require()
        batch = DataBatch(data_batch.data, data_batch.label, data_batch.pad)
        for i, module in enumerate(self.modules):
            module.forward(batch, is_train=is_train)
            if i + 1 < len(self.modules):
                batch = DataBatch(module.get_outputs(), data_batch.label, data_batch.pad)

    def backward(self, out_grads: Any = None) -> None:
        """Compute the gradients, from the last module to the first."""
        self.require(gradients=True)
        for i in reversed(range(len(self.modules))):
            self.modules[i].backward(out_grads)
            if i:
                out_grads = self.modules[i].get_input_grads()

    def update(self) -> None:
        """Change the parameters by their gradients."""
        self.require(optimizer=True)
        for module in self.modules:
            module.update()

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs of the last module."""
        found: list[Any] = self.modules[-1].get_outputs(merge_multi_context)
        return found

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients for the data of the first module."""
        found: list[Any] = self.modules[0].get_input_grads(merge_multi_context)
        return found

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Let a metric count the last batch, in the modules that take labels."""
        for module, settings in zip(self.modules, self.settings, strict=True):
            if settings.get(self.META_TAKE_LABELS):
                module.update_metric(eval_metric, labels)

    def install_monitor(self, mon: Any) -> None:
        """Let a monitor see what every module computes."""
        for module in self.modules:
            module.install_monitor(mon)
