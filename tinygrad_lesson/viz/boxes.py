"""From a graph to boxes and arrows, with what is known of its edges."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.graph import Edge, Node, toposort
from tinygrad_lesson.engine.shapes import is_complete, show
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.register import OPERATORS
from tinygrad_lesson.viz.architecture import parameters_of
from tinygrad_lesson.viz.picture import Arrow, Box, kind_of
from tinygrad_lesson.viz.values import in_words, number

SEPARATOR = re.compile(r"[/._]")


@dataclasses.dataclass
class Known:
    """What is known of the edges of a graph; values and gradients are drawn where there are some."""

    shapes: Mapping[Edge, Any] = dataclasses.field(default_factory=dict)
    dtypes: Mapping[Edge, Any] = dataclasses.field(default_factory=dict)
    values: Mapping[Edge, Any] = dataclasses.field(default_factory=dict)
    gradients: Mapping[Edge, Any] = dataclasses.field(default_factory=dict)

    def told(self, edge: Edge) -> str:
        """Shape and element type of an edge, as far as they are known."""
        shape, dtype = self.shapes.get(edge), self.dtypes.get(edge)
        words = [show(shape)] if is_complete(shape) else []
        return " ".join([*words, *([str(dtype)] if dtype is not None else [])])


def boxes_of(heads: Sequence[Edge], known: Known, hidden: Collection[Node] = ()) -> list[Box]:
    """A box for each node that `heads` need and that is not `hidden`, inputs before users."""
    return add_boxes_of([], {}, toposort(edge.node for edge in heads), known, hidden)


def add_boxes_of(
    boxes: list[Box],
    place: dict[Node, int],
    order: Sequence[Node],
    known: Known,
    hidden: Collection[Node] = (),
    part: str = "",
    carriers: Collection[Node] = (),
) -> list[Box]:
    """Boxes for the nodes in `order`, added to those of another part; `place` tells where each node is.

    In a backward part `carriers` are the nodes that carry a gradient.
    """
    parameters = parameters_of(order)
    states = set(variables(order)[1])
    for node in order:
        if node in hidden or node in place or isinstance(node.op, Constant):
            continue
        kind = "state" if node in states else "parameter" if node in parameters else "input"
        box = leaf_box(node, kind, known) if node.op is None else op_box(node, known)
        box.part, box.gives = part, "gradient" if node in carriers else "factor"
        for edge in node.inputs:
            if isinstance(edge.node.op, Constant):  # beside each of its readers
                boxes.append(Box(number(edge.node.op.value), [], "constant", part=part))
                box.arrows.append(Arrow(len(boxes) - 1, "", arrow_kind(part, boxes[-1])))
            elif edge.node in place:
                source = place[edge.node]
                box.arrows.append(Arrow(source, known.told(edge), arrow_kind(part, boxes[source])))
        place[node] = len(boxes)
        boxes.append(box)
    return boxes


def arrow_kind(part: str, source: Box) -> str:
    """Whether an arrow carries a gradient or a factor of one, or a value that a backward part reads again."""
    if part != "backward":
        return "value"
    return "used" if source.part != part else "number" if source.kind == "constant" else source.gives


def leaf_box(node: Node, kind: str, known: Known) -> Box:
    """A variable; its shape and type stand on the arrow."""
    edge = Edge(node)
    return Box(node.name, value_lines(edge, known), kind, structure=(known.told(edge),))


def op_box(node: Node, known: Known) -> Box:
    """An op with its attributes."""
    op = node.op
    assert op is not None
    edges = [Edge(node, i) for i in range(op.visible)]
    label = op.label().removesuffix("()")
    structure = (label, *(known.told(edge) for edge in edges))
    lines = [label, *(line for edge in edges for line in value_lines(edge, known))]
    return Box(node.name, lines, kind_of(op), path=path_of(node), structure=structure)


def path_of(node: Node) -> tuple[str, ...]:
    """The words before the last one of a name that was given: `stage1`, `unit2` of `stage1_unit2_conv`."""
    if node.label.mxnet_op and node.name.rstrip("0123456789") in automatic_names():
        return ()
    return tuple(word for word in SEPARATOR.split(node.name[:1000])[:-1] if word)


@functools.cache
def automatic_names() -> frozenset[str]:
    """What stands in front of the number in a name that nobody gave."""
    return frozenset(name.lower() for name in OPERATORS)


def value_lines(edge: Edge, known: Known) -> list[str]:
    """The value and the gradient of an edge, where they are known."""
    lines = in_words(known.values[edge]) if edge in known.values else []
    if edge in known.gradients:
        first, *more = in_words(known.gradients[edge])
        lines = [*lines, f"gradient {first}", *more]
    return lines
