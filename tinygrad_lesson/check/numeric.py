"""Derivatives by differences, each with an error bar: what the checks compare rules with.

Central differences at halved steps are extrapolated to step 0; the table tells how far its last entries
still move, and the noise of the function, divided by the step, how far they could not be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

EPS = float(np.finfo(np.float64).eps)
LEVELS = 4  # of a table: the step, a half, a quarter, an eighth of it
GLANCE = 2.0**-10  # a first step with one half of it: where the rule agrees at once, that is enough
ALONE = 2.0**-8  # that step, with a half and a quarter of it, where nothing longer follows
STRETCH = (
    0.7,
    1.0,
)  # each check shortens all steps by a number between: what repeats after a step is not missed
STEPS = (2.0**-6, 2.0**-13, 2.0**-20)  # tried in turn, where the function is not smooth over the longer
SHORTEST = 2.0**-27  # the last to be tried where many elements move at once
SAFETY = 8.0  # an error bar is an estimate: two values part where they are this many bars away
FLOOR = EPS**0.6  # a relative error never called a mistake: three fifths of the digits agree
SHARP = 1e-9  # a bar of this part of the slopes or more leaves the comparison blunt: a shorter step is tried
BENT = 1e-3  # two sides that differ by this part of the slopes at the longest step may be a kink
PRECISE = tuple(0.83 * 2.0**-k for k in range(8, 33, 4))  # steps in extended precision
FINE = 2.0**-40  # of the size of the input: some thousand roundings
COARSE = 2.0**-20  # the same for what is rounded to single precision
COARSEST = 2.0**-8  # the farthest at which numbers rounded to few digits should move
Along = Callable[[Any], np.ndarray]  # the function along a line, 0 at the point
Lines = Callable[[int, float], np.ndarray]  # the same along one of many lines, by number


class Slopes(NamedTuple):
    """Slopes along lines of every number that a function gives; `error` is the bar of `value`.

    `kink` marks those whose two sides differ however near, `jump` those that jump, `blunt` those whose
    bar leaves nothing to compare; `noisy` tells that rounding noise, not curvature, makes it so, `unsettled`
    that the sides differ by what may be a kink or a sharp bend.

    Shapes
        all (numbers, lines)
    """

    value: np.ndarray
    error: np.ndarray
    left: np.ndarray
    right: np.ndarray
    sides_error: np.ndarray
    kink: np.ndarray
    jump: np.ndarray
    blunt: np.ndarray
    noisy: np.ndarray
    unsettled: np.ndarray
    step: np.ndarray  # the last, shortest one that this comes from


class Table(NamedTuple):
    """What one run of steps tells."""

    value: np.ndarray
    error: np.ndarray
    left: np.ndarray
    right: np.ndarray
    sides_error: np.ndarray
    rounding: np.ndarray
    gaps: np.ndarray  # right slope less left slope, at each step
    jumps: np.ndarray  # from the value before to the one behind, or from both to the one here, at each step
    step: np.ndarray  # the last


def extrapolate(first: np.ndarray, rounding: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """The limit for step 0 of estimates at halved steps, and its error bar.

    Shapes
        first, rounding (levels, ...) -> (...), (...)

    Source
        Ridders 1982, "Accurate computation of F'(x) and F'(x) F''(x)": of Neville's table that entry
        is taken which moved least.
    """
    values, errors = [first[-1]], [np.full(first.shape[1:], np.inf)]
    power, row = factor, first
    for j in range(1, len(first)):
        new = (power * row[1:] - row[:-1]) / (power - 1)
        moved = np.maximum(np.abs(new - row[1:]), np.abs(new - row[:-1])) + 2 * rounding[j:]
        values.extend(new)
        errors.extend(np.where(np.isfinite(moved), moved, np.inf))
        power, row = power * factor, new
    every = np.asarray(errors)
    best = np.argmin(every, axis=0)[None]
    return np.take_along_axis(np.asarray(values), best, 0)[0], np.take_along_axis(every, best, 0)[0]


def table(
    along: Lines,
    lines: np.ndarray,
    at_zero: np.ndarray,
    noise: np.ndarray,
    steps: np.ndarray,
    levels: int = LEVELS,
) -> Table:
    """Central and one-sided slopes along some lines, from a step for each, a half of it, and so on."""
    h = steps / 2.0 ** np.arange(levels)[:, None]
    with np.errstate(all="ignore"):
        ahead, behind = (
            np.stack([np.stack([along(k, t) for k, t in zip(lines, row, strict=True)], 1) for row in signed])
            for signed in (h, -h)
        )
        h = h[:, None]
        rounding = noise / h
        value, error = extrapolate((ahead - behind) / (2 * h), rounding, 4.0)
        rights, lefts = (ahead - at_zero) / h, (at_zero - behind) / h
        right, right_error = extrapolate(rights, 2 * rounding, 2.0)
        left, left_error = extrapolate(lefts, 2 * rounding, 2.0)
        sides_error = left_error + right_error
        one = (np.abs(right - left) <= SAFETY * sides_error) & (
            sides_error < error
        )  # as where curvature jumps
        value, error = np.where(one, (left + right) / 2, value), np.where(one, sides_error, error)
    jumps = np.maximum(np.abs(ahead - behind), np.abs(ahead - 2 * at_zero + behind))
    locked = jumps.max(axis=0) == 0  # as a probability of 1, to which less than a rounding is added
    error = np.where(locked, np.maximum(error, EPS * np.minimum(1, 1 / h[0])), error)
    return Table(
        value, error, left, right, sides_error, 2 * rounding[-1],
        rights - lefts, jumps, np.broadcast_to(h[-1], value.shape),
    )  # fmt: skip


def tolerance(error: np.ndarray, *sizes: np.ndarray) -> np.ndarray:
    """How far two values may lie apart: by the error bar, and by the size of what is compared."""
    size = np.max(np.broadcast_arrays(*map(np.abs, sizes)), axis=0)
    allowed: np.ndarray = SAFETY * error + FLOOR * np.where(np.isfinite(size), size, 0.0)
    return allowed


def slopes(
    along: Lines,
    at_zero: np.ndarray,
    noise: np.ndarray,
    steps: np.ndarray,
    met: np.ndarray,
    expected: np.ndarray,
    scale: np.ndarray,
    glance: bool = False,
) -> tuple[Slopes, np.ndarray, np.ndarray]:
    """Slopes of `along` at 0, each from the longest of its steps over which the function is smooth.

    `expected` is what a rule says, only to know when to stop: a step is shortened while the two
    disagree or the sides differ; a kink as near as `met` is as good as met, unless the function only moves
    too fast for that step. `scale` is the size of the slopes around. The second answer is the longest step
    that is too long along each line, 0 where none was; the third how steep it is over the first step. For a `glance`
    two short steps are all.

    Shapes
        at_zero, noise, scale (numbers, 1), expected (numbers, lines), met (lines,); steps (steps, lines), not
        a number where a line has no more -> (numbers, lines), (lines,), (numbers, lines)
    """
    best: Slopes | None = None
    steep, open_ = np.zeros(expected.shape), np.ones(expected.shape, bool)
    fits = np.zeros(expected.shape, bool)  # whether the best so far is what the rule says
    too_long, moved = np.zeros(len(met)), np.zeros(expected.shape)
    first = (ALONE / STEPS[0] * steps[0], 3) if glance else (GLANCE / STEPS[0] * steps[0], 2)
    for step, levels in (first, *((row, LEVELS) for row in (steps[1:2] if glance else steps))):
        k = np.flatnonzero(open_.any(axis=0) & np.isfinite(step))
        if not k.size:
            break
        found = table(along, k, at_zero, noise, step[k], levels)
        with np.errstate(all="ignore"):
            new = judge(found, noise, scale)
            limit = tolerance(found.error, expected[:, k], found.value, scale)
            agrees = np.abs(found.value - expected[:, k]) <= limit
        moved[:, k] = np.fmax(moved[:, k], np.max(found.jumps, axis=0))
        still = open_[:, k]
        settled = still & agrees & ~new.kink & ~new.jump & ~new.blunt
        bent = (new.kink | new.jump) & still
        ends = bent & (step[k] <= met[k])
        shortest = steps[-1][k]
        for n in np.flatnonzero(ends.any(axis=0) & (shortest < step[k])):
            ends[:, n] &= is_sharp(
                partial(along, k[n]), float(step[k][n]), float(shortest[n]) * STEPS[0], noise
            )
        if best is None:
            best, fits, steep = new, agrees, np.abs(np.nan_to_num(found.value))
        else:
            old = Slopes._make(field[:, k] for field in best)
            settled &= ~outweighs(old, new)
            chosen = settled | ends | (still & better(old, new, fits[:, k] & ~agrees))
            for field, now, before in zip(best, new, old, strict=True):
                field[:, k] = np.where(chosen, now, before)
            fits[:, k] = np.where(chosen, agrees, fits[:, k])
        still &= ~settled & ~ends
        open_[:, k] = still
        longer = still.any(axis=0) & bent.any(axis=0)
        too_long[k] = np.where(longer, np.maximum(too_long[k], step[k]), too_long[k])
    assert best is not None
    # No digit is left, all moves are noise, and the rule says why: the rounding of the input alone makes about as much.
    lost = (noise > BENT * np.abs(at_zero)) & (moved <= SAFETY * noise)
    with np.errstate(all="ignore"):
        wild = open_ & lost & (np.abs(expected) * EPS * steps[0] / STEPS[0] > BENT * noise)
    best = best._replace(error=np.where(wild, np.inf, best.error), blunt=best.blunt | wild)
    return best, too_long, steep


def better(old: Slopes, new: Slopes, doubted: np.ndarray) -> np.ndarray:
    """Where a shorter step tells more: the function is smooth over it, and the bar is shorter.

    It is `doubted` where the longer one agrees with the rule and this does not. If the two contradict each
    other as well, or nothing moves over the shorter step, that is by rounding, which shorter steps see more of.
    """
    smooth_old, smooth_new = ~(old.kink | old.jump | old.unsettled), ~(new.kink | new.jump)
    sharper = (old.blunt & ~new.blunt) | ((old.blunt == new.blunt) & (new.error <= old.error))
    with np.errstate(invalid="ignore"):
        parted = np.abs(new.value - old.value) > SAFETY * (old.error + new.error)
    locked = (new.value == 0) & (new.left == 0) & (new.right == 0)
    tells = np.where(smooth_old & smooth_new, sharper, smooth_new | ~smooth_old)
    return np.asarray(tells & ~(doubted & (parted | locked)))


def outweighs(old: Slopes, new: Slopes) -> np.ndarray:
    """Where a longer step has told more already, and the same: there a rule that meets the long bar of a shorter one,
    which noise makes, is not met.
    """
    smooth = ~(old.kink | old.jump | old.unsettled | old.blunt)
    with np.errstate(invalid="ignore"):
        same = np.abs(new.value - old.value) <= SAFETY * (old.error + new.error)
    return np.asarray(smooth & same & (old.error < new.error))


def is_sharp(along: Along, step: float, width: float, noise: np.ndarray) -> bool:
    """Whether what bends a function within `step` is a corner or a jump, however closely one looks.

    The place is followed by halving down to `width`, or as far as rounding lets one see. What gets straight
    there, or runs to infinity, is none.
    """
    with np.errstate(all="ignore"):
        middle, left, here, right = 0.0, along(-step), along(0.0), along(step)
        first = last = float(np.sum(np.abs(left - 2 * here + right)))
        steepest = first / step
        while step > width and last > SAFETY**2 * float(noise.sum()):
            step /= 2
            before, after = along(middle - step), along(middle + step)
            parts = (
                (middle - step, left, before, here),
                (middle, before, here, after),
                (middle + step, here, after, right),
            )
            bends = [float(np.sum(np.abs(a - 2 * b + c))) for _, a, b, c in parts]
            middle, left, here, right = parts[int(np.argmax(bends))]
            last = max(bends)
            steepest = max(steepest, last / step)
    return last <= 4 * first and last / step > steepest / 4


def judge(found: Table, noise: np.ndarray, scale: np.ndarray) -> Slopes:
    """Slopes from a table: are the two sides one, and is the bar short enough to tell anything?"""
    size = np.maximum(np.max(np.abs([found.left, found.right, found.value]), axis=0), scale)
    size = np.where(np.isfinite(size), size, 0.0)
    gap, loud = np.abs(found.gaps), SAFETY * found.rounding
    apart = np.abs(found.right - found.left) > SAFETY * found.sides_error + FLOOR * size
    halvings = len(gap) - 1  # each leaves a half of the gap where the function is smooth, all of it at a kink
    lasting = gap[-1] > gap[0] * 0.5 ** (2 / 3 * halvings)
    bent = (gap[0] > loud + BENT * size) & (lasting | ((gap[0] > np.sqrt(BENT) * size) & (halvings > 1)))
    # a gap that shrinks with the step is a bend, not a kink, unless the bar is as long as the gap
    vague = SAFETY * found.error > np.maximum(BENT * size, np.where(lasting, 0.0, gap[0] / SAFETY))
    kink = bent & (apart | vague)
    high, stays = leaps(found, noise)
    jump = (stays & (halvings > 1)) | (high & (found.jumps[-1] > found.jumps[0] / 2) & kink)
    unknown = ~np.isfinite(found.error) | ~np.isfinite(found.value)
    unsettled = ((bent & lasting) | stays) & ~kink & ~jump  # a shorter step will tell
    blunt = unknown | unsettled | (SAFETY * found.error > SHARP * size + loud)
    noisy = (
        ~unknown
        & (SAFETY * found.error > 10 * BENT * size)
        & (found.error <= 4 * found.rounding + FLOOR * size)
    )
    return Slopes(
        found.value, found.error, found.left, found.right, found.sides_error, kink & ~unknown, jump & ~unknown,
        blunt, noisy, unsettled, np.array(found.step),
    )  # fmt: skip


def leaps(found: Table, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where values to both sides, or the one between, lie far apart; and where that stays so, however near."""
    jumps = found.jumps
    high = jumps[0] > SAFETY**2 * noise
    least = jumps.max(axis=0) * 0.5 ** ((len(jumps) - 1) / 3)  # at 0 it may be half way
    return high, high & (jumps.min(axis=0) > least)


