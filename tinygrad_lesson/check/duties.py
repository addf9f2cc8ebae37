"""What a rule owes besides its numbers, and a function besides its slope.

Both repeat themselves, and write nowhere. A rule is linear in the incoming gradient, however that lies and whatever was
computed in between; the forward rule of an op, where it has one, is the transpose of the reverse one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from tinygrad_lesson.check.compare import Rows, pulled
from tinygrad_lesson.check.numeric import FLOOR, SAFETY
from tinygrad_lesson.check.precision import ROUNDED, ROUNDINGS, UNIT, sensitivity
from tinygrad_lesson.check.report import Entry, Report, element_at
from tinygrad_lesson.check.subject import Subject, as_tuple, is_loss, pull_back, recorded_nodes, repeatable
from tinygrad_lesson.eager.apply import ARRAYS, AS_TOLD, AsTold
from tinygrad_lesson.eager.tensor import results_of
from tinygrad_lesson.engine.backprop import apply_vjp, backprop
from tinygrad_lesson.engine.errors import LessonError, ShapeError
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.engine.tangents import is_smooth

CLOSE = 1e-9  # part of the size by which the same sum, taken in another order, may differ at most
MUCH = 1024.0  # times a cotangent, or one over it: beyond whatever bound a rule may clip it to, below whatever it drops
REPEATS = 4  # more runs on the same numbers: what differs in one of two is seen 15 times in 16
PRODUCTS = 5  # random pairs (g, v) for which forward and reverse are compared: one factor for all shows
Row = list[np.ndarray]
Product = tuple[float, float, float]  # <g, J v>, <J' g, v>, and how far rounding may part them


def disturbed(subject: Subject, values: Sequence[Any], report: Report) -> bool:
    """Whether other runs give other numbers, or a run writes into what it was given.

    The first run is at another point: what a function or a rule keeps of it does not belong here.
    """
    with contextlib.suppress(Exception):  # perhaps where the function is not defined
        written_backward(subject, *subject.recorded(elsewhere(subject, 1.1)))
    if not all(alike(values, subject.value(subject.arrays)) for _ in range(REPEATS)):
        undetermined(report, "result")
        return True
    tensors, results = subject.recorded(subject.arrays)
    what = written_forward(subject, tensors, results) or written_backward(subject, tensors, results)
    if what:
        report.refuse("wrong", "in place", what)
    return bool(what)


def alike(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two lists of arrays are equal, not-a-number included."""
    pairs = zip(map(np.asarray, a), b, strict=True)
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind in "fc") for x, y in pairs)


def written_forward(subject: Subject, tensors: Sequence[Any], results: Sequence[Any]) -> str:
    """What the function itself writes to, in words; empty if nothing that it was given."""
    for i, (x, t) in enumerate(zip(subject.arrays, tensors, strict=True)):
        if i not in subject.states and not alike([x], [t.array]):
            return f"the function writes into its input {subject.names[i]!r}"
    if subject.op is not None:
        return ""
    nodes = recorded_nodes(results)
    for node in nodes:
        op: Any = node.op
        if op.random or op.states:
            continue
        with repeatable():
            copies = [x.copy() if isinstance(x, np.ndarray) else x for x in node.operands]
            again = as_tuple(op.forward(np, *copies))
        if alike_nearly(arrays_of(node), again):
            continue
        takers = [repr(user.op) for user in nodes if any(edge.node is node for edge in user.inputs)]
        if takers:
            return f"{' or '.join(dict.fromkeys(takers))} writes into its input, the result of {op!r}"
    return ""


