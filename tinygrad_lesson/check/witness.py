"""The second witness: nothing is called wrong, or a kink, on the word of one set of differences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache as cached
from typing import Any

import numpy as np

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.compare import DETAIL, WITNESSED, Around, Block, Rows, block_of, pulled
from tinygrad_lesson.check.noise import COARSEST, FINE, beside, jitter
from tinygrad_lesson.check.numeric import BENT, EPS, SAFETY, SHARP, Along, Table
from tinygrad_lesson.check.subject import Subject

OTHER = 0.61  # times the steps: those of a second witness
PRECISE = tuple(0.83 * 2.0**-k for k in range(8, 33, 4))  # steps in extended precision


def longer(subject: Subject) -> list[np.ndarray]:
    """The inputs in numbers longer than double precision."""
    return [x.astype(np.longdouble) if k in subject.wanted else x for k, x in enumerate(subject.arrays)]


def precise_rule(subject: Subject, rows: Rows) -> list[np.ndarray] | None:
    """What the rules give in such numbers, op by op; None where they cannot compute with them."""
    try:
        with np.errstate(all="ignore"):
            return pulled(subject, longer(subject), rows)
    except Exception:  # a rule is code of the user's, and may know two types
        return None


def precise_line(subject: Subject, rows: Rows, i: int, move: int | np.ndarray) -> Along:
    """As one of `lines`, in numbers longer than double precision; computed op by op."""
    long = longer(subject)

    def along(t: Any) -> np.ndarray:
        moved = long[i].copy()
        if isinstance(move, int):
            moved.reshape(-1)[move] += t
        else:
            moved += t * move
        try:
            return rows.weigh(Subject.value(subject, [*long[:i], moved, *long[i + 1 :]]))
        except Exception:  # such as NumPy's linear algebra, which has no such numbers
            return np.zeros(len(rows.names))

    return along


def confirm(
    subject: Subject, rows: Rows, blocks: Sequence[Block], gradients: Sequence[np.ndarray], here: Around
) -> None:
    """Ask a second witness about what seems wrong or bent, until it agrees: more digits, or else other steps.

    What it sees more sharply stands from then on; where the two contradict each other, nothing is known. Where the rule
    agrees with it in more digits, what it lost in double precision is rounding.
    """
    exact = cached(lambda: precise_rule(subject, rows))
    other = here._replace(stretch=OTHER * here.stretch)
    for mark in ("wrong", "kink", "jump"):
        places = [
            (
                -float(np.max(np.where(getattr(b, mark)[:, k], np.abs(b.analytic - b.numeric)[:, k], 0))),
                n,
                int(k),
            )
            for n, b in enumerate(blocks)
            for k in np.flatnonzero(getattr(b, mark).any(axis=0))
        ]
        for _, n, k in sorted(places)[:DETAIL]:
            block, move = blocks[n], blocks[n].moves[k]
            doubted = block.wrong[:, k] | block.kink[:, k] | block.jump[:, k]
            along = precise_line(subject, rows, block.input, move)
            found = precise(along, here.jitter, block.sizes[k], block.analytic[:, [k]], block.scale)
            if found is None:
                again = block_of(subject, rows, block.input, gradients[n], [move], other)
                told = {name: getattr(again, name)[:, 0] for name in WITNESSED}
            else:
                told = {name: getattr(found, name)[:, 0] for name in WITNESSED[1:5]}
                told["numeric"] = found.value[:, 0]
                bars = numeric.tolerance(told["sides_error"], told["left"], told["right"], block.scale[:, 0])
                told["kink"] = np.abs(told["right"] - told["left"]) > bars
                told["jump"] = numeric.leaps(found, here.jitter[:, None])[1][:, 0]
            block.hear(k, told, doubted)
            if found is not None and block.wrong[:, k].any() and (rule := exact()) is not None:
                block.forgive(k, rule[n][:, move] if isinstance(move, int) else rule[n] @ move.ravel())
            if getattr(block, mark)[:, k].any():
                break


def precise(
    along: Along, noise: np.ndarray, size: float, expected: np.ndarray, scale: np.ndarray
) -> Table | None:
    """Slopes from numbers longer than double precision; None where the function has none, or there are none.

    Of many lengths of step that one is taken, for each number, whose bar is shortest; but a long one never outvotes
    a shorter one that is resolved. `size` is that of what moves, `scale` that of the slopes; where they are as
    `expected` already, no more steps are tried. The bar is infinite where the function moves as far over the shortest
    step as over any: so does chaos.
    """
    units = [max(1.0, size), size] if 0 < size < 1 else [max(1.0, size)]
    with np.errstate(all="ignore"):
        here, *there = [along(np.longdouble(units[-1] * step)) for step in (0.0, FINE**0.5, PRECISE[0])]
    if all(np.all(y == y.astype(np.float64)) for y in (here, *there)):
        return None
    unit: Any = np.finfo(np.longdouble).eps
    measured = jitter(along, units[-1] * FINE, is_stair=True)[0]  # of what was made double on the way
    noise = np.maximum(noise * float(unit / EPS), measured.astype(np.float64))
    steps = [step * unit for unit in units for step in PRECISE]
    found, fits = sharpest(along, here, noise, steps, expected, scale)
    if not np.all(fits):
        stairs = beside(along, steps[-1], COARSEST * units[-1], noise)[0].astype(np.float64)
        found, _ = sharpest(along, here, np.maximum(noise, stairs), steps, expected, scale)
    return found


def sharpest(
    along: Along,
    here: Any,
    noise: np.ndarray,
    steps: Sequence[float],
    expected: np.ndarray,
    scale: np.ndarray,
) -> tuple[Table, np.ndarray]:
    """What `precise` gives where the noise is known, and where that is as expected."""
    best: Table | None = None
    most = np.zeros((len(noise), 1))  # how far it moves

    def over(step: float) -> Table:
        alone = np.array([step], np.longdouble)
        found = numeric.table(lambda _, t: along(t), np.zeros(1, int), here[:, None], noise[:, None], alone)
        return Table(*(np.asarray(field, np.float64) for field in found))

    for step in steps:
        found = over(step)
        most = np.fmax(most, np.max(found.jumps, axis=0))
        if best is not None:
            with np.errstate(invalid="ignore"):
                parted = np.abs(found.value - best.value) > SAFETY * (found.error + best.error)
            # a longer step has no say where this is resolved
            resolved = parted & (SAFETY * found.error <= BENT * np.abs(found.value))
            central = (found.error < best.error) | resolved
            sides = (found.sides_error < best.sides_error) | resolved
            for new, old, name in zip(found, best, Table._fields, strict=True):
                chosen = sides if name in ("left", "right", "sides_error") else central
                old[...] = np.where(chosen, new, old)
        else:
            best = Table(*map(np.array, found))
        bars = np.maximum(best.error, best.sides_error)
        fits = np.abs(best.value - expected) <= numeric.tolerance(best.error, best.value, scale)
        if np.all(fits & (SAFETY * bars <= SHARP * np.maximum(np.abs(best.value), scale))):
            break
    assert best is not None
    jumps = over(steps[-1]).jumps  # a peak is a jump from afar
    last = np.max(jumps, axis=0)
    wild = (last > most / SAFETY) & (last > 0) & ~fits  # a shorter step shows no less
    return best._replace(jumps=jumps, error=np.where(wild, np.inf, best.error)), fits
