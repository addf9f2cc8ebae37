"""Derivatives by differences, each with an error bar: what the checks compare rules with.

Central differences at halved steps are extrapolated to step 0; the table tells how far its last entries
still move, and the noise of the function, divided by the step, how far they could not be told apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

EPS = float(np.finfo(np.float64).eps)
LEVELS = 4  # of a table: the step, a half, a quarter, an eighth of it
GLANCE = 2.0**-10  # a first step with one half of it: where the rule agrees at once, that is enough
ALONE = 2.0**-8  # that step, with a half and a quarter of it, where nothing longer follows
STRETCH = (0.7, 1.0)  # each check shortens all steps by a number between: no wave of a fixed length is missed
STEPS = (2.0**-6, 2.0**-13, 2.0**-20, 2.0**-27)  # tried in turn, until the function is smooth over one
SAFETY = 8.0  # an error bar is an estimate: two values part where they are this many bars away
FLOOR = EPS**0.6  # a relative error never called a mistake: three fifths of the digits agree
SHARP = 1e-9  # a bar of this part of the slopes or more leaves the comparison blunt: a shorter step is tried
BENT = 1e-3  # two sides that differ by this part of the slopes at the longest step may be a kink
ALIKE = 2.0**10  # how much larger one element may be for all to move alike: some steps are short for both
FINE = 2.0**-40  # of the size of the input: some thousand roundings
COARSE = 2.0**-20  # the same for what is rounded to single precision
LITTLE = 0.01  # part of its moves below which what does not cancel may be what is left of something smooth
COARSEST = 2.0**-8  # the farthest at which numbers rounded to few digits should move
Along = Callable[[Any], np.ndarray]  # the function along a line, 0 at the point
Lines = Callable[[int, float], np.ndarray]  # the same along one of many lines, by number


@dataclasses.dataclass
class Slopes:
    """Slopes along lines of every number that a function gives; `error` is the bar of `numeric`.

    `kink` marks those whose two sides differ however near, `jump` those that jump, `blunt` those whose
    bar leaves nothing to compare; `noisy` tells that rounding noise, not curvature, makes it so, `unsettled`
    that the sides differ by what may be a kink or a sharp bend. `step` is the shortest that this comes from.

    Shapes
        all (numbers, lines)
    """

    numeric: np.ndarray
    error: np.ndarray
    left: np.ndarray
    right: np.ndarray
    sides_error: np.ndarray
    step: np.ndarray
    kink: np.ndarray
    jump: np.ndarray
    blunt: np.ndarray
    noisy: np.ndarray
    unsettled: np.ndarray

    def only(self, k: Any) -> Slopes:
        """Those along lines `k`."""
        return Slopes(*(vars(self)[field.name][:, k] for field in dataclasses.fields(Slopes)))

    def take(self, told: Slopes, chosen: np.ndarray, k: Any) -> None:
        """Take over what is `told` of lines `k`, where it is chosen."""
        for field in dataclasses.fields(Slopes):
            kept = vars(self)[field.name]
            kept[:, k] = np.where(chosen, vars(told)[field.name], kept[:, k])


def magnitude(x: np.ndarray) -> np.ndarray:
    """The sizes of elements, 0 of those that are not finite: no step moves these."""
    return np.asarray(np.nan_to_num(np.abs(x), nan=0.0, posinf=0.0))


def is_tiny(sizes: np.ndarray) -> np.ndarray:
    """Which elements are smaller than the longest step: they move by parts of themselves, too."""
    return np.asarray((sizes > 0) & (sizes < STEPS[0]))


def held_back(x: np.ndarray, largest: float = 0.0) -> np.ndarray:
    """By which parts elements move beside the largest: what is very small beside it does not move as far."""
    largest = largest or float(np.max(magnitude(x), initial=0.0)) or 1.0
    return np.asarray(np.minimum(1.0, ALIKE / largest * np.maximum(1.0, magnitude(x))))


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
    along: Lines, lines: Any, at_zero: np.ndarray, noise: np.ndarray, steps: np.ndarray, scale: Any,
    levels: int = LEVELS,
) -> tuple[Slopes, np.ndarray]:  # fmt: skip
    """Slopes along some lines, from a step for each, a half of it, and so on; and how far the function jumps at each.

    A jump is from the value before to the one behind, or from both to the one here. `scale` is the size of the slopes.
    """
    h = steps / 2.0 ** np.arange(levels)[:, None]
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
    one = (np.abs(right - left) <= SAFETY * sides_error) & (sides_error < error)  # where curvature jumps
    value, error = np.where(one, (left + right) / 2, value), np.where(one, sides_error, error)
    jumps = np.maximum(np.abs(ahead - behind), np.abs(ahead - 2 * at_zero + behind))
    locked = jumps.max(axis=0) == 0  # as a probability of 1, to which less than a rounding is added
    error = np.where(locked, np.maximum(error, EPS * np.minimum(1, 1 / h[0])), error)
    step = np.broadcast_to(h[-1], value.shape)
    sides = value, error, left, right, sides_error, np.array(step)
    marked = marks(*sides[:5], rights - lefts, jumps, 2 * rounding[-1], noise, scale)
    return Slopes(*sides, *marked), jumps


def marks(
    value: np.ndarray, error: np.ndarray, left: np.ndarray, right: np.ndarray, sides_error: np.ndarray,
    gaps: np.ndarray, jumps: np.ndarray, rounding: np.ndarray, noise: np.ndarray, scale: Any,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Are the two sides one, and is the bar short enough to tell anything? The marks of `Slopes`, in order."""
    size = np.maximum(np.max(np.abs([left, right, value]), axis=0), scale)
    size = np.where(np.isfinite(size), size, 0.0)
    gap, loud = np.abs(gaps), SAFETY * rounding
    apart = np.abs(right - left) > SAFETY * sides_error + FLOOR * size
    halvings = len(gap) - 1  # each leaves a half of the gap where the function is smooth, all of it at a kink
    lasting = gap[-1] > gap[0] * 0.5 ** (2 / 3 * halvings)
    bent = (gap[0] > loud + BENT * size) & (lasting | ((gap[0] > np.sqrt(BENT) * size) & (halvings > 1)))
    # a gap that shrinks with the step is a bend, not a kink, unless the bar is as long as the gap
    vague = SAFETY * error > np.maximum(BENT * size, np.where(lasting, 0.0, gap[0] / SAFETY))
    kink = bent & (apart | vague)
    high = jumps[0] > SAFETY**2 * noise  # values to both sides, or the one between, lie far apart
    least = jumps.max(axis=0) * 0.5 ** (halvings / 3)  # at 0 it may be half way
    stays = high & (jumps.min(axis=0) > least)  # however near
    jump = (stays & (halvings > 1)) | (high & (jumps[-1] > jumps[0] / 2) & kink)
    unknown = ~np.isfinite(error) | ~np.isfinite(value)
    unsettled = ((bent & lasting) | stays) & ~kink & ~jump  # a shorter step will tell
    blunt = unknown | unsettled | (SAFETY * error > SHARP * size + loud)
    noisy = ~unknown & (SAFETY * error > 10 * BENT * size) & (error <= 4 * rounding + FLOOR * size)
    return kink & ~unknown, jump & ~unknown, blunt, noisy, unsettled