def noise_of(along: Along, size: float) -> np.ndarray:
    """How much the numbers of a function jitter by rounding; `size` is that of its input.

    A function that does not move at all over a few roundings, but does over more, has been rounded
    to fewer digits on the way: its steps are its noise.

    Source
        Moré and Wild 2011, "Estimating computational noise": differences of fourth order over points
        a few roundings apart, in which everything smooth has cancelled. The points lie on one side,
        so that a kink at 0 is none here, and the median forgets one beside it. They are not evenly
        spaced, or steps as long as the spacing would go unseen.
    """
    size = max(size, 1e-300)
    measured, values = jitter(along, size * FINE)
    still = np.all(values == values[0], axis=0)
    if still.any():
        coarse, _ = jitter(along, size * COARSE, is_stair=True)
        measured = np.where(still, np.maximum(measured, coarse), measured)
    floor: np.ndarray = np.maximum(measured, EPS * np.max(np.abs(values), axis=0))
    return floor


def fourth_differences(points: np.ndarray) -> np.ndarray:
    """Weights that take everything up to a cubic out of values at five neighbours; each row has length 1."""
    rows = np.zeros((len(points) - 4, len(points)))
    for i, row in enumerate(rows):
        near = points[i : i + 5]
        row[i : i + 5] = [1 / np.prod(p - near[near != p]) for p in near]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


