"""Plots of a training: gradients per layer, losses, and what each remedy against vanishing gradients does.

A plot function takes the `Axes` to draw on, makes some if there are none, and gives them back. Matplotlib is
imported when the first plot is drawn, and never through `pyplot`: no window, no global state.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.viz.dot import printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 10  # above this many layers, the legend names some of them
MARKERS = "os^Dv<>pPX"
# Okabe and Ito 2008: eight colours that colour-blind readers tell apart, grey instead of the pale yellow.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
BASELINE = {
    "color": "#000000",
    "linewidth": 3.0,
    "zorder": 1.5,
}  # what the others, drawn over it, are compared with
LINES = ("-", "--", "-.", ":")


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
    mean_abs_grad = _gradients_of("plot_gradients", history)
    ax = _new_axes(8.0, 4.5) if ax is None else ax
    count = len(mean_abs_grad)
    few = count <= MOST_LABELS
    labelled = set(np.linspace(0, count - 1, min(count, MOST_LABELS)).round().astype(int).tolist())
    for i, (name, values) in enumerate(mean_abs_grad.items()):
        ax.plot(
            _epochs(values),
            np.maximum(values, floor),
            color=_depth_colour(i, count),
            label=_shown(name) if i in labelled else "_",  # an underscore keeps a line out of the legend
            linewidth=1.6 if few else 1.0,
            marker=MARKERS[i] if few else "",
            markevery=_markers_apart(i, count, len(values)),
        )
    ax.set(yscale="log", xlabel="epoch", ylabel="mean |gradient| of the weight")
    if title is not None:
        ax.set_title(_shown(title))
    _mark_floor(ax, floor, [np.max(values) for values in mean_abs_grad.values()])
    heading = "weights" if few else f"{MOST_LABELS} of {count} weights"
    ax.legend(
        title=f"{heading},\nfirst to last layer", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False
    )
    return _plain(ax)


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
    losses = _losses_of("plot_loss", history)
    if accuracy is None:
        accuracy = getattr(_history_of(history), "accuracy", None) or None
    ax = _new_axes(6.4, 4.0) if ax is None else ax
    colour, other = OKABE_ITO[:2]
    ax.plot(_epochs(losses), losses, color=colour, label="loss")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss", color=colour)
    _log_loss_axis(ax)
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
    if title is not None:
        ax.set_title(_shown(title))
    return _plain(ax)


def plot_losses(histories: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """The losses of several networks by name, as lines on one logarithmic axis.

    Where one line lies on another, the markers of both are seen.
    A history is what `FeedForward.fit` gives, or its list of losses.
    """
    _refuse_empty("plot_losses", histories)
    ax = _new_axes(6.4, 4.0) if ax is None else ax
    for i, (name, history) in enumerate(histories.items()):
        losses = _losses_of("plot_losses", history)
        apart = _markers_apart(i, len(histories), len(losses))
        ax.plot(
            _epochs(losses), losses, label=_shown(name), color=_colour(i), linestyle=_line(i),
            marker=MARKERS[i % len(MARKERS)], markersize=4, markevery=apart,
        )  # fmt: skip
    ax.set(xlabel="epoch", ylabel="loss")
    _log_loss_axis(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return _plain(ax)


def plot_depths(histories: Mapping[str, Any], *, epoch: int = 1, ax: Axes | None = None) -> Axes:
    """How far the gradient gets: its mean size in one epoch from the last layer back to the first.

    A line for each network, on one logarithmic axis; layers with a gradient of exactly 0 have no point. A
    history is what `FeedForward.fit` gives, or its `mean_abs_grad`. `epoch` counts from 1, or from the last
    with -1.
    """
    _refuse_empty("plot_depths", histories)
    ax = _new_axes(6.4, 4.0) if ax is None else ax
    at = epoch - 1 if epoch > 0 else epoch
    for i, (name, history) in enumerate(histories.items()):
        sizes = [values[at] for values in _gradients_of("plot_depths", history).values()]
        ax.plot(
            range(len(sizes)),
            [size if size > 0 else np.nan for size in reversed(sizes)],
            label=_shown(name), color=_colour(i), linestyle=_line(i), marker=MARKERS[i % len(MARKERS)],
            markersize=4,
        )  # fmt: skip
    when = "the last epoch" if epoch == -1 else f"epoch {epoch}"
    ax.set(yscale="log", xlabel="layers from the last one back", ylabel=f"mean |gradient| in {when}")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return _plain(ax)


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

    mean_abs_grad = _gradients_of("plot_heatmap", history)
    count = len(mean_abs_grad)
    ax = _new_axes(8.0, max(2.5, min(1.2 + 0.3 * count, 7.0))) if ax is None else ax
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
    ax.set_yticklabels([_shown(names[i]) for i in named])
    ax.invert_yaxis()
    ax.set_xlabel("epoch")
    ax.spines[["top", "right"]].set_visible(False)
    ax.locator_params(axis="x", integer=True)
    ax.figure.colorbar(mesh, ax=ax, label="mean |gradient|; white: exactly 0")
    if title is not None:
        ax.set_title(_shown(title))
    return ax


def side_by_side(
    plot: Callable[..., Axes], histories: Mapping[str, Any], *, columns: int = 4, **options: Any
) -> list[Axes]:
    """One plot of each of several networks, next to each other and on one scale; an `Axes` for each.

    `plot` takes what `histories` holds, `options`, and ``ax=``.
    """
    from matplotlib.figure import Figure

    _refuse_empty("side_by_side", histories)
    across = min(columns, len(histories))
    down = math.ceil(len(histories) / across)
    figure = Figure(figsize=(4.6 * across, 3.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    drawn = []
    for ax, (name, history) in zip(panels.ravel(), histories.items(), strict=False):
        drawn.append(plot(history, ax=ax, **options))
        ax.set_title(_shown(name))
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
    _refuse_unnamed("plot_remedies", histories)
    if not histories or not all(histories.values()):
        raise AttributeValueError("plot_remedies: histories has an empty family, expected losses in each")
    panels = _remedy_panels(len(histories)) if axes is None else list(axes)
    every = [list(map(tuple, networks.values())) for networks in histories.values()]
    common = [losses for losses in every[0] if len(every) > 1 and all(losses in family for family in every)]
    for ax, (family, networks) in zip(panels, histories.items(), strict=True):
        others = iter(range(len(networks)))
        for label, losses in networks.items():
            i = None if tuple(losses) in common else next(others)
            look: dict[str, Any] = BASELINE if i is None else {"color": _colour(i), "linestyle": _line(i)}
            ax.plot(_epochs(losses), losses, label=_shown(label), **look)
        ax.set_title(family)
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.08), ncols=2, frameon=False)
        ax.tick_params(labelbottom=True)
        _plain(ax)
    _log_loss_axis(panels[0])  # which the others share
    return panels


def _remedy_panels(count: int) -> list[Axes]:
    from matplotlib.figure import Figure

    columns = min(3 if count <= 6 else 4, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(4.2 * columns, 4.0 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in panels[count:]:
        ax.remove()
    figure.suptitle("One network, of which one thing at a time is changed")
    figure.supxlabel("epoch")
    figure.supylabel("loss, as a share of that in the first epoch")
    return list(panels[:count])


def save_figure(drawn: Axes | Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, or the one with these axes, whole or not at all; the ending of `path` is the format.

    Errors
        AttributeValueError for an ending that matplotlib has no format for.
    """
    figure = drawn.get_figure(root=True)
    if figure is None:
        raise AttributeValueError("save_figure: these axes were removed from their figure")
    form = Path(path).suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if form not in known:
        raise AttributeValueError(f"save_figure: {path} ends in {form!r}, expected one of {', '.join(known)}")
    picture = io.BytesIO()
    figure.savefig(picture, format=form, dpi=150, bbox_inches="tight")
    write_whole(path, picture.getvalue())


