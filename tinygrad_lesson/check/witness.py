"""What seems wrong or bent is asked again: nothing is called so on the word of one set of differences.

A second witness has more digits, or else other steps. At a kink that several elements share there are directions
in which the function is smooth, and the rules must agree; where pieces of it meet, a rule gives what lies between.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from functools import cache as cached
from typing import Any

import numpy as np

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.compare import DETAIL, Block, Point, pulled, spread, steps_for
from tinygrad_lesson.check.noise import COARSEST, FINE, beside, jitter
from tinygrad_lesson.check.numeric import BENT, EPS, SAFETY, SHARP, Along, Search, Slopes, tolerance
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Subject

OTHER = 0.61  # times the steps: those of a second witness
PRECISE = tuple(0.83 * 2.0**-k for k in range(8, 33, 4))  # steps in extended precision
SIDES = ("left", "right", "sides_error")
WITNESSED = ("numeric", "error", *SIDES, "kink", "jump")
NEARBY = 16  # points that are looked at beside one that seems wrong
ASIDE = 2.0**-18  # how far these are, as a part of each number: far beyond the noise, within one piece
MOST = 24  # directions that are tried for one result, and results that are tried
Moves = dict[tuple[int, int], float]  # how far each element moves, by numbers of block and column


def longer(subject: Subject) -> list[np.ndarray]:
    """The inputs in numbers longer than double precision."""
    return [x.astype(np.longdouble) if k in subject.wanted else x for k, x in enumerate(subject.arrays)]


def precise_rule(point: Point) -> list[np.ndarray] | None:
    """What the rules give in such numbers, op by op; None where they cannot compute with them."""
    try:
        return pulled(point.subject, longer(point.subject), point.rows)
    except Exception:  # a rule is code of the user's, and may know two types
        return None


def confirm(point: Point, blocks: Sequence[Block]) -> None:
    """Ask a second witness about what seems wrong or bent, until it agrees: more digits, or else other steps.

    What it sees more sharply stands from then on; where the two contradict each other, nothing is known. Where the rule
    agrees with it in more digits, what it lost in double precision is rounding.
    """
    exact, other = cached(lambda: precise_rule(point)), copy.copy(point)
    other.stretch *= OTHER
    for mark in ("wrong", "kink", "jump"):
        places = [
            (-float(np.max(np.where(getattr(b, mark)[:, k], b.gap[:, k], 0))), n, int(k))
            for n, b in enumerate(blocks)
            for k in np.flatnonzero(getattr(b, mark).any(axis=0))
        ]
        for _, n, k in sorted(places)[:DETAIL]:
            block, move = blocks[n], blocks[n].moves[k]
            found = precise(point, block, k)
            hear(block, k, other.block(block.input, [move]) if found is None else found)
            if found is not None and block.wrong[:, k].any() and (rule := exact()) is not None:
                by_rule = rule[n][:, move] if isinstance(move, int) else rule[n] @ move.ravel()
                right = np.abs(by_rule - block.numeric[:, k]) <= tolerance(block.error[:, k], by_rule)
                lost = np.abs(block.analytic[:, k] - by_rule)
                block.error[:, k] += np.where(right & block.wrong[:, k], lost, 0.0)
            if getattr(block, mark)[:, k].any():
                break


def hear(block: Block, k: int, witness: Slopes) -> None:
    """Take over what a second witness tells about line `k`, where it was doubted."""
    own, told, scale = block.only(k), witness.only(0), block.scale[:, 0]
    bent, again = own.kink | own.jump, told.kink | told.jump
    bars = tolerance(told.error + own.error, told.numeric, own.numeric, scale)
    agree = np.abs(told.numeric - own.numeric) <= bars
    clear = SAFETY * told.error <= BENT * np.maximum(np.abs(told.numeric), scale)
    right = np.abs(told.numeric - block.analytic[:, k]) <= tolerance(told.error, told.numeric)
    doubted = block.wrong[:, k] | bent
    take = doubted & ~again & np.where(bent, clear, (told.error < own.error) | (right & clear))
    lost = doubted & ~take & ~bent & (again | ~agree | np.isinf(told.error))
    for name in WITNESSED:
        kept = getattr(block, name)
        kept[:, k] = np.where(take, getattr(told, name), kept[:, k])
    block.error[lost, k] = np.inf


def precise(point: Point, block: Block, k: int) -> Slopes | None:
    """Slopes along line `k` from numbers longer than double precision; None where the function has none.

    Of many lengths of step that one is taken, for each number, whose bar is shortest; but a long one never outvotes
    a shorter one that is resolved. Where they are as the rule says already, no more steps are tried. The bar is
    infinite where the function moves as far over the shortest step as over any: so does chaos.
    """
    lines, size, scale = (
        point.lines(block.input, [block.moves[k]], longer(point.subject)),
        block.sizes[k],
        block.scale,
    )

    def along(t: Any) -> np.ndarray:
        return lines(0, t)

    units = [max(1.0, size), size] if 0 < size < 1 else [max(1.0, size)]
    try:
        here, *there = [along(np.longdouble(units[-1] * step)) for step in (0.0, FINE**0.5, PRECISE[0])]
        if all(np.all(y == y.astype(np.float64)) for y in (here, *there)):
            return None
        unit: Any = np.finfo(np.longdouble).eps
        measured = jitter(along, units[-1] * FINE, is_stair=True)[0]  # of what was made double on the way
        noise = np.maximum(point.noise * float(unit / EPS), measured.astype(np.float64))
        steps = [step * unit for unit in units for step in PRECISE]
        found, jumps, fits = sharpest(along, here, noise, steps, block.analytic[:, [k]], scale)
        if not np.all(fits):
            stairs = beside(along, steps[-1], COARSEST * units[-1], noise)[0].astype(np.float64)
            noise = np.maximum(noise, stairs)
            found, jumps, _ = sharpest(along, here, noise, steps, block.analytic[:, [k]], scale)
    except Exception:  # such as NumPy's linear algebra, which has no such numbers
        return None
    left, right = found.left, found.right
    found.kink = np.abs(right - left) > tolerance(found.sides_error, left, right, scale)
    found.jump = numeric.leaps(jumps, point.noise[:, None])[1]
    return found


def sharpest(
    along: Along,
    here: Any,
    noise: np.ndarray,
    steps: Sequence[float],
    expected: np.ndarray,
    scale: np.ndarray,
) -> tuple[Slopes, np.ndarray, np.ndarray]:
    """What `precise` gives where the noise is known, the jumps over the last step, and where the rule fits."""
    best: Slopes | None = None
    most = np.zeros((len(noise), 1))  # how far it moves

    def over(step: float) -> tuple[Slopes, np.ndarray]:
        alone = np.array([step], np.longdouble)
        found, jumps = numeric.table(lambda _, t: along(t), [0], here[:, None], noise[:, None], alone, scale)
        fields = [np.array(field, np.float64) for field in vars(found).values()]
        return Slopes(*fields), jumps.astype(np.float64)

    for step in steps:
        found, jumps = over(step)
        most = np.fmax(most, np.max(jumps, axis=0))
        if best is None:
            best = found
        else:  # a longer step has no say where this is resolved
            resolved = numeric.parted(found, best) & (SAFETY * found.error <= BENT * np.abs(found.numeric))
            central = (found.error < best.error) | resolved
            sides = (found.sides_error < best.sides_error) | resolved
            for name, old in vars(best).items():
                old[...] = np.where(sides if name in SIDES else central, getattr(found, name), old)
        bars = np.maximum(best.error, best.sides_error)
        fits = np.abs(best.numeric - expected) <= tolerance(best.error, best.numeric, scale)
        if np.all(fits & (SAFETY * bars <= SHARP * np.maximum(np.abs(best.numeric), scale))):
            break
    assert best is not None
    jumps = over(steps[-1])[1]  # a peak is a jump from afar
    last = np.max(jumps, axis=0)
    best.error[(last > most / SAFETY) & (last > 0) & ~fits] = np.inf  # a shorter step shows no less
    return best, jumps, fits


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
                return point.rows.weigh(point.subject.moved(moved))[[r]]

            expected = np.array([[sum(blocks[b].analytic[r, k] * far for (b, k), far in moves.items())]])
            scale = np.array([[max(blocks[b].scale[r, 0] for b, _ in moves)]])
            steps, met = steps_for(np.array([max(blocks[b].sizes[k] for b, k in moves)]), True, point.stretch)
            at_zero, noise = point.at_zero[[r], None], point.noise[[r], None]
            slope = Search(along, at_zero, noise, steps, met, expected, scale).best
            gap, bar = (
                np.abs(expected - slope.numeric),
                tolerance(slope.error, slope.numeric, expected, scale),
            )
            if (~(slope.kink | slope.jump | slope.blunt | slope.unsettled) & (gap > bar)).all():
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


def excuse(point: Point, blocks: Sequence[Block]) -> None:
    """Mark as a kink what seems wrong because the point lies where pieces of the function meet.

    So it is among equal numbers that are sorted. Then the rule agrees with differences at points nearby, and gives here
    what lies between its values there (Clarke's generalized gradient).
    """
    subject = point.subject
    places = [(n, int(r), int(k)) for n, b in enumerate(blocks) for r, k in np.argwhere(b.wrong & ~b.kink)]
    near: list[tuple[list[np.ndarray], list[np.ndarray]]] = []  # points beside, and gradients by the rules
    for n, r, k in places[:MOST]:
        block, move, found = blocks[n], blocks[n].moves[k], []
        step = ASIDE / 1024 * max(1.0, block.sizes[k])
        for m in range(NEARBY):
            if m == len(near):
                far = [ASIDE * spread(point.generator, x.shape) for x in subject.arrays]
                moved = [x + np.maximum(1, np.abs(x)) * v for x, v in zip(subject.arrays, far, strict=True)]
                pairs = enumerate(zip(subject.arrays, moved, strict=True))
                arrays = [y if i in subject.wanted else x for i, (x, y) in pairs]
                near.append((arrays, pulled(subject, arrays, point.rows)))
            arrays, rules = near[m]
            by_rule = rules[n][r, move] if block.columns is not None else rules[n][r] @ np.ravel(move)
            there = point.lines(block.input, [move], arrays)
            slope = (there(0, step)[r] - there(0, -step)[r]) / (2 * step)
            bar = BENT * max(block.scale[r, 0], abs(slope)) + SAFETY * point.noise[r] / step
            if not abs(by_rule - slope) <= bar:
                return  # one that has no excuse is enough
            found.append(by_rule)
        low, high = min(found), max(found)
        if not (high - low > bar and low - bar <= block.analytic[r, k] <= high + bar):
            return
        block.kink[r, k], block.left[r, k], block.right[r, k], block.sides_error[r, k] = True, low, high, bar
