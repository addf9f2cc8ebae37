"""A plan: steps over numbered buffers. It is data; a runner is a loop over it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.display import Displayed
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import shown
from tinygrad_lesson.engine.graph import Edge, ancestors
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.shapes import Shape
from tinygrad_lesson.files import PathLike, plain, read_text, write_whole
from tinygrad_lesson.ops.copies import Identity
from tinygrad_lesson.ops.elementwise import Add
from tinygrad_lesson.ops.fills import Full
from tinygrad_lesson.plan.calls import Program, program
from tinygrad_lesson.plan.fusion import BLOCK, WIDE, Blockwise, Fusion, place_blocks, without_place
from tinygrad_lesson.plan.listing import Listing
from tinygrad_lesson.plan.memory import outliving, place, rounded
from tinygrad_lesson.plan.passes import Builder, Passes
from tinygrad_lesson.plan.saved import as_text, from_text
from tinygrad_lesson.plan.step import Buffer, Step, takes_out


@dataclasses.dataclass(frozen=True)
class Plan(Displayed):
    """Steps in order: `setup` when bound, `forward`, `backward`, then `update`, in which parameters follow gradients.

    `arguments` and `outputs` map names to buffers; `arena` is the size of the arena in bytes.
    """

    buffers: tuple[Buffer, ...]
    setup: tuple[Step, ...]
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    arguments: dict[str, int]
    outputs: dict[str, int]
    arena: int
    update: tuple[Step, ...] = ()
    patterns: bool = True  # whether a runner may carry out steps otherwise than call by call

    def __str__(self) -> str:
        return "\n".join(Listing(self).lines())

    def save(self, path: PathLike) -> None:
        """Write the plan as JSON: NumPy calls on numbered arrays, for a program in any language (`plan/saved.py`).

        Errors
            GraphError naming a step that is no list of NumPy calls; FileError where the file cannot be written.
        """
        write_whole(path, as_text(program(self)))

    @staticmethod
    def load(path: PathLike) -> Program:
        """The calls in a file, which `run.reference` carries out.

        Errors
            FileError if it cannot be read, FormatError if it holds no plan.
        """
        return from_text(read_text(path), plain(path))

    def show_buffer(self, v: int) -> str:
        """A buffer's name in a listing."""
        buffer = self.buffers[v]
        if buffer.value is not None:
            return f"{buffer.value:g}"
        return shown(buffer.argument or buffer.output) or f"b{v}"


Update = tuple[str, Edge | None, bool]


class Task(NamedTuple):
    """What a plan is to compute: `outputs` forward, `updates` backward, `last` in the update part.

    An update is (name, edge or None for zero, whether it is added to what is there). Where the name is that of an
    argument, it is written back there. The update part reads what the backward part left by leaves of the same name.
    `shapes` tells shape and type of the array of an update, where they are not those of its edge.
    """

    outputs: Sequence[tuple[str, Edge]]
    updates: Sequence[Update]
    shapes: Mapping[str, tuple[Shape, Any]]
    last: Sequence[Update] = ()