def _new_axes(width: float, height: float) -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _history_of(told: Any) -> Any:
    """A model's history; anything else as it is."""
    return getattr(told, "history", told)


def _losses_of(caller: str, told: Any) -> Sequence[float]:
    found: Sequence[float] = getattr(_history_of(told), "loss", told)
    if not isinstance(found, Sequence | np.ndarray) or isinstance(found, str):
        raise DTypeError(
            f"{caller}: {told!r:.80} has no losses, expected a FeedForward after fit, its History, or a list of numbers"
        )
    return found


def _gradients_of(caller: str, told: Any) -> Mapping[str, Sequence[float]]:
    found: Mapping[str, Sequence[float]] = getattr(_history_of(told), "mean_abs_grad", told)
    if not isinstance(found, Mapping):
        raise DTypeError(
            f"{caller}: {told!r:.80} has no gradients, expected a FeedForward after fit, its History, or lists of "
            "numbers by weight"
        )
    if not found:
        raise AttributeValueError(
            f"{caller}: there is nothing to plot: mean_abs_grad is empty, expected a list per weight"
        )
    return found


def _refuse_unnamed(caller: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise DTypeError(f"{caller}: expected networks by name, a dict, not {given!r:.80}")


def _refuse_empty(caller: str, given: Mapping[str, Any]) -> None:
    _refuse_unnamed(caller, given)
    if not given:
        raise AttributeValueError(f"{caller}: there is nothing to plot, expected one entry at least")


def _shown(text: str) -> str:
    """A name as matplotlib shows it, whatever is in it: no mathematics, no controls, not too long."""
    shown = printable(shortened(text)).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # an underscore keeps a line out of the legend


def _colour(i: int) -> str:
    return OKABE_ITO[i % len(OKABE_ITO)]


def _line(i: int) -> str:
    return LINES[i % len(LINES)]


def _epochs(values: Sequence[float]) -> range:
    return range(1, len(values) + 1)


def _depth_colour(i: int, count: int) -> tuple[float, ...]:
    from matplotlib import colormaps

    return colormaps["viridis"](0.92 * i / max(1, count - 1))  # the last colours are too pale on white


def _markers_apart(i: int, count: int, epochs: int) -> tuple[int, int]:
    """Where line `i` of `count` has its markers, such that lines on top of each other show all theirs."""
    step = max(1, epochs // 5)
    return i * step // count, step


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


def _log_loss_axis(ax: Axes) -> None:
    """A logarithmic axis over a decade or more, so that a loss which stands still looks as if it did."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_yscale("log")
    bottom, top = ax.get_ylim()
    steps = (1, 2, 5) if top / bottom < 1000 else (1,)
    highest = max(shared.dataLim.y1 for shared in ax.get_shared_y_axes().get_siblings(ax))
    ticks = [step * 10.0**k for k in range(-20, 21) for step in steps]
    top = min((tick for tick in ticks if tick >= highest), default=top)  # a label at the top, to read it by
    ax.set_ylim(min(bottom, top / 10), top * 1.1)
    if len(steps) > 1:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:  # some versions of matplotlib would leave the topmost out
        decades = [tick for tick in ticks if ax.get_ylim()[0] <= tick <= top][::-1]
        ax.set_yticks(decades[:: 1 + len(decades) // 10])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def _plain(ax: Axes) -> Axes:
    ax.locator_params(axis="x", integer=True)
    ax.grid(axis="y", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
