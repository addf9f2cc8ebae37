"""Reverse mode: the one sweep that every gradient in this package comes from."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from tinygrad_lesson.graph import EDGES, Edge, Node, ancestors, between, outputs_of


def backprop(
    add: Callable[[Any, Any], Any],
    heads: Sequence[tuple[Any, Any]],
    wrt: Sequence[Any] | None,
    pull: Callable[[Node, Any], Sequence[Any]],
) -> list[Any]:
    """Cotangents of the edges `wrt`, given pairs (edge, cotangent) of `heads`, by one reverse sweep.

    `pull(node, g)` applies the rule of a node's op in some world: to arrays, to tensors or to edges, and `add`
    adds there. So the same sweep runs at once, records itself to be differentiated again, or builds the gradient graph.
    None means that no path leads there. Without `wrt` the answer is for all variables that `heads` need:
    pairs (node, cotangent).
    """
    order = ancestors([edge.node for edge, _ in heads])
    asked = {node for node in order if node.op is None} if wrt is None else {edge.node for edge in wrt}
    wanted = set(order) if wrt is None else between(order, asked)
    cotangents: dict[Any, Any] = {}  # by node for its first result, by (node, index) for others

    def accumulate(edge: Any, g: Any) -> None:
        key = (edge.node, edge.index) if edge.index else edge.node
        cotangents[key] = add(cotangents[key], g) if key in cotangents else g

    for edge, g in heads:
        accumulate(edge, g)
    for node in reversed(order):
        op = node.op
        if op is None or node not in wanted:
            continue
        take = cotangents.get if node in asked else cotangents.pop  # nothing lives longer than it is needed
        g = take(node, None)
        if op.results != 1:
            g = (g, *[take((node, i), None) for i in range(1, op.results)])
            if all(gi is None for gi in g):
                continue
        elif g is None:
            continue
        for edge, gradient in zip(node.inputs, pull(node, g), strict=True):
            source = edge.node
            if gradient is None or source not in wanted:
                continue
            if gradient.__class__ is FunctionType:
                gradient = gradient()
                if gradient is None:
                    continue
            if edge.index:
                accumulate(edge, gradient)
            elif source in cotangents:  # as accumulate does, without the call
                cotangents[source] = add(cotangents[source], gradient)
            else:
                cotangents[source] = gradient
    if wrt is None:
        return [(node, cotangents.get(node)) for node in order if node.op is None]
    return [cotangents.get((edge.node, edge.index) if edge.index else edge.node) for edge in wrt]


def gradient_graph(heads: Sequence[tuple[Edge, Edge]], wrt: Sequence[Edge]) -> list[Edge | None]:
    """Gradients as edges of a graph like any other: it can be drawn, compiled, differentiated again."""

    def pull(node: Node, g: Any) -> Any:
        edges = outputs_of(node)
        return node.op.vjp(EDGES, g, edges[0] if len(edges) == 1 else edges, *node.inputs)  # type: ignore[union-attr]

    return backprop(EDGES.add, heads, wrt, pull)
