"""`mx.mod.PythonModule`: a part without parameters, written in Python; and a loss written so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import BindError
from tinygrad_lesson.mx.module.base import BaseModule, described
from tinygrad_lesson.mxnet.ndarray import NDArray, as_ndarray, bare


class PythonModule(BaseModule):
    """A module without parameters: one of your own has `_compute_output_shapes`, `forward`, `backward`, `get_outputs`.

    Source
        MXNet 1.9, ``mx.mod.PythonModule``.
    """

    def __init__(
        self, data_names: Sequence[str], label_names: Sequence[str] | None, output_names: Sequence[str],
        logger: Any = logging,
    ) -> None:  # fmt: skip
        super().__init__(logger)
        self.data_names, self.output_names = list(data_names), list(output_names)
        self.label_names = list(label_names or ())

    def make_room(self, data_shapes: Any, label_shapes: Any, shared: Any, again: bool) -> None:
        """Note the shapes of batches, and of what comes out.

        Errors
            BindError if they are not those of the data that it was made with.
        """
        self.data_shapes, self.label_shapes = described(data_shapes), described(label_shapes) or None
        names = [d.name for d in self.data_shapes]
        if names != self.data_names:
            raise BindError(f"{type(self).__name__}: data_shapes are of {names}, expected {self.data_names}")
        self.output_shapes = self._compute_output_shapes()

    def _compute_output_shapes(self) -> Any:
        """Names and shapes of the outputs."""
        raise NotImplementedError

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """There are none."""
        return {}, {}

    def fill(self, force_init: bool, **given: Any) -> None:
        """There are no parameters."""
        self.params_initialized = True

    def follow(self, force_init: bool, **given: Any) -> None:
        """There is nothing to change."""
        self.optimizer_initialized = True

    def update(self) -> None:
        """There is nothing to change."""

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Let a metric count the last batch, if there are labels."""
        if self.label_shapes is not None:
            eval_metric.update(labels, self.get_outputs())

    def install_monitor(self, mon: Any) -> None:
        """There is nothing to see."""


class PythonLossModule(PythonModule):
    """A loss: its output is its one input, and ``grad_func(scores, labels)`` gives the gradient of that.

    Source
        MXNet 1.9, ``mx.mod.PythonLossModule``.
    """

    def __init__(
        self, name: str = "pyloss", data_names: Sequence[str] = ("data",),
        label_names: Sequence[str] = ("softmax_label",), logger: Any = logging,
        grad_func: Callable[[NDArray, NDArray], Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(data_names, label_names, [f"{name}_output"], logger)
        if len(self.data_names) != 1 or len(self.label_names) != 1:
            raise BindError("PythonLossModule: it takes one input and one label")
        self.name, self.grad_func = name, grad_func
        self._scores: Any = None
        self._labels: Any = None
        self._scores_grad: Any = None

    def _compute_output_shapes(self) -> Any:
        return [(f"{self.name}_output", tuple(self.data_shapes[0].shape))]

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        """Keep the scores, and in training the labels."""
        self._scores = data_batch.data[0]
        if self.for_training if is_train is None else is_train:
            self._labels = data_batch.label[0]

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The scores."""
        return [self._scores] if merge_multi_context else [[self._scores]]

    def backward(self, out_grads: Any = None) -> None:
        """Compute the gradient of the scores.

        Errors
            BindError where a gradient is given: nothing can come behind a loss.
        """
        if out_grads is not None:
            raise BindError("PythonLossModule: a loss takes no gradients of its output")
        self.require(gradients=True)
        self._backward_impl()

    def _backward_impl(self) -> None:
        """What `grad_func` gives; a loss of your own may do this in another way.

        Errors
            NotImplementedError without a `grad_func`.
        """
        if self.grad_func is None:
            raise NotImplementedError(
                f"{self.name}: give grad_func=..., or write _backward_impl in a class of your own"
            )
        self._scores_grad = as_ndarray(np.asarray(bare(self.grad_func(self._scores, self._labels))))

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradient of the scores."""
        return [self._scores_grad] if merge_multi_context else [[self._scores_grad]]
