"""One check of one subject: rule against differences, and what to say of it."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from tinygrad_lesson.check import cause as causes
from tinygrad_lesson.check import compare, duties, numeric, precision
from tinygrad_lesson.check.compare import GLANCES, Block, Point, Rows, WrongShapeError, pulled, suspects
from tinygrad_lesson.check.explain import case_of, detail
from tinygrad_lesson.check.numeric import COARSEST, beside, magnitude
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Arrays, Subject
from tinygrad_lesson.check.witness import breaks_tie, confirm
from tinygrad_lesson.engine.errors import LessonError

T = TypeVar("T")
HALF = numeric.EPS**0.5  # of the digits: a smaller gap may be the function's own
PACKAGE = str(Path(__file__).parents[1])


@dataclasses.dataclass
class Options:
    """How a check is made."""

    generator: Generator
    full: bool | None = None
    float32: bool = True


def check(subject: Subject, options: Options) -> Report:
    """Check the gradient of a subject once."""
    report, generator, op = Report(subject.title), options.generator, subject.op
    if op is not None and not op.differentiable:
        report.notes.append(f"{op.name} declares that it has no gradient")
        return report
    values = subject.value(subject.arrays)
    if duties.disturbed(subject, values, report):
        return report
    if not sum(v.size for v in values):
        report.notes.append("the result is empty")
        return report
    rows = compare.rows_for(subject, values, generator)
    few = rows if rows.weights is not None else compare.mixed(values, generator)
    every = rows, few, few
    found = guarded(report, subject, lambda: [pulled(subject, subject.arrays, some) for some in every])
    if found is None:
        return report
    rule, once, again = found
    if not duties.alike(once, again):
        duties.undetermined(report, "gradient")
    elif duties.non_finite(subject, report, values, rule):
        pass
    elif op is not None and op.is_loss:
        report.notes.append(f"{op.name} is a loss: its gradient is what it says, not a derivative")
    else:
        beside_differences(subject, report, rows, rule, options)
        contract = partial(duties.breaks_contract, subject, report, rows, rule, generator)
        unknown = report.ok or report.cause == "missing term"  # which is said where nothing else is found
        if unknown and not guarded(report, subject, contract) and report.ok:
            in_other_numbers(subject, report, rows, few, rule, options)
    return report


def guarded(report: Report, subject: Subject, call: Callable[[], T]) -> T | None:
    """What a call of a rule gives; None where it raises, which is wrong: code of the user's may end in any way."""
    try:
        return call()
    except WrongShapeError as error:
        i, shape = error.args
        found = causes.of_shape(subject.names[i], shape, subject.arrays[i].shape)
        worst = [Entry(subject.names[i], None, "result", np.nan, np.nan, np.nan)]
        report.refuse("wrong", found.word, found.sentence, worst)
    except Exception as error:
        report.refuse("wrong", "", f"the rule raises {raised(error)}")
    return None


def beside_differences(subject: Subject, report: Report, rows: Rows, rule: Arrays, options: Options) -> None:
    """Rule against differences: along few directions where that tells enough, else element by element."""
    generator = options.generator
    total, full = sum(subject.arrays[i].size for i in subject.wanted), options.full
    many = total > GLANCES * max(GLANCES, len(subject.wanted))
    blocks = (Point(subject, rows, rule, generator).glance() if many and full is None else None) or []
    if blocks:
        report.directions = max(len(b.moves) for b in blocks)
        report.compared, report.sharpest = sum(part.size for part in rule), compare.sharpness(blocks)
        note_zeros(report, blocks)
    else:
        point = Point(subject, rows, rule, generator, precision.jitter(subject, rows, generator))
        each = total <= compare.UNIT_COLUMNS if full is None else full  # else along directions
        for until in ("",) if each else ("wrong", ""):  # of directions one is enough, if it stays wrong
            blocks = point.blocks(lambda i: range(subject.arrays[i].size) if each else None, until)
            report.compared = sum(b.numeric.size for b in blocks)
            judge(report, point, blocks)
            if report.verdict == "wrong" or len(blocks) == len(subject.wanted):
                break
            report.refuse("ok", "", "")
    report.drawn = [block for block in blocks if block.numeric.size]


def in_other_numbers(
    subject: Subject, report: Report, rows: Rows, few: Rows, rule: Arrays, options: Options
) -> None:
    """Rounded, in single precision, compiled, forward: what a right rule owes besides."""
    parts: list[Callable[[], None]] = [
        lambda: precision.rounded_part(subject, report, options.generator),
        lambda: precision.short_part(subject, report, few, options.generator),
        lambda: precision.compiled_part(subject, report, rows, rule),
    ]
    for part in parts if options.float32 else parts[::2]:
        try:
            if report.ok:
                part()
        except Exception as error:
            report.notes.append(f"at other numbers than these, {raised(error)}")
    if report.ok:
        duties.forward_part(subject, report, options.generator)


def raised(error: Exception) -> str:
    """An error as one line; that of the user's code and its place, where one of ours has come from it."""
    cause = error.__cause__ if isinstance(error, LessonError) else None
    own = cause if isinstance(cause, Exception) else error
    frames = [f for f in traceback.extract_tb(own.__traceback__) if not f.filename.startswith(PACKAGE)]
    return f"{type(own).__name__}: {own}" + "".join(f", at {f.filename}:{f.lineno}" for f in frames[:1])


