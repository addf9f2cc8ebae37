"""A function of tensors as a plan: traced once per shape and type, then run without its Python."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.differential import vjp
from tinygrad_lesson.errors import DTypeError, GraphError
from tinygrad_lesson.graph import UNNAMED, Edge, Label, Node, ancestors
from tinygrad_lesson.op import NUMBERS, REPLACED, Op, attr
from tinygrad_lesson.plan import Builder, Compiler, Passes, Task
from tinygrad_lesson.run import runner as find_runner
from tinygrad_lesson.tensor import RECORDING, Tensor, apply, operand, tracing, wrap

TRACES = 64  # how many combinations of shapes and types a function remembers


def jit(f: Callable[..., Any], *, runner: str | None = None, passes: Passes = Passes()) -> "Jitted":
    """`f` as a plan. It is traced anew for other shapes or types, and for other arguments that are no arrays.

    The result may be a tensor, or a tuple, list or dict of tensors. Gradients may be taken inside and
    outside of it.

    Errors
        GraphError where `f` looks at a value, as `if x.sum() > 0` does, or changes a state.

    Example
        >>> square = jit(lambda x: (x * x).sum())
        >>> float(square(Tensor([1.0, 2.0])))
        5.0
    """
    return Jitted(f, runner, passes)


class Jitted:
    """A function with the plans that were made of it."""

    def __init__(self, f: Callable[..., Any], runner: str | None, passes: Passes) -> None:
        self.f, self.runner, self.passes = f, runner, passes
        self.__name__, self.__doc__ = getattr(f, "__name__", "jitted"), f.__doc__
        self.programs: OrderedDict[Any, Program] = OrderedDict()
        self.replaced = len(REPLACED)

    def __call__(self, *arguments: Any) -> Any:  # noqa: D102
        arrays = [x for x in arguments if isinstance(x, Tensor | np.ndarray)]
        inputs = [operand(x) for x in arrays]
        program = self.program(arguments, inputs)
        if RECORDING.tracing or (RECORDING.on and any(t.node is not None for t in inputs)):
            results = apply(Compiled(program=program), inputs)
            return program.packed(results if isinstance(results, tuple) else (results,))
        return program.packed([wrap(y) for y in program.run([t.array for t in inputs])])

    def program(self, arguments: Sequence[Any], inputs: Sequence[Tensor]) -> "Program":
        """The plan for inputs of these shapes and types, made when first needed."""
        if self.replaced != len(REPLACED):  # an op was declared again, perhaps one that was traced
            self.programs.clear()
            self.replaced = len(REPLACED)
        key = tuple(
            (x.shape, x.dtype) if isinstance(x, Tensor | np.ndarray) else (type(x), x) for x in arguments
        )
        try:
            known = self.programs.get(key)
        except TypeError:
            raise DTypeError(
                f"jit: {self.__name__} takes arrays, and values that can be hashed; not {arguments!r}"
            ) from None
        if known is None:
            fixed = [None if isinstance(x, Tensor | np.ndarray) else x for x in arguments]
            places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor | np.ndarray)]

            def function(*tensors: Tensor) -> Any:
                filled = list(fixed)
                for i, tensor in zip(places, tensors, strict=True):
                    filled[i] = tensor
                return self.f(*filled)

            known = self.programs[key] = Program(function, inputs, self)
            while len(self.programs) > TRACES:
                self.programs.popitem(last=False)
        self.programs.move_to_end(key)
        return known


class Program:
    """A traced function: its plan, bound to arrays of its own."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Tensor], settings: Jitted) -> None:
        self.f, self.settings = f, settings
        self.examples = [np.array(t.array) for t in inputs]
        leaves = [Node(None, label=Label(f"input {i}")) for i in range(len(inputs))]
        with tracing():
            result = f(*[wrap(array, leaf) for array, leaf in zip(self.examples, leaves, strict=True)])
        self.pack, outputs = flatten(result)
        self.pull: Program | None = None
        builder = Builder(settings.passes)
        self.arrays = {f"input {i}": np.array(array) for i, array in enumerate(self.examples)}
        edges = self.emit(builder, leaves, outputs)
        self.shapes = [(t.shape, t.dtype) for t in outputs]
        self.results = [f"output {i}" for i in range(len(edges))]
        targets = dict(zip(self.results, self.shapes, strict=True))
        updates = [(name, edge, False) for name, edge in zip(self.results, edges, strict=True)]
        self.plan = Compiler(builder, settings.passes).compile(Task([], updates, targets))
        builder.forget()
        self.arrays.update({name: np.zeros(shape, dtype) for name, (shape, dtype) in targets.items()})
        self.count = len(edges)
        generator = random.default_generator()
        self.runner = find_runner(settings.runner)(self.plan, self.arrays, generator, movable=True)

    def emit(self, builder: Builder, leaves: Sequence[Node], outputs: Sequence[Tensor]) -> list[Edge]:
        """The recorded graph as edges of the builder; arrays from outside become arguments of their own."""
        new: dict[Node, tuple[Edge, ...]] = {}
        for leaf, array in zip(leaves, self.examples, strict=True):
            new[leaf] = (builder.variable(leaf, array.shape, array.dtype),)

        def edge_of(t: Tensor) -> Edge:
            if t.node is not None:
                return new[t.node][t.index]
            if type(t.array) in NUMBERS:
                return builder.constant(value=t.array)  # type: ignore[no-any-return]
            if t.array.size == 1 and t.array.dtype.kind == "f":
                shape, dtype = t.array.shape, str(t.array.dtype)
                return builder.full(shape=shape, value=t.array.item(), dtype=dtype)  # type: ignore[no-any-return]
            node = Node(None, label=Label(f"constant {len(self.arrays)}"))
            self.arrays[node.name] = np.array(t.array)
            return builder.variable(node, t.array.shape, t.array.dtype)

        for node in ancestors([t.node for t in outputs if t.node is not None]):
            if node in new:
                continue
            if node.op is None:
                raise GraphError(
                    "jit: the function uses a recorded tensor from outside; pass it as an argument"
                )
            new[node] = builder.emit(node.op, tuple(map(edge_of, node.inputs)), UNNAMED, None)
        return [edge_of(t) for t in outputs]

    def run(self, values: Sequence[Any]) -> list[np.ndarray]:
        """Results for arrays of the traced shapes."""
        return self.runner.call({f"input {i}": value for i, value in enumerate(values)}, self.results)  # type: ignore[no-any-return]

    def packed(self, results: Sequence[Any]) -> Any:
        """Results in the form in which the function gave them."""
        return self.pack(list(results))

    def pullback(self) -> "Program":
        """The program of ``(cotangents, inputs) -> gradients``, made when first needed."""
        if self.pull is None:
            count = self.count

            def pull(*tensors: Tensor) -> Any:
                def flat(*inputs: Tensor) -> Any:
                    return flatten(self.f(*inputs))[1]

                gradients = []
                inputs = tensors[count:]
                for i in range(count):
                    _, back = vjp(lambda *xs, i=i: flat(*xs)[i], *inputs)
                    gradients.append(back(tensors[i]))
                return tuple(sum(parts[1:], parts[0]) for parts in zip(*gradients, strict=True))

            cotangents = [wrap(np.zeros(shape, dtype)) for shape, dtype in self.shapes]
            self.pull = Program(pull, [*cotangents, *map(wrap, self.examples)], self.settings)
        return self.pull


