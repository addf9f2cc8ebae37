"""A plan as text: its steps, the NumPy calls of each, where every result lies, and what all of it takes."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from typing import Any

from tinygrad_lesson.engine.errors import shown
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.plan.calls import Array, Lowering, row_major
from tinygrad_lesson.plan.fusion import Blockwise
from tinygrad_lesson.plan.memory import busiest, outliving
from tinygrad_lesson.plan.saved import PARTS
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Call, Ref


class Listing:
    """Writes a plan down."""

    def __init__(self, plan: Any) -> None:
        self.plan, self.lowering = plan, Lowering(plan)
        self.first = len(plan.buffers)  # number of the first array that lies between the calls of a step
        self.between = 0  # bytes that these take at most
        self.tenants: list[
            tuple[int, int, int]
        ] = []  # (begin, end, buffer) of what was last written to the arena
        self.falls: list[str] = []

    def lines(self) -> Iterator[str]:
        """Line by line."""
        for part in PARTS:
            steps = getattr(self.plan, part)
            if steps:
                yield f"{part}: {len(steps)} steps"
            for number, step in enumerate(steps):
                yield from self.step(f"{number:5}  ", step)
        yield f"bytes: {self.bytes()}"
        yield from self.falls

    def step(self, indent: str, step: Step) -> Iterator[str]:
        """A step and its calls; of joined steps each."""
        if isinstance(step.op, Blockwise):
            yield f"{indent}{shown(step.name) or '-'}  {step.op.label()}"
            for member in step.op.steps:
                yield from self.step(" " * 9, member)
            return
        yield indent + self.what(step)
        self.first = len(self.lowering.arrays)
        line = self.lowering.line(step)
        own = [a for a in self.lowering.arrays[self.first :] if a.of is None]
        self.between = max(self.between, sum(math.prod(a.shape) * a.dtype.itemsize for a in own))
        if line.untraced:
            self.falls.append(f"falls back: {shown(step.name) or '-'}  {line.op}: {line.untraced}")
        for call in line.calls:
            yield f"{' ' * (len(indent) + 4)}{self.call(call)}"
        if step.op.nested:
            for plan, _ in step.op.plans()[1]:  # type: ignore[attr-defined]
                yield from (f"{' ' * len(indent)}  | {inner}" for inner in Listing(plan).lines())

    def what(self, step: Step) -> str:
        """What a step does, with what, and where the results go."""
        reads = "".join(f"{self.name(v)} " for v in step.sources)
        writes = ", ".join(self.place(v, step) for v in step.targets)
        return f"{shown(step.name) or '-'}  {step.op.label()}  {reads}-> {writes}"

    def place(self, v: int, step: Step) -> str:
        """A result: its shape and type, offset and bytes in the arena, and with what it shares them."""
        b = self.plan.buffers[v]
        text = f"{self.name(v)} {show(b.shape)} {b.dtype}"
        if b.owner != v:
            return f"{text} view of {self.name(b.owner)}"
        if b.offset is None:
            return text
        before = [w for w in self.move_in(b.offset, b.offset + b.nbytes, v) if w != v]
        how = "in place of" if set(before).intersection(step.sources) else "after"
        shared = f" {how} {' '.join(map(self.name, before))}" if before else ""
        return f"{text} @{b.offset}+{b.nbytes}{' one block' if b.block else ''}{shared}"

    def move_in(self, begin: int, end: int, v: int) -> list[int]:
        """The buffers whose bytes buffer `v` takes over."""
        low = bisect.bisect_right(self.tenants, begin, key=lambda tenant: tenant[1])
        high = bisect.bisect_left(self.tenants, end, key=lambda tenant: tenant[0])
        gone = self.tenants[low:high]
        left = [(start, begin, w) for start, _, w in gone[:1] if start < begin]
        right = [(end, stop, w) for _, stop, w in gone[-1:] if stop > end]
        self.tenants[low:high] = [*left, (begin, end, v), *right]
        return [w for _, _, w in gone]

    def name(self, v: int) -> str:
        """What an array is called: as in the plan; between the calls of a step by a number, or as a view."""
        if v >= len(self.plan.buffers):
            array = self.lowering.arrays[v]
            earlier = [a for a in self.lowering.arrays[self.first : v] if a.of is None]
            return f"t{len(earlier) + 1}" if array.of is None else self.view(array)
        return str(self.plan.show_buffer(v))

    def view(self, array: Array) -> str:
        """A view: transposed, in another shape, or from an element on by strides, all in elements."""
        assert array.of is not None
        name, whole = self.name(array.of), self.lowering.arrays[array.of].shape
        strides = array.strides or row_major(array.shape)
        if (array.shape, strides, array.start) == (whole[::-1], row_major(whole)[::-1], 0):
            return f"{name}.T"
        if (math.prod(array.shape), strides, array.start) == (math.prod(whole), row_major(array.shape), 0):
            return f"{name} as {show(array.shape)}"
        return f"{name} as {show(array.shape)} from {array.start} by {strides}"

    def call(self, call: Call) -> str:
        """A call as it would be typed, but that its result goes to a place."""
        given = call.inputs[1:] if call.name == "copyto" else call.inputs
        inputs = [self.operand(x) for x in given]
        inputs += [f"{key}={self.operand(x)}" for key, x in call.named if key != "casting"]
        part = "" if call.part is None else f"[{call.part}]"
        return f"{call.name}({', '.join(inputs)}){part} -> {self.name(call.out)}"

    def operand(self, x: Any) -> str:
        """What stands in a call."""
        if isinstance(x, Ref):
            return self.name(x.number)
        if isinstance(x, tuple):
            return f"({', '.join(map(self.operand, x))}{',' if len(x) == 1 else ''})"
        return f"{x:g}" if isinstance(x, float) else shown(str(x))

    def bytes(self) -> str:
        """What the plan takes: together, at its biggest moment, and what it would take without sharing."""
        plan, buffers = self.plan, self.plan.buffers
        where = [f"{part} {i}" for part in PARTS for i in range(len(getattr(plan, part)))]
        folded = [v for step in plan.setup for v in step.targets]
        kept = outliving([*plan.outputs.values(), *folded], plan.forward, plan.backward, plan.update)
        most, t = busiest([step for part in PARTS for step in getattr(plan, part)], buffers, kept)
        whole = {v: b.size * b.dtype.itemsize for v, b in enumerate(buffers) if b.owner == v}
        counts = {
            "arena": plan.arena,
            f"most at once (in {where[t]})" if most else "most at once": most,
            "without sharing": sum(n for v, n in whole.items() if buffers[v].placed),
            "between calls": self.between,
            "arguments": sum(n for v, n in whole.items() if buffers[v].argument),
            "gradients and states": sum(n for v, n in whole.items() if buffers[v].output),
        }
        return "; ".join(f"{what} {n:,}" for what, n in counts.items())
