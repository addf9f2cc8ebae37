"""Plans on the arrays of a GPU: the calls of their traces one by one, each a kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from operator import getitem
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import Context, zeros_at
from tinygrad_lesson.devices import is_number, on, room_for
from tinygrad_lesson.engine.errors import DeviceError
from tinygrad_lesson.plan.calls import Line, Lowering
from tinygrad_lesson.plan.fusion import members
from tinygrad_lesson.plan.inferred import CREATING
from tinygrad_lesson.plan.plan import Plan
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import DRAW, Call, Ref, numbers_in
from tinygrad_lesson.run.counted import Count
from tinygrad_lesson.run.cuda import Row, UnsuitedError, elementwise, rows_of
from tinygrad_lesson.run.groups import Item, Plain, extent
from tinygrad_lesson.run.parts import PARTS, Run, Runner, deliver
from tinygrad_lesson.run.reference import arrays_of

REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}  # ufuncs whose `reduce` is a function in CuPy; it has few methods of ufuncs
WITHOUT_OUT = ("minimum", "logical_and", "logical_or")  # CuPy 14.2 refuses min(out=) where CUB could serve


class DeviceLowering(Lowering):
    """As for the processor; random ops draw there, and an op may use what CuPy alone has."""

    counted = True

    def parts(self) -> list[list[tuple[Step, Line]]]:
        """The steps of setup, forward, backward and update with their lines; then the arena's `end` is known."""
        parts = self.plan.setup, self.plan.forward, self.plan.backward, self.plan.update
        return [[(step, line) for step in members(part) for line in self.lines(step)] for part in parts]

    def line(self, step: Step) -> Line:
        """The calls of one step, or that it runs its own `forward`."""
        try:
            return super().line(step)
        except AttributeError as error:
            return Line(step.op.label(), step.name, (), str(error))


