"""The page of a training: one HTML file that needs nothing else, to see the gradient epoch by epoch.

What varies is JSON in one element of it; `assets/page.js` puts every name from there in as text. The page's
policy admits the scripts and the style that are in it, by their hashes, and no connection to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_lesson.engine.errors import AttributeValueError, LessonError
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.train.diagnosis import diagnose
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.history import History
from tinygrad_lesson.viz.column import Scale, scale_of
from tinygrad_lesson.viz.dot import printable, shortened
from tinygrad_lesson.viz.flow import network_svg
from tinygrad_lesson.viz.javascript import ASSETS, runner
from tinygrad_lesson.viz.render import DARK

SCRIPTS = ("address.js", "draw.js", "uPlot.iife.min.js", "panzoom.min.js", "pageview.js", "page.js")
STYLES = ("uPlot.min.css", "page.css")
LAB_SCRIPTS = ("address.js", "draw.js", "uPlot.iife.min.js", "runner.js", "labview.js", "lab.js")
LAB_STYLES = ("uPlot.min.css", "page.css", "lab.css")
FOLDED = 12  # layers above which blocks that repeat are folded at first
DEEP = 60  # layers above which they stay folded
DIGITS = 4  # of the numbers in the page
RAMP = 64  # colours
SPREADS = 3000  # layers times epochs between whose distributions a page holds at most
LONGEST_TITLE = 200  # characters
STYLED = re.compile(r"<style>.*?</style>", re.DOTALL)


def page(
    histories: Any,
    path: str | os.PathLike[str],
    *,
    title: str = "Gradients, layer by layer and epoch by epoch",
    tables: Mapping[str, Mapping[str, Sequence[Sequence[int]]]] | None = None,
    accuracies: Mapping[str, float] | None = None,
    notes: Mapping[str, str] | None = None,
    scale: tuple[float, float] | None = None,
    kit: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of one or more trainings to `path`, whole or not at all; the path written.

    A training is a `FeedForward` after `fit`, its `History`, or what a ``history.json`` holds (then there is
    no picture of the network); several in a dict by name, or in a list. Distributions follow the epochs as far
    as parameters were kept, with ``fit(..., keep=range(10, 100, 10))``; else there are those of the first and
    the last. `tables` gives confusion tables by network and heading, a row per predicted and a column per true
    kind; `accuracies` the shares that are right; `notes` what a network is, in
    words; `scale` the least and the largest gradient that have a colour of their own, powers of ten. With a `kit`
    (`lesson.lab.kit`) the laboratory is part of the page.

    Errors
        DTypeError for what is no training, AttributeValueError for one without gradients.

    Example
        >>> page({"mean_abs_grad": {"fc1_weight": [1e-9, 1e-8]}}, "page.html")  # doctest: +SKIP
        PosixPath('page.html')
    """
    trainings = dict(named(histories))
    if not trainings:
        raise AttributeValueError("page: there is no training, expected one at least")
    room = SPREADS // len(trainings)
    nets = [
        told_net(name, training, (tables or {}).get(name, {}), (accuracies or {}).get(name), room)
        | {"note": (notes or {}).get(name, "")}
        for name, training in trainings.items()
    ]
    numbers = [value for net in nets for layer in net["layers"] for value in layer["grad"] if value]
    colours = scale_of(numbers) if scale is None else Scale(*scale)
    data = {
        "nets": nets,
        "scale": {"low": colours.low, "high": colours.high},
        "ramp": ramp(),
        "opening": telling(nets),
        "missing": "Nothing was found that draws networks; the gradients of all layers are below.",
    }
    path = Path(path)
    write_whole(path, filled(title, data, kit))
    return path


