"""Forward against reverse: an op that declares its own `jvp` is held to its `vjp`, which agrees with differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.numeric import FLOOR
from tinygrad_lesson.check.purity import recorded_nodes
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Subject
from tinygrad_lesson.eager.apply import ARRAYS, AS_TOLD
from tinygrad_lesson.eager.tensor import results_of
from tinygrad_lesson.engine.backprop import apply_vjp
from tinygrad_lesson.engine.errors import LessonError, ShapeError
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.engine.tangents import is_smooth

PRODUCTS = 5  # random pairs (g, v) for which forward and reverse are compared
Product = tuple[float, float, float]  # <g, J v>, <J' g, v>, and how far rounding may part them


def forward_part(subject: Subject, report: Report, generator: np.random.Generator) -> None:
    """Compare forward with reverse in every recorded op that declares its own forward rule.

    A rule has to do with tangents of all inputs, and with None for those that have none.
    """
    for node in recorded_nodes(subject.recorded(subject.arrays)[1]):
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
                report.verdict, report.sides = "wrong", ("jvp", "vjp")
                report.sentence = f"the forward rule of {op.label()} fails: {told}"
                return
            if disagree(found, report, f"the forward rule of {op.label()}"):
                return


def product(
    op: Op, ys: Sequence[Any], inputs: Sequence[Any], along: Sequence[int], generator: np.random.Generator
) -> Product:
    """``<g, J v>`` by the forward rule and ``<J' g, v>`` by the reverse one, and how far rounding may part them."""
    tangents: list[Any] = [None] * len(inputs)
    for i in along:
        tangents[i] = np.asarray(generator.normal(size=inputs[i].shape)).astype(inputs[i].dtype)
    gs = [
        np.asarray(generator.normal(size=y.shape)).astype(y.dtype) if is_smooth(op, i, y) else None
        for i, y in enumerate(ys)
    ]
    single = op.results == 1
    back = apply_vjp(AS_TOLD, op, (gs[0] if single else tuple(gs), ys[0] if single else tuple(ys), *inputs))
    moved = op.jvp(ARRAYS, tangents, ys[0] if single else tuple(ys), *inputs)  # type: ignore[misc]
    pairs = zip(gs, [moved] if single else moved, ys, strict=True)
    forward = [g * shaped(op, t, y) for g, t, y in pairs if g is not None and t is not None]
    reverse = [back[i] * tangents[i] for i in along if back[i] is not None]
    one, other = (float(sum(t.sum() for t in part)) for part in (forward, reverse))
    return one, other, FLOOR * sum(float(np.abs(t).sum()) for t in (*forward, *reverse))


def shaped(op: Op, t: Any, y: Any) -> Any:
    """A tangent in the shape of its result.

    Errors
        ShapeError if it does not fit.
    """
    t = np.asarray(t)
    try:
        return np.broadcast_to(t, y.shape)
    except ValueError:
        raise ShapeError(
            f"a tangent of shape {show(t.shape)}, expected {show(y.shape)} as the result"
        ) from None


def disagree(found: Sequence[Product], report: Report, what: str) -> bool:
    """Refuse a forward rule that does not fit the reverse one, which is right.

    Source
        Claerbout 2014, "Geophysical image estimation by example", section 2: the dot-product test.
    """
    report.compared += len(found)
    wrong = [each for each in found if not abs(each[0] - each[1]) <= each[2]]
    if not wrong:
        return False
    report.verdict, report.sides, report.failed = "wrong", ("jvp", "vjp"), len(wrong)
    ratio = found[0][0] / found[0][1] if found[0][1] else 0.0
    always = ratio and all(abs(a - ratio * b) <= max(1.0, abs(ratio)) * bar for a, b, bar in found)
    report.cause = ("sign" if abs(ratio + 1) <= 1e-9 else "factor") if always else "missing term"
    report.factor = ratio if report.cause == "factor" else None
    report.sentence = f"{what} is not the transpose of the reverse one, which agrees with differences"
    report.worst = [Entry("all inputs", None, "<g, J v>", *each) for each in wrong]
    return True