def alike_nearly(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two lists of arrays are equal up to the order of sums."""
    for x, y in zip(a, b, strict=True):
        size = float(np.max(np.abs(y), where=np.isfinite(y), initial=0))
        if np.shape(x) != np.shape(y) or not np.allclose(x, y, CLOSE, CLOSE * size, equal_nan=True):
            return False
    return True


def written_backward(subject: Subject, tensors: Sequence[Any], results: Sequence[Any]) -> str:
    """What a rule writes to, in words; empty if nothing that belongs to others."""
    cotangents = [np.linspace(0.5, 1.5, y.size).reshape(y.shape) for y in results if not is_loss(y)]
    watching = Watching()
    try:
        pull_back([tensors[i] for i in subject.wanted], results, cotangents, watching.sweep)
    except Exception:  # it is raised again where gradients are looked at
        return ""
    if not watching.found:
        return ""
    node, what = watching.found[0]
    return f"the rule (vjp){'' if node.op is subject.op else f' of {node.op!r}'} writes into {what}"


class Watching(AsTold):
    """What was recorded; after each rule it is compared with copies. `found` is what was written to, and where."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Node, str]] = []

    def __getattr__(self, name: str) -> Any:
        """An op as a function: that of the world that looks at nothing, which keeps those it has made."""
        return getattr(AS_TOLD, name)

    def operands(self, node: Any, gs: Any) -> Sequence[Any]:
        """What was recorded, and may not be written to; nor may the cotangent."""
        operands = super().operands(node, gs)
        names = node.op.name_inputs(len(operands) - 2)
        given = [(x, f"its input {name!r}") for x, name in zip(operands[2:], names, strict=True)]
        given += [(part, "a result that others still read") for part in arrays_of(node)]
        given += [(part, "the incoming gradient, which belongs to others too") for part in gs]
        self.given = [(x, np.array(x), what) for x, what in given if x is not None]
        return operands

    def compare(self, node: Node, operands: Any) -> None:
        """After a rule: what has it written to?"""
        written = [what for x, before, what in self.given if not alike([x], [before])]
        self.found += [(node, what) for what in written[:1]]

    def sweep(self, heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any]) -> list[Any]:
        """A reverse sweep that looks on."""
        return backprop(self, heads, wrt, self.compare)


def arrays_of(node: Node) -> tuple[Any, ...]:
    """What a recorded node computed, without new states."""
    values = as_tuple(node.values)
    assert node.op is not None
    return values[: len(values) - len(node.op.states)]


def undetermined(report: Report, what: str) -> None:
    """Two runs on the same numbers differ."""
    sentence = f"the {what} differs from run to run on the same input"
    report.refuse("non-deterministic", "non-deterministic", sentence)


def non_finite(subject: Subject, report: Report, values: Sequence[Any], rule: Sequence[Any]) -> bool:
    """Whether there is a NaN or an infinity in the result, or in the gradient alone."""
    hint = "; check.first_nonfinite names the op"
    for v in values:
        if not np.isfinite(v).all():
            at = element_at(np.argmin(np.isfinite(v)), v.shape)
            report.refuse("non-finite", "", f"the result holds {v[at]} at {list(at)}{hint}")
            return True
    for i, part in zip(subject.wanted, rule, strict=True):
        if not np.isfinite(part).all():
            r, c = np.argwhere(~np.isfinite(part))[0]
            said = f"the result is finite, but not the gradient by the rule{hint}"
            report.refuse("non-finite", "", said, [subject.entry(i, c, part[r, c], np.nan, np.nan)])
            return True
    return False


def awkward(g: np.ndarray) -> np.ndarray:
    """The same numbers, in memory every second one of a larger array, its axes reversed."""
    room: Any = np.full(tuple(2 * n for n in g.shape[::-1]), np.nan)
    view = room[(*[slice(None, None, 2)] * g.ndim, ...)].T
    view[...] = g
    return np.asarray(view)


