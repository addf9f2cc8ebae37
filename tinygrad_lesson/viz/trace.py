"""What can be drawn, as a graph: a symbol, an executor, a tensor with what made it, a function of tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.eager.copied import Copied
from tinygrad_lesson.eager.jit import Jitted
from tinygrad_lesson.eager.nested import tensors_in
from tinygrad_lesson.eager.recording import recording, tracing
from tinygrad_lesson.eager.tensor import Tensor, wrap
from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import (
    Edge,
    Label,
    Node,
    between,
    outputs_of,
    toposort,
)
from tinygrad_lesson.engine.infer import infer_dtypes, infer_shapes
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.shapes import is_complete, show
from tinygrad_lesson.engine.world import Arrays, values_by_edge
from tinygrad_lesson.mxnet.executor import HEAD, Executor
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.plan import Builder, Passes
from tinygrad_lesson.viz.boxes import Known


class Graph(NamedTuple):
    """Edges that are asked for, what is known of all edges, and the leaves that gradients are wanted for.

    `seeds` are the cotangents of the heads, where they are known; a loss and a single number need none.
    """

    heads: list[Edge]
    known: Known
    wrt: list[Edge]
    seeds: dict[Edge, Any]


class Backward(NamedTuple):
    """A graph with its gradients: all nodes of the forward part, and pairs (edge of `wrt`, its gradient).

    `carriers` are the nodes of the backward part that carry a gradient; the others are factors of one, computed
    from values of the forward part alone.
    """

    graph: Graph
    forward: list[Node]
    gradients: list[tuple[Edge, Edge]]
    carriers: set[Node]


def of_symbol(symbol: Symbol, shape: Mapping[str, Any] | None, dtype: Any) -> Graph:
    """A symbol: shapes are known as far as `shape` decides them."""
    order = symbol.nodes
    given = symbol.given_shapes((), shape or {}, "draw")
    shapes = infer_shapes(order, given, "draw") if given else {}
    dtypes = infer_dtypes(order, symbol.given_dtypes((), {}, "draw"), dtype, "draw") if given else {}
    arguments = variables(order)[0]
    wrt = [Edge(n) for n in arguments if n.name not in (shape or {})]
    return Graph(list(symbol.heads), Known(shapes, dtypes), wrt or [Edge(n) for n in arguments], {})


def of_executor(executor: Executor) -> Graph:
    """An executor: the values are those of its arrays, computed anew for what lies between."""
    values = values_of(executor)
    seeds = {
        edge: executor.head_gradients[HEAD + str(i)]
        for i, edge in enumerate(executor.heads)
        if HEAD + str(i) in executor.head_gradients
    }
    wrt = [Edge(n) for n in executor.order if n.is_variable and n.name in executor.gradients]
    return Graph(executor.heads, Known(executor.shapes, executor.dtypes, values), wrt, seeds)


def values_of(executor: Executor) -> dict[Edge, Any]:
    """Values of all edges but those that depend on random numbers, which no second run would repeat."""
    bound = {**executor.arguments, **executor.states}
    F = Arrays(bool(executor.ran))
    F.values.update({node: (bound[node.name],) for node in executor.order if node.is_variable})
    drawn = between(
        executor.order, [node for node in executor.order if node.op is not None and node.op.random]
    )
    with np.errstate(all="ignore"):
        interpret(F, [node for node in executor.order if node not in drawn])
    return values_by_edge(F)


def of_function(f: Callable[..., Any], inputs: Sequence[Any]) -> Graph:
    """A function, called with `inputs` as tensors and recorded."""
    f = f.__wrapped__ if isinstance(f, Jitted) else f
    refuse_missing(f, inputs)
    names = input_names(f, len(inputs))
    leaves = [Node(None, label=Label(name)) for name in names]
    tensors = [
        wrap(np.asarray(x.array if isinstance(x, Tensor) else x), leaf)
        for x, leaf in zip(inputs, leaves, strict=True)
    ]
    try:
        with tracing():
            result = f(*tensors)
    except GraphError:  # it looks at values, so only what leads to a gradient can be recorded
        with recording(True):
            result = f(*tensors)
    outputs = tensors_in(result)
    outer = {t.node: name for name, t in free_tensors(f) if t.node is not None}
    named = {**outer, **dict(zip(leaves, names, strict=True))}
    return of_tensors(outputs, named, dict(zip(leaves, tensors, strict=True)))


def refuse_missing(f: Callable[..., Any], inputs: Sequence[Any]) -> None:
    """Say which inputs a function needs that is drawn by calling it."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if len(inputs) < len(needed):
        raise DTypeError(
            f"draw: a function is drawn by calling it, and nothing is given for {needed[len(inputs)]!r}: "
            f"viz.draw(f, {', '.join(needed)})"
        )


