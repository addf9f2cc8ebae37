"""Plots of a training: gradients per layer, losses, and what each remedy against vanishing gradients does.

A plot function takes the `Axes` to draw on, makes some if there are none, and gives them back. Matplotlib is
imported when the first plot is drawn, and never through `pyplot`: no window, no global state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.viz.axes import (
    OKABE_ITO,
    epochs,
    gradients_of,
    history_of,
    log_loss_axis,
    look,
    losses_of,
    markers_apart,
    new_axes,
    plain,
    refuse_unnamed,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 10  # above this many layers, the legend names some of them
MARKERS = "os^Dv<>pPX"
EXTENDED = {  # the ends of a scale of colours at which some numbers lie beyond: the lower, the upper one
    (False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both",
}  # fmt: skip
BASELINE = {
    "color": "#000000",
    "linewidth": 3.0,
    "zorder": 1.5,
}  # what the others, drawn over it, are compared with


def plot_gradients(
    history: Any,
    *,
    floor: float = 1e-8,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """The lesson's plot: mean absolute gradient of each weight per epoch, on a logarithmic axis.

    `history` is what `FeedForward.fit` gives, the model, or a mapping from weights to lists of numbers.
    Colours run from the first layer (dark) to the last (light). Values below `floor` are drawn there,
    and a line of text counts the weights that never leave it. Above ten weights the legend names ten
    of them, the first and the last included.
    """
    mean_abs_grad = gradients_of("plot_gradients", history)
    ax = new_axes(8.0, 4.5) if ax is None else ax
    count = len(mean_abs_grad)
    few = count <= MOST_LABELS
    labelled = set(np.linspace(0, count - 1, min(count, MOST_LABELS)).round().astype(int).tolist())
    for i, (name, values) in enumerate(mean_abs_grad.items()):
        ax.plot(
            epochs(values),
            np.maximum(values, floor),
            color=_depth_colour(i, count),
            label=shown(name) if i in labelled else "_",  # an underscore keeps a line out of the legend
            linewidth=1.6 if few else 1.0,
            marker=MARKERS[i] if few else "",
            markevery=markers_apart(i, count, len(values)),
        )
    ax.set(yscale="log", xlabel="epoch", ylabel="mean |gradient| of the weight")
    _mark_floor(ax, floor, [np.max(values) for values in mean_abs_grad.values()])
    heading = "weights" if few else f"{MOST_LABELS} of {count} weights"
    ax.legend(
        title=f"{heading},\nfirst to last layer", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False
    )
    return plain(ax, title)


def plot_loss(
    history: Any,
    accuracy: Sequence[float] | Mapping[int, float] | None = None,
    *,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Loss per epoch on a logarithmic axis, and if given the accuracy (0 to 1) on an axis at the right.

    `history` is what `FeedForward.fit` gives, the model, or a list of losses; with the first two the accuracy
    is that on the `eval_data` of the fit, if there was any. `accuracy` has a share for each epoch, or maps the epochs
    in which it is known, counted from 1, to theirs.
    """
    losses = losses_of("plot_loss", history)
    if accuracy is None:
        accuracy = getattr(history_of(history), "accuracy", None) or None
    ax = new_axes(6.4, 4.0) if ax is None else ax
    colour, other = OKABE_ITO[:2]
    ax.plot(epochs(losses), losses, color=colour, label="loss")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss", color=colour)
    log_loss_axis(ax)
    if accuracy is not None:
        right = ax.twinx()
        known = accuracy if isinstance(accuracy, Mapping) else dict(enumerate(accuracy, 1))
        marker = "o" if len(known) < len(losses) else ""
        right.plot(
            list(known), list(known.values()), color=other, linestyle="--", marker=marker, markersize=4,
            label="accuracy",
        )  # fmt: skip
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel("accuracy (dashed)", color=other)
        right.spines["top"].set_visible(False)
    return plain(ax, title)


