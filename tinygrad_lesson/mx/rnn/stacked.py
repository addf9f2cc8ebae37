"""Cells of recurrent networks that are made of other cells: stacks, both directions, what changes what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_lesson import mxnet as sym
from tinygrad_lesson.engine.errors import AttributeValueError, GraphError
from tinygrad_lesson.mx.ndarray import NDArray
from tinygrad_lesson.mx.rnn.cells import BaseRNNCell, RNNParams, as_steps, begun, merged
from tinygrad_lesson.mxnet.symbol import Symbol


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

    def _unrolled(
        self, length: int, inputs: Any, states: list[Any], layout: str, merge: bool | None
    ) -> tuple[Any, list[Any]]:
        """All steps of the first cell, then of the next, and so on."""
        new: list[Any] = []
        for i, (cell, own) in enumerate(zip(self._cells, self.parts(states), strict=True)):
            last = i == len(self._cells) - 1
            inputs, own = cell.unroll(length, inputs, own, layout, merge if last else None)
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

    def _unrolled(
        self, length: int, inputs: Any, states: list[Any], layout: str, merge: bool | None
    ) -> tuple[Any, list[Any]]:
        """One cell from the first step on, the other from the last."""
        steps = as_steps(length, inputs, layout)
        (left, one), (right, other) = (
            cell.unroll(length, given, own, layout)
            for cell, given, own in zip(self._cells, (steps, steps[::-1]), self.parts(states), strict=True)
        )
        if merge:
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

    def _unrolled(
        self, length: int, inputs: Any, states: list[Any], layout: str, merge: bool | None
    ) -> tuple[Any, list[Any]]:
        """The cell's steps, to whose outputs the inputs are added."""
        outputs, states = self.base_cell.unroll(length, inputs, states, layout, merge)
        if isinstance(outputs, Symbol):
            whole = inputs if isinstance(inputs, Symbol) else merged(inputs, layout)
            return self.plus(outputs, whole), states
        steps = as_steps(length, inputs, layout)
        return [self.plus(y, x) for y, x in zip(outputs, steps, strict=True)], states
