"""Worlds: where the ops of a graph, and their rules, are carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.graph import Edge, Node, outputs_of
from tinygrad_lesson.engine.namespace import ArrayNamespace, numbers_only
from tinygrad_lesson.engine.op import Op


class World(ArrayNamespace):
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

    def results(self, node: Node) -> Sequence[Any]:
        """What the results of a node are, for its rule."""
        return self.values[node]

    def inputs(self, node: Node) -> Sequence[Any]:
        """What the inputs of a node are, for its rule."""
        return [self.read(edge) for edge in node.inputs]

    def operands(self, node: Node, gs: Sequence[Any]) -> Sequence[Any]:
        """What the rule of a node reads: the cotangent in the type of the result, the result, and the inputs.

        Where there are several results, both are tuples; a cotangent that did not come is None.
        """
        ys = self.results(node)
        g = tuple([None if g is None else self.typed(g, self.dtype(y)) for g, y in zip(gs, ys, strict=True)])
        inputs = self.inputs(node)
        return (g[0], ys[0], *inputs) if len(ys) == 1 else (g, tuple(ys), *inputs)

    def typed(self, g: Any, dtype: Any) -> Any:
        """A cotangent in the type of what it belongs to; of a real number, the real part."""
        own = self.dtype(g)
        if own is None or dtype is None or own == dtype or dtype.kind not in "fc":
            return g
        return self.cast(g, dtype=str(dtype))


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


def values_by_edge(F: World) -> dict[Edge, Any]:
    """What is known of each edge."""
    return {edge: x for node, xs in F.values.items() for edge, x in zip(outputs_of(node), xs, strict=True)}
