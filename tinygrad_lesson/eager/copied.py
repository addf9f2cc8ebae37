"""What tensors recorded, as a graph of edges: free of the arrays, so that it can be kept, named, drawn and compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.eager.tensor import Tensor, results_of
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.graph import Edge, Node, ancestors, constant, outputs_of, record
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.world import World


class Copied(World):
    """A world in which a recorded tensor is an edge; `arrays` has the value of each edge."""

    def __init__(self) -> None:
        super().__init__(record)
        self.arrays: dict[Edge, Any] = {}

    def graph(self, results: Sequence[Tensor]) -> list[Edge]:
        """The graph that made the results."""
        nodes = ancestors([t.node for t in results if t.node is not None])
        interpret(self, [node for node in nodes if node.op is not None])
        return [self.read(t) for t in results]

    def read(self, t: Any) -> Any:
        """The edge for a tensor."""
        if t.node is None and type(t.array) in NUMBERS:
            return constant(t.array)
        edge = self.values[t.node][t.index] if t.node in self.values else self.leaf(t)
        self.arrays.setdefault(edge, t.array)
        return edge

    def leaf(self, t: Tensor) -> Edge:
        """The edge for a tensor that was computed from nothing, or that no graph has."""
        raise NotImplementedError

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Edge, ...]:
        """The same op on edges."""
        edges = outputs_of(self.renamed(node, tuple(inputs)))
        self.arrays.update(zip(edges, results_of(node), strict=True))
        return edges

    def renamed(self, node: Node, inputs: tuple[Edge, ...]) -> Node:
        """The new node, under the name of the recorded one."""
        return Node(node.op, inputs, node.label)
