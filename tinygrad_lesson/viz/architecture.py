"""A network as its reader thinks of it: layers with weights, and the small steps between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.graph import Edge, Node
from tinygrad_lesson.engine.infer import infer_shapes
from tinygrad_lesson.engine.shapes import Shape, is_complete, show
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.viz.fold import Repeat, repeats

PARAMETER_ENDINGS = (
    "_weight", "_bias", "_gamma", "_beta", "_moving_mean", "_moving_var", "_running_mean", "_running_var",
)  # fmt: skip
SIGNS = {"add": "+", "subtract": "\N{MINUS SIGN}", "multiply": "\N{MULTIPLICATION SIGN}"}


@dataclasses.dataclass
class Part:
    """A layer (it has weights), a join (several inputs), an input, or steps one after the other."""

    nodes: list[Node]
    weights: list[str]
    inputs: list[int]  # places of other parts, that of the longest way first
    shapes: list[str]  # of what comes from each
    shape: str = ""  # of what it gives
    depth: int = 0

    @property
    def kind(self) -> str:
        """`layer`, `input`, `join` or `step`."""
        if self.weights:
            return "layer"
        if self.nodes[0].op is None:
            return "input"
        return "join" if len(self.inputs) > 1 else "step"

    @property
    def name(self) -> str:
        """What it is called in a picture: a layer and an input by its name, steps by what they do."""
        if self.weights:
            return (self.nodes and self.nodes[0].name) or self.weights[0]
        if self.nodes[0].op is None:
            return self.nodes[0].name
        words = [SIGNS.get(n.op.function) or n.op.function.replace("_", " ") for n in self.nodes if n.op]
        return ", ".join(words)


def parameters_of(order: Sequence[Node]) -> set[Node]:
    """Leaves that are learnt or are states: by their place at an op that declares them, or by their name."""
    found = {node for node in order if node.op is None and node.name.endswith(PARAMETER_ENDINGS)}
    for node in order:
        if node.op is not None and node.op.learns:
            found.update(edge.node for edge in node.inputs[1:] if edge.node.op is None)
    return found


def weights_of(order: Sequence[Node]) -> list[str]:
    """Names of the weights, of which each layer has one; where nothing is called so, all that is learnt."""
    parameters = parameters_of(order)
    learnt = [node.name for node in order if node in parameters]
    return [name for name in learnt if "weight" in name] or learnt


def parts_of(symbol: Symbol, weights: Collection[str], shape: Mapping[str, Any] | None = None) -> list[Part]:
    """The parts of a network in order, inputs before users; `shape` are those of some arguments."""
    order = symbol.nodes
    given = symbol.given_shapes((), shape or {}, "viz")
    shapes = infer_shapes(order, given, "viz") if given else {}
    hidden = parameters_of(order) | {n for n in order if n.op is None and n.name in weights}
    hidden |= {node for node in order if isinstance(node.op, Constant)}
    users: dict[Node, int] = {}
    for node in order:
        for source in {edge.node for edge in node.inputs}:
            users[source] = users.get(source, 0) + 1
    parts: list[Part] = []
    place: dict[Node, int] = {}
    for node in order:
        if node in hidden:
            continue
        own = [edge.node.name for edge in node.inputs if edge.node.op is None and edge.node.name in weights]
        edges = list({place[edge.node]: edge for edge in node.inputs if edge.node in place}.items())
        edges.sort(key=lambda item: -parts[item[0]].depth)
        last = parts[edges[0][0]] if len(edges) == 1 else None
        if node.op and not own and last and last.kind == "step" and users[last.nodes[-1]] == 1:
            place[node] = edges[0][0]
            last.nodes.append(node)
        else:
            place[node] = len(parts)
            depth = 1 + max((parts[i].depth for i, _ in edges), default=-1)
            told = [told_shape(shapes.get(edge)) for _, edge in edges]
            parts.append(Part([node], own, [i for i, _ in edges], told, depth=depth))
        parts[place[node]].shape = told_shape(shapes.get(Edge(node)))
    return parts


def told_shape(shape: Shape | None) -> str:
    """A shape if it is known."""
    return show(shape) if is_complete(shape) else ""


def repeats_of(parts: Sequence[Part]) -> list[Repeat]:
    """The blocks of parts that repeat."""
    kinds = [
        (*(n.op.label() if n.op else "" for n in part.nodes), len(part.weights), *part.shapes, part.shape)
        for part in parts
    ]
    return repeats(kinds, [part.inputs for part in parts], [bool(part.weights) for part in parts])
