"""Reverse mode: the one sweep that every gradient in this package comes from."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
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
    None means that no path leads there. Without `wrt` the answer is for all variables that a path leads to:
    pairs (node, cotangent).
    """
    asked = None if wrt is None else {edge.node for edge in wrt}
    wanted = None if asked is None else between(ancestors([edge.node for edge, _ in heads]), asked)
    cotangents: dict[Any, Any] = {}  # by node for its first result, by (node, index) for others
    queue: list[tuple[int, Node]] = []  # nodes with a cotangent; of the youngest all users are done
    leaves: list[tuple[Node, Any]] = []
    for edge, g in heads:
        accumulate(add, cotangents, queue, edge, g)
    while queue:
        node = heappop(queue)[1]
        op = node.op
        if op is None:
            if asked is None:
                leaves.append((node, cotangents.pop(node)))
            continue
        if wanted is not None and node not in wanted:
            continue
        # No cotangent is kept for longer than it is needed.
        take = cotangents.pop if asked is None or node not in asked else cotangents.get
        g = take(node, None)
        if op.results != 1:
            g = (g, *[take((node, i), None) for i in range(1, op.results)])
            while queue and queue[0][1] is node:  # it is there once for each of its results
                heappop(queue)
        for edge, gradient in zip(node.inputs, pull(node, g), strict=True):
            source = edge.node
            if gradient is None or source is None or (wanted is not None and source not in wanted):
                continue
            if gradient.__class__ is FunctionType:
                gradient = gradient()
                if gradient is None:
                    continue
            if edge.index:
                accumulate(add, cotangents, queue, edge, gradient)
            elif source in cotangents:  # as accumulate does, without the call
                cotangents[source] = add(cotangents[source], gradient)
            else:
                cotangents[source] = gradient
                heappush(queue, (-source.number, source))
    if wrt is None:
        return leaves
    return [cotangents.get((edge.node, edge.index) if edge.index else edge.node) for edge in wrt]


def accumulate(
    add: Any, cotangents: dict[Any, Any], queue: list[tuple[int, Node]], edge: Any, g: Any
) -> None:
    """Add a cotangent to what has come for an edge; with the first its node enters the queue."""
    key = (edge.node, edge.index) if edge.index else edge.node
    if key in cotangents:
        cotangents[key] = add(cotangents[key], g)
    else:
        cotangents[key] = g
        heappush(queue, (-edge.node.number, edge.node))


def gradient_graph(heads: Sequence[tuple[Edge, Edge]], wrt: Sequence[Edge]) -> list[Edge | None]:
    """Gradients as edges of a graph like any other: it can be drawn, compiled, differentiated again."""

    def pull(node: Node, g: Any) -> Any:
        edges = outputs_of(node)
        return node.op.vjp(EDGES, g, edges[0] if len(edges) == 1 else edges, *node.inputs)  # type: ignore[union-attr]

    return backprop(EDGES.add, heads, wrt, pull)