def plot_losses(histories: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """The losses of several networks by name, as lines on one logarithmic axis.

    Where one line lies on another, the markers of both are seen.
    A history is what `FeedForward.fit` gives, or its list of losses.
    """
    refuse_unnamed("plot_losses", histories)
    ax = new_axes(6.4, 4.0) if ax is None else ax
    for i, (name, history) in enumerate(histories.items()):
        losses = losses_of("plot_losses", history)
        apart = markers_apart(i, len(histories), len(losses))
        ax.plot(
            epochs(losses), losses, label=shown(name), **look(i),
            marker=MARKERS[i % len(MARKERS)], markersize=4, markevery=apart,
        )  # fmt: skip
    ax.set(xlabel="epoch", ylabel="loss")
    log_loss_axis(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return plain(ax)


def plot_depths(histories: Mapping[str, Any], *, epoch: int = 1, ax: Axes | None = None) -> Axes:
    """How far the gradient gets: its mean size in one epoch from the last layer back to the first.

    A line for each network, on one logarithmic axis; layers with a gradient of exactly 0 have no point. A
    history is what `FeedForward.fit` gives, or its `mean_abs_grad`. `epoch` counts from 1, or from the last
    with -1.
    """
    refuse_unnamed("plot_depths", histories)
    ax = new_axes(6.4, 4.0) if ax is None else ax
    at = epoch - 1 if epoch > 0 else epoch
    for i, (name, history) in enumerate(histories.items()):
        sizes = [values[at] for values in gradients_of("plot_depths", history).values()]
        ax.plot(
            range(len(sizes)),
            [size if size > 0 else np.nan for size in reversed(sizes)],
            label=shown(name), **look(i), marker=MARKERS[i % len(MARKERS)],
            markersize=4,
        )  # fmt: skip
    when = "the last epoch" if epoch == -1 else f"epoch {epoch}"
    ax.set(yscale="log", xlabel="layers from the last one back", ylabel=f"mean |gradient| in {when}")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return plain(ax)


def plot_heatmap(
    history: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """The mean |gradient| of each weight (a row, the first layer on top) in each epoch (a column).

    The colour is that of its logarithm between `low` and `high`, by default the smallest and the largest
    gradient; white is a gradient of exactly 0. `history` is what `FeedForward.fit` gives, the model, or a mapping from
    weights to lists of numbers.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FixedLocator

    mean_abs_grad = gradients_of("plot_heatmap", history)
    count = len(mean_abs_grad)
    ax = new_axes(8.0, max(2.5, min(1.2 + 0.3 * count, 7.0))) if ax is None else ax
    values = np.array([list(row) for row in mean_abs_grad.values()], float)
    known = values[np.isfinite(values) & (values > 0)]
    ends = (known.min(), known.max()) if known.size else (1e-8, 1.0)
    low, high = ends[0] if low is None else low, ends[1] if high is None else high
    mesh = ax.pcolormesh(
        np.arange(values.shape[1] + 1) + 0.5,
        np.arange(count + 1),
        np.ma.masked_where(~(values > 0), values),
        norm=LogNorm(low, max(high, low * 10)),
        cmap="viridis",
        rasterized=True,
    )
    fit = int(5 * ax.get_window_extent().height / ax.figure.dpi)  # names, five to an inch
    named = np.unique(np.linspace(0, count - 1, max(1, min(count, fit))).round().astype(int))
    names = list(mean_abs_grad)
    ax.yaxis.set_major_locator(FixedLocator((named + 0.5).tolist()))
    ax.set_yticklabels([shown(names[i]) for i in named])
    ax.invert_yaxis()
    ax.set_xlabel("epoch")
    ax.spines[["top", "right"]].set_visible(False)
    ax.locator_params(axis="x", integer=True)
    beyond = bool((known < low).any()), bool((known > high).any())
    ax.figure.colorbar(mesh, ax=ax, extend=EXTENDED[beyond], label="mean |gradient|; white: exactly 0")
    if title is not None:
        ax.set_title(shown(title))
    return ax


def side_by_side(
    plot: Callable[..., Axes], histories: Mapping[str, Any], *, columns: int = 4, **options: Any
) -> list[Axes]:
    """One plot of each of several networks, next to each other and on one scale; an `Axes` for each.

    `plot` takes what `histories` holds, `options`, and ``ax=``.
    """
    from matplotlib.figure import Figure

    refuse_unnamed("side_by_side", histories)
    across = min(columns, len(histories))
    down = math.ceil(len(histories) / across)
    figure = Figure(figsize=(4.6 * across, 3.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    drawn = []
    for ax, (name, history) in zip(panels.ravel(), histories.items(), strict=False):
        drawn.append(plot(history, ax=ax, **options))
        ax.set_title(shown(name))
    for ax in panels.ravel()[len(histories) :]:
        ax.remove()
    if all(ax.get_yscale() == "log" for ax in drawn):  # one scale, which holds them all
        low, high = zip(*(ax.get_ylim() for ax in drawn), strict=True)
        for ax in drawn:
            ax.set_ylim(min(low), max(high))
    return drawn


def plot_remedies(
    histories: Mapping[str, Mapping[str, Sequence[float]]], *, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """Loss per epoch of the networks in each family of remedies, an `Axes` for each, on one scale.

    `histories` holds, per family (loss function, optimizer, activation, batch normalization, structure),
    the losses of each network under its label, as shares of its loss in the first epoch. A network that is in every
    family, whatever it is called there, is black in each.
    """
    refuse_unnamed("plot_remedies", histories)
    if not all(histories.values()):
        raise AttributeValueError("plot_remedies: histories has an empty family, expected losses in each")
    panels = _remedy_panels(len(histories)) if axes is None else list(axes)
    every = [list(map(tuple, networks.values())) for networks in histories.values()]
    common = [losses for losses in every[0] if len(every) > 1 and all(losses in family for family in every)]
    for ax, (family, networks) in zip(panels, histories.items(), strict=True):
        others = iter(range(len(networks)))
        for label, losses in networks.items():
            i = None if tuple(losses) in common else next(others)
            drawn: dict[str, Any] = BASELINE if i is None else look(i)
            ax.plot(epochs(losses), losses, label=shown(label), **drawn)
        ax.set_title(family)
        ax.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.1), ncols=2, frameon=False, fontsize="small")
        ax.tick_params(labelbottom=True)
        plain(ax)
    log_loss_axis(panels[0])  # which the others share
    return panels


def _remedy_panels(count: int) -> list[Axes]:
    from matplotlib.figure import Figure

    columns = min(2, count)  # more would be too small to be read on a page
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.0 * columns, 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in panels[count:]:
        ax.remove()
    figure.suptitle("One network, of which one thing at a time is changed")
    figure.supxlabel("epoch")
    figure.supylabel("loss, as a share of that in the first epoch")
    return list(panels[:count])


def _depth_colour(i: int, count: int) -> tuple[float, ...]:
    from matplotlib import colormaps

    return colormaps["viridis"](0.92 * i / max(1, count - 1))  # the last colours are too pale on white


def _mark_floor(ax: Axes, floor: float, highest: Sequence[float]) -> None:
    """Say what lies on the floor, if anything comes near it."""
    bottom = ax.get_ylim()[0]
    if bottom > floor:
        return
    vanished = sum(value <= floor for value in highest)
    text = (
        f"{vanished} of {len(highest)} weights never rise above {floor:g}"
        if vanished
        else f"drawn here if below {floor:g}"
    )
    ax.set_ylim(bottom=floor / 5)
    ax.axhline(floor, color="0.5", linewidth=0.8, linestyle=":")
    ax.text(
        0.01, floor / 1.6, text, transform=ax.get_yaxis_transform(), va="top", color="0.3", fontsize="small"
    )