def breaks_contract(subject: Subject, report: Report, rows: Rows, rule: Row, generator: Generator) -> bool:
    """Whether the gradients are no linear function of the cotangents; the report then says how.

    Cotangents of mixed sign are tried, very large and very small ones, none at all, strided ones, one number repeated,
    and some after the function was computed at another point.
    """
    has_loss = subject.has_loss(subject.arrays)
    shapes = [g.shape for g in next(iter(rows.cotangents))]
    if not sum(map(np.prod, shapes)):
        return False
    a, b = ([np.asarray(generator.normal(size=s)) for s in shapes] for _ in range(2))
    ones = [np.ones(s) for s in shapes]
    far = [y - MUCH * x for x, y in zip(a, b, strict=True)]
    tried: list[Row] = [[0 * x for x in a], a, b, far, [x / MUCH for x in a], ones, [awkward(x) for x in a]]
    tried.append([np.broadcast_to(1.0, s) for s in shapes])
    found = pulled(subject, subject.arrays, Rows(then_after_another(subject, tried, a)))
    for k, i in enumerate(subject.wanted):
        zero, of_a, of_b, of_far, of_little, of_ones, lying, repeated, later = found[k]
        held = zero if has_loss else 0.0  # what comes from a loss comes without being asked for
        linear = of_b - held - MUCH * (of_a - held)
        claims = [
            ("cotangent", "is not 0 when the incoming gradient is 0", zero, held, of_a),
            ("cotangent", "is not linear in the incoming gradient", of_far - held, linear, MUCH * of_a),
            ("cotangent", "is not linear in the incoming gradient", MUCH * (of_little - held), of_a - held, of_a),
            ("cotangent", "depends on how the incoming gradient lies in memory", lying, of_a, of_a),
            ("cotangent", "depends on how the incoming gradient lies in memory", repeated, of_ones, of_ones),
            ("stale state", "changes when the function is computed at another point in between", later, of_a, of_a),
        ]  # fmt: skip
        if rows.weights is None and not has_loss:
            by_unit = np.concatenate([x.ravel() for x in a]) @ rule[k]
            claims.append(("cotangent", "is not linear in the incoming gradient", of_a, by_unit, of_a))
        known = np.isfinite([of_a, of_b, of_far]).all(axis=0)  # of what overflows nothing is known
        for word, said, one, other, size in claims:
            off = np.where(known, np.abs(one - other), 0.0)
            limit = np.full(off.shape, CLOSE * np.max(np.abs(size), initial=1e-300))
            if np.all(off <= limit):
                continue
            large = dataclasses.replace(rows, cotangents=[far])
            moved = sensitivity(subject, subject.arrays, large, [f[3:4] for f in found], ROUNDED, generator)
            limit += SAFETY * np.max(moved[k])
            if np.all(off <= limit):
                continue
            c = int(np.argmax(np.nan_to_num(off - limit, nan=np.inf)))
            worst = [subject.entry(i, c, one[c], np.broadcast_to(other, one.shape)[c], limit[c])]
            verdict = "wrong"
            if word == "cotangent" and np.all(off <= ROUNDINGS * UNIT * np.max(np.abs(size), initial=0)):
                verdict = word = "float noise"
                said = "has only the digits of float32: the incoming gradient went through it on the way"
            said = f"the gradient of {subject.names[i]} {said}"
            report.refuse(verdict, word, said, worst, sides=("rule", "linearity"))
            return True
    return False


def then_after_another(subject: Subject, tried: list[Row], last: Row) -> Iterator[Row]:
    """Cotangents in turn; before the last is asked for, the function is computed at other points."""
    yield from tried
    for times in (1.1, -1.1):  # the second is perhaps where the function is not defined
        with contextlib.suppress(Exception):
            subject.recorded(elsewhere(subject, times))
    yield last


def elsewhere(subject: Subject, times: float) -> list[np.ndarray]:
    """The inputs of another point."""
    return [times * np.roll(x, 1) if i in subject.wanted else x for i, x in enumerate(subject.arrays)]