def tolerance(error: np.ndarray, *sizes: np.ndarray) -> np.ndarray:
    """How far two values may lie apart: by the error bar, and by the size of what is compared."""
    size = np.max(np.broadcast_arrays(*map(np.abs, sizes)), axis=0)
    allowed: np.ndarray = SAFETY * error + FLOOR * np.where(np.isfinite(size), size, 0.0)
    return allowed


def parted(a: Slopes, b: Slopes) -> np.ndarray:
    """Where two estimates contradict each other."""
    return np.asarray(np.abs(a.numeric - b.numeric) > SAFETY * (a.error + b.error))


class Search:
    """Slopes of `along` at 0, each from the longest of its steps over which the function is smooth.

    `expected` is what a rule says, only to know when to stop: a step is shortened while the two disagree or the sides
    differ; a kink as near as the last is as good as met, unless the function only moves too fast for that step. `scale`
    is the size of the slopes around. `best` is what is known so far, `fits` where that is what the rule says, `open`
    where it is not settled; `steep` is how steep it is over the first step, `moved` how far it moves over any.

    Shapes
        at_zero, noise, scale (numbers, 1), expected (numbers, lines), steps (steps, lines), not a number where a line
        has no more
    """

    best: Slopes
    steep: np.ndarray

    def __init__(
        self, along: Lines, at_zero: np.ndarray, noise: np.ndarray, steps: np.ndarray, expected: np.ndarray,
        scale: np.ndarray, glance: bool = False,
    ) -> None:  # fmt: skip
        self.along, self.at_zero, self.noise, self.scale = along, at_zero, noise, scale
        self.shortest, self.expected = np.nanmin(steps, axis=0), expected
        self.open, self.fits = np.ones(expected.shape, bool), np.zeros(expected.shape, bool)
        self.moved = np.zeros(expected.shape)
        first = (ALONE / STEPS[0] * steps[0], 3) if glance else (GLANCE / STEPS[0] * steps[0], 2)
        for step, levels in (first, *((row, LEVELS) for row in (steps[1:2] if glance else steps))):
            self.over(step, levels)
        # nothing is known where no digit is left, all moves are noise, and the rounding of the input explains it
        lost = (noise > BENT * np.abs(at_zero)) & (self.moved <= SAFETY * noise)
        slow = ~self.fits & (np.abs(expected) * self.shortest <= SAFETY * noise)  # so are the rule's
        wild = self.open & lost & (slow | (np.abs(expected) * EPS * steps[0] / STEPS[0] > BENT * noise))
        self.best.error[wild] = np.inf
        self.best.blunt |= wild

    def over(self, step: np.ndarray, levels: int) -> None:
        """Look over one step, of another length for each line."""
        k = np.flatnonzero(self.open.any(axis=0) & np.isfinite(step))
        if not k.size:
            return
        new, jumps = table(self.along, k, self.at_zero, self.noise, step[k], self.scale, levels)
        limit = tolerance(new.error, self.expected[:, k], new.numeric, self.scale)
        agrees = np.abs(new.numeric - self.expected[:, k]) <= limit
        self.moved[:, k] = np.fmax(self.moved[:, k], np.max(jumps, axis=0))
        still = (np.max(jumps, axis=0) == 0) & (self.expected[:, k] == 0)  # a shorter step will tell no more
        bent = (new.kink | new.jump) & self.open[:, k]
        ends = self.ends(k, step[k], bent)
        lost = bent & ~ends & (step[k] <= self.shortest[k])  # the function is too fast for any of the steps
        new.kink, new.jump, new.blunt = new.kink & ~lost, new.jump & ~lost, (new.blunt | lost) & ~still
        new.error = np.where(lost, np.inf, new.error)
        settled = self.open[:, k] & agrees & ~bent & ~new.blunt
        if not hasattr(self, "best"):
            self.best, self.fits, self.steep = new, agrees, np.abs(np.nan_to_num(new.numeric))
        else:  # take over what a shorter step tells, where it tells more; else it is not settled there
            old = self.best.only(k)
            smooth = ~(old.kink | old.jump | old.unsettled | old.blunt)  # then a longer bar is noise
            settled &= ~(smooth & ~parted(old, new) & (old.error < new.error))
            more = self.open[:, k] & better(old, new, self.fits[:, k] & ~agrees)
            chosen = settled | ends | lost | more
            self.best.take(new, chosen, k)
            self.fits[:, k] = np.where(chosen, agrees, self.fits[:, k])
        self.open[:, k] &= ~settled & ~ends

    def ends(self, k: np.ndarray, step: np.ndarray, bent: np.ndarray) -> np.ndarray:
        """Where what is bent is so, however short a step is; over the last one looks more closely."""
        ends: np.ndarray = bent & (step <= self.shortest[k])
        for n in np.flatnonzero(ends.any(axis=0)):
            width = float(self.shortest[k[n]]) * STEPS[1]
            ends[:, n] &= is_sharp(partial(self.along, k[n]), float(step[n]), width, self.noise)
        return ends


