"""Which rows one kernel carries out: those over the same axes, none of which meets what another thread has written."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.plan.trace import DRAW
from tinygrad_lesson.run.cuda import Part, Row, reshaped, settled

FAR, MOST = 16, 200  # items that a row may be moved over; arrays that one kernel is given
WORK = 1 << 12  # what it may cost to find out whether two views share an element; else they are taken to


class Extent(NamedTuple):
    """The memory of a view: its first byte, the one behind its last, and an array there, never read, to compare."""

    low: int
    high: int
    shadow: Any

    def meets(self, other: Extent) -> bool:
        """Whether both have an element in common."""
        if self.low >= other.high or other.low >= self.high:
            return False
        try:
            return bool(np.shares_memory(self.shadow, other.shadow, WORK))  # type: ignore[arg-type]
        except np.exceptions.TooHardError:
            return True


class Shadow:
    """The address of an array of a device, as an array of the host; nobody reads it."""

    def __init__(self, address: int, shape: Sequence[int], strides: Sequence[int], kind: str) -> None:
        self.__array_interface__ = {
            "version": 3, "data": (address, True), "shape": tuple(shape), "strides": tuple(strides), "typestr": kind,
        }  # fmt: skip


def extent(x: Any) -> Extent:
    """The memory of an array of a device."""
    return extent_at(x.data.ptr, tuple(x.shape), tuple(x.strides), x.dtype.str)


@functools.lru_cache(1 << 14)
def extent_at(address: int, shape: tuple[int, ...], strides: tuple[int, ...], kind: str) -> Extent:
    """The memory of a view."""
    shadow = np.asarray(Shadow(address, shape, strides, kind))
    low, high = np.lib.array_utils.byte_bounds(shadow)
    return Extent(low, high, shadow)


COUNTER = extent_at(8, (1,), (8,), "<i8")  # in the place of the number of the step, wherever that lies


class Member(NamedTuple):
    """A row of a group: its operands along the axes of the group.

    `where` says how: "each" at every place, "into" one number for all along the inner axes, "kept" with such numbers.
    It is carried out in the loop number `phase`, or behind it. `box` are first place, step and count along each axis,
    for a row that is carried out in a part of the group's places alone.
    """

    row: Row
    operands: tuple[Any, ...]
    where: str
    phase: int
    box: tuple[tuple[int, int, int], ...] = ()

    @property
    def target(self) -> Part:
        """What it writes."""
        return self.operands[0]  # type: ignore[no-any-return]

    @property
    def sources(self) -> list[Part]:
        """What it reads."""
        return [x for x in self.operands[1:] if isinstance(x, Part)]


Key = tuple[Any, ...]


def key_of(x: Part) -> Key:
    """What is the same for the same element at the same place."""
    return x.array.data.ptr, x.strides, x.array.dtype.str, x.step


def extent_of(x: Part, shape: Sequence[int]) -> Extent:
    """The memory that an operand may meet: all of its steps."""
    if x.step or x.rounds:
        return extent(x.array)
    sizes = [n if s else 1 for n, s in zip(shape, x.strides, strict=True)]
    return extent_at(x.array.data.ptr, tuple(sizes), x.strides, x.array.dtype.str)


class Item:
    """Something carried out in its turn: what it reads and writes."""

    def __init__(self, reads: Sequence[Extent], writes: Sequence[Extent]) -> None:
        self.reads, self.writes = list(reads), list(writes)

    def disturbs(self, other: Item) -> bool:
        """Whether it matters which of both comes first."""
        return any(w.meets(x) for w in self.writes for x in (*other.reads, *other.writes)) or any(
            w.meets(x) for w in other.writes for x in self.reads
        )


class Plain(Item):
    """What is no loop of ours: a function that carries it out, and whether a graph may hold it."""

    def __init__(
        self, run: Any, reads: Sequence[Extent], writes: Sequence[Extent], captures: bool, what: str
    ) -> None:
        super().__init__(reads, writes)
        self.run, self.captures, self.what = run, captures, what


class Group(Item):
    """Rows that one kernel carries out, one thread or one row of threads for each place of the axes that are kept."""

    def __init__(self, row: Row) -> None:
        super().__init__([], [])
        self.shape, self.axes, self.parts = row.shape, row.axes, row.parts
        self.members: list[Member] = []
        self.made: dict[Key, Member] = {}  # what is written, and by which member last
        self.read: dict[Key, tuple[Part, set[str]]] = {}  # what is read from memory, and how
        self.stored: set[Key] = set()  # what others read, or what lasts
        self.phase = 0
        self.add(Member(row, row.operands, "into" if row.axes else "each", 0))

    @property
    def inner(self) -> int:
        """Elements along the axes that are gone through."""
        return math.prod(self.shape[a] for a in self.axes)

    def add(self, member: Member) -> None:
        """One more row, which fits."""
        self.members.append(member)
        self.phase = member.phase
        shape = self.shape
        for x in member.sources:
            if key_of(x) not in self.made:
                self.read.setdefault(key_of(x), (x, set()))[1].add("box" if member.box else member.where)
                self.reads.append(extent_of(x, shape))
        steps = [x.step for x in member.operands if isinstance(x, Part)]
        self.reads += [COUNTER] * (max(steps) > 0)
        self.writes += [COUNTER] * (min(steps) < 0)
        if member.row.axes and not self.axes:
            self.axes, self.parts = member.row.axes, member.row.parts
        if key_of(member.target) not in self.made:
            self.writes.append(extent_of(member.target, shape))
        self.made[key_of(member.target)] = member

    def member_of(self, row: Row) -> Member | None:
        """The row along the axes of this group; None where it does not fit."""
        counts = row.operands[0].step < 0 or self.members[0].target.step < 0
        if counts or len(self.made) + len(self.read) + len(row.operands) > MOST:
            return None
        if row.axes:
            same = row.shape == self.shape and (
                not self.axes or (row.axes, row.parts) == (self.axes, self.parts)
            )
            fits = same and not any(m.box for m in self.members)
            return self.followed(Member(row, row.operands, "into", self.phase)) if fits else None
        operands = respread(row, self.shape)
        found = None if operands is None else self.followed(Member(row, operands, "each", self.phase))
        if not found and self.axes and self.parts == 1:
            operands = respread(row, [n for a, n in enumerate(self.shape) if a not in self.axes])
            if operands is not None:
                operands = tuple([self.with_axes(x) if isinstance(x, Part) else x for x in operands])
                found = self.followed(Member(row, operands, "kept", self.phase))
        if found:
            return found
        return None if self.axes else self.boxed(row)

    def with_axes(self, x: Part) -> Part:
        """An operand of the kept axes along all axes."""
        left = iter(x.strides)
        return x._replace(
            strides=tuple([0 if a in self.axes else next(left) for a in range(len(self.shape))])
        )

    def followed(self, member: Member) -> Member | None:
        """The member in the phase in which all is there that it reads; None where it would meet others' work."""
        phase, shape = member.phase, self.shape
        for x in member.sources:
            maker = self.made.get(key_of(x))
            if maker is None:
                if any(extent_of(x, shape).meets(w) for w in self.writes):
                    return None
            elif maker.where == "each":
                if member.where == "kept":
                    return None
            elif member.where != "kept":
                phase = max(phase, maker.phase + 1)
        if phase and self.parts > 1:
            return None
        key, mine = key_of(member.target), extent_of(member.target, shape)
        alone = member.where == "each"  # each element has one thread that reads and writes it
        own = [(key_of(x), (x, {member.where})) for x in member.sources if key_of(x) not in self.made]
        for other, (x, how) in (*self.read.items(), *own):
            same = other == key and alone and how == {"each"}
            if not same and extent_of(x, shape).meets(mine):
                return None
        for other, maker in self.made.items():
            same = other == key and alone == (maker.where == "each") and member.where != "into"
            if not same and extent_of(maker.target, shape).meets(mine):
                return None
        return member._replace(phase=phase)

    def boxed(self, row: Row) -> Member | None:
        """A row that changes a part of what another has made at each place, as a slice of it."""
        if len(row.shape) != len(self.shape) or row.name == DRAW:  # whose numbers follow from where they lie
            return None
        target = row.operands[0]
        for whole in [m.target for m in self.made.values()]:
            box = slices(target, row.shape, whole, self.shape)
            if box is None:
                continue
            operands = []
            for x in row.operands:
                if isinstance(x, Part) and key_of(x) == key_of(target):
                    operands.append(whole)
                    continue
                if isinstance(x, Part) and (
                    x.step or any(extent_of(x, row.shape).meets(w) for w in self.writes)
                ):
                    return None
                operands.append(x)
            return Member(row, tuple(operands), "each", 0, box)
        return None


