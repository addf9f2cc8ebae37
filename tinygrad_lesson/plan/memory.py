"""Where values lie: lifetimes, views, in place, one arena.

A value lives from the step that makes it to the last step that reads it or a view of it. Values
whose lives do not overlap share a place.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Any

ALIGNMENT = 64  # bytes; a cache line


def lifetimes(steps: Sequence[Any], count: int, owner: Sequence[int]) -> list[tuple[int, int]]:
    """First and last step of each of `count` values; a view (`owner[v] != v`) prolongs its owner's life."""
    first, last = [len(steps)] * count, [-1] * count
    for t, step in enumerate(steps):
        for v in step.targets:
            first[v] = min(first[v], t)
            last[owner[v]] = max(last[owner[v]], t)
        for v in step.sources:
            last[owner[v]] = max(last[owner[v]], t)
    return list(zip(first, last, strict=True))


def outliving(outputs: Iterable[int], *parts: Sequence[Any]) -> set[int]:
    """Values that are needed after their part of a plan, of which each can be run again without those before."""
    made: set[int] = set()
    kept = set(outputs)
    for part in parts:
        kept.update(v for step in part for v in step.sources if v in made)
        made.update(v for step in part for v in step.targets)
    return kept


def busiest(steps: Sequence[Any], buffers: Sequence[Any], forever: set[int]) -> tuple[int, int]:
    """The bytes of the arena that are in use at the biggest moment, and the number of that step."""
    owner = [b.owner for b in buffers]
    keep = {owner[v] for v in forever}
    begins: list[list[Any]] = [[] for _ in steps]
    ends: list[list[Any]] = [[] for _ in (*steps, None)]
    for v, (first, last) in enumerate(lifetimes(steps, len(buffers), owner)):
        b = buffers[v]
        if owner[v] == v and b.offset is not None and not b.block and last >= first:
            begins[first].append(b)
            ends[len(steps) if v in keep else last].append(b)
    now, most, when = 0, 0, 0
    for t, (step, new, dying) in enumerate(zip(steps, begins, ends, strict=False)):
        now += sum(b.nbytes for b in new)
        taken = {b.offset for b in new}  # in place: the result lies where the operand lay
        here = now - sum(b.nbytes for b in dying if b not in new and b.offset in taken)
        inside = [buffers[v] for v in step.targets if buffers[v].block]
        if inside:
            here += max(b.offset + b.nbytes for b in inside) - min(b.offset for b in inside)
        most, when = max((most, when), (here, t), key=lambda found: found[0])
        now -= sum(b.nbytes for b in dying)
    return most, when


class Arena:
    """Hands out places in one stretch of bytes and takes them back, first fit."""

    def __init__(self) -> None:
        self.size = 0
        self.free: list[tuple[int, int]] = []  # (offset, bytes), in order of offset

    def take(self, size: int) -> int:
        """The offset of a free place of `size` bytes."""
        size = rounded(size)
        for i, (offset, room) in enumerate(self.free):
            if room >= size:
                self.free[i : i + 1] = [(offset + size, room - size)] if room > size else []
                return offset
        if self.free and sum(self.free[-1]) == self.size:  # grow the last free place
            offset, _ = self.free.pop()
        else:
            offset = self.size
        self.size = offset + size
        return offset

    def give_back(self, offset: int, size: int) -> None:
        """Make a place free again, joined with free neighbours."""
        size = rounded(size)
        i = bisect.bisect(self.free, (offset, 0))
        if i < len(self.free) and self.free[i][0] == offset + size:
            size += self.free.pop(i)[1]
        if i and sum(self.free[i - 1]) == offset:
            offset, before = self.free.pop(i - 1)
            size += before
            i -= 1
        self.free.insert(i, (offset, size))


def rounded(size: int) -> int:
    """`size` up to a whole number of cache lines."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


def place(
    steps: Sequence[Any],
    sizes: Sequence[int | None],
    owner: Sequence[int],
    forever: set[int],
    in_place_candidates: Sequence[Sequence[int]],
) -> tuple[list[int | None], int]:
    """Offsets of values in one arena, and its size in bytes.

    `sizes` is None for a value that lies elsewhere; those in `forever` never give up their place.
    `in_place_candidates` tells for each step the sources whose place its result may take if they die there.
    """
    life = lifetimes(steps, len(sizes), owner)
    keep = {owner[v] for v in forever}
    ending: list[list[int]] = [[] for _ in steps]
    for v, (_, last) in enumerate(life):
        if owner[v] == v and v not in keep and sizes[v] is not None and last >= 0:
            ending[last].append(v)
    offsets: list[int | None] = [None] * len(sizes)
    arena = Arena()
    for step, candidates, dying in zip(steps, in_place_candidates, ending, strict=True):
        heir = next(
            (v for v in candidates if v in dying and v not in step.targets and offsets[v] is not None), None
        )
        for v in step.targets:
            size = sizes[v]
            if size is None or owner[v] != v or offsets[v] is not None:
                continue
            if heir is None or len(step.targets) > 1 or sizes[heir] != size:
                offsets[v] = arena.take(size)
            else:
                offsets[v] = offsets[heir]
                dying.remove(heir)
        for v in dying:
            at, size = offsets[v], sizes[v]
            if at is not None and size is not None:
                arena.give_back(at, size)
    return offsets, arena.size