def better(old: Slopes, new: Slopes, doubted: np.ndarray) -> np.ndarray:
    """Where a shorter step tells more: the function is smooth over it, and the bar is shorter.

    A short enough bar wins over any that contradicts it: a wave may fit the longer step by chance. It is `doubted`
    where the longer one agrees with the rule and this does not. If the two contradict each other as well, and the
    shorter one is not far sharper, or nothing moves there, that is by rounding, which shorter steps see more of.
    """
    smooth_old, smooth_new = ~(old.kink | old.jump | old.unsettled), ~(new.kink | new.jump)
    sharper = (old.blunt & ~new.blunt) | ((old.blunt == new.blunt) & (new.error <= old.error))
    sharper |= parted(old, new) & (SAFETY * new.error < BENT * np.abs(new.numeric))
    locked = (new.numeric == 0) & (new.left == 0) & (new.right == 0)
    tells = np.where(smooth_old & smooth_new, sharper, smooth_new | ~smooth_old)
    return np.asarray(tells & ~(doubted & ((parted(old, new) & (SAFETY * new.error > old.error)) | locked)))


def is_sharp(along: Along, step: float, width: float, noise: np.ndarray) -> bool:
    """Whether what bends a function within `step` is a corner or a jump, however closely one looks.

    The place is followed by halving down to `width`, or as far as rounding lets one see. What gets straight
    there, or runs to infinity, is none.
    """
    middle, left, here, right = 0.0, along(-step), along(0.0), along(step)
    found = [float(np.sum(np.abs(left - 2 * here + right)))]
    steepest = found[0] / step
    while len(found) < 2 or (step > width and found[-1] > SAFETY**2 * float(noise.sum())):
        step /= 2
        before, after = along(middle - step), along(middle + step)
        parts = (
            (middle - step, left, before, here),
            (middle, before, here, after),
            (middle + step, here, after, right),
        )
        bends = [float(np.sum(np.abs(a - 2 * b + c))) for _, a, b, c in parts]
        middle, left, here, right = parts[int(np.argmax(bends))]
        found.append(max(bends))
        steepest = max(steepest, found[-1] / step)
    first = max(found[:2])  # a jump whose value lies half way is seen from one side only
    return found[-1] <= 4 * first and found[-1] / step > steepest / 4


