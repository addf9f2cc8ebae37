"""Loops whose steps treat each element alike, as one loop in machine code: states stay in registers all the way.

So few elements that a register holds them leave the processor idle for most of an instruction. Each loop is compiled
for itself, in some hundredths of a second, and only for so many steps that this is soon made good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.shapes import size_of
from tinygrad_lesson.ops.copies import Identity
from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.plan.fusion import members
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.fused import MOST, vector_code
from tinygrad_lesson.run.operands import FLOATS, Memory
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import machine, vector
from tinygrad_lesson.run.tape.vector import I64, NOUGHT, Vector, lanes_of, loop, slot

LEAST = 1000  # steps from which on a loop is compiled for itself
AT_ONCE = 1 << 20  # elements times steps that are carried out in one call: between two, Ctrl-C may come


class Rolled:
    """A compiled loop over the steps of a plan.

    `states` are the names of arrays that hold a state and of those that get the next one. `names` are all bound arrays
    in the order of the words: for each its offset in the first step, and how many bytes further on it is in the next.

    Errors
        NotTraceableError where a step does more than treat each element alike, or there are many.
    """

    way = "all steps as one loop of elements"

    def __init__(self, runner: Any, states: dict[str, str], seen: Sequence[str], down: bool) -> None:
        self.down = down  # whether rows are read from the last to the first
        self.states, self.steps, self.buffers = states, members(runner.plan.forward), runner.plan.buffers
        used = dict.fromkeys(v for step in self.steps for v in (*step.sources, *step.targets))
        self.kind, self.size = self.common(used)
        if self.size > lanes_of(self.kind):  # each instruction of its own has enough to do at once
            raise NotTraceableError("its arrays are larger than a register")
        self.codes = [self.code(step) for step in self.steps]
        self.named = {name: v for v in used if (name := self.buffers[v].argument or self.buffers[v].output)}
        self.once = [name for name in self.named if name in seen]
        self.early = self.before_states()
        made = {v for step in self.steps for v in step.targets}
        self.fixed = [v for v in used if v not in made and v not in self.named.values()]
        memory = runner.memory
        places = [
            memory.number(b.value, self.kind).offset if b.value is not None else memory.offset(runner.buffers[v])
            for v, b in [(v, self.buffers[v]) for v in self.fixed]
        ]  # fmt: skip
        address = machine.address_of_text(machine.text_of("rolled", self.emit, ()), "rolled")
        row = [address, self.size, 0, *places, *[0] * (2 * len(self.named))]
        firsts, names = {last: first for first, last in states.items()}, list(runner.arrays)
        self.numbers = np.array([names.index(firsts.get(name, name)) for name in self.named])
        self.moves = np.array([name not in (*states, *firsts) for name in self.named])
        self.segment = Segment(as_tape([row]), Memory())
        self.count, self.words = self.segment.tape[3:4], self.segment.tape[4 + len(places) :].view(np.int64)

    def __call__(self, starts: np.ndarray, strides: np.ndarray, count: int) -> None:
        """So many steps; `Tracks` tells where each bound array is. States are left in their own places."""
        moved = strides[self.numbers] * self.moves
        self.words[::2] = starts[self.numbers]
        self.words[1::2] = moved
        left, most = count, max(1, AT_ONCE // self.size)
        while left:
            self.count[0] = now = min(left, most)
            self.segment()
            left -= now
            if left:
                self.words[::2] += moved * now

    def before_states(self) -> list[int]:
        """The numbers of those steps that no state reaches: they may be carried out for many rows at once."""
        reached, found = {v for name, v in self.named.items() if name in self.states}, []
        for number, step in enumerate(self.steps):
            if reached.isdisjoint(step.sources):
                found.append(number)
                reached.difference_update(step.targets)
            else:
                reached.update(step.targets)
        work = any(not isinstance(self.steps[number].op, Identity) for number in found)
        return found if self.size == 1 and work else []

    def common(self, used: Iterable[int]) -> tuple[str, int]:
        """The element type of all values, but for answers, and the size of all that are no single number."""
        buffers = [self.buffers[v] for v in used]
        kinds = {b.dtype.name for b in buffers if b.value is None} - {"bool"}
        shapes = {b.shape for b in buffers if b.size != 1}
        if len(kinds) != 1 or not kinds <= set(FLOATS) or len(shapes) > 1 or len(self.steps) > MOST:
            raise NotTraceableError("its arrays differ in element type or shape")
        made = {v for step in self.steps for v in step.targets}
        if any(
            b.dtype.name == "bool" and (v not in made or b.output) for v, b in zip(used, buffers, strict=True)
        ):
            raise NotTraceableError("there are answers from outside")
        return kinds.pop(), size_of(shapes.pop()) if shapes else 1

    def code(self, step: Step) -> Callable[..., Vector]:
        """What a step computes of some elements of each source."""
        buffers = [self.buffers[v] for v in (*step.sources, *step.targets)]
        if (step.op.view or type(step.op) is Sum) and buffers[0].size == buffers[-1].size == 1:
            return lambda x, *others: x
        if not isinstance(step.op, Elementwise | Identity):
            raise NotTraceableError(f"{step.op.label()} does more than treat each element alike")
        return vector_code(
            step, self.kind, [self.kind if b.value is not None else b.dtype.name for b in buffers]
        )

    def emit(self, builder: Any, base: Any, words: Any, step: Any) -> None:
        """The code. Words: the numbers of elements and of steps, offsets of `fixed`, two words for each of `named`."""
        lanes = 1 if self.size == 1 else lanes_of(self.kind)
        memory = vector.Memory(builder, base, words, lanes)
        size, count = memory.take(2)
        places = {v: memory.take(1) for v in self.fixed} | {v: memory.take(2) for v in self.named.values()}
        body = Body(self, memory, count, places)
        body.emit(None if lanes == 1 else memory.first(size))


class Body:
    """Emits all steps."""

    def __init__(self, rolled: Rolled, memory: Any, count: Any, places: dict[int, Any]) -> None:
        self.rolled, self.memory, self.count, self.places = rolled, memory, count, places

    def single(self, v: int) -> bool:
        """Whether a value is one number for all elements."""
        return bool(self.rolled.buffers[v].size == 1)

    def load(self, v: int, offset: Any, mask: Any) -> Any:
        """The elements, or one number."""
        if self.single(v):
            return self.memory.number(offset, self.rolled.kind)
        return self.memory.load(offset, self.rolled.kind, mask)

    def put(self, v: int, offset: Any, mask: Any, value: Any) -> None:
        """Leave them there."""
        memory = self.memory
        if self.single(v):
            mask = None if memory.lanes == 1 else memory.first(I64(1))
        memory.store(offset, value, self.rolled.kind, mask)

    def emit(self, mask: Any) -> None:
        """States are loaded before the first step and stored after the last."""
        rolled, memory, b = self.rolled, self.memory, self.memory.builder
        named = rolled.named
        known = {v: self.load(v, self.places[v][0], mask) for v in rolled.fixed}
        known |= {
            named[name]: self.load(named[name], self.places[named[name]][0], mask) for name in rolled.once
        }
        handed = {}
        for first, last in rolled.states.items():
            handed[last] = place = slot(b, vector.vector_of(rolled.kind, memory.lanes))
            if first in named:
                b.store(self.load(named[first], self.places[named[first]][0], mask), place)
        first = NOUGHT
        if rolled.early:
            lanes = I64(lanes_of(rolled.kind))
            blocks = b.udiv(self.count, lanes)
            first = b.mul(blocks, lanes)
            with loop(b, blocks) as block:
                begin = b.mul(block, lanes)
                ready = self.ahead(begin, known)
                with loop(b, lanes) as k:
                    found = {number: self.element_of(place, k) for number, place in ready.items()}
                    self.step(b.add(begin, k), mask, known, handed, found)
        with loop(b, self.count, first) as i:
            self.step(i, mask, known, handed, {})
        for name, place in handed.items():
            self.put(named[name], self.places[named[name]][0], mask, b.load(place))

    def step(
        self, i: Any, mask: Any, known: dict[int, Any], handed: dict[str, Any], ready: dict[int, Any]
    ) -> None:
        """One step of the loop; some of its results are `ready`."""
        rolled, memory, b = self.rolled, self.memory, self.memory.builder
        values = dict(known)
        at = {name: memory.at(self.places[v][0], i, self.places[v][1]) for name, v in rolled.named.items()}
        for name, v in rolled.named.items():
            if name in rolled.states:
                values[v] = b.load(handed[rolled.states[name]])
            elif rolled.buffers[v].argument and name not in rolled.once:
                values[v] = self.load(v, at[name], mask)
        for number, (step, code) in enumerate(zip(rolled.steps, rolled.codes, strict=True)):
            found = ready.get(number)
            if found is None:
                found = code(*[Vector(b, values[v]) for v in step.sources]).value
            values[step.targets[0]] = found
        for name, v in rolled.named.items():
            if name in handed:
                b.store(values[v], handed[name])
            elif rolled.buffers[v].output:
                self.put(v, at[name], mask, values[v])

    def ahead(self, begin: Any, known: dict[int, Any]) -> dict[int, Any]:
        """What the early steps give for as many rows, from number `begin` on, as fill a vector: places of that."""
        rolled, b = self.rolled, self.memory.builder
        lanes = lanes_of(rolled.kind)
        wide = vector.Memory(b, self.memory.base, self.memory.words, lanes)
        values = {v: vector.splat(b, b.extract_element(x, NOUGHT), lanes) for v, x in known.items()}
        ready = {}
        for number in rolled.early:
            step = rolled.steps[number]
            for v in step.sources:
                if v not in values:
                    values[v] = self.rows(wide, v, begin)
            found = rolled.codes[number](*[Vector(b, values[v]) for v in step.sources]).value
            values[step.targets[0]] = found
            ready[number] = slot(b, found.type)
            b.store(found, ready[number])
        return ready

    def rows(self, wide: Any, v: int, begin: Any) -> Any:
        """A number of each of some rows, in the order of the steps."""
        b, (offset, stride), last = wide.builder, self.places[v], I64(wide.lanes - 1)
        lowest = b.add(begin, last) if self.rolled.down else begin
        found = wide.load(wide.at(offset, lowest, stride), self.rolled.kind)
        if not self.rolled.down:
            return found
        return vector.shuffled(b, found, found, range(wide.lanes)[::-1])

    def element_of(self, place: Any, k: Any) -> Any:
        """One number of those in a place, as a vector of one."""
        b = self.memory.builder
        value = b.extract_element(b.load(place), k)
        return b.insert_element(ir.Constant(ir.VectorType(value.type, 1), ir.Undefined), value, NOUGHT)
