"""Elementwise steps over large arrays, joined so that they run block by block.

A block of each array that the steps share stays in the processor's cache, and what nobody else reads is never
written to memory: it has a place for one block alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tinygrad_lesson.engine.dtypes import has_room
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.ops.movement import BroadcastTo, Reshape
from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.memory import place
from tinygrad_lesson.plan.step import Buffer, Step, takes_out
from tinygrad_lesson.plan.trace import Spec, traced

BLOCK = 16384  # elements; ten such arrays fit into a core's second cache
WIDE = 65536  # elements, where optimizers work on few arrays
FEWEST = 4  # blocks; arrays of fewer stay in the cache anyway
MOST = 256  # blocks, each of which is prepared when bound
LONG = 2  # calls, up to which a step alone is not carried out by blocks
SMALL = 4096  # elements that a step may write which waits until the blocks are done


@declares
class Blockwise(Op):
    """Steps that are carried out together, one block of elements after the other."""

    steps: tuple[Step, ...] = attr(doc="the steps")
    size: int = attr(doc="elements of each array")
    block: int = attr(doc="elements of a block")

    name = "Blockwise"

    def label(self) -> str:
        """As a plan shows it."""
        return f"Blockwise({len(self.steps)} steps, {-(-self.size // self.block)} blocks of {self.block})"


def members(steps: Sequence[Step]) -> list[Step]:
    """Steps one by one, those too that are joined."""
    return [one for step in steps for one in (step.op.steps if isinstance(step.op, Blockwise) else [step])]


class Fusion:
    """Finds the steps that can be joined. `buffers` tells what they read and write."""

    def __init__(self, buffers: Sequence[Buffer], steps: Sequence[Step]) -> None:
        self.buffers = buffers
        self.origin = dict[int, int]()  # of what was reshaped, however often: where its elements lie
        self.single = {v for v, buffer in enumerate(buffers) if buffer.size == 1}  # of one number
        for op, sources, targets, _ in steps:
            if isinstance(op, Reshape):
                self.origin[targets[0]] = self.origin.get(sources[0], sources[0])
            elif isinstance(op, BroadcastTo) and buffers[sources[0]].size == 1:
                self.single.add(targets[0])

    def size(self, step: Step) -> int:
        """Elements of each array, if a step could be carried out by blocks; else 0."""
        op, sources = step.op, step.sources
        if type(op) is Sum:
            rank = len(self.buffers[sources[0]].shape)
            size = self.buffers[sources[0]].size if len(op.axes(rank)) == rank else 0
        elif isinstance(op, Elementwise) and len(step.targets) == 1 and self.is_plain(step):
            size = self.buffers[step.targets[0]].size
        else:
            return 0
        floats = all(self.buffers[v].dtype.kind == "f" for v in step.targets)
        if type(op) is Sum and not has_room(self.buffers[step.targets[0]].dtype):
            return 0  # sums of blocks would be rounded
        fits = floats and op.traceable and size >= FEWEST * BLOCK and all(self.fits(v, size) for v in sources)
        return size if fits else 0

    def is_plain(self, step: Step) -> bool:
        """Whether an op writes where it is told to, or knows but one element type."""
        kinds = {self.buffers[v].dtype for v in (*step.sources, *step.targets)}
        return takes_out(type(step.op)) or len(kinds) == 1  # type: ignore[arg-type]

    def is_long(self, step: Step) -> bool:
        """Whether a step makes several arrays on the way, so that it is carried out by blocks alone too."""
        dtype = self.buffers[step.targets[0]].dtype
        some = Spec((1,), dtype, (dtype.itemsize,))
        with contextlib.suppress(NotTraceableError):
            return len(traced(step.op, (some,) * len(step.sources), (some,)).calls) > LONG
        return False

    def fits(self, v: int, size: int) -> bool:
        """Whether a source is one number, or has all its elements in order."""
        v = self.origin.get(v, v)
        return v in self.single or (self.buffers[v].owner == v and self.buffers[v].size == size)

    def join(self, steps: Sequence[Step], block: int = BLOCK) -> list[Step]:
        """`steps` with neighbours joined; small ones between that the others do not need come after them."""
        if all(buffer.size < FEWEST * BLOCK for buffer in self.buffers):
            return list(steps)
        result: list[Step] = []
        group: list[Step] = []
        waiting: list[Step] = []
        late: set[int] = set()  # values that are there when all blocks are done

        def finish() -> None:
            joins = len(group) > 1 or (group and self.is_long(group[0]))
            result.extend([self.joined(tuple(group), block)] if joins else group)
            result.extend(waiting)
            for done in (group, waiting, late):
                done.clear()

        for step in steps:
            size = self.size(step)
            read = {
                self.buffers[v].owner for other in waiting for v in other.sources
            }  # a parameter changes in place
            after = late.intersection(step.sources) or read.intersection(step.targets)
            if size and group and (after or size != self.size(group[0])):
                finish()
            if size:
                group.append(step)
                late.update(step.targets if type(step.op) is Sum else ())
            elif group and (step.op.view or sum(self.buffers[v].size for v in step.targets) <= SMALL):
                made = {v for member in group for v in member.targets} | late
                if step.op.view and not made.intersection(step.sources):
                    result.append(step)
                else:
                    waiting.append(step)
                    late.update(step.targets)
            else:
                finish()
                result.append(step)
        finish()
        return result

    def joined(self, group: tuple[Step, ...], least: int) -> Step:
        """Steps as one."""
        size = self.size(group[0])
        block = max(least, -(-size // (MOST * 16)) * 16)
        targets = dict.fromkeys(v for step in group for v in step.targets)
        sources = dict.fromkeys(v for step in group for v in step.sources if v not in targets)
        return Step(
            Blockwise(steps=group, size=size, block=block), tuple(sources), tuple(targets), group[-1].name
        )


def without_place(
    steps: Sequence[Step], buffers: Sequence[Buffer], outside: Collection[int]
) -> dict[int, int]:
    """The values that only one joined step reads and writes: each with the size of a block."""
    if not any(isinstance(step.op, Blockwise) for step in steps):
        return {}
    where: dict[int, Any] = {}  # value -> the one step that knows it, or None if several do
    for step in steps:
        for v in {owned for w in (*step.sources, *step.targets) for owned in (w, buffers[w].owner)}:
            where[v] = step if v not in where else None
    found = {}
    for step in steps:
        if isinstance(step.op, Blockwise):
            for v in step.targets:
                own = buffers[v].owner == v and buffers[v].placed and where[v] is step
                if own and v not in outside and buffers[v].size == step.op.size:
                    found[v] = step.op.block
    return found


def place_blocks(op: Blockwise, buffers: Sequence[Buffer]) -> tuple[dict[int, int], int]:
    """Offsets of the values inside of a joined step, and the bytes that they take together."""
    inner = [v for member in op.steps for v in member.targets if buffers[v].block]
    number = {v: i for i, v in enumerate(inner)}
    steps = [Step(step.op, known(step.sources, number), known(step.targets, number)) for step in op.steps]
    sizes = [buffers[v].nbytes for v in inner]
    offsets, size = place(steps, sizes, range(len(inner)), set(), [()] * len(steps))
    return {v: at for v, at in zip(inner, offsets, strict=True) if at is not None}, size


def known(values: Sequence[int], number: Mapping[int, int]) -> tuple[int, ...]:
    """The new numbers of those values that have one."""
    return tuple(number[v] for v in values if v in number)