def input_names(f: Callable[..., Any], count: int) -> list[str]:
    """Names of the first `count` parameters of a function."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "x")
    return plain[:count] + [f"{rest}{i}" for i in range(count - len(plain[:count]))]


def free_tensors(f: Callable[..., Any]) -> list[tuple[str, Tensor]]:
    """Tensors that a function finds outside of itself, by name."""
    try:
        found = inspect.getclosurevars(f)
    except (TypeError, ValueError):
        return []
    outside = {**found.globals, **found.nonlocals}
    return [(name, value) for name, value in outside.items() if isinstance(value, Tensor)]


def of_tensors(outputs: Sequence[Tensor], names: Mapping[Node, str], leaves: Mapping[Node, Tensor]) -> Graph:
    """Tensors with all that made them; `leaves` are known ones, `names` what leaves are called."""
    F = Named(names, len(leaves))
    for leaf, tensor in leaves.items():
        if tensor.node is leaf:
            F.read(tensor)
    heads, values = F.graph(outputs), F.arrays
    shapes = {edge: np.shape(value) for edge, value in values.items()}
    dtypes = {edge: np.result_type(value) for edge, value in values.items() if type(value) not in NUMBERS}
    wrt = [edges[0] for node, edges in F.values.items() if node.op is None and dtypes[edges[0]].kind in "fc"]
    return Graph(heads, Known(shapes, dtypes, values), wrt, {})


class Named(Copied):
    """What tensors recorded, with names for the leaves."""

    def __init__(self, names: Mapping[Node, str], count: int) -> None:
        super().__init__()
        self.names = names
        self.free = iter(f"x{i}" for i in range(count, 1 << 31))

    def leaf(self, t: Tensor) -> Edge:
        """A variable; those of no graph are constants."""
        if t.node is None:
            return Edge(Node(None, label=Label("constant")))
        name = self.names.get(t.node) or next(self.free)
        edge = Edge(Node(None, label=Label(name)))
        self.values[t.node] = (edge,)
        return edge


def with_gradient_values(graph: Graph) -> Graph:
    """The graph with the gradient of its heads for every edge, where all values are known.

    Heads that are no loss and no single number need a cotangent; without one they count with ones.
    """
    known, order = graph.known, toposort(edge.node for edge in graph.heads)
    edges = [edge for node in order for edge in outputs_of(node) if edge in known.values]
    if any(edge not in known.values for node in order for edge in node.inputs if not is_number(edge)):
        return graph
    seeds = [(edge, graph.seeds.get(edge, np.ones_like(known.values[edge]))) for edge in graph.heads]

    F = Arrays()
    for node in order:
        number = node.op.value if is_number(Edge(node)) else None  # type: ignore[union-attr]
        F.values[node] = (
            (number,) if number is not None else tuple([known.values.get(e) for e in outputs_of(node)])
        )
    with np.errstate(all="ignore"):
        found = backprop(F, seeds, edges)
    told = {edge: g for edge, g in zip(edges, found, strict=True) if g is not None}
    return graph._replace(known=Known(known.shapes, known.dtypes, known.values, told))


def is_number(edge: Edge) -> bool:
    """Whether an edge is a number in the graph itself."""
    return edge.node.op is not None and not edge.node.inputs and hasattr(edge.node.op, "value")


def with_backward(graph: Graph) -> Backward:
    """The graph with its gradient graph, simplified.

    Errors
        ShapeError where the shape of a variable is not known.
    """
    forward = toposort(edge.node for edge in graph.heads)
    for node in forward:
        shape = graph.known.shapes.get(Edge(node))
        if node.is_variable and not is_complete(shape):
            raise ShapeError(
                f"draw: gradients are taken where shapes are known, but variable {node.name!r} is {show(shape)}; "
                "give those of the inputs: draw(net, backward=True, shape={'data': (20, 4)})"
            )
    return simplified(graph, forward)


def passed_through(forward: Sequence[Node], wrt: Sequence[Edge]) -> list[Edge]:
    """The results that a gradient passes on its way from the heads back to `wrt`."""
    reached = {edge.node for edge in wrt}
    passed: list[Edge] = []
    for node in forward:
        if any(edge.node in reached for edge in node.inputs):
            reached.add(node)
            passed += outputs_of(node)
    return passed


def with_carriers(graph: Graph, forward: list[Node], found: Sequence[Edge | None]) -> Backward:
    """A graph and what was `found`: the gradients of `wrt`, then those of what is passed through."""
    pairs = [(edge, g) for edge, g in zip(graph.wrt, found, strict=False) if g is not None]
    gradients, known = {edge.node for edge in found if edge is not None}, set(forward)
    carriers: set[Node] = set()
    for node in toposort(edge.node for _, edge in pairs):
        if node not in known and (node in gradients or any(edge.node in carriers for edge in node.inputs)):
            carriers.add(node)
    return Backward(graph, forward, pairs, carriers)


def simplified(graph: Graph, forward: Sequence[Node], is_train: bool = True) -> Backward:
    """Forward part as it is, gradient graph as a plan would have it."""
    known, spelled = graph.known, any(node.label.mxnet_op for node in forward)
    builder = Builder(
        Passes(rewrite=False, share=False, fold=False), is_train if spelled else None, known.dtypes
    )
    for node in forward:
        if node.op is None:
            builder.leaf(node, known.shapes[Edge(node)], known.dtypes.get(Edge(node), np.float32))  # type: ignore[arg-type]
    interpret(builder, forward)
    new = values_by_edge(builder)
    builder.passes = Passes()
    heads = [new[edge] for edge in graph.heads]
    wrt = [new[edge] for edge in graph.wrt]
    seeds = [Node(None, label=Label(seed_name(edge))) for edge in graph.heads]
    cotangents = [
        builder.variable(seed, builder.shapes[head], builder.dtypes[head])
        for seed, head in zip(seeds, heads, strict=True)
    ]
    order = toposort(edge.node for edge in heads)
    found = builder.gradients(list(zip(heads, cotangents, strict=True)), [*wrt, *passed_through(order, wrt)])
    dtypes = {edge: dtype for edge, dtype in builder.dtypes.items() if dtype is not None}
    values, told = (
        {new[edge]: value for edge, value in of.items() if edge in new}
        for of in (known.values, known.gradients)
    )
    whole = Graph(heads, Known(builder.shapes, dtypes, values, told), wrt, {})
    builder.forget()
    return with_carriers(whole, order, found)


def seed_name(edge: Edge) -> str:
    """What the cotangent of a head is called."""
    return f"gradient of {edge.node.name or 'the result'}"