class DeviceRunner(Runner):
    """Carries out a plan on bound arrays of one device.

    `arrays` gives the array for every argument and for every output that the plan does not place itself; they lie on
    `place`, row by row. `generator` serves the random ops. With `movable`, `call` may be used.

    Errors
        DeviceError for an op that is not carried out on a GPU.
    """

    name = "calls"
    patterns: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(
        self, plan: Plan, arrays: Mapping[str, Any], generator: Any, *, place: Context, movable: bool = False
    ) -> None:
        self.plan, self.arrays = plan, arrays
        self.generator, self.place = generator, place
        lowering = DeviceLowering(plan)
        self.told = told = lowering.parts()
        with on(self.place) as self.xp:
            self.buffers = self.bound(lowering)
            for step, line in (pair for part in told for pair in part):
                self.check(step, line, lowering)
            for call in (call for pair in told[0] for call in self.prepare(*pair)):
                call()
            self.calls = self.carried_out(told[1:])

    def check(self, step: Step, line: Line, lowering: Lowering) -> None:
        """Refuse a step of the processor; give one that runs its own `forward` arrays for what is no view then."""
        if step.op.host_only:
            raise DeviceError(
                f"{step.op.label()}: {step.op.host_only}, so it is not carried out on {self.place}"
            )
        for v in step.targets if line.untraced else ():
            if lowering.arrays[v].of is not None:
                buffer = self.plan.buffers[v]
                self.buffers[v] = self.xp.empty(buffer.shape, buffer.dtype)

    def carried_out(self, parts: Sequence[Sequence[tuple[Step, Line]]]) -> list[list[Run]]:
        """What carries out the parts, forward, backward and update."""
        return [[call for pair in part for call in self.prepare(*pair)] for part in parts]

    def __str__(self) -> str:
        count = ", ".join(f"{len(calls)} {part}" for part, calls in zip(PARTS, self.calls, strict=True))
        return f"on {self.place}, a kernel a call: {count}"

    def bound(self, lowering: Lowering) -> list[Any]:
        """The arrays of the plan: bound ones, numbers, and views of an arena."""
        with room_for(f"an arena of {lowering.end} bytes, of which {largest(self.plan)}", self.place):
            arena = zeros_at(self.place, max(lowering.end, 1), np.uint8)
        return arrays_of(lowering.arrays, self.arrays, arena, self.xp)

    # How steps are carried out.

    def prepare(self, step: Step, line: Line) -> list[Run]:
        """What carries out one step."""
        if line.untraced:
            return [partial(self.plainly, step)]
        return [self.prepared(call) for call in line.calls]

    def array(self, x: Any) -> Any:
        """An operand: the array of a reference."""
        if isinstance(x, Ref):
            return self.buffers[x.number]
        return tuple(map(self.array, x)) if isinstance(x, tuple) else x

    def prepared(self, call: Call) -> Run:
        """What carries out one call: CuPy's function, into the array of the result where it takes one."""
        inputs, named = self.array(call.inputs), {key: self.array(x) for key, x in call.named}
        out, xp, name = self.buffers[call.out], self.xp, call.name
        if name in (*CREATING, "array") and not list(numbers_in((call.inputs, call.named))):
            made = xp.asarray(getattr(np, name)(*inputs, **named))  # once, before the first step
            return partial(xp.copyto, out, made, casting="unsafe")
        if name == "where" and is_number(inputs[0]):
            inputs = (xp.full((), inputs[0]), *inputs[1:])  # which CuPy takes as an array alone
        if name == "copyto":
            return partial(assigned, out, lambda: inputs[1])
        if name == DRAW:
            return partial(assigned, out, lambda: self.generator.on(xp).unit(out.size))
        ufunc, _, method = name.partition(".")
        if method == "reduce" and ufunc in REDUCTIONS:
            reduction = getattr(xp, REDUCTIONS[ufunc])
            named.setdefault("axis", 0)
            if ufunc in WITHOUT_OUT:
                return partial(assigned, out, partial(reduction, *inputs, **named))
            return partial(reduction, *inputs, **named, out=out)
        function: Any = getitem if name == "[]" else attribute(xp, name)
        if isinstance(getattr(np, name, None), np.ufunc) and fits(name, inputs, named, out):
            return partial(function, *[out if is_same(x, out) else x for x in inputs], **named, out=out)
        made_anew = partial(function, *inputs, **named)
        return partial(assigned, out, made_anew if call.part is None else lambda: made_anew()[call.part])

    def plainly(self, step: Step) -> None:
        """Run `forward` itself, and copy what it gives."""
        extra = {"generator": self.generator.on(self.xp)} if step.op.random else {}
        sources = [self.buffers[v] for v in step.sources]
        if step.op.view and is_number(sources[0]):
            sources[0] = self.xp.full((), sources[0], self.plan.buffers[step.targets[0]].dtype)
        deliver(step.op, step.op.forward(self.xp, *sources, **extra), [self.buffers[v] for v in step.targets])

    # The same as rows, for kernels that carry out many.

    def items(self, part: Sequence[tuple[Step, Line]], count: Count | None = None) -> list[Row | Item]:
        """The rows of some steps, and what is carried out otherwise; draws are counted by `count`."""
        found: list[Row | Item] = []
        count, drawn = count or self.count, 0
        for step, line in part:
            if line.untraced:
                run = partial(self.plainly, step)
                found.append(self.plain(run, step.sources, step.targets, False, step.op.label()))
            for call in line.calls:
                if call.name == DRAW:
                    found.append(count.draw(self.buffers[call.out], drawn))
                    drawn += 1
                else:
                    found += self.items_of(call)
        return [*found, *count.drawn(drawn)]

    @cached_property
    def count(self) -> Count:
        """What kernels know of the generator's draws."""
        with on(self.place):
            return Count(self.xp, self.generator)

    def items_of(self, call: Call) -> list[Row | Item]:
        """The rows of one call; it is carried out by CuPy where there are none."""
        inputs, named = self.array(call.inputs), {key: self.array(x) for key, x in call.named}
        out, read = self.buffers[call.out], numbers_in((call.inputs, call.named))
        if call.name in (*CREATING, "array") and not read and call.name not in ("full", "zeros", "ones"):
            made = self.xp.asarray(getattr(np, call.name)(*inputs, **named))
            return [elementwise("copyto", (made,), out)]
        try:
            return [*rows_of(call.name, inputs, named, out)]
        except UnsuitedError:
            captures = isinstance(getattr(np, call.name, None), np.ufunc) and fits(
                call.name, inputs, named, out
            )
            captures = captures and not any(copied(x, out) for x in inputs)
            return [self.plain(self.prepared(call), read, [call.out], captures, call.name)]

    def plain(self, run: Run, read: Sequence[int], made: Sequence[int], captures: bool, what: str) -> Plain:
        """What is no loop of ours, with the memory that it reads and writes."""
        reads, writes = (
            [extent(self.buffers[v]) for v in values if not is_number(self.buffers[v])]
            for values in (read, made)
        )
        return Plain(run, reads, writes, captures, what)

    # What is asked of a runner.

    def result(self, name: str) -> Any:
        """The array of an output, overwritten by the next run."""
        v = self.plan.outputs[name]
        found = self.buffers[v]
        return self.xp.full((), found, self.plan.buffers[v].dtype) if is_number(found) else found

    def run(self, part: int) -> None:
        """Carry out one part."""
        with on(self.place):
            super().run(part)

    def train(
        self, batches: Mapping[str, Any], steps: int, updater: Any, loss: str, watched: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `train_one_by_one`; the batches go to the device once, and what is noted comes back once."""
        with on(self.place) as xp:
            losses, magnitudes = self.train_one_by_one(xp, batches, steps, updater, loss, watched)
            return losses.get(), magnitudes.get()


def is_same(x: Any, out: Any) -> bool:
    """Whether an input is the view that a result goes to. CuPy copies it first unless it is the same object too."""
    if is_number(x):
        return False
    return (x.data.ptr, x.shape, x.strides, x.dtype) == (out.data.ptr, out.shape, out.strides, out.dtype)


def copied(x: Any, out: Any) -> bool:
    """Whether CuPy copies an input before it writes a result, since both share memory: no graph may hold that."""
    if is_number(x) or is_same(x, out):
        return False
    first, second = extent(x), extent(out)
    return first.low < second.high and second.low < first.high


def arena_of(plan: Plan) -> int:
    """The bytes that a plan takes on a device beside its bound arrays."""
    lowering = DeviceLowering(plan)
    lowering.parts()
    return max(lowering.end, 1)


def largest(plan: Plan) -> str:
    """What takes most of the arena of a plan."""
    parts = plan.setup, plan.forward, plan.backward, plan.update
    steps = {v: step for part in parts for step in members(part) for v in step.targets}
    placed = [(v, b.nbytes) for v, b in enumerate(plan.buffers) if b.offset is not None and v in steps]
    placed.sort(key=lambda pair: (-pair[1], not steps[pair[0]].name))
    named = [(steps[v].name or steps[v].op.label(), size) for v, size in placed[:3]]
    return ", ".join(f"{name} takes {size}" for name, size in named) or "none is taken"


def assigned(out: Any, make: Callable[[], Any]) -> None:
    """Copy what is made into an array, in its element type."""
    out[...] = make()


def attribute(xp: Any, name: str) -> Any:
    """A function of CuPy by its name in NumPy, as `linalg.inv`."""
    for part in name.split("."):
        xp = getattr(xp, part)
    return xp


def fits(name: str, inputs: Sequence[Any], named: Mapping[str, Any], out: Any) -> bool:
    """Whether a ufunc may write its result into `out`, which must not be of a narrower kind."""
    if named.get("casting") == "unsafe":
        return True
    types = [x if is_number(x) else np.empty(0, x.dtype) for x in inputs]
    with np.errstate(all="ignore"):
        made = getattr(np, name)(*types, **{k: x for k, x in named.items() if k == "dtype"})
    return not isinstance(made, tuple) and np.can_cast(made.dtype, out.dtype, "same_kind")
