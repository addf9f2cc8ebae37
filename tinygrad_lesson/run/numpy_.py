"""The meaning of a plan, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import aligned_zeros
from tinygrad_lesson.engine.errors import DTypeError, listed
from tinygrad_lesson.ops.conv import SlidingProduct, SlidingProductWeight
from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.plan.fusion import Blockwise
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.plan import Plan
from tinygrad_lesson.plan.step import Buffer, Step
from tinygrad_lesson.plan.trace import Trace, spec_of, traced
from tinygrad_lesson.run.calls import PATTERNS, Scratch, empty, without
from tinygrad_lesson.run.parts import Run, Runner, deliver
from tinygrad_lesson.run.ways import told


class Places(dict[int, Any]):
    """The array of each buffer of a plan, made when first asked for; None for a view that its step will make."""

    def __init__(self, plan: Plan, arrays: Mapping[str, np.ndarray], arena: np.ndarray) -> None:
        self.plan, self.arrays, self.arena = plan, arrays, arena

    def __missing__(self, v: int) -> Any:
        self[v] = found = self.make(self.plan.buffers[v])
        return found

    def make(self, buffer: Buffer) -> Any:
        """Its array, or its number."""
        if buffer.value is not None:
            return buffer.value
        bound = buffer.argument or buffer.output
        if bound:
            return self.arrays[bound]
        if buffer.offset is None:
            return None
        part = self.arena[buffer.offset : buffer.offset + buffer.nbytes].view(buffer.dtype)
        return part if buffer.block else part.reshape(buffer.shape)  # type: ignore[arg-type]


def unsupported(op: Any, dtypes: Sequence[Any], error: Exception) -> DTypeError:
    """NumPy's refusal of the element types that an op meets in a plan, as an error that names it."""
    given = listed("a number" if dtype is None else dtype for dtype in dtypes)
    return DTypeError(f"{op.label()} cannot be computed for {given}; bind float32 instead ({error})")


