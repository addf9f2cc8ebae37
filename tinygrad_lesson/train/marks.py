"""Which layer's gradient vanishes, explodes, is zero or no number, epoch by epoch.

A gradient vanishes on its way back: what counts is how much of it reaches the layer or any layer before it.
So a residual block that has little to learn is no alarm while the layers before it are reached around it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.mxnet.symbol import Symbol

Array = npt.NDArray[Any]

FINE, VANISHING, EXPLODING, DEAD, NOT_FINITE = ".", "v", "e", "0", "n"
WORDS = {VANISHING: "vanishing", EXPLODING: "exploding", DEAD: "dead", NOT_FINITE: "not finite"}
# Of the strongest layer's: the lesson's healthy networks stay above 4e-3, the others below 3e-7.
VANISHED = 1e-4
STARVED = 1e-7  # of the strongest layer's, for half of the training, whatever is reached around the layer
EXPLODED = 1e3  # times the last layer's, or times its own at the start
LARGE = 1.0  # below this a mean gradient has not exploded, however it grew
SUSTAINED = 3  # epochs that make it more than an accident


class Segment(NamedTuple):
    """Epochs `since` to `until`, counted from 1, in which a layer has the same mark; their gradients."""

    mark: str
    since: int
    until: int


def as_matrix(mean_abs_grad: Mapping[str, Sequence[float]]) -> Array:
    """Rows of layers, columns of epochs; what is missing at the end is no number."""
    epochs = max((len(values) for values in mean_abs_grad.values()), default=0)
    rows = np.full((len(mean_abs_grad), epochs), np.nan)
    for row, values in zip(rows, mean_abs_grad.values(), strict=True):
        row[: len(values)] = [np.nan if value is None else value for value in values]
    return rows


def reached(gradients: Array, names: Sequence[str], symbol: Symbol | None = None) -> Array:
    """For each layer the largest gradient in it and in all layers before it.

    Without the `symbol`, from which it is known what comes before what, the layers are taken to be in a row.

    Shapes
        gradients (layers, epochs) -> the same
    """
    known = np.where(np.isfinite(gradients), gradients, np.inf)
    if symbol is None:
        along: Array = np.maximum.accumulate(known, axis=0)
        return along
    row_of = {name: i for i, name in enumerate(names)}
    nothing = np.zeros(gradients.shape[1])
    found, best = known.copy(), {}
    for node in symbol.nodes:
        best[node] = nothing
        for edge in node.inputs:
            best[node] = np.maximum(best[node], best[edge.node])
        for edge in node.inputs:
            if edge.node.is_variable and edge.node.name in row_of:
                i = row_of[edge.node.name]
                best[node] = found[i] = np.maximum(best[node], known[i])
    return found


def mark(
    gradients: Array, within_reach: Array, loss: Sequence[float] = (), foretold: float = math.nan
) -> Array:
    """A mark for each layer and epoch, of those above; `foretold` is the largest product of Jacobians.

    Shapes
        gradients, within_reach (layers, epochs) -> the same
    """
    marks = np.full(gradients.shape, FINE)
    if not gradients.size:
        return marks
    finite = np.isfinite(gradients)
    values = np.where(finite, gradients, 0)
    strongest = values.max(axis=0)
    starved = values < STARVED * strongest
    starved &= starved.mean(axis=1, keepdims=True) >= 0.5
    marks[(within_reach < VANISHED * strongest) | starved] = VANISHING
    marks[values == 0] = DEAD
    marks[exploding(values, loss, foretold)] = EXPLODING
    marks[~finite] = NOT_FINITE
    return marks


def exploding(values: Array, loss: Sequence[float], foretold: float) -> Array:
    """Where gradients are large by themselves and beside the last layer's, or large and it did harm.

    Harm: the loss has not come down to half. Large is a mean above 1 that was foretold, or that is `EXPLODED`
    times what it was at the start, or above `EXPLODED` itself; if both, harm need not be seen.
    """
    start = np.median(values[:, :SUSTAINED], axis=1, keepdims=True)
    losses = np.full(values.shape[1], np.nan)
    losses[: len(loss)] = loss[: values.shape[1]]
    harm = ~(losses < 0.5 * losses[0])  # no loss, no improvement
    beside = (values > EXPLODED * values[-1]) & (values[-1] > 0)
    huge, known = values > EXPLODED, foretold > EXPLODED
    large = huge | (values > EXPLODED * start) | known
    found: Array = (values > LARGE) & (beside | (large & harm) | (huge & known))
    return found


def segments(marks: Array) -> list[Segment]:
    """Of one layer's marks those that stay: the longest stretch of each kind.

    Shapes
        marks (epochs,)
    """
    found: dict[str, Segment] = {}
    ends = [*np.flatnonzero(marks[1:] != marks[:-1]) + 1, len(marks)]
    begin = 0
    for end in map(int, ends):
        kind = str(marks[begin]) if len(marks) else FINE
        known = found.get(kind)
        if kind != FINE and (known is None or end - begin > known.until - known.since + 1):
            found[kind] = Segment(kind, begin + 1, end)
        begin = end
    least = min(SUSTAINED, len(marks))
    lasting = [s for s in found.values() if s.until - s.since + 1 >= least or s.mark == NOT_FINITE]
    return sorted(lasting, key=lambda s: s.since)
