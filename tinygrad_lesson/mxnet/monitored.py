"""What a monitor of an executor is told: each value inside, under MXNet's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinygrad_lesson.engine.graph import Edge, Node, outputs_of
from tinygrad_lesson.mxnet.register import find

NAMED = {  # operators of one input that MXNet gives a name; that of the others is `input0`
    "Dropout", "IdentityAttachKLSparseReg", "L2Normalization", "LRN", "LeakyReLU", "MakeLoss", "Pad", "Pooling",
    "SliceChannel", "SwapAxis", "log_softmax", "softmax", "softmin", "tile",
}  # fmt: skip


def watched(order: Sequence[Node], inputs_too: bool) -> Iterator[tuple[str, Edge]]:
    """Name and edge of each result in the order of computation; with `inputs_too` also of what goes into each node.

    Source
        MXNet 1.9, ``Executor.set_monitor_callback``, whose further outputs, such as a mask, are not here.
    """
    for node in order:
        if node.op is None:
            continue
        if inputs_too:
            for name, edge in zip(input_names(node), node.inputs, strict=True):
                if edge.node.is_variable:
                    yield edge.node.name, edge
                yield f"{node.name}_{name}", edge
        yield from ((output_name(edge), edge) for edge in outputs_of(node)[: visible(node)])


def input_names(node: Node) -> Sequence[str]:
    """What MXNet calls the inputs of a node."""
    operator, count = find(node.label.mxnet_op), len(node.inputs)
    if node.op.variadic:  # type: ignore[union-attr]
        return [f"arg{i}" for i in range(count)]
    if count == 1:
        return ["data" if node.label.mxnet_op in NAMED else "input0"]
    own: Sequence[str] = node.op.name_inputs(count)  # type: ignore[union-attr]
    given = operator.inputs if operator is not None else None
    return given if given is not None and len(given) == count else own


def visible(node: Node) -> int:
    """How many outputs of a node the user sees."""
    return 1 if node.op is None else node.op.visible


def output_name(edge: Edge) -> str:
    """MXNet's name for an output: `fc1_output`, or the variable's own name."""
    node = edge.node
    if node.op is None:
        return node.name
    known = find(node.label.mxnet_op)
    names = known.output_names(node.op) if known else node.op.outputs
    return f"{node.name}_{names[edge.index]}"
