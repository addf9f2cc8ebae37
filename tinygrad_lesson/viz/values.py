"""Arrays in a few words: short ones in full, long ones as smallest, mean, largest and a histogram."""

from __future__ import annotations

from typing import Any

import numpy as np

SHORT = 8  # elements that are shown in full
BARS = "\N{LOWER ONE EIGHTH BLOCK}▂▃▄▅▆"  # higher ones would reach into the line above
BINS = 16


def in_words(value: Any) -> list[str]:
    """Lines that tell the elements of an array.

    Example
        >>> in_words([1.0, 2.5])
        ['[1, 2.5]']
        >>> in_words(range(16))
        ['0 to 15, mean 7.5', '▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆']
    """
    array = np.asarray(value)
    if not array.ndim:
        return [number(array.item())]
    if array.size <= SHORT:
        return np.array2string(array, separator=", ", formatter={"all": number}).split("\n")
    if array.dtype.kind not in "biuf":
        return [f"{array.size} elements of {array.dtype}"]
    finite = array[np.isfinite(array)].astype(float)
    missing = array.size - finite.size
    lines = [f"{missing} of {array.size} not finite"] if missing else []
    if not finite.size:
        return lines
    low, high = finite.min(), finite.max()
    if low == high:
        return [*lines, f"all {number(low)}"]
    with np.errstate(over="ignore"):
        mean = finite.mean()
    return [f"{number(low)} to {number(high)}, mean {number(mean)}", histogram(finite), *lines]


def number(value: Any) -> str:
    """A number with four digits."""
    return f"{value + 0.0:.4g}" if isinstance(value, float | np.floating) else str(value)


def histogram(values: np.ndarray) -> str:
    """How many elements lie where between the smallest and the largest, as a row of bars."""
    scaled = values / max(np.abs(values).max(), np.finfo(float).tiny)  # no range overflows
    counts, _ = np.histogram(scaled, BINS)
    heights = -(-counts * len(BARS) // counts.max())  # the lowest bar for a single element, none for none
    return "".join(BARS[height - 1] if height else " " for height in heights)