def judge(report: Report, point: Point, blocks: Sequence[Block]) -> None:
    """A verdict from the blocks."""
    values, op = point.values, point.subject.op
    if any(b.wrong.any() or b.loose(values).any() for b in blocks):
        widen(point, blocks)
    roughen(point, blocks)
    confirm(point, blocks)
    wrong = [b for b in blocks if b.wrong.any()]
    kinked = [b for b in blocks if (b.kink | b.jump).any()]
    vague = [b for b in blocks if b.loose(values).any()]
    far = any(np.any(b.wrong & (b.gap > HALF * np.maximum(np.abs(b.numeric), b.scale))) for b in wrong)
    if wrong and not far:
        said = "rule and function part beyond half of their digits, as an approximation does that ends at a tolerance"
        report.refuse("cannot tell", "", said, point.entries(wrong, "wrong"))
    elif wrong:
        explain(report, point, wrong, blocks)
    elif kinked and not (op is not None and op.ours) and breaks_tie(report, point, kinked):
        pass  # as in MXNet our `max` gives each of equal numbers the whole
    elif kinked:
        mark = "jump" if any(b.jump.any() for b in kinked) else "kink"
        block = next(b for b in kinked if getattr(b, mark).any())
        r, c = np.argwhere(getattr(block, mark))[0]
        sides = f"{block.left[r, c]:.6g} on one side and {block.right[r, c]:.6g} on the other"
        said, word = f"the slope is {sides}; move the point away", "kink"
        if mark == "jump":
            said, word = "the function jumps here: it has no derivative", "discontinuity"
        report.refuse("kink", word, said, point.entries(kinked, mark))
    elif vague:
        word, said = "", "differences do not settle on a slope here, however short the step"
        if any((b.noisy & b.loose(values)).any() for b in vague):
            word, said = "float noise", "rounding noise of the function hides its slope"
        report.refuse(word or "cannot tell", word, said, point.entries(vague, "blunt"))
    else:
        report.sharpest = compare.sharpness(blocks)
        note_zeros(report, blocks)


def note_zeros(report: Report, blocks: Sequence[Block]) -> None:
    """Say so where all derivatives are 0."""
    if not any(np.any(np.abs(b.numeric) > numeric.SAFETY * b.error) for b in blocks):
        report.sharpest = np.nan
        report.notes.append("all derivatives are 0 here, up to rounding: little was checked; move the point")


def widen(point: Point, blocks: Sequence[Block]) -> None:
    """Lengthen the error bars by how far the rule's own value moves as what it is made of is rounded anew.

    That tells too how large the terms are of which a small derivative is the difference.
    """
    subject, rounded = point.subject, precision.ROUNDED
    exact = pulled(subject, subject.arrays, point.rows)
    floats = [subject.arrays[i] for i in subject.wanted]
    floats += [y for node in subject.graph() for y in duties.arrays_of(node)]
    largest = max(float(np.max(magnitude(y), initial=0.0)) for y in floats)
    moved = precision.sensitivity(subject, subject.arrays, point.rows, exact, rounded, point.generator)
    for block, m in zip(blocks, moved, strict=False):  # the first inputs, where one is wrong
        far = np.linalg.norm(m, axis=1)[:, None] if block.columns is None else m[:, block.columns]
        unit = largest / (float(np.max(magnitude(subject.arrays[block.input]))) or 1.0)
        still = (block.numeric == 0) & (block.left == 0) & (block.right == 0)
        unseen = numeric.EPS * unit / numeric.STEPS[0]  # a slope below that moves nothing
        block.error += np.where(still, np.maximum(far, unseen), far)
        lost = block.wrong & (block.analytic == 0) & (np.abs(block.numeric) < unseen)
        block.error[lost] = np.inf  # a sum may have rounded away what cancels it
        block.terms = np.minimum(far / rounded, unit)  # no term is larger than what was computed on the way


def roughen(point: Point, blocks: Sequence[Block]) -> None:
    """Lengthen error bars where the function jitters along the very line that seems wrong, bent or unknown.

    What seems a kink is none if the function jumps about as far on one side of it.
    """
    for block, k in suspects(blocks, lambda b: b.wrong | b.kink | b.jump | b.loose(point.values)):
        was_wrong, doubtful = block.wrong[:, k].any(), block.wrong | block.kink | block.jump
        suspect = (doubtful | block.loose(point.values))[:, k]
        near = float(block.step[suspect, k].min())
        along, unit = partial(block.along, k), max(1.0, block.sizes[k])
        if near < numeric.STEPS[-1] / 2**numeric.LEVELS * unit:  # a part of a tiny element
            unit = block.sizes[k]
        if was_wrong:
            block.kink[:, k] |= suspect & numeric.has_corner(along, near, unit, point.noise)
        bent = block.kink[:, k] | block.jump[:, k]
        stairs, lost, many = beside(along, near, COARSEST * unit, point.noise)
        lost = suspect & ((lost & (block.analytic[:, k] != 0)) | (bent & many))
        block.error[:, k] = np.where(lost, np.inf, np.maximum(block.error[:, k], 2 * stairs / near))
        for marked, there in ((block.noisy, True), (block.kink, False), (block.jump, False)):
            marked[lost, k] = there
        if was_wrong and block.wrong[:, k].any():
            return  # one is enough


def explain(report: Report, point: Point, wrong: Sequence[Block], blocks: Sequence[Block]) -> None:
    """Which derivatives are wrong, and why."""
    worst = max(wrong, key=lambda b: float(np.max(np.where(b.wrong, b.gap, 0))))
    if point.rows.weights is not None or worst.columns is None:
        closer = detail(point, worst)
        if closer is not None:
            point, blocks, worst = closer
            wrong = [worst]
    report.compared = sum(b.numeric.size for b in blocks)
    word, said, factor = causes.likely(case_of(point, worst, blocks))
    report.refuse("wrong", word, said, point.entries(wrong, "wrong"), factor=factor)
    report.failed = sum(int(b.wrong.sum()) for b in wrong)
