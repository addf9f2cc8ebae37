"""A symbol from what the eager face has recorded."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, GraphError
from tinygrad_lesson.engine.graph import Edge, Label, Node, ancestors, constant, outputs_of
from tinygrad_lesson.engine.op import NUMBERS, Op
from tinygrad_lesson.mxnet.register import as_text, find
from tinygrad_lesson.mxnet.symbol import Symbol, binary
from tinygrad_lesson.ops import elementwise as e

WITH_NUMBERS: dict[type[Op], str] = {  # how MXNet spells an operator of an array and a number
    e.Add: "_Plus", e.Subtract: "_Minus", e.Multiply: "_Mul", e.Divide: "_Div", e.Power: "_Power",
    e.Maximum: "_Maximum", e.Minimum: "_Minimum",
}  # fmt: skip


def from_tensor(results: Any, **names: Tensor) -> tuple[Symbol, dict[str, np.ndarray]]:
    """The graph that made a recorded tensor, or several, as a symbol; and the arrays of its variables by name.

    Tensors given by name become variables of that name, other leaves `input0`, `input1`, and so on; arrays that
    were not recorded `constant0` and so on.

    Errors
        GraphError for a tensor that was not recorded, and for a name that is no part of the graph.

    Example
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> symbol, arrays = from_tensor((x * x).sum(), x=x)
        >>> symbol.list_arguments()
        ['x']
    """
    heads = [results] if isinstance(results, Tensor) else list(results)
    for tensor in heads:
        if not isinstance(tensor, Tensor):
            raise DTypeError(f"from_tensor: {tensor!r} is no Tensor")
        if tensor.node is None:
            raise GraphError(
                "from_tensor: a tensor was computed without recording; set requires_grad=True on an input"
            )
    translation = Translation(names)
    order = ancestors([tensor.node for tensor in heads if tensor.node is not None])
    for node in order:
        translation.add(node)
    missing = [name for name, tensor in names.items() if name not in translation.arrays]
    if missing:
        raise GraphError(f"from_tensor: {missing[0]!r} is no part of what made the result")
    return Symbol([translation.edge(tensor) for tensor in heads]), translation.arrays


class Translation:
    """Recorded nodes as nodes of a symbol."""

    def __init__(self, names: Mapping[str, Tensor]) -> None:
        self.names = {id(tensor.node or tensor): name for name, tensor in names.items()}
        self.nodes: dict[Node, Node] = {}
        self.outside: dict[int, Edge] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.counts: dict[str, int] = {}

    def number(self, kind: str) -> str:
        """A new name."""
        count = self.counts[kind] = self.counts.get(kind, -1) + 1
        return f"{kind}{count}"

    def variable(self, name: str, value: Any) -> Node:
        """A leaf."""
        self.arrays[name] = np.array(value)
        return Node(None, label=Label(name))

    def add(self, node: Node) -> None:
        """The new node for a recorded one."""
        if node.op is None:
            tensor = node.values()  # a weak reference
            if tensor is None:
                raise GraphError(
                    "from_tensor: an input of the graph is gone; keep the tensors that it was made of"
                )
            self.nodes[node] = self.variable(self.names.get(id(node)) or self.number("input"), tensor.array)
            return
        mxnet_op = WITH_NUMBERS.get(type(node.op))
        numbers = [t.array if type(t.array) in NUMBERS and t.node is None else None for t in node.inputs]
        if mxnet_op and any(n is not None for n in numbers):
            a, b = [
                Symbol([self.edge(t)]) if n is None else n for t, n in zip(node.inputs, numbers, strict=True)
            ]
            self.nodes[node] = binary(mxnet_op, a, b).heads[0].node
            return
        edges = tuple(map(self.edge, node.inputs))
        self.nodes[node] = Node(node.op, edges, label_of(node.op, self.number(node.op.function)))

    def edge(self, tensor: Tensor) -> Edge:
        """The edge for a tensor."""
        if tensor.node is not None:
            return outputs_of(self.nodes[tensor.node])[tensor.index]
        if type(tensor.array) in NUMBERS:
            return constant(tensor.array)
        if id(tensor) not in self.outside:
            name = self.names.get(id(tensor)) or self.number("constant")
            self.outside[id(tensor)] = Edge(self.variable(name, tensor.array))
        return self.outside[id(tensor)]


def label_of(op: Op, name: str) -> Label:
    """A name, and where there is an operator of MXNet that makes the same op, its spelling."""
    texts = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
    texts = {key: as_text(value) for key, value in texts.items() if value is not None}
    known = find(op.function)
    try:
        same = known is not None and known.make(dict(texts)) == op
    except AttributeValueError:
        same = False
    return Label(name, known.name, texts) if same and known is not None else Label(name)
