"""What a function of tensors does, as a plan and as one op: traced, bound, differentiated, batched."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import FEW, MODULES, Context, own_copy, real, zeros_at
from tinygrad_lesson.eager.apply import Tensors
from tinygrad_lesson.eager.captured import Captured
from tinygrad_lesson.eager.copied import Copied
from tinygrad_lesson.eager.differential import PASSED, vjp
from tinygrad_lesson.eager.given import devices
from tinygrad_lesson.eager.nested import put_together, tensors_in
from tinygrad_lesson.eager.parted import PartedRunner
from tinygrad_lesson.eager.recording import alone, replaying, tracing, uncollected, unhidden
from tinygrad_lesson.eager.states import State, States
from tinygrad_lesson.eager.tensor import Tensor, results_of, wrap
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import GraphError
from tinygrad_lesson.engine.graph import Edge, Label, Node, ancestors, constant
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.locks import lock
from tinygrad_lesson.ops.fills import filled
from tinygrad_lesson.ops.random import Drawn
from tinygrad_lesson.plan import Builder, Compiler, Passes, Plan, Task
from tinygrad_lesson.plan.passes import narrowed
from tinygrad_lesson.run import runner as find_runner

REALS = (bool, int, float)


class Traced(Copied):
    """What a function recorded. What it takes from outside becomes a variable: `outside` has its array."""

    def __init__(
        self, leaves: Sequence[Node], captured: Captured, states: States, numbers: Sequence[Node]
    ) -> None:
        super().__init__()
        self.numbers = {Edge(leaf) for leaf in numbers}
        self.values.update({leaf: (Edge(leaf),) for leaf in leaves})
        self.captured, self.states = captured, states
        self.outside: dict[Node, Any] = {}
        self.known: dict[Any, Edge] = {}

    def read(self, t: Any) -> Any:
        """The edge for a tensor; for a number that no argument has a part in, a constant."""
        edge = self.values[t.node][t.index] if t.node in self.values else None
        if type(t.array) in REALS and edge not in self.numbers:
            return constant(t.array)
        return edge or self.leaf(t)

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Edge, ...]:
        """The same op on edges. A number that is no constant takes the element type of what it meets.

        Errors
            GraphError where only a number's value would do.
        """
        if self.numbers.isdisjoint(inputs):
            return super().evaluate(node, inputs)
        met = [t.dtype for t in node.inputs if type(t.array) not in REALS]
        dtype = np.result_type(*met, 0.0)
        if met and dtype != np.float64:
            if not isinstance(node.op, Elementwise):
                raise GraphError(f"jit: {node.op.label()} of a number that is an argument")  # type: ignore[union-attr]
            inputs = [Edge.F.cast(x, dtype=str(dtype)) if x in self.numbers else x for x in inputs]
        edges = super().evaluate(node, inputs)
        self.numbers.update(edge for edge, y in zip(edges, results_of(node), strict=True) if type(y) in REALS)
        return edges

    def leaf(self, t: Tensor) -> Edge:
        """What the function took from outside, as it is now.

        Errors
            GraphError for a recorded tensor, whose gradient would get lost.
        """
        if t.node is not None and t.node.label is not PASSED:  # else its derivative was taken inside
            raise GraphError("jit: the function uses a recorded tensor from outside; pass it as an argument")
        if id(t) in self.states.known:  # read before it was known to be a state
            return Edge(self.states.known[id(t)].first.node)
        small = np.size(t.array) <= FEW and t.array.__class__ not in MODULES  # of which each use has a copy
        key = (t.shape, t.dtype, np.asarray(t.array).tobytes()) if small else id(t.array)
        if key not in self.known:
            node = Node(None, label=Label(f"constant {len(self.known)}"))
            self.outside[node] = own_copy(real(self.captured.copy_of(t.array), "jit: a constant"))
            self.known[key] = Edge(node)
        return self.known[key]


class Again(Tensors):
    """Tensors, for which random ops give what is known of their draws."""

    def __init__(self, draws: Sequence[Tensor]) -> None:
        super().__init__()
        self.draws = list(draws)

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """All results of a node, those too that its op does not show."""
        op: Any = node.op
        if isinstance(op, Constant):
            return (wrap(op.value),)
        if op.random:
            inputs = (*self.draws[: op.results], *inputs)
            del self.draws[: op.results]
            op = Drawn(op=op)
        y = self.apply(op, inputs, every=True)  # type: ignore[call-arg]
        return y if isinstance(y, tuple) else (y,)


class Program:
    """A traced function: its plan, bound to arrays of its own.

    After the results that are `shown` come those of its random ops, so that the gradient is that of the same draw.
    """

    @uncollected()
    def __init__(
        self,
        f: Callable[..., Any],
        inputs: Sequence[Tensor],
        settings: Any,  # which have a runner and passes
        captured: Captured,
        floats: Sequence[int] = (),
    ) -> None:
        self.settings, self.captured, self.floats = settings, captured, floats
        self.lock = lock()  # the arrays serve one call at a time
        self.examples = [own_copy(real(t.example(), "jit: an argument")) for t in inputs]
        self.place = self.device()
        self.leaves = [Node(None, label=Label(f"input {i}"), values=no_grad_here) for i in range(len(inputs))]
        states = States()
        outputs = self.traced(f, states)
        self.drawn = [own_copy(t.array) for t in outputs[self.shown : len(outputs) - self.moving]]
        self.shapes = [(t.shape, t.dtype) for t in outputs]
        F = Traced(self.leaves, captured, states, [self.leaves[i] for i in floats])
        self.heads, self.outside = F.graph(outputs), F.outside
        used = ancestors([edge.node for edge in self.heads])
        if not {self.leaves[i] for i in floats}.issubset(used):
            raise GraphError("jit: a number that is an argument plays no part, or was frozen")
        self.order = [n for n in used if n.op is not None]
        self.results = [f"output {i}" for i in range(len(self.heads))]
        given = list(zip(self.leaves, self.examples, strict=True))
        plans = functools.partial(planned, passes=settings.passes)
        told = given, self.outside, self.heads, self.shapes
        if self.place.on_host or not any(map(is_plain_number, self.examples)):
            self.plan, self.arrays = plans(*told, place=self.place)
            generator = random.default_generator()
            made = find_runner(settings.runner, self.place)
            self.runner = made(self.plan, self.arrays, generator, movable=True)
        else:
            find_runner(settings.runner, self.place)  # which refuses one of the processor
            self.runner = PartedRunner(*told, F.arrays, plans, self.place)
        self.pull: Program | None = None
        self.derived: dict[Any, Program] = {}  # what other transformations have made of it

    def traced(self, f: Callable[..., Any], states: States) -> list[Tensor]:
        """What the function gives, what its random ops draw, and the new values of its states.

        `states` are inputs behind the arguments: tensors from outside, and numbers of arguments; those that move last.

        Errors
            GraphError if it writes into an array from outside.
        """
        values = [x.item() if i in self.floats else x for i, x in enumerate(self.examples)]
        arguments = [wrap(x, leaf) for x, leaf in zip(values, self.leaves, strict=True)]
        with tracing(), alone(), states:
            result = unhidden(f, arguments, {})
        if self.captured.written():
            raise GraphError(
                "jit: the function writes into an array from outside, which would happen but once"
            )
        self.captured.forget_changes()
        self.captured.forget([state.tensor for state in states.known.values()])
        shown = [states.current(t) for t in tensors_in(result)]
        self.form, self.shown = put_together(result, itertools.repeat(wrap(0.0))), len(shown)
        used = sorted(states.used(), key=State.has_moved)
        new = [state.now for state in used if state.has_moved()]
        number = {id(t): i for i, t in enumerate(arguments)}
        self.states, self.moving = [number.get(id(s.tensor), s.tensor) for s in used], len(new)
        for i, state in enumerate(used, len(self.leaves)):
            state.first.node.label = Label(f"input {i}")
        self.leaves += [state.first.node for state in used]
        self.examples += [own_copy(real(state.tensor.array, "jit: a state")) for state in used]
        recorded = ancestors([t.node for t in (*shown, *new) if t.node is not None])
        reached = passed(self.leaves, recorded)
        self.cut = [i for i, t in enumerate(shown) if t.node not in reached or t.dtype.kind != "f"]
        draws = [node for node in recorded if node.op is not None and node.op.random]
        return [*shown, *[t for node in draws for t in all_results(node)], *new]

    def device(self) -> Context:
        """Where the arguments lie.

        Errors
            DeviceError if they lie on different devices.
        """
        if not MODULES:
            return Context()
        names = [f"argument {i}" for i in range(len(self.examples))]
        arrays = [x[()] if is_plain_number(x) else x for x in self.examples]
        return devices().common("jit", names, arrays)  # type: ignore[no-any-return]

    def again(self, draws: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
        """The results for other inputs, and given what the random ops draw."""
        F = Again(draws)
        F.values.update({leaf: (x,) for leaf, x in zip(self.leaves, inputs, strict=True)})
        F.values.update({node: (wrap(x),) for node, x in self.outside.items()})
        with replaying():
            interpret(F, self.order)
        return [F.read(edge) for edge in self.heads[: self.shown]]

    def draws(self, results: Sequence[Any]) -> Sequence[Any]:
        """Those of all results that were drawn."""
        return results[self.shown : self.shown + len(self.drawn)]

    def run(self, values: Sequence[Any]) -> list[np.ndarray]:
        """All results for arrays of the traced shapes."""
        with self.lock:
            return self.runner.call({f"input {i}": value for i, value in enumerate(values)}, self.results)  # type: ignore[no-any-return]

    def packed(self, results: Sequence[Any]) -> Any:
        """Results in the form in which the function gave them."""
        return results[0] if self.form.__class__ is Tensor else put_together(self.form, iter(results))

    def pullback(self) -> Program | None:
        """The program of ``(cotangents, draws, inputs) -> gradients``, of those inputs that are floats; None without.

        It is made when first needed, from what was traced: whatever the function would do by now.
        """
        heads = [i for i, (_, dtype) in enumerate(self.shapes[: self.shown]) if dtype.kind == "f"]
        floats = [i for i, x in enumerate(self.examples) if x.dtype.kind == "f"]
        if self.pull is None and heads and floats:
            begin = self.shown + len(self.drawn)

            def pull(*tensors: Tensor) -> Any:
                draws, inputs = tensors[self.shown : begin], tensors[begin:]

                def result(i: int, *xs: Tensor) -> Tensor:
                    mixed = list(inputs)
                    for place, x in zip(floats, xs, strict=True):
                        mixed[place] = x
                    return self.again(draws, mixed)[i]

                gradients = []
                for i in heads:
                    _, back = vjp(functools.partial(result, i), *[inputs[place] for place in floats])
                    gradients.append(back(tensors[i]))
                return tuple(sum(parts[1:], parts[0]) for parts in zip(*gradients, strict=True))

            seeds = [zeros_at(self.place, *spec) for spec in self.shapes[: self.shown]]
            tensors = [wrap(x) for x in (*seeds, *self.drawn, *self.examples)]
            self.pull = Program(pull, tensors, self.settings, Captured([]))
        return self.pull


def planned(
    inputs: Sequence[tuple[Node, Any]],
    outside: Mapping[Node, Any],
    heads: Sequence[Edge],
    shapes: Sequence[tuple[Any, Any]],
    passes: Passes = Passes(),
    place: Context = Context(),
) -> tuple[Plan, dict[str, np.ndarray]]:
    """The plan that computes `heads`, and the arrays that it is bound to.

    `inputs` are leaves with arrays like theirs, `outside` leaves with what they always hold; `shapes` are shape and
    type of each head. The arrays are called input 0, input 1, ... and output 0, output 1, ...
    """
    arrays = {leaf.name: own_copy(x) for leaf, x in inputs}
    builder = Builder(passes)
    for leaf, x in inputs:
        builder.leaf(leaf, x.shape, x.dtype)
    for node, x in outside.items():
        if x.size == 1 and x.dtype.kind == "f" and isinstance(x, np.ndarray):
            builder.values[node] = (builder.full(shape=x.shape, value=x.item(), dtype=str(x.dtype)),)
        else:
            builder.leaf(node, x.shape, x.dtype)
            arrays[node.name] = devices().moved(x, place) if MODULES else x
    heads = narrowed(heads)
    interpret(builder, ancestors([edge.node for edge in heads]))
    edges = [builder.read(edge) for edge in heads]
    for i, (shape, dtype) in enumerate(shapes):
        if (number := builder.number(edges[i])) is not None:
            edges[i] = builder.full(shape=shape, value=number, dtype=str(dtype))
    targets = {f"output {i}": known for i, known in enumerate(shapes)}
    updates = [(name, edge, False) for name, edge in zip(targets, edges, strict=True)]
    plan = Compiler(builder, passes).compile(Task([], updates, targets))
    plan = dataclasses.replace(plan, forward=plan.backward, backward=())  # nothing here is a way back
    builder.forget()
    return plan, arrays | {name: zeros_at(place, *spec) for name, spec in targets.items()}


def is_plain_number(x: Any) -> bool:
    """Whether it is an array of the processor without axes, which goes along to any device."""
    return x.__class__ is np.ndarray and not x.ndim


def passed(leaves: Sequence[Node], nodes: Sequence[Any]) -> set[Node]:
    """What a gradient passes on its way to the leaves, of nodes in the order in which they were recorded."""
    found = set(leaves)
    for node in nodes:
        if (
            node.op is not None
            and node.op.differentiable
            and not found.isdisjoint(t.node for t in node.inputs)
        ):
            found.add(node)
    return found


def no_grad_here() -> None:
    """What `backward` is told, which looks for the tensor of a leaf."""
    raise GraphError(
        "jit: backward() adds to x.grad, which a traced function cannot; take tl.grad or tl.value_and_grad of a "
        "function inside, or call backward() on what the traced function gives"
    )


def all_results(node: Any) -> list[Tensor]:
    """All results of a recorded node, those too that its op does not show."""
    return [wrap(value, node, i) for i, value in enumerate(results_of(node))]


@declares
class Compiled(Op):
    """A traced function as one op; its gradient is a traced function too."""

    traceable: ClassVar[bool] = False
    program: Any = attr(doc="the plan")

    name = "Compiled"
    function = "compiled"
    family = "jit"
    inputs = ("args",)
    variadic = True

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether something is drawn inside."""
        return bool(self.program.drawn)

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each result."""
        return tuple(f"output{i}" for i in range(len(self.program.shapes) - self.program.moving))

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]
        """One name for each state that moves."""
        return tuple(f"state{i}" for i in range(self.program.moving))

    @property
    def visible(self) -> int:
        """How many results the function gave."""
        return self.program.shown  # type: ignore[no-any-return]

    def shape(self, *args: Any) -> Any:
        """As traced."""
        shapes = tuple(shape for shape, _ in self.program.shapes)
        return shapes if len(shapes) > 1 else shapes[0]

    def dtype(self, *args: Any) -> Any:
        """As traced."""
        dtypes = tuple(dtype for _, dtype in self.program.shapes)
        return dtypes if len(dtypes) > 1 else dtypes[0]

    def forward(self, xp: Any, *args: Any, generator: Any = None) -> Any:
        """Run the plan."""
        results = self.program.run(args)
        return tuple(results) if len(results) > 1 else results[0]

    def vjp(self, F: Any, g: Any, y: Any, *args: Any) -> Any:
        """The plan of the gradients, for all inputs at once."""
        program = self.program
        pull = program.pullback()
        if pull is None:
            return (None,) * len(args)
        ys, gs = (y, g) if len(program.shapes) > 1 else ((y,), (g,))
        shown = range(program.shown)
        seeds = [filled(F, ys[i]) if gs[i] is None else gs[i] for i in shown]
        pulled = F.apply(Compiled(program=pull), (*seeds, *program.draws(ys), *args))
        gradients = iter(pulled if isinstance(pulled, tuple) else (pulled,))
        return tuple(next(gradients) if x.dtype.kind == "f" else None for x in program.examples)
