"""A choice as one op: of two bodies, which are graphs, one is carried out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.eager import turned
from tinygrad_lesson.eager.apply import TENSORS as T
from tinygrad_lesson.eager.batched import Batched
from tinygrad_lesson.eager.nested import mapped
from tinygrad_lesson.eager.stepped import Body, derived_body, known_body
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.graph import ancestors
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.plan.passes import Narrowed


@declares
class Cond(Op):
    """Carry out the body `true` where the first input is not 0, else `false`; both read all the other inputs."""

    traceable: ClassVar[bool] = False
    nested: ClassVar[bool] = True
    name: ClassVar[str] = "Cond"
    function: ClassVar[str] = "cond_"
    family: ClassVar[str] = "loops"
    inputs: ClassVar[tuple[str, ...]] = ("condition", "x")
    variadic: ClassVar[bool] = True
    true: Any = attr(doc="what is done where the condition holds")
    false: Any = attr(doc="what is done where it does not")

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each array."""
        return tuple(f"output{i}" for i in range(len(self.true.results)))

    def label(self) -> str:
        """What is told of it."""
        return f"Cond({len(self.true.order)} ops or {len(self.false.order)})"

    def shape(self, *shapes: Any) -> Any:
        """As in both bodies."""
        found = tuple(shape for shape, _ in self.true.results)
        return found if len(found) > 1 else found[0]

    def dtype(self, *dtypes: Any) -> Any:
        """As in both bodies."""
        found = tuple(dtype for _, dtype in self.true.results)
        return found if len(found) > 1 else found[0]

    def forward(self, xp: Any, condition: Any, *x: Any, runner: Any = None) -> Any:
        """The one body, by its own plan."""
        body = self.true if np.asarray(condition).item() else self.false
        given = [np.asarray(v, dtype) for v, (_, dtype) in zip(x, body.specs, strict=True)]
        rows = [np.empty((1, *shape), dtype) for shape, dtype in body.results]
        with body.lock:
            body.runner(runner).loop(range(1), given, 0, 0, rows)
        found = tuple([row[0] for row in rows])
        return found if len(found) > 1 else found[0]

    def both(self, make: Any, *key: Any) -> Any:
        """What `make` makes of each body, once."""
        key = (make.__name__, id(self.false), *key)  # lives as long as this: it is kept beside
        known = self.true.derived
        if key not in known:
            known[key] = self.false, make(self.true, self.false, *key[2:])
        return known[key][1]

    def vjp(self, F: Any, g: Any, y: Any, condition: Any, *x: Any) -> Any:
        """The choice between the ways back."""
        gs = g if self.results > 1 else (g,)
        bodies, places = self.both(reversed_bodies, tuple([g is not None for g in gs]))
        found = chosen(F, bodies, (condition, *x, *[g for g in gs if g is not None]))
        return [None, *[None if place is None else found[place] for place in places]]

    def jvp(self, F: Any, tangents: Any, y: Any, condition: Any, *x: Any) -> Any:  # type: ignore[override]
        """The choice between tangents."""
        moves = tuple([t is not None for t in tangents[1:]])
        bodies, places = self.both(pushed_bodies, moves)
        moved = chosen(F, bodies, (condition, *x, *[t for t in tangents[1:] if t is not None]))
        found = [None if place is None else moved[place] for place in places]
        return found if len(found) > 1 else found[0]

    def vmap(self, level: Any, x: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
        """The choice between bodies for a batch; where samples choose otherwise, both are carried out."""
        if not flags[0]:
            bodies = self.both(batched_bodies, level.count, tuple(flags[1:]))
            return list(chosen(T, bodies, x))
        own = [Batched(level, v) if flag else v for v, flag in zip(x, flags, strict=True)]
        condition = T.reshape(T.not_equal(own[0], 0), shape=())
        found = by_element(
            condition, lambda *xs: self.true.again(xs), lambda *xs: self.false.again(xs), own[1:]
        )
        return [level.leave(y, 0) for y in found]

    def way(self, runner: Any) -> str:
        """How a runner carries it out."""
        return "one of its own plans"

    def plans(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """What a listing or a file tells of it: its kind, and both plans with what is held for them."""
        return "cond", [(body.plan()[0], body.held()) for body in (self.true, self.false)], {}

    def narrowed(self, used: Sequence[int]) -> Narrowed:
        """This choice with some of its results."""
        parts = [[(body.heads[i], body.examples[i]) for i in used] for body in (self.true, self.false)]
        needed = set(ancestors([edge.node for part in parts for edge, _ in part]))
        kept = [
            i
            for i, (leaf, _) in enumerate(self.true.leaves)
            if leaf in needed or self.false.leaves[i][0] in needed
        ]
        bodies = [
            known_body(
                Body([body.leaves[i] for i in kept], part, [c for c in body.constants if c[0] in needed])
            )
            for body, part in zip((self.true, self.false), parts, strict=True)
        ]
        return Narrowed(Cond(*bodies), [0, *[i + 1 for i in kept]], used)


def chosen(F: Any, bodies: tuple[Body, Body], x: Sequence[Any]) -> tuple[Any, ...]:
    """All results of a choice in a world."""
    if not bodies[0].heads:
        return ()
    found = F.apply(Cond(*bodies), x)
    return found if isinstance(found, tuple) else (found,)


def by_element(condition: Any, true: Any, false: Any, operands: Any) -> Any:
    """Both functions, and a choice between their results. The gradient of what is not taken ends at the operands."""

    def only(x: Any, taken: bool) -> Any:
        """The same number, whose gradient ends where the function is not taken."""
        if not isinstance(x, Tensor) or x.dtype.kind not in "fc":
            return x
        pair = (x, T.stop_gradient(x)) if taken else (T.stop_gradient(x), x)
        return T.where(condition, *pair)

    one, other = (mapped(lambda x, taken=taken: only(x, taken), tuple(operands)) for taken in (True, False))
    return mapped(lambda a, b: a if a is None else T.where(condition, a, b), true(*one), false(*other))


Bodies = tuple[tuple[Body, Body], Sequence[Any]]


def matched(functions: Sequence[Any], examples: Sequence[Any], like: Sequence[Any]) -> Bodies:
    """Bodies of two functions, with zeros, as arrays `like` tell, where only the other gives something."""
    given = [[place is not None for place in derived_body("cond", f, examples)[1]] for f in functions]
    wanted = [a or b for a, b in zip(*given, strict=True)]

    def filled(f: Any) -> Any:
        def whole(*tensors: Any) -> list[Any]:
            found = zip(f(*tensors), like, wanted, strict=True)
            return [
                T.full(shape=x.shape, value=0.0, dtype=str(x.dtype)) if g is None and want else g
                for g, x, want in found
            ]

        return derived_body("cond", whole, examples)

    (true, places), (false, _) = map(filled, functions)
    return (true, false), places


def reversed_bodies(true: Body, false: Body, come: Sequence[bool]) -> Bodies:
    """The ways back: they read what the bodies read, and the cotangents that have come."""
    inputs = [x for _, x in true.leaves]
    gys = turned.chosen(true.examples, come)

    def back(body: Body) -> Any:
        def function(*tensors: Any) -> list[Any]:
            own, gs = turned.taken(iter(tensors), inputs, gys)
            return turned.pulled(body, own, turned.filled_in(iter(gs), come))

        return function

    return matched([back(true), back(false)], [*inputs, *gys], inputs)


def pushed_bodies(true: Body, false: Body, moves: Sequence[bool]) -> Bodies:
    """The tangents: they read what the bodies read, and the tangents of what `moves`."""
    inputs = [x for _, x in true.leaves]
    along = turned.chosen(inputs, moves)

    def push(body: Body) -> Any:
        def function(*tensors: Any) -> list[Any]:
            own, ts = turned.taken(iter(tensors), inputs, along)
            return turned.pushed(body, own, ts, moves)

        return function

    return matched([push(true), push(false)], [*inputs, *along], true.examples)


def batched_bodies(true: Body, false: Body, count: int, flags: Sequence[bool]) -> tuple[Body, Body]:
    """Both for a batch: all results have an axis in front."""
    wanted = [True] * len(true.heads)
    one, other = (turned.batched_body(body, count, flags, wanted)[0] for body in (true, false))
    return one, other
