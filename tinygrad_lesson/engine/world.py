"""Worlds: where the ops of a graph, and their rules, are carried out."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.graph import Edge, Node, outputs_of, record
from tinygrad_lesson.engine.op import NUMBERS, Namespace, Op, numbers_only


class World(Namespace):
    """What the edges of a graph stand for, and how an op is applied to that.

    There are worlds of arrays, of tensors (whatever is done is recorded), and of the edges of another graph. `values`
    holds a tuple for each node that is known: its results.
    """

    compares: ClassVar[bool] = True  # gradients of a user's rule with its inputs

    def __init__(self, apply: Callable[[Op, Sequence[Any]], Any]) -> None:
        super().__init__(apply)
        self.values: dict[Node, tuple[Any, ...]] = {}

    def read(self, edge: Any) -> Any:
        """What an edge stands for."""
        return self.values[edge.node][edge.index]

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The results of a node."""
        y = self.apply(node.op, inputs)  # type: ignore[arg-type]
        return y if isinstance(y, tuple) else (y,)

    def operands(self, node: Node, g: Any) -> Sequence[Any]:
        """What the rule of a node reads: the cotangent, its result (a tuple of several), and its inputs."""
        y = self.values[node]
        return g, y[0] if len(y) == 1 else y, *[self.read(edge) for edge in node.inputs]

    def shape(self, x: Any) -> Any:
        """The shape of a value."""
        return np.shape(x)


class Arrays(World):
    """Bare arrays of NumPy: nothing is recorded. Ops act as in training or as in prediction, or as they are."""

    def __init__(self, is_train: bool | None = None) -> None:
        super().__init__(self.forward)
        self.is_train = is_train

    def forward(self, op: Op, inputs: Sequence[Any]) -> Any:
        """What the op computes."""
        op = op if self.is_train is None else op.at_mode(self.is_train)
        y = op.forward(np, *inputs)
        return y.item() if inputs and type(inputs[0]) in NUMBERS and numbers_only(inputs) else y


class Edges(World):
    """Edges of a graph: what is done is a new node. Their shapes are not known."""

    def __init__(self) -> None:
        super().__init__(record)

    def operands(self, node: Node, g: Any) -> Sequence[Any]:
        """The edges themselves."""
        y = outputs_of(node)
        return g, y[0] if len(y) == 1 else y, *node.inputs

    def shape(self, x: Any) -> Any:
        """Unknown."""
        return None


GRAPH = Edges()


def gradient_graph(heads: Sequence[tuple[Edge, Edge]], wrt: Sequence[Edge]) -> list[Edge | None]:
    """Gradients as edges of a graph like any other: it can be drawn, compiled, differentiated again."""
    return backprop(GRAPH, heads, wrt)


def values_by_edge(F: World) -> dict[Edge, Any]:
    """What is known of each edge."""
    return {edge: x for node, xs in F.values.items() for edge, x in zip(outputs_of(node), xs, strict=True)}
