"""Reverse mode: the one sweep that every gradient in this package comes from.

Nodes wait in a queue, the youngest first, with the cotangents that have come to their results. A node that is taken
from it has got all of them, since its users are younger; its rule sends them on to its inputs.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from pathlib import Path
from types import FunctionType
from typing import Any

from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.engine.graph import Node, ancestors, between
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Shape, show
from tinygrad_lesson.engine.world import World

Observer = Callable[[Node, Sequence[Any]], None]


def backprop(
    F: World, heads: Sequence[tuple[Any, Any]], wrt: Sequence[Any] | None, observe: Observer | None = None
) -> list[Any]:
    """Cotangents of the edges `wrt`, given pairs (edge, cotangent) of `heads`, by one reverse sweep in a world.

    None means that no path leads there. Without `wrt` the answer is for all variables that a path leads to: pairs
    (node, cotangent). `observe(node, operands)` is called after each rule.

    Errors
        LessonError naming the op whose rule fails, or gives what fits no input.
    """
    asked = {edge.node for edge in wrt or ()}
    wanted = None if wrt is None else between(ancestors([edge.node for edge, _ in heads]), asked)
    cotangents: dict[Node, list[Any]] = {}  # of each node one for each result, None where nothing came yet
    queue: list[tuple[int, Node]] = []  # nodes that have some; of the youngest all users are done
    add, take, arriving = F.add, cotangents.pop, iter(heads)
    op: Any = None  # whose gradients arrive
    while True:
        for edge, g in arriving:
            node = edge.node
            if g is None or node is None or (wanted is not None and node not in wanted):
                continue
            if g.__class__ is FunctionType:
                try:
                    g = g()
                except Exception as error:
                    raise named(op, error) from error
                if g is None:
                    continue
            if node in cotangents:
                gs, i = cotangents[node], edge.index
                gs[i] = g if gs[i] is None else add(gs[i], g)
            elif node.op is None:
                cotangents[node] = [g]
            else:
                count = node.op.results
                cotangents[node] = [g] if count == 1 else one_of(count, edge.index, g)
                heappush(queue, (node.number, node))
        del arriving  # with the arrays that the functions hold
        if not queue:
            return found(F, cotangents, wrt)
        node = heappop(queue)[1]
        op = node.op
        operands = F.operands(node, cotangents[node] if asked and node in asked else take(node))
        try:
            if len(operands) == 4:  # most often, and faster than a list
                g, y, a, b = operands
                gradients = op.vjp(F, g, y, a, b)
            else:
                gradients = op.vjp(F, *operands)
        except Exception as error:
            raise named(op, error) from error
        if not op.fits:
            gradients = to_be_fitted(F, op, operands, gradients)
        arriving = zip(node.inputs, gradients)  # noqa: B905  (`strict` is slow)
        if observe is not None:
            observe(node, operands)


def one_of(count: int, i: int, g: Any) -> list[Any]:
    """Cotangents of `count` results, of which number `i` is the first that came."""
    return [None] * i + [g] + [None] * (count - 1 - i)


def found(F: Any, cotangents: dict[Node, list[Any]], wrt: Sequence[Any] | None) -> list[Any]:
    """The answer: cotangents in the element types of what they belong to."""
    if wrt is None:
        return [(node, gs[0]) for node, gs in cotangents.items()]
    gs = [cotangents[edge.node][edge.index] if edge.node in cotangents else None for edge in wrt]
    return [None if g is None else F.typed(g, F.dtype(edge)) for g, edge in zip(gs, wrt, strict=True)]


def apply_vjp(F: Any, op: Op, operands: Sequence[Any]) -> list[Any]:
    """The gradients that the rule of one op gives in a world, for a cotangent, its result and its inputs.

    Errors
        LessonError naming the op, where its rule fails or gives what fits no input.
    """
    try:
        gradients = op.vjp(F, *operands)
        if not op.fits:
            gradients = to_be_fitted(F, op, operands, gradients)
        return [g() if g.__class__ is FunctionType else g for g in gradients]
    except Exception as error:
        raise named(op, error) from error


def gradient_of(F: Any, op: Op, operands: Sequence[Any], i: int) -> Any:
    """The gradient that the rule of one op gives for input `i`, as it is told: neither compared nor summed.

    Errors
        LessonError naming the op, where its rule fails.
    """
    try:
        g = op.vjp(F, *operands)[i]
        return g() if g.__class__ is FunctionType else g
    except Exception as error:
        raise named(op, error) from error


# What needs an inner scope stands in a function of its own: it would make variables slower.


def to_be_fitted(F: Any, op: Any, operands: Sequence[Any], gradients: Any) -> Sequence[Any]:
    """Functions that give the gradients of a rule in the shapes of its inputs."""
    count = len(operands) - 2
    if (type(gradients) not in (tuple, list) and not op.ours) or len(gradients) != count:
        raise GraphError(miscounted(op, gradients, count))
    pairs = enumerate(gradients)
    return [None if g is None else lambda i=i, g=g: fitted(F, op, operands, i, g) for i, g in pairs]


def fitted(F: Any, op: Any, operands: Sequence[Any], i: int, gradient: Any) -> Any:
    """The gradient of input `i` in its shape: summed where the input was repeated.

    Errors
        ShapeError where it has neither the shape of the input nor the one to which that was repeated; DTypeError where
        it is nothing that this world computes with.
    """
    gradient, x = gradient() if gradient.__class__ is FunctionType else gradient, operands[2 + i]
    if gradient is None:
        return None
    if type(gradient) in NUMBERS:
        gradient = F.full(shape=(), value=gradient, dtype=str(F.dtype(x)))
    if not F.holds(gradient):
        name = op.name_inputs(len(operands) - 2)[i]
        told = f"vjp gives a {type(gradient).__name__} for {name}, expected a gradient computed by F"
        raise DTypeError(f"{op.label()}: {told}, such as F.exp(y) or g * 2")
    shape, wanted = F.shape(gradient), F.shape(x)
    if shape == wanted:
        return gradient
    if op.broadcasts is not None and shape == repeated(op, F.shape(operands[1]), wanted):
        return unbroadcast(F, gradient, shape, wanted)
    if not F.compares:
        return gradient
    name = op.name_inputs(len(operands) - 2)[i]
    raise ShapeError(
        f"{op.label()}: vjp gives a gradient of shape {show(shape)} for {name}, which is {show(wanted)}; "
        f"where an input was repeated, sum the gradient back: F.sum_like(gradient, {name})"
    )


def repeated(op: Any, result: Shape, shape: Shape) -> Shape:
    """The shape that an input is repeated to: the result's, but for the trailing axes that do not broadcast."""
    own = op.broadcasts
    return result if own == 0 else (*result[:-own], *shape[-own:])