def slices(
    part: Part, shape: Sequence[int], whole: Part, sizes: Sequence[int]
) -> tuple[tuple[int, int, int], ...] | None:
    """First place, step and count along each axis where one operand is a slice of another; None where it is none."""
    if part.array.dtype != whole.array.dtype or part.step or whole.step:
        return None
    left = part.array.data.ptr - whole.array.data.ptr
    if left < 0 or any(s < 0 for s in (*whole.strides, *part.strides)):
        return None
    first: dict[int, int] = {}
    for a in sorted(range(len(sizes)), key=lambda a: -whole.strides[a]):
        first[a] = left // whole.strides[a] if whole.strides[a] else 0
        left -= first[a] * whole.strides[a]
    box = []
    for a, (n, m) in enumerate(zip(shape, sizes, strict=True)):
        step = part.strides[a] // whole.strides[a] if n > 1 and whole.strides[a] else 1
        if (
            (n > 1 and step * whole.strides[a] != part.strides[a])
            or first[a] + (n - 1) * step >= m
            or step < 1
        ):
            return None
        box.append((first[a], step, n))
    return None if left else tuple(box)


def respread(row: Row, shape: Sequence[int]) -> tuple[Any, ...] | None:
    """The operands of a row along other axes, the same elements in the same order; None where they do not go along."""
    if row.shape == tuple(shape):
        return row.operands
    found = []
    for x in row.operands:
        if isinstance(x, Part):
            strides = reshaped(x.strides, row.shape, shape)
            if strides is None:
                return None
            x = x._replace(strides=settled(strides, shape))
        found.append(x)
    return tuple(found)


