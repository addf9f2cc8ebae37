"""Rematerialization: what the backward part needs of the forward part is computed again, segment by segment.

Kept are the values that cross from one segment of the forward part to the next. With as many segments as make both
parts alike, memory grows with the square root of the depth, for the time of one more forward run at most.

Source
    Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost", section 4. MXNet says mirror.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.engine.graph import Edge, Node, ancestors, in_order, outputs_of
from tinygrad_lesson.plan.passes import Builder

Update = tuple[str, Edge | None, bool]


def rematerialized(builder: Builder, heads: Sequence[Edge], updates: Sequence[Update]) -> list[Update]:
    """The updates of a plan, computed from fewer values of its forward part."""
    forward = [node for node in ancestors([edge.node for edge in heads]) if node.op is not None]
    inside = set(forward)
    order = ancestors([edge.node for _, edge, _ in updates if edge is not None])
    backward = [node for node in order if node.op is not None and node not in inside]
    read = {edge for node in backward for edge in node.inputs if edge.node in inside}
    kept = checkpoints(builder, forward, read) | set(heads)
    again = Recompute(builder, inside, kept)
    for node in backward:
        again.copy(node)
    return [(name, edge and again.new.get(edge, edge), adds) for name, edge, adds in updates]


def checkpoints(builder: Builder, forward: Sequence[Node], read: set[Edge]) -> set[Edge]:
    """The edges to keep: those alive where one segment ends, and all that is read of the last one."""
    place = {node: i for i, node in enumerate(forward)}
    last = {edge: place[edge.node] for node in forward for edge in outputs_of(node)}
    for node in forward:
        last.update({edge: place[node] for edge in node.inputs if edge.node in place})
    width = [0] * (len(forward) + 1)  # bytes alive before each node, and after the last
    for edge, end in last.items():
        width[place[edge.node] + 1] += size_of(builder, edge)
        width[end + 1 if end + 1 < len(width) else -1] -= size_of(builder, edge)
    for i in range(1, len(width)):
        width[i] += width[i - 1]
    whole, usual = (
        sum(size_of(builder, edge) for edge in read),
        sorted(width[1:-1] or [1])[len(width) // 2 - 1],
    )
    segments = max(1, round(math.sqrt(whole / max(usual, 1))))
    step = len(forward) / segments
    cuts = []
    for k in range(1, segments):
        near = range(max(1, int((k - 0.25) * step)), min(len(forward), int((k + 0.25) * step) + 1))
        cuts.append(min(near, key=width.__getitem__, default=int(k * step)))
    kept = {
        edge
        for edge, end in last.items()
        if any(place[edge.node] < cut <= end for cut in nearest(cuts, place[edge.node]))
    }
    rest = {edge for edge in read if edge.node.op.random or (cuts and place[edge.node] >= cuts[-1])}  # type: ignore[union-attr]
    return kept | rest if cuts else set(read)


def nearest(cuts: Sequence[int], at: int) -> list[int]:
    """The first cut after a place."""
    return [cut for cut in cuts if cut > at][:1]


def size_of(builder: Builder, edge: Edge) -> int:
    """Bytes of an edge's elements."""
    dtype = builder.dtypes[edge]
    return math.prod(builder.shapes[edge]) * (dtype.itemsize if dtype else 0)  # type: ignore[arg-type]


class Recompute:
    """Nodes of the backward part anew, with copies of forward nodes made when they are first needed."""

    def __init__(self, builder: Builder, inside: set[Node], kept: set[Edge]) -> None:
        self.builder, self.inside, self.kept = builder, inside, kept
        self.new: dict[Edge, Edge] = {}

    def copy(self, node: Node) -> None:
        """A new node for one of the backward part."""
        for missing in self.missing(node):
            self.make(missing)
        self.make(node)

    def make(self, node: Node) -> None:
        """The same op on the new inputs."""
        inputs = tuple([e if e in self.kept else self.new.get(e, e) for e in node.inputs])
        made = Node(node.op, inputs, node.label)
        for old, edge in zip(self.builder.results(node), self.builder.results(made), strict=True):
            self.new[old] = edge
            self.builder.shapes[edge], self.builder.dtypes[edge] = (
                self.builder.shapes[old],
                self.builder.dtypes[old],
            )

    def missing(self, node: Node) -> list[Node]:
        """Forward nodes that are to be computed again before `node`, in their order."""
        found: set[Node] = set()
        stack: list[Any] = [node]
        while stack:
            for edge in stack.pop().inputs:
                source = edge.node
                if (
                    source in self.inside
                    and edge not in self.kept
                    and edge not in self.new
                    and source not in found
                ):
                    found.add(source)
                    stack.append(source)
        return in_order(found)
