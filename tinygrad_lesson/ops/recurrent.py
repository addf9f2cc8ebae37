"""Recurrent layers over whole sequences."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinygrad_lesson.engine.composite import Composite, swept
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.namespace import array_namespace
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.composing import slices

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "gru": 3, "lstm": 4}


@op
class RNN(Composite):
    """Layers of recurrent units, from the first step of each sequence to the last, and back too if `bidirectional`.

    `parameters` holds all matrices, by layer and direction (input to hidden, hidden to hidden), then all biases, twice
    for each. Gates follow each other: input, forget, cell, output of an LSTM; reset, update, new of a GRU.

    Shapes
        data (time, batch, features), parameters (n,), state and state_cell (layers * directions, batch, state_size)
        -> (time, batch, directions * state_size), then with `state_outputs` the last states

    Source
        Hochreiter and Schmidhuber 1997, Cho et al. 2014 with the reset gate behind the product; MXNet 1.9, `RNN`.
    """

    function = "rnn"
    state_size: int = attr(minimum=1, doc="how many units a layer has")
    num_layers: int = attr(minimum=1, doc="how many layers")
    mode: str = attr(choices=tuple(GATES), doc="the kind of unit")
    bidirectional: bool = attr(False, doc="whether each layer runs backward too")
    p: float = attr(0.0, minimum=0, maximum=0, doc="dropout between layers, which is not there: 0")
    state_outputs: bool = attr(False, doc="whether the last states are results")

    @property
    def input_names(self):
        """Only an LSTM has cells."""
        return self.inputs if self.mode == "lstm" else self.inputs[:3]

    @property
    def outputs(self):
        """The last states may be among them."""
        states = ("state", "state_cell") if self.mode == "lstm" else ("state",)
        return ("output", *states) if self.state_outputs else ("output",)

    @property
    def directions(self):
        """One, or two."""
        return 1 + self.bidirectional

    def matrices(self, features):
        """The sizes of the matrices, by layer and direction."""
        rows, hidden = GATES[self.mode] * self.state_size, self.state_size
        for layer in range(self.num_layers):
            width = self.directions * hidden if layer else features
            yield from [(rows, width), (rows, hidden)] * self.directions

    def parameters(self, data):
        if len(data) != 3:
            raise ShapeError(f"data is {show(data)}, expected (time, batch, features)")
        count = None
        if data[2] is not None:
            count = sum(rows * (columns + 1) for rows, columns in self.matrices(data[2]))
        state = (self.num_layers * self.directions, data[1], self.state_size)
        return {name: state if name.startswith("state") else (count,) for name in self.input_names[1:]}

    def shape(self, data, *others):
        self.parameters(data)
        made = (*data[:2], self.directions * self.state_size)
        state = (self.num_layers * self.directions, data[1], self.state_size)
        return (made, *[state] * (self.visible - 1)) if self.state_outputs else made

    def dtype(self, data, *others):
        kind = floating(data)
        return (kind,) * self.results if self.results > 1 else kind

    def compose(self, F, data, parameters, state, state_cell=None):
        return self.unrolled(F, None, data, parameters, state, state_cell)

    def unrolled(self, F, masks, data, parameters, state, state_cell=None):
        """The results; what goes from one layer to the next is multiplied by its mask, if there are `masks`."""
        (time, _, features), place = F.shape(data), 0
        parts, sizes = [], list(self.matrices(features))
        for rows, columns in [*sizes, *[(rows, 1) for rows, _ in sizes]]:
            parts.append(F.reshape(slices(F, parameters, 0, place, rows * columns), shape=(rows, columns)))
            place += rows * columns
        x, last, cells = [row(F, data, t) for t in range(time)], [], []
        for layer in range(self.num_layers):
            found = []
            for direction in range(self.directions):
                i = layer * self.directions + direction
                weights = parts[2 * i : 2 * i + 2], parts[len(sizes) + 2 * i : len(sizes) + 2 * i + 2]
                h, c = row(F, state, i), None if state_cell is None else row(F, state_cell, i)
                steps = [None] * time
                for t in range(time)[:: -1 if direction else 1]:
                    h, c = self.step(F, x[t], h, c, *weights)
                    steps[t] = h
                found.append(steps)
                last.append(h)
                cells.append(c)
            x = [F.concat(*both, dim=1) if len(both) > 1 else both[0] for both in zip(*found, strict=True)]
            if masks is not None and layer < self.num_layers - 1:
                mask = row(F, masks, layer)
                x = [part * row(F, mask, t) for t, part in enumerate(x)]
        y = F.stack(*x, axis=0)
        if not self.state_outputs:
            return y
        return (y, F.stack(*last, axis=0), *([F.stack(*cells, axis=0)] if self.mode == "lstm" else []))

    def step(self, F, x, h, c, matrices, biases):
        """The next state and cell of one layer."""
        count = GATES[self.mode]
        of_x, of_h = (
            F.matmul(v, F.transpose(w)) + F.reshape(b, shape=(1, -1))
            for v, w, b in zip((x, h), matrices, biases, strict=True)
        )
        if count == 1:
            total = of_x + of_h
            return (F.relu(total) if self.mode == "rnn_relu" else F.tanh(total)), c
        gates = [
            [slices(F, v, 1, i * self.state_size, self.state_size) for i in range(count)]
            for v in (of_x, of_h)
        ]
        if self.mode == "lstm":
            i, f, new, o = (a + b for a, b in zip(*gates, strict=True))
            c = F.sigmoid(f) * c + F.sigmoid(i) * F.tanh(new)
            return F.sigmoid(o) * F.tanh(c), c
        reset, update = (F.sigmoid(gates[0][k] + gates[1][k]) for k in range(2))
        new = F.tanh(gates[0][2] + reset * gates[1][2])
        return (1 - update) * new + update * h, c

    def oracle(self, *inputs):
        return self.by_layers(*inputs)

    def by_layers(self, data, parameters, state, state_cell=None, masks=None):
        """The results by NumPy, unit by unit."""
        hidden, place, matrices = self.state_size, 0, []
        for rows, columns in self.matrices(data.shape[2]):
            matrices.append(parameters[place : place + rows * columns].reshape(rows, columns))
            place += rows * columns
        biases = parameters[place:].reshape(len(matrices), -1)
        x, last, cells = data, [], []
        for layer in range(self.num_layers):
            made = np.zeros((*x.shape[:2], self.directions * hidden))
            for direction in range(self.directions):
                i = layer * self.directions + direction
                (w, u), (b, d) = matrices[2 * i : 2 * i + 2], biases[2 * i : 2 * i + 2]
                h, c = state[i], None if state_cell is None else state_cell[i]
                for t in reversed(range(len(x))) if direction else range(len(x)):
                    a, r = np.einsum("nf,gf->ng", x[t], w) + b, np.einsum("nf,gf->ng", h, u) + d
                    h, c = by_hand(self.mode, a, r, h, c)
                    made[t, :, direction * hidden : (direction + 1) * hidden] = h
                last.append(h)
                cells.append(c)
            x = made if masks is None or layer == self.num_layers - 1 else made * masks[layer]
        found = (x, np.array(last), np.array(cells) if self.mode == "lstm" else None)
        return found[: self.visible] if self.state_outputs else x

    @classmethod
    def sample(cls, draw):
        mode = draw.choice(("rnn_tanh", "gru", "lstm"))
        made = cls(draw.size(1, 2), draw.size(1, 2), mode, draw.boolean(), state_outputs=draw.boolean())
        data = draw.array((draw.size(1, 2), draw.size(1, 2), draw.size(1, 2)))
        shapes = made.parameters(data.shape)
        return made, {"data": data, **{name: draw.array(shape, -1, 1) for name, shape in shapes.items()}}


@op
class DropoutRNN(RNN):
    """As `RNN` with dropout between its layers: in training an element is dropped with probability `p`.

    Shapes
        data (time, batch, features), parameters (n,), state and state_cell (layers * directions, batch, state_size)
        -> as of `RNN`; a last result is the masks that were drawn, (layers - 1, time, batch, directions * state_size)

    Source
        Srivastava et al. 2014; MXNet 1.9, `RNN` with p.
    """

    function = "dropout_rnn"
    random = True
    oracle = None  # type: ignore[assignment]  # it would have to draw the same masks
    p: float = attr(
        0.5, minimum=0, maximum=1, doc="probability that an element is dropped between two layers"
    )
    is_train: bool = attr(False, doc="whether elements are dropped; set when bound")

    @property
    def outputs(self):
        """Those of `RNN`, and the masks."""
        return (*super().outputs, "mask")

    @property
    def visible(self):
        """The masks are not shown."""
        return len(self.outputs) - 1

    def at_mode(self, is_train):
        """Elements are dropped in training."""
        return dataclasses.replace(self, is_train=is_train)

    def of_masks(self, data):
        """The shape of the masks."""
        return self.num_layers - 1, *data[:2], self.directions * self.state_size

    def shape(self, data, *others):
        shown = super().shape(data, *others)
        return (*(shown if self.state_outputs else (shown,)), self.of_masks(data))

    def forward(self, xp, data, parameters, state, state_cell=None, *, generator=None):
        kind, shape = np.dtype(floating(data.dtype)), self.of_masks(data.shape)
        if self.is_train and 0 < self.p < 1:
            kept = xp.asarray(generator.uniform(0, 1, shape)) < 1 - self.p
            masks = kept.astype(kind) / kind.type(1 - self.p)
        else:
            masks = xp.full(shape, float(not (self.is_train and self.p == 1)), dtype=kind)
        made = self.unrolled(array_namespace(xp), masks, data, parameters, state, state_cell)
        return (*(made if self.state_outputs else (made,)), masks)

    def rewrite(self, F, shapes, *inputs):
        return None

    def vjp(self, F, g, y, *inputs):
        return swept(F, lambda above, *leaves: self.unrolled(above, y[-1], *leaves), g[:-1], inputs)

    @classmethod
    def sample(cls, draw):
        mode = draw.choice(("rnn_tanh", "gru", "lstm"))
        made = cls(
            draw.size(1, 2), draw.size(1, 2), mode, draw.boolean(), draw.choice((0.0, 0.3, 1.0)),
            draw.boolean(), draw.boolean(),
        )  # fmt: skip
        data = draw.array((draw.size(1, 2), draw.size(1, 2), draw.size(1, 2)))
        shapes = made.parameters(data.shape)
        return made, {"data": data, **{name: draw.array(shape, -1, 1) for name, shape in shapes.items()}}


def row(F, x, i):
    """One of the parts along the first axis."""
    return F.squeeze(slices(F, x, 0, i, 1), axis=0)


def by_hand(mode, a, r, h, c):
    """The next state and cell, from the products with the input and with the state, by NumPy."""
    if mode.startswith("rnn"):
        return (np.tanh(a + r) if mode == "rnn_tanh" else np.maximum(a + r, 0)), c
    n = h.shape[1]
    if mode == "lstm":
        i, f, g, o = np.split(a + r, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        return np.tanh(c) / (1 + np.exp(-o)), c
    s = 1 / (1 + np.exp(-(a + r)[:, : 2 * n]))
    new = np.tanh(a[:, 2 * n :] + s[:, :n] * r[:, 2 * n :])
    return new + s[:, n:] * (h - new), c