POINTS = np.arange(1, 14) + 0.4 * (np.arange(13) * (np.sqrt(5) - 1) / 2 % 1)
DIFFERENCES = fourth_differences(POINTS)


def jitter(along: Along, spacing: float, is_stair: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Deviation of the noise over points about `spacing` apart, and the values there.

    Unless the function `is_stair`, what is small beside its moves is what is left of something smooth.
    """
    with np.errstate(all="ignore"):
        values = np.stack([along(t) for t in (POINTS * spacing).tolist()])
        squares = np.square(DIFFERENCES @ (values - values[0]))
        moves = np.median(np.abs(np.diff(values, axis=0)), axis=0)
    measured = np.sqrt(np.median(squares, axis=0) / 0.455)  # 0.455: the median of a square
    if not is_stair:
        measured = np.where(measured > 0.01 * moves, measured, 0.0)
    return np.where(np.isfinite(measured), measured, 0.0), np.nan_to_num(values)


def beside(
    along: Along, step: float, farthest: float, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much a function jitters within a step to either side, and whether that is about as far as it moves.

    Only more than the `noise` that is known already counts. A kink or a jump is none there: these are the
    steps of its rounding. They may be longer, up to `farthest`: then numbers beside each other are equal, or lie on one
    line, as those of ``x * (0.5 + 0.5 * tanh(x / 2))`` at -30.
    The third answer is whether there are many such jumps around.
    """
    found = [jitter(along, side * step / 16)[0] for side in (1, -1)]
    around, here, spacing = list(found), along(0.0), step / 16
    with np.errstate(all="ignore"):
        moves = np.max([np.abs(along(side * step) - here) for side in (1, -1)], axis=0)
    while spacing < farthest:
        stairs, values = jitter(along, spacing, is_stair=True)
        bends = np.abs(np.diff(np.diff(values, axis=0) / np.diff(POINTS)[:, None], axis=0))
        straight = np.any(bends <= 8 * np.finfo(values.dtype).eps * np.abs(values[1:-1]), axis=0)
        stair = straight & (stairs > np.max(bends, axis=0) / SAFETY**2)
        found.append(np.where(stair, stairs, 0.0))
        if spacing < STEPS[-1] / 16:
            around.append(jitter(along, spacing)[0])
        spacing *= 4
    most, wide = np.max(found, axis=0), np.max(around, axis=0)
    least = np.maximum(moves / SAFETY**2, SAFETY * noise)
    return most, np.asarray(most > least), np.asarray(wide > least)


def has_corner(along: Along, step: float, unit: float, noise: np.ndarray) -> np.ndarray:
    """Where the slopes to both sides differ by as much over a far shorter step: by little, else it was seen before."""
    here = along(0.0)
    near = min(step, STEPS[-1] * unit)
    with np.errstate(all="ignore"):
        far, middle, close = (
            np.abs(along(h) + along(-h) - 2 * here) / h for h in (STEPS[1] * unit, 8 * near, near)
        )
    return np.asarray((close > np.maximum(far, middle) / 2) & (close > SAFETY * 4 * noise / near))


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
        found = table(lambda _, t: along(t), np.zeros(1, int), here[:, None], noise[:, None], alone)
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
        fits = np.abs(best.value - expected) <= tolerance(best.error, best.value, scale)
        if np.all(fits & (SAFETY * bars <= SHARP * np.maximum(np.abs(best.value), scale))):
            break
    assert best is not None
    jumps = over(steps[-1]).jumps  # a peak is a jump from afar
    last = np.max(jumps, axis=0)
    wild = (last > most / SAFETY) & (last > 0) & ~fits  # a shorter step shows no less
    return best._replace(jumps=jumps, error=np.where(wild, np.inf, best.error)), fits