def laboratory(kit: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the laboratory, made of what `lesson.lab.kit` gives, to `path`, whole or not at all; the path written."""
    path = Path(path)
    write_whole(path, filled("Laboratory: train networks here, and watch their gradients", None, kit))
    return path


def named(histories: Any) -> Iterator[tuple[str, Any]]:
    """The trainings with their names."""
    if isinstance(histories, Mapping) and "mean_abs_grad" not in histories:
        yield from ((str(name), training) for name, training in histories.items())
    elif isinstance(histories, list | tuple):
        yield from ((f"network {i}", training) for i, training in enumerate(histories, 1))
    else:
        yield "network", histories


def telling(nets: Sequence[Mapping[str, Any]]) -> int:
    """The network to begin with: the one of fewest layers whose gradient vanishes in half of them, else the first."""
    vanishing = [
        i
        for i, net in enumerate(nets)
        if 2 * sum("v" in x["marks"] for x in net["layers"]) >= len(net["layers"])
    ]
    return min(vanishing, key=lambda i: len(nets[i]["layers"]), default=0)


def told_net(
    name: str, training: Any, tables: Mapping[str, Any], accuracy: float | None, room: int = SPREADS
) -> dict[str, Any]:
    """What the page is told about one network, with `room` for so many layers in epochs between."""
    history = History.read(training)
    if not history.mean_abs_grad:
        raise AttributeValueError(f"page: {printable(shortened(name))} has no gradients yet; call fit first")
    found = diagnose(history)
    first, last = ({layer.weight: layer for layer in history.layers[when]} for when in ("first", "last"))
    between = some_of(sorted(history.trained.kept) if history.trained else [], room // len(found.layers))
    looks = [{layer.weight: layer for layer in look} for look in history.layers_after(between)]
    layers = []
    for weight, values in history.mean_abs_grad.items():
        layers.append(
            {
                "name": last[weight].name if weight in last else weight.removesuffix("_weight"),
                "weight": weight,
                "grad": values,
                "marks": found.marks[weight],
                "arrives": first[weight].arrives if weight in first else None,
                "first": told_layer(first[weight]) if weight in first else None,
                "last": told_layer(last[weight]) if weight in last else None,
                "between": [told_spreads(look[weight]) for look in looks if weight in look],
            }
        )
    told = {
        "name": name,
        "epochs": found.epochs,
        "kept": between,
        "loss": history.loss,
        "layers": layers,
        "headline": found.headline(),
        "told": found.lines(),
        "healthy": found.healthy,
        "tables": [{"name": heading, "rows": rows} for heading, rows in tables.items() if rows],
        "accuracy": accuracy,
        "svg": picture(training, history, expand=len(history.mean_abs_grad) <= DEEP),
        "folded": picture(training, history, expand=False) if len(history.mean_abs_grad) > FOLDED else "",
    }
    short: dict[str, Any] = rounded(told)
    return short


def told_layer(layer: Any) -> dict[str, Any]:
    """Distributions and dead units."""
    return {"units": layer.units, "dead": layer.dead, **told_spreads(layer)}


def told_spreads(layer: Any) -> dict[str, Any]:
    """Distributions."""
    return {"weights": layer.weights._asdict(), "activations": layer.activations._asdict()}


def some_of(epochs: Sequence[int], most: int) -> list[int]:
    """Those epochs, or as many as there is room for, the first and the last included."""
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[round(i * (len(epochs) - 1) / max(1, most - 1))] for i in range(most)]


def picture(training: Any, history: History, expand: bool) -> str:
    """The network as SVG, without the style that the page has for all; empty where it is not known or not drawn.

    A network that something could draw and yet did not is no reason to have no page.
    """
    if history.trained is None:
        return ""
    symbol = training.prediction if isinstance(training, FeedForward) else history.trained.symbol
    try:
        svg = network_svg(symbol, weights=list(history.mean_abs_grad), expand=expand)
    except LessonError:
        return ""
    return STYLED.sub("", svg, count=1)


def rounded(value: Any) -> Any:
    """The same with numbers of few digits, and None for those that JSON has no word for."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def ramp() -> list[str]:
    """Viridis, from dark to light."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [str(to_hex(colormaps["viridis"](i / (RAMP - 1)))) for i in range(RAMP)]


def filled(title: str, data: Mapping[str, Any] | None, kit: Mapping[str, Any] | None = None) -> str:
    """The text of a page: of trainings, of the laboratory, or of both."""
    names = list(dict.fromkeys([*(LAB_SCRIPTS if kit else ()), *(SCRIPTS if data is not None else ())]))
    looks = list(dict.fromkeys([*(STYLES if data is not None else ()), *(LAB_STYLES if kit else ())]))
    scripts = [runner() if name == "runner.js" else asset(name) for name in names]
    style = "\n".join([*map(asset, looks), DARK])
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src {hashed(style)}; "
        f"script-src {' '.join(map(hashed, scripts))}"
    )
    bodies = {"page.html": data, "lab.html": kit or None}
    known = {"data": data, "kit": None if kit is None else {**kit, "ramp": ramp()}}
    parts = {
        "policy": policy,
        "title": html.escape(printable(title[:LONGEST_TITLE])),
        "style": style,
        "body": "\n".join(asset(name) for name, given in bodies.items() if given is not None),
        "data": "\n".join(
            f'<script id="{name}" type="application/json">{as_script_json(given)}</script>'
            for name, given in known.items()
            if given is not None
        ),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # in one pass: nothing is filled twice
    return re.sub("@@([a-z]+)@@", lambda found: parts[found[1]], asset("frame.html"))


def asset(name: str) -> str:
    """A file of this page."""
    return (ASSETS / name).read_text(encoding="utf-8")


def hashed(text: str) -> str:
    """What a Content-Security-Policy calls a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def as_script_json(data: Any) -> str:
    """JSON that may stand in a ``<script>``: nothing in it ends the element or opens a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":  # what is not ASCII is written as \\u.... already
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
