"""What seems wrong or bent is asked again: nothing is called so on the word of one set of differences.

A second witness has more digits, or else other steps. At a kink that several elements share there are directions
in which the function is smooth, and the rules must agree.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence
from functools import cache as cached
from functools import partial
from typing import Any

import numpy as np

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.compare import Block, Point, pulled, suspects
from tinygrad_lesson.check.numeric import EPS, FINE, SAFETY, Search, Slopes, beside, jitter, tolerance
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Subject

OTHER = 0.61  # times the steps are those of a second witness: far from all halves, so a wave that fits one misses it
PRECISE = tuple(0.83 * 2.0**-k for k in range(8, 33, 4))  # steps in extended precision
BEYOND = 2.0**-28  # times the steps are those that follow the shortest, for huge elements
FAR = 2.0**-2  # part of an element within which a search with a tolerance takes one turn more, or less
GLANCED = 2**5  # parts into which the first of a search divides its step
MOST = 24  # directions that are tried for one result, and results that are tried
Moves = dict[tuple[int, int], float]  # how far each element moves, by numbers of block and column


def longer(subject: Subject) -> list[np.ndarray]:
    """The inputs in numbers longer than double precision."""
    return [x.astype(np.longdouble) if k in subject.wanted else x for k, x in enumerate(subject.arrays)]


def confirm(point: Point, blocks: Sequence[Block]) -> None:
    """Ask a second witness about what seems wrong or bent, until it agrees: more digits, or else other steps.

    What it sees more sharply stands from then on; where the two contradict each other, or it agrees with the rule too,
    nothing is known. Where the rule agrees with it in more digits, what it lost in double precision is rounding.
    """
    exact, other = cached(lambda: pulled(point.subject, longer(point.subject), point.rows)), copy.copy(point)
    other.stretch *= OTHER
    for mark in ("wrong", "kink", "jump"):
        for block, k in suspects(blocks, lambda b: getattr(b, mark)):  # noqa: B023
            found, move = precise(point, block, k), block.moves[k]
            hear(block, k, found or other.block(block.input, [move]))
            with contextlib.suppress(Exception):  # a rule is code of the user's, and may know two types
                if found is not None and block.wrong[:, k].any():
                    rule = exact()[point.subject.wanted.index(block.input)]
                    by_rule = rule[:, move] if isinstance(move, int) else rule @ move.ravel()
                    right = np.abs(by_rule - block.numeric[:, k]) <= tolerance(block.error[:, k], by_rule)
                    lost = np.abs(block.analytic[:, k] - by_rule)
                    block.error[:, k] += np.where(right & block.wrong[:, k], lost, 0.0)
            if getattr(block, mark)[:, k].any():
                break
    for block, k in suspects(blocks, lambda b: b.wrong | b.kink | b.jump | b.loose(point.values)):
        if block.columns and block.sizes[k] > 1:
            shorter(point, block, k)
    for block, k in suspects(blocks, lambda b: b.wrong):
        gap = np.where(block.wrong[:, k], block.gap[:, k], 0.0)
        if np.all(gap <= SAFETY * numeric.BENT * np.abs(block.numeric[:, k])):
            far, row = FAR * max(numeric.STEPS[0], block.sizes[k]), int(np.argmax(gap))
            with contextlib.suppress(Exception):  # it may not be defined so far away
                steep = numeric.leaps(partial(block.along, k), far, point.noise, row)
                hidden = (gap > 0) & (gap <= SAFETY * steep)
                block.error[hidden, k], block.noisy[hidden, k] = np.inf, True


def shorter(point: Point, block: Block, k: int) -> None:
    """Ask far shorter steps about a huge element: longer ones reach over whole waves.

    It is taken over where the rule says so too; if else it contradicts the longer ones, nothing is known. Steps are
    whole roundings long, so that what the element moves by is exact.
    """
    size, whole = block.sizes[k], GLANCED * np.spacing(block.sizes[k])
    steps = whole * np.round(point.stretch * size * BEYOND * np.array(numeric.STEPS) / whole)[:, None]
    lines = point.lines(block.input, [block.moves[k]])
    bends = np.abs(np.diff([lines(0, n * whole) for n in range(12)], 4, axis=0)).max(axis=0)
    noise = np.maximum(EPS * point.values, bends / 8)[:, None]  # a fourth difference is of some 8 roundings
    given = point.at_zero[:, None], noise, steps[steps[:, 0] > 0], block.analytic[:, [k]], block.scale
    told = Search(lines, *given).best.only(0)
    smooth, steep = ~(told.kink | told.jump | told.unsettled), np.abs(told.numeric)
    apart = smooth & numeric.parted(told, block.only(k)) & (SAFETY * told.error < steep)
    right = np.abs(told.numeric - block.analytic[:, k]) <= tolerance(told.error, told.numeric)
    right &= smooth & (SAFETY * told.error < numeric.BENT * steep)
    block.take(told, right & (apart | np.isinf(block.error[:, k]) | block.kink[:, k] | block.jump[:, k]), k)
    block.error[apart & ~right, k] = np.inf


def hear(block: Block, k: int, witness: Slopes) -> None:
    """Take over what a second witness tells about line `k`, where it was doubted."""
    own, told, scale = block.only(k), witness.only(0), block.scale[:, 0]
    bent, again = own.kink | own.jump, told.kink | told.jump
    bars = tolerance(told.error + own.error, told.numeric, own.numeric, scale)
    agree = np.abs(told.numeric - own.numeric) <= bars
    clear = SAFETY * told.error <= numeric.BENT * np.maximum(np.abs(told.numeric), scale)
    right = np.abs(told.numeric - block.analytic[:, k]) <= tolerance(told.error, told.numeric)
    doubted = block.wrong[:, k] | bent
    take = doubted & ~again & np.where(bent, clear, (told.error < own.error) | (right & clear))
    lost = doubted & ~take & ~bent & (again | ~agree | right | np.isinf(told.error))
    block.take(witness.only(0), take, k)
    block.error[lost, k] = np.inf


def precise(point: Point, block: Block, k: int) -> Slopes | None:
    """Slopes along line `k` from numbers longer than double precision; None where the function has none.

    The search is the same, over more steps, and the shortest are far shorter.
    """
    lines = point.lines(block.input, [block.moves[k]], longer(point.subject))
    along: Any = partial(lines, 0)
    size = block.sizes[k]
    units = [max(1.0, size), size] if 0 < size < 1 else [max(1.0, size)]
    try:
        here, *there = [along(np.longdouble(units[-1] * step)) for step in (0.0, FINE**0.5, PRECISE[0])]
        if all(np.all(y == y.astype(np.float64)) for y in (here, *there)):
            return None
        unit: Any = np.finfo(np.longdouble).eps
        steps = np.array([[step * unit] for unit in units for step in PRECISE], np.longdouble)
        measured = jitter(along, units[-1] * FINE, is_stair=True)[0]  # of what was made double on the way
        noise = np.maximum(point.noise * float(unit / EPS), measured.astype(np.float64))
        stairs = beside(along, float(steps[-1, 0]), numeric.COARSEST * units[-1], noise)[0].astype(np.float64)
        noise = np.maximum(noise, stairs)[:, None]
        rule, scale = block.analytic[:, [k]], block.scale
        found = Search(lines, here[:, None], noise, steps, rule, scale)
        best = found.best
        best.kink = np.abs(best.right - best.left) > tolerance(best.sides_error, best.left, best.right, scale)
        last = numeric.table(lines, [0], here[:, None], noise, steps[-1], scale)[1].max(axis=0)
        chaos = (last > found.moved / SAFETY) & (last > 0) & ~found.fits  # a shorter step shows no less
        best.error[chaos] = np.inf
        return best
    except Exception:  # such as NumPy's linear algebra, which has no such numbers
        return None


def breaks_tie(report: Report, point: Point, blocks: Sequence[Block]) -> bool:
    """Whether the rules contradict the function along a direction in which it is smooth; the report then says so.

    At `max(a, b)` with `a = b` neither has a derivative, but the slope is 1 where both move.
    """
    count = sum(b.kink.sum(axis=1) for b in blocks if b.columns)
    tied = np.flatnonzero(count > 1).tolist() if np.ndim(count) else []
    for r in tied[:MOST]:
        for moves in itertools.islice(directions(blocks, r), MOST):
            arrays = [np.zeros_like(x) for x in point.subject.arrays]
            for (b, k), far in moves.items():
                arrays[blocks[b].input].flat[blocks[b].moves[k]] = far

            def along(_: int, t: float, arrays: Sequence[np.ndarray] = arrays, r: int = r) -> np.ndarray:
                pairs = zip(point.subject.arrays, arrays, strict=True)
                moved = [x + t * v if v.any() else x for x, v in pairs]
                return point.rows.weigh(point.subject.value(moved))[[r]]

            expected = np.array([[sum(blocks[b].analytic[r, k] * far for (b, k), far in moves.items())]])
            scale = np.array([[max(blocks[b].scale[r, 0] for b, _ in moves)]])
            sizes = np.array([max(blocks[b].sizes[k] for b, k in moves)])
            slope = point.search(along, sizes, expected, scale, rows=[r]).best
            bar = tolerance(slope.error, slope.numeric, expected, scale)
            unclear = slope.kink | slope.jump | slope.blunt | slope.unsettled
            if (~unclear & (np.abs(expected - slope.numeric) > bar)).all():
                describe(report, point, [(blocks[b], k) for b, k in moves], r, expected.item(), slope)
                return True
    return False


def directions(blocks: Sequence[Block], r: int) -> Iterator[Moves]:
    """Directions in which a kink of row `r` may be none: two elements move as their kinks weigh, or all do."""
    weights = {
        (b, int(k)): 1 / abs(block.right[r, k] - block.left[r, k])
        for b, block in enumerate(blocks)
        if block.columns is not None
        for k in np.flatnonzero(block.kink[r])
    }
    most = max(weights.values())
    weights = {place: weight / most for place, weight in weights.items()}
    yield weights
    for one, other in itertools.combinations(weights, 2):
        for sign in (1, -1):
            yield {one: weights[one], other: sign * weights[other]}


def describe(report: Report, point: Point, moving: Any, r: int, by_rule: float, slope: Slopes) -> None:
    """Say which elements move, and what the slope is."""
    found, error, name = float(slope.numeric[0, 0]), float(slope.error[0, 0]), point.rows.names[r]
    entries = [Entry(block.name, block.element(k), name, by_rule, found, error) for block, k in moving]
    names = " and ".join(e.place for e in entries[:3])
    said = f"where {names} move together the slope is {found:.6g}, and the rules add up to {by_rule:.6g}"
    report.refuse("wrong", "factor" if found and by_rule else "missing term", said, entries[:1])
    report.factor = by_rule / found if report.cause == "factor" else None
