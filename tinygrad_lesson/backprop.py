"""Reverse mode: the one sweep that every gradient in this package comes from."""

from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any

from tinygrad_lesson.graph import EDGES, Edge, Node, ancestors, between, outputs_of
from tinygrad_lesson.op import Namespace


def backprop(
    F: Namespace,
    heads: Sequence[tuple[Any, Any]],
    wrt: Sequence[Any] | None,
    operands: Callable[[Node], Iterable[Any]],
    results: Callable[[Node], Any],
) -> list[Any]:
    """Cotangents of the edges `wrt`, given pairs (edge, cotangent) of `heads`, by one reverse sweep.

    `operands` and `results` tell what a node's inputs and outcome are in the world of `F`: arrays,
    tensors or the edges themselves. So the same sweep runs at once, records itself to be
    differentiated again, or builds the gradient graph. None means that no path leads there. Without
    `wrt` the answer is for all variables that `heads` need: pairs (node, cotangent).
    """
    order = ancestors([edge.node for edge, _ in heads])
    wanted = set(order) if wrt is None else between(order, [edge.node for edge in wrt])
    cotangents: dict[Any, Any] = {}  # by node for its first result, by (node, index) for others
    for edge, g in heads:
        key = (edge.node, edge.index) if edge.index else edge.node
        cotangents[key] = F.add(cotangents[key], g) if key in cotangents else g
    for node in reversed(order):
        op = node.op
        if op is None or node not in wanted:
            continue
        g = cotangents.get(node)
        if op.results != 1:
            g = (g, *[cotangents.get((node, i)) for i in range(1, op.results)])
            if all(gi is None for gi in g):
                continue
        elif g is None:
            continue
        for edge, gradient in zip(node.inputs, op.vjp(F, g, results(node), *operands(node)), strict=True):
            source = edge.node
            if gradient is None or source not in wanted:
                continue
            if gradient.__class__ is FunctionType:
                gradient = gradient()
                if gradient is None:
                    continue
            key = (source, edge.index) if edge.index else source
            if key in cotangents:
                cotangents[key] = F.add(cotangents[key], gradient)
            else:
                cotangents[key] = gradient
    if wrt is None:
        return [(node, cotangents.get(node)) for node in order if node.op is None]
    return [cotangents.get((edge.node, edge.index) if edge.index else edge.node) for edge in wrt]


def gradient_graph(heads: Sequence[tuple[Edge, Edge]], wrt: Sequence[Edge]) -> list[Edge | None]:
    """Gradients as edges of a graph like any other: it can be drawn, compiled, differentiated again."""

    def results(node: Node) -> Any:
        edges = outputs_of(node)
        return edges[0] if len(edges) == 1 else edges

    return backprop(EDGES, heads, wrt, lambda node: node.inputs, results)
