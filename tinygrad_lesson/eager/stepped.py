"""Functions as graphs: what the body of a loop, or a branch of a choice, does once, as data to be carried out often.

Such a body is traced on a level of its own, so that it may see whatever is there outside: tensors that are recorded,
or belong to other transformations, become further inputs.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.eager.apply import ARRAYS, explained
from tinygrad_lesson.eager.compiled import REALS, Again, Compiled, planned
from tinygrad_lesson.eager.recording import alone, recording, tracing
from tinygrad_lesson.eager.reverse import Reverse
from tinygrad_lesson.eager.tensor import Tensor, of_array, operand, wrap
from tinygrad_lesson.eager.tracer import Level, Tracer, results_shown
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import GraphError
from tinygrad_lesson.engine.graph import Edge, Label, Node, ancestors, constant
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.op import Op, exactly
from tinygrad_lesson.locks import lock
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import runner as find_runner

MOST = 256  # bodies that are remembered
SMALL = 1 << 16  # bytes of an array that tells bodies apart by its elements


class Stepped(Tracer):
    """A tensor inside of a body; `below` has elements such as it may hold."""

    __slots__ = ("edge",)
    edge: Edge

    def __init__(self, level: Stepping, below: Tensor, edge: Edge) -> None:
        self.level, self.below, self.edge = level, below, edge

    @property
    def array(self) -> Any:  # type: ignore[override]
        """They are others each time."""
        self.check()
        raise GraphError(
            f"{self.level.name}: the function looks at a value, which is another in each step; choose with tl.where "
            f"or tl.cond"
        )

    def seen(self, what: str) -> Any:
        """There is no single value."""
        return self.array

    def example(self) -> Any:
        """Elements such as this holds."""
        return self.below.array


class Stepping(Level):
    """The world of a body: what is done is noted as a graph."""

    tape = Reverse

    def __init__(self, name: str = "scan") -> None:
        self.name = name  # type: ignore[misc]
        self.leaves: list[Node] = []
        self.examples: list[np.ndarray] = []
        self.outside: dict[Any, tuple[Edge, Tensor]] = {}

    def variable(self, x: Any) -> Stepped:
        """An input that may hold such elements.

        Errors
            GraphError for element types that no plan holds.
        """
        if np.result_type(x).kind not in "biuf":
            raise GraphError(f"{self.name}: a plan holds no {np.result_type(x)}")
        node = Node(None, label=Label(f"input {len(self.leaves)}"))
        self.leaves.append(node)
        self.examples.append(np.array(x))
        return Stepped(self, wrap(x if type(x) in NUMBERS else np.asarray(x)), Edge(node))

    def apply(self, op: Op, tensors: Sequence[Tensor], every: bool) -> Any:
        """Results of an op, noted.

        Errors
            GraphError for an op that draws or changes a state, which is other in each step.
        """
        if op.random or op.states:
            raise GraphError(f"{self.name}: {op.label()} draws random numbers or changes a state")
        if isinstance(op, Compiled):
            return results_shown(op, op.program.again((), tensors), every)
        arrays = [t.example() for t in tensors]
        try:
            y = ARRAYS.apply(op, arrays)
        except AttributeError:  # a number has no shape
            y = ARRAYS.apply(op, [np.asarray(x) for x in arrays])
        except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
            raise explained(op, tensors, error) from error
        node = Node(op, tuple([self.edge(t) for t in tensors]))
        ys = [wrap(v if type(v) in NUMBERS else np.asarray(v)) for v in (y if op.results > 1 else (y,))]
        return results_shown(op, [Stepped(self, v, Edge(node, i)) for i, v in enumerate(ys)], every)

    def edge(self, t: Any) -> Edge:
        """The edge for a tensor; for one from outside, that of a further input."""
        if t.level is self:
            return t.edge  # type: ignore[no-any-return]
        plain = t.__class__ is Tensor and t.node is None
        if plain and type(t.array) in REALS:
            return constant(t.array)
        key = id(t.array) if plain else id(t) if t.level is not None else (id(t.node), t.index)
        if key not in self.outside:
            self.outside[key] = self.variable(t.example()).edge, t
        return self.outside[key][0]

    def head(self, t: Any) -> tuple[Edge, Any]:
        """The edge for a result, and elements such as it has."""
        t = of_array(operand(t))
        return self.edge(t), np.asarray(t.example())


class Body:
    """A graph from leaves to heads: pure, and told by nothing but itself, so that equal ones are one.

    `constants` are leaves with what they always hold. `derived` has what transformations have made of it.
    """

    def __init__(
        self,
        leaves: Sequence[tuple[Node, np.ndarray]],
        heads: Sequence[tuple[Edge, Any]],
        constants: Sequence[tuple[Node, np.ndarray]],
    ) -> None:
        self.leaves, self.heads, self.constants = list(leaves), [edge for edge, _ in heads], list(constants)
        self.examples = [x for _, x in heads]
        self.specs = [(x.shape, x.dtype) for _, x in leaves]
        self.results = [(x.shape, x.dtype) for _, x in heads]
        self.order = [n for n in ancestors([edge.node for edge in self.heads]) if n.op is not None]
        self.derived: dict[Any, Any] = {}
        self.made: Any = None
        self.runners: dict[Any, Any] = {}
        self.lock = lock()  # the arrays of a runner serve one call at a time

    def __repr__(self) -> str:
        return f"<body {len(self.order)} ops #{id(self):x}>"

    def key(self) -> Any:
        """What tells it from others."""
        known = [*self.leaves, *self.constants]
        place = {node: i for i, (node, _) in enumerate(known)}
        nodes = []
        for node in self.order:
            nodes.append((exactly(node.op), *[(place[e.node], e.index) for e in node.inputs]))
            place[node] = len(place)
        held = [x.tobytes() if x.nbytes <= SMALL else id(x) for _, x in self.constants]
        specs = [(x.shape, x.dtype) for _, x in known]
        heads = [(place[e.node], e.index) for e in self.heads]
        return tuple(specs), len(self.leaves), tuple(held), tuple(nodes), tuple(heads)

    def again(self, tensors: Sequence[Any]) -> list[Any]:
        """What it gives for tensors."""
        F = Again(())
        F.values.update({leaf: (operand(x),) for (leaf, _), x in zip(self.leaves, tensors, strict=True)})
        F.values.update({leaf: (wrap(x),) for leaf, x in self.constants})
        interpret(F, self.order)
        return [F.read(edge) for edge in self.heads]

    def with_heads(self, heads: Sequence[tuple[Edge, Any]]) -> Body:
        """The same body that gives other results."""
        return known_body(Body(self.leaves, heads, self.constants))

    def plan(self) -> tuple[Any, dict[str, np.ndarray]]:
        """Its plan, and the arrays that this is bound to."""
        with GUARD:  # bodies may share leaves, which are named here
            if self.made is None:
                for side, pairs in (("input", self.leaves), ("constant", self.constants)):
                    for i, (leaf, _) in enumerate(pairs):
                        leaf.label = Label(f"{side} {i}")
                self.made = planned(self.leaves, dict(self.constants), self.heads, self.results, PASSES)
        return self.made  # type: ignore[no-any-return]

    def held(self) -> dict[str, np.ndarray]:
        """The arrays of its plan that always hold the same."""
        return {name: x for name, x in self.plan()[1].items() if name.startswith("constant")}

    def runner(self, name: Any) -> Any:
        """Its plan, bound, by a runner: compiled when it is first wanted."""
        name = find_runner(None) if name is None else name
        with self.lock:
            if name not in self.runners:
                plan, arrays = self.plan()
                arrays = {key: np.array(x) for key, x in arrays.items()}
                self.runners[name] = name(plan, arrays, random.default_generator(), movable=True)
        return self.runners[name]


PASSES = Passes()
BODIES: OrderedDict[Any, Body] = OrderedDict()
GUARD = lock()


def known_body(body: Body) -> Body:
    """The body that equals this one and was there before, with all that was made of it."""
    key = body.key()
    with GUARD:
        found = BODIES.setdefault(key, body)
        BODIES.move_to_end(key)
        while len(BODIES) > MOST:
            BODIES.popitem(last=False)
    return found


def derived_body(
    name: str, function: Callable[..., Sequence[Any]], examples: Sequence[np.ndarray]
) -> tuple[Body, list[int | None]]:
    """A body that does what a function of tensors does, and for each result of that its place among the body's.

    What the function takes from outside is always the same. A result may be None: it has no place.
    """
    level = Stepping(name)
    with np.errstate(all="ignore"), alone(), recording(True), tracing(False), level.entered():
        inputs = [level.variable(x) for x in examples]
        found = function(*inputs)
        heads = [None if t is None else level.head(t) for t in found]
    count = len(examples)
    leaves = list(zip(level.leaves, level.examples, strict=True))
    body = Body(leaves[:count], [head for head in heads if head is not None], leaves[count:])
    place = itertools.count()
    return known_body(body), [None if head is None else next(place) for head in heads]