def noise_of(along: Along, size: float) -> np.ndarray:
    """How much the numbers of a function jitter by rounding; `size` is that of its input.

    A function that hardly moves over a few roundings, but does over more, has been rounded
    to fewer digits on the way: its steps are its noise.

    Source
        Moré and Wild 2011, "Estimating computational noise": differences of fourth order over points
        a few roundings apart, in which everything smooth has cancelled. The points lie on one side,
        so that a kink at 0 is none here, and the median forgets one beside it. They are not evenly
        spaced, or steps as long as the spacing would go unseen.
    """
    size = max(size, 1e-300)
    measured, values = jitter(along, size * FINE, is_stair=True)
    floor = EPS * np.max(np.abs(values), axis=0)
    moves = np.median(np.abs(np.diff(values, axis=0)), axis=0)
    smooth = measured <= LITTLE * moves
    if np.any(smooth & (measured > floor)):  # what is left of something smooth shrinks with the spacing
        smooth &= jitter(along, size * FINE / 8, is_stair=True)[0] < measured / 64
    measured = np.where(smooth, 0.0, measured)
    still = moves == 0  # but for a step or two
    if still.any():
        coarse, _ = jitter(along, size * COARSE, is_stair=True)
        measured = np.where(still, np.maximum(measured, coarse), measured)
    return np.asarray(np.maximum(measured, floor))


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
    values = np.stack([along(t) for t in (POINTS * spacing).tolist()])
    squares = np.square(DIFFERENCES @ (values - values[0]))
    moves = np.median(np.abs(np.diff(values, axis=0)), axis=0)
    measured = np.sqrt(np.median(squares, axis=0) / 0.455)  # 0.455: the median of a square
    if not is_stair:
        measured = np.where(measured > LITTLE * moves, measured, 0.0)
    return np.where(np.isfinite(measured), measured, 0.0), np.nan_to_num(values)


