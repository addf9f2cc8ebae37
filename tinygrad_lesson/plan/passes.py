"""From graph to simpler graph, once all shapes are known.

A graph is emitted anew through a `Builder`, node by node. On the way each op may rewrite itself
(`mean` becomes a sum and a division), equal nodes become one,
and what no head needs is never emitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.graph import (
    UNNAMED,
    Edge,
    Label,
    Node,
    ancestors,
    edges_of,
    of_constants,
    outputs_of,
    toposort,
)
from tinygrad_lesson.engine.infer import describe
from tinygrad_lesson.engine.interpret import interpret, substitute
from tinygrad_lesson.engine.kinds import Elementwise, result_dtypes
from tinygrad_lesson.engine.op import Op, exactly
from tinygrad_lesson.engine.shapes import Shape, show
from tinygrad_lesson.engine.world import World
from tinygrad_lesson.ops.fills import Full
from tinygrad_lesson.ops.sliding import with_images_turned


@dataclasses.dataclass(frozen=True)
class Passes:
    """Which simplifications are made; each can be switched off."""

    rewrite: bool = True  # ops replace themselves by simpler ones
    share: bool = True  # equal nodes are computed once
    fold: bool = True  # what depends on no argument is computed once, when bound
    block: bool = True  # elementwise steps over large arrays run together, block by block
    patterns: bool = True  # runners do together what they have a kernel for: what `run.patterns()` lists
    mirror: bool = False  # the backward part computes forward values again, for less memory and more time


class Builder(World):
    """Emits nodes with known shapes and element types, simplified as `passes` says.

    It is the world that rewrites and gradients speak to: `F.sum(x)` emits a sum, and so does the arithmetic of its
    edges. `is_train` says how ops act that differ in training; None leaves them as they are. `settled` holds types that
    inference has settled for nodes of MXNet, which for integers differ from the ops' own.
    """

    def __init__(
        self, passes: Passes, is_train: bool | None = None, settled: Mapping[Edge, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(self.emit_unnamed)
        self.passes, self.is_train, self.settled = passes, is_train, settled
        self.shapes: dict[Edge, Shape] = {}
        self.dtypes: dict[Edge, np.dtype[Any] | None] = {}
        self.made: dict[Node, tuple[Edge, ...]] = {}  # every result of each node that was emitted here
        self.numbers: dict[Edge, Any] = {}  # a number of the kind of those whose type is open
        self.known: dict[Any, Any] = {}
        self.uniform: dict[Edge, Any] = {}  # arrays that are known to hold one number everywhere

        class EmittedEdge(Edge):
            """One result of a node that was emitted here."""

            __slots__ = ()
            F = self

        self.edge = EmittedEdge

    def forget(self) -> None:
        """Let go of the graph. Functions of a namespace refer to it, so nothing else would before a collection."""
        self.__dict__.clear()

    def results(self, node: Node) -> tuple[Edge, ...]:
        """Every result of an emitted node."""
        edges = self.made.get(node)
        if edges is None:
            edges = self.made[node] = edges_of(self.edge, node)
        return edges

    def variable(self, node: Node, shape: Shape, dtype: Any) -> Edge:
        """A leaf whose shape and type are given."""
        (edge,) = self.results(node)
        self.shapes[edge], self.dtypes[edge] = shape, np.dtype(dtype)
        return edge

    def graph(self, heads: Sequence[Edge]) -> list[Edge]:
        """The graph of `heads` emitted anew; its leaves are there."""
        interpret(self, toposort(edge.node for edge in heads))
        return [self.read(edge) for edge in heads]

    def leaf(self, node: Node, shape: Shape, dtype: Any) -> None:
        """A leaf of the graph that is emitted anew."""
        self.values[node] = (self.variable(node, shape, dtype),)

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Edge, ...]:
        """The op of a node on what its inputs have become, under the name that it has."""
        op: Any = node.op if self.is_train is None else node.op.at_mode(self.is_train)  # type: ignore[union-attr]
        settled = None
        if node.label.mxnet_op:
            settled = tuple([self.settled.get(edge) for edge in outputs_of(node)])
            first = self.settled.get(node.inputs[0]) if node.inputs else None
            op = op.keeping(first) if first is not None and first.kind in "iub" else op
        return self.emit(op, tuple(inputs), node.label, settled)

    def gradients(self, heads: Sequence[tuple[Edge, Edge]], wrt: Sequence[Edge]) -> list[Edge | None]:
        """Gradients of emitted edges, given pairs (edge, cotangent) of `heads`; None where no path leads."""
        return backprop(self, heads, wrt)

    def inputs(self, node: Node) -> Sequence[Any]:
        """The edges that an emitted node reads."""
        return node.inputs

    def shape(self, x: Any) -> Shape:
        """The shape of an edge or a number."""
        return self.shapes[x] if isinstance(x, Edge) else ()

    def holds(self, x: Any) -> bool:
        """Edges that were emitted here."""
        return x in self.shapes if isinstance(x, Edge) else False

    def dtype(self, x: Any) -> Any:
        """The element type of an edge; None for a number."""
        return self.dtypes.get(x) if isinstance(x, Edge) else None

    def number(self, edge: Edge) -> Any:
        """The number that an edge stands for, None if it is no constant."""
        return edge.node.op.value if isinstance(edge.node.op, Constant) else None

    def emit_unnamed(self, op: Op, inputs: Sequence[Any]) -> Any:
        """The result of `op`, as a rule asks for it."""
        edges = tuple([x if isinstance(x, Edge) else self.emit_number(x) for x in inputs])
        number = of_constants(op, edges)
        if number is not None:
            op, edges = Constant(value=number), ()
        results = self.emit(op, edges, UNNAMED, None)
        return results[0] if len(results) == 1 else results

    def emit(self, op: Op, inputs: tuple[Edge, ...], label: Label, dtypes: Any) -> tuple[Edge, ...]:
        """Edges that hold the results of `op`; `dtypes` where they are not what the op's rule says."""
        if self.passes.fold and isinstance(op, Elementwise):
            inputs = self.with_numbers(op, inputs)
        shapes, count = [self.shapes[edge] for edge in inputs], op.results
        numbers = [self.numbers[edge] for edge in inputs if edge in self.numbers]
        natural = result_dtypes(op, [self.dtypes[edge] for edge in inputs], numbers)
        dtypes = natural if dtypes is None else dtypes
        if self.passes.rewrite and dtypes == natural:
            simpler = op.rewrite(self, shapes, *inputs) or with_images_turned(self, op, inputs)
            simpler = simpler if count > 1 or simpler is None else (simpler,)
            if simpler and all(self.dtypes[x] in (None, d) for x, d in zip(simpler, natural, strict=True)):
                return simpler  # type: ignore[no-any-return]
        node = Node(op, inputs, label)
        if self.passes.share and not op.random:
            known = self.known.setdefault((op, inputs, dtypes), node)
            # 0.0 and -0.0 are equal, what is computed with them is not
            if known is not node and exactly(known.op) == exactly(op):
                return self.made[known]
        results = self.results(node)
        try:
            inferred = op.shape(*shapes)
        except LessonError as error:
            raise type(error)(describe(node, str(error), list(map(show, shapes)))) from None
        self.shapes.update(zip(results, [inferred] if count == 1 else inferred, strict=True))
        self.dtypes.update(zip(results, dtypes, strict=True))
        if None in dtypes:
            like = op.value if isinstance(op, Constant) else sum(numbers) if numbers else 0.0
            self.numbers.update((edge, like) for edge, d in zip(results, dtypes, strict=True) if d is None)
        if self.passes.fold and count == 1:
            self.note_uniform(op, inputs, results[0])
        return results

    def note_uniform(self, op: Op, inputs: tuple[Edge, ...], result: Edge) -> None:
        """Remember the number that fills a result, where it is known."""
        if isinstance(op, Full):
            with np.errstate(all="ignore"):
                self.uniform[result] = np.full((), op.value, op.type).item()
        elif op.view and len(inputs) == 1 and inputs[0] in self.uniform:
            self.uniform[result] = self.uniform[inputs[0]]
        elif isinstance(op, Elementwise) and self.dtypes[result] is not None:
            if self.uniform.keys().isdisjoint(inputs):
                return
            values = [self.uniform.get(x, self.number(x)) for x in inputs]
            if None not in values:
                with np.errstate(all="ignore"):
                    typed = [
                        v if self.dtypes[x] is None else np.asarray(v, self.dtypes[x])
                        for v, x in zip(values, inputs, strict=True)
                    ]
                    one = np.asarray(op.forward(np, *typed)).astype(self.dtypes[result])
                self.uniform[result] = one.item()

    def with_numbers(self, op: Op, inputs: tuple[Edge, ...]) -> tuple[Edge, ...]:
        """The inputs of an elementwise op, numbers in place of uniform arrays where the others settle the result."""
        if self.uniform.keys().isdisjoint(inputs):
            return inputs
        others = [x for x in inputs if x not in self.uniform and self.dtypes[x] is not None]
        alike = op.shape(*[self.shapes[x] for x in inputs]) == op.shape(
            *[self.shapes[x] for x in others or inputs]
        )
        if not others or len({self.dtypes[x] for x in inputs if self.dtypes[x]}) > 1 or not alike:
            return inputs
        return tuple([self.emit_number(self.uniform[x]) if x in self.uniform else x for x in inputs])

    def emit_number(self, value: float) -> Edge:
        """A number as an edge."""
        return self.emit(Constant(value=value), (), UNNAMED, None)[0]


# Results that nobody uses: an op that holds a graph of its own does without them, and without what only they need.


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
