"""What is checked: a function, an op or a symbol, as a map from arrays to arrays with its own way back."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from tinygrad_lesson import random
from tinygrad_lesson.arrays import host_copy
from tinygrad_lesson.check.report import Entry, element_at
from tinygrad_lesson.eager.apply import AS_TOLD, TENSORS
from tinygrad_lesson.eager.operators import recorded_sweep, sweep_as_told
from tinygrad_lesson.eager.placed import as_tuple as as_tuple
from tinygrad_lesson.eager.placed import where_they_lie
from tinygrad_lesson.eager.recording import recording
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.backprop import apply_vjp
from tinygrad_lesson.engine.errors import DTypeError, GraphError, LessonError
from tinygrad_lesson.engine.graph import Node, ancestors, toposort
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet import Symbol
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.recorded import evaluate

SEED = 7  # of the random ops, so that they can be repeated; any number does
Arrays = Sequence[np.ndarray]
Sweep = Callable[[Sequence[tuple[Any, np.ndarray]], Sequence[Any]], list[Any]]


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Random ops draw the same numbers each time inside, and go on undisturbed afterwards."""
    generator = random.default_generator()
    before = dict(vars(generator))
    generator.reseed(SEED)
    try:
        yield
    finally:
        vars(generator).update(before)


def doubled(x: Any) -> np.ndarray:
    """`x` as an array, in double precision if it holds floats; always a copy."""
    array = host_copy(x.array if isinstance(x, Tensor) else x)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