def forward_part(subject: Subject, report: Report, generator: Generator) -> None:
    """Compare forward with reverse in every recorded op that declares its own forward rule.

    A rule has to do with tangents of all inputs, and with None for those that have none.
    """
    for node in subject.graph():
        op: Any = node.op
        if op.jvp is None or not op.differentiable or op.is_loss:
            continue
        inputs = [np.asarray(x) for x in node.operands]
        wanted = [i for i, x in enumerate(inputs[: len(inputs) - len(op.states)]) if x.dtype.kind == "f"]
        for along in [wanted, *([i] for i in wanted if len(wanted) > 1)]:
            try:
                found = [product(op, results_of(node), inputs, along, generator) for _ in range(PRODUCTS)]
            except Exception as error:
                own = error.__cause__ if isinstance(error.__cause__, Exception) else error
                told = error if isinstance(error, LessonError) else f"{type(own).__name__}: {error}"
                said = f"the forward rule of {op.label()} fails: {told}"
                report.refuse("wrong", "", said, sides=("jvp", "vjp"))
                return
            if disagree(found, report, f"the forward rule of {op.label()}"):
                return


def product(op: Op, ys: Sequence[Any], inputs: Row, along: Sequence[int], generator: Generator) -> Product:
    """``<g, J v>`` by the forward rule and ``<J' g, v>`` by the reverse one, and how far rounding may part them."""

    def any_like(x: Any) -> np.ndarray:
        return np.asarray(generator.normal(size=x.shape)).astype(x.dtype)

    tangents = [any_like(x) if i in along else None for i, x in enumerate(inputs)]
    gs = [any_like(y) if is_smooth(op, i, y) else None for i, y in enumerate(ys)]
    single = op.results == 1
    back = apply_vjp(AS_TOLD, op, (gs[0] if single else tuple(gs), ys[0] if single else tuple(ys), *inputs))
    moved = op.jvp(ARRAYS, tangents, ys[0] if single else tuple(ys), *inputs)  # type: ignore[misc]
    pairs = zip(gs, [moved] if single else moved, ys, strict=True)
    forward = [g * shaped(op, t, y) for g, t, y in pairs if g is not None and t is not None]
    reverse = [back[i] * tangents[i] for i in along if back[i] is not None]
    one, other = (float(sum(t.sum() for t in part)) for part in (forward, reverse))
    sizes = [float(np.abs(t).sum()) for t in (*forward, *reverse)]
    counted = sum(t.size for t in (*forward, *reverse))
    return one, other, FLOOR * sum(sizes) + counted * float(np.finfo(float).tiny)  # below it digits are lost


def shaped(op: Op, t: Any, y: Any) -> Any:
    """A tangent in the shape of its result. ShapeError if it does not fit."""
    t = np.asarray(t)
    try:
        return np.broadcast_to(t, y.shape)
    except ValueError:
        expected = f"expected {show(y.shape)} as the result"
        raise ShapeError(f"a tangent of shape {show(t.shape)}, {expected}") from None


def disagree(found: Sequence[Product], report: Report, what: str) -> bool:
    """Refuse a forward rule that does not fit the reverse one, which is right.

    Source
        Claerbout 2014, "Geophysical image estimation by example", section 2: the dot-product test.
    """
    report.compared += len(found)
    wrong = [each for each in found if not abs(each[0] - each[1]) <= each[2]]
    if not wrong:
        return False
    ratio = found[0][0] / found[0][1] if found[0][1] else 0.0
    always = ratio and all(abs(a - ratio * b) <= max(1.0, abs(ratio)) * bar for a, b, bar in found)
    cause = ("sign" if abs(ratio + 1) <= CLOSE else "factor") if always else "missing term"
    said = f"{what} is not the transpose of the reverse one, which agrees with differences"
    report.refuse("wrong", cause, said, [Entry("all inputs", None, "<g, J v>", *each) for each in wrong])
    report.sides, report.factor = ("jvp", "vjp"), ratio if cause == "factor" else None
    return True
