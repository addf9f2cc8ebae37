"""Shapes and element types along a graph, from what is known of some of its edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import DTypeError, LessonError, ShapeError, shown
from tinygrad_lesson.engine.graph import Edge, Node, outputs_of
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.engine.kinds import result_dtypes
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Shape, is_complete, show

Shapes = dict[Edge, Shape | None]
DTypes = dict[Edge, "np.dtype[Any] | None"]


def infer_shapes(order: Sequence[Node], given: Mapping[Edge, Shape], caller: str = "infer_shape") -> Shapes:
    """Shapes of all edges of the nodes in `order`, as far as `given` decides them.

    Sweeps forward and backward in turn until nothing new is learnt. `caller` is what the user called.

    Errors
        ShapeError naming the node, its inputs, where they come from and what would have been right.
    """
    edges = [(node, outputs_of(node)) for node in order]
    shapes: Shapes = {edge: given.get(edge) for _, results in edges for edge in results}
    sweep = [(node, results) for node, results in edges if node.op is not None]
    while True:
        changed, still_open = False, []
        for node, results in sweep:
            try:
                changed |= learn_shapes(node, results, shapes)
            except ShapeError as error:
                seen = [show(shapes[edge]) for edge in node.inputs]
                raise ShapeError(describe(node, str(error), seen, given, caller)) from None
            if not all(is_complete(shapes[edge]) for edge in (*node.inputs, *results)):
                still_open.append((node, results))  # others are compared with all they touch, and done
        if not changed or not still_open:
            return shapes
        sweep = still_open[::-1]


def learn_shapes(node: Node, outputs: Sequence[Edge], shapes: Shapes) -> bool:
    """Let one node add what it knows; whether anything was new."""
    assert node.op is not None
    edges = (*node.inputs, *outputs)
    before, count = [shapes[edge] for edge in edges], len(node.inputs)
    inputs, results = node.op.complete(before[:count], before[count:])
    after = [*inputs, *results]
    if before == after:
        return False
    shapes.update(zip(edges, after, strict=True))
    return True


def sized(heads: Sequence[Edge], order: Sequence[Node], shapes: Shapes) -> list[Edge]:
    """The graph of `heads`, with the sizes of `shapes` where the attributes of an op left them open.

    Errors
        ShapeError naming a node of which nothing decides a size.
    """

    def rule(node: Node, inputs: tuple[Edge, ...]) -> Sequence[Edge] | None:
        op, results = node.op, [shapes[edge] for edge in outputs_of(node)]
        if op is None or type(op).sized is Op.sized:
            return None
        if not all(map(is_complete, results)):
            problem = f"shape is {show(results[0])}, and nothing that it meets tells more; state all sizes"
            raise ShapeError(describe(node, problem, []))
        made = op.sized(results)  # type: ignore[arg-type]
        return None if made is op else outputs_of(Node(made, inputs, node.label))

    if all(type(node.op).sized is Op.sized for node in order if node.op is not None):
        return list(heads)
    return substitute(heads, rule)


def infer_dtypes(
    order: Sequence[Node], given: Mapping[Edge, Any], default: Any = None, caller: str = "infer_type"
) -> DTypes:
    """Element types of all edges; those that nothing decides get `default`.

    An operator of MXNet has one type for all its inputs and results, whatever the op, unless the op
    mixes types.

    Errors
        DTypeError where two inputs of such an operator differ.
    """
    edges = [(node, outputs_of(node)) for node in order]
    dtypes: DTypes = {edge: None for _, results in edges for edge in results}
    dtypes.update({edge: np.dtype(dtype) for edge, dtype in given.items()})
    sweep = [(node, results) for node, results in edges if node.op is not None]
    while True:
        changed = False
        for node, results in sweep:
            try:
                changed |= learn_dtypes(node, results, dtypes)
            except LessonError as error:
                seen = [str(dtypes[edge] or "unknown") for edge in node.inputs]
                raise DTypeError(describe(node, str(error), seen, given, caller)) from None
        sweep.reverse()
        if not changed or all(dtype is not None for dtype in dtypes.values()):  # float64 == None in NumPy
            open_ends = [Edge(node) for node in order if node.is_variable and dtypes[Edge(node)] is None]
            if default is None or not open_ends:
                return dtypes
            dtypes.update(dict.fromkeys(open_ends, np.dtype(default)))


def learn_dtypes(node: Node, results: Sequence[Edge], dtypes: DTypes) -> bool:
    """Let one node add what it knows; whether anything was new."""
    op = node.op
    assert op is not None
    edges = (*node.inputs, *results)
    before, count = [dtypes[edge] for edge in edges], len(node.inputs)
    known = before[:count]
    if node.label.mxnet_op and count and not op.mixes_dtypes:
        common: Any = next((dtype for dtype in before if dtype is not None), None)
        for i, dtype in enumerate(known):
            if dtype is not None and dtype != common:
                names = op.name_inputs(count)
                raise DTypeError(f"{names[i]} is {dtype}, expected {common} as its other inputs")
        after = [common] * count + kept(op, common, known, len(results))
    else:
        for i, edge in enumerate(node.inputs):
            if known[i] is None and known[0] is not None and edge.node.is_variable:
                known[i] = op.input_dtype(i, known[0])
        numbers = [edge.node.op.value for edge in node.inputs if isinstance(edge.node.op, Constant)]
        after = [*known, *result_dtypes(op, known, numbers)]
    dtypes.update(zip(edges, after, strict=True))
    return any(old is None and new is not None for old, new in zip(before, after, strict=True))


def kept(op: Op, common: Any, known: Sequence[Any], count: int) -> list[Any]:
    """Element types of the results of an operator of MXNet: that of its inputs, or wider for sums of short integers.

    Errors
        DTypeError where integers would have to hold fractions.
    """
    if common is None or common.kind not in "iub":
        return [common] * count
    natural = result_dtypes(op.keeping(common), [common] * len(known), [])
    long = common.itemsize >= 4
    if any(dtype.kind not in "iub" for dtype in natural) and not (op.whole and long):  # type: ignore[union-attr]
        raise DTypeError(
            f"{op.name_inputs(len(known))[0]} is {common}, which cannot hold fractions; "
            "expected float32, or another float: bind such an array, or give that type"
        )
    wider = [not long and dtype.kind in "iu" and dtype.itemsize > common.itemsize for dtype in natural]  # type: ignore[union-attr]
    return [dtype if wide else common for dtype, wide in zip(natural, wider, strict=True)]


def describe(
    node: Node, problem: str, seen: Sequence[str], given: Mapping[Edge, Any] | None = None, caller: str = ""
) -> str:
    """An error message: the node, the problem, each input with where it comes from, the attributes."""
    op = node.op
    assert op is not None
    rows = list(zip(op.name_inputs(len(node.inputs)), seen, node.inputs, strict=True))
    wide, wider = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
    lines = [f"{shown(node.name) or 'a node'} ({op.name}): {problem}"]
    lines += [
        f"  {name:{wide}}  {value:{wider}}   {origin(edge, given or {}, caller)}"
        for name, value, edge in rows
    ]
    attributes = {key: text for key, text in node.label.attributes.items() if not key.startswith("__")}
    return "\n".join([*lines, *(shown(f"  {key} = {text}") for key, text in attributes.items())])


def origin(edge: Edge, given: Mapping[Edge, Any], caller: str) -> str:
    """Where the value of an input comes from."""
    node = edge.node
    if node.op is not None:
        return f"from {shown(node.name) or node.op.label()}"
    if edge not in given:
        return f"variable {node.name!r}"
    if node.label.attributes.get("__shape__") == str(given[edge]):
        return f"stated by variable {node.name!r}"
    return f"given to {caller} as {node.name!r}"
