"""Derivatives of functions: grad, vjp, jvp, Jacobians and Hessians, all from the one sweep."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.nested import is_tree, mapped
from tinygrad_lesson.eager.operators import recorded_sweep, seed_of, sweep
from tinygrad_lesson.eager.recording import RECORDING, UNRECORDED, recording, unhidden
from tinygrad_lesson.eager.tensor import Tensor, operand, same, wrap
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
    seeds = [(y, g, seed_of(y, g)) for y, g in heads if y.node is not None]
    found: list[Any] = [None] * len(wrt)
    if create_graph:
        found = recorded_sweep([(y, g if isinstance(g, Tensor) else wrap(seed)) for y, g, seed in seeds], wrt)
    else:
        found = [
            g if g is None else wrap(np.array(g)) for g in sweep([(y, seed) for y, _, seed in seeds], wrt)
        ]
    return [wrap(np.zeros_like(x.array)) if g is None else g for x, g in zip(wrt, found, strict=True)]


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Function:
    """A function that gives the value of `f` and its gradient for the arguments `argnums`.

    The value must be a single number; with `has_aux` it is ``(value, more)``. Value and gradient are recorded where
    they depend on a tensor that asks for a gradient itself, as an argument or inside of `f`: derivatives can be nested.
    """
    several = not isinstance(argnums, int)
    numbers = tuple(argnums) if not isinstance(argnums, int) else (argnums,)

    def function(*inputs: Any, **named: Any) -> Any:
        for i in numbers:
            if not -len(inputs) <= i < len(inputs):
                raise ShapeError(f"grad: argument {i} is asked for, and {len(inputs)} are given by position")
        places = {i % len(inputs): watched(inputs[i]) for i in numbers}  # one may be asked for twice
        given = [places[i][0] if i in places else x for i, x in enumerate(inputs)]
        flat = [x for i in numbers for x in places[i % len(inputs)][1]]
        y, more = recorded(f, given, named, has_aux)
        if y.size != 1:
            raise ShapeError(f"grad: the function gave {show(y.shape)}, expected a tensor with one element")
        again = depends_on_others(y, flat)
        each = iter(gradients([(y, None)], flat, create_graph=again))
        pass_by(flat)
        built = tuple([like(inputs[i], each) for i in numbers])
        if not again:
            y = y.detach()
            more = mapped(lambda x: x.detach() if isinstance(x, Tensor) else x, more)
        return (y, more) if has_aux else y, built if several else built[0]

    return function


def watched(x: Any) -> tuple[Any, list[Tensor]]:
    """An argument, or what is built like it, with edges of its own for its arrays; and these in a list."""
    if not is_tree(x):
        own = watch(x)
        return own, [own]
    found: list[Tensor] = []

    def leaf(x: Any) -> Any:
        if not is_float(x):
            return x
        found.append(watch(x))
        return found[-1]

    return mapped(leaf, x), found


def like(x: Any, gradients: Iterator[Tensor]) -> Any:
    """What is built like `x` of the next gradients, with None for leaves that have none."""
    return mapped(lambda leaf: next(gradients) if is_float(leaf) else None, x)


def is_float(x: Any) -> bool:
    """Whether a leaf of a tree has a gradient; all else in it (integers, texts, None) stays as it is."""
    if isinstance(x, Tensor | np.ndarray):
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
    if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], Tensor):
        raise DTypeError(f"has_aux: the function gave {pair!r:.200}, expected a pair (Tensor, more)")
    return pair


def watch(x: Any) -> Tensor:
    """An edge of its own with the value of `x`, so that only what is computed from it here counts."""
    x = operand(x)
    if x.requires_grad:
        with recording(True):
            again: Tensor = TENSORS.identity(x)
            return again
    fresh = same(x, np.asarray(x.capture()))
    fresh.requires_grad = True
    return fresh


def record(f: Function, *inputs: Any, **named: Any) -> Tensor:
    """The result of `f`, recorded even inside of `no_grad`."""
    with recording(True, deriving=True):
        y = unhidden(f, inputs, named)
    return as_result(f, y)


def as_result(f: Function, y: Any) -> Tensor:
    """What a function gave.

    Errors
        DTypeError if it is no tensor.
    """
    if not isinstance(y, Tensor):
        raise DTypeError(f"{getattr(f, '__name__', 'the function')} gave {y!r}, expected a Tensor")
    return y


def depends_on_others(y: Tensor, fresh: Sequence[Tensor]) -> bool:
    """Whether `y` was computed from a leaf that is none of `fresh`, and is to be recorded for its sake."""
    if not RECORDING.on or y.node is None:
        return False
    own = {x.node for x in fresh}
    variables = (node for node in ancestors([y.node]) if node.is_variable and node.label is not PASSED)
    return not own.issuperset(variables)


def pass_by(watched: Sequence[Tensor]) -> None:
    """From now on what depends on these alone need not be recorded for their sake: see `depends_on_others`."""
    for x in watched:
        if x.node is not None and x.node.is_variable:
            x.node.label = PASSED


def vjp(f: Function, *inputs: Any) -> tuple[Any, Callable[[Any], list[Any]]]:
    """The value of `f`, and the map from its cotangent to those of the inputs: ``g -> g J``.

    Inputs and results may be trees: what belongs to one is built like it.
    """
    pairs = [watched(x) for x in inputs]
    flat = [x for _, found in pairs for x in found]
    with recording(True, deriving=True):
        y = unhidden(f, [own for own, _ in pairs], {})
    ys = [as_result(f, part) for part in leaves(y)]
    again = any(depends_on_others(part, flat) for part in ys)
    pass_by(flat)

    def pull(g: Any) -> list[Any]:
        gs = [g] if isinstance(y, Tensor) else leaves(mapped(lambda _, part: part, y, g))
        heads = [
            (part, h if isinstance(h, Tensor) else seed_of(part, h)) for part, h in zip(ys, gs, strict=True)
        ]
        for part, h in heads:
            seed_of(part, h)  # which says what does not fit
        create = again or any(isinstance(h, Tensor) and h.requires_grad for h in gs)
        found = iter(gradients(heads, flat, create_graph=create))
        return [like(x, found) for x in inputs]

    return y if again else mapped(Tensor.detach, y), pull


def leaves(x: Any) -> list[Any]:
    """The leaves of a tree, in order."""
    found: list[Any] = []
    mapped(found.append, x)
    return found


def jvp(f: Function, inputs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The value of `f` and its derivative along `tangents`: ``J v``.

    Errors
        ShapeError if a tangent differs from its input in shape.
    Source
        The derivative of ``g -> g J`` for g is J itself: two reverse sweeps make a forward one.
    """
    flat, along = [watch(x) for x in inputs], [operand(t) for t in tangents]
    if [x.shape for x in flat] != [t.shape for t in along]:
        expected, found = (", ".join(show(x.shape) for x in side) for side in (flat, along))
        raise ShapeError(f"jvp: the tangents are {found}, expected {expected} as the inputs")
    y = record(f, *flat)
    g = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
    with recording(True):
        pulled = gradients([(y, g)], flat, create_graph=True)
        products = [TENSORS.sum(p * t) for p, t in zip(pulled, along, strict=True)]
        total = functools.reduce(TENSORS.add, products)
    pass_by([g, *flat])
    tangent = gradients([(total, None)], [g], create_graph=depends_on_others(total, []))[0]
    return y if depends_on_others(y, []) else y.detach(), tangent


