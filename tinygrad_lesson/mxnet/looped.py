"""MXNet's functions for loops and choices of symbols, and what else `sym.contrib` has in Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.engine.errors import DTypeError, GraphError
from tinygrad_lesson.engine.graph import Edge, Label, Node, outputs_of
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.mxnet.functions import Sampling, variable
from tinygrad_lesson.mxnet.naming import NameManager, output_name
from tinygrad_lesson.mxnet.register import OPERATORS
from tinygrad_lesson.mxnet.symbol import Symbol


class Cut:
    """What a body has made, as a graph of its own: all that was there before it was called has become a variable."""

    def __init__(self, what: str, given: Sequence[Symbol]) -> None:
        self.what = what
        self.names = [output_name(symbol.heads[0]) for symbol in given]
        self.own = [variable(f"{symbol.name}-{symbol.heads[0].index}") for symbol in given]
        self.since = Node(None).number
        self.outside: dict[Node, Edge] = {}

    def renewed(self, node: Node, inputs: tuple[Edge, ...]) -> Sequence[Edge] | None:
        """Variables instead of the results of a node that is older than the body."""
        if node.op is None or node.number < self.since:
            return None
        fresh = [Edge(Node(None, label=Label(output_name(edge)))) for edge in outputs_of(node)]
        self.outside.update({new.node: edge for new, edge in zip(fresh, outputs_of(node), strict=True)})
        return fresh

    def graph(self, results: Sequence[Symbol], every: bool = True) -> tuple[Any, list[int | Edge]]:
        """The graph of `results`; for each of its leaves the number of what was given, or an edge outside.

        Errors
            GraphError where the body leaves out what it is given, and `every` is wanted.
        """
        subgraphs = importlib.import_module("tinygrad_lesson.mxnet.subgraphs")
        made = subgraphs.Subgraph(substitute([symbol.heads[0] for symbol in results], self.renewed))
        places = {symbol.heads[0].node: i for i, symbol in enumerate(self.own)}
        for node, i in places.items():
            if every and node not in made.leaves:
                told = (
                    "leave it out of the loop" if self.what != "while_loop" else "leave it out of loop_vars"
                )
                raise GraphError(f"{self.what}: the body does not use {self.names[i]!r}; {told}")
        found = [places.get(leaf, self.outside.get(leaf, Edge(leaf))) for leaf in made.leaves]
        return made, found


def node_of(kind: str, inputs: Sequence[Edge], **attributes: Any) -> tuple[Symbol, ...]:
    """The results of a new node that holds graphs."""
    op = OPERATORS[kind].make(attributes)
    texts = {
        key: str(list(x) if isinstance(x, tuple) else x)
        for key, x in attributes.items()
        if key != "subgraphs"
    }
    texts["num_args"] = str(len(inputs) + len(attributes["subgraphs"]))
    node = Node(op, tuple(inputs), Label(NameManager.current().get(None, kind), kind, texts))
    return tuple([Symbol([edge]) for edge in outputs_of(node)])


def flattened(x: Any, what: str) -> list[Symbol]:
    """The symbols in nested lists, in order.

    Errors
        DTypeError for anything that is no symbol with one output.
    """
    if isinstance(x, Symbol) and len(x.heads) == 1:
        return [x]
    if not isinstance(x, list | tuple):
        raise DTypeError(f"{what} is {x!r:.80}, expected a Symbol with one output, or lists of these")
    return [part for y in x for part in flattened(y, what)]


def nested(like: Any, parts: Any) -> Any:
    """Symbols, taken one after the other, in lists as they are in `like`."""
    return next(parts) if isinstance(like, Symbol) else [nested(x, parts) for x in like]


def pair_of(found: Any, what: str) -> tuple[Any, Any]:
    """What a body gives.

    Errors
        DTypeError for anything but a pair.
    """
    if not isinstance(found, list | tuple) or len(found) != 2:
        raise DTypeError(f"{what}: the body gave {found!r:.80}, expected a pair (outputs, states)")
    return found[0], found[1]


class Contrib(Sampling):
    """The operators of `sym.contrib`, and what MXNet has there in Python."""

    def foreach(
        self, body: Callable[..., Any], data: Any, init_states: Any, name: str = "foreach"
    ) -> tuple[Any, Any]:
        """``output, states = body(row, states)`` for each row of the data; the outputs are stacked.

        `body` is called once, with symbols. What it finds outside is an input of the loop. Dropout, random numbers and
        moving means have no place in it. Data, states and outputs are symbols, or lists of these.

        Errors
            GraphError for a body that leaves out a row or a state; DTypeError for one that gives no pair.

        Example
            >>> from tinygrad_lesson import sym
            >>> sums, last = contrib.foreach(lambda x, s: (x + s, x + s), sym.Variable("data"), sym.Variable("state"))
            >>> sums.infer_shape(data=(5, 2))[1]
            [(5, 2)]
        """
        rows, states = flattened(data, "foreach: data"), flattened(init_states, "foreach: init_states")
        cut = Cut("foreach", [*rows, *states])
        row, state = cut.own[: len(rows)], cut.own[len(rows) :]
        outputs, last = pair_of(body(nested(data, iter(row)), nested(init_states, iter(state))), "foreach")
        made, new = flattened(outputs, "foreach: an output"), flattened(last, "foreach: a state")
        if len(new) != len(states):
            raise GraphError(f"foreach: the body gives {len(new)} states, expected {len(states)} as before")
        graph, places = cut.graph([*made, *new])
        remain = [place for place in places if isinstance(place, Edge)]
        found = node_of(
            "_foreach", [*[symbol.heads[0] for symbol in (*rows, *states)], *remain],
            subgraphs=(graph,), num_outputs=len(made) + len(new), num_out_data=len(made),
            in_data_locs=tuple([places.index(i) for i in range(len(rows))]),
            in_state_locs=tuple([places.index(len(rows) + i) for i in range(len(states))]),
            remain_locs=tuple([k for k, place in enumerate(places) if isinstance(place, Edge)]),
        )  # fmt: skip
        return nested(outputs, iter(found[: len(made)])), nested(last, iter(found[len(made) :]))

    def while_loop(
        self,
        cond: Callable[..., Any],
        func: Callable[..., Any],
        loop_vars: Any,
        max_iterations: int | None = None,
        name: str = "while_loop",
    ) -> tuple[Any, Any]:
        """``output, loop_vars = func(*loop_vars)`` as long as `cond` says; outputs are stacked, then zeros.

        Both functions are called once, with symbols: see `foreach`.

        Errors
            DTypeError without `max_iterations`, which is how many rows the outputs have.

        Example
            >>> from tinygrad_lesson import sym
            >>> rows, (i,) = contrib.while_loop(lambda i: i < 3, lambda i: (i, [i + 1]), [sym.Variable("i")], 10)
            >>> rows.infer_shape(i=(1,))[1]
            [(10, 1)]
        """
        if max_iterations is None:
            raise DTypeError("while_loop: max_iterations is missing")
        variables = flattened(loop_vars, "while_loop: loop_vars")
        asked, cut = Cut("while_loop", variables), Cut("while_loop", variables)
        holds, read = asked.graph(flattened(cond(*asked.own), "while_loop: the condition"), every=False)
        outputs, last = pair_of(func(*cut.own), "while_loop")
        outputs = [] if outputs is None else outputs
        made, new = flattened(outputs, "while_loop: an output"), flattened(last, "while_loop: a variable")
        if len(new) != len(variables):
            raise GraphError(f"while_loop: func gives {len(new)} variables, expected {len(variables)}")
        graph, places = cut.graph([*made, *new])
        inputs = [symbol.heads[0] for symbol in variables]
        numbered = [numbered_in(inputs, part, len(variables)) for part in (read, places)]
        found = node_of(
            "_while_loop", inputs, subgraphs=(holds, graph), num_outputs=len(made) + len(new),
            num_out_data=len(made), max_iterations=max_iterations, cond_input_locs=numbered[0],
            func_input_locs=numbered[1], func_var_locs=tuple([places.index(i) for i in range(len(variables))]),
        )  # fmt: skip
        return nested(outputs, iter(found[: len(made)])), list(found[len(made) :])

    def cond(
        self, pred: Symbol, then_func: Callable[[], Any], else_func: Callable[[], Any], name: str = "cond"
    ) -> Any:
        """What one function gives where `pred` is not 0, else what the other gives: see `foreach`.

        Example
            >>> from tinygrad_lesson import sym
            >>> x = sym.Variable("x")
            >>> contrib.cond(x < 3, lambda: x * 2, lambda: x / 2).infer_shape(x=(1,))[1]
            [(1,)]
        """
        graphs, inputs, numbered = [], list[Edge](), []
        condition = flattened(pred, "cond: pred")
        asked = Cut("cond", condition)
        parts: list[Any] = [(asked, asked.own)]
        for function in (then_func, else_func):
            cut = Cut("cond", [])
            found = function()
            parts.append((cut, flattened(found, "cond: a result")))
        if len(parts[1][1]) != len(parts[2][1]):
            raise GraphError(f"cond: {len(parts[1][1])} results or {len(parts[2][1])}, expected as many")
        inputs += [condition[0].heads[0]]
        for cut, results in parts:
            graph, places = cut.graph(results)
            graphs.append(graph)
            numbered.append(numbered_in(inputs, places, 1))
        made = node_of(
            "_cond", inputs, subgraphs=tuple(graphs), num_outputs=len(parts[1][1]),
            cond_input_locs=numbered[0], then_input_locs=numbered[1], else_input_locs=numbered[2],
        )  # fmt: skip
        return nested(found, iter(made))

    def isnan(self, data: Symbol) -> Symbol:
        """1 where an element is NaN."""
        found: Symbol = data != data
        return found

    def isinf(self, data: Symbol) -> Symbol:
        """1 where an element is infinite."""
        found: Symbol = data.abs() == float("inf")
        return found

    def isfinite(self, data: Symbol) -> Symbol:
        """1 where an element is a number."""
        found: Symbol = data.abs() < float("inf")
        return found

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in vars(Contrib) if not name.startswith("_"))})


def numbered_in(inputs: list[Edge], places: Sequence[Any], given: int) -> tuple[int, ...]:
    """The number of each leaf among the inputs of a node, to which edges outside are added."""
    for place in places:
        if isinstance(place, Edge) and place not in inputs[given:]:
            inputs.append(place)
    return tuple([inputs.index(place, given) if isinstance(place, Edge) else place for place in places])


contrib = Contrib("_contrib_")
