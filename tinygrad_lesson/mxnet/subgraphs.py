"""Loops and choices of symbols: MXNet's `_foreach`, `_while_loop` and `_cond`, whose bodies are graphs themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.chosen import Cond
from tinygrad_lesson.eager.loops import cond as choose
from tinygrad_lesson.eager.scanned import Scan
from tinygrad_lesson.eager.stepped import Body, derived_body
from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.errors import AttributeValueError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import Edge, toposort
from tinygrad_lesson.engine.infer import infer_dtypes, infer_shapes
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import merge, show
from tinygrad_lesson.engine.world import World

FLOAT = np.dtype("float32")  # of what nothing tells, as in MXNet
Locations = tuple[int, ...]


class Subgraph:
    """A graph that is carried out within a node; its `leaves`, inputs before users, are what it is given."""

    def __init__(self, heads: Sequence[Edge]) -> None:
        self.heads = tuple(heads)
        self.order = toposort(edge.node for edge in heads)
        self.leaves = [node for node in self.order if node.is_variable]

    def carried_out(self, F: Any, given: Sequence[Any], is_train: bool) -> list[Any]:
        """Its results in a world, as in training or in prediction."""
        within = World(lambda op, inputs: F.apply(op.at_mode(is_train), inputs))
        within.values.update({leaf: (x,) for leaf, x in zip(self.leaves, given, strict=True)})
        interpret(within, self.order)
        return [within.read(edge) for edge in self.heads]

    def shapes(self, given: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The shapes of what it is given and gives, as far as those that are known decide them."""
        known = {Edge(leaf): shape for leaf, shape in zip(self.leaves, given, strict=True)}
        found = infer_shapes(self.order, {edge: shape for edge, shape in known.items() if shape is not None})
        return [found[edge] for edge in known], [found[edge] for edge in self.heads]

    def dtypes(self, given: Sequence[Any]) -> list[Any]:
        """The element types of what it gives."""
        known = {Edge(leaf): kind for leaf, kind in zip(self.leaves, given, strict=True)}
        found = infer_dtypes(
            self.order, {edge: kind for edge, kind in known.items() if kind is not None}, FLOAT
        )
        return [found[edge] for edge in self.heads]


