"""A symbol as MXNet shows it: as a picture, one box per op, and as a table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import graphviz

from tinygrad_lesson.engine.errors import DTypeError, listed
from tinygrad_lesson.engine.infer import infer_shapes
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.viz.architecture import PARAMETER_ENDINGS
from tinygrad_lesson.viz.boxes import Known, boxes_of
from tinygrad_lesson.viz.picture import draw_boxes
from tinygrad_lesson.viz.render import put


def plot_network(
    symbol: Symbol,
    title: str = "plot",
    save_format: str = "pdf",
    shape: Mapping[str, Any] | None = None,
    dtype: Any = None,
    node_attrs: Mapping[str, str] | None = None,
    hide_weights: bool = True,
    *,
    expand: bool | None = None,
) -> graphviz.Digraph:
    """The graph of `symbol`, the output on top; with the `shape` of some arguments, edges tell theirs.

    `node_attrs` are Graphviz' attributes for all boxes. `dtype` is accepted, as in MXNet, and not shown.
    Above 100 boxes, blocks that repeat become one, which says how often; ``expand=True`` draws all boxes,
    ``expand=False`` folds smaller graphs too. Boxes whose names begin alike (`stage1_`) stand in a frame.
    Whatever the nodes are called, a name is drawn as a name: never as markup, a link or a file.

    Errors
        DTypeError for anything but a Symbol; ShapeError naming the node at which the shapes do not fit.
    Source
        MXNet 1.9, ``mx.visualization.plot_network``.
    """
    if not isinstance(symbol, Symbol):
        raise DTypeError(f"plot_network: expected a Symbol, not {symbol!r}")
    order = symbol.nodes
    leaves = [n.name for n in order if n.is_variable]
    twice = sorted({name for name in leaves if leaves.count(name) > 1})
    if twice:
        told = (
            "There are multiple variables with the same name in your graph, this may result in cyclic graph"
        )
        warnings.warn(f"{told}: {listed(twice)}", stacklevel=2)
    shapes = infer_shapes(order, symbol.given_shapes((), shape)) if shape and not twice else {}
    hidden = {n for n in order if hide_weights and n.op is None and n.name.endswith(PARAMETER_ENDINGS)}
    boxes = boxes_of(symbol.heads, Known(shapes), hidden)
    drawing = draw_boxes(boxes, title, expand=expand, legend=False, direction="BT", form=save_format)
    drawing.node_attr.update(node_attrs or {})
    return drawing


def save_network(symbol: Symbol, directory: Path, shape: Mapping[str, Any] | None = None) -> Path:
    """Write `network.svg`, or where nothing can draw it its text `network.gv`; the path written."""
    return put(plot_network(symbol, title="network", shape=shape), directory / "network.svg")