def flatten(result: Any) -> tuple[Callable[[list[Any]], Any], list[Tensor]]:
    """The tensors in a result, and how to put others in their places.

    Errors
        DTypeError if it holds anything else.
    """
    if isinstance(result, Tensor):
        return (lambda values: values[0]), [result]
    if isinstance(result, dict) and all(isinstance(t, Tensor) for t in result.values()):
        names = list(result)
        return (lambda values: dict(zip(names, values, strict=True))), list(result.values())
    if isinstance(result, tuple | list) and result and all(isinstance(t, Tensor) for t in result):
        return type(result), list(result)
    raise DTypeError(
        f"jit: the function gave {result!r}, expected a tensor, or a tuple, list or dict of tensors"
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Compiled(Op):
    """A traced function as one op; its gradient is a traced function too."""

    program: Any = attr(doc="the plan")  # noqa: RUF009

    name = "Compiled"
    function = "compiled"
    family = "jit"
    inputs = ("args",)
    variadic = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each result."""
        return tuple(f"output{i}" for i in range(self.program.count))

    def shape(self, *args: Any) -> Any:
        """As traced."""
        shapes = tuple(shape for shape, _ in self.program.shapes)
        return shapes if len(shapes) > 1 else shapes[0]

    def dtype(self, *args: Any) -> Any:
        """As traced."""
        dtypes = tuple(dtype for _, dtype in self.program.shapes)
        return dtypes if len(dtypes) > 1 else dtypes[0]

    def forward(self, xp: Any, *args: Any) -> Any:
        """Run the plan."""
        results = self.program.run(args)
        return tuple(results) if len(results) > 1 else results[0]

    def vjp(self, F: Any, g: Any, y: Any, *args: Any) -> Any:
        """The plan of the gradients, for all inputs at once."""
        several = self.program.count > 1
        ys, gs = (y, g) if several else ((y,), (g,))
        seeds = [F.full_like(yi) if gi is None else gi for yi, gi in zip(ys, gs, strict=True)]
        pulled = F.apply(Compiled(program=self.program.pullback()), (*seeds, *args))
        return pulled if isinstance(pulled, tuple) else (pulled,)
