"""How much the numbers that a function gives jitter by rounding, and where they move by steps."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.check.numeric import EPS, SAFETY, STEPS, Along

FINE = 2.0**-40  # of the size of the input: some thousand roundings
COARSE = 2.0**-20  # the same for what is rounded to single precision
LITTLE = 0.01  # part of its moves below which what does not cancel may be what is left of something smooth
COARSEST = 2.0**-8  # the farthest at which numbers rounded to few digits should move


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


def beside(
    along: Along, step: float, farthest: float, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        if spacing < STEPS[-1] / 16:
            around.append(jitter(along, spacing)[0])
        spacing *= 4
    most, wide = np.max(found, axis=0), np.max(around, axis=0)
    least = np.maximum(moves / SAFETY**2, SAFETY * noise)
    return most, np.asarray(most > least), np.asarray(wide > least)
