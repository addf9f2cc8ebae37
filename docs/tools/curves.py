"""A picture of a function of one number and of its gradient, as SVG that takes the colours of the page."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson.eager.documented import Told, chosen
from tinygrad_lesson.engine.kinds import Elementwise

WIDTH, HEIGHT = 300, 190
LOW, HIGH = -3.0, 3.0  # of x and of y


def curve(name: str, cls: Any) -> str:
    """The picture of an elementwise op with one input; empty where it has none, or needs what is not installed."""
    if not issubclass(cls, Elementwise) or len(cls.inputs) != 1:
        return ""
    x = np.linspace(LOW, HIGH, 121)
    made, _ = Told().sample(cls)
    function = getattr(tl, name)
    options = chosen(made)
    lines = {}
    with np.errstate(all="ignore"):
        try:
            lines["own"] = function(x, **options).numpy()
            if made.differentiable:
                lines["slope"] = tl.grad(lambda x: tl.sum(function(x, **options)))(x).numpy()
        except tl.LessonError:  # SciPy is missing
            return ""
    if np.iscomplexobj(lines["own"]):
        return ""
    told = ", ".join([cls.function, *(f"{key}={value!r}" for key, value in options.items())])
    return svg(x, lines, told)


def svg(x: np.ndarray, lines: dict[str, np.ndarray], told: str) -> str:
    """The lines in one picture."""
    label = html.escape(
        f"{told} from {LOW:g} to {HIGH:g}" + (", and its gradient" if "slope" in lines else "")
    )
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'<svg class="curve" {size} role="img" aria-label="{label}">',
        f"<title>{label}</title>",
        *axes(),
    ]
    for kind, y in lines.items():
        dash = ' stroke-dasharray="5 4"' if kind == "slope" else ""
        start = f'<polyline class="{kind}" fill="none" stroke-width="2"{dash} points='
        parts += [f'{start}"{piece}"/>' for piece in pieces(x, np.asarray(y, float))]
    return "\n".join([*parts, "</svg>"])


def place(x: float, y: float) -> tuple[float, float]:
    """Where a point lies in the picture."""
    return (x - LOW) / (HIGH - LOW) * WIDTH, (HIGH - y) / (HIGH - LOW) * HEIGHT


def axes() -> list[str]:
    """Both axes, with marks at -2 and 2."""
    (zero_x, zero_y), parts = place(0, 0), []
    line = (
        '<line stroke="currentColor" stroke-opacity="0.5" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'
    )
    text = '<text fill="currentColor" font-size="11" text-anchor="middle" x="{:.1f}" y="{:.1f}">{}</text>'
    parts += [line.format(0, zero_y, WIDTH, zero_y), line.format(zero_x, 0, zero_x, HEIGHT)]
    for mark in (-2, 2):
        (at_x, _), (_, at_y) = place(mark, 0), place(0, mark)
        parts += [line.format(at_x, zero_y - 3, at_x, zero_y + 3), text.format(at_x, zero_y + 15, mark)]
        parts += [line.format(zero_x - 3, at_y, zero_x + 3, at_y), text.format(zero_x - 12, at_y + 4, mark)]
    return parts


def pieces(x: np.ndarray, y: np.ndarray) -> list[str]:
    """The points of a line, in pieces where it leaves the picture, has no value or jumps."""
    found, piece = [], []
    for i in range(len(x)):
        inside = np.isfinite(y[i]) and LOW <= y[i] <= HIGH
        if piece and (not inside or abs(y[i] - y[i - 1]) > 0.7):
            found.append(piece)
            piece = []
        if inside:
            piece.append("{:.1f},{:.1f}".format(*place(x[i], y[i])))
    return [" ".join(piece) for piece in [*found, piece] if len(piece) > 1]
