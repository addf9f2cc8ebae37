"""The leaves of a graph: its arguments and its states, their names, and what ops say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinygrad_lesson.engine.errors import GraphError
from tinygrad_lesson.engine.graph import Node


def variables(order: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """The arguments and the auxiliary states among the nodes of a graph, in their order."""
    states: set[Node] = set()
    for node in order:
        if node.op is not None and node.op.states:
            states.update(edge.node for edge in node.inputs[-len(node.op.states) :])
    leaves = [node for node in order if node.is_variable]
    return [n for n in leaves if n not in states], [n for n in leaves if n in states]


def draws_in_prediction(node: Node) -> bool:
    """Whether a node draws random numbers in prediction too, as dropout with mode `always` does."""
    return node.op is not None and node.op.random and getattr(node.op.at_mode(False), "is_train", True)


def refuse_names(names: Iterable[str], prefixes: tuple[str, ...]) -> None:
    """Refuse arguments that are called as a plan calls arrays of its own.

    Errors
        GraphError naming the argument.
    """
    for name in names:
        if name.startswith(prefixes):
            raise GraphError(f"{name!r}: a plan calls arrays of its own so; give the argument another name")


def pinned(order: Sequence[Node]) -> dict[str, float]:
    """Arguments that an op holds at a number, as BatchNorm's `fix_gamma` does."""
    found = {}
    for node in order:
        if node.op is not None and node.op.pinned():
            names = node.op.name_inputs(len(node.inputs))
            for name, value in node.op.pinned().items():
                leaf = node.inputs[names.index(name)].node
                found.update({leaf.name: value} if leaf.is_variable else {})
    return found