class Subject:
    """`run` maps tensors to a tensor or a tuple of tensors; `arrays` is the point where it is checked.

    What a loss gives is not looked at: the gradient begins there, so the check begins with its input and
    with the cotangent that the loss hands down.
    """

    def __init__(
        self, run: Callable[..., Any], arrays: Arrays, names: Sequence[str], title: str, *, op: Op | None = None,
        states: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.run, self.names, self.title, self.op = where_they_lie(run, arrays), tuple(names), title, op
        self.arrays = [doubled(x) for x in arrays]
        self.states = frozenset(states)
        floats = [i for i, x in enumerate(self.arrays) if x.dtype.kind == "f" and x.size]
        self.wanted = [i for i in floats if i not in self.states]
        if not self.wanted:
            given = ", ".join(f"{x.dtype} {show(x.shape)}" for x in self.arrays)
            raise DTypeError(f"{title}: there is no input of floats to differentiate for, but {given}")

    def recorded(self, arrays: Arrays) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs as tensors, and results, with the graph between them."""
        tensors = [Tensor(x, requires_grad=i in self.wanted) for i, x in enumerate(arrays)]
        with repeatable(), recording(True):
            return tensors, as_results(self.run(*tensors), self.title)

    def value(self, arrays: Arrays) -> list[np.ndarray]:
        """Results at `arrays`; in place of a loss what it is a loss of."""
        if not self.has_loss(arrays):
            with contextlib.suppress(GraphError), repeatable(), recording(False):  # unless it derives itself
                return [y.numpy() for y in as_results(self.run(*map(Tensor, arrays)), self.title)]
        return [np.asarray(t.array) for y in self.recorded(arrays)[1] for t, _ in below(y)]

    def has_loss(self, arrays: Arrays) -> bool:
        """Whether a result is a loss; found out when first asked."""
        if not hasattr(self, "loss_known"):
            self.loss_known = any(is_loss(y) for y in self.recorded(arrays)[1])
        return self.loss_known

    def pull(self, arrays: Arrays, rows: Iterable[Arrays], back: Sweep) -> Iterator[list[Any]]:
        """Gradients of the wanted inputs, by the rules, for every row of cotangents; None where no path leads."""
        tensors, results = self.recorded(arrays)
        for cotangents in rows:
            yield pull_back([tensors[i] for i in self.wanted], results, cotangents, back)

    def handed_down(self, arrays: Arrays, cotangents: Arrays) -> list[np.ndarray]:
        """Cotangents of the edges that `value` gives: those of a loss come from its own rule."""
        rest = iter(cotangents)
        parts = [below(y) for y in self.recorded(arrays)[1]]
        return [next(rest) if g is None else g for part in parts for _, g in part]

    def entry(self, i: int, number: Any, *numbers: Any, output: str = "result") -> Entry:
        """A derivative for an element of input `i`, by its number: by rule, by differences, and the bar."""
        return Entry(self.names[i], element_at(number, self.arrays[i].shape), output, *map(float, numbers))

    def graph(self, arrays: Arrays | None = None) -> list[Node]:
        """The recorded ops, inputs before users, at other arrays if they are given."""
        return recorded_nodes(self.recorded(self.arrays if arrays is None else arrays)[1])


def as_results(y: Any, title: str) -> list[Tensor]:
    """The tensors that a function gave. DTypeError if it gave anything else."""
    results = list(y) if isinstance(y, list | tuple) else [y]
    for result in results:
        if not isinstance(result, Tensor):
            raise DTypeError(f"{title} gave {result!r}, expected a Tensor or a tuple of Tensors")
    floats = [y for y in results if y.dtype.kind in "fc"]
    if not floats:
        raise DTypeError(f"{title} gave {results[0].dtype} numbers, which have no gradient")
    return floats


def is_loss(y: Tensor) -> bool:
    """Whether the gradient begins at this result."""
    return y.node is not None and y.node.op is not None and y.node.op.is_loss


def below(y: Tensor) -> list[tuple[Tensor, Any]]:
    """A result, with None; in place of a loss its inputs, each with the gradient that is handed down to it."""
    node = y.node
    if node is None or node.op is None or not node.op.is_loss:
        return [(y, None)]
    found = apply_vjp(AS_TOLD, node.op, (np.ones_like(y.array), y.array, *[t.array for t in node.inputs]))
    pairs = zip(node.inputs, found, strict=True)
    return [(t, g) for t, g in pairs if g is not None and t.node is not None]


def recorded_nodes(results: Sequence[Tensor]) -> list[Node]:
    """The recorded ops behind results, inputs before users."""
    nodes = ancestors([y.node for y in results if y.node is not None])
    return [node for node in nodes if node.op is not None]


def pull_back(
    wrt: Sequence[Tensor], results: Sequence[Tensor], cotangents: Arrays, back: Sweep = sweep_as_told
) -> list[Any]:
    """Gradients for `wrt`, given cotangents of those results that are no losses."""
    rest = iter(cotangents)
    heads = [(y, np.asarray(np.ones(y.shape) if is_loss(y) else next(rest), y.dtype)) for y in results]
    return back([head for head in heads if head[0].node is not None], wrt)


# Subjects of every kind.


def subject_of(f: Any, inputs: Sequence[Any], generator: Generator) -> Subject:
    """What `f` and its inputs are, ready to be checked.

    Errors
        LessonError where `f` is nothing that can be, or inputs are missing.
    """
    if isinstance(f, Symbol):
        return SymbolSubject(f, complete_arrays(f, inputs, generator), f.list_arguments())
    if isinstance(f, Op):
        names, states = f.name_inputs(len(inputs)), range(len(inputs) - len(f.states), len(inputs))
        return Subject(lambda *xs: TENSORS.apply(f, xs), inputs, names, repr(f), op=f, states=states)
    if not callable(f):
        raise DTypeError(f"check: expected a function of Tensors, an op or a Symbol, not {f!r}")
    if not inputs:
        raise LessonError(f"check: {name_of(f)} needs inputs to be checked at: gradients(f, x, ...)")
    return Subject(f, inputs, parameter_names(f, len(inputs)), name_of(f))


def name_of(f: Any) -> str:
    """What a function is called; an object that has no words for itself as its class."""
    f = getattr(f, "func", f)  # of functools.partial
    long, own = getattr(f, "__qualname__", "<locals>"), repr(f) == object.__repr__(f)
    return str(getattr(f, "__name__", type(f).__name__ if own else f) if "<locals>" in long else long)


def parameter_names(f: Callable[..., Any], count: int) -> list[str]:
    """A name for each input: that of the parameter, or a number."""
    names: list[str] = []
    with contextlib.suppress(TypeError, ValueError):
        parameters = inspect.signature(f).parameters.values()
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [names[i] if i < len(names) else f"input {i}" for i in range(count)]


def complete_arrays(
    symbol: Symbol, inputs: Sequence[Any], generator: Generator, read: Callable[..., Any] = doubled
) -> dict[str, np.ndarray]:
    """An array for every variable of a symbol: those given, in order or by name, others drawn at random."""
    arguments, states = ([node.name for node in part] for part in variables(symbol.nodes))
    names = [*arguments, *states]
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        given = {name: read(x) for name, x in inputs[0].items()}
    else:
        given = dict(zip(names, map(read, inputs), strict=False))
    for name in given:
        if name not in names:
            raise GraphError(f"check: {name!r} is no variable of {symbol!r}; it has {', '.join(names)}")
    shapes = symbol.infer_shape(**{name: x.shape for name, x in given.items()})
    if shapes[0] is None:
        missing = ", ".join(name for name in arguments if name not in given)
        raise GraphError(f"check: the shapes of {missing} do not follow from the others; give these too")
    for name, shape in zip(names, (*shapes[0], *shapes[2]), strict=True):
        spread = 0.5 / np.sqrt(max(1, shape[-1])) if len(shape) > 1 else 0.25  # nothing saturates
        normal = generator.uniform(0.5, 1.5, shape) if name in states else generator.normal(0, spread, shape)
        given.setdefault(name, np.asarray(normal))
    return {name: given[name] for name in names}


class SymbolSubject(Subject):
    """A symbol; `compiled` tells what its plan makes of the same."""

    def __init__(
        self, symbol: Symbol, arrays: Mapping[str, np.ndarray], wanted: Sequence[str], is_train: bool = True
    ) -> None:  # fmt: skip
        names, self.symbol, self.is_train = list(arrays), symbol, is_train

        def run(*tensors: Tensor) -> tuple[Tensor, ...]:
            return evaluate(symbol, dict(zip(names, tensors, strict=True)), is_train=is_train)

        others = [i for i, name in enumerate(names) if name not in wanted]
        super().__init__(run, list(arrays.values()), names, str(symbol.name or symbol), states=others)

    def compiled(self, cotangents: Arrays) -> list[np.ndarray]:
        """Gradients of the wanted inputs as the compiled plan computes them."""
        wanted = [self.names[i] for i in self.wanted]
        executor = executor_of(self.symbol.heads, dict(zip(self.names, self.arrays, strict=True)), wanted)
        executor.forward(is_train=True)
        rest = list(cotangents)
        ops = [edge.node.op for edge in self.symbol.heads]
        executor.backward([None if op is not None and op.is_loss else rest.pop(0) for op in ops])
        return [np.array(executor.gradients[name]) for name in wanted]


def executor_of(heads: Any, arrays: Mapping[str, Any], wanted: Sequence[str] = (), **how: Any) -> Executor:
    """An executor over copies of `arrays`, with gradients for those `wanted`; what it draws is the same each time."""
    kept = [[node.name for node in part] for part in variables(toposort(edge.node for edge in heads))]
    arguments, states = ({name: np.array(arrays[name]) for name in part} for part in kept)
    gradients = {name: np.zeros_like(arguments[name]) for name in wanted}
    requests = {name: "write" if name in gradients else "null" for name in arguments}
    names, generator = [f"output {k}" for k in range(len(heads))], random.MXNetGenerator(SEED)
    return Executor(heads, names, arguments, gradients, states, requests, generator=generator, **how)


def second(subject: Subject, generator: Generator) -> Subject:
    """The gradient of a subject as a function of its inputs and of the cotangents."""
    plain = [y for y in subject.recorded(subject.arrays)[1] if not is_loss(y)]
    cotangents = [np.asarray(generator.uniform(-1, 1, y.shape)) for y in plain]
    count = len(subject.arrays)

    def watched(x: Tensor) -> Tensor:
        """A recorded edge with the value of `x`; what is computed from it still counts for `x`."""
        return x if x.requires_grad else Tensor(x, requires_grad=True)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        rest = iter(tensors[count:])
        with recording(True):
            inputs = [watched(t) if i in subject.wanted else t for i, t in enumerate(tensors[:count])]
            results = as_results(subject.run(*inputs), subject.title)
            heads = [(y, Tensor(np.ones(y.shape, y.dtype)) if is_loss(y) else next(rest)) for y in results]
            heads = [head for head in heads if head[0].node is not None]
            found = recorded_sweep(heads, [inputs[i] for i in subject.wanted])
        return tuple(g for g in found if g is not None) or (Tensor(np.zeros(1)),)

    names = [*subject.names, *(f"cotangent {i}" for i in range(len(cotangents)))]
    title = f"gradient of {subject.title}"
    return Subject(run, [*subject.arrays, *cotangents], names, title, states=sorted(subject.states))