def unbroadcast(F: Any, x: Any, shape: Shape, wanted: Shape) -> Any:
    """`x` of one shape summed to another, from which it was repeated."""
    extra = len(shape) - len(wanted)
    grown = [a + extra for a, n in enumerate(wanted) if n == 1 != shape[a + extra]]
    total = F.sum(x, axis=(*range(extra), *grown), keepdims=True)
    return F.reshape(total, shape=wanted) if extra else total


def miscounted(op: Op, gradients: Any, count: int) -> str:
    """What is wrong with what a rule gave."""
    if type(gradients) not in (tuple, list):  # an edge is a tuple too
        return (
            f"{op.label()}: vjp gives a {type(gradients).__name__}, expected a tuple, one gradient per input"
        )
    return f"{op.label()}: vjp gives {len(gradients)} gradients, expected {count}, one per input"


def named(op: Op, error: Exception) -> LessonError:
    """What went wrong in a rule, as an error that names its op."""
    if isinstance(error, LessonError) and str(error).startswith(op.label()):
        return error
    kind: type[LessonError] = GraphError
    if type(error).__module__ == LessonError.__module__:
        kind = type(error)  # type: ignore[assignment]
    elif isinstance(error, ValueError | TypeError):
        kind = ShapeError if isinstance(error, ValueError) else DTypeError
    return kind(f"{op.label()}: its vjp fails: {type(error).__name__}: {error}{line_of(op, error)}")


def line_of(op: Op, error: Exception) -> str:
    """Where in the file of a rule an error came up."""
    code = getattr(op.vjp, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if code is not None and frame.filename == code.co_filename]
    return f"; line {lines[-1]} of {Path(code.co_filename).name}" if lines else ""  # type: ignore[union-attr]
