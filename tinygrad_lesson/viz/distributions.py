"""Plots of what is in a layer: how its weights and its activations are spread, before and after training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.train.history import History
from tinygrad_lesson.train.probe import Distribution
from tinygrad_lesson.viz.axes import OKABE_ITO, new_axes, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE, AFTER = OKABE_ITO[5], OKABE_ITO[1]
MOST_ROWS = 26  # of more layers some are shown, the first and the last included
HEIGHT = 0.42  # of a histogram, in rows: those of before point up, those of after down


def plot_weights(history: Any, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """How each layer's weights are spread: up before training, down after it.

    Each histogram has a scale of its own, from minus to plus the largest magnitude, which stands at the
    right; heights are square roots of counts, so that a few values among many zeros are seen.
    """
    return _plot_spread(history, "weights", "value of the weights", ax, title)


def plot_activations(history: Any, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """How each layer's activations on the training rows are spread: up with the first weights, down with the last.

    Each histogram has a scale of its own, from minus to plus the largest magnitude, which stands at the
    right; heights are square roots of counts, so that a few values among many zeros are seen.
    """
    return _plot_spread(history, "activations", "activation", ax, title)


def _plot_spread(history: Any, what: str, label: str, ax: Axes | None, title: str | None) -> Axes:
    from matplotlib.patches import Patch

    first, last = (History.read(history).layers[when] for when in ("first", "last"))
    if not last:
        raise AttributeValueError(f"plot_{what}: this history knows no layers; it has to come from a fit")
    rows = np.unique(np.linspace(0, len(last) - 1, min(MOST_ROWS, len(last))).round().astype(int))
    if ax is None:
        ax = new_axes(7.0, max(2.5, 1.2 + 0.42 * len(rows)))
    for y, i in enumerate(rows):
        before: Distribution = getattr(first[i], what)
        after: Distribution = getattr(last[i], what)
        _draw(ax, before, y, -HEIGHT, BEFORE)
        _draw(ax, after, y, HEIGHT, AFTER)
        sizes = (f"\N{PLUS-MINUS SIGN}{_largest(one):.1e}" for one in (before, after))
        ax.text(1.06, y, "\n".join(sizes), va="center", fontsize="x-small", color="0.3")
    ax.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    ax.set(xlim=(-1.04, 1.04), ylim=(len(rows) - 0.4, -0.6), xticks=[-1, 0, 1], yticks=range(len(rows)))
    ax.set_yticklabels([shown(last[i].name) for i in rows])
    ax.set_xticklabels(["\N{MINUS SIGN}largest", "0", "largest"])
    ax.set_xlabel(f"{label}; at the right the largest magnitude, before and after")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    keys = [Patch(color=BEFORE, label="before training (up)"), Patch(color=AFTER, label="after (down)")]
    ax.legend(handles=keys, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    if title is not None:
        ax.set_title(shown(title), loc="right")
    return ax


def _largest(spread: Distribution) -> float:
    return max(abs(spread.low), abs(spread.high))


def _draw(ax: Axes, spread: Distribution, y: float, height: float, colour: str) -> None:
    """A histogram on the line at `y`, as high as `height`; y grows downwards."""
    if not spread.counts:
        return
    largest = _largest(spread) or 1.0
    if len(spread.counts) == 1:  # all the same: a needle
        ax.plot([spread.low / largest] * 2, [y, y + height], color=colour, linewidth=2)
        return
    tall = np.sqrt(np.array(spread.counts, float) / max(spread.counts))
    edges = np.linspace(spread.low, spread.high, len(tall) + 1) / largest
    outline = np.repeat(edges, 2)[1:-1]
    ax.fill_between(outline, y, y + height * np.repeat(tall, 2), color=colour, linewidth=0)
