"""One check of one subject: rule against differences, and what to say of it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tinygrad_lesson.check import cause as causes
from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.compare import (
    DETAIL,
    GLANCES,
    Around,
    Block,
    Rows,
    WrongShapeError,
    around,
    chooser,
    compare,
    drawn,
    entries,
    glance,
    loose,
    mix_of,
    pulled,
    rows_for,
    sharpness,
)  # fmt: skip
from tinygrad_lesson.check.contract import breaks_contract
from tinygrad_lesson.check.explain import case_of, detail
from tinygrad_lesson.check.forward import forward_part
from tinygrad_lesson.check.noise import COARSEST, beside, has_corner
from tinygrad_lesson.check.precision import (
    ROUNDED,
    compiled_part,
    jitter,
    rounded_part,
    sensitivity,
    short_part,
)
from tinygrad_lesson.check.purity import (
    alike,
    arrays_of,
    disturbed,
    non_finite,
    recorded_nodes,
    undetermined,
    unsteady,
)
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Subject
from tinygrad_lesson.check.ties import breaks_tie, excuse
from tinygrad_lesson.check.witness import confirm
from tinygrad_lesson.engine.errors import LessonError

T = TypeVar("T")
REPEATS = 8  # runs on the same numbers before anything else is blamed


@dataclasses.dataclass
class Options:
    """How a check is made."""

    generator: np.random.Generator
    full: bool | None = None
    float32: bool = True


def check(subject: Subject, options: Options) -> Report:
    """Check the gradient of a subject once.

    Errors
        Whatever the subject raises.
    """
    report, generator = Report(subject.title), options.generator
    if subject.op is not None and not subject.op.differentiable:
        report.notes.append(f"{subject.op.name} declares that it has no gradient")
        return report
    values = subject.value(subject.arrays)
    if disturbed(subject, values, report):
        return report
    if not sum(v.size for v in values):
        report.notes.append("the result is empty")
        return report
    rows = rows_for(subject, values, generator)
    few = rows if rows.weights is not None else mix_of(values, generator)
    found = guarded(
        report, subject, lambda: [pulled(subject, subject.arrays, some) for some in (rows, few, few)]
    )
    if found is None:
        return report
    rule, once, again = found
    if not alike(once, again):
        undetermined(report, "gradient")
    elif not non_finite(subject, report, values, rule):
        if subject.op is not None and subject.op.is_loss:
            report.notes.append(
                f"{subject.op.name} is a loss: its gradient is what it says, not a derivative"
            )
            return report
        beside_differences(subject, report, rows, rule, options)
        broken = report.ok and guarded(
            report, subject, lambda: breaks_contract(subject, report, rows, rule, generator)
        )
        if broken is False:
            steady(subject, report, values, few, once)
            in_other_numbers(subject, report, rows, few, rule, options)
    return report


def guarded(report: Report, subject: Subject, call: Callable[[], T]) -> T | None:
    """What a call of a rule gives; None where it raises, which is wrong: code of the user's may end in any way."""
    try:
        return call()
    except WrongShapeError as error:
        i, shape = error.args
        found = causes.of_shape(subject.names[i], shape, subject.arrays[i].shape)
        report.verdict, report.cause, report.sentence = "wrong", found.word, found.sentence
        report.worst = [Entry(subject.names[i], None, "result", np.nan, np.nan, np.nan)]
    except Exception as error:
        report.verdict, report.sentence = "wrong", f"the rule raises {raised(error)}"
    return None


def beside_differences(
    subject: Subject, report: Report, rows: Rows, rule: Sequence[np.ndarray], options: Options
) -> None:
    """Rule against differences: along few directions where that tells enough, else element by element."""
    generator = options.generator
    many = sum(subject.arrays[i].size for i in subject.wanted) > GLANCES * max(GLANCES, len(subject.wanted))
    blocks = glance(subject, rows, rule, generator) if many and options.full is None else None
    if blocks:
        report.directions = max(len(b.moves) for b in blocks)
        report.compared, report.sharpest = sum(part.size for part in rule), sharpness(blocks)
        note_zeros(report, blocks)
    else:
        here = around(subject, rows, rule, jitter(subject, rows, generator), generator)
        blocks = compare(subject, rows, rule, here, generator, chooser(subject, options.full))
        report.compared = sum(b.numeric.size for b in blocks)
        judge(subject, report, rows, blocks, rule, here, options)
    report.drawn = drawn(subject, blocks)


