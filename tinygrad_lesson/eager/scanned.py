"""A loop as one op: its body is a graph, and so are its derivatives and what it does for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.eager import turned
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.stepped import Body, known_body
from tinygrad_lesson.engine.graph import Edge, ancestors
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.plan.passes import Narrowed


@declares
class Scan(Op):
    """Carry out a body `length` times: it hands states on, reads a row of each of `xs`, and gives a row of each `y`.

    Inputs are what all steps see, then the first states, then `xs`. Results are the last states, then all y.

    Shapes
        x (length, ...), y (length, ...); states as in the body
    """

    traceable: ClassVar[bool] = False
    nested: ClassVar[bool] = True
    name: ClassVar[str] = "Scan"
    function: ClassVar[str] = "scan_"
    family: ClassVar[str] = "loops"
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    variadic: ClassVar[bool] = True
    body: Any = attr(doc="what is done in each step")
    length: int = attr(minimum=1, doc="number of steps")
    carried: int = attr(minimum=0, doc="number of states")
    scanned: int = attr(minimum=0, doc="number of arrays that have a row for each step")
    reverse: bool = attr(False, doc="begin with the last row")
    kept: bool = attr(False, doc="the last results are the states before each step")
    shows: bool = attr(False, doc="these are shown, too")

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each array."""
        return tuple(f"output{i}" for i in range(len(self.body.results)))

    @property
    def visible(self) -> int:
        """All but the states before each step, where they are kept for a derivative."""
        return len(self.body.results) - self.carried * (self.kept and not self.shows)

    def label(self) -> str:
        """What is told of it."""
        told = ", reverse" if self.reverse else ""
        return f"Scan({self.length} steps of {len(self.body.order)} ops{told})"

    def shape(self, *shapes: Any) -> Any:
        """The states', and those of a row for each step."""
        known = [shape for shape, _ in self.body.results]
        found = (*known[: self.carried], *[(self.length, *shape) for shape in known[self.carried :]])
        return found if len(found) > 1 else found[0]

    def dtype(self, *dtypes: Any) -> Any:
        """As in the body."""
        found = tuple(dtype for _, dtype in self.body.results)
        return found if len(found) > 1 else found[0]

    @property
    def order(self) -> range:
        """The numbers of the rows, step by step."""
        return range(self.length)[:: -1 if self.reverse else 1]

    def parts(self, xs: Sequence[Any]) -> tuple[Any, Any, Any]:
        """What all steps see, the states, and what has a row for each step."""
        end = len(xs) - self.scanned
        begin = end - self.carried
        return tuple(xs[:begin]), tuple(xs[begin:end]), tuple(xs[end:])

    def forward(self, xp: Any, *x: Any, runner: Any = None) -> Any:
        """All steps, by the body's own plan."""
        given = [np.asarray(v, dtype) for v, (_, dtype) in zip(x, self.body.specs, strict=True)]
        rows = [np.empty((self.length, *shape), dtype) for shape, dtype in self.body.results[self.carried :]]
        with self.body.lock:
            states = self.body.runner(runner).loop(self.order, given, self.carried, self.scanned, rows)
        found = (*states, *rows)
        return found if len(found) > 1 else found[0]

    def narrowed(self, used: Sequence[int]) -> Narrowed:
        """This loop with some of its results, and such states as these need."""
        body, carried = self.body, self.carried
        leaves = [leaf for leaf, _ in body.leaves]
        begin = len(leaves) - self.scanned - carried
        live = set(used)
        while True:
            needed = set(ancestors([body.heads[i].node for i in live]))
            more = {i for i in range(carried) if leaves[begin + i] in needed} - live
            if not more:
                break
            live |= more
        kept = [
            i
            for i, leaf in enumerate(leaves)
            if leaf in needed or i - begin in live.intersection(range(carried))
        ]
        results = sorted(live)
        heads = [(body.heads[i], body.examples[i]) for i in results]
        constants = [pair for pair in body.constants if pair[0] in needed]
        made = known_body(Body([body.leaves[i] for i in kept], heads, constants))
        states, rows = (
            sum(low <= i < high for i in kept)
            for low, high in ((begin, begin + carried), (begin + carried, len(leaves)))
        )
        return Narrowed(Scan(made, self.length, states, rows, self.reverse), kept, results)

    def way(self, runner: Any) -> str:
        """How a runner carries it out."""
        inner = self.body.runner(runner)
        return (
            f"its own plan, {inner.told_loop(self.order, len(self.body.leaves), self.carried, self.scanned)}"
        )

    def plans(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """What a listing or a file tells of it: its kind, the plan with what is held for it, and how it goes."""
        settings = {name: getattr(self, name) for name in ("length", "carried", "scanned", "reverse")}
        return "scan", [(self.body.plan()[0], self.body.held())], settings

    def with_states(self) -> Scan:
        """This loop, which gives the states before each step, too."""
        body = self.body
        states = self.parts(body.leaves)[1]
        heads = [*zip(body.heads, body.examples, strict=True), *[(Edge(leaf), x) for leaf, x in states]]
        return changed(self, body=body.with_heads(heads), kept=True)

    def knowing_states(self, F: Any, y: Any, x: Sequence[Any]) -> tuple[Scan, Sequence[Any]]:
        """This loop and all its results with the states before each step; if these were not kept, it is run again."""
        if self.kept:
            return self, y if self.results > 1 else (y,)
        op = self.with_states()
        return op, every(F, op, x)

    def derived(self, make: Any, *key: Any) -> Any:
        """What `turned` makes of the body, once."""
        key = (make.__name__, self.carried, self.scanned, *key)
        known = self.body.derived
        if key not in known:
            begin, states, _ = map(len, self.parts(self.body.leaves))
            known[key] = make(self.body, begin, begin + states, *key[3:])
        return known[key]

    def vjp(self, F: Any, g: Any, y: Any, *x: Any) -> Any:
        """A loop that goes back, through the states before each step."""
        gs = g if self.results > 1 else (g,)
        op, ys = self.knowing_states(F, y, x)
        gs = (*gs, *[None] * (len(ys) - len(gs)))
        first, later = gs[: self.carried], gs[self.carried :]
        made, places = op.derived(turned.reversed_body, tuple([g is not None for g in later]))
        if not made.heads:
            return [None] * len(x)
        seen, _, xs = self.parts(x)
        pairs = zip(places[: len(seen)], self.body.specs, strict=False)
        states = [zeros(F, spec) for place, spec in pairs if place is not None]
        pairs = zip(first, self.body.results, strict=False)
        states += [zeros(F, spec) if g is None else g for g, spec in pairs if spec[1].kind == "f"]
        rows = [*ys[len(ys) - self.carried :], *xs, *[g for g in later if g is not None]]
        back = Scan(made, self.length, len(states), len(rows), not self.reverse)
        found = every(F, back, (*seen, *states, *rows))
        return [None if place is None else found[place] for place in places]

    def jvp(self, F: Any, tangents: Any, y: Any, *x: Any) -> Any:  # type: ignore[override]
        """A loop that hands on tangents, beside the states before each step."""
        op, ys = self.knowing_states(F, y, x)
        seen, _, xs = map(len, self.parts(x))
        end, specs = len(x) - xs, self.body.specs
        moves = [
            specs[i][1].kind == "f" if seen <= i < end else t is not None for i, t in enumerate(tangents)
        ]
        made, places = op.derived(turned.pushed_body, tuple(moves))
        ts = [
            zeros(F, spec) if t is None else t
            for t, spec, flag in zip(tangents, specs, moves, strict=True)
            if flag
        ]
        count, late = sum(moves[:end]), sum(moves[end:])
        rows = [*ys[len(ys) - self.carried :], *x[end:], *ts[count:]]
        along = Scan(made, self.length, count - sum(moves[:seen]), self.carried + xs + late, self.reverse)
        moved = every(F, along, (*x[:seen], *ts[:count], *rows)) if made.heads else ()
        found = [None if place is None else moved[place] for place in places][: self.results]
        return found if len(found) > 1 else found[0]

    def vmap(self, level: Any, x: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
        """A loop of the body for a batch. A state differs from sample to sample where a step makes it so."""
        body, count = self.body, level.count
        seen, states, xs = self.parts(flags)
        own = [False] * (self.results - self.carried)
        while True:
            key = "vmap", self.carried, self.scanned, count, (*seen, *states, *xs)
            if key not in body.derived:
                body.derived[key] = turned.batched_body(body, count, key[-1], (*states, *own))
            made, differ = body.derived[key]
            new = tuple([a or b for a, b in zip(states, differ, strict=False)])
            if new == states:
                break
            states = new
        wide = (*seen, *states, *xs)
        given = [spread(count, v) if now and not f else v for v, f, now in zip(x, flags, wide, strict=True)]
        end = len(x) - self.scanned
        given[end:] = [turned_over(v) if flag else v for v, flag in zip(given[end:], xs, strict=True)]
        found = every(TENSORS, changed(self, body=made), given)
        last = [y if flag else spread(count, y) for y, flag in zip(found, states, strict=False)]
        pairs = zip(found[self.carried :], differ[self.carried :], strict=True)
        return [*last, *[turned_over(y) if flag else spread(count, y) for y, flag in pairs]]


def spread(count: int, x: Any) -> Any:
    """The same for each sample."""
    return TENSORS.broadcast_to(x, shape=(count, *x.shape))


def turned_over(x: Any) -> Any:
    """Steps before samples, or the other way."""
    return TENSORS.swapaxes(x, axis1=0, axis2=1)


def zeros(F: Any, spec: Any) -> Any:
    """What has come to nothing yet."""
    return F.full(shape=spec[0], value=0.0, dtype=str(spec[1]))


def changed(op: Scan, **others: Any) -> Scan:
    """The same loop with other attributes."""
    return Scan(**{**vars(op), **others})


def every(F: Any, op: Scan, x: Sequence[Any]) -> tuple[Any, ...]:
    """All results of an op in a world, those too that it does not show."""
    found = F.apply(changed(op, shows=True), x)
    return found if isinstance(found, tuple) else (found,)
