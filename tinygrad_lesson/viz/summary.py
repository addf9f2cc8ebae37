"""A symbol as a table, as MXNet prints it: a row per layer with its output shape, parameters and inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_lesson.engine.errors import DTypeError, ShapeError, shown
from tinygrad_lesson.engine.graph import Edge, Node
from tinygrad_lesson.engine.infer import Shapes, infer_shapes
from tinygrad_lesson.engine.shapes import is_complete
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.viz.architecture import parameters_of

COLUMNS = ("Layer (type)", "Output Shape", "Param #", "Previous Layer")


def print_summary(
    symbol: Symbol,
    shape: Mapping[str, Any] | None = None,
    line_length: int = 120,
    positions: Sequence[float] = (0.44, 0.64, 0.74, 1.0),
) -> None:
    """Print a table of the layers: name and operator, output shape, number of parameters, inputs.

    Shapes are those of one row, without the batch. `positions` are the ends of the columns, in characters,
    or as shares of `line_length` where the last is at most 1. Parameters are counted from their shapes, at
    the first op that uses them, or in a row of their own where they are results; without `shape` the numbers
    that hang on it are a question mark. What takes data or labels, and states such as moving means, are none.

    Errors
        DTypeError for anything but a Symbol; ShapeError where `shape` leaves some open, or they do not fit.
    Source
        MXNet 1.9, ``mx.visualization.print_summary``, which guesses the parameters from the attributes.
    """
    if not isinstance(symbol, Symbol):
        raise DTypeError(f"print_summary: expected a Symbol, not {symbol!r}")
    order = symbol.nodes
    given = symbol.given_shapes((), shape or {}, "print_summary")
    shapes = infer_shapes(order, given, "print_summary")
    if shape is not None:
        unknown = [node.name for node in order if not is_complete(shapes[Edge(node)])]
        if unknown:
            raise ShapeError(
                f"print_summary: the shape of {unknown[0]!r} is not known; give shape={{...}} for it"
            )
    ends = [int(line_length * p) for p in positions] if positions[-1] <= 1 else [int(p) for p in positions]
    parameters = counted_of(order, shapes, shape or {})
    results = {edge.node for edge in symbol.heads}
    rows = [node for node in order if node.op is not None or node is order[0] or node in results]
    print("_" * line_length)
    print(as_row(COLUMNS, ends))
    print("=" * line_length)
    total: int | None = 0
    counted: set[Node] = set()
    for i, node in enumerate(rows):
        used = [edge.node for edge in node.inputs] if node.op is not None else {node} & results
        own = parameters.intersection(used) - counted
        counted |= own
        count = total_size([shapes[Edge(leaf)] for leaf in own])
        total = None if total is None or count is None else total + count
        inputs = [e.node.name for e in node.inputs if e.node.op is not None or e.node is order[0]] or [""]
        result = shapes[Edge(node)] if shape is not None else None
        told = "x".join(map(str, (result or ())[1:]))
        kind = "null" if node.op is None else node.label.mxnet_op or node.op.name
        print(as_row([f"{node.name}({kind})", told, unknown_or(count), inputs[0]], ends))
        for name in inputs[1:]:
            print(as_row(["", "", "", name], ends))
        print(("=" if i == len(rows) - 1 else "_") * line_length)
    print(f"Total params: {unknown_or(total)}")
    print("_" * line_length)


def counted_of(order: Sequence[Node], shapes: Shapes, given: Mapping[str, Any]) -> set[Node]:
    """The variables that are learnt: by place, by name, or of a known shape and taking neither data nor labels."""
    arguments, states = variables(order)
    labels = {
        edge.node
        for node in order
        if node.op is not None
        for name, edge in zip(node.op.name_inputs(len(node.inputs)), node.inputs, strict=True)
        if name == "label"
    }
    free = {
        node
        for node in arguments
        if is_complete(shapes[Edge(node)])
        and node not in labels
        and node.name not in given
        and not node.name.endswith(("data", "label"))
    }
    return (parameters_of(order) | free) - set(states)


def total_size(shapes: Sequence[Any]) -> int | None:
    """The number of elements of some arrays; None if a size is not known."""
    return sum(map(math.prod, shapes)) if all(map(is_complete, shapes)) else None


def unknown_or(count: int | None) -> str:
    """A number, or a question mark."""
    return "?" if count is None else str(count)


def as_row(fields: Sequence[str], ends: Sequence[int]) -> str:
    """One line of the table: each field cut or filled up to where its column ends."""
    line = ""
    for field, end in zip(fields, ends, strict=True):
        line = (line + shown(field))[:end].ljust(end)
    return line
