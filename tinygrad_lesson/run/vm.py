"""The tape's runner: a plan as instructions, each the address of a kernel and the words it needs.

What has no kernel runs as NumPy steps between two stretches of instructions, so an op never has to be declared twice to
work, only to be faster.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import aligned_zeros
from tinygrad_lesson.plan.fusion import Blockwise
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.plan import Plan
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Spec, traced
from tinygrad_lesson.run.fused import Joined, compiles
from tinygrad_lesson.run.lent import Lender
from tinygrad_lesson.run.lower import encode_trace
from tinygrad_lesson.run.numpy_ import NumpyRunner
from tinygrad_lesson.run.operands import (
    FLOATS,
    ROWS,
    Memory,
    Operand,
    Row,
    address,
    apart,
    kind_of,
    noted,
    row_major,
    spec_like,
)
from tinygrad_lesson.run.parts import PARTS
from tinygrad_lesson.run.peephole import PAIRS, encode_pair
from tinygrad_lesson.run.recurring import recurring
from tinygrad_lesson.run.rolled import LEAST as MANY
from tinygrad_lesson.run.rolled import Rolled
from tinygrad_lesson.run.rounds import Rounds, Tracks, states_of
from tinygrad_lesson.run.segment import Segment, joined, segments
from tinygrad_lesson.run.summed import Summed, summed
from tinygrad_lesson.run.tape import machine
from tinygrad_lesson.run.training import Training
from tinygrad_lesson.run.whole import OF_OP, OTHERS, PATTERNS, by_pattern


class VMRunner(NumpyRunner):
    """Carries out a plan by instructions where there are kernels, by NumPy elsewhere."""

    name = "vm"
    works = staticmethod(machine.works)
    patterns: ClassVar[dict[str, str]] = {
        p.name: f"{p.of()}: {p.meaning}" for p in (*PATTERNS, *PAIRS)
    } | OTHERS

    def __init__(
        self, plan: Plan, arrays: Mapping[str, np.ndarray], generator: Any, *, movable: bool = False
    ) -> None:
        self.lenders: dict[str, Lender] = {}
        self.operands: dict[int, Operand | None] = {}
        self.loops: dict[Any, Any] = {}  # what carries out many steps of a loop
        self.trained: tuple[Any, Training, Any] | None = (
            None  # the last `training`: for what, itself, what it was made from
        )
        self.asides: dict[Any, np.ndarray] = {}  # by shape and element type
        if movable:  # what comes in their places is row-major, so instructions may count on nothing else
            arrays = {name: np.require(x, requirements=ROWS) for name, x in arrays.items()}
        super().__init__(plan, arrays, generator, movable=movable)
        self.calls = [segments(part, self.memory, ahead=plan.patterns) for part in self.calls]
        # Of each part, whether instructions are all of it.
        self.alone = [all(isinstance(call, Segment) for call in part) for part in self.calls]
        self.tape = joined([*self.calls[0], *self.calls[1]]) if all(self.alone[:2]) else None
        self.update_tape = joined(self.calls[2]) if self.alone[2] else None
        for name, calls in zip(PARTS, self.calls, strict=True):
            if len(calls) == 1 and isinstance(calls[0], Segment):
                setattr(self, name, calls[0])  # `forward()` is then the stretch itself

    @cached_property
    def begin(self) -> int:
        """Where the arena begins."""
        return address(self.arena)

    @cached_property
    def memory(self) -> Memory:
        """What instructions call the arrays."""
        memory = Memory()
        if self.movable:
            memory.movable = [(address(x), address(x) + x.nbytes) for x in self.arrays.values()]
        return memory

    @cached_property
    def readers(self) -> Counter[int]:
        """How often a buffer is read, by steps and from outside."""
        plan = self.plan
        steps = (*plan.setup, *plan.forward, *plan.backward, *plan.update)
        return Counter(v for step in steps for v in step.sources) + Counter(self.plan.outputs.values())

    def run(self, part: int) -> None:
        """As on NumPy; where every step is an instruction there are no warnings to keep silent."""
        if not self.alone[part]:
            super().run(part)
            return
        for segment in self.calls[part]:
            segment()

    def call(self, values: Mapping[str, Any], results: Sequence[str]) -> list[np.ndarray]:
        """As on NumPy, but where every step is an instruction nothing is copied."""
        parts = self.calls[0]
        if not self.alone[0]:
            return super().call(values, results)
        new = {name: self.lender(name).array() for name in results}
        new.update({name: np.require(value, self.arrays[name].dtype, ROWS) for name, value in values.items()})
        if any(new[name].shape != self.arrays[name].shape for name in values):
            return super().call(values, results)
        addresses = [address(new.get(name, x)) for name, x in self.arrays.items()]
        for part in parts:
            part.move(addresses)
            part()
        return [new[name] for name in results]

    def loop(
        self, order: range, given: Sequence[Any], carried: int, scanned: int, rows: Sequence[Any]
    ) -> list[np.ndarray]:
        """As on NumPy, but where every step of the plan is an instruction, so is the loop."""
        end, count = len(given) - scanned, len(order)
        rounds, tracks = self.rounds(order, len(given), carried, scanned)
        if rounds is None:
            return super().loop(order, given, carried, scanned, rows)
        given = [x if x.flags.carray else np.require(x, requirements=ROWS) for x in given]
        names = states_of(len(given), carried, scanned)
        for name, x in zip(names, given[end - carried :], strict=False):
            self.arrays[name][...] = x
        rounds(*tracks.at(order, given, rows), count)
        turned = count % 2 and isinstance(rounds, Rounds)
        return [np.array(self.arrays[name]) for name in (names.values() if turned else names)]

    def told_loop(self, order: range, inputs: int, carried: int, scanned: int) -> str:
        """As on NumPy, or in one of two forms of machine code."""
        made, _ = self.rounds(order, inputs, carried, scanned)
        return super().told_loop(order, inputs, carried, scanned) if made is None else type(made).way

    def rounds(self, order: range, inputs: int, carried: int, scanned: int) -> tuple[Any, Tracks]:
        """What carries out all steps of a loop in one go, None where a step needs NumPy; and where its arrays are."""
        long = len(order) >= MANY
        key = long, order.step, inputs, carried, scanned
        if key not in self.loops:
            tracks: Any = Tracks(self, inputs, carried, scanned)
            made: Any = None
            if long and self.plan.patterns:
                seen = [f"input {i}" for i in range(inputs - scanned - carried)]
                with contextlib.suppress(NotTraceableError):
                    made = Rolled(self, states_of(inputs, carried, scanned), seen, order.step < 0)
            if made is None and self.alone[0]:
                move = tracks.turns | (tracks.strides[1] != 0)
                made = Rounds(self.calls[0], self.memory, tracks.turns, move)
            self.loops[key] = made, tracks
        return self.loops[key]  # type: ignore[no-any-return]

    def lender(self, name: str) -> Lender:
        """Where the arrays for a result come from."""
        if name not in self.lenders:
            self.lenders[name] = Lender(self.arrays[name].shape, self.arrays[name].dtype)
        return self.lenders[name]

    def prepare_all(self, steps: Sequence[Step]) -> list[Any]:
        """Instructions and calls; neighbours may share an instruction, whatever views are taken between them."""
        calls: list[Any] = []
        pending: list[Step] = []
        self.memory.lasting, self.memory.copies = self.lasting(steps), {}
        runs: list[Joined | Summed] = [*self.runs(steps)]
        views = {id(step): self.prepare(step) for step in steps if step.op.view}
        runs += self.sums(steps, {id(step) for run in runs for step in run.covered})  # which may read views
        run_of = {id(step): run for run in runs for step in run.covered}
        waits = Counter([id(run) for run in run_of.values()])  # by run, for how many of its steps
        for step in steps:
            run = run_of.get(id(step))
            view = views.get(id(step), [])
            paired = pending and self.plan.patterns and not step.op.view and run is None
            pair = paired and encode_pair(pending[0], step, self)
            if pair:
                calls += pair
                pending = []
            elif view or not step.op.view:
                calls += [call for waiting in pending for call in self.prepare(waiting)] + view
                pending = [] if view or run else [step]
            if run is not None:
                waits[id(run)] -= 1
                calls += (run.rows(self.memory) or []) if not waits[id(run)] else []
        return calls + [call for waiting in pending for call in self.prepare(waiting)]

    def runs(self, steps: Sequence[Step]) -> list[Joined]:
        """Elementwise steps that recur, each run of them one loop; so are those of an optimizer, which has few."""
        often = {"often": 1, "least": 2} if steps is self.plan.update else {}
        found = recurring(self, steps, **often) if self.plan.patterns else []
        covered = [step for run in found for step in run.covered]
        self.ways |= dict.fromkeys(map(id, covered), "pattern recurring_loop")
        return found

    def sums(self, steps: Sequence[Step], taken: set[int]) -> list[Summed]:
        """Products that are added up, each sum one instruction."""
        found = summed(self, steps, taken) if self.plan.patterns else []
        covered = [step for one in found for step in one.covered]
        self.ways |= dict.fromkeys(map(id, covered), "pattern summed_products")
        return found

    def place_aside(self, v: int) -> np.ndarray:
        """Memory in the place of a buffer that is read right after it is made: the same for all of its kind."""
        buffer = self.plan.buffers[v]
        key = buffer.shape, buffer.dtype
        if key not in self.asides:
            self.asides[key] = aligned_zeros(buffer.size, buffer.dtype).reshape(buffer.shape)
        return self.asides[key]

    def set_aside(self, v: int) -> None:
        """Let a buffer lie there."""
        self.buffers[v] = x = self.place_aside(v)
        self.operands[v] = self.memory.operand(x)

    def lasting(self, steps: Sequence[Step]) -> set[tuple[int, int]]:
        """Offset and size of the arguments that several of these steps read and none of them writes."""
        reads = Counter(v for step in steps for v in step.sources if self.plan.buffers[v].argument)
        read = [self.operand(v) for v, count in reads.items() if count > 1]
        found = [x for x in read if x is not None and len(x.shape) == 2]
        written = [self.operand(v) for step in steps for v in step.targets] if found else []
        apart_from_all = [x for x in found if all(y is None or apart(x, y) for y in written)]
        return {(x.offset, x.size) for x in apart_from_all}

    @cached_property
    def early(self) -> frozenset[int]:
        """The buffers that are filled when bound."""
        return frozenset(v for step in self.plan.setup for v in step.targets)

    def prepare(self, step: Step) -> list[Any]:
        """Instructions for one step where there is a kernel, else calls."""
        if step.op.view or self.early.issuperset(step.targets):
            return super().prepare(step)
        try:
            return self.encode_blocks(step) if isinstance(step.op, Blockwise) else self.encode(step)
        except (
            NotTraceableError,
            TypeError,
        ) as error:  # a type that the op refuses is refused by NumPy in words
            calls = super().prepare(step)
            self.reasons[id(step)] = str(error)
            return calls

    def encode_blocks(self, step: Step) -> list[Any]:
        """Joined steps as one compiled loop.

        Errors
            NotTraceableError where there is no vector code for one of them.
        """
        op: Any = step.op
        flat = self.in_order(op)
        if flat is None:
            raise NotTraceableError("an array does not lie in one row")
        kind = kind_of(self.plan.buffers[op.steps[0].targets[0]].dtype) or "no kernel"
        compiles(op.steps, kind)
        values = dict.fromkeys(v for step in op.steps for v in (*step.sources, *step.targets))
        operands = {v: self.flat_operand(v, flat, kind) for v in values if not self.plan.buffers[v].block}
        found = {v: x for v, x in operands.items() if x is not None}
        if len(found) < len(operands):
            raise NotTraceableError("there are no kernels for all of its element types")
        self.ways[id(step)] = "pattern joined_loop"
        moving = {v: x for v, x in found.items() if v in flat and flat[v].size > 1 and any(flat[v].strides)}
        single = {v: x for v, x in found.items() if v not in moving}
        return Joined(op.steps, moving, single, kind, op.size).rows(self.memory)

    def flat_operand(self, v: int, flat: Mapping[int, np.ndarray], kind: str) -> Operand | None:
        """An array of a loop, or a number; None if it is of another type."""
        value = self.plan.buffers[v].value
        if value is not None:
            return self.memory.number(value, kind)
        found = self.memory.operand(flat.get(v, self.buffers[v]))  # type: ignore[arg-type]
        return found if found is not None and found.kind == kind else None

    def encode(self, step: Step) -> list[Row]:
        """Instructions for one step: those of a pattern, or of its calls.

        Errors
            NotTraceableError where there are none for one of them.
        """
        sources, targets = [self.operand(v) for v in step.sources], [self.operand(v) for v in step.targets]
        operands = [x for x in (*sources, *targets) if x is not None]
        if len(operands) < len(sources) + len(targets):
            raise NotTraceableError("there are no kernels for all of its element types")
        if any(0 in x.shape for x in operands[len(sources) :]):
            raise NotTraceableError("it has no elements")
        given = operands[: len(sources)], operands[len(sources) :]
        rows = by_pattern(self.memory, step.op, *given) if self.plan.patterns else None
        if rows is None:
            return noted(self.encode_calls(step, operands), operands)
        self.ways[id(step)] = f"pattern {OF_OP[type(step.op)].name}"
        return noted(rows, operands)

    def encode_calls(self, step: Step, operands: Sequence[Operand]) -> list[Row]:
        """Instructions for what `forward` calls."""
        numbers, count = [self.plan.buffers[v].value for v in step.sources], len(step.sources)
        specs: list[Any] = [spec_like(x._replace(offset=0)) for x in operands]
        for i in [i for i, number in enumerate(numbers) if number is not None]:
            specs[i] = numbers[i]
        made = traced(step.op, tuple(specs[:count]), tuple(specs[count:]))
        self.ways[id(step)] = made
        given = [x for x, spec in zip(operands, specs, strict=True) if isinstance(spec, Spec)]
        return encode_trace(self.memory, made, given)

    def operand(self, v: int) -> Operand | None:
        """A buffer as the kernels see it; None if they do not know its type, or it is a view yet to be made."""
        if v in self.operands:
            return self.operands[v]
        buffer = self.plan.buffers[v]
        kind = kind_of(buffer.dtype)
        if buffer.offset is not None and not buffer.block and kind is not None:
            strides = row_major(buffer.shape, buffer.dtype.itemsize)
            found: Operand | None = Operand(self.begin + buffer.offset, buffer.shape, strides, kind)
        elif self.buffers[v] is None:
            return None
        elif buffer.value is not None:
            found = self.memory.number(buffer.value, kind) if kind else None
        else:
            found = self.memory.operand(self.buffers[v])
        self.operands[v] = found
        return found

    def train(
        self, batches: Mapping[str, np.ndarray], steps: int, updater: Any, loss: str, watched: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `train_one_by_one`; in one call where every step of both plans is an instruction."""
        made = self.training(batches, updater, loss, watched)
        if made is None:
            return self.train_one_by_one(np, batches, steps, updater, loss, watched)
        found = made(batches, updater.numbers(steps), steps)
        updater.num_update += steps
        return found

    def training(
        self, batches: Mapping[str, np.ndarray], updater: Any, loss: str, watched: np.ndarray
    ) -> Training | None:
        """What takes many steps, the same for the same optimizer; None where a step needs NumPy."""
        update, grad = updater.made(), updater.grad
        key = id(update), id(grad), id(watched), loss, *batches
        if self.trained is None or self.trained[0] != key:
            inputs, result = self.inputs_of(batches), np.asarray(self.result(loss))
            last = getattr(update.run, "update_tape", None)
            known = all(x.flags.carray for x in (*inputs.values(), result, grad))
            if (
                not known
                or self.tape is None
                or last is None
                or {result.dtype.name, grad.dtype.name} - set(FLOATS)
            ):
                return None
            tapes = self.tape, last
            made = Training(tapes, self.memory, inputs, update.numbers, result, grad, watched)
            self.trained = key, made, (update, watched)  # whose ids are theirs as long as they are held
        return self.trained[1]
