"""Calls of functions that have a rule of their own, each as one op: what `custom_vjp` and `checkpoint` make."""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import MODULES, Context, held, placed_at, zeros_at
from tinygrad_lesson.eager.apply import apply, uppermost
from tinygrad_lesson.eager.differential import is_float, leaves, new_tape
from tinygrad_lesson.eager.nested import mapped
from tinygrad_lesson.eager.recording import RECORDING, recording, tracing
from tinygrad_lesson.eager.tensor import Tensor, operand, same, wrap
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import COUNT
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import show

ARRAY = object()  # stands for an array in what is built like an argument
Function = Callable[..., Any]


class Ruled:
    """A function whose calls are ops with a rule of their own; `forward` and `pull` say which."""

    kind: ClassVar[str] = ""
    keeps: ClassVar[bool] = True  # what `forward` says that the rule needs
    closes: ClassVar[bool] = False  # over recorded tensors, which become further inputs

    def __init__(self, f: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        if not callable(f):
            raise DTypeError(f"{self.kind}: expected a function, not {f!r:.80}")
        functools.update_wrapper(self, f, updated=())
        self.__wrapped__, self.name = f, getattr(f, "__name__", type(f).__name__)
        self.fixed = frozenset(
            [nondiff_argnums] if isinstance(nondiff_argnums, int) else map(int, nondiff_argnums)
        )

    def __call__(self, *arguments: Any, **named: Any) -> Any:  # noqa: D102
        given = self.by_position(arguments, named)
        call = Call(self, given)
        level = uppermost(call.inputs) if RECORDING.levels else None
        if level is not None:
            if level.needs_no_rule(call.inputs):
                return self.__wrapped__(*arguments, **named)
            y = apply(OwnRule(call=call), call.inputs)
            return built(call.form, y if isinstance(y, tuple) else (y,))
        if not RECORDING.tracing and not (RECORDING.on and any(t.node is not None for t in call.inputs)):
            return self.__wrapped__(*arguments, **named)
        inputs = [same(t, t.capture()) for t in call.inputs]
        seen = [t if t.node is None else constant(x.array) for t, x in zip(call.inputs, inputs, strict=True)]
        call.ready = call.forward([t.array for t in inputs], seen)  # here, so that its errors are its own
        inputs += [same(t, t.capture()) for t in call.outside]
        y = apply(OwnRule(call=call), inputs)
        return built(call.form, y if isinstance(y, tuple) else (y,))

    def by_position(self, arguments: Sequence[Any], named: dict[str, Any]) -> Sequence[Any]:
        """All arguments in order, those too that were given by name or left out."""
        if isinstance(inspect.unwrap(self.__wrapped__), np.ufunc) and not named:
            return arguments  # NumPy's `out` is no argument here
        try:
            bound = inspect.signature(self.__wrapped__).bind(*arguments, **named)
        except ValueError:  # a function without a signature
            return arguments
        bound.apply_defaults()
        alone = [name for name in bound.kwargs if name in named]
        if alone:
            raise GraphError(
                f"{self.label()}: {alone[0]} can be given by name only; a rule knows arguments "
                f"by their places"
            )
        return bound.args

    def label(self) -> str:
        """What it is called in errors."""
        return f"{self.kind}({self.name})"

    def forward(self, given: Sequence[Any]) -> tuple[Any, Any]:
        """The result, and what the rule needs of this call."""
        raise NotImplementedError

    def pull(self, call: Call, tensors: Sequence[Any], needed: Any, g: Any) -> Sequence[Any]:
        """The gradients of the input arrays for the cotangent `g`, which is built like the result."""
        raise NotImplementedError

    def push(self, call: Call, tensors: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the results for those of the input arrays, None for zero: `pull` transposed."""
        return own_tangents(self, call, tensors, tangents)


def is_real(x: Any) -> bool:
    """Whether an input has a gradient."""
    return bool(x.dtype.kind == "f")


def is_array(x: Any) -> bool:
    """Whether a leaf of an argument is an input; all else (integers, texts, functions) belongs to the call."""
    if isinstance(x, list | tuple):
        return bool(held(x).dtype.kind in "fc")
    return (
        isinstance(x, Tensor | np.ndarray)
        or x.__class__ in MODULES
        or (is_float(x) and isinstance(x, float | complex | np.generic))
    )


def built(form: Any, tensors: Sequence[Any], other: Any = ARRAY) -> Any:
    """What is built like `form`, with tensors in the places of arrays, and `other`, if given, in those of all else."""
    each = iter(tensors)
    return mapped(lambda x: next(each) if x is ARRAY else x if other is ARRAY else other, form)


def constant(array: Any) -> Tensor:
    """A tensor of what a graph holds: whoever wants to write to it gets a copy."""
    tensor = wrap(array)
    tensor.held = True
    return tensor


def own_tangents(ruled: Any, call: Call, tensors: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents of the results, by the map of the gradients transposed."""
    tape = new_tape()
    place = placed_at(tensors[0].example()) if tensors and MODULES else Context()
    gs = [wrap(zeros_at(place, shape, dtype)) for shape, dtype in call.results]
    with tape.entered():
        gs = [tape.watch(g) if g.dtype.kind in "fc" else g for g in gs]
        wanted = [g for g in gs if g.node is not None]
        with recording(True, deriving=True):
            found = ruled.pull(call, tensors, call.again(tensors), built(call.form, gs))
    pairs = [(operand(g), t) for g, t in zip(found, tangents, strict=True) if g is not None and t is not None]
    each = iter(tape.finish([g for g, _ in pairs], wanted)[1]([t for _, t in pairs]))
    return [next(each) if g.node is not None else None for g in gs]


class Call:
    """One call: how its arguments and its result are built, and what was kept of it."""

    def __init__(self, ruled: Ruled, given: Sequence[Any]) -> None:
        self.ruled = ruled
        self.inputs: list[Tensor] = []
        self.outside: list[Tensor] = []  # recorded tensors that the function uses and is not given
        self.forms = [x if i in ruled.fixed else mapped(self.take, x) for i, x in enumerate(given)]
        self.form: Any = None  # of the result
        self.kept: tuple[Sequence[Any], Any] = (), None  # arrays, and what the rule needs of them
        self.ready: Sequence[Any] = ()  # their results, until the op gives them
        self.results: list[Any] = []  # shapes and types
        self.drawn: Any = None  # where the generator stood, if anything was drawn
        for i, x in enumerate(given):
            if i in ruled.fixed and any(isinstance(t, Tensor) and t.node is not None for t in leaves(x)):
                raise GraphError(
                    f"{ruled.label()}: argument {i} is in nondiff_argnums and is recorded, so its gradient would get "
                    f"lost; pass x.detach(), or leave it out there"
                )

    def take(self, x: Any) -> Any:
        """Note an array."""
        if not is_array(x):
            return x
        self.inputs.append(operand(x))
        return ARRAY

    def given(self, tensors: Sequence[Any], other: Any = ARRAY) -> list[Any]:
        """The arguments with these arrays."""
        each = iter(tensors)
        fixed = self.ruled.fixed
        return [x if i in fixed else built(x, each, other) for i, x in enumerate(self.forms)]  # type: ignore[arg-type]

    def forward(self, arrays: Sequence[Any], seen: Sequence[Tensor] = ()) -> list[Any]:
        """The arrays of the result; what the rule needs is kept for these arrays.

        The function sees tensors of them, or those of the caller's that are constants: some may be states that change.
        """
        label, generator, tracing_now = self.ruled.label(), random.default_generator(), RECORDING.tracing
        before, began = (generator.seed, generator.get_state()), next(COUNT)
        with recording(True), tracing(False):
            result, needed = self.ruled.forward(self.given(seen or [constant(x) for x in arrays]))
            found = [operand(x) for x in leaves(result)]
        self.outside = older(found, began)
        if self.outside and not self.ruled.closes:
            raise GraphError(f"{label}: it uses a recorded tensor from outside; pass it as an argument")
        if not same_state(before, (generator.seed, generator.get_state())):
            if tracing_now:
                raise GraphError(f"jit: {label} draws random numbers; draw them outside and pass them to it")
            self.drawn = before
        self.form = mapped(lambda _: ARRAY, result)
        self.kept = arrays, needed
        self.results = [(t.shape, t.dtype) for t in found]
        return [held(t.capture()) for t in found]

    def direct(self, tensors: Sequence[Any]) -> list[Any]:
        """The results for tensors of which nobody takes a derivative."""
        with self.replayed():
            found = self.ruled.forward(self.given(tensors))[0]
        self.form, results = mapped(lambda _: ARRAY, found), [operand(x) for x in leaves(found)]
        self.results = [(t.shape, t.dtype) for t in results]
        return results

    def backward(self, gs: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """The gradients of the inputs: recorded where these are tensors."""
        recorded = any(isinstance(x, Tensor) for x in (*gs, *inputs))
        tensors = [x if isinstance(x, Tensor) else constant(x) for x in inputs]
        place = (
            placed_at(inputs[0].example() if isinstance(inputs[0], Tensor) else inputs[0])
            if inputs
            else Context()
        )
        zeros = (zeros_at(place, shape, dtype) for shape, dtype in self.results)
        cotangents = [operand(zero if g is None else g) for g, zero in zip(gs, zeros, strict=True)]
        with recording(recorded, deriving=recorded), tracing(RECORDING.tracing and recorded):
            known = not recorded and all(map(operator.is_, self.kept[0], inputs))
            needed = self.kept[1] if known else self.again(tensors)
            found = self.ruled.pull(self, tensors, needed, built(self.form, cotangents))
        if recorded:
            return [None if g is None else operand(g) for g in found]
        return [
            None if g is None else held(operand(g).array).astype(x.dtype, copy=False)
            for g, x in zip(found, tensors, strict=True)
        ]

    def again(self, tensors: Sequence[Any]) -> Any:
        """What the rule needs, of these tensors."""
        if not self.ruled.keeps:
            return None
        with self.replayed():
            return self.ruled.forward(self.given(tensors))[1]

    @contextlib.contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw inside the random numbers that were drawn in the call."""
        generator = random.default_generator()
        now = generator.seed, generator.get_state()
        if self.drawn is not None:
            generator.set_state(*self.drawn)
        try:
            yield
        finally:
            if self.drawn is not None:
                generator.set_state(*now)

    def flat(self, gradients: Any, tensors: Sequence[Any]) -> list[Any]:
        """The gradients that a rule gives for the arguments, one for each array.

        Errors
            GraphError for a wrong number of them; ShapeError for one of another shape.
        """
        label = self.ruled.label()
        given = {i: x for i, x in enumerate(self.given(tensors)) if i not in self.ruled.fixed}
        if not isinstance(gradients, tuple | list) or len(gradients) != len(given):
            count = len(gradients) if isinstance(gradients, tuple | list) else type(gradients).__name__
            told = f"{count}, expected a tuple of {len(given)}, one for each argument"
            raise GraphError(f"{label}: backward gives {told}, None for zero")
        found: list[Any] = []
        for (i, x), g in zip(given.items(), gradients, strict=True):

            def take(form: Any, x: Any, g: Any = None, i: int = i) -> None:
                if form is not ARRAY:
                    return
                g = None if g is None or not is_real(x) else operand(g)
                if g is not None and g.shape != x.shape:
                    told = f"{show(g.shape)} for argument {i}, which is {show(x.shape)}"
                    raise ShapeError(f"{label}: backward gives a gradient of shape {told}")
                found.append(g)

            mapped(take, self.forms[i], x, *(() if g is None else (g,)))
        return found


def older(results: Sequence[Any], began: int) -> list[Tensor]:
    """The recorded tensors, older than a number of nodes, that results were computed from."""
    found: dict[Any, Tensor] = {}
    seen, waiting = set(), [t for t in results if t.node is not None]
    while waiting:
        t = waiting.pop()
        if t.node.number > began:
            found.setdefault((t.node, t.index), t)
        elif t.node not in seen:
            seen.add(t.node)
            waiting += [x for x in t.node.inputs if x.node is not None]
    return list(found.values())


def same_state(a: Any, b: Any) -> bool:
    """Whether a generator has not moved."""
    return a[0] == b[0] and np.array_equal(a[1], b[1])


@declares
class OwnRule(Op):
    """One call of a function with a rule of its own."""

    traceable: ClassVar[bool] = False
    fits: ClassVar[bool] = True
    name: ClassVar[str] = "OwnRule"
    function: ClassVar[str] = "own_rule"
    family: ClassVar[str] = "custom"
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    variadic: ClassVar[bool] = True
    call: Any = attr(shown=False, doc="the call")

    def label(self) -> str:
        """The function."""
        return self.call.ruled.label()  # type: ignore[no-any-return]

    __repr__ = label

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each array of the result."""
        return tuple(f"output{i}" for i in range(len(self.call.results)))

    def shape(self, *shapes: Any) -> Any:
        """As in the call."""
        shapes = tuple(shape for shape, _ in self.call.results)
        return shapes if len(shapes) > 1 else shapes[0]

    def dtype(self, *dtypes: Any) -> Any:
        """As in the call."""
        dtypes = tuple(dtype for _, dtype in self.call.results)
        return dtypes if len(dtypes) > 1 else dtypes[0]

    def forward(self, xp: Any, *arrays: Any) -> Any:
        """Call the function."""
        ready, self.call.ready = self.call.ready, ()
        results = ready or self.call.forward(arrays)
        return tuple(results) if len(results) > 1 else results[0]

    def jvp(self, F: Any, tangents: Any, y: Any, *inputs: Any) -> Any:  # type: ignore[override]
        """The tangents, by the rule."""
        boxed = any(isinstance(x, Tensor) for x in (*tangents, *inputs))
        parts = [[None if x is None else operand(x) for x in part] for part in (inputs, tangents)]
        with self.call.replayed():
            found = self.call.ruled.push(self.call, *parts)
        found = found if boxed else [None if t is None else np.asarray(t.array) for t in found]
        return found if len(found) > 1 else found[0]

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """Call the rule."""
        return tuple(self.call.backward(g if len(self.call.results) > 1 else (g,), inputs))
