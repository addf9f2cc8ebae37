"""An executor: a graph with arrays bound to it, run forward and backward."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import Context, module_of, read_only, require_device, zeros_at
from tinygrad_lesson.engine.errors import BindError, listed, near
from tinygrad_lesson.engine.graph import Edge, check_names, toposort
from tinygrad_lesson.engine.infer import DTypes, Shapes, infer_dtypes, infer_shapes, sized
from tinygrad_lesson.engine.shapes import Shape, show
from tinygrad_lesson.mxnet import serial
from tinygrad_lesson.mxnet.bound import (
    Bound,
    Flat,
    as_ndarray,
    assign_all,
    check_devices,
    check_shape,
    collector_paused,
    first_of,
    resize,
    room_for_arrays,
)
from tinygrad_lesson.mxnet.leaves import draws_in_prediction, pinned, refuse_names
from tinygrad_lesson.mxnet.naming import flowing, watched
from tinygrad_lesson.plan import Passes, Plan
from tinygrad_lesson.run import runner as find_runner

if TYPE_CHECKING:
    from tinygrad_lesson.mxnet.ndarray import NDArray

REQUESTS = ("write", "add", "null")
OUTPUT = "output "  # what a plan calls the results of its forward part
HEAD = "head gradient "  # its arguments that stand for the cotangents of these
GRADIENT = "gradient "  # its updates that are gradients
STATE = "state "  # its outputs that are new values of states
WATCHED = "watched "  # its outputs that only a monitor sees


class Executor(Bound):
    """Outputs and gradients of a graph for the arrays in `arg_dict` and `aux_dict`.

    `arguments` and `states` are the bound arrays; `requests` says for each argument whether its
    gradient is written, added or not wanted. `flat_parameters` and `flat_gradients` hold those that
    `simple_bind` has laid side by side. `known` are shapes and types that were inferred already. An executor has one
    set of arrays, so it serves one thread at a time, as in MXNet.
    """

    def __init__(
        self,
        heads: Sequence[Edge],
        output_names: Sequence[str],
        arguments: Mapping[str, np.ndarray],
        gradients: Mapping[str, np.ndarray],
        states: Mapping[str, np.ndarray],
        requests: Mapping[str, str],
        *,
        context: Context = Context(),
        passes: Passes = Passes(),
        runner: str | None = None,
        generator: Any = None,
        known: tuple[Shapes, DTypes] | None = None,
        caller: str = "bind",
    ) -> None:
        require_device(context)
        find_runner(runner, context)  # which refuses an unknown one
        check_devices(context, {**arguments, **states}, gradients)
        self.heads, self.output_names = list(heads), list(output_names)
        self.arguments, self.gradients, self.states = dict(arguments), dict(gradients), dict(states)
        self.requests, self.context, self.passes = dict(requests), context, passes
        self.runner_name = runner
        self.generator = generator if generator is not None else random.default_generator()
        self.order = toposort(edge.node for edge in self.heads)
        self.changes = any(n.op is not None and n.op.immediate for n in self.order)  # states, each run
        check_names((node for node in self.order if node.is_variable), "arguments")
        refuse_names((*self.arguments, *self.states), (OUTPUT, HEAD, GRADIENT, STATE, WATCHED))
        self.draws = any(map(draws_in_prediction, self.order))
        self.before: Any = None  # where the generator was then, for a gradient of what was drawn
        self.pinned = pinned(self.order)
        self.flat_parameters = self.flat_gradients = Flat(())
        self.shapes, self.dtypes = known or self.settle(caller)
        self.unsized = self.heads  # of which `reshape` makes an executor for other sizes
        if (heads := sized(self.heads, self.order, self.shapes)) != self.heads:
            self.heads, self.order = heads, toposort(edge.node for edge in heads)
            self.shapes, self.dtypes = self.settle(caller)
        shapes: dict[Edge, Any] = self.shapes
        with room_for_arrays(caller):
            self.blank = [zeros_at(context, shapes[edge], self.dtypes[edge]) for edge in self.heads]
        self.outputs_now = list(map(read_only, self.blank))
        self.shared: dict[int, np.ndarray] = {}  # outputs that are shown in the memory of another executor
        self.head_gradients: dict[str, np.ndarray] = {}
        self.made: dict[bool | str, tuple[Plan, Any]] = {}
        self.ready: dict[bool | str, Plan] = {}  # compiled before the arrays were there
        self.shown: dict[bool | str, tuple[list[np.ndarray], list[Callable[[], None]]]] = {}
        self.listed: list[Any] = []  # `outputs_now` as they are handed out, once they are
        self.ran: bool | None = None  # the mode of the last run
        self.monitor: Callable[[bytes, NDArray], Any] | None = None
        self.watched: list[tuple[str, Edge]] = []
        self.flowing: list[tuple[str, Edge, np.ndarray]] = []  # gradients that only a monitor sees

    def settle(self, caller: str) -> tuple[Shapes, DTypes]:
        """Check the bound arrays against the graph."""
        bound = {**self.arguments, **self.states}
        leaves = [node for node in self.order if node.is_variable]
        shapes = infer_shapes(self.order, {Edge(n): bound[n.name].shape for n in leaves}, caller)
        return shapes, infer_dtypes(self.order, {Edge(n): bound[n.name].dtype for n in leaves}, None, caller)

    def __repr__(self) -> str:
        outputs = zip(self.output_names, self.outputs_now, strict=True)
        told = listed(f"{name} {show(y.shape)}" for name, y in outputs)
        count = len(self.arguments), len(self.gradients), len(self.states)
        return "<Executor of {}; {} arguments, {} gradients, {} states on {}>".format(
            told, *count, self.context
        )

    def move(self, parameters: np.ndarray, gradients: np.ndarray) -> None:
        """Have parameters and gradients in other memory, with what is there, before the first run."""
        self.flat_parameters.move(parameters)
        self.flat_gradients.move(gradients)
        self.arguments.update(self.flat_parameters.arrays)
        self.gradients.update(self.flat_gradients.arrays)

    # What users do.

    def forward(self, is_train: bool = False, **arguments: Any) -> list[NDArray]:
        """Compute the outputs, after copying `arguments` into their arrays.

        Errors
            ArgumentError for a name that is no argument; ShapeError for a value of another shape. Then no
            argument has changed.
        """
        self.run(is_train, arguments)
        return self.outputs

    def run(self, is_train: bool, arguments: Mapping[str, Any]) -> None:
        """As `forward`, but nothing is handed out."""
        if arguments:
            self.take(arguments)
        self.pin()
        self.before = self.generator.get_state() if self.draws and self.gradients and not is_train else None
        self.runner(is_train).forward()
        self.deliver(is_train)
        if self.monitor is not None:
            for name, edge in self.watched:
                self.monitor(name.encode(), as_ndarray(self.value(edge, is_train)))

    def set_monitor_callback(
        self, callback: Callable[[bytes, NDArray], Any] | None, monitor_all: bool = False
    ) -> None:
        """Let ``callback(name, array)`` see each result of every later run; None ends it.

        With `monitor_all` it also sees what goes into each node. A backward run after one in training shows the
        gradients for the inputs of each node; where several nodes use one result they show the sum. As in MXNet the
        name is bytes. The arrays are those of the run, read-only, and the next run overwrites them.
        """
        self.monitor = callback
        self.watched = [] if callback is None else list(watched(self.order, monitor_all))
        learnt = [Edge(node) for node in self.order if node.is_variable and node.name in self.gradients]
        self.flowing = [
            (name, edge, zeros_at(self.context, self.shapes[edge], self.dtypes[edge]))
            for name, edge in (flowing(self.order, learnt) if callback is not None else ())
        ]
        self.made.clear()
        self.shown.clear()
        self.ran = None

    def value(self, edge: Edge, is_train: bool) -> Any:
        """What the last run left of a result that is watched."""
        if edge.node.is_variable:
            name = edge.node.name
            return read_only(self.arguments[name] if name in self.arguments else self.states[name])
        if edge in self.heads:
            return self.outputs_now[self.heads.index(edge)]
        result: np.ndarray = self.made[is_train][1].result(self.inside[edge])
        return read_only(result)

    @property
    def inside(self) -> dict[Edge, str]:
        """What a plan calls the results that only a monitor sees."""
        edges = {
            edge: None for _, edge in self.watched if not edge.node.is_variable and edge not in self.heads
        }
        return {edge: WATCHED + str(i) for i, edge in enumerate(edges)}

    def deliver(self, is_train: bool) -> None:
        """Show what the run of one mode has left."""
        self.outputs_now, copies = self.shown[is_train]
        for y, array in zip(self.listed, self.outputs_now, strict=False):
            y.show(array)
        for copy in copies:
            copy()
        self.ran = is_train

    def backward(self, out_grads: Any = None, is_train: bool = True) -> None:
        """Compute the gradients; `out_grads` gives the cotangents of outputs that are no losses.

        They are those of the last forward run, and before any those of training. With ``is_train=False``, or after a
        run in prediction, dropout lets a gradient through whole, and batch normalization goes by its moving statistics.
        Outputs and states stay then.

        Errors
            BindError where a cotangent is missing.
        Source
            MXNet 1.9. After a prediction, unless ``is_train=False``, batch normalization there has the gradient of
            training, with the moving statistics in the place of the batch's.
        """
        several = isinstance(out_grads, list | tuple)
        given = [] if out_grads is None else list(out_grads) if several else [out_grads]
        if len(given) > len(self.heads):
            raise BindError(
                f"backward: {len(given)} gradients for {len(self.heads)} outputs, {listed(self.output_names)}"
            )
        mode = True if is_train and self.ran is not False else "batch" if is_train else "moving"
        copies, run = [], self.runner(mode)
        for key, array in self.head_gradients.items():
            i = int(key.removeprefix(HEAD))
            if i >= len(given) or given[i] is None:
                raise BindError(
                    f"backward: output {self.output_names[i]!r} is no loss, so its gradient is needed: "
                    f"backward([array of shape {show(array.shape)}]), or wrap it in MakeLoss"
                )
            copies.append((array, given[i], f"backward: the gradient of output {self.output_names[i]!r}"))
        assign_all(copies)
        if mode is True and self.ran:
            run.backward()
            for name, _, array in self.flowing:
                self.monitor(name.encode(), as_ndarray(read_only(array)))  # type: ignore[misc]
            return
        kept = {name: array.copy() for name, array in self.states.items()}
        self.pin()
        again = self.generator.again if self.before is not None else contextlib.nullcontext
        with again(self.before):
            run.forward()
        run.backward()
        for name, array in kept.items():
            self.states[name][...] = array

    def train(self, batches: Mapping[str, Any], steps: int, updater: Any, monitor: Any) -> np.ndarray | None:
        """Take `steps` training steps in one call of a runner that can; their losses, or None where it cannot.

        Each array of `batches` has one more leading axis, over the batches, which are gone through in turn.
        """
        run = self.runner(True)
        if (
            self.changes
            or self.monitor is not None
            or not hasattr(run, "train")
            or any(name not in self.arguments for name in batches)
        ):
            return None
        for name, values in batches.items():
            check_shape(self.arguments[name], values[0], f"train: {name!r}")
        self.pin()
        noted: Any = run.train(batches, steps, updater, OUTPUT + "0", monitor.watched)
        if noted is None:
            return None
        self.deliver(True)
        losses, magnitudes = noted
        monitor.add_batches(magnitudes)
        return losses  # type: ignore[no-any-return]

    def copy_params_from(
        self,
        arg_params: Mapping[str, Any],
        aux_params: Mapping[str, Any] | None = None,
        allow_extra_params: bool = False,
    ) -> None:
        """Copy parameters and states into the bound arrays, all or none.

        Errors
            BindError for an unknown name unless `allow_extra_params`; ShapeError for another shape.
        """
        copies = []
        for kind, given, own in (("arg", arg_params, self.arguments), ("aux", aux_params or {}, self.states)):
            for name, value in given.items():
                if name in own:
                    copies.append((own[name], value, f"copy_params_from: {kind} {name!r}"))
                elif not allow_extra_params:
                    raise BindError(f"copy_params_from: {name!r} is none of the {kind}s; {near(name, own)}")
        assign_all(copies)

    def reshape(
        self, partial_shaping: bool = False, allow_up_sizing: bool = False, **shapes: Shape
    ) -> Executor:
        """An executor of the same graph for other input shapes, in the same memory: arrays that shrink are views.

        Outputs share it until this executor runs. An array that grows is new, of zeros.

        Errors
            BindError for a name that is no argument, where an array that was not named would change its
            shape unless `partial_shaping`, and where one would grow unless `allow_up_sizing`.
        """
        leaves = {node.name: Edge(node) for node in self.order if node.is_variable}
        for name in shapes:
            if name not in leaves:
                raise BindError(f"reshape: {name!r} is no argument; {near(name, self.arguments)}")
        given = {leaves[name]: tuple(shape) for name, shape in shapes.items()}
        inferred = infer_shapes(toposort(edge.node for edge in self.unsized), given, "reshape")
        parts = [dict(self.arguments), dict(self.gradients), dict(self.states)]
        wanted = {name: inferred[edge] for name, edge in leaves.items()}
        resize(parts, wanted, leaves if partial_shaping else shapes, allow_up_sizing)
        made = Executor(
            self.unsized, self.output_names, parts[0], parts[1], parts[2], self.requests, context=self.context, passes=self.passes,  # noqa: E501
            runner=self.runner_name, generator=self.generator, caller="reshape",
        )  # fmt: skip
        if all(made.arguments[name] is self.arguments[name] for name in self.flat_parameters.arrays):
            made.flat_parameters, made.flat_gradients = self.flat_parameters, self.flat_gradients
        if not self.made:
            fits = zip(self.blank, made.blank, strict=True)
            made.shared = {
                i: first_of(old, new.shape) for i, (old, new) in enumerate(fits) if old.size >= new.size
            }
        return made

    def debug_str(self) -> str:
        """The graph as MXNet's text for reading, and the memory that plans take beside the bound arrays."""
        plans = [plan for plan, _ in self.made.values()] or [self.plan(bool(self.gradients))]
        taken = sum(plan.arena for plan in plans)
        return f"{serial.to_text(self.heads)}\nTotal {taken >> 20} MB allocated\n"

    # How it is done.

    def runner(self, mode: bool | str) -> Any:
        """The runner of the training or the prediction plan, or of one for gradients of predictions; made when used."""
        if mode not in self.made:
            with collector_paused(), room_for_arrays("bind"):
                self.make(mode)
        return self.made[mode][1]

    def make(self, mode: bool | str) -> None:
        """Compile the plan of one mode and bind it to a runner."""
        plan = self.ready.pop(mode, None) or self.compile(mode)
        for i, array in enumerate(self.outputs_now):
            if HEAD + str(i) in plan.arguments:
                self.head_gradients.setdefault(HEAD + str(i), np.zeros_like(array))
        arrays = {**self.arguments, **self.states, **self.head_gradients}
        arrays.update({GRADIENT + name: a for name, a in self.gradients.items()})
        arrays.update({f"{WATCHED}{name}": array for name, _, array in self.flowing if mode is True})
        run = find_runner(self.runner_name, self.context)(plan, arrays, self.generator)
        names = [OUTPUT + str(i) for i in range(len(self.heads))]
        owners = [plan.buffers[plan.buffers[plan.outputs[name]].owner] for name in names]
        shown = [run.result(name) for name in names]
        copies = []
        for i, owner in enumerate(owners):
            if owner.argument or i in self.shared:  # the user may write there, and still reads the result
                copies.append((self.shared.get(i, np.empty_like(shown[i])), shown[i]))
                shown[i] = copies[-1][0]
        states = [name for name in plan.outputs if name.startswith(STATE)]
        copies += [(self.states[name.removeprefix(STATE)], run.result(name)) for name in states]
        self.shown[mode] = (
            [read_only(array) for array in shown],
            [partial(module_of(own).copyto, own, result) for own, result in copies],
        )
        self.made[mode] = plan, run

    def plan(self, is_train: bool = True, optimizer: Any = None) -> Plan:
        """The plan of one mode, to be printed, drawn or saved.

        With an optimizer also its step over all arguments that have gradients. It reads the rate of each step in an
        array ``rate``, which is ``optimizer.rate(number)``, the decay ``optimizer.wd`` in ``decay``, and keeps what it
        remembers of ``fc1_weight`` in ``moment0:fc1_weight``, zero at first.

        Errors
            BindError for what is no optimizer, and for one where nothing is trained; DTypeError for parameters of
            several types.
        """
        if optimizer is None:
            self.runner(is_train)
            return self.made[is_train][0]
        if not hasattr(optimizer, "rule") or isinstance(optimizer, type):
            raise BindError(f"plan: optimizer is {optimizer!r:.80}, expected one such as SGD()")
        if not is_train or not self.gradients:
            raise BindError("plan: an optimizer needs gradients; is_train=True and a grad_req give them")
        with collector_paused():
            return self.compile(is_train, optimizer)

    def compile(self, is_train: bool | str, optimizer: Any = None) -> Plan:
        """Gradient graph, passes and memory plan of one mode: True, False, or `batch`, `moving` (see `backward`)."""
        compiled: Any = importlib.import_module("tinygrad_lesson.mxnet.compiled")
        plan: Plan = compiled.compiled(self, is_train, optimizer)
        return plan
