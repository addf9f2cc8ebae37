"""Gradient flow on the architecture: each layer in the colour of its gradient, networks side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import graphviz
import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, LessonError
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train import marks
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.history import History, Updates
from tinygrad_lesson.viz.architecture import Part, parts_of, repeats_of, weights_of
from tinygrad_lesson.viz.column import (
    CLEAR,
    PLAIN,
    SKIP,
    Column,
    Scale,
    align,
    canvas,
    ink_on,
    layers_in_a_stripe,
    outline_of,
    scale_of,
)
from tinygrad_lesson.viz.dot import as_label, printable
from tinygrad_lesson.viz.fold import Repeat
from tinygrad_lesson.viz.render import MISSING, as_text, render, tidy

EXPLAINED = {
    marks.WORDS[marks.VANISHING]: (
        f"vanishing: below {marks.VANISHED:g} of",
        "the strongest layer's, here",
        "and in all layers before;",
        f"or below {marks.STARVED:g} of it",
        "in half of all epochs",
    ),
    marks.WORDS[marks.EXPLODING]: ("exploding: far above", "the last layer's, or", "what it was at first"),
    marks.WORDS[marks.DEAD]: ("dead: all zero",),
    marks.WORDS[marks.NOT_FINITE]: ("not finite:", "NaN or infinite"),
}
MEASURES = {
    "gradient": ["mean |gradient|"],
    "update": ["update / weight:", "mean |change by an epoch|", "over mean |weight|"],
}
DEEP = 12  # layers above which blocks that repeat are folded


def gradient_flow(
    *models: Any,
    epoch: int = 1,
    by: str = "gradient",
    shape: Mapping[str, Any] | None = None,
    title: str = "gradient flow",
    measure: str | None = None,
    expand: bool | None = None,
    scale: tuple[float, float] | None = None,
) -> graphviz.Digraph:
    """The architecture of one or more networks, each layer in the colour of its gradient, on one scale.

    A model is a `FeedForward` after `fit`, a `History`, or a pair (symbol, {weight: number}), where the
    number may also be a list with one per epoch; several in a list or, with their names, in a dict.
    `epoch` counts from 1, or from the last with -1; the first shows best what reaches a layer, for later
    ones are small where the network has learnt. In networks of more than 12 layers blocks that repeat become one, each of
    its layers a stripe, the first at the left; ``expand=True`` draws all, ``expand=False`` folds all.

    With ``by="update"`` the number is the ratio of update to weight, `mean |change by an epoch| / mean |weight|`
    (`History.updates`); ``fit(..., keep=(9, 10))`` keeps what the ratio of epoch 10 is computed from, that of the first
    is always there. `measure` is what numbers of another kind are called in the legend. `scale` are the least and
    the largest number that have a colour of their own, powers of ten, so that colours mean the same in several pictures.

    Layers are marked as `tl.diagnose` marks their gradients: vanishing, exploding, dead (all zero), not finite.
    `shape` are shapes of inputs (all models have the same), for the arrows.

    Errors
        AttributeValueError for a model without numbers for this epoch, or another `by`; DTypeError for what is
        no model.

    Example
        >>> from tinygrad_lesson import sym
        >>> net = sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc1")
        >>> "2.5e-12" in gradient_flow((net, {"fc1_weight": 2.5e-12})).source
        True
    """  # noqa: E501
    if by not in MEASURES:
        raise AttributeValueError(f"gradient_flow: by is {by!r}, expected one of {', '.join(MEASURES)}")
    given = list(named(models))
    if not given:
        raise AttributeValueError("gradient_flow: there is no model, expected at least one")
    shown = [updates_of(name, model, epoch) if by == "update" else None for name, model in given]
    columns = [
        as_column(name, f"net{i}-", model, epoch, shape, expand, update and update.ratios)
        for i, ((name, model), update) in enumerate(zip(given, shown, strict=True))
    ]
    colours = (
        scale_of([n for column in columns for n in numbers_of(column)]) if scale is None else Scale(*scale)
    )
    drawing = canvas(title, columns)
    rows = []
    for i, column in enumerate(columns):
        inside = graphviz.Digraph(name=f"cluster_net{i}")
        rows.append(column.add_to(inside, colours))
        drawing.subgraph(inside)
    align(drawing, rows)
    told = [measure] if measure else MEASURES[by]
    of_gradient = ["marked by the gradient"] if by == "update" and any(c.marks for c in columns) else []
    when = [told_when(epoch, shown)] if any(has_epochs(model) for _, model in given) else []
    add_legend(drawing, colours, columns, [*told, "of each weight", *when, *of_gradient])
    return drawing


def network_svg(
    symbol: Symbol,
    shape: Mapping[str, Any] | None = None,
    *,
    prefix: str = "",
    weights: Sequence[str] | None = None,
    expand: bool | None = True,
) -> str:
    """The architecture as SVG that a page can recolour: one element per layer, known by its number.

    The text is one ``<svg class="tinygrad-lesson" viewBox=...>`` element, fit to stand inside HTML.
    Layer number K (from 0 on, in the order of `weights`, or of the symbol's arguments called `weight`) is
    ``<g id="{prefix}layer-K" class="node layer" data-weight="fc1_weight" data-layer="fc1">``. In it
    are a `<title>` (the whole name), one `<path>` or `<polygon>` with the attribute `fill`, whose colour may be
    set, and the `<text>` lines: the name, then nothing. Other elements are ``class="node step"``,
    ``"node join"``, ``"node input"`` and ``"edge"``. With a `prefix` of its own each, several may stand in one page.

    `data-weights` and `data-layers` hold JSON lists of names: of one, as a rule. With ``expand=False``
    blocks that repeat become one, whose layers these lists name in turn; K is then that of the first.

    Errors
        LessonError where nothing can draw (see `viz.save`), or Graphviz fails.
    """
    names = list(weights) if weights is not None else weights_of(symbol.nodes)
    parts = parts_of(symbol, names, shape)
    column = Column("", prefix, parts, folds_of(parts, expand), names)
    drawing = canvas("network", [column])
    column.add_to(drawing, scale_of([]))
    picture = render(drawing)
    if picture is None:
        raise LessonError(f"network_svg: {MISSING}")
    root = tidy(picture.decode())
    layers = {f"{prefix}layer-{names.index(p.weights[0])}": i for i, p in enumerate(parts) if p.weights}
    for group in root.iter("g"):
        if group.get("id") in layers:
            same = column.same(layers[group.get("id", "")])
            told, called = [w for p in same for w in p.weights], [p.name for p in same]
            group.set("data-weight", printable(told[0]))
            group.set("data-layer", printable(called[0]))
            group.set("data-weights", json.dumps(told))
            group.set("data-layers", json.dumps(called))
    return as_text(root)


def named(models: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Models with their names, out of lists and dicts of them."""
    for model in models:
        if isinstance(model, Mapping):
            yield from ((str(name), m) for name, m in model.items())
        elif isinstance(model, list):
            yield from named(model)
        else:
            yield "", model


def updates_of(title: str, model: Any, epoch: int) -> Updates:
    """How much an epoch changes each weight of a model."""
    history = getattr(model, "history", model)
    if not isinstance(history, History):
        raise AttributeValueError(
            "gradient_flow: by='update' is computed from a FeedForward after fit, or its History, not from "
            f"{model!r:.80}"
        )
    trained_numbers(title, history.mean_abs_grad)
    return history.updates(epoch)


def has_epochs(model: Any) -> bool:
    """Whether a model has a number for each of several epochs, not one for all."""
    return not isinstance(model, tuple) or any(map(np.ndim, model[1].values()))


def told_when(epoch: int, updates: Sequence[Updates | None]) -> str:
    """The epoch that is shown, or the epochs between which the parameters are known."""
    spans = {(update.since, update.until) for update in updates if update}
    since, until = min(spans, default=(epoch, epoch))
    if len(spans) > 1:
        return f"around epoch {epoch}" if epoch > 0 else "in the last epochs"
    if since != until:
        return f"in epochs {since} to {until}"
    return "in the last epoch" if epoch == -1 else f"in epoch {epoch}"


def trained_numbers(title: str, numbers: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The numbers of a model, refused if there are none."""
    if not numbers:
        raise AttributeValueError(
            f"gradient_flow: {title or 'the model'} has no gradients yet; call fit first"
        )
    return numbers


def as_column(
    title: str,
    prefix: str,
    model: Any,
    epoch: int,
    shape: Mapping[str, Any] | None,
    expand: bool | None,
    shown: Mapping[str, float] | None = None,
) -> Column:
    """What is drawn of one model: its gradients in an epoch, or other numbers that are `shown`."""
    history = (
        model.history.mean_abs_grad
        if isinstance(model, FeedForward)
        else getattr(model, "mean_abs_grad", None)
    )
    if isinstance(model, FeedForward):
        symbol = model.prediction
    elif isinstance(model, History):
        symbol = None
    elif isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], Symbol):
        symbol, history = model
    else:
        raise DTypeError(
            f"gradient_flow: {model!r:.80} is no model; expected a FeedForward after fit, a History, or "
            "(symbol, {weight: mean |gradient|})"
        )
    history = trained_numbers(title, history)
    numbers = shown or {name: at_epoch(name, values, epoch) for name, values in history.items()}
    wrong = marks_of(history, symbol, getattr(model, "history", model), epoch)
    parts = chain_of(numbers) if symbol is None else parts_of(symbol, numbers, known_shapes(symbol, shape))
    if not any(part.weights for part in parts):
        raise AttributeValueError(f"gradient_flow: none of {', '.join(numbers)} is a weight of the symbol")
    return Column(title, prefix, parts, folds_of(parts, expand), list(numbers), numbers, wrong)


def marks_of(history: Mapping[str, Any], symbol: Symbol | None, told: Any, epoch: int) -> dict[str, str]:
    """For each weight that is marked in this epoch the word for it."""
    by_epoch = {n: values if np.ndim(values) else [values] for n, values in history.items()}
    gradients = marks.as_matrix(by_epoch)
    within_reach = marks.reached(gradients, list(history), symbol)
    found = marks.mark(gradients, within_reach, getattr(told, "loss", ()))
    column = 0 if found.shape[1] == 1 else epoch - 1 if epoch > 0 else epoch
    return {n: marks.WORDS[m] for n, m in zip(history, found[:, column], strict=True) if m != marks.FINE}


def folds_of(parts: Sequence[Part], expand: bool | None) -> list[Repeat]:
    """The blocks to fold: none, all there are, or those of a deep network."""
    wanted = sum(bool(part.weights) for part in parts) > DEEP if expand is None else not expand
    return repeats_of(parts) if wanted else []


def at_epoch(name: str, values: Any, epoch: int) -> float:
    """The number of one epoch, or the number itself where there is but one."""
    if not np.ndim(values):
        return float(values)
    if not 1 <= abs(epoch) <= len(values):
        raise AttributeValueError(f"gradient_flow: epoch is {epoch}, but {name} has {len(values)} epochs")
    return float(values[epoch - 1 if epoch > 0 else epoch])


def known_shapes(symbol: Symbol, shape: Mapping[str, Any] | None) -> dict[str, Any]:
    """Those of `shape` that this symbol has arguments for."""
    inputs = symbol.list_inputs()
    return {name: sizes for name, sizes in (shape or {}).items() if name in inputs}


def chain_of(numbers: Mapping[str, float]) -> list[Part]:
    """Weights one after the other, where no architecture is known."""
    return [Part([], [name], [i - 1] if i else [], [""] if i else []) for i, name in enumerate(numbers)]


def numbers_of(column: Column) -> list[float]:
    """What its layers show: a number for each of their weights."""
    return [(column.numbers or {})[weight] for part in column.parts for weight in part.weights]


def add_legend(
    drawing: graphviz.Digraph, scale: Scale, columns: Sequence[Column], told: Sequence[str]
) -> None:
    """The scale of colours, and each mark that occurs."""
    lines: list[tuple[Sequence[str], dict[str, str]]] = [(told, {**PLAIN, "fontsize": "12"})]
    shown = [n for column in columns for n in numbers_of(column)]
    for number in scale.swatches():
        fill = scale.colour(number)
        look = {"fillcolor": fill, "color": fill, "fontcolor": ink_on(fill)}
        lines.append(([scale.told(number, shown)], look))
    present = {word for column in columns for word in column.marks.values()}
    lines += [(EXPLAINED[word], outline_of([word])) for word in marks.WORDS.values() if word in present]
    folded = [column.same(i) for column in columns for i in column.shown if column.parts[i].weights]
    striped = {layers_in_a_stripe(same) for same in folded if len(same) > 1}
    if striped:
        each = "one layer each" if striped == {1} else f"the worst of up to {max(striped)}"
        lines.append(([f"stripes: {each},", "the first at the left"], PLAIN))
    if any(SKIP in line for line in drawing.body):
        lines.append((["orange arrow:", "passes layers by"], {**PLAIN, "fontcolor": SKIP, "class": "own"}))
    legend = graphviz.Digraph(name="cluster_legend", graph_attr={"peripheries": "0", "label": "", **CLEAR})
    for i, (text, look) in enumerate(lines):
        usual = {"fontsize": "10", "width": "1.0", "margin": "0.25,0.05"}  # with room for a wide font
        legend.node(f"legend{i}", label=as_label(*text), **{**usual, **look})
        if i:
            legend.edge(f"legend{i - 1}", f"legend{i}", style="invis", weight="50")
    drawing.subgraph(legend)