def steady(
    subject: Subject, report: Report, values: Sequence[np.ndarray], few: Rows, once: Sequence[np.ndarray]
) -> None:
    """Say so where another run gives other numbers, whatever else was found."""
    what = unsteady(subject, values, few, once, (3, 0) if report.ok else (REPEATS, REPEATS))
    if what:
        report.worst, report.failed, report.factor, report.notes = [], 0, None, []
        undetermined(report, what)


def in_other_numbers(
    subject: Subject, report: Report, rows: Rows, few: Rows, rule: Sequence[np.ndarray], options: Options
) -> None:
    """Rounded, in single precision, compiled, forward: what a right rule owes besides."""
    parts: list[tuple[Callable[..., None], Rows, Any]] = [
        (rounded_part, few, options.generator),
        (short_part, few, options.generator),
        (compiled_part, rows, rule),
    ]
    for part, combined, more in parts:
        try:
            if report.ok and (options.float32 or part is not short_part):
                part(subject, report, combined, more)
        except Exception as error:
            report.notes.append(f"at other numbers than these, {raised(error)}")
    if report.ok:
        forward_part(subject, report, options.generator)


def raised(error: Exception) -> str:
    """An error as one line; that of the user's code, where one of ours has come from it."""
    own = (
        error.__cause__
        if isinstance(error, LessonError) and isinstance(error.__cause__, Exception)
        else error
    )
    return f"{type(own).__name__}: {error}"


def judge(
    subject: Subject,
    report: Report,
    rows: Rows,
    blocks: Sequence[Block],
    rule: Sequence[np.ndarray],
    here: Around,
    options: Options,
) -> None:
    """A verdict from the blocks."""
    values = np.abs(here.at_zero)
    report.sharpest = sharpness(blocks)
    if any(b.wrong.any() or loose(b, values).any() for b in blocks):
        widen(subject, rows, blocks, options)
    roughen(blocks, values)
    confirm(subject, rows, blocks, rule, here)
    with contextlib.suppress(Exception):  # where it cannot be computed beside the point, nothing is excused
        excuse(subject, rows, blocks, here, options.generator)
    ours = (
        subject.op is not None and subject.op.ours
    )  # as in MXNet `max` gives each of equal numbers the whole
    near = [(b.near, subject.names[b.input]) for b in blocks if b.near]
    wrong = [b for b in blocks if b.wrong.any()]
    kinked = [b for b in blocks if (b.kink | b.jump).any()]
    vague = [b for b in blocks if loose(b, values).any()]
    if wrong:
        report.verdict = "wrong"
        explain(subject, report, rows, wrong, blocks, options)
    elif kinked and not ours and breaks_tie(subject, report, rows, kinked, here):
        pass
    elif kinked:
        report.verdict = "kink"
        report.worst = entries(subject, rows, kinked, "jump") or entries(subject, rows, kinked, "kink")
        describe_kink(report, kinked)
    elif vague:
        noisy = any((b.noisy & loose(b, values)).any() for b in vague)
        report.verdict = "float noise" if noisy else "cannot tell"
        report.cause = "float noise" if noisy else ""
        report.sentence = (
            "rounding noise of the function hides its slope" if noisy else "differences do not settle here"
        )
        report.worst = entries(subject, rows, vague, "blunt")
    elif not note_zeros(report, blocks) and near:
        report.notes.append(
            f"the function bends sharply within {max(near)[0]:.1e} of {max(near)[1]}; shorter steps were used"
        )


def note_zeros(report: Report, blocks: Sequence[Block]) -> bool:
    """Whether all derivatives are 0; the report then says so."""
    if any(b.numeric.any() for b in blocks):
        return False
    report.notes.append("all derivatives are 0 here, so that little was checked; move the point")
    return True


