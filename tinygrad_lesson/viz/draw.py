"""`draw`: the graph of whatever has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphviz
import numpy as np

from tinygrad_lesson.eager.recording import UNRECORDED
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import DTypeError, GraphError
from tinygrad_lesson.engine.graph import Edge, Node, ancestors
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.viz import trace
from tinygrad_lesson.viz.boxes import Known, add_boxes_of, arrow_kind, boxes_of
from tinygrad_lesson.viz.picture import Arrow, Box, draw_boxes, kind_of


def draw(
    x: Any,
    *inputs: Any,
    shape: Mapping[str, Any] | None = None,
    values: bool = False,
    gradients: bool = False,
    backward: bool = False,
    expand: bool | None = None,
    legend: bool = True,
    title: str = "graph",
) -> graphviz.Digraph:
    """The graph of a Tensor, a Symbol, an Executor or a Plan; or of a function, called with `inputs`.

    Boxes are ops with their attributes, in the colour of their kind; other outlines are leaves. Arrows
    tell shape and element type: of a Symbol, as far as `shape` decides them. With `values` and
    `gradients` the boxes hold these too, of all but a Symbol and a Plan: short arrays in full, long ones
    as smallest, largest, mean and histogram. With `backward` the gradient graph is drawn beside the
    forward one, up along it, orange where a gradient goes; of a Symbol, `shape` must then tell all shapes.

    Above 100 boxes, blocks that repeat become one, which says how often; ``expand=True`` draws all boxes,
    ``expand=False`` folds smaller graphs too. Boxes whose names begin alike (`stage1_`) stand in a frame.

    Errors
        DTypeError for anything else; GraphError for a Tensor that was not recorded, or where values are
        asked for and there are none; ShapeError for `backward` of a Symbol of which a shape is not known.

    Example
        >>> import tinygrad_lesson as tl
        >>> drawing = draw(lambda x: tl.tanh(x) * 2, [1.0, 2.0], values=True)
        >>> "Tanh" in drawing.source and "[0.7616, 0.964]" in drawing.source
        True
    """
    if isinstance(x, Plan):
        refuse_values(x, values or gradients)
        return draw_boxes(boxes_of_plan(x), title, expand=expand, legend=legend)
    graph = graph_of(x, inputs, shape)
    if values or gradients:
        refuse_values(x, isinstance(x, Symbol))
        graph = trace.with_gradient_values(graph) if gradients else graph
    if not values:
        graph = graph._replace(known=Known(graph.known.shapes, graph.known.dtypes, {}, graph.known.gradients))
    boxes = backward_boxes(trace.with_backward(graph)) if backward else boxes_of(graph.heads, graph.known)
    return draw_boxes(boxes, title, expand=expand, legend=legend)


def graph_of(x: Any, inputs: Any, shape: Mapping[str, Any] | None) -> trace.Graph:
    """Whatever has a graph, as one."""
    if isinstance(x, Tensor):
        if x.node is None:
            raise GraphError(f"draw: {UNRECORDED}")
        return trace.of_tensors([x], {}, {})
    if isinstance(x, Symbol):
        return trace.of_symbol(x, shape, np.float32)
    if isinstance(x, Executor):
        return trace.of_executor(x)
    if callable(x):
        return trace.of_function(x, inputs)
    raise DTypeError(
        f"draw: {x!r:.80} has no graph; expected a Tensor, a Symbol, an Executor, a Plan, or a function "
        "and its inputs"
    )


def refuse_values(x: Any, refused: bool) -> None:
    """Say that there are no values."""
    if refused:
        kind = type(x).__name__
        raise GraphError(
            f"draw: a {kind} holds no values nor gradients; draw an Executor, a Tensor or a function"
        )


def backward_boxes(both: trace.Backward) -> list[Box]:
    """The forward part, then beside it the gradients, in the order of the sweep."""
    place: dict[Node, int] = {}
    known = both.graph.known
    boxes = add_boxes_of([], place, both.forward, known, part="forward")
    results: dict[Node, list[tuple[str, Edge]]] = {}
    for of, edge in both.gradients:
        results.setdefault(edge.node, []).append((of.node.name, edge))
    for node in sorted(
        ancestors(results), key=lambda node: bool(node.inputs)
    ):  # what needs nothing comes first
        add_boxes_of(boxes, place, [node], known, part="backward", carriers=both.carriers)
        for name, edge in results.get(node, ()):
            arrow = Arrow(place[node], known.told(edge), "gradient")
            boxes.append(Box(f"gradient of {name}", [], "result", [arrow], part="backward"))
    return boxes


def boxes_of_plan(plan: Plan) -> list[Box]:
    """A box per step; the arrows are the buffers, with where they lie."""
    boxes: list[Box] = []
    writer: dict[int, int] = {}
    for part in ("setup", "forward", "backward", "update"):
        for op, sources, targets, name in getattr(plan, part):
            arrows = []
            for v in sources:
                if v not in writer or plan.buffers[v].value is not None:  # a number, beside each reader
                    writer[v] = len(boxes)
                    boxes.append(leaf_of_plan(plan, v, part))
                kind = arrow_kind(part, boxes[writer[v]])
                arrows.append(Arrow(writer[v], told(plan, v), kind))
            writer.update(dict.fromkeys(targets, len(boxes)))
            lines = [op.label().removesuffix("()"), *where(plan, sources, targets)]
            boxes.append(
                Box(name, lines, kind_of(op), arrows, part=part, gives="backward", structure=(lines[0],))
            )
    for name, v in plan.outputs.items():
        if v in writer:
            source = boxes[writer[v]]
            kind = "backward" if source.part == "backward" else "value"
            boxes.append(Box(name, [], "result", [Arrow(writer[v], told(plan, v), kind)], part=source.part))
    return boxes


def leaf_of_plan(plan: Plan, v: int, part: str) -> Box:
    """A buffer that no step has written."""
    buffer = plan.buffers[v]
    kind = "constant" if buffer.value is not None else "input" if buffer.argument else "result"
    structure = (buffer.shape, buffer.dtype)
    return Box(plan.show_buffer(v), [], kind, part=part, gives="backward", structure=structure)


def told(plan: Plan, v: int) -> str:
    """A buffer with its shape and type; its name too, if no box tells it."""
    buffer = plan.buffers[v]
    name = "" if buffer.argument or buffer.output else f"b{v} "
    return f"{name}{show(buffer.shape)} {buffer.dtype}" if buffer.value is None else ""


def where(plan: Plan, sources: tuple[int, ...], targets: tuple[int, ...]) -> list[str]:
    """Where the results of a step lie."""
    buffer = plan.buffers[targets[0]]
    if buffer.owner != targets[0]:
        return [f"a view of {plan.show_buffer(buffer.owner)}"]
    if buffer.offset is None:
        return []
    shared = buffer.offset in [plan.buffers[v].offset for v in sources]
    return [f"at byte {buffer.offset}" + (", in place" if shared else "")]
