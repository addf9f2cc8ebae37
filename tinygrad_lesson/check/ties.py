"""Kinks that several elements share: along some directions the function is smooth there, and the rules must agree."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.compare import Around, Block, Rows, lines, pulled, steps_for
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Subject

NEARBY = 16  # points that are looked at beside one that seems wrong
ASIDE = 2.0**-18  # how far these are, as a part of each number: far beyond the noise, within one piece
MOST = 24  # directions that are tried for one result, and results that are tried
Moves = dict[tuple[int, int], float]  # how far each element moves, by numbers of block and column


def breaks_tie(subject: Subject, report: Report, rows: Rows, blocks: Sequence[Block], here: Around) -> bool:
    """Whether the rules contradict the function along a direction in which it is smooth; the report then says so.

    At `max(a, b)` with `a = b` neither has a derivative, but the slope is 1 where both move.
    """
    tied = [r for r in range(len(here.at_zero)) if sum(int(b.kink[r].sum()) for b in blocks if b.columns) > 1]
    for r in tied[:MOST]:
        for moves in itertools.islice(directions(blocks, r), MOST):
            arrays = [np.zeros_like(x) for x in subject.arrays]
            for (b, k), far in moves.items():
                arrays[blocks[b].input].flat[blocks[b].columns[k]] = far  # type: ignore[index]

            def along(_: int, t: float, arrays: Sequence[np.ndarray] = arrays, r: int = r) -> np.ndarray:
                moved = [x + t * v if v.any() else x for x, v in zip(subject.arrays, arrays, strict=True)]
                return rows.weigh(subject.value(moved))[[r]]

            size = max(blocks[b].sizes[k] for b, k in moves)
            expected = sum(blocks[b].analytic[r, k] * far for (b, k), far in moves.items())
            scale = np.max([[blocks[b].scale[r, 0]] for b, _ in moves], axis=0, keepdims=True)[0]
            steps, met = steps_for(np.asarray([size]), True, here.stretch)
            slope = numeric.slopes(
                along,
                here.at_zero[[r], None],
                here.jitter[[r], None],
                steps,
                met,
                np.array([[expected]]),
                scale[None],
            )[0]
            bar = numeric.tolerance(slope.error, slope.value, np.asarray(expected), scale)
            bent = slope.kink | slope.jump | slope.blunt | slope.unsettled
            if not bent[0, 0] and abs(expected - slope.value[0, 0]) > bar[0, 0]:
                describe(subject, report, rows, blocks, r, moves, float(expected), slope)
                return True
    return False


def excuse(
    subject: Subject, rows: Rows, blocks: Sequence[Block], here: Around, generator: np.random.Generator
) -> None:
    """Mark as a kink what seems wrong because the point lies where pieces of the function meet.

    So it is among equal numbers that are sorted. Then the rule agrees with differences at points nearby, and gives here
    what lies between its values there (Clarke's generalized gradient).
    """
    places = [(n, int(r), int(k)) for n, b in enumerate(blocks) for r, k in np.argwhere(b.wrong & ~b.kink)]
    if not places:
        return
    near: list[tuple[list[np.ndarray], list[np.ndarray]]] = []  # points beside, and gradients by the rules
    for n, r, k in places[:MOST]:
        block, move, found = blocks[n], blocks[n].moves[k], []
        step = ASIDE / 1024 * max(1.0, block.sizes[k])
        for m in range(NEARBY):
            if m == len(near):
                signs = [
                    generator.choice((-1, 1), x.shape) * generator.uniform(0.5, 1, x.shape)
                    for x in subject.arrays
                ]
                moved = [
                    x + ASIDE * np.maximum(1, np.abs(x)) * s
                    for x, s in zip(subject.arrays, signs, strict=True)
                ]
                arrays = [
                    y if i in subject.wanted else x
                    for i, (x, y) in enumerate(zip(subject.arrays, moved, strict=True))
                ]
                near.append((arrays, pulled(subject, arrays, rows)))
            arrays, rules = near[m]
            by_rule = rules[n][r, move] if block.columns is not None else rules[n][r] @ np.ravel(move)
            there = lines(subject, rows, block.input, [move], arrays)
            slope = (there(0, step)[r] - there(0, -step)[r]) / (2 * step)
            bar = numeric.BENT * max(block.scale[r, 0], abs(slope)) + numeric.SAFETY * here.jitter[r] / step
            if not abs(by_rule - slope) <= bar:
                return  # one that has no excuse is enough
            found.append(by_rule)
        low, high = min(found), max(found)
        if not (high - low > bar and low - bar <= block.analytic[r, k] <= high + bar):
            return
        block.kink[r, k], block.left[r, k], block.right[r, k], block.sides_error[r, k] = True, low, high, bar


def directions(blocks: Sequence[Block], r: int) -> Iterator[Moves]:
    """Directions in which a kink of row `r` may be none: two elements move as their kinks weigh, or all do."""
    kinked = [
        ((b, int(k)), 1 / abs(block.right[r, k] - block.left[r, k]))
        for b, block in enumerate(blocks)
        if block.columns is not None
        for k in np.flatnonzero(block.kink[r])
    ]
    most = max(weight for _, weight in kinked)
    weights = {place: weight / most for place, weight in kinked}
    yield weights
    for one, other in itertools.combinations(weights, 2):
        for sign in (1, -1):
            yield {one: weights[one], other: sign * weights[other]}


def describe(
    subject: Subject, report: Report, rows: Rows, blocks: Sequence[Block], r: int, moves: Moves, by_rule: float,
    slope: numeric.Slopes,
) -> None:  # fmt: skip
    """Say which elements move, and what the slope is."""
    found, error = float(slope.value[0, 0]), float(slope.error[0, 0])
    entries = []
    for b, k in moves:
        block = blocks[b]
        at = np.unravel_index(block.columns[k], subject.arrays[block.input].shape)  # type: ignore[index]
        element = tuple(int(n) for n in at)
        entries.append(Entry(subject.names[block.input], element, rows.names[r], by_rule, found, error))
    names = " and ".join(e.place for e in entries[:3])
    report.verdict, report.worst, report.failed = "wrong", entries[:1], 1
    report.cause = "factor" if found and by_rule else "missing term"
    report.factor = by_rule / found if report.cause == "factor" else None
    report.sentence = (
        f"where {names} move together the slope is {found:.6g}, and the rules add up to {by_rule:.6g}"
    )