class Compiler:
    """Turns simplified edges into a plan."""

    def __init__(self, builder: Builder, passes: Passes) -> None:
        self.builder, self.passes = builder, passes
        self.buffers: list[Buffer] = []
        self.number: dict[Edge, int] = {}
        self.folded: set[int] = set()  # buffers that are filled when bound
        self.setup: list[Step] = []
        self.arguments: dict[str, int] = {}
        self.outputs: dict[str, int] = {}

    def add(self, shape: Shape, dtype: Any, owner: int = -1, **facts: Any) -> int:
        """The number of a new buffer, which owns its memory unless it is a view of `owner`."""
        number = len(self.buffers)
        mine = number if owner < 0 else owner
        buffer = (
            Buffer(shape, dtype, owner=mine, **facts)
            if facts
            else Buffer(shape, dtype, "", "", None, None, mine)
        )
        self.buffers.append(buffer)
        return number

    def lower(self, heads: Sequence[Edge]) -> list[Step]:
        """Steps for all nodes that `heads` need and that have none yet, in the order in which they were emitted.

        So the backward part follows the sweep: a layer's gradients are done before those of the layer below.
        """
        steps: list[Step] = []
        shapes, dtypes, made = self.builder.shapes, self.builder.dtypes, self.builder.made
        single = np.dtype(np.float32)
        for node in ancestors([edge.node for edge in heads]):
            op, edges = node.op, made[node]
            if edges[0] in self.number:
                continue
            if op is None:
                number = self.outputs.get(node.name)  # what an earlier part leaves there
                if number is None:
                    number = self.add(shapes[edges[0]], dtypes[edges[0]], argument=node.name)
                    self.arguments[node.name] = number
                self.number[edges[0]] = number
                continue
            if isinstance(op, Constant):  # a number that met nothing is a float32
                self.number[edges[0]] = self.add((), dtypes[edges[0]] or single, value=op.value)
                continue
            sources = tuple([self.number[edge] for edge in node.inputs])
            owner = self.buffers[sources[0]].owner if op.view else -1
            targets = tuple([self.add(shapes[edge], dtypes[edge] or single, owner) for edge in edges])
            self.number.update(zip(edges, targets, strict=True))
            fixed = all(v in self.folded or self.buffers[v].value is not None for v in sources)
            fold = fixed and self.passes.fold and not op.random
            (self.setup if fold else steps).append(Step(op, sources, targets, node.name))
            self.folded.update(targets if fold else ())
        return steps

    def compile(self, task: Task) -> Plan:
        """The whole plan."""
        forward = self.lower([edge for _, edge in task.outputs])
        self.outputs.update({name: self.number[edge] for name, edge in task.outputs})
        backward = self.part(task.updates, task)
        known = self.number.items()
        self.number = {edge: v for edge, v in known if edge.node.is_variable}  # the update part begins anew
        return self.finish(forward, backward, self.part(task.last, task))

    def part(self, updates: Sequence[Update], task: Task) -> list[Step]:
        """Steps that compute updates and bring each to its array; none for those that can be computed there."""
        steps = self.lower([edge for _, edge, _ in updates if edge is not None])
        targets = [self.target(name, edge, task) for name, edge, _ in updates]
        sources = self.sources(updates, targets, steps)
        shown = set(self.outputs.values())
        made = {v: i for i, step in enumerate(steps) for v in step.targets if v not in shown}
        read = {
            self.buffers[v].owner: i for i, step in enumerate(steps) for v in step.sources
        }  # the last time
        read.update({self.buffers[v].owner: len(steps) for v in sources})  # to be brought to its array
        moved: dict[int, int] = {}
        copies: list[Step] = []
        for update, source, target in zip(updates, sources, targets, strict=True):
            movable = source not in moved and not update[2]
            chain = self.movable(source, target, steps, made, read) if movable else []
            moved.update(dict.fromkeys(chain, target))
            copies += [] if chain else self.copy(update, source, target)
        return self.renumbered([*steps, *copies], moved)

    def movable(
        self,
        source: int,
        target: int,
        steps: Sequence[Step],
        made: Mapping[int, int],
        read: Mapping[int, int],
    ) -> list[int]:
        """`source`, if the step that makes it can write it to `target`: if nobody reads what is there later.

        Of an argument also what `source` is computed from, element by element, as far back as nothing else needs it.
        """
        chain: list[int] = []
        found = source
        while found in made and made[found] >= read.get(target, 0):
            step, buffer = steps[made[found]], self.buffers[found]
            inside = self.in_place_candidates(step)
            alike = buffer.owner == found and buffer[:2] == self.buffers[target][:2]
            if not alike or any(self.buffers[v].owner == target and v not in inside for v in step.sources):
                break
            chain.append(found)
            last = [v for v in inside if v in made and read[v] == made[found]]
            found = last[0] if last and self.buffers[target].argument else -1
        return chain

    def copy(self, update: Update, source: int, target: int) -> list[Step]:
        """Steps that bring what is computed to its array."""
        (name, edge, adds), (shape, dtype) = update, self.buffers[target][:2]
        if edge is None:
            return [] if adds else [Step(Full(to=shape, type=str(dtype)), (), (target,), name)]
        if adds:
            return [Step(Add(), (target, source), (target,), name)]
        return [Step(Identity(), (source,), (target,), name)] if source != target else []

    def renumbered(self, steps: Sequence[Step], moved: Mapping[int, int]) -> list[Step]:
        """Steps that write some values to other buffers."""
        where = [moved.get(v, v) for v in range(len(self.buffers))]
        for v, buffer in enumerate(self.buffers):  # views of what moved move along
            if buffer.owner in moved:
                self.buffers[v] = buffer._replace(owner=where[buffer.owner])
        return [
            Step(op, tuple([where[v] for v in sources]), tuple([where[v] for v in targets]), name)
            for op, sources, targets, name in steps
        ]

    def target(self, name: str, edge: Edge | None, task: Task) -> int:
        """The array of an update: the argument of that name, or one that is bound from outside."""
        known = self.arguments.get(name)
        if known is None:
            of: Any = edge
            shape, dtype = task.shapes.get(name) or (self.builder.shapes[of], self.builder.dtypes[of])
            known = self.add(shape, np.dtype(dtype), output=name)
        self.outputs[name] = known
        return known

    def sources(self, updates: Sequence[Update], targets: Sequence[int], steps: list[Step]) -> list[int]:
        """What each update brings; a copy, made before anything is overwritten, of what lies in the array of one."""
        found, overwritten = [], set(targets)
        for (name, edge, _), target in zip(updates, targets, strict=True):
            source = target if edge is None else self.number[edge]
            if source != target and self.buffers[source].owner in overwritten:
                made = next((i + 1 for i, step in enumerate(steps) if source in step.targets), 0)
                copy = self.add(self.buffers[source].shape, self.buffers[source].dtype)
                steps.insert(made, Step(Identity(), (source,), (copy,), name))
                source = copy
            found.append(source)
        return found

    def finish(self, *parts: list[Step]) -> Plan:
        """Places for all buffers."""
        kept = outliving([*self.outputs.values(), *self.folded], *parts)
        if self.passes.block and self.passes.patterns:
            grouping = Fusion(self.buffers, list(itertools.chain(self.setup, *parts)))
            parts = tuple(map(grouping.join, parts, (BLOCK, BLOCK, WIDE)))
            for v, size in without_place(list(itertools.chain(*parts)), self.buffers, kept).items():
                self.buffers[v] = self.buffers[v]._replace(block=size)
        steps, owner = list(itertools.chain(self.setup, *parts)), [b.owner for b in self.buffers]
        sizes = [
            b.nbytes if b.owner == v and b.placed and not b.block else None
            for v, b in enumerate(self.buffers)
        ]
        offsets, arena = place(steps, sizes, owner, kept, [self.in_place_candidates(step) for step in steps])
        arena = self.place_inside(steps, offsets, arena)
        buffers = [
            b if at is None else Buffer._make((*b[:5], at, *b[6:]))
            for b, at in zip(self.buffers, offsets, strict=True)
        ]
        forward, backward, update = map(tuple, parts)
        known = self.arguments, self.outputs
        patterns = self.passes.patterns
        return Plan(
            tuple(buffers), tuple(self.setup), forward, backward, *known, arena, update, patterns=patterns
        )

    def place_inside(self, steps: Sequence[Step], offsets: list[int | None], arena: int) -> int:
        """Places for what has but a block at a time, the same for all joined steps; the size of the arena then."""
        start, most = rounded(arena), 0
        for op in [step.op for step in steps if isinstance(step.op, Blockwise)]:
            places, size = place_blocks(op, self.buffers)
            most = max(most, size)
            for v, at in places.items():
                offsets[v] = start + at
        return start + most if most else arena

    def in_place_candidates(self, step: Step) -> list[int]:
        """Sources whose place the result may take: read element by element, just when it is written there."""
        if not isinstance(step.op, Elementwise) or not takes_out(type(step.op)):  # type: ignore[arg-type]
            return []
        target, owners = self.buffers[step.targets[0]], [self.buffers[v].owner for v in step.sources]
        return [
            v for v, owner in zip(step.sources, owners, strict=True)
            if owner == v and owners.count(v) == step.sources.count(v)
            and self.buffers[v].shape == target.shape and self.buffers[v].dtype == target.dtype
        ]  # fmt: skip
