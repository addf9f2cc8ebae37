"""From a graph and its bound arrays to a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.engine.graph import Edge, Label, Node, outputs_of
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.mxnet.executor import GRADIENT, HEAD, OUTPUT, STATE, WATCHED, Executor
from tinygrad_lesson.ops.nn import BatchNorm
from tinygrad_lesson.plan import Builder, Compiler, Plan, Task, parameter_updates, rematerialized


def compiled(executor: Executor, mode: bool | str, optimizer: Any) -> Plan:
    """Gradient graph, passes and memory plan of one mode of an executor, with an optimizer's step if there is one."""
    builder = Builder(executor.passes, mode is True, executor.dtypes)
    for node in executor.order:
        if node.is_variable:
            builder.leaf(node, executor.shapes[Edge(node)], executor.dtypes[Edge(node)])  # type: ignore[arg-type]
    heads = builder.graph(as_in_training(executor.heads) if mode == "batch" else executor.heads)
    outputs = [(OUTPUT + str(i), edge) for i, edge in enumerate(heads)]
    updates = gradient_updates(executor, builder, heads, mode) if mode else []
    if isinstance(mode, bool):
        outputs += [(STATE + name, edge) for name, edge in new_states(builder, executor.order, True)]
        outputs += [(name, builder.values[edge.node][edge.index]) for edge, name in executor.inside.items()]
    if mode is True:
        updates += [(name, edge, False) for name, edge in new_states(builder, executor.order, False)]
    updates = rematerialized(builder, heads, updates) if executor.passes.mirror else updates
    arrays = {**{GRADIENT + name: a for name, a in executor.gradients.items()}, **executor.states}
    arrays |= {WATCHED + name: array for name, _, array in executor.flowing}
    targets = {name: (a.shape, a.dtype) for name, a in arrays.items()}
    last: list[Any] = []
    if optimizer is not None:
        gradients = {name: GRADIENT + name for name in executor.gradients}
        last = parameter_updates(builder, optimizer, gradients, optimizer.factors(gradients, executor.order))
    plan = Compiler(builder, executor.passes).compile(Task(outputs, updates, targets, last))
    builder.forget()
    return plan


def as_in_training(heads: Sequence[Edge]) -> list[Edge]:
    """The graph in which batch normalization has the gradient of training, whatever its statistics are."""

    def rule(node: Node, inputs: tuple[Edge, ...]) -> Sequence[Edge] | None:
        if not isinstance(node.op, BatchNorm):
            return None
        return outputs_of(Node(dataclasses.replace(node.op, batch_gradient=True), inputs, node.label))

    return substitute(heads, rule)


def gradient_updates(
    executor: Executor, builder: Builder, heads: Sequence[Edge], mode: bool | str
) -> list[Any]:
    """For each wanted gradient its array, the edge that computes it, and whether it is added."""
    cotangents = []
    for i, edge in enumerate(heads):
        node = Node(None, label=Label(HEAD + str(i)))
        cotangents.append(builder.variable(node, builder.shapes[edge], executor.dtypes[executor.heads[i]]))
    leaves = {node.name: Edge(node) for node in executor.order if node.is_variable}
    wrt = [leaves[name] for name in executor.gradients]
    inside = executor.flowing if mode is True else []
    wrt += [builder.values[edge.node][edge.index] for _, edge, _ in inside]
    found = iter(builder.gradients(list(zip(heads, cotangents, strict=True)), wrt))
    updates = [
        (GRADIENT + name, next(found), executor.requests[name] == "add") for name in executor.gradients
    ]
    return updates + [(WATCHED + name, next(found), False) for name, *_ in inside]


def new_states(builder: Builder, order: Sequence[Node], immediate: bool) -> list[tuple[str, Edge]]:
    """For each auxiliary state its name and the edge that holds its next value."""
    found = []
    for node in order:
        if node.op is not None and node.op.states and node.op.immediate is immediate:
            count = len(node.op.states)
            values = builder.values[node][-count:]
            found += [(s.node.name, v) for s, v in zip(node.inputs[-count:], values, strict=True)]
    return found