def beside(along: Along, step: float, farthest: float, noise: np.ndarray) -> tuple[np.ndarray, ...]:
    """How much a function jitters within a step to either side, and whether that is about as far as it moves.

    Only more than the `noise` that is known already counts. A kink or a jump is none there: these are the steps of its
    rounding. They may be longer, up to `farthest`: then numbers beside each other are equal, or lie on one line, as
    those of ``x * (0.5 + 0.5 * tanh(x / 2))`` at -30. The third answer is whether there are many such jumps around.
    """
    found = [jitter(along, side * step / 16)[0] for side in (1, -1)]
    around, here, spacing = list(found), along(0.0), step / 16
    moves = np.max([np.abs(along(side * step) - here) for side in (1, -1)], axis=0)
    while spacing < farthest:
        stairs, values = jitter(along, spacing, is_stair=True)
        bends = np.diff(np.diff(values, axis=0) / np.diff(POINTS)[:, None], axis=0)
        sizes = np.abs(bends)
        straight = np.any(sizes <= 8 * np.finfo(values.dtype).eps * np.abs(values[1:-1]), axis=0)
        # a step bends to one side and back; it may be alone, if it is what one rounding makes
        back = np.where(bends[1:] * bends[:-1] < 0, np.minimum(sizes[1:], sizes[:-1]), 0).max(axis=0)
        alone = (back > sizes.max(axis=0) / SAFETY) & (back <= SAFETY * EPS * farthest / COARSEST)
        stairs = np.maximum(stairs, np.where(alone, back, 0))
        stair = straight & (stairs > sizes.max(axis=0) / SAFETY**2)
        found.append(np.where(stair, stairs, 0.0))
        if spacing < STEPS[2] / 16:
            around.append(jitter(along, spacing)[0])
        spacing *= 4
    most, wide = np.max(found, axis=0), np.max(around, axis=0)
    least = np.maximum(moves / SAFETY**2, SAFETY * noise)
    return most, np.asarray(most > least), np.asarray(wide > least)


def has_corner(along: Along, step: float, unit: float, noise: np.ndarray) -> np.ndarray:
    """Where the slopes to both sides differ by as much over a far shorter step: by little, else it was seen before."""
    here, near = along(0.0), min(step, STEPS[2] * unit)
    steps = STEPS[1] * unit, 8 * near, near
    far, middle, close = (np.abs(along(h) + along(-h) - 2 * here) / h for h in steps)
    return np.asarray((close > np.maximum(far, middle) / 2) & (close > SAFETY * 4 * noise / near))


def leaps(along: Along, far: float, noise: np.ndarray, row: int) -> np.ndarray:
    """How steep small jumps within `far` may leave a function between them, as an iteration does that has a tolerance.

    They are far smaller than its moves, and that of number `row` stays, however closely one looks.
    """
    middle, found = 0.0, []
    for width in far * 0.125 ** np.arange(3):
        values = np.stack([along(middle + n / 16 * width) for n in range(-16, 17)])
        bends = np.abs(np.diff(values, 6, axis=0))  # of a jump by 1 up to 10; of rounding some 30 roundings
        found.append((bends, bends.max(axis=0), np.ptp(values, axis=0)))
        middle += float((np.argmax(bends[:, row]) + 3 - 16) / 16 * width)
    (bends, most, moves), (_, last, _) = found[0], found[-1]
    small = (most > SAFETY**3 * noise) & (most / 10 <= BENT * moves)
    stays = last[row] > most[row] / SAFETY  # of a corner a 64th is left
    return np.where(small & stays, most / 10 * np.sum(bends > most / 4, axis=0) / far, 0.0)
