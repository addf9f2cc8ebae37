"""A symbol as a picture: one box per op, in the colours of its kind."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import graphviz

from tinygrad_lesson.errors import DTypeError, LessonError
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.graph import Node
from tinygrad_lesson.infer import Shapes, infer_shapes
from tinygrad_lesson.shapes import is_complete, show
from tinygrad_lesson.symbol.symbol import Symbol

# Okabe and Ito 2008, lightened: black text stands out, and colour-blind readers tell them apart.
COLOURS = {
    "linear": "#f4b183", "elementwise": "#9bd0f5", "nn": "#f7e38b", "reduce": "#c9e7b4", "index": "#e3c4e0",
    "movement": "#e3c4e0", "loss": "#f2a6a6", "random": "#d9d9d9",
}  # fmt: skip
PARAMETER_ENDINGS = (
    "_weight", "_bias", "_gamma", "_beta", "_moving_mean", "_moving_var", "_running_mean", "_running_var",
)  # fmt: skip
BOX = {
    "shape": "box", "style": "filled,rounded", "fillcolor": "#ffffff", "fontname": "Helvetica",
    "margin": "0.2,0.06",
}  # fmt: skip
LONGEST = 200  # characters of a label that are shown
TIME_LIMIT = 20.0  # seconds that `dot` may take


def plot_network(
    symbol: Symbol,
    title: str = "plot",
    save_format: str = "pdf",
    shape: Mapping[str, Any] | None = None,
    dtype: Any = None,
    node_attrs: Mapping[str, str] | None = None,
    hide_weights: bool = True,
) -> graphviz.Digraph:
    """The graph of `symbol`, the output on top; with the `shape` of some arguments, edges tell theirs.

    `node_attrs` are Graphviz' attributes for all boxes. `dtype` is accepted, as in MXNet, and not shown.
    Whatever the nodes are called, a name is drawn as a name: never as markup, a link or a file.

    Errors
        DTypeError for anything but a Symbol; ShapeError naming the node at which the shapes do not fit.
    Source
        MXNet 1.9, ``mx.visualization.plot_network``.
    """
    if not isinstance(symbol, Symbol):
        raise DTypeError(f"plot_network: expected a Symbol, not {symbol!r}")
    order = symbol.nodes
    shapes: Shapes = infer_shapes(order, symbol.given_shapes((), shape)) if shape else {}
    style = {**BOX, **(node_attrs or {})}
    drawing = graphviz.Digraph(name=as_name(title), format=save_format, node_attr=style)
    drawing.attr("graph", rankdir="BT", nslimit="1", nslimit1="1")
    drawing.attr("edge", fontname="Helvetica", fontsize="10", color="#555555", arrowsize="0.7")
    shown = [node for node in order if not (hide_weights and is_parameter(node))]
    identifiers = {node: f"n{i}" for i, node in enumerate(shown)}
    for node, identifier in identifiers.items():
        fill = {} if node.op is None else {"fillcolor": COLOURS.get(node.op.family, "#ffffff")}
        outline = {"shape": "ellipse"} if node.op is None else {}
        drawing.node(identifier, label=as_label(*lines_of(node)), **fill, **outline)
    for node, identifier in identifiers.items():
        for edge in node.inputs:
            if edge.node in identifiers:
                known = shapes.get(edge)
                label = as_label(show(known)) if is_complete(known) else ""
                drawing.edge(identifiers[edge.node], identifier, label=label)
    return drawing


def is_parameter(node: Node) -> bool:
    """Whether a node is a weight or a state by its name."""
    return node.op is None and node.name.endswith(PARAMETER_ENDINGS)


def lines_of(node: Node) -> list[str]:
    """The lines in a box: the name, and for an op what it does."""
    lines = [node.name, "" if node.op is None else node.op.label().removesuffix("()")]
    return [line for line in lines if line]


def as_label(*lines: str) -> str:
    """Lines that Graphviz shows as they are: no markup, no escapes, no entities."""
    escaped = [graphviz.escape(as_plain(line)).replace("&", "&amp;") for line in lines]
    label: str = graphviz.nohtml(r"\n".join(escaped))
    return label


def as_plain(text: str) -> str:
    """A text cut to a length that fits a box, without characters that do not print or turn it around."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 10]} ... ({len(text)} characters)"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)


def as_name(text: str) -> str:
    """A title as the name of a graph, which becomes a file name."""
    return "".join(c if c.isalnum() or c in "-_ " else "_" for c in text)[:80] or "plot"


def render_svg(drawing: graphviz.Digraph, timeout: float = TIME_LIMIT) -> str | None:
    """The picture as SVG text; None where Graphviz is not installed.

    Errors
        LessonError if Graphviz fails or takes longer than `timeout` seconds.
    """
    dot = shutil.which("dot")
    if dot is None:
        return None
    source: str = drawing.source
    try:
        done = subprocess.run(
            [dot, "-Tsvg"], input=source.encode(), capture_output=True, timeout=timeout, check=True
        )
    except subprocess.TimeoutExpired:
        raise LessonError(f"Graphviz took longer than {timeout:g} s for this picture") from None
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.decode(errors="replace")[:200]
        raise LessonError(f"Graphviz could not draw this: {complaint}") from None
    return done.stdout.decode()


def save_network(symbol: Symbol, directory: Path, shape: Mapping[str, Any] | None = None) -> Path:
    """Write `network.svg`, or where no Graphviz can be found its text `network.gv`; the path written."""
    drawing = plot_network(symbol, title="network", shape=shape)
    picture = render_svg(drawing)
    path = directory / ("network.gv" if picture is None else "network.svg")
    write_whole(path, drawing.source if picture is None else picture)
    return path
