"""A function traced for a GPU in two plans: what it computes of the processor's numbers alone stays there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import MODULES, Context, zeros_at
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.graph import Edge, Label, Node, ancestors, outputs_of
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.run import runner as find_runner

Spec = tuple[Any, Any]  # shape and element type
Planned = Callable[..., tuple[Plan, dict[str, Any]]]


def of_processor(
    heads: Sequence[Edge], leaves: Sequence[Node], outside: Mapping[Node, Any], known: Mapping[Edge, Any]
) -> set[Node]:
    """What is computed of these leaves and of constants alone; `known` are the edges that the function itself made."""
    order = ancestors([edge.node for edge in heads])
    constants = {node for node in order if isinstance(node.op, Constant)}
    constants |= {node for node, x in outside.items() if x.__class__ not in MODULES}
    found = set(leaves)
    for node in order:
        sources = {edge.node for edge in node.inputs}
        if Edge(node) in known and not found.isdisjoint(sources) and sources <= found | constants:
            found.add(node)
    return found


class PartedRunner:
    """A plan of the processor's, then one of a device's, called as one.

    `inputs` are leaves with arrays like theirs; those on the processor have no axes. `outside` are leaves with what
    they always hold, `shapes` those of `heads` with their element types, `known` the arrays of edges. What the device
    needs of the first plan goes along with its kernels as numbers: nothing is transferred, and nobody waits.
    """

    def __init__(
        self,
        inputs: Sequence[tuple[Node, Any]],
        outside: Mapping[Node, Any],
        heads: Sequence[Edge],
        shapes: Sequence[Spec],
        known: Mapping[Edge, Any],
        planned: Planned,
        place: Context,
    ) -> None:
        own = [(leaf, x) for leaf, x in inputs if x.__class__ not in MODULES]
        here = of_processor(heads, [leaf for leaf, _ in own], outside, known)
        others = [node for node in ancestors([edge.node for edge in heads]) if node not in here]
        over = list(dict.fromkeys(edge for node in others for edge in node.inputs if edge.node in here))
        numbers = {edge: Node(None, label=Label(f"number {k}")) for k, edge in enumerate(over)}
        values = {**known, **{Edge(leaf): x for leaf, x in own}}
        specs = [((), np.asarray(values[edge]).dtype) for edge in over]
        self.own, self.numbers = {leaf.name for leaf, _ in own}, [node.name for node in numbers.values()]
        self.stays = [edge.node in here for edge in heads]
        told = list(zip(heads, shapes, self.stays, strict=True))
        first = [*zip(over, specs, strict=True), *[(edge, spec) for edge, spec, stays in told if stays]]
        second = [(edge, spec) for edge, spec, stays in told if not stays]

        def sent(node: Node, given: tuple[Edge, ...]) -> Sequence[Edge] | None:
            if node not in here:
                return None
            return [Edge(numbers[edge]) if edge in numbers else edge for edge in outputs_of(node)]

        on_device = [(leaf, x) for leaf, x in inputs if leaf.name not in self.own]
        on_device += [
            (node, zeros_at(place, *spec)) for node, spec in zip(numbers.values(), specs, strict=True)
        ]
        edges = substitute([edge for edge, _ in second], sent)
        self.runners: list[Any] = []
        self.results = [[f"output {i}" for i in range(len(part))] for part in (first, second)]
        for where, leaves, asked, part in (
            (Context(), own, [edge for edge, _ in first], first),
            (place, on_device, edges, second),
        ):
            used = set(ancestors([edge.node for edge in asked]))
            mine = {node: x for node, x in outside.items() if node in used}
            self.plan, arrays = planned(leaves, mine, asked, [spec for _, spec in part], place=where)
            made = find_runner("numpy" if where.on_host else None, where)
            self.runners.append(made(self.plan, arrays, random.default_generator(), movable=True))

    def call(self, values: Mapping[str, Any], results: Sequence[str]) -> list[Any]:
        """All results, for other inputs."""
        host, device = self.runners
        found = host.call({name: values[name] for name in self.own}, self.results[0])
        sent = {name: x[()] for name, x in zip(self.numbers, found, strict=False)}
        there = {name: x for name, x in values.items() if name not in self.own}
        parts = iter(found[len(sent) :]), iter(device.call(there | sent, self.results[1]))
        return [next(parts[not stays]) for stays in self.stays]
