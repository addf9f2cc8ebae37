"""Cells of recurrent networks as symbols: one step of a sequence each, or all of its steps by `unroll`.

Source
    MXNet 1.9, ``python/mxnet/rnn/rnn_cell.py``: names of parameters and nodes, and the order of gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from tinygrad_lesson import mxnet as sym
from tinygrad_lesson.engine.errors import DTypeError, GraphError
from tinygrad_lesson.mx.ndarray import NDArray, concatenate
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train.structured import LSTMBias


class RNNParams:
    """The variables of cells by name, so that several cells can share them."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._params: dict[str, Symbol] = {}

    def get(self, name: str, **kwargs: Any) -> Symbol:
        """The variable of this name, made when it is first asked for."""
        name = self._prefix + name
        if name not in self._params:
            self._params[name] = sym.Variable(name, **kwargs)
        return self._params[name]


class Start(NamedTuple):
    """A state of zeros before the first step, as large as the first input is many: the batch is known by then."""

    name: str
    shape: tuple[int, ...]

    def like(self, step: Symbol) -> Symbol:
        """It, for a batch like that of one step of the input (batch, ...)."""
        column = sym.sum(sym.zeros_like(sym.Flatten(step)), axis=1, keepdims=True)
        flat = sym.tile(column, reps=(1, self.shape[-1]), name=self.name)
        return (
            flat
            if len(self.shape) == 2
            else sym.tile(sym.expand_dims(flat, axis=0), reps=(self.shape[0], 1, 1))
        )


