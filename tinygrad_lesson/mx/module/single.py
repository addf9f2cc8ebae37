"""`mx.mod.Module`: one symbol, bound."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_lesson import parallel
from tinygrad_lesson.arrays import Context, cpu
from tinygrad_lesson.engine.errors import BindError, near
from tinygrad_lesson.mx.module.base import described
from tinygrad_lesson.mx.module.updating import Updating
from tinygrad_lesson.mxnet.ndarray import NDArray, as_ndarray, bare
from tinygrad_lesson.mxnet.params import load_checkpoint, save_checkpoint
from tinygrad_lesson.train.batches import DataDesc
from tinygrad_lesson.train.initializer import InitDesc, Uniform


class MissingError(BindError, RuntimeError):
    """A parameter that is not there."""


class Module(Updating):
    """A symbol with arrays for batches of one size: other sizes get arrays of their own, with the same parameters.

    Errors
        BindError for a name that is no argument of the symbol.
    Source
        MXNet 1.9, ``mx.mod.Module``.
    """

    def __init__(
        self,
        symbol: Any,
        data_names: Sequence[str] | None = ("data",),
        label_names: Sequence[str] | None = ("softmax_label",),
        logger: Any = logging,
        context: Any = cpu(),
        work_load_list: Any = None,
        fixed_param_names: Sequence[str] | None = None,
        state_names: Sequence[str] | None = None,
        group2ctxs: Any = None,
        compression_params: Any = None,
    ) -> None:
        super().__init__(logger)
        self.symbol, self.contexts = symbol, [context] if isinstance(context, Context) else list(context)
        self.context = self.contexts[0]
        arguments = symbol.list_arguments()
        self.data_names, self.state_names = list(data_names or ()), list(state_names or ())
        self.label_names = [name for name in label_names or () if name in arguments]
        self.fixed_param_names = list(fixed_param_names or ())
        for name in (*self.data_names, *self.fixed_param_names, *self.state_names):
            if name not in arguments:
                raise BindError(
                    f"You created Module with {name!r}, which is no argument; {near(name, arguments)}"
                )
        if label_names and not self.label_names and tuple(label_names) != ("softmax_label",):
            logger.warning("Module: none of the labels %s is an argument", list(label_names))
        given = {*self.data_names, *self.label_names, *self.state_names}
        self.param_names = [name for name in arguments if name not in given]
        self.numbers = {
            name: i for i, name in enumerate(self.param_names)
        }  # by which the optimizer knows them
        self.aux_names = symbol.list_auxiliary_states()
        self.output_names = symbol.list_outputs()
        self.executor: Any = None
        self.monitors: list[Any] = []
        self.updater: Any = None
        self.states_file: str | None = None
        self.world: parallel.World | None = None  # all ranks, where they train together

    @staticmethod
    def load(prefix: str, epoch: int, load_optimizer_states: bool = False, **settings: Any) -> Module:
        """The module of a checkpoint, to be bound; its parameters are there."""
        symbol, arguments, states = load_checkpoint(prefix, epoch)
        made = Module(symbol, **settings)
        made.loaded = arguments, states
        made.params_initialized = True
        if load_optimizer_states:
            made.states_file = f"{prefix}-{epoch:04d}.states"
        return made

    loaded: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None  # parameters that wait for `bind`

    def save_checkpoint(
        self, prefix: str, epoch: int, save_optimizer_states: bool = False, remove_amp_cast: bool = True
    ) -> None:
        """Write symbol and parameters as MXNet does; with `save_optimizer_states` a file of these, too."""
        save_checkpoint(prefix, epoch, self.symbol, *self.get_params())
        logging.info('Saved checkpoint to "%s-%04d.params"', prefix, epoch)
        if save_optimizer_states:
            self.save_optimizer_states(f"{prefix}-{epoch:04d}.states")
            logging.info('Saved optimizer state to "%s-%04d.states"', prefix, epoch)

    # Shapes and arrays.

    def make_room(self, data_shapes: Any, label_shapes: Any, shared: Any, again: bool) -> None:
        """Make an executor for batches of these shapes."""
        kept = self.get_params() if self.binded and self.params_initialized else self.loaded
        self.describe(data_shapes, label_shapes)
        self.take_executor(self.made(shared.executor if shared else None))
        if shared is not None:
            self.params_initialized = shared.params_initialized
            if shared.optimizer_initialized:
                self.borrow_optimizer(shared)
        elif kept is not None:
            self.executor.copy_params_from(*kept, allow_extra_params=True)
            self.loaded = None

    def describe(self, data_shapes: Any, label_shapes: Any) -> None:
        """Note the shapes of batches."""
        self.data_shapes = described(data_shapes)
        found = [d for d in described(label_shapes) if d.name in self.label_names]
        self.label_shapes = found or None
        names = [d.name for d in self.data_shapes]
        if sorted(names) != sorted(self.data_names):
            raise BindError(
                f"Data provided by data_shapes don't match names specified by data_names: {names}, {self.data_names}"
            )

    def made(self, shared: Any) -> Any:
        """An executor of these shapes, over the parameters of another one if there is one."""
        told = [*self.data_shapes, *(self.label_shapes or [])]
        shapes = {d.name: tuple(d.shape) for d in told}
        types = {d.name: d.dtype for d in told}
        requests = self.requests()
        if shared is None:
            return self.symbol.simple_bind(self.context, grad_req=requests, type_dict=types, **shapes)
        fresh = self.symbol.simple_bind(self.context, grad_req="null", type_dict=types, **shapes)
        arguments, states = fresh.arg_dict, fresh.aux_dict
        known = shared.arg_dict
        own = {
            n: known[n] if n in known and n in self.param_names and known[n].shape == x.shape else x
            for n, x in arguments.items()
        }
        kept = {n: g for n, g in shared.grad_dict.items() if g is not None and own.get(n) is known[n]}
        gradients = {
            n: kept[n] if n in kept else as_ndarray(np.zeros(x.shape, x.dtype))
            for n, x in own.items()
            if requests[n] != "null"
        }
        aux = {
            n: shared.aux_dict[n] if n in shared.aux_dict and shared.aux_dict[n].shape == x.shape else x
            for n, x in states.items()
        }
        return self.symbol.bind(self.context, own, gradients, requests, aux)

    def requests(self) -> dict[str, str]:
        """What gradients are wanted."""
        found = dict.fromkeys(self.symbol.list_arguments(), "null")
        if not self.for_training:
            return found
        asked = self.grad_req
        if isinstance(asked, list | tuple):
            asked = dict(zip(found, asked, strict=True))
        for name in self.param_names:
            if name not in self.fixed_param_names:
                found[name] = asked if isinstance(asked, str) else asked.get(name, "write")
        if self.inputs_need_grad:
            for name in self.data_names:
                found[name] = asked if isinstance(asked, str) else asked.get(name, "write")
        return found

    def reshape(self, data_shapes: Any, label_shapes: Any = None) -> None:
        """Go on with batches of other shapes and the same parameters."""
        self.require()
        self.describe(data_shapes, label_shapes)
        self.take_executor(self.made(self.executor))

    def take_executor(self, executor: Any) -> None:
        """Go on with another executor, which monitors see in place of this one."""
        for monitor in self.monitors:
            monitor.exes = [exe for exe in monitor.exes if exe is not self.executor]
            monitor.install(executor)
        self.executor = executor

    def install_monitor(self, mon: Any) -> None:
        """Let a monitor see what is computed.

        Errors
            BindError before `bind`.
        """
        if not self.binded:
            raise BindError("install_monitor: call bind first")
        self.monitors.append(mon)
        mon.install(self.executor)

    @property
    def group(self) -> Any:
        """What MXNet calls the group of executors, one for each device: here of one, with its arrays."""
        exe = self.executor
        arrays = {"param_arrays": exe.arg_dict, "grad_arrays": exe.grad_dict}
        found = {what: [[named[n]] for n in self.param_names] for what, named in arrays.items()}
        return SimpleNamespace(execs=[exe], param_names=self.param_names, aux_names=self.aux_names, **found)

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:  # type: ignore[override]
        """Names and shapes of the outputs."""
        shapes = [y.shape for y in self.executor.outputs]
        return list(zip(self.output_names, shapes, strict=True))

    # Parameters.

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Copies of the parameters and of the states, by name."""
        if not self.binded and self.loaded is not None:
            return tuple({n: as_ndarray(np.array(bare(x))) for n, x in part.items()} for part in self.loaded)  # type: ignore[return-value]
        self.require()
        arguments, states = self.executor.arg_dict, self.executor.aux_dict
        return {n: arguments[n].copy() for n in self.param_names}, {
            n: states[n].copy() for n in self.aux_names
        }

    def init_params(
        self,
        initializer: Any = Uniform(0.01),
        arg_params: Mapping[str, Any] | None = None,
        aux_params: Mapping[str, Any] | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """Give the parameters the values that are given, and the others their first ones.

        Errors
            BindError for one that is missing or, unless `allow_extra`, unknown.
        """
        if self.params_initialized and not force_init:
            warnings.warn(
                "Parameters already initialized and force_init=False. init_params call ignored.", stacklevel=2
            )
            return
        if not self.binded:
            raise BindError("call bind before initializing the parameters")
        attributes = self.symbol.attr_dict()
        for given, names, arrays in (
            (arg_params, self.param_names, self.executor.arg_dict),
            (aux_params, self.aux_names, self.executor.aux_dict),
        ):
            unknown = sorted(set(given or ()) - set(names))
            if unknown and not allow_extra:
                raise BindError(f"init_params: {unknown[0]!r} is no parameter; {near(unknown[0], names)}")
            for name in sorted(names):  # so that numbers are drawn in MXNet's order
                if given is not None and given.get(name) is not None:
                    arrays[name] = bare(given[name])
                    continue
                if given is not None and not allow_missing:
                    raise MissingError(
                        f"{name} is not presented: init_params needs it, or allow_missing=True"
                    )
                if initializer is not None:
                    initializer(InitDesc(name, attributes.get(name)), arrays[name])
        self.params_initialized = True

    # A batch.

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        """Compute the outputs of a batch, of whatever size."""
        self.require()
        data = getattr(data_batch, "data", data_batch)
        label = getattr(data_batch, "label", None) or []
        names = [d.name for d in self.data_shapes]  # which may be in another order than `data_names`
        given = dict(zip(names, data, strict=False))
        labels = [d.name for d in self.label_shapes] if self.label_shapes else self.label_names
        given.update(zip(labels, label, strict=False))
        if any(np.shape(x) != self.executor.arg_dict[n].shape for n, x in given.items()):
            described_labels = [DataDesc(n, np.shape(given[n])) for n in labels if n in given]
            self.reshape([DataDesc(n, np.shape(given[n])) for n in names], described_labels)
        training = self.for_training if is_train is None else is_train
        self.executor.forward(is_train=training, **{n: bare(x) for n, x in given.items()})

    def backward(self, out_grads: Any = None) -> None:
        """Compute the gradients; `out_grads` are those of outputs that are no losses."""
        self.require(gradients=True)
        self.executor.backward(out_grads)

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs of the last batch, which the next one overwrites."""
        self.require()
        outputs = list(self.executor.outputs)
        return self.merged(outputs) if merge_multi_context else [self.shares(y) for y in outputs]

    def merged(self, arrays: list[NDArray]) -> list[NDArray]:
        """Those of the executor; of several devices copies, as in MXNet."""
        return arrays if len(self.contexts) == 1 else [x.copy() for x in arrays]

    def shares(self, y: NDArray) -> list[NDArray]:
        """The rows of a batch that MXNet would have on each device; here one executor has them all."""
        axis = max(0, DataDesc.get_batch_axis(self.data_shapes[0].layout))
        ends = [y.shape[axis] * i // len(self.contexts) for i in range(len(self.contexts) + 1)]
        return [y[(slice(None),) * axis + (slice(*part),)] for part in pairwise(ends)]

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients for the data of the last batch.

        Errors
            BindError unless the module was bound with `inputs_need_grad`.
        """
        self.require()
        if not self.inputs_need_grad:
            raise BindError("get_input_grads: call bind(..., inputs_need_grad=True) first")
        gradients = [self.executor.grad_dict[d.name] for d in self.data_shapes]
        return self.merged(gradients) if merge_multi_context else [self.shares(g) for g in gradients]

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Let a metric count the last batch."""
        named = dict(zip(self.label_names, labels or (), strict=False))
        outputs = dict(zip(self.output_names, self.get_outputs(), strict=True))
        eval_metric.update_dict(named, outputs)

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        """The arrays of `state_names`."""
        return [self.executor.arg_dict[name] for name in self.state_names]

    def set_states(self, states: Any = None, value: Any = None) -> None:
        """Write the arrays of `state_names`, one by one or in shares, or one number into all."""
        for i, name in enumerate(self.state_names):
            new = value if states is None else states[i]
            self.executor.arg_dict[name][:] = (
                np.concatenate(bare(new)) if isinstance(new, list) else bare(new)
            )
