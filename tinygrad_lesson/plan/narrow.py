"""Results that nobody uses: an op that holds a graph of its own does without them, and without what only they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tinygrad_lesson.engine.graph import Edge, Node, ancestors
from tinygrad_lesson.engine.interpret import substitute


class Narrowed(NamedTuple):
    """An op with fewer results: which inputs it reads, and which results it has, by their old numbers."""

    op: Any
    inputs: Sequence[int]
    results: Sequence[int]


def narrowed(heads: Sequence[Edge]) -> list[Edge]:
    """The same heads; what is asked of an op that can be narrowed is what they need."""
    order = ancestors([edge.node for edge in heads])
    if not any(node.op is not None and node.op.nested for node in order):
        return list(heads)
    used: dict[Node, set[int]] = {node: set() for node in order}
    for edge in heads:
        used[edge.node].add(edge.index)
    found: dict[Node, Narrowed] = {}
    for node in reversed(order):
        inputs, op = node.inputs, node.op
        if used[node] and op is not None and op.nested:
            found[node] = less = op.narrowed(sorted(used[node]))  # type: ignore[attr-defined]
            inputs = [inputs[i] for i in less.inputs]
        for edge in inputs if used[node] or node.is_variable else ():
            used[edge.node].add(edge.index)

    def rule(node: Node, inputs: tuple[Edge, ...]) -> Sequence[Edge] | None:
        less = found.get(node)
        if less is None:
            return None
        new = Node(less.op, tuple([inputs[i] for i in less.inputs]), node.label)
        place = {i: k for k, i in enumerate(less.results)}
        return [Edge(new, place.get(i, 0)) for i in range(node.op.results)]  # type: ignore[union-attr]

    return substitute(heads, rule)
