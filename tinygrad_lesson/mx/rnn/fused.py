"""All layers and steps of a recurrent network as one operator, with all parameters in one array: `FusedRNNCell`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_lesson import mxnet as sym
from tinygrad_lesson.engine.errors import AttributeValueError, GraphError
from tinygrad_lesson.mx.ndarray import NDArray, array
from tinygrad_lesson.mx.rnn.cells import BaseRNNCell, GRUCell, LSTMCell, RNNCell, RNNParams, Start
from tinygrad_lesson.mx.rnn.stacked import BidirectionalCell, DropoutCell, SequentialRNNCell
from tinygrad_lesson.mxnet.ndarray import as_ndarray
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train.initializer import INITIALIZERS, InitDesc, Initializer, create

GATES = {
    "rnn_relu": ("",), "rnn_tanh": ("",), "lstm": LSTMCell._gates, "gru": GRUCell._gates,
}  # fmt: skip


class FusedRNN(Initializer):
    """First values of all parameters of a `FusedRNNCell`, each by its own name, as if the cell were unfused.

    `init` is the initializer that gives them, also as text; None for that of the network. With lstm the bias of the
    forget gates is `forget_bias`.

    Source
        MXNet 1.9, ``mx.init.FusedRNN``.
    """

    def __init__(
        self, init: Any, num_hidden: int, num_layers: int, mode: str, bidirectional: bool = False,
        forget_bias: float = 1.0,
    ) -> None:  # fmt: skip
        self.rule = create(init) if isinstance(init, str) else init
        super().__init__(
            init=None if self.rule is None else self.rule.dumps(), num_hidden=num_hidden, num_layers=num_layers,
            mode=mode, bidirectional=bidirectional, forget_bias=forget_bias,
        )  # fmt: skip

    def _init_weight(self, name: str, array: Any) -> None:
        """Fill the one array."""
        settings = {key: value for key, value in self._kwargs.items() if key != "init"}
        cell, rule = FusedRNNCell(**settings, prefix=""), self.rule or name.global_init  # type: ignore[attr-defined]
        parts = cell.unpack_weights({"parameters": as_ndarray(np.asarray(array))})
        for part, values in parts.items():
            if part.endswith("_f_bias") and cell._mode == "lstm":
                values[:] = cell._forget_bias
            else:
                rule(InitDesc(part, global_init=rule), values)
        array[:] = cell.pack_weights(parts)["parameters"]


INITIALIZERS["fusedrnn"] = FusedRNN


class FusedRNNCell(BaseRNNCell):
    """The operator `RNN` as a cell that is unrolled at once; `unfuse` gives the same network as cells of one step.

    Source
        MXNet 1.9, ``mx.rnn.FusedRNNCell``.
    """

    def __init__(
        self, num_hidden: int, num_layers: int = 1, mode: str = "lstm", bidirectional: bool = False,
        dropout: float = 0.0, get_next_state: bool = False, forget_bias: float = 1.0, prefix: str | None = None,
        params: RNNParams | None = None,
    ) -> None:  # fmt: skip
        if mode not in GATES:
            raise AttributeValueError(f"FusedRNNCell: mode is {mode!r}, expected one of {', '.join(GATES)}")
        super().__init__(f"{mode}_" if prefix is None else prefix, params)
        self._num_hidden, self._num_layers, self._mode = num_hidden, num_layers, mode
        self._bidirectional, self._dropout, self._get_next_state = bidirectional, dropout, get_next_state
        self._forget_bias = forget_bias
        self._directions = ["l", "r"] if bidirectional else ["l"]
        first = FusedRNN(None, num_hidden, num_layers, mode, bidirectional, forget_bias)
        self._parameter = self._params.get("parameters", init=first)

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """The outputs of all layers, and with lstm what is remembered."""
        rows = self._num_layers * len(self._directions)
        return [{"shape": (rows, 0, self._num_hidden), "__layout__": "LNC"}] * (1 + (self._mode == "lstm"))

    @property
    def _gate_names(self) -> tuple[str, ...]:
        return GATES[self._mode]

    def __call__(self, inputs: Symbol, states: Any) -> tuple[Symbol, list[Symbol]]:
        """Refused: the operator has all steps."""
        raise GraphError("a FusedRNNCell cannot be stepped; use unroll")

    def _unrolled(
        self, length: int, inputs: Any, states: list[Any], layout: str, merge: bool | None
    ) -> tuple[Any, list[Any]]:
        """All of it by one operator, whose outputs are one symbol unless `merge` is False."""
        if isinstance(inputs, Symbol):
            data = inputs if layout == "TNC" else sym.SwapAxis(inputs, dim1=0, dim2=1)
        else:
            data = sym.Concat(*[sym.expand_dims(x, axis=0) for x in inputs], dim=0)
        first = sym.Flatten(sym.slice_axis(sym.SwapAxis(data, dim1=0, dim2=1), axis=1, begin=0, end=1))
        states = [state.like(first) if isinstance(state, Start) else state for state in states]
        rnn = sym.RNN(
            data, self._parameter, *states, state_size=self._num_hidden, num_layers=self._num_layers,
            bidirectional=self._bidirectional, p=self._dropout, state_outputs=self._get_next_state, mode=self._mode,
            name=f"{self._prefix}rnn",
        )  # fmt: skip
        count = len(rnn.list_outputs())
        outputs: Any = rnn if count == 1 else rnn[0]
        if layout == "NTC":
            outputs = sym.SwapAxis(outputs, dim1=0, dim2=1)
        if merge is False:
            parts = sym.split(outputs, axis=layout.find("T"), num_outputs=length, squeeze_axis=1)
            outputs = [parts[i] for i in range(length)]
        return outputs, [rnn[i] for i in range(1, count)]

    def unfuse(self) -> SequentialRNNCell:
        """The same network as cells of one step each."""
        makers: dict[str, Callable[[str], BaseRNNCell]] = {
            "rnn_relu": lambda prefix: RNNCell(self._num_hidden, "relu", prefix),
            "rnn_tanh": lambda prefix: RNNCell(self._num_hidden, "tanh", prefix),
            "lstm": lambda prefix: LSTMCell(self._num_hidden, prefix),
            "gru": lambda prefix: GRUCell(self._num_hidden, prefix),
        }
        stack, make = SequentialRNNCell(), makers[self._mode]
        for i in range(self._num_layers):
            first, *more = [make(f"{self._prefix}{side}{i}_") for side in self._directions]
            both = f"{self._prefix}bi_l{i}_"
            stack.add(BidirectionalCell(first, more[0], output_prefix=both) if more else first)
            if self._dropout > 0 and i != self._num_layers - 1:
                stack.add(DropoutCell(self._dropout, f"{self._prefix}_dropout{i}_"))
        return stack

    def parts(self, size: int) -> dict[str, tuple[int, ...]]:
        """The name and the shape of each part of the one array of parameters, in order, for so many inputs."""
        h, gates = self._num_hidden, self._gate_names
        shapes: dict[str, tuple[int, ...]] = {}
        for kind in ("weight", "bias"):
            for layer in range(self._num_layers):
                width = size if layer == 0 else h * len(self._directions)
                for side in self._directions:
                    for group, columns in (("i2h", width), ("h2h", h)):
                        for gate in gates:
                            name = f"{self._prefix}{side}{layer}_{group}{gate}_{kind}"
                            shapes[name] = (h, columns) if kind == "weight" else (h,)
        return shapes

    def inputs_of(self, count: int) -> int:
        """How many inputs a network with so many parameters has."""
        h, g, d, layers = self._num_hidden, len(self._gate_names), len(self._directions), self._num_layers
        return count // d // h // g - (layers - 1) * (h + d * h + 2) - h - 2

    def unpack_weights(self, args: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Parameters with one array for each gate, layer and direction."""
        args = dict(args)
        flat, start = args.pop(f"{self._prefix}parameters"), 0
        for name, shape in self.parts(self.inputs_of(flat.size)).items():
            end = start + int(np.prod(shape))
            args[name], start = flat[start:end].reshape(shape).copy(), end
        return args

    def pack_weights(self, args: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """The way back from `unpack_weights`."""
        args = dict(args)
        first = args[f"{self._prefix}l0_i2h{self._gate_names[0]}_weight"]
        flat = [np.asarray(args.pop(name)).reshape(-1) for name in self.parts(first.shape[1])]
        args[f"{self._prefix}parameters"] = array(np.concatenate(flat), dtype=first.dtype)
        return args
