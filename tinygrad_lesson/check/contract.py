"""What a rule owes to the incoming gradient: to be linear in it, however it lies, whatever came between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_lesson.check.compare import Rows, pulled
from tinygrad_lesson.check.numeric import SAFETY
from tinygrad_lesson.check.precision import ROUNDED, sensitivity
from tinygrad_lesson.check.purity import CLOSE
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Arrays, Subject

MUCH = 1000.0  # times a cotangent: beyond whatever bound a rule may clip it to
Row = list[np.ndarray]


def awkward(g: np.ndarray) -> np.ndarray:
    """The same numbers, in memory every second one of a larger array, its axes reversed."""
    room: Any = np.full(tuple(2 * n for n in g.shape[::-1]), np.nan)
    view = room[(*[slice(None, None, 2)] * g.ndim, ...)].T
    view[...] = g
    return np.asarray(view)


def breaks_contract(
    subject: Subject, report: Report, rows: Rows, rule: Arrays, generator: np.random.Generator
) -> bool:
    """Whether the gradients are no linear function of the cotangents; the report then says how.

    Cotangents of mixed sign are tried, very large ones, none at all, strided ones, one number repeated, and some
    after the function was computed at another point.
    """
    has_loss = subject.has_loss(subject.arrays)
    shapes = [g.shape for g in next(iter(rows.cotangents))]
    if not sum(map(np.prod, shapes)):
        return False
    a, b = ([np.asarray(generator.normal(size=s)) for s in shapes] for _ in range(2))
    ones = [np.ones(s) for s in shapes]
    far = [y - MUCH * x for x, y in zip(a, b, strict=True)]
    tried: list[Row] = [[0 * x for x in a], a, b, far, ones, [awkward(x) for x in a]]
    tried.append([np.broadcast_to(1.0, s) for s in shapes])
    found = pulled(subject, subject.arrays, Rows(then_after_another(subject, tried, a), None, None, []))
    for k, i in enumerate(subject.wanted):
        zero, of_a, of_b, of_far, of_ones, lying, repeated, later = found[k]
        held = zero if has_loss else 0.0  # what comes from a loss comes without being asked for
        linear = of_b - held - MUCH * (of_a - held)
        claims = [
            ("cotangent", "is not 0 where the incoming gradient is", zero, held, of_a),
            ("cotangent", "is not linear in the incoming gradient", of_far - held, linear, MUCH * of_a),
            ("cotangent", "depends on how the incoming gradient lies in memory", lying, of_a, of_a),
            ("cotangent", "depends on how the incoming gradient lies in memory", repeated, of_ones, of_ones),
            ("stale state", "is another one if the function was computed elsewhere in between", later, of_a, of_a),
        ]  # fmt: skip
        if rows.weights is None and not has_loss:
            by_unit = np.concatenate([x.ravel() for x in a]) @ rule[k]
            claims.append(("cotangent", "is not linear in the incoming gradient", of_a, by_unit, of_a))
        for word, said, one, other, size in claims:
            off = np.abs(one - other)
            limit = np.full(off.shape, CLOSE * np.max(np.abs(size), initial=1e-300))
            if np.all(off <= limit):
                continue
            large = rows.with_cotangents([far])
            moved = sensitivity(subject, subject.arrays, large, [f[3:4] for f in found], ROUNDED, generator)
            limit += SAFETY * np.max(moved[k])
            if np.all(off <= limit):
                continue
            c = int(np.argmax(np.nan_to_num(off - limit, nan=np.inf)))
            element = tuple(int(n) for n in np.unravel_index(c, subject.arrays[i].shape))
            numbers = float(one[c]), float(np.broadcast_to(other, one.shape)[c]), float(limit[c])
            report.verdict, report.cause = "wrong", word
            report.sentence = f"the gradient of {subject.names[i]} {said}"
            report.worst, report.failed = [Entry(subject.names[i], element, "result", *numbers)], 1
            report.sides = "rule", "linearity"
            return True
    return False


def then_after_another(subject: Subject, tried: list[Row], last: Row) -> Iterator[Row]:
    """Cotangents in turn; before the last is asked for, the function is computed at other points."""
    yield from tried
    for times in (1.1, -1.1):  # the second is perhaps where the function is not defined
        with contextlib.suppress(Exception):
            subject.recorded(
                [times * np.roll(x, 1) if i in subject.wanted else x for i, x in enumerate(subject.arrays)]
            )
    yield last
