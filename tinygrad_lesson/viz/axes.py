"""What all plots share: axes, colours and lines, names as text, and what a training tells of itself."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.viz.dot import printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008: eight colours that colour-blind readers tell apart, grey instead of the pale yellow.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
LINES = ("-", "--", "-.", ":")


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


def new_axes(width: float, height: float) -> Axes:
    """The axes of a new figure of this size, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def history_of(told: Any) -> Any:
    """A model's history; anything else as it is."""
    return getattr(told, "history", told)


def losses_of(caller: str, told: Any) -> Sequence[float]:
    """The losses of a model or a history, or those given."""
    found: Sequence[float] = getattr(history_of(told), "loss", told)
    if not isinstance(found, Sequence | np.ndarray) or isinstance(found, str):
        raise DTypeError(
            f"{caller}: {told!r:.80} has no losses, expected a FeedForward after fit, its History, or a list of numbers"
        )
    return found


def gradients_of(caller: str, told: Any) -> Mapping[str, Sequence[float]]:
    """The gradients by weight of a model or a history, or those given."""
    found: Mapping[str, Sequence[float]] = getattr(history_of(told), "mean_abs_grad", told)
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


def refuse_unnamed(caller: str, given: Any) -> None:
    """Say that networks come by name, and one at least."""
    if not isinstance(given, Mapping):
        raise DTypeError(f"{caller}: expected networks by name, a dict, not {given!r:.80}")
    if not given:
        raise AttributeValueError(f"{caller}: there is nothing to plot, expected one entry at least")


def shown(text: str) -> str:
    """A name as matplotlib shows it, whatever is in it: no mathematics, no controls, not too long."""
    text = printable(shortened(text)).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # an underscore keeps a line out of the legend


def look(i: int) -> dict[str, Any]:
    """Colour and dashes of line `i` of several."""
    return {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": LINES[i % len(LINES)]}


def epochs(values: Sequence[float]) -> range:
    """The numbers of the epochs of these values, from 1 on."""
    return range(1, len(values) + 1)


def markers_apart(i: int, count: int, length: int) -> tuple[int, int]:
    """Where line `i` of `count` has its markers, such that lines on top of each other show all theirs."""
    step = max(1, length // 5)
    return i * step // count, step


def log_loss_axis(ax: Axes) -> None:
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


def plain(ax: Axes, title: str | None = None) -> Axes:
    """The axes with a title, whole numbers for epochs, thin lines and no frame."""
    if title is not None:
        ax.set_title(shown(title))
    ax.locator_params(axis="x", integer=True)
    ax.grid(axis="y", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
