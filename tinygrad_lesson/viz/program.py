"""`show_program`: forward and backward as straight lines of NumPy, to be read, and run on their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.engine.graph import Edge, Node, ancestors, outputs_of, record
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.engine.world import World
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.plan.trace import Spec, spec_of, traced
from tinygrad_lesson.viz import trace
from tinygrad_lesson.viz.dot import printable, shortened
from tinygrad_lesson.viz.nested import lines_of
from tinygrad_lesson.viz.printer import Printer, Word, literal

SMALL = 64  # elements of an array that is written out
DRAWS = "draws random numbers, which no second run repeats; is_train=False shows the prediction"
MARGIN = 66  # where remarks begin


class Names(NamedTuple):
    """What the program calls the arguments, the outputs and the gradients."""

    arguments: dict[str, str]
    outputs: list[str]
    gradients: dict[str, str]


class Program(str):
    """The text of a program, and in `names` what it calls its arguments, outputs and gradients."""

    __slots__ = ("names",)
    names: Names

    def __repr__(self) -> str:  # it was printed; a prompt need not show it again
        return f"<Program of {self.count(chr(10))} lines>"


def show_program(
    x: Any, *inputs: Any, shape: Mapping[str, Any] | None = None, is_train: bool = True, **shapes: Any
) -> Program:
    """Print what a symbol or a function computes, and its gradients, as lines of NumPy that run on their own.

    A Symbol needs the shapes of its inputs, as `simple_bind` does; a function its inputs. Lines are named
    as the graph is; `d_fc1` is the gradient for `fc1`. What is not small is drawn at random at
    the top, unless the one who runs the lines has given it: ``exec(text, {"data": array})``. The text is returned too.

    With ``is_train=False`` it is the prediction, without gradients.

    Errors
        DTypeError for anything else; ShapeError where shapes are missing; GraphError naming an op that
        draws random numbers, or that does what cannot be written as lines.

    Example
        >>> program = show_program(lambda x: x * x, [3.0])
        import numpy as np
        <BLANKLINE>
        # arguments
        x = np.array([3.0], np.float64)
        <BLANKLINE>
        # forward
        multiply = x * x                                                  # Multiply (1,)
        <BLANKLINE>
        # backward
        d_multiply = np.ones((1,), np.float64)
        multiply_2 = d_multiply * x                                       # Multiply (1,)
        d_x = multiply_2 + multiply_2                                     # Add (1,)
    """
    graph = graph_of(x, inputs, {**(shape or {}), **shapes})
    writer = Writer(graph, is_train)
    text = Program("\n".join(writer.write()))
    text.names = Names(writer.arguments, writer.outputs, writer.gradients)
    print(text)
    return text


def graph_of(x: Any, inputs: Any, shape: Mapping[str, Any]) -> trace.Graph:
    """What is to be written, with all shapes known."""
    if isinstance(x, Executor):
        return trace.of_executor(x)
    if isinstance(x, Symbol):
        graph = trace.of_symbol(x, shape, np.float32)
        for node in x.nodes:
            known = graph.known.shapes.get(Edge(node))
            if known is None or None in known:
                raise ShapeError(
                    f"show_program: the shape of {node.name!r} is {show(known)}; give those of the inputs"
                )
        return graph
    if callable(x):
        return trace.of_function(x, inputs)
    raise DTypeError(f"show_program: {x!r:.80} is neither a Symbol, nor an Executor, nor a function")


class Writer(World):
    """A world in which a value is a word of a program, and to compute it is to write lines."""

    def __init__(self, graph: trace.Graph, is_train: bool) -> None:
        super().__init__(record)
        self.printer = Printer()
        self.is_train = is_train
        self.wanted = set(graph.wrt)
        self.users: Counter[Node] = Counter()
        self.given = graph.known.values if not any(e.node.label.mxnet_op for e in graph.heads) else {}
        order = ancestors([edge.node for edge in graph.heads])
        every = [edge for node in order for edge in outputs_of(node)]
        floats = [e for e in every if np.dtype(graph.known.dtypes.get(e, float)).kind in "fc"]
        self.both = trace.simplified(graph._replace(wrt=floats), order, is_train)
        self.known = self.both.graph.known
        self.states = {node.name for node in variables(order)[1]}
        self.named: dict[Edge, str] = {}  # what gradients are called
        self.leaf = (
            self.argument
        )  # how a leaf is written; in the backward part it is the cotangent of a result
        self.body: list[str] = []
        self.arguments: dict[str, str] = {}
        self.outputs: list[str] = []
        self.gradients: dict[str, str] = {}

    def write(self) -> list[str]:
        """The lines of the program."""
        forward = ancestors([e.node for e in self.both.graph.heads])
        interpret(self, [node for node in forward if node.op is None])
        head = ["import numpy as np", "", "# arguments"]
        if any("draw(" in line or "given" in line for line in self.body):
            head.insert(1, "\ngiven, draw = globals(), np.random.default_rng(0).standard_normal")
        self.body += ["", "# forward"]
        interpret(self, forward)
        self.outputs = [self.read(edge).text for edge in self.both.graph.heads]
        if self.is_train:
            self.body += ["", "# backward"]
            self.backward()
        return [line.rstrip() for line in (*head, *self.body)]

    def backward(self) -> None:
        """Write the gradients that are wanted."""
        pairs = [(edge, g) for edge, g in self.both.gradients if edge.node in self.values]
        self.named = {g: f"d_{self.read(edge).text}" for edge, g in pairs}
        wanted = [(edge, g) for edge, g in self.both.gradients if edge in self.wanted]
        order = ancestors([g.node for _, g in wanted])
        self.users = Counter(edge.node for node in order for edge in node.inputs)
        self.leaf = self.seed
        interpret(self, order)
        for edge, g in wanted:
            self.gradients[edge.node.name] = self.read(g).text

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Word, ...]:
        """Write the lines of a node."""
        if node.op is None:
            return (self.leaf(node),)
        if isinstance(node.op, Constant):
            return (Word(literal(node.op.value)),)
        return self.results_of(node, node.op, inputs)

    def seed(self, node: Node) -> Word:
        """The cotangent of a result."""
        edge = Edge(node)
        name = self.printer.free_name(self.named.get(edge, node.name))
        array = np.ones(self.known.shapes[edge], self.known.dtypes[edge])
        self.body.append(f"{name} = np.ones({array.shape}, np.{array.dtype})")
        return Word(name)

    def argument(self, node: Node) -> Word:
        """The line that gives an argument its value."""
        edge = Edge(node)
        shape, dtype = tuple(self.known.shapes[edge]), np.dtype(self.known.dtypes.get(edge, np.float32))
        name = self.printer.free_name(node.name or "value")
        array = np.asarray(self.given[edge]) if edge in self.given else np.ones(shape, dtype)
        self.arguments[node.name] = name
        if edge in self.given and array.size <= SMALL:
            value = literal(array)
        elif node.name in self.states or dtype.kind != "f":
            value = f'given.get("{name}", np.ones({shape}, np.{dtype}))'
        elif dtype in (np.float32, np.float64):
            value = f'given.get("{name}", draw({shape}, np.{dtype}))'
        else:
            value = f'given.get("{name}", draw({shape}).astype(np.{dtype}))'
        self.body.append(f"{name} = {value}")
        return Word(name)

    def given_to(self, edge: Edge) -> Any:
        """What a trace has to know of an operand: a number itself, of an array its shape and type."""
        op = edge.node.op
        if isinstance(op, Constant):
            return op.value
        return spec_of(np.empty(self.known.shapes[edge], self.known.dtypes.get(edge, np.float32)))

    def results_of(self, node: Node, op: Op, inputs: Sequence[Any]) -> tuple[Word, ...]:
        """Write the lines of one op, with a remark."""
        if op.nested:
            return lines_of(self, node, inputs)
        edges = outputs_of(node)
        wanted = [self.named.get(edge) or name_of(edge) for edge in edges]
        if len(edges) == 1 and self.users[node] == 1 and not node.name and edges[0] not in self.named:
            wanted = []  # it stands where it is used
        start = len(self.printer.lines)
        try:
            given = [self.given_to(edge) for edge in node.inputs]
            made = traced(op, tuple(given), (None,) * op.results, may_draw=True)
            words = [word for word, x in zip(inputs, given, strict=True) if isinstance(x, Spec)]
            found = self.printer.write(made, words, wanted)
        except (LessonError, TypeError, AttributeError) as error:
            problem = DRAWS if op.random else str(error)
            raise GraphError(f"show_program: {node.name or 'an op'} ({op.name}) {problem}") from error
        lines = self.printer.lines[start:]
        if wanted:
            shape = show(self.known.shapes[edges[0]])
            remark = shortened(printable(f"{op.label().removesuffix('()')} {shape}"))
            own = next(i for i, line in enumerate(lines) if line.startswith(f"{found[0].text} ="))
            lines[own] = f"{lines[own]:{MARGIN - 1}} # {remark}"
        self.body += lines
        return tuple(found)


def name_of(edge: Edge) -> str:
    """What a result is called: as its node, or without a name as its op; further ones add their own names."""
    node, op = edge.node, edge.node.op
    assert op is not None
    stem = node.name or op.function
    names = (*op.outputs, *(f"new_{state}" for state in op.states))
    return stem if edge.index == 0 else f"{stem}_{names[edge.index]}"
