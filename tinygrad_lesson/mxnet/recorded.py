"""A symbol from what the eager face has recorded, and a symbol computed by the eager face."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import Tensors
from tinygrad_lesson.eager.copied import Copied
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, GraphError
from tinygrad_lesson.engine.graph import Edge, Label, Node
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.mxnet.register import as_text, find
from tinygrad_lesson.mxnet.symbol import Symbol, binary
from tinygrad_lesson.ops import choices
from tinygrad_lesson.ops import elementwise as e

WITH_NUMBERS: dict[type[Op], str] = {  # how MXNet spells an operator of an array and a number
    e.Add: "_Plus", e.Subtract: "_Minus", e.Multiply: "_Mul", e.Divide: "_Div", e.Power: "_Power",
    choices.Maximum: "_Maximum", choices.Minimum: "_Minimum",
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
    F = Translation(names)
    edges = F.graph(heads)
    missing = [name for name, tensor in names.items() if name not in F.variables]
    if missing:
        raise GraphError(f"from_tensor: {missing[0]!r} is no part of what made the result")
    return Symbol(edges), F.variables


def evaluate(
    symbol: Symbol, leaves: Mapping[str, Any], seen: Callable[..., None] | None = None, is_train: bool = True
) -> tuple[Any, ...]:
    """A symbol at the tensors `leaves` by name; `seen` is told of every node, its inputs and results."""
    F = Tensors(is_train)
    F.values.update({node: (leaves[node.name],) for node in symbol.nodes if node.is_variable})
    interpret(F, symbol.nodes, seen)
    return tuple(map(F.read, symbol.heads))


class Translation(Copied):
    """Recorded nodes as nodes of a symbol; `variables` are the arrays of its leaves by name."""

    def __init__(self, names: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(tensor.node or tensor): name for name, tensor in names.items()}
        self.outside: dict[int, Edge] = {}
        self.variables: dict[str, np.ndarray] = {}
        self.counts: dict[str, int] = {}

    def number(self, kind: str) -> str:
        """A new name."""
        count = self.counts[kind] = self.counts.get(kind, -1) + 1
        return f"{kind}{count}"

    def leaf(self, t: Tensor) -> Edge:
        """A variable, the same for all that are computed from it."""
        found = self.outside.get(id(t.node or t))
        if found is None:
            kept = t if t.node is None else t.node.values()  # a weak reference
            if kept is None:
                raise GraphError(
                    "from_tensor: an input of the graph is gone; keep the tensors that it was made of"
                )
            kind = "constant" if t.node is None else "input"
            name = self.names.get(id(t.node or t)) or self.number(kind)
            self.variables[name] = np.array(kept.array)
            found = self.outside[id(t.node or t)] = Edge(Node(None, label=Label(name)))
        return found

    def renamed(self, node: Node, inputs: tuple[Edge, ...]) -> Node:
        """As MXNet spells it, where it has the operator."""
        mxnet_op = WITH_NUMBERS.get(type(node.op))  # type: ignore[arg-type]
        numbers = [edge.node.op.value if isinstance(edge.node.op, Constant) else None for edge in inputs]
        if mxnet_op and any(n is not None for n in numbers):
            a, b = [Symbol([x]) if n is None else n for x, n in zip(inputs, numbers, strict=True)]
            return binary(mxnet_op, a, b).heads[0].node
        assert node.op is not None
        if node.label.mxnet_op:
            told = node.label._replace(name=self.number(node.label.mxnet_op.lower()))
            return Node(node.op, inputs, told)
        return Node(node.op, inputs, label_of(node.op, self.number(node.op.function)))


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
