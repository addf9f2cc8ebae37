"""What a module does with its optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from tinygrad_lesson import parallel
from tinygrad_lesson.files import Cursor, write_whole
from tinygrad_lesson.mx.module.base import BaseModule
from tinygrad_lesson.mxnet.ndarray import bare
from tinygrad_lesson.train.batches import DataDesc
from tinygrad_lesson.train.optimizer import Optimizer, create, get_updater


class Updating(BaseModule):
    """A module whose parameters follow their gradients."""

    executor: Any
    param_names: list[str]
    aux_names: Sequence[str]
    numbers: dict[str, int]  # by which the optimizer knows the parameters
    updater: Any
    states_file: str | None
    world: parallel.World | None  # all ranks, where they train together

    def init_optimizer(
        self,
        kvstore: Any = "local",
        optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        """Choose how parameters follow their gradients; these are divided by the number of rows in a batch.

        With the `kvstore` ``"dist_sync"`` gradients are summed over all ranks, and a batch is that of all of them.
        """
        self.require()
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring...")
            return
        rows = self.data_shapes[0].shape[max(0, DataDesc.get_batch_axis(self.data_shapes[0].layout))]
        self.world = parallel.of_store(kvstore, "kvstore")
        if self.world is not None:
            rows *= self.world.size
            arrays = {**self.executor.arg_dict, **self.executor.aux_dict}
            for name in (*self.param_names, *self.aux_names):
                self.world.broadcast(bare(arrays[name]))
        names = dict(enumerate(self.param_names))
        if isinstance(optimizer, str):
            settings = {"rescale_grad": 1.0 / rows, **dict(optimizer_params)}
            optimizer = create(optimizer, sym=self.symbol, param_idx2name=names, **settings)
        else:
            if optimizer.rescale_grad != 1.0 / rows:
                warnings.warn(
                    f"Optimizer created manually outside Module but rescale_grad is not normalized to 1.0/batch_size "
                    f"({optimizer.rescale_grad} vs. {1.0 / rows}). Is this intended?",
                    stacklevel=2,
                )
            if not optimizer.param_idx2name:
                optimizer.name_parameters(names)
        self.updater = get_updater(optimizer)
        self.optimizer_initialized = True
        if self.states_file:
            self.load_optimizer_states(self.states_file)
            self.states_file = None

    @property
    def optimizer(self) -> Optimizer:
        """How parameters follow their gradients."""
        found: Optimizer = self.updater.optimizer
        return found

    def borrow_optimizer(self, shared_module: Updating) -> None:
        """Take the optimizer of another module, with its states."""
        self.updater, self.numbers, self.world = (
            shared_module.updater,
            shared_module.numbers,
            shared_module.world,
        )
        self.optimizer_initialized = True

    def save_optimizer_states(self, fname: str) -> None:
        """Write what the optimizer remembers, as named arrays."""
        self.require(optimizer=True)
        write_whole(fname, self.updater.get_states())

    def load_optimizer_states(self, fname: str) -> None:
        """Go on with what `save_optimizer_states` wrote.

        Errors
            FormatError for a file that holds something else, such as a pickle, which is not read.
        """
        self.require(optimizer=True)
        with Cursor(fname) as cursor:
            self.updater.set_states(bytes(cursor.take(cursor.size, "the states")))

    def update(self) -> None:
        """Change the parameters by their gradients."""
        self.require(optimizer=True)
        arguments, gradients = self.executor.arg_dict, self.executor.grad_dict
        if self.world is not None:
            flat = [] if self.inputs_need_grad else list(self.executor.flat_gradients.buffers.values())
            each = [bare(gradients[name]) for name in self.param_names if gradients[name] is not None]
            for array in flat or each:
                self.world.sum(array)
        for name in self.param_names:
            if gradients[name] is not None:
                self.updater(self.numbers[name], gradients[name], arguments[name])
