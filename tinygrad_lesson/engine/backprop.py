"""Reverse mode: the one sweep that every gradient in this package comes from."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from types import FunctionType
from typing import Any

from tinygrad_lesson.engine.errors import DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.engine.graph import Node, ancestors, between
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show

Observer = Callable[[Node, Sequence[Any], Sequence[Any]], None]


def backprop(
    F: Any, heads: Sequence[tuple[Any, Any]], wrt: Sequence[Any] | None, observe: Observer | None = None
) -> list[Any]:
    """Cotangents of the edges `wrt`, given pairs (edge, cotangent) of `heads`, by one reverse sweep in a world.

    None means that no path leads there. Without `wrt` the answer is for all variables that a path leads to: pairs
    (node, cotangent). `observe(node, operands, gradients)` is called after each rule.
    """
    asked = None if wrt is None else {edge.node for edge in wrt}
    wanted = None if asked is None else between(ancestors([edge.node for edge, _ in heads]), asked)
    cotangents: dict[Any, Any] = {}  # by node for its first result, by (node, index) for others
    queue: list[tuple[int, Node]] = []  # results with a cotangent; of the youngest all users are done
    take, add = cotangents.pop, F.add  # no cotangent is kept for longer than it is needed
    for edge, g in heads:
        accumulate(add, cotangents, queue, edge, g)
    while queue:
        node = heappop(queue)[1]
        op: Any = node.op
        inputs = node.inputs
        if wanted is not None and node not in wanted:
            continue
        g = take(node, None) if op.results == 1 else take_all(cotangents, queue, node)
        if asked is not None and node in asked:  # but this is an answer
            give_back(cotangents, node, g)
        operands = F.operands(node, g)
        try:
            if len(operands) == 4:  # most often, and faster than a list
                g, y, a, b = operands
                gradients = op.vjp(F, g, y, a, b)
            else:
                gradients = op.vjp(F, *operands)
        except Exception as error:
            raise named(op, error) from error
        if not op.ours or len(gradients) != len(inputs) or observe is not None:
            gradients = checked(F, op, operands, gradients)
            gradients = gradients if observe is None else observed(observe, node, operands, gradients)
        for edge, gradient in zip(inputs, gradients):  # noqa: B905  (`strict` costs as much as a product)
            source = edge.node
            if gradient is None or source is None or (wanted is not None and source not in wanted):
                continue
            if gradient.__class__ is FunctionType:
                gradient = computed(op, gradient)
                if gradient is None:
                    continue
            if edge.index:
                accumulate(add, cotangents, queue, edge, gradient)
            elif source in cotangents:  # as accumulate does, without the call
                cotangents[source] = add(cotangents[source], gradient)
            else:
                cotangents[source] = gradient
                if source.op is not None:
                    heappush(queue, (-source.number, source))
    return list(cotangents.items()) if wrt is None else found(cotangents, wrt)


def apply_vjp(F: Any, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
    """The gradients that the rule of one op gives in a world, for a cotangent, its result and its inputs.

    Errors
        LessonError naming the op, where its rule fails or gives what fits no input.
    """
    try:
        return checked(F, op, operands, op.vjp(F, *operands))
    except Exception as error:
        raise named(op, error) from error


def checked(F: Any, op: Op, operands: Sequence[Any], gradients: Any) -> Sequence[Any]:
    """What a rule gave: for each input None, or a gradient, or a function that gives it.

    A user's rule is held to the shapes of its inputs; those of our own ops are by tests.
    """
    if not op.ours and F.compares:
        gradients = compared(F, op, gradients, operands[2:])
    if len(gradients) != len(operands) - 2:
        count = len(operands) - 2
        raise GraphError(
            f"{op.label()}: vjp gives {len(gradients)} gradients, expected {count}, one per input"
        )
    return gradients  # type: ignore[no-any-return]


# What needs an inner scope stands in functions of its own: it would make the sweep's variables slower.


def named(op: Any, error: Exception) -> LessonError:
    """What went wrong in a rule, as an error that names its op."""
    if isinstance(error, LessonError) and str(error).startswith(op.label()):
        return error
    kind: type[LessonError] = GraphError
    if type(error).__module__ == LessonError.__module__:
        kind = type(error)  # type: ignore[assignment]
    elif isinstance(error, ValueError | TypeError):
        kind = ShapeError if isinstance(error, ValueError) else DTypeError
    return kind(f"{op.label()}: its vjp fails: {type(error).__name__}: {error}")


def computed(op: Op, gradient: Any) -> Any:
    """The gradient that a rule gave as a function."""
    try:
        return gradient()
    except Exception as error:
        raise named(op, error) from error


def observed(
    observe: Observer, node: Node, operands: Sequence[Any], gradients: Sequence[Any]
) -> Sequence[Any]:
    """The gradients that are wanted, after someone has seen them."""
    asked = [edge.node is not None for edge in node.inputs]
    gradients = [
        computed(node.op, d) if d.__class__ is FunctionType and wanted else d  # type: ignore[arg-type]
        for d, wanted in zip(gradients, asked, strict=True)
    ]
    observe(node, operands, gradients)
    return gradients


def compared(F: Any, op: Op, gradients: Any, inputs: Sequence[Any]) -> Sequence[Any]:
    """The gradients that a rule gives, each compared with its input when it is asked for."""
    if type(gradients) not in (tuple, list):  # an edge is a tuple too
        raise GraphError(
            f"{op.label()}: vjp gives a {type(gradients).__name__}, expected a tuple, one gradient per input"
        )
    if len(gradients) != len(inputs):
        return gradients  # type: ignore[no-any-return]

    def fitting(i: int, gradient: Any) -> Any:
        gradient = gradient() if gradient.__class__ is FunctionType else gradient
        if gradient is None:
            return None
        found, wanted = F.shape(gradient), F.shape(inputs[i])
        if found != wanted:
            name = op.name_inputs(len(inputs))[i]
            raise ShapeError(
                f"{op.label()}: vjp gives a gradient of shape {show(found)} for {name}, which is {show(wanted)}; "
                f"where an input was repeated, sum the gradient back: F.sum_like(gradient, {name})"
            )
        return gradient

    # functions without arguments, so that what nobody wants is neither computed nor compared
    return [None if d is None else lambda i=i, d=d: fitting(i, d) for i, d in enumerate(gradients)]


def found(cotangents: dict[Any, Any], wrt: Sequence[Any]) -> list[Any]:
    """The cotangent of each edge, None where there is none."""
    return [cotangents.get(key_of(edge)) for edge in wrt]


def key_of(edge: Any) -> Any:
    """Where the cotangent of an edge stands."""
    return (edge.node, edge.index) if edge.index else edge.node


def take_all(cotangents: dict[Any, Any], queue: list[tuple[int, Node]], node: Any) -> tuple[Any, ...]:
    """The cotangents of all results of a node, which is in the queue once for each."""
    while queue and queue[0][1] is node:
        heappop(queue)
    return (cotangents.pop(node, None), *[cotangents.pop((node, i), None) for i in range(1, node.op.results)])


def give_back(cotangents: dict[Any, Any], node: Any, g: Any) -> None:
    """Undo the taking."""
    cotangents[node] = g if node.op.results == 1 else g[0]
    cotangents.update({(node, i): g[i] for i in range(1, node.op.results)})


def accumulate(
    add: Any, cotangents: dict[Any, Any], queue: list[tuple[int, Node]], edge: Any, g: Any
) -> None:
    """Add a cotangent to what has come for an edge; with the first its node enters the queue."""
    key = key_of(edge)
    if key in cotangents:
        cotangents[key] = add(cotangents[key], g)
    else:
        cotangents[key] = g
        if edge.node.op is not None:
            heappush(queue, (-edge.node.number, edge.node))
