"""Cells of recurrent networks as symbols: one step of a sequence each, or all of its steps by `unroll`.

Source
    MXNet 1.9, ``python/mxnet/rnn/rnn_cell.py``: names of parameters and nodes, and the order of gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from tinygrad_lesson import mxnet as sym
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, GraphError
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
                made.append(func(name=name, **{**(info if func is not sym.Variable else {}), **kwargs}))
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
        steps, outputs = as_steps(length, inputs, layout), []
        states = self.begin_state() if begin_state is None else begin_state
        for step in steps:
            output, states = self(step, states)
            outputs.append(output)
        return merged(outputs, layout) if merge_outputs else outputs, states

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
        parts = sym.SliceChannel(inputs, axis=layout.find("T"), num_outputs=length, squeeze_axis=True)
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


class Holding(BaseRNNCell):
    """A cell made of others, whose parameters it shares with them."""

    _cells: list[BaseRNNCell]

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """Those of its cells, one after the other."""
        return [info for cell in self._cells for info in cell.state_info]

    def begin_state(self, func: Callable[..., Any] = sym.zeros, **kwargs: Any) -> list[Any]:
        """Those of its cells, one after the other."""
        found: list[Any] = []
        for cell in self._cells:
            cell._modified = False
            found += cell.begin_state(func, **kwargs)
            cell._modified = True
        return found

    def hold(self, *cells: BaseRNNCell) -> None:
        """Take cells."""
        for cell in cells:
            cell._modified = True
            self._params._params.update(cell._params._params)

    def unpack_weights(self, args: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Parameters with one array for each gate of each cell."""
        for cell in self._cells:
            args = cell.unpack_weights(args)
        return dict(args)

    def pack_weights(self, args: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """The way back from `unpack_weights`."""
        for cell in self._cells:
            args = cell.pack_weights(args)
        return dict(args)

    def parts(self, states: Sequence[Any]) -> list[list[Any]]:
        """The states of each cell."""
        counts, found = [len(cell.state_info) for cell in self._cells], []
        for count in counts:
            found.append(list(states[:count]))
            states = states[count:]
        return found


class SequentialRNNCell(Holding):
    """Cells one on top of the other; `add` puts one more there."""

    def __init__(self, params: RNNParams | None = None) -> None:
        self._cells = []
        super().__init__("", params)

    def add(self, cell: BaseRNNCell) -> None:
        """One more on top."""
        self._cells.append(cell)
        self.hold(cell)

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output of the last cell, and the new states of all."""
        self._counter += 1
        new: list[Symbol] = []
        for cell, own in zip(self._cells, self.parts(states), strict=True):
            inputs, own = cell(inputs, own)
            new += own
        return inputs, new

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list[Any]]:
        """All steps of the first cell, then of the next, and so on; as `BaseRNNCell.unroll`."""
        self.reset()
        states = self.begin_state() if begin_state is None else begin_state
        new: list[Any] = []
        for i, (cell, own) in enumerate(zip(self._cells, self.parts(states), strict=True)):
            last = i == len(self._cells) - 1
            inputs, own = cell.unroll(length, inputs, own, layout, merge_outputs if last else None)
            new += own
        return inputs, new


class BidirectionalCell(Holding):
    """Two cells, one of which reads the sequence from its end; their outputs stand side by side."""

    def __init__(
        self,
        l_cell: BaseRNNCell,
        r_cell: BaseRNNCell,
        params: RNNParams | None = None,
        output_prefix: str = "bi_",
    ) -> None:
        self._cells, self._output_prefix = [l_cell, r_cell], output_prefix
        super().__init__("", params)
        self.hold(l_cell, r_cell)

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """Refused: one of the cells needs the end of the sequence first."""
        raise GraphError("a BidirectionalCell cannot be stepped; use unroll")

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list[Any]]:
        """As `BaseRNNCell.unroll`."""
        self.reset()
        steps = as_steps(length, inputs, layout)
        states = self.parts(self.begin_state() if begin_state is None else begin_state)
        (left, one), (right, other) = (
            cell.unroll(length, given, own, layout)
            for cell, given, own in zip(self._cells, (steps, steps[::-1]), states, strict=True)
        )
        if merge_outputs:
            sides = [merged(part, layout) for part in (left, right[::-1])]
            return sym.Concat(*sides, dim=2, name=f"{self._output_prefix}out"), [one, other]
        pairs = enumerate(zip(left, right[::-1], strict=True))
        outputs = [sym.Concat(a, b, dim=1, name=f"{self._output_prefix}t{i}") for i, (a, b) in pairs]
        return outputs, [one, other]


class DropoutCell(BaseRNNCell):
    """Dropout of what goes from step to step; it has no state."""

    def __init__(self, dropout: float, prefix: str = "dropout_", params: RNNParams | None = None) -> None:
        super().__init__(prefix, params)
        self.dropout = dropout

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """None."""
        return []

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output, and the states as they were."""
        return (sym.Dropout(inputs, p=self.dropout) if self.dropout > 0 else inputs), list(states)


class ModifierCell(Holding):
    """A cell that changes what another, `base_cell`, gives."""

    def __init__(self, base_cell: BaseRNNCell) -> None:
        self._cells, self.base_cell = [base_cell], base_cell
        super().__init__("")
        self.hold(base_cell)
        self._params = base_cell._params


class ZoneoutCell(ModifierCell):
    """Some of the outputs and of the states stay as they were in the step before.

    Source
        Krueger et al. 2016.
    """

    def __init__(
        self, base_cell: BaseRNNCell, zoneout_outputs: float = 0.0, zoneout_states: float = 0.0
    ) -> None:
        if isinstance(base_cell, BidirectionalCell):
            raise AttributeValueError(
                "ZoneoutCell: base_cell cannot be stepped; put it around each of its cells"
            )
        super().__init__(base_cell)
        self.zoneout_outputs, self.zoneout_states = zoneout_outputs, zoneout_states

    def reset(self) -> None:
        """Forget the output of the step before."""
        super().reset()
        self.prev_output: Symbol | None = None

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output, and the new states."""
        states = begun(states, inputs)
        output, new = self.base_cell(inputs, states)

        def mixed(share: float, now: Symbol, before: Symbol) -> Symbol:
            return sym.where(sym.Dropout(sym.ones_like(now), p=share), now, before) if share else now

        before = sym.zeros_like(output) if self.prev_output is None else self.prev_output
        self.prev_output = mixed(self.zoneout_outputs, output, before)
        return self.prev_output, [mixed(self.zoneout_states, a, b) for a, b in zip(new, states, strict=True)]


class ResidualCell(ModifierCell):
    """The input is added to the output."""

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """One step: the output, and the new states."""
        output, states = self.base_cell(inputs, states)
        return self.plus(output, inputs), states

    def plus(self, output: Symbol, inputs: Symbol) -> Symbol:
        """Both, added up."""
        return sym.elemwise_add(output, inputs, name=f"{output.name}_plus_residual")

    def unroll(
        self,
        length: int,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, list[Any]]:
        """As `BaseRNNCell.unroll`."""
        self.reset()
        states = self.begin_state() if begin_state is None else begin_state
        outputs, states = self.base_cell.unroll(length, inputs, states, layout, merge_outputs)
        if isinstance(outputs, Symbol):
            whole = inputs if isinstance(inputs, Symbol) else merged(inputs, layout)
            return self.plus(outputs, whole), states
        steps = as_steps(length, inputs, layout)
        return [self.plus(y, x) for y, x in zip(outputs, steps, strict=True)], states
