"""Derivatives of functions: grad, vjp, jvp, Jacobians and Hessians, all from the one sweep."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.operators import recorded_sweep, seed_of, sweep
from tinygrad_lesson.eager.recording import RECORDING, UNRECORDED, recording, unhidden
from tinygrad_lesson.eager.tensor import Tensor, operand, same, wrap
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import Label, ancestors
from tinygrad_lesson.engine.shapes import show

Function = Callable[..., Any]
PASSED = Label()  # of a variable whose derivative has been taken: nobody can ask for one by it any more


def grad(y: Any, wrt: Any = 0, *, gradient: Any = None, create_graph: bool = False) -> Any:
    """Gradients of a tensor, or the gradient function of a function.

    `grad(y, [x, w])` gives the gradients of `y` for recorded tensors, zero where no path leads; with
    `create_graph` they can be differentiated again. `grad(f)` gives a function with the gradient of
    `f` for its first argument, `grad(f, 1)` for its second, `grad(f, (0, 1))` for both.

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
        return gradients(y, [wrt] if isinstance(wrt, Tensor) else wrt, gradient, create_graph)
    if not callable(y):
        raise DTypeError(f"grad: expected a Tensor or a function, not {y!r}")
    pair = value_and_grad(y, wrt)
    return lambda *inputs, **named: pair(*inputs, **named)[1]


def gradients(y: Tensor, wrt: Sequence[Any], gradient: Any, create_graph: bool) -> list[Tensor]:
    """Gradients of `y` for each tensor of `wrt`."""
    for i, x in enumerate(wrt):
        if not isinstance(x, Tensor) or x.node is None:
            raise GraphError(f"grad: tensor {i} was not recorded; set requires_grad=True before it is used")
    seed = seed_of(y, gradient)
    found: list[Any] = [None] * len(wrt)
    if y.node is not None and create_graph:
        found = recorded_sweep([(y, gradient if isinstance(gradient, Tensor) else wrap(seed))], wrt)
    elif y.node is not None:
        found = [g if g is None else wrap(np.array(g)) for g in sweep([(y, seed)], wrt)]
    return [wrap(np.zeros_like(x.array)) if g is None else g for x, g in zip(wrt, found, strict=True)]


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function that gives the value of `f` and its gradient for the arguments `argnums`.

    The value must be a single number. Value and gradient are recorded where they depend on a tensor
    that asks for a gradient itself, as an argument or inside of `f`; so derivatives can be nested.
    """
    several = not isinstance(argnums, int)
    numbers = tuple(argnums) if not isinstance(argnums, int) else (argnums,)

    def function(*inputs: Any, **named: Any) -> Any:
        watched = [watch(x) if i in numbers else x for i, x in enumerate(inputs)]
        wrt = [watched[i] for i in numbers]
        y = record(f, *watched, **named)
        if y.size != 1:
            raise ShapeError(f"grad: the function gave {show(y.shape)}, expected a tensor with one element")
        again = depends_on_others(y, wrt)
        found = gradients(y, wrt, None, create_graph=again)
        pass_by(wrt)
        return y if again else y.detach(), tuple(found) if several else found[0]

    return function


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


def vjp(f: Function, *inputs: Any) -> tuple[Tensor, Callable[[Any], list[Tensor]]]:
    """The value of `f`, and the map from its cotangent to those of the inputs: ``g -> g J``."""
    watched = [watch(x) for x in inputs]
    y = record(f, *watched)
    again = depends_on_others(y, watched)
    pass_by(watched)

    def pull(g: Any) -> list[Tensor]:
        return gradients(y, watched, g, create_graph=again or (isinstance(g, Tensor) and g.requires_grad))

    return y if again else y.detach(), pull


def jvp(f: Function, inputs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The value of `f` and its derivative along `tangents`: ``J v``.

    Errors
        ShapeError if a tangent differs from its input in shape.
    Source
        The derivative of ``g -> g J`` for g is J itself: two reverse sweeps make a forward one.
    """
    watched, along = [watch(x) for x in inputs], [operand(t) for t in tangents]
    if [x.shape for x in watched] != [t.shape for t in along]:
        expected, found = (", ".join(show(x.shape) for x in side) for side in (watched, along))
        raise ShapeError(f"jvp: the tangents are {found}, expected {expected} as the inputs")
    y = record(f, *watched)
    g = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
    with recording(True):
        pulled = gradients(y, watched, g, create_graph=True)
        products = [TENSORS.sum(p * t) for p, t in zip(pulled, along, strict=True)]
        total = functools.reduce(TENSORS.add, products)
    pass_by([g, *watched])
    tangent = gradients(total, [g], None, create_graph=depends_on_others(total, []))[0]
    return y if depends_on_others(y, []) else y.detach(), tangent


def jacobian(f: Function, *inputs: Any) -> Any:
    """The derivative of every element of ``f(*inputs)`` for every element of each input.

    Shapes
        (shape of the result, shape of the input) for each input; a list where there are several.
    """
    watched = [watch(x) for x in inputs]
    y = record(f, *watched)
    again = depends_on_others(y, watched)
    pass_by(watched)
    if y.dtype.kind == "c":
        raise DTypeError(
            "jacobian: the function gives complex numbers; make a real one of it, such as tl.abs of its result"
        )
    units = np.eye(y.size, dtype=y.dtype).reshape((y.size, *y.shape))
    rows = [gradients(y, watched, unit, create_graph=again) for unit in units]
    whole = []
    for i, x in enumerate(watched):
        stacked = TENSORS.stack([row[i] for row in rows]) if rows else np.zeros(0, y.dtype)
        whole.append(TENSORS.reshape(stacked, (*y.shape, *x.shape)))
    return whole if len(whole) > 1 else whole[0]


def hessian(f: Function, x: Any) -> Tensor:
    """Second derivatives of a function with one result.

    Shapes
        (shape of x, shape of x)
    """
    result: Tensor = jacobian(grad(f), x)
    return result