class NumpyRunner(Runner):
    """Carries out a plan on bound arrays; after the first time nothing is allocated.

    `arrays` gives the array for every argument and for every output that the plan does not place
    itself. `generator` serves the random ops. With `movable`, `call` may be used, which need not copy.
    """

    name = "numpy"
    patterns: ClassVar[dict[str, str]] = PATTERNS

    def __init__(
        self, plan: Plan, arrays: Mapping[str, np.ndarray], generator: Any, *, movable: bool = False
    ) -> None:
        self.plan, self.generator, self.arrays, self.movable = plan, generator, arrays, movable
        self.scratch = Scratch(plan.patterns)
        self.columns: dict[Any, np.ndarray] = {}  # what windows see, by image and window
        self.ways: dict[int, Any] = {}  # how each step is carried out, by its id: calls, a trace or a word
        self.reasons: dict[int, str] = {}  # why it is not carried out otherwise
        self.arena = aligned_zeros(plan.arena, np.uint8)
        self.buffers = Places(plan, arrays, self.arena)
        with np.errstate(all="ignore"):
            for step in plan.setup:
                for call in self.prepare(step):
                    call()
            self.calls = [self.prepare_all(part) for part in (plan.forward, plan.backward, plan.update)]

    def __str__(self) -> str:
        return told(self)

    def prepare_all(self, steps: Sequence[Step]) -> list[Any]:
        """The calls that carry out steps one after the other."""
        return [call for step in steps for call in self.prepare(step)]

    def prepare(self, step: Step) -> list[Run]:
        """The calls that carry out one step."""
        if isinstance(step.op, Blockwise):
            return self.prepare_blocks(step.op)
        sources = [self.buffers[v] for v in step.sources]
        targets = [self.buffers[v] for v in step.targets]
        try:
            return self.follow(step, sources, targets)
        except NotTraceableError as error:
            self.reasons[id(step)] = "" if step.op.nested else str(error)
            self.ways[id(step)] = step.op.way(type(self)) if step.op.nested else "its own forward"  # type: ignore[attr-defined]
        for i, v in enumerate(step.targets):
            if targets[i] is None:  # a view that is copied after all
                buffer = self.plan.buffers[v]
                targets[i] = self.buffers[v] = np.empty(buffer.shape, buffer.dtype)
        return [self.plainly(step, sources, targets)]

    def prepare_blocks(self, op: Blockwise) -> list[Run]:
        """The calls that carry out joined steps, block after block."""
        flat = self.in_order(op)
        if flat is None:
            return [call for step in op.steps for call in self.prepare(step)]
        whole = {v: self.buffers[v] for v in flat}
        calls: list[Run] = []
        sums = [step for step in op.steps if type(step.op) is Sum]
        count = -(-op.size // op.block)
        partial_sums = {step.targets[0]: np.empty(count, flat[step.targets[0]].dtype) for step in sums}
        for i in range(count):
            block = slice(i * op.block, min(op.size, (i + 1) * op.block))
            for v, x in flat.items():
                one = slice(block.stop - block.start) if self.plan.buffers[v].block else block
                self.buffers[v] = x if x.size == 1 else x[one]
            for step in op.steps:
                if type(step.op) is Sum:
                    part = partial_sums[step.targets[0]][i : i + 1]
                    calls.append(
                        partial(np.add.reduce, self.buffers[step.sources[0]], keepdims=True, out=part)
                    )
                else:  # by NumPy alone: only here are the arrays of a step those of one block
                    calls += NumpyRunner.prepare(self, step)
        for v, parts in partial_sums.items():
            calls.append(partial(np.add.reduce, parts, keepdims=True, out=flat[v]))
        for v, x in whole.items():
            self.buffers[v] = x
        return calls

    def in_order(self, op: Blockwise) -> dict[int, np.ndarray] | None:
        """The arrays of joined steps with their elements in one row.

        None where an array from outside does not lie in one row. Then there are arrays for whole values.
        """
        values = dict.fromkeys(v for step in op.steps for v in (*step.sources, *step.targets))
        arrays = {v: self.buffers[v] for v in values if isinstance(self.buffers[v], np.ndarray)}
        if all(x.flags.c_contiguous or not any(x.strides) for x in arrays.values()):
            return {v: x.reshape(-1) for v, x in arrays.items()}
        for v in arrays:
            buffer = self.plan.buffers[v]
            if buffer.block:
                self.buffers[v] = np.zeros(buffer.shape, buffer.dtype)  # type: ignore[arg-type]
        return None

    def follow(self, step: Step, sources: Sequence[Any], targets: Sequence[Any]) -> list[Run]:
        """The calls that `forward` makes, on the arrays of this step."""
        if step.op.view and not isinstance(sources[0], np.ndarray):
            sources = [np.asarray(sources[0], self.plan.buffers[step.targets[0]].dtype), *sources[1:]]
        specs = [spec_of(x) if isinstance(x, np.ndarray) else x for x in sources]
        places = [None if x is None else spec_of(x) for x in targets]
        given = [x for x in (*sources, *targets) if isinstance(x, np.ndarray)]
        try:
            made = traced(step.op, tuple(specs), tuple(places))
        except TypeError as error:
            known = [None if isinstance(x, float | int) else x.dtype for x in specs]
            raise unsupported(step.op, known, error) from error
        calls, results = self.scratch.prepare(*self.with_columns(step, made, given))
        self.buffers.update(zip(step.targets, results, strict=True))
        self.ways[id(step)] = calls
        return calls

    def with_columns(self, step: Step, made: Trace, given: Sequence[Any]) -> tuple[Trace, Sequence[Any], Any]:
        """What `Scratch.prepare` takes: what windows see in a convolution is kept for its gradient by the weight."""
        op: Any = step.op
        if not isinstance(op, SlidingProduct | SlidingProductWeight) or not self.plan.patterns:
            return made, given, {}
        key = step.sources[0], *op.window.items()
        if key not in self.wanted_columns:
            return made, given, {}
        product = next(call for call in made.calls if call.name == "matmul")
        number = made.roots[product.inputs[1].number][0]
        if key in self.columns:
            made = without(made, number)
        else:
            self.columns[key] = empty(made.values[number])
        return made, given, {number: self.columns[key]}

    @cached_property
    def wanted_columns(self) -> set[Any]:
        """Images and windows of which a gradient by the weight is taken."""
        steps = [step for part in (self.plan.forward, self.plan.backward) for step in part]
        found = [step for step in steps if isinstance(step.op, SlidingProductWeight)]
        return {(step.sources[0], *step.op.window.items()) for step in found}  # type: ignore[attr-defined]

    def plainly(self, step: Step, sources: Sequence[Any], targets: Sequence[Any]) -> Run:
        """One call that runs `forward` itself and copies what it gives."""
        extra: dict[str, Any] = {"generator": self.generator} if step.op.random else {}
        extra |= {"runner": type(self)} if step.op.nested else {}
        return lambda: deliver(step.op, step.op.forward(np, *sources, **extra), targets)

    def result(self, name: str) -> np.ndarray:
        """The array of an output, overwritten by the next run."""
        v = self.plan.outputs[name]
        buffer = self.plan.buffers[v]
        return np.asarray(self.buffers[v], buffer.dtype)

    def run(self, part: int) -> None:
        """Carry out one part; what is infinite or no number is for whoever reads it."""
        with np.errstate(all="ignore"):
            super().run(part)

    def told_loop(self, order: range, inputs: int, carried: int, scanned: int) -> str:
        """How `loop` goes through so many steps."""
        return "step by step"

    def loop(
        self,
        order: range,
        given: Sequence[np.ndarray],
        carried: int,
        scanned: int,
        rows: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """The last states of a loop that carries out the forward part for each number of `order`.

        Of what is `given` the last `scanned` have a row for each step, the `carried` before them are the first states,
        which the first results take over; the other results become the rows of `rows`.
        """
        inputs, results = ([self.arrays[f"{side} {i}"] for i in range(n)] for side, n in
                           (("input", len(given)), ("output", carried + len(rows))))  # fmt: skip
        end = len(given) - scanned
        for place, x in zip(inputs[:end], given, strict=False):
            place[...] = x
        states, seen = inputs[end - carried : end], list(zip(inputs[end:], given[end:], strict=True))
        handed = list(zip(states, results, strict=False))
        written = list(zip(rows, results[carried:], strict=True))
        calls = self.calls[0]
        with np.errstate(all="ignore"):
            for i in order:
                for place, x in seen:
                    place[...] = x[i]
                for call in calls:
                    call()
                for row, y in written:
                    row[i] = y
                for place, y in handed:
                    place[...] = y
        return [np.array(x) for x in states]
