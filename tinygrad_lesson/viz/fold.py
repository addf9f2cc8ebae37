"""Blocks that repeat in a graph, found by their structure and not by their names.

Nodes stand in a row, inputs before users. A block repeats where the same ops follow each other with the
same shapes, and take their inputs from as far back as those of the block before did.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

LEAST = 3  # repetitions that are folded
LONGEST_BLOCK = 256  # nodes


class Repeat(NamedTuple):
    """The nodes from `start` on, `period` at a time, so many `times`."""

    start: int
    period: int
    times: int

    @property
    def stop(self) -> int:
        """The first node after the last block."""
        return self.start + self.period * self.times


def repeats(
    kinds: Sequence[Hashable], inputs: Sequence[Sequence[int]], starts: Sequence[bool]
) -> list[Repeat]:
    """Where blocks repeat in a row of nodes: `kinds` tells equal ones, `inputs` the places of their inputs.

    `starts` tells with which nodes a block had best begin.
    """
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(kind, len(numbers)) for kind in kinds], int)
    found, waiting = [], [(0, len(codes))]
    while waiting:
        begin, end = waiting.pop()
        best = best_repeat(codes, inputs, starts, begin, end)
        if best is not None:
            found.append(best)
            waiting += [(begin, best.start), (best.stop, end)]
    return sorted(found)


def best_repeat(
    codes: np.ndarray, inputs: Sequence[Sequence[int]], starts: Sequence[bool], begin: int, end: int
) -> Repeat | None:
    """The repetition in a stretch of the row that saves most."""
    best, saved = None, 1  # to fold two nodes away makes nothing clearer
    for period in range(1, min(LONGEST_BLOCK, (end - begin) // LEAST) + 1):
        equal = codes[begin : end - period] == codes[begin + period : end]
        for start, length in segments(equal, period * (LEAST - 1)):
            if (length // period) * period <= saved:
                continue
            where = range(begin + start, begin + start + length)
            alike = np.array([follows(inputs[i], inputs[i + period], period) for i in where])
            for first, run in segments(alike, period * (LEAST - 1)):
                repeat = well_cut(inputs, starts, where[first], run + period, period)
                if (repeat.times - 1) * period > saved and repeat.times >= LEAST:
                    best, saved = repeat, (repeat.times - 1) * period
    return best


def segments(true: np.ndarray, least: int) -> Iterator[tuple[int, int]]:
    """Start and length of each unbroken run of True that is long enough."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], true, [False])).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start >= least:
            yield start, stop - start


def follows(earlier: Sequence[int], later: Sequence[int], period: int) -> bool:
    """Whether inputs are those of the block before, one block on, or the same ones, as a shared weight is."""
    return len(earlier) == len(later) and all(
        b in (a, a + period) for a, b in zip(earlier, later, strict=True)
    )


def well_cut(
    inputs: Sequence[Sequence[int]], starts: Sequence[bool], start: int, length: int, period: int
) -> Repeat:
    """The blocks cut where least crosses from one to the next, then where one had best begin."""

    def cost(shift: int) -> tuple[int, bool, int, int]:
        cut = start + shift + period  # between the first block and the second
        window = range(cut, min(cut + period, start + length))
        carried = {u for v in window for u in inputs[v] if start <= u < cut}
        return len(carried), not starts[cut], -((length - shift) // period), shift

    shift = min(range(period), key=cost)
    return Repeat(start + shift, period, (length - shift) // period)
