"""Forward mode: tangents travel through an op by its own rule, or by the transpose of its `vjp`.

`vjp` is linear in the cotangent, ``g -> g J``, so that its transpose is ``t -> J t``. It is found by the one sweep,
over what the rule does to `g`: once for each op with its attributes, at given shapes and types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.engine.backprop import apply_vjp, backprop, gradient_of
from tinygrad_lesson.engine.composite import ABSTRACT, Beneath, Taped, Told
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.graph import Edge, ancestors
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, exactly

MOST = 1024  # rules that are remembered


def push(F: Any, op: Any, tangents: Sequence[Any], ys: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """Tangents of all results of an op in a world, for those of its inputs; None for zero.

    Errors
        LessonError naming the op, where its rule fails.
    """
    if op.jvp is not None:
        found = op.jvp(F, tangents, ys if op.results > 1 else ys[0], *inputs)
        found = list(found) if op.results > 1 else [found]
    elif op.multilinear or is_own_transpose(F, op, ys, inputs):
        along = [(i, t) for i, t in enumerate(tangents) if t is not None]
        found = [summed(F, op, along, ys[0], inputs)]
    else:
        found = transposed(F, op, tangents, ys, inputs)(F, [*ys, *inputs, *tangents])
    return [None if t is None else fitted(F, t, y) for t, y in zip(found, ys, strict=True)]


def is_own_transpose(F: Any, op: Any, ys: Sequence[Any], inputs: Sequence[Any]) -> bool:
    """Whether a rule multiplies each element of the cotangent by a number: before it is summed, if it is ours."""
    if not isinstance(op, Elementwise) or len(ys) > 1:
        return False
    return op.ours or all(F.shape(x) == F.shape(ys[0]) for x in inputs)


def summed(F: Any, op: Any, along: Sequence[tuple[int, Any]], y: Any, inputs: Sequence[Any]) -> Any:
    """The tangent of the one result of an op, as a sum over those inputs that have one; None for zero.

    A multilinear op is carried out with a tangent in the place of its input; the rule of an elementwise op is given a
    tangent for a cotangent.
    """
    total = None
    for i, t in along:
        if not op.multilinear:
            part = gradient_of(F, op, (t, y, *inputs), i)
        elif i < op.multilinear:
            part = F.apply(op, (*inputs[:i], t, *inputs[i + 1 :]))
        else:
            part = None
        if part is not None:
            total = part if total is None else total + part
    return total


def fitted(F: Any, t: Any, y: Any) -> Any:
    """A tangent in the shape and type of its result."""
    if F.shape(t) != F.shape(y):
        t = F.broadcast_to(t, shape=F.shape(y))
    return F.typed(t, F.dtype(y))


def is_smooth(op: Op, i: int, y: Any) -> bool:
    """Whether result number `i` has a tangent: it is a number with a fraction, and no state."""
    return i < len(op.outputs) and (y.dtype is None or y.dtype.kind in "fc")


class Transposed:
    """The transpose of a rule, as a list of ops: a function of results, inputs and tangents."""

    def __init__(self, op: Op, ys: Sequence[Any], inputs: Sequence[Any], along: Sequence[Any]) -> None:
        self.op = op  # lives as long as this does: see `exactly`
        noted = Taped(ABSTRACT)
        of_results, of_inputs, tangents = ([noted.leaf(x) for x in part] for part in (ys, inputs, along))
        above = Taped(noted)
        results, xs = ([above.leaf(x) for x in part] for part in (of_results, of_inputs))
        smooth = [is_smooth(op, i, y) for i, y in enumerate(ys)]
        zeros = [
            noted.full(shape=y.shape, value=0.0, dtype=str(y.dtype)) if moves else None
            for y, moves in zip(ys, smooth, strict=True)
        ]
        gs = [
            None if zero is None else above.leaf(zero) for zero in zeros
        ]  # linear: its derivative is the same anywhere
        single = len(ys) == 1
        gradients = apply_vjp(
            above, op, (gs[0], results[0], *xs) if single else (tuple(gs), tuple(results), *xs)
        )
        pairs = zip(gradients, tangents, along, strict=True)
        heads = [(g, t) for g, t, known in pairs if known is not None and isinstance(g, Edge)]
        found = iter(backprop(Beneath(above), heads, [g for g in gs if g is not None]))
        self.heads: list[int | None] = []
        self.steps: list[tuple[Op, tuple[int, ...], int, int]] = []
        self.constants: list[tuple[int, Any]] = []
        every = [next(found) if moves else None for moves in smooth]
        self.note([*of_results, *of_inputs, *tangents], every)

    def note(self, leaves: Sequence[Any], found: Sequence[Any]) -> None:
        """What the ops are that were noted, with numbered places for what they read and give."""
        place: dict[Any, int] = {leaf.node: i for i, leaf in enumerate(leaves)}
        self.count = len(leaves)
        for node in ancestors([edge.node for edge in found if edge is not None]):
            if node in place:
                continue
            place[node] = self.count
            made: Any = node.op
            if isinstance(made, Constant):
                self.constants.append((self.count, made.value))
                self.count += 1
            else:
                reads = tuple([place[edge.node] + edge.index for edge in node.inputs])
                self.steps.append((made, reads, self.count, made.results))
                self.count += made.results
        self.heads = [None if edge is None else place[edge.node] + edge.index for edge in found]

    def __call__(self, F: Any, leaves: Sequence[Any]) -> list[Any]:
        """The tangents in a world."""
        values: list[Any] = [*leaves, *[None] * (self.count - len(leaves))]
        for place, value in self.constants:
            values[place] = value
        for op, reads, place, count in self.steps:
            y = F.apply(op, [values[i] for i in reads])
            values[place : place + count] = y if count > 1 else (y,)
        return [None if place is None else values[place] for place in self.heads]


RULES: dict[Any, Any] = {}


def transposed(
    F: Any, op: Op, tangents: Sequence[Any], ys: Sequence[Any], inputs: Sequence[Any]
) -> Transposed:
    """The transpose of the rule of an op for values like these, made once."""
    parts = (ys, inputs, tangents)
    key = exactly(op), *[tuple([told_of(F, x) for x in part]) for part in parts]
    rule = RULES.get(key)
    if rule is None:
        if len(RULES) >= MOST:
            RULES.clear()
        rule = RULES[key] = Transposed(op, *[[described(F, x) for x in part] for part in parts])
    return rule  # type: ignore[no-any-return]


def told_of(F: Any, x: Any) -> Any:
    """What a rule may depend on: shape and type of a value."""
    return x if x is None else type(x) if type(x) in NUMBERS else (F.shape(x), F.dtype(x))


def described(F: Any, x: Any) -> Any:
    """A value of which that is known."""
    return x if x is None or type(x) in NUMBERS else Told(F.shape(x), F.dtype(x))