def jacobian(f: Function, *inputs: Any, argnums: int | Sequence[int] = 0) -> Any:
    """The derivative of every element of ``f(*inputs)`` for every element of each input.

    Without inputs a function that gives it: ``jacobian(f)(x)``, for the arguments `argnums`.

    Shapes
        (shape of the result, shape of the input) for each input; a list where there are several.
    """
    if not inputs:
        return for_arguments(jacobian, f, argnums)
    flat = [watch(x) for x in inputs]
    y = record(f, *flat)
    again = depends_on_others(y, flat)
    pass_by(flat)
    if y.dtype.kind == "c":
        raise DTypeError(
            "jacobian: the function gives complex numbers; make a real one of it, such as tl.abs of its result"
        )
    units = np.eye(y.size, dtype=y.dtype).reshape((y.size, *y.shape))
    rows = [gradients([(y, unit)], flat, create_graph=again) for unit in units]
    whole = []
    for i, x in enumerate(flat):
        stacked = TENSORS.stack([row[i] for row in rows]) if rows else np.zeros(0, y.dtype)
        whole.append(TENSORS.reshape(stacked, (*y.shape, *x.shape)))
    return whole if len(whole) > 1 else whole[0]


def for_arguments(derivative: Function, f: Function, argnums: int | Sequence[int]) -> Function:
    """A function that gives a derivative of `f` for some of its arguments, the others held fast."""
    several = not isinstance(argnums, int)
    numbers = tuple(argnums) if not isinstance(argnums, int) else (argnums,)

    def function(*inputs: Any, **named: Any) -> Any:
        def of_these(*changed: Any) -> Any:
            given = list(inputs)
            for i, x in zip(numbers, changed, strict=True):
                given[i] = x
            return f(*given, **named)

        found = derivative(of_these, *[inputs[i] for i in numbers])
        return [found] if several and len(numbers) == 1 else found

    return function


def hessian(f: Function, *inputs: Any, argnums: int | Sequence[int] = 0) -> Any:
    """Second derivatives of a function with one result; without inputs a function that gives them: ``hessian(f)(x)``.

    Shapes
        (shape of x, shape of x); of several inputs a list of rows, the blocks for each pair of them
    """
    if not inputs:
        return for_arguments(hessian, f, argnums)
    if len(inputs) == 1:
        return jacobian(grad(f), *inputs)
    return [listed(jacobian(grad(f, i), *inputs)) for i in range(len(inputs))]


def listed(x: Any) -> list[Any]:
    """One or several as a list."""
    return x if isinstance(x, list) else [x]


def hvp(f: Function, inputs: Any, vectors: Any) -> Any:
    """The Hessian of a function with one result times a vector, without the Hessian: the gradient of ``grad(f) . v``.

    Shapes
        `vectors` and the result are built like `inputs`: an array, or a tuple or list of one for each argument of `f`
    """
    several = isinstance(inputs, list | tuple) and is_tree(inputs)
    xs, vs = (list(inputs), list(vectors)) if several else ([inputs], [vectors])
    if len(xs) != len(vs):
        raise ShapeError(f"hvp: {len(vs)} vectors for {len(xs)} inputs")
    every = tuple(range(len(xs)))

    def slope(*xs: Any) -> Any:
        found = [TENSORS.sum(g * operand(v).detach()) for g, v in zip(grad(f, every)(*xs), vs, strict=True)]
        return functools.reduce(TENSORS.add, found)

    result = grad(slope, every)(*xs)
    return list(result) if several else result[0]
