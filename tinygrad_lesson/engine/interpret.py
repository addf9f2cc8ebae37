"""The forward walk: the one place where the nodes of a graph are carried out, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinygrad_lesson.engine.graph import Edge, Node, outputs_of, record, toposort
from tinygrad_lesson.engine.world import World

Observer = Callable[[Node, Sequence[Any], Sequence[Any]], None]


def interpret(F: World, order: Iterable[Node], observe: Observer | None = None) -> None:
    """Carry out the nodes of `order`, inputs before users, in the world `F`, which knows the leaves.

    `observe(node, inputs, results)` is called after each.
    """
    for node in order:
        if node in F.values:
            continue
        inputs = [F.read(edge) for edge in node.inputs]
        F.values[node] = results = F.evaluate(node, inputs)
        if observe is not None:
            observe(node, inputs, results)


class Rebuilt(World):
    """Edges of a graph that is made anew."""

    def __init__(self, rule: Callable[[Node, tuple[Edge, ...]], Sequence[Edge] | None]) -> None:
        super().__init__(record)
        self.rule = rule

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Edge, ...]:
        """What the rule says; the node itself where nothing has changed."""
        inputs = tuple(inputs)
        same = inputs == tuple(node.inputs)
        edges = self.rule(node, inputs)
        return tuple(edges or outputs_of(node if same else Node(node.op, inputs, node.label)))


def substitute(heads: Sequence[Edge], rule: Callable[..., Sequence[Edge] | None]) -> list[Edge]:
    """The graph of `heads` rebuilt from its leaves up.

    `rule(node, inputs)` gives the new edges of a node whose inputs became `inputs`, or None to keep it.
    """
    F = Rebuilt(rule)
    interpret(F, toposort(edge.node for edge in heads))
    return [F.read(edge) for edge in heads]