@declares
class Looped(Composite):
    """A node with graphs of its own: for each of these, `locations` has the inputs that it is given, by number."""

    family: ClassVar[str] = "loops"
    inputs: ClassVar[tuple[str, ...]] = ("data",)
    variadic: ClassVar[bool] = True
    mixes_dtypes: ClassVar[bool] = True
    method: ClassVar[bool] = False
    parts: ClassVar[int]  # how many graphs it has
    subgraphs: Any = attr((), shown=False, doc="the graphs")
    num_outputs: int = attr(minimum=1, doc="how many results it has")
    is_train: bool = attr(True, shown=False, doc="whether the graphs act as in training; set when bound")

    def __post_init__(self) -> None:
        super().__post_init__()
        vars(self)["bodies"] = {}
        graphs = self.subgraphs
        if len(graphs) != self.parts or not all(isinstance(graph, Subgraph) for graph in graphs):
            raise AttributeValueError(f"{len(graphs)} subgraphs, expected {self.parts}")
        for graph, places in zip(graphs, self.locations, strict=True):
            if len(places) != len(graph.leaves) or min(places, default=0) < 0:
                told = f"a subgraph reads {len(graph.leaves)} inputs, and their places are {places}"
                raise AttributeValueError(f"{told}; expected as many, from 0")
        found = [len(graph.heads) for graph in graphs]
        asked = self.parts > 1 and found[0] != 1  # of a condition, which comes first
        if asked or {self.given_back, *(found[1:] or found)} != {self.num_outputs}:
            raise AttributeValueError(f"subgraphs give {found} results, num_outputs is {self.num_outputs}")

    @property
    def given_back(self) -> int:
        """How many results its attributes speak of."""
        return self.num_outputs

    bodies: ClassVar[dict[Any, Any]]  # by shapes and element types of the inputs

    @property
    def locations(self) -> Sequence[Locations]:
        """For each graph the numbers of the inputs that its leaves stand for."""
        raise NotImplementedError

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each array."""
        return tuple(f"output{i}" for i in range(self.num_outputs)) if self.num_outputs > 1 else ("output",)

    def at_mode(self, is_train: bool) -> Any:
        """A copy whose graphs act so."""
        return self if is_train == self.is_train else type(self)(**{**self.settings(), "is_train": is_train})

    def settings(self) -> dict[str, Any]:
        """Its attributes by name."""
        return {key: value for key, value in vars(self).items() if key != "bodies"}

    def label(self) -> str:
        """What is told of it."""
        return f"{self.name}({', '.join(f'{len(graph.order)} nodes' for graph in self.subgraphs)})"

    __repr__ = label

    def taken(self, part: int, given: Sequence[Any]) -> list[Any]:
        """Of all inputs those of one graph.

        Errors
            ShapeError where there are too few.
        """
        if max(self.locations[part], default=0) >= len(given):
            raise ShapeError(f"{len(given)} inputs given, expected {max(self.locations[part]) + 1} at least")
        return [given[i] for i in self.locations[part]]

    def of(self, part: int, F: Any, given: Sequence[Any]) -> list[Any]:
        """The results of one graph, given all inputs."""
        graph: Subgraph = self.subgraphs[part]
        return graph.carried_out(F, self.taken(part, given), self.is_train)

    def learnt(self, part: int, shapes: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The shapes of all inputs, and of the results of one graph, as far as it decides them."""
        inputs, results = self.subgraphs[part].shapes(self.taken(part, shapes))
        shapes = list(shapes)
        for i, shape in zip(self.locations[part], inputs, strict=True):
            shapes[i] = merge(shapes[i], shape)
        return shapes, results

    def shape(self, *shapes: Any) -> Any:
        """As the graphs say."""
        found = self.complete(list(shapes), [None] * self.num_outputs)[1]
        return tuple(found) if len(found) > 1 else found[0]

    def dtype(self, *dtypes: Any) -> Any:
        """As the graph says."""
        found = tuple(self.subgraphs[-1].dtypes(self.taken(self.parts - 1, dtypes)))
        return found if len(found) > 1 else found[0]

    def body(self, function: Callable[..., Any], specs: Sequence[Any], *key: Any) -> Body:
        """What a function of tensors does, for arrays of these shapes and element types, as a body."""
        known = (*key, *specs)
        if known not in self.bodies:
            self.refuse_chance()
            examples = [np.zeros(shape, dtype) for shape, dtype in specs]
            self.bodies[known] = derived_body("scan", function, examples)[0]
        return self.bodies[known]  # type: ignore[no-any-return]

    def refuse_chance(self) -> None:
        """Refuse graphs whose plan would not do the same each time.

        Errors
            GraphError naming the node.
        """
        for node in (node for graph in self.subgraphs for node in graph.order if node.op is not None):
            op = node.op.at_mode(self.is_train)
            if op.random or op.states:
                told = "draws random numbers or changes a state, for which a loop of symbols has no place"
                raise GraphError(f"{node.name} ({op.name}) {told}; unroll it, as the cells of mx.rnn do")

    def specs(self, F: Any, given: Sequence[Any]) -> list[Any]:
        """Shapes and element types of values in a world."""
        return [(F.shape(x), F.dtype(x) or FLOAT) for x in given]

    def same(self, states: Sequence[Any], body: Body, names: str) -> None:
        """Refuse states that change their shape or type in a step."""
        for i, (before, after) in enumerate(zip(states, body.results, strict=False)):
            if before != after:
                told = [f"{kind} {show(shape)}" for shape, kind in (after, before)]
                raise ShapeError(f"{names} {i} is {told[0]} after a step, expected {told[1]} as before")


def several(found: Any) -> tuple[Any, ...]:
    """The results of an op, which gives a single one without a tuple."""
    return tuple(found) if isinstance(found, tuple | list) and not isinstance(found, Edge) else (found,)


def alone(found: Sequence[Any]) -> Any:
    """A single result without a tuple."""
    return tuple(found) if len(found) > 1 else found[0]