class BaseRNNCell:
    """What all cells share. One of your own has `state_info` and ``__call__(inputs, states)``.

    `prefix` begins the names of its variables and nodes; cells that are given the same `params` share them.
    """

    _gates: ClassVar[tuple[str, ...]] = ()

    def __init__(self, prefix: str = "", params: RNNParams | None = None) -> None:
        self._own_params = params is None
        self._prefix, self._params = prefix, RNNParams(prefix) if params is None else params
        self._modified = False
        self.reset()

    def reset(self) -> None:
        """Count steps from the first again, before the cell is used in another graph."""
        self._init_counter = self._counter = -1
        for cell in getattr(self, "_cells", ()):
            cell.reset()

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output, and the new states."""
        raise NotImplementedError

    @property
    def params(self) -> RNNParams:
        """The variables, to be shared with another cell."""
        self._own_params = False
        return self._params

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """Shape and layout of each state; 0 stands for the batch."""
        raise NotImplementedError

    @property
    def state_shape(self) -> list[tuple[int, ...]]:
        """The shape of each state."""
        return [info["shape"] for info in self.state_info]

    @property
    def _gate_names(self) -> tuple[str, ...]:
        return self._gates

    def begin_state(self, func: Callable[..., Any] = sym.zeros, **kwargs: Any) -> list[Any]:
        """The states before the first step: zeros, or what `func` makes, such as ``mx.sym.Variable``."""
        if self._modified:
            raise GraphError("begin_state: this cell was given to another one; call that of the other")
        made: list[Any] = []
        for info in self.state_info:
            self._init_counter += 1
            name = f"{self._prefix}begin_state_{self._init_counter}"
            if func is sym.zeros and not kwargs:
                made.append(Start(name, info["shape"]))
            else:
                made.append(func(name=name, **{**info, **kwargs}))
        return made

    def _step(self, inputs: Symbol, states: Any) -> tuple[str, list[Symbol]]:
        """The beginning of the names in a new step, and its states as symbols."""
        self._counter += 1
        return f"{self._prefix}t{self._counter}_", begun(states, inputs)

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list[Any]]:
        """All steps of a sequence.

        `inputs` are one symbol, whose axes `layout` tells, or a list with one (batch, ...) for each step. The outputs
        are one symbol with `merge_outputs`, otherwise a list.
        """
        self.reset()
        states = self.begin_state() if begin_state is None else begin_state
        return self._unrolled(length, inputs, states, layout, merge_outputs)

    def _unrolled(
        self, length: int, inputs: Any, states: list[Any], layout: str, merge: bool | None
    ) -> tuple[Any, list[Any]]:
        """All steps from these states on, for a cell that has not been used yet."""
        outputs = []
        for step in as_steps(length, inputs, layout):
            output, states = self(step, states)
            outputs.append(output)
        return merged(outputs, layout) if merge else outputs, states

    def unpack_weights(self, args: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Parameters with one array for each gate."""
        args = dict(args)
        if not self._gate_names:
            return args
        for group in ("i2h", "h2h"):
            for kind in ("weight", "bias"):
                whole = args.pop(f"{self._prefix}{group}_{kind}")
                size = whole.shape[0] // len(self._gate_names)
                for i, gate in enumerate(self._gate_names):
                    args[f"{self._prefix}{group}{gate}_{kind}"] = whole[i * size : (i + 1) * size].copy()
        return args

    def pack_weights(self, args: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """The way back from `unpack_weights`."""
        args = dict(args)
        if not self._gate_names:
            return args
        for group in ("i2h", "h2h"):
            for kind in ("weight", "bias"):
                parts = [args.pop(f"{self._prefix}{group}{gate}_{kind}") for gate in self._gate_names]
                args[f"{self._prefix}{group}_{kind}"] = concatenate(parts)
        return args


def begun(states: Any, step: Symbol) -> list[Symbol]:
    """States as symbols."""
    return [state.like(step) if isinstance(state, Start) else state for state in states]


def as_steps(length: int, inputs: Any, layout: str) -> list[Symbol]:
    """The input of each step.

    Errors
        DTypeError for neither a symbol nor a list of as many.
    """
    if isinstance(inputs, Symbol) and len(inputs.list_outputs()) == 1:
        parts = sym.split(inputs, axis=layout.find("T"), num_outputs=length, squeeze_axis=1)
        return [parts[i] for i in range(length)] if length > 1 else [parts]
    steps = list(inputs)
    if len(steps) != length:
        raise DTypeError(f"unroll: {len(steps)} inputs given, expected one symbol, or {length} of them")
    return steps


def merged(outputs: Sequence[Symbol], layout: str) -> Symbol:
    """Outputs of steps as one symbol."""
    axis = layout.find("T")
    return sym.Concat(*[sym.expand_dims(output, axis=axis) for output in outputs], dim=axis)


class Dense(BaseRNNCell):
    """A cell of products with the input and with the state before: (batch, num_hidden) for each gate."""

    def __init__(self, num_hidden: int, prefix: str, params: RNNParams | None = None, **first: Any) -> None:
        super().__init__(prefix, params)
        self._num_hidden = num_hidden
        self._weights = {
            f"{group}_{kind}": self._params.get(
                f"{group}_{kind}", **(first if (group, kind) == ("i2h", "bias") else {})
            )
            for group in ("i2h", "h2h")
            for kind in ("weight", "bias")
        }

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """One state of `num_hidden` numbers."""
        return [{"shape": (0, self._num_hidden), "__layout__": "NC"}]

    def products(self, name: str, inputs: Symbol, state: Symbol) -> list[Symbol]:
        """Of the input, and of the state."""
        count = max(1, len(self._gates)) * self._num_hidden
        return [
            sym.FullyConnected(
                data, self._weights[f"{group}_weight"], self._weights[f"{group}_bias"], num_hidden=count,
                name=f"{name}{group}",
            )
            for group, data in (("i2h", inputs), ("h2h", state))
        ]  # fmt: skip


class RNNCell(Dense):
    """``h = act(W x + b + R h + c)``."""

    _gates = ("",)

    def __init__(
        self, num_hidden: int, activation: str = "tanh", prefix: str = "rnn_", params: RNNParams | None = None
    ) -> None:
        super().__init__(num_hidden, prefix, params)
        self._activation = activation

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output, and the new states."""
        name, (state,) = self._step(inputs, states)
        i2h, h2h = self.products(name, inputs, state)
        output = sym.Activation(i2h + h2h, act_type=self._activation, name=f"{name}out")
        return output, [output]


class LSTMCell(Dense):
    """Long short-term memory: what is remembered goes on through gates.

    `forget_bias` is what the gate that forgets begins with.
    """

    _gates = ("_i", "_f", "_c", "_o")

    def __init__(
        self,
        num_hidden: int,
        prefix: str = "lstm_",
        params: RNNParams | None = None,
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__(num_hidden, prefix, params, init=LSTMBias(forget_bias=forget_bias))

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """The output, and what is remembered."""
        return super().state_info * 2

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output, and the new states."""
        name, (before, memory) = self._step(inputs, states)
        i2h, h2h = self.products(name, inputs, before)
        parts = sym.SliceChannel(i2h + h2h, num_outputs=4, name=f"{name}slice")
        enters, stays, new, leaves = (
            sym.Activation(parts[i], act_type=act, name=name + gate)
            for i, (gate, act) in enumerate(
                (("i", "sigmoid"), ("f", "sigmoid"), ("c", "tanh"), ("o", "sigmoid"))
            )
        )
        memory = sym.elemwise_add(stays * memory, enters * new, name=f"{name}state")
        output = sym.elemwise_mul(leaves, sym.Activation(memory, act_type="tanh"), name=f"{name}out")
        return output, [output, memory]


class GRUCell(Dense):
    """A gated recurrent unit, as cuDNN has it: the reset gate multiplies the product with the state."""

    _gates = ("_r", "_z", "_o")

    def __init__(self, num_hidden: int, prefix: str = "gru_", params: RNNParams | None = None) -> None:
        super().__init__(num_hidden, prefix, params)

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output, and the new states."""
        name, (before,) = self._step(inputs, states)
        i2h, h2h = (
            sym.SliceChannel(x, num_outputs=3, name=f"{name}_{group}_slice")
            for group, x in zip(("i2h", "h2h"), self.products(f"{name}_", inputs, before), strict=True)
        )
        reset = sym.Activation(i2h[0] + h2h[0], act_type="sigmoid", name=f"{name}_r_act")
        update = sym.Activation(i2h[1] + h2h[1], act_type="sigmoid", name=f"{name}_z_act")
        new = sym.Activation(i2h[2] + reset * h2h[2], act_type="tanh", name=f"{name}_h_act")
        output = sym.elemwise_add((1.0 - update) * new, update * before, name=f"{name}out")
        return output, [output]