def widen(subject: Subject, rows: Rows, blocks: Sequence[Block], options: Options) -> None:
    """Lengthen the error bars by how far the rule's own value moves as what it is made of is rounded anew.

    That tells too how large the terms are of which a small derivative is the difference.
    """
    exact = pulled(subject, subject.arrays, rows)
    nodes = recorded_nodes(subject.recorded(subject.arrays)[1])
    largest = max(float(np.max(np.abs(y), initial=0.0)) for node in nodes for y in arrays_of(node))
    moved = sensitivity(subject, subject.arrays, rows, exact, ROUNDED, options.generator)
    for block, m in zip(blocks, moved, strict=True):
        whole = block.columns is None
        far = np.linalg.norm(m, axis=1)[:, None] if whole else m[:, block.columns]
        unit = largest / (float(np.max(np.abs(subject.arrays[block.input]))) or 1.0)
        still = (block.numeric == 0) & (block.left == 0) & (block.right == 0)
        far = np.where(still, np.maximum(far, numeric.EPS * unit), far)  # a slope below that moves nothing
        block.error += far
        block.terms = np.minimum(far / ROUNDED, unit)  # no term is larger than what was computed on the way


def roughen(blocks: Sequence[Block], values: np.ndarray) -> None:
    """Lengthen error bars where the function jitters along the very line that seems wrong, bent or unknown.

    What seems a kink is none if the function jumps about as far on one side of it.
    """
    suspects = [
        (bool(wrong.any()), block, k, suspect)
        for block in blocks
        for k, (wrong, suspect) in enumerate(
            zip(block.wrong.T, (block.wrong | block.kink | block.jump | loose(block, values)).T, strict=True)
        )
        if suspect.any()
    ]
    for was_wrong, block, k, suspect in sorted(suspects, key=lambda each: not each[0])[:DETAIL]:
        near = float(block.step[suspect, k].min())
        along, unit = partial(block.along, k), max(1.0, block.sizes[k])
        if was_wrong:
            block.kink[:, k] |= suspect & has_corner(along, near, unit, block.jitter)
        bent = block.kink[:, k] | block.jump[:, k]
        stairs, lost, many = beside(along, near, COARSEST * unit, block.jitter)
        lost = suspect & ((lost & (block.analytic[:, k] != 0)) | (bent & many))
        block.error[:, k] = np.where(lost, np.inf, np.maximum(block.error[:, k], 2 * stairs / near))
        for marked, there in ((block.noisy, True), (block.kink, False), (block.jump, False)):
            marked[lost, k] = there
        if was_wrong and block.wrong[:, k].any():
            return  # one is enough


def describe_kink(report: Report, blocks: Sequence[Block]) -> None:
    """One-sided slopes in words."""
    if any(b.jump.any() for b in blocks):
        report.cause, report.sentence = "discontinuity", "the function jumps here: it has no derivative"
        return
    b = next(b for b in blocks if b.kink.any())
    r, c = np.argwhere(b.kink)[0]
    report.cause = "kink"
    sides = f"{b.left[r, c]:.6g} on one side and {b.right[r, c]:.6g} on the other"
    report.sentence = f"the slope is {sides}; move the point away"


def explain(
    subject: Subject,
    report: Report,
    rows: Rows,
    wrong: Sequence[Block],
    blocks: Sequence[Block],
    options: Options,
) -> None:
    """Which derivatives are wrong, and why."""
    worst = max(wrong, key=lambda b: float(np.max(np.where(b.wrong, np.abs(b.analytic - b.numeric), 0))))
    if rows.weights is not None or worst.columns is None:
        closer = detail(subject, rows, worst, options.generator)
        if closer is not None:
            rows, blocks, worst = closer
            wrong = [worst]
    report.compared, report.failed = (
        sum(b.numeric.size for b in blocks),
        sum(int(b.wrong.sum()) for b in wrong),
    )
    report.worst = entries(subject, rows, wrong, "wrong")
    found = causes.likely(case_of(subject, rows, worst, blocks))
    report.cause, report.sentence, report.factor = found.word, found.sentence, found.factor
    if found.word == "missing term":  # which is said where nothing else is found
        other, every = (
            Report(report.title),
            rows_for(subject, subject.value(subject.arrays), options.generator),
        )
        with contextlib.suppress(Exception):
            by_rule = pulled(subject, subject.arrays, every)
            if breaks_contract(subject, other, every, by_rule, options.generator):
                report.cause, report.sentence = other.cause, other.sentence