@declares
class Foreach(Looped):
    """A loop over the rows of some arrays, that hands on states; what each step gives is stacked.

    Inputs are the arrays, the first states, and what all steps see; results are what steps give, and the last states.
    """

    name: ClassVar[str] = "Foreach"
    function: ClassVar[str] = "foreach_"
    parts: ClassVar[int] = 1
    num_out_data: int = attr(minimum=0, doc="how many results of a step are stacked")
    in_data_locs: Locations = attr(doc="which leaves are rows")
    in_state_locs: Locations = attr(doc="which leaves are states")
    remain_locs: Locations = attr(doc="which leaves are the same in each step")

    @property
    def locations(self) -> Sequence[Locations]:
        """Its leaves in the order of the inputs, turned round."""
        order = (*self.in_data_locs, *self.in_state_locs, *self.remain_locs)
        if sorted(order) != list(range(len(order))):
            raise AttributeValueError(f"leaves {order}, expected each number from 0 once")
        return (tuple(map(order.index, range(len(order)))),)

    @property
    def given_back(self) -> int:
        """What is stacked, and the states."""
        return self.num_out_data + len(self.in_state_locs)

    def split(self, given: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Arrays of rows, states, and what is the same in each step."""
        rows, states = len(self.in_data_locs), len(self.in_state_locs)
        return list(given[:rows]), list(given[rows : rows + states]), list(given[rows + states :])

    def complete(self, shapes: Any, results: Any) -> Any:
        """Rows have one axis less than their array; states keep their shape."""
        count, stacked = len(self.in_data_locs), self.num_out_data
        sizes = [s[:1] for s in (*shapes[:count], *results[:stacked]) if s is not None]
        length: Any = None
        for size in sizes:
            length = merge(length, size)
        rows = [None if s is None else s[1:] for s in shapes[:count]]
        first, last = shapes[count:], results[stacked:]
        first = [merge(a, b) for a, b in itertools.zip_longest(first, last)]
        for _ in range(2):  # what a state learns in a step, it has been before
            found, made = self.learnt(0, [*rows, *first])
            first = [merge(a, b) for a, b in itertools.zip_longest(found[count:], made[stacked:])]
            rows = found[:count]

        def stack(shape: Any, known: Any) -> Any:
            return known if shape is None or length is None else merge(known, (*length, *shape))

        shapes = [*map(stack, rows, shapes[:count]), *first]
        states = first[: self.num_outputs - stacked]
        return shapes, [*map(stack, made[:stacked], results[:stacked]), *map(merge, last, states)]

    def compose(self, F: Any, *x: Any) -> Any:
        """The body as a loop over rows."""
        rows, states, seen = self.split(x)
        sizes = {F.shape(row)[0] for row in rows}
        if len(sizes) != 1:
            raise ShapeError(f"arrays of {' and '.join(map(str, sizes))} rows, expected as many in each")
        each = [(shape[1:], dtype) for shape, dtype in self.specs(F, rows)]
        given = [*self.specs(F, seen), *self.specs(F, states), *each]

        def step(*tensors: Any) -> list[Any]:
            own, old, row = split_at(tensors, len(seen), len(states))
            found = self.of(0, TENSORS, [*row, *old, *own])
            return [*found[self.num_out_data :], *found[: self.num_out_data]]

        body = self.body(step, given)
        self.same(self.specs(F, states), body, "state")
        op = Scan(body, sizes.pop(), len(states), len(rows))
        found = several(F.apply(op, [*seen, *states, *rows]))
        return alone([*found[len(states) :], *found[: len(states)]])


def split_at(given: Sequence[Any], *counts: int) -> list[Sequence[Any]]:
    """Parts of these sizes, and the rest."""
    ends = [0, *itertools.accumulate(counts), len(given)]
    return [given[a:b] for a, b in itertools.pairwise(ends)]


@declares
class WhileLoop(Looped):
    """A loop as long as a condition holds, but for `max_iterations` at most; what steps give is stacked, then zeros."""

    name: ClassVar[str] = "WhileLoop"
    function: ClassVar[str] = "while_loop_"
    parts: ClassVar[int] = 2
    num_out_data: int = attr(minimum=0, doc="how many results of a step are stacked")
    max_iterations: int = attr(minimum=1, doc="the most steps there are")
    cond_input_locs: Locations = attr(doc="which inputs the condition reads")
    func_input_locs: Locations = attr(doc="which inputs a step reads")
    func_var_locs: Locations = attr(doc="which of those are variables of the loop")

    @property
    def locations(self) -> Sequence[Locations]:
        """Of the condition, and of a step."""
        return self.cond_input_locs, self.func_input_locs

    @property
    def given_back(self) -> int:
        """What is stacked, and the variables."""
        return self.num_out_data + len(self.variables)

    @property
    def variables(self) -> list[int]:
        """The numbers of the inputs that a step changes."""
        if not all(0 <= k < len(self.func_input_locs) for k in self.func_var_locs):
            raise AttributeValueError(
                f"func_var_locs is {self.func_var_locs}, expected numbers below {len(self.func_input_locs)}"
            )
        return [self.func_input_locs[k] for k in self.func_var_locs]

    def complete(self, shapes: Any, results: Any) -> Any:
        """Variables keep their shape."""
        shapes = list(shapes)
        for i, last in zip(self.variables, results[self.num_out_data :], strict=True):
            shapes[i] = merge(shapes[i], last)
        for _ in range(2):
            shapes = self.learnt(0, shapes)[0]
            shapes, made = self.learnt(1, shapes)
            for i, last in zip(self.variables, made[self.num_out_data :], strict=True):
                shapes[i] = merge(shapes[i], last)
        stacked = [None if s is None else (self.max_iterations, *s) for s in made[: self.num_out_data]]
        found = [*stacked, *[shapes[i] for i in self.variables]]
        return shapes, [merge(old, new) for old, new in zip(results, found, strict=True)]

    def compose(self, F: Any, *x: Any) -> Any:
        """The body as a loop that does nothing once the condition fails."""
        changed = self.variables
        others = [i for i in range(len(x)) if i not in changed]
        specs = self.specs(F, x)
        made = self.learnt(1, [shape for shape, _ in specs])[1][: self.num_out_data]
        kinds = several(self.dtype(*[kind for _, kind in specs]))
        going = ((), np.dtype(np.int64))
        given = [*[specs[i] for i in others], going, *[specs[i] for i in changed]]

        def step(*tensors: Any) -> list[Any]:
            own, on, old = split_at(tensors, len(others), 1)

            def every(variables: Sequence[Any]) -> list[Any]:
                named = dict(zip((*others, *changed), (*own, *variables), strict=True))
                return [named[i] for i in range(len(x))]

            def run(*variables: Any) -> list[Any]:
                return self.of(1, TENSORS, every(variables))

            def rest(*variables: Any) -> list[Any]:
                zeros = [
                    TENSORS.full(shape=s, value=0.0, dtype=str(k)) for s, k in zip(made, kinds, strict=False)
                ]
                return [*zeros, *variables]

            holds = TENSORS.not_equal(TENSORS.reshape(self.of(0, TENSORS, every(old))[0], shape=()), 0)
            on = TENSORS.cast(TENSORS.logical_and(on[0], holds), dtype="int64")
            found = choose(on, run, rest, *old)
            return [on, *found[self.num_out_data :], *found[: self.num_out_data]]

        body = self.body(step, given)
        self.same(given[len(others) :], body, "variable")
        op = Scan(body, self.max_iterations, 1 + len(changed), 0)
        start = F.full(shape=(), value=1.0, dtype="int64")
        found = several(F.apply(op, [*[x[i] for i in others], start, *[x[i] for i in changed]]))
        return alone([*found[1 + len(changed) :], *found[1 : 1 + len(changed)]])


@declares
class Choice(Looped):
    """What one graph gives where a condition, itself a graph, is not 0, else what the other gives."""

    name: ClassVar[str] = "Choice"
    function: ClassVar[str] = "choice_"
    parts: ClassVar[int] = 3
    cond_input_locs: Locations = attr(doc="which inputs the condition reads")
    then_input_locs: Locations = attr(doc="which inputs are read where it holds")
    else_input_locs: Locations = attr(doc="which inputs are read where it does not")

    @property
    def locations(self) -> Sequence[Locations]:
        """Of the condition, and of both ways."""
        return self.cond_input_locs, self.then_input_locs, self.else_input_locs

    def complete(self, shapes: Any, results: Any) -> Any:
        """Both ways give the same."""
        for part in range(self.parts):
            shapes, made = self.learnt(part, shapes)
            if part:
                results = [merge(old, new) for old, new in zip(results, made, strict=True)]
        return shapes, results

    def compose(self, F: Any, *x: Any) -> Any:
        """One of both bodies."""
        given = self.specs(F, x)
        true, false = (
            self.body(lambda *xs, part=part: self.of(part, TENSORS, xs), given, part) for part in (1, 2)
        )
        if true.results != false.results:
            told = [" and ".join(f"{k} {show(s)}" for s, k in body.results) for body in (true, false)]
            raise ShapeError(
                f"it gives {told[0]} where the condition holds, else {told[1]}; expected the same"
            )
        condition = F.reshape(F.not_equal(self.of(0, F, x)[0], 0), shape=())
        return alone(several(F.apply(Cond(true, false), [condition, *x])))
