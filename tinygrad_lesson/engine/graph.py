"""The graph that both faces record: nodes that apply an op to edges."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import DTypeError, GraphError, shown
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.namespace import Arithmetic, Namespace
from tinygrad_lesson.engine.op import Op

NO_ATTRIBUTES: dict[str, str] = {}


class Label(NamedTuple):
    """What a user or MXNet calls a node, and the texts that MXNet hangs on it."""

    name: str = ""
    mxnet_op: str = ""  # the operator's name in MXNet, empty in our own graphs
    attributes: dict[str, str] = NO_ATTRIBUTES


UNNAMED = Label()


COUNT = itertools.count(0, -1)  # down, so that the youngest node has the least number


class Node:
    """An op applied to edges, or a variable, which has no op.

    In the eager face `values` holds the result (a tuple where there are several) and `operands` the arrays that it
    was computed from, whatever the tensors among `inputs` hold by now; they are None and empty else.
    """

    __slots__ = ("__weakref__", "inputs", "label", "number", "op", "operands", "values")

    def __init__(
        self,
        op: Op | None,
        inputs: Sequence[Any] = (),
        label: Label = UNNAMED,
        values: Any = None,
        operands: Sequence[Any] = (),
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.label = label
        self.values = values
        self.operands = operands
        self.number = next(COUNT)  # users are younger than their inputs, so this order is topological

    @property
    def name(self) -> str:
        """The name that was given, or that stands for it."""
        return self.label.name

    @property
    def is_variable(self) -> bool:
        """Whether this is a leaf of the graph, computed by nobody."""
        return self.op is None

    def __repr__(self) -> str:
        return f"<{'Variable' if self.op is None else self.op.label()} {shown(self.name)}>"


class EdgeFields(NamedTuple):
    """Result number `index` of `node`."""

    node: Node
    index: int = 0  # type: ignore[assignment]


class Edge(Arithmetic, EdgeFields):  # type: ignore[misc]
    """One result of a node. Edges can be added, multiplied and so on, which records more nodes."""

    __slots__ = ()


def record(op: Op, inputs: Sequence[Any]) -> Any:
    """A new node that applies `op` to edges and numbers; its edge, or a tuple of edges."""
    edges = tuple(x if isinstance(x, Edge) else constant(x) for x in inputs)
    number = of_constants(op, edges)
    if number is not None:
        return constant(number)
    node = Node(op, edges)
    return Edge(node) if op.results == 1 else outputs_of(node)


def of_constants(op: Op, edges: Sequence[Edge]) -> Any:
    """What `op` makes of constants alone, in double precision whatever it will meet; None for other inputs."""
    if not edges or not isinstance(edges[0].node.op, Constant) or not isinstance(op, Elementwise):
        return None
    numbers = [edge.node.op.value for edge in edges if isinstance(edge.node.op, Constant)]
    if len(numbers) < len(edges):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(op.forward(np, *numbers)).item()


def constant(value: Any) -> Edge:
    """A number as an edge.

    Errors
        DTypeError if it is none.
    """
    if not isinstance(value, bool | int | float | np.generic):
        raise DTypeError(f"{value!r} is neither an edge of a graph nor a number")
    return Edge(Node(Constant(value=value.item() if isinstance(value, np.generic) else value)))


def outputs_of(node: Node) -> tuple[Edge, ...]:
    """Every result of a node as an edge."""
    return edges_of(Edge, node)


def edges_of(kind: type[Edge], node: Node) -> tuple[Any, ...]:
    """Every result of a node as an edge of some kind; without the way through a named tuple's `__new__`."""
    if node.op is None or node.op.results == 1:
        return (tuple.__new__(kind, (node, 0)),)
    return tuple([tuple.__new__(kind, (node, i)) for i in range(node.op.results)])


EDGES = Edge.F = Namespace(record)


def toposort(heads: Iterable[Node]) -> list[Node]:
    """Nodes that `heads` need, inputs before users, left to right: a depth-first post-order."""
    order: dict[Any, None] = {None: None}  # the constants of the eager face have no node
    stack = list(heads)[::-1]
    while stack:
        node = stack[-1]
        if node in order:
            stack.pop()
            continue
        waiting = [edge.node for edge in node.inputs if edge.node not in order]
        if waiting:
            stack.extend(waiting[::-1])
        else:
            order[stack.pop()] = None
    del order[None]
    return list(order)


def ancestors(heads: Iterable[Node]) -> list[Node]:
    """Nodes that `heads` need, in the order in which they were made: inputs before users."""
    found = set(heads)
    stack = list(found)
    while stack:
        for edge in stack.pop().inputs:
            node = edge.node
            if node not in found and node is not None:
                found.add(node)
                stack.append(node)
    return in_order(found)


def in_order(nodes: Iterable[Node]) -> list[Node]:
    """Nodes in the order in which they were made: inputs before users."""
    return sorted(nodes, key=attrgetter("number"), reverse=True)


def between(order: Sequence[Node], wrt: Iterable[Node]) -> set[Node]:
    """Those nodes of `order` from which a path leads back to one of `wrt`, these included."""
    reached = set(wrt)
    for node in order:
        for edge in node.inputs:
            if edge.node in reached:
                reached.add(node)
                break
    return reached


def check_names(nodes: Iterable[Node], what: str) -> None:
    """Refuse two nodes of one name.

    Errors
        GraphError naming the first name that is used twice.
    """
    seen: set[str] = set()
    for node in nodes:
        if node.name in seen:
            raise GraphError(f"two {what} are called {node.name!r}; give each a name of its own")
        seen.add(node.name)


def packed(heads: Sequence[Edge]) -> tuple[list[Any], list[tuple[int, int]]]:
    """A graph as a flat list of its nodes and the places of its heads, for who cannot go into its depth."""
    order = toposort(edge.node for edge in heads)
    place = {node: i for i, node in enumerate(order)}
    nodes = [
        (node.op, [(place[edge.node], edge.index) for edge in node.inputs], node.label) for node in order
    ]
    return nodes, [(place[edge.node], edge.index) for edge in heads]


def unpacked(nodes: Iterable[Any], heads: Iterable[tuple[int, int]]) -> list[Edge]:
    """The heads of the graph that was `packed`."""
    made: list[Node] = []
    for op, inputs, label in nodes:
        made.append(Node(op, tuple(Edge(made[i], index) for i, index in inputs), label))
    return [Edge(made[i], index) for i, index in heads]