def grouped(items: Sequence[Row | Item]) -> list[Item]:
    """Rows joined to groups. A row moves over what it does not disturb to the last group that it fits."""
    found: list[Item] = []
    for item in items:
        if isinstance(item, Item):
            found.append(item)
            continue
        if math.prod(item.shape[a] for a in item.kept) == 0:
            continue
        alone = Group(item)
        fills = len(item.operands) == 2 and not isinstance(item.operands[1], Part)  # others will write there
        for group in () if fills and item.shape else reachable(found, alone):
            member = group.member_of(item)
            if member is not None:
                group.add(member)
                break
        else:
            found.append(alone)
    return found


def reachable(items: Sequence[Item], mine: Item) -> Iterator[Group]:
    """Groups from the last one back to the first item that `mine` may not be moved over."""
    for item in reversed(items[-FAR:]):
        if isinstance(item, Group):
            yield item
        if item.disturbs(mine):
            return


class Launch(Item):
    """Groups side by side in one launch, none of which disturbs another."""

    def __init__(self, group: Group) -> None:
        super().__init__(group.reads, group.writes)
        self.groups = [group]

    def has_room(self, group: Group) -> bool:
        """Whether one more may join."""
        return sum(len(g.made) + len(g.read) for g in (*self.groups, group)) <= MOST

    def add(self, group: Group) -> None:
        """One more."""
        self.groups.append(group)
        self.reads += group.reads
        self.writes += group.writes


def launches(items: Sequence[Item]) -> list[Item]:
    """The items with their groups in launches. A group moves over what it does not disturb, as early as it may."""
    found: list[Item] = []
    for item in items:
        if not isinstance(item, Group):
            found.append(item)
            continue
        place = None
        for there in reversed(found[-FAR:]):
            if there.disturbs(item):
                break
            if isinstance(there, Launch) and there.has_room(item):
                place = there
        if place is None:
            found.append(Launch(item))
        else:
            place.add(item)
    return found


def mark_stored(items: Sequence[Item], lasting: Sequence[Extent]) -> None:
    """Tell each group which of its results are read later, or last: the others stay in registers."""
    for i, item in enumerate(items):
        if not isinstance(item, Group):
            continue
        for key, maker in item.made.items():
            mine = extent_of(maker.target, item.shape)
            if any(mine.meets(x) for x in lasting) or read_later(mine, items[i + 1 :]):
                item.stored.add(key)


def read_later(mine: Extent, items: Sequence[Item]) -> bool:
    """Whether any of `items` reads there before all of it is written anew."""
    dense = mine.shadow.nbytes == mine.high - mine.low
    for item in items:
        if any(x.meets(mine) for x in item.reads):
            return True
        if dense and any(w[:2] == mine[:2] and w.shadow.nbytes == mine.shadow.nbytes for w in item.writes):
            return False
    return False
