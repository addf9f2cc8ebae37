"""Derivatives of functions by the sweep: grad and vjp. Those that go forward are in `eager/forward.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import held, is_array, module_of, taken
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.nested import is_tree, mapped
from tinygrad_lesson.eager.operators import recorded_sweep, seed_of, sweep
from tinygrad_lesson.eager.recording import RECORDING, UNRECORDED, recording, unhidden
from tinygrad_lesson.eager.tensor import Tensor, of_array, operand, same, wrap
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import Label, ancestors
from tinygrad_lesson.engine.shapes import show

Function = Callable[..., Any]
PASSED = Label()  # of a variable whose derivative has been taken: nobody can ask for one by it any more


def grad(
    y: Any,
    wrt: Any = 0,
    *,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    gradient: Any = None,
    create_graph: bool = False,
) -> Any:
    """Gradients of a tensor, or the gradient function of a function.

    `grad(y, [x, w])` gives the gradients of `y` for recorded tensors, zero where no path leads; with
    `create_graph` they can be differentiated again. `grad(f)` gives a function with the gradient of
    `f` for its first argument, `grad(f, 1)` for its second, `grad(f, argnums=(0, 1))` for both. An argument may be
    a list, tuple, dict or dataclass of arrays, nested: its gradient is built alike. With `has_aux` the function gives
    ``(result, more)``, and its gradient function ``(gradient, more)``.

    Errors
        GraphError for a tensor that was not recorded; ShapeError where `y` has many elements and
        `gradient`, its own cotangent, is missing.

    Example
        >>> x = Tensor([3.0], requires_grad=True)
        >>> grad(x * x, [x])[0].numpy()
        array([6.])
    """
    if isinstance(y, Tensor):
        if y.node is None:
            raise GraphError(f"grad: {UNRECORDED}")
        wrt = [wrt] if isinstance(wrt, Tensor) else wrt
        return gradients([(y, gradient)], wrt, create_graph)
    if not callable(y):
        raise DTypeError(f"grad: expected a Tensor or a function, not {y!r}")
    pair = value_and_grad(y, wrt if argnums is None else argnums, has_aux=has_aux)

    def function(*inputs: Any, **named: Any) -> Any:
        value, found = pair(*inputs, **named)
        return (found, value[1]) if has_aux else found

    return function


def gradients(heads: Sequence[tuple[Tensor, Any]], wrt: Sequence[Any], create_graph: bool) -> list[Tensor]:
    """Gradients of tensors for each tensor of `wrt`; each has its cotangent, None for the 1 of a single number."""
    for i, x in enumerate(wrt):
        if not isinstance(x, Tensor) or x.node is None:
            raise GraphError(f"grad: tensor {i} was not recorded; set requires_grad=True before it is used")
    seeds = [(y, g, seed_of(y, g, create_graph)) for y, g in heads if y.node is not None]
    if create_graph:
        found = recorded_sweep([(y, g if isinstance(g, Tensor) else wrap(seed)) for y, g, seed in seeds], wrt)
    else:
        arrays = sweep([(y, seed) for y, _, seed in seeds], wrt)
        found = [None if arrays[i] is None else wrap(taken(arrays, i)) for i in range(len(wrt))]
    return [
        wrap(module_of(x.array).zeros_like(x.array)) if g is None else g
        for x, g in zip(wrt, found, strict=True)
    ]


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Function:
    """A function that gives the value of `f` and its gradient for the arguments `argnums`.

    The value must be a single number; with `has_aux` it is ``(value, more)``. Value and gradient are recorded where
    they depend on a tensor that asks for a gradient itself, as an argument or inside of `f`: derivatives can be nested.

    Example
        >>> import tinygrad_lesson as tl
        >>> value, slope = tl.value_and_grad(lambda x: (x * x).sum())([1.0, 3.0])
        >>> value.item(), slope.tolist()
        (10.0, [2.0, 6.0])
    """
    several = not isinstance(argnums, int)
    numbers = tuple(argnums) if not isinstance(argnums, int) else (argnums,)

    def function(*inputs: Any, **named: Any) -> Any:
        for i in numbers:
            if not -len(inputs) <= i < len(inputs):
                raise ShapeError(f"grad: argument {i} is asked for, and {len(inputs)} are given by position")
        tape = new_tape()
        with tape.entered():
            places = {
                i % len(inputs): watched(inputs[i], tape) for i in numbers
            }  # one may be asked for twice
            given = [places[i][0] if i in places else x for i, x in enumerate(inputs)]
            flat = [x for i in numbers for x in places[i % len(inputs)][1]]
            y, more = recorded(f, given, named, has_aux)
        if y.size != 1:
            raise ShapeError(f"grad: the function gave {show(y.shape)}, expected a tensor with one element")
        shown, pull = tape.finish([y], flat)
        each = iter(pull([None]))
        built = tuple([like(inputs[i], each) for i in numbers])
        if has_aux:
            more = mapped(lambda x: shown(x) if isinstance(x, Tensor) else x, more)
        y = shown(y)
        return (y, more) if has_aux else y, built if several else built[0]

    return function


class Tape:
    """What a derivative is taken of: the graph that tensors record by themselves.

    Inside of other transformations `Reverse` of `eager/reverse.py` stands in its place.
    """

    def __enter__(self) -> None:
        """Nothing has to be prepared."""

    def __exit__(self, *error: object) -> None:
        """Nor put away."""

    def entered(self) -> Tape:
        """While the function runs."""
        return self

    def watch(self, x: Any) -> Tensor:
        """A value that a derivative is asked for."""
        return watch(x)

    def finish(self, ys: Sequence[Tensor], flat: Sequence[Tensor]) -> tuple[Function, Function]:
        """What the caller sees of a result, as a function; and the map from cotangents of `ys` to those of `flat`."""
        again = any(depends_on_others(y, flat) for y in ys)
        pass_by(flat)

        def pull(gs: Sequence[Any]) -> list[Tensor]:
            tensors = [g for g in gs if isinstance(g, Tensor)]
            if not again and any(g.level is not None for g in tensors):
                with recording(any(map(is_followed, tensors))):
                    return gradients(list(zip(ys, gs, strict=True)), flat, create_graph=True)
            create = again or any(g.requires_grad for g in tensors)
            return gradients(list(zip(ys, gs, strict=True)), flat, create_graph=create)

        return (lambda y: y) if again else Tensor.detach, pull


TAPE = Tape()


def new_tape() -> Any:
    """What the next derivative is taken of."""
    return RECORDING.levels[-1].tape() if RECORDING.levels else TAPE


def watched(x: Any, tape: Any) -> tuple[Any, list[Tensor]]:
    """An argument, or what is built like it, with edges of its own for its arrays; and these in a list."""
    if not is_tree(x):
        own = tape.watch(x)
        return own, [own]
    found: list[Tensor] = []

    def leaf(x: Any) -> Any:
        if not is_float(x):
            return x
        found.append(tape.watch(x))
        return found[-1]

    return mapped(leaf, x), found


def like(x: Any, gradients: Iterator[Tensor]) -> Any:
    """What is built like `x` of the next gradients, with None for leaves that have none."""
    return mapped(lambda leaf: next(gradients) if is_float(leaf) else None, x)


def is_float(x: Any) -> bool:
    """Whether a leaf of a tree has a gradient; all else in it (integers, texts, None) stays as it is."""
    if isinstance(x, Tensor) or is_array(x):
        return x.dtype.kind not in "iub"
    return not (x is None or isinstance(x, bool | int | str | bytes | np.integer | np.bool) or callable(x))


def recorded(f: Function, inputs: Sequence[Any], named: Any, has_aux: bool) -> tuple[Tensor, Any]:
    """The result of a function, recorded, and what it gives beside it.

    Errors
        DTypeError if it gives something else.
    """
    if not has_aux:
        return record(f, *inputs, **named), None
    with recording(True, deriving=True):
        pair = unhidden(f, inputs, named)
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise DTypeError(f"has_aux: the function gave {pair!r:.200}, expected a pair (Tensor, more)")
    return as_result(f, pair[0]), pair[1]


def watch(x: Any) -> Tensor:
    """An edge of its own with the value of `x`, so that only what is computed from it here counts."""
    x = operand(x)
    if x.requires_grad:
        with recording(True):
            again: Tensor = TENSORS.identity(of_array(x))
            return again
    fresh = same(x, held(x.capture()))
    fresh.requires_grad = True
    return fresh


def record(f: Function, *inputs: Any, **named: Any) -> Tensor:
    """The result of `f`, recorded even inside of `no_grad`."""
    with recording(True, deriving=True):
        y = unhidden(f, inputs, named)
    return as_result(f, y)


def as_result(f: Function, y: Any) -> Tensor:
    """What a function gave; a number or an array is a constant, for values do not leave the graph in `f`.

    Errors
        DTypeError if it is neither.
    """
    if isinstance(y, Tensor):
        return y
    if not (isinstance(y, float | int | np.number) or is_array(y)):
        raise DTypeError(
            f"{getattr(f, '__name__', 'the function')} gave {y!r:.200}, expected a Tensor or a number: is a `return` "
            "missing?"
        )
    return of_array(operand(y))


def depends_on_others(y: Tensor, fresh: Sequence[Tensor]) -> bool:
    """Whether `y` was computed from a leaf that is none of `fresh`, and is to be recorded for its sake."""
    if not RECORDING.on or y.node is None:
        return False
    own = {x.node for x in fresh}
    variables = (node for node in ancestors([y.node]) if node.is_variable and node.label is not PASSED)
    return not own.issuperset(variables)


def is_followed(x: Any) -> bool:
    """Whether a derivative may be asked for of a tensor, or of what a tracer stands on."""
    below = () if x.level is None else (x.below, getattr(x, "tangent", None))
    return x.requires_grad or any(is_followed(part) for part in below if part is not None)


def pass_by(watched: Sequence[Tensor]) -> None:
    """From now on what depends on these alone need not be recorded for their sake: see `depends_on_others`."""
    for x in watched:
        if x.node is not None and x.node.is_variable:
            x.node.label = PASSED


def vjp(f: Function, *inputs: Any) -> tuple[Any, Callable[[Any], list[Any]]]:
    """The value of `f`, and the map from its cotangent to those of the inputs: ``g -> g J``.

    Inputs and results may be trees: what belongs to one is built like it.

    Example
        >>> import tinygrad_lesson as tl
        >>> y, pull = tl.vjp(lambda x: x * x, [1.0, 3.0])
        >>> pull(tl.ones(2))
        [Tensor([2., 6.], dtype=float64)]
    """
    tape = new_tape()
    with tape.entered():
        pairs = [watched(x, tape) for x in inputs]
        flat = [x for _, found in pairs for x in found]
        with recording(True, deriving=True):
            y = unhidden(f, [own for own, _ in pairs], {})
    shown, back = tape.finish([as_result(f, part) for part in leaves(y)], flat)

    def pull(g: Any) -> list[Any]:
        gs: list[Any] = []
        mapped(lambda _, part: gs.append(part), y, g)
        found = iter(back(gs))
        return [like(x, found) for x in inputs]

    return mapped(shown, y), pull


def leaves(x: Any) -> list[Any]:
    """The leaves of a tree, in order."""
    found: list[Any] = []
    mapped(found.append, x)
    return found
