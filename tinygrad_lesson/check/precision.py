"""Single precision against double, and the compiled plan against the rules."""

from collections.abc import Sequence

import numpy as np

from tinygrad_lesson.check.compare import Rows, WrongShapeError, pulled
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Subject, SymbolSubject

SHORT = np.float32
UNIT = float(np.finfo(SHORT).eps)
ROUNDINGS = 16.0  # that may add up in one number, besides the square root of how many numbers there are


def shortened(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Floats in single precision."""
    return [x.astype(SHORT) if x.dtype.kind == "f" else x for x in arrays]


def short_part(
    subject: Subject, report: Report, rows: Rows, rule: Sequence[np.ndarray], generator: np.random.Generator
) -> None:
    """Compare gradients in single precision with those in double, at the same numbers.

    How far they may part follows from the unit of single precision, from the size of the gradients, and
    from how much those in double precision move when every input moves by that unit.
    """
    short = shortened(subject.arrays)
    if not all(np.isfinite(x).all() for x in short) or not all(
        np.isfinite(v).all() for v in subject.value(short)
    ):
        report.notes.append("beyond the range of single precision, which was not checked")
        return
    same = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in short]
    rows = Rows(
        [[c.astype(SHORT).astype(np.float64) for c in row] for row in rows.cotangents],
        rows.weights,
        None,
        rows.names,
    )
    try:
        found, exact = pulled(subject, short, rows), pulled(subject, same, rows)
    except WrongShapeError:
        return
    size = max(x.size for x in subject.arrays)
    values = np.abs(rows.weigh(subject.value(same)))
    for reach in (UNIT, 64 * UNIT):
        moved = sensitivity(subject, same, rows, exact, reach, generator)
        bad = None
        for k, i in enumerate(subject.wanted):
            scale = np.maximum(
                np.max(np.abs(exact[k]), axis=1), values / max(1.0, float(np.max(np.abs(same[i]))))
            )
            limit = ROUNDINGS * moved[k] + UNIT * (ROUNDINGS + np.sqrt(size)) * scale[:, None]
            gap = np.abs(found[k] - exact[k])
            if not np.all(gap <= limit):
                r, c = np.unravel_index(int(np.argmax(gap / (limit + 1e-300))), gap.shape)
                element = tuple(int(a) for a in np.unravel_index(c, subject.arrays[i].shape))
                numbers = float(found[k][r, c]), float(exact[k][r, c]), float(limit[r, c])
                bad = bad or Entry(subject.names[i], element, rows.names[r], *numbers)
        if bad is None:
            return
    report.worst = [bad] if bad else []
    report.verdict = report.cause = "float noise"
    report.sentence = (
        "in single precision (here: the rule) the gradient parts from that in double (here: differences)"
    )


def sensitivity(
    subject: Subject,
    arrays: Sequence[np.ndarray],
    rows: Rows,
    exact: Sequence[np.ndarray],
    reach: float,
    generator: np.random.Generator,
) -> list[np.ndarray]:
    """How much gradients in double precision move as all inputs and cotangents move by parts of `reach`."""
    most = [np.zeros_like(e) for e in exact]
    for _ in range(2):
        near = [
            x * (1 + reach * generator.uniform(-1, 1, x.shape)) if x.dtype.kind == "f" else x for x in arrays
        ]
        shaken = [
            [c * (1 + reach * generator.uniform(-1, 1, c.shape)) for c in row] for row in rows.cotangents
        ]
        moved = pulled(subject, near, Rows(shaken, rows.weights, None, rows.names))
        most = [
            np.maximum(a, np.nan_to_num(np.abs(b - e))) for a, b, e in zip(most, moved, exact, strict=True)
        ]
    return most


def compiled_part(subject: Subject, report: Report, rows: Rows, rule: Sequence[np.ndarray]) -> None:
    """Compare the gradients of a symbol's compiled plan with those of the rules."""
    if not isinstance(subject, SymbolSubject):
        return
    found = subject.compiled(rows.cotangents[0])
    size = max(x.size for x in subject.arrays)
    unit = float(np.finfo(np.float64).eps)
    for k, i in enumerate(subject.wanted):
        exact, plan = rule[k][0], found[k].ravel()
        scale = float(np.max(np.abs(exact), initial=0.0))
        everywhere = max(float(np.max(np.abs(r[0]), initial=0.0)) for r in rule)
        limit = unit ** (2 / 3) * max(scale, everywhere) * max(1.0, np.sqrt(size) / ROUNDINGS)
        gap = np.abs(plan - exact)
        if not np.all(gap <= limit):
            c = int(np.argmax(gap))
            element = tuple(int(a) for a in np.unravel_index(c, subject.arrays[i].shape))
            report.verdict, report.cause = "wrong", "missing term"
            report.sentence = "the compiled plan (here: the rule) parts from the rules (here: differences)"
            report.worst = [
                Entry(subject.names[i], element, rows.names[0], float(plan[c]), float(exact[c]), float(limit))
            ]
            return
