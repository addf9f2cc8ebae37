"""The forward walk: the one place where the nodes of a graph are carried out, one after the other."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinygrad_lesson.engine.graph import Node
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
