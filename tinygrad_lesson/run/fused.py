"""Joined elementwise steps as one loop in machine code: what lies between them never leaves the registers.

Each loop is compiled for itself, in some hundredths of a second, and only for arrays so large that this is soon
made good. `Loop.text` is its code, in LLVM's own language, to be read.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock

from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Call, NotTraceableError, Ref, Spec, traced
from tinygrad_lesson.run.expressions import EXPRESSIONS
from tinygrad_lesson.run.interpreter import CODES, WIDTH
from tinygrad_lesson.run.lower import KERNELS, NUMBERS, elementwise_inputs
from tinygrad_lesson.run.operands import Row
from tinygrad_lesson.run.simd import F32, I64, LANES, VECTOR, Memory, Vector, constant, declared, splat
from tinygrad_lesson.run.whole import OF_OP

MOST = 1000  # steps; a hundred compile in a tenth of a second
CHUNK = 8  # pairs of vectors that are added up before they join the total, so that small numbers are not lost in it


SIXTEEN = Spec((LANES,), np.dtype(np.float32), (4,))


def compiles(steps: Sequence[Step]) -> None:
    """Refuse steps for which there is no vector code, or for which LLVM would take longer than seconds.

    Errors
        NotTraceableError saying why.
    """
    if len(steps) > MOST:
        raise NotTraceableError(f"{len(steps)} steps would compile for long")
    for step in steps:
        if type(step.op) is not Sum:
            vector_code(step)


def vector_code(step: Step) -> Callable[..., Vector]:
    """What a step computes of sixteen elements of each source.

    Errors
        NotTraceableError naming a call that has no vector code.
    """
    pattern = OF_OP.get(type(step.op))
    if pattern is not None and pattern.name in EXPRESSIONS:
        return EXPRESSIONS[pattern.name]
    made = traced(step.op, (SIXTEEN,) * len(step.sources), (SIXTEEN,))
    for call in made.calls:
        if not is_vector_code(call) or made.values[call.out] != SIXTEEN:
            raise NotTraceableError(f"np.{call.name} has no vector code")
    return functools.partial(carried_out, made.calls, made.results[0])


def is_vector_code(call: Call) -> bool:
    """Whether a call computes element by element what there is an expression for."""
    inputs = elementwise_inputs(call, call.inputs)
    known = KERNELS.get(call.name) in EXPRESSIONS and inputs is not None and not call.view
    return known and all(isinstance(x, Ref) or type(x) in NUMBERS for x in inputs or ())


def carried_out(calls: Sequence[Call], result: int, *sources: Vector) -> Vector:
    """The result of calls, each an expression."""
    values = dict(enumerate(sources))
    for call in calls:
        inputs = elementwise_inputs(call, call.inputs) or ()
        vectors = [
            values[x.number] if isinstance(x, Ref) else constant(sources[0].builder, x) for x in inputs
        ]
        values[call.out] = EXPRESSIONS[KERNELS[call.name]](*vectors)
    return values[result]


class Loop:
    """A compiled loop over some steps.

    `moving` are the values that lie in arrays, `single` those that are one number, sums among them. The code is called
    with the base of all offsets and with a row of words: the number of elements, and the offset of each value in
    `places`.
    """

    def __init__(self, steps: Sequence[Step], moving: Sequence[int], single: Sequence[int]) -> None:
        given, made = given_and_made(steps)
        self.places = [*moving, *single]
        module = ir.Module("loop")
        kind = ir.FunctionType(ir.VoidType(), [F32.as_pointer(), I64.as_pointer()])
        function = ir.Function(module, kind, "loop")
        builder = ir.IRBuilder(function.append_basic_block())
        body = Body(builder, function.args, steps, self.places)
        body.read = [v for v in moving if v in given]
        body.stored = [v for v in moving if v in made]
        body.numbers = {v: body.number(v) for v in single if v in given}
        body.emit()
        self.sums = list(body.totals)
        self.text = str(module)
        with global_compiler_lock:  # of two engines for one text the first would take both along
            self.engine, self.address = machine_code(self.text)

    def rows(self, size: int, offsets: Mapping[int, int]) -> list[Row]:
        """The instruction that runs it over so many elements, and what more words it needs."""
        words = [size, *[offsets[v] for v in self.places]]
        more = [words[i : i + WIDTH] for i in range(WIDTH - 3, len(words), WIDTH)]
        return [[CODES["loop"], self.address, len(more), *words[: WIDTH - 3]], *more]


def given_and_made(steps: Sequence[Step]) -> tuple[set[int], set[int]]:
    """The values that steps take from outside, and those that they make; a gradient that is added to is both."""
    given: set[int] = set()
    made: set[int] = set()
    for step in steps:
        given.update(v for v in step.sources if v not in made)
        made.update(step.targets)
    return given, made


class Body:
    """Emits the code of a loop; its words hold the number of elements, then the offsets of `places`."""

    def __init__(self, builder: Any, arguments: Any, steps: Sequence[Step], places: Sequence[int]) -> None:
        self.builder, self.steps = builder, steps
        base, self.words = arguments
        self.memory = Memory(builder, base)
        self.size = self.word(0)
        self.offsets = {v: self.word(1 + i) for i, v in enumerate(places)}
        self.read: list[int] = []
        self.stored: list[int] = []
        self.numbers: dict[int, Any] = {}
        sums = [step.targets[0] for step in steps if type(step.op) is Sum]
        self.totals, self.lost, self.parts = ({v: self.zeros() for v in sums} for _ in range(3))

    def number(self, v: int) -> Any:
        """A number in all lanes."""
        return splat(self.builder, self.builder.load(self.memory.pointer(self.offsets[v])), VECTOR)

    def word(self, i: int) -> Any:
        """One of the words that the loop is called with."""
        return self.builder.load(self.builder.gep(self.words, [I64(i)]))

    def zeros(self) -> Any:
        """A place for sixteen numbers, at zero."""
        place = cgutils.alloca_once(self.builder, VECTOR)
        self.builder.store(self.memory.zero, place)
        return place

    def emit(self) -> None:
        """The loop by pairs of vectors, then what is left, then the sums."""
        b, memory = self.builder, self.memory
        pairs = b.udiv(self.size, I64(2 * LANES))
        chunks = b.udiv(b.add(pairs, I64(CHUNK - 1)), I64(CHUNK))
        with cgutils.for_range(b, chunks, intp=I64) as chunk:
            first = b.mul(chunk.index, I64(CHUNK))
            left = b.sub(pairs, first)
            count = b.select(b.icmp_unsigned("<", left, I64(CHUNK)), left, I64(CHUNK))
            with cgutils.for_range(b, count, intp=I64) as part:
                at = b.mul(b.add(first, part.index), I64(2 * LANES))
                self.vectors([at, b.add(at, I64(LANES))], None)
            self.collect()
        done = b.mul(pairs, I64(2 * LANES))
        with cgutils.for_range(
            b, b.udiv(b.add(b.sub(self.size, done), I64(LANES - 1)), I64(LANES)), intp=I64
        ) as rest:
            at = b.add(done, b.mul(rest.index, I64(LANES)))
            self.vectors([at], memory.first(b.sub(self.size, at)))
        self.collect()
        for v, total in self.totals.items():
            add = declared(b, "llvm.vector.reduce.fadd.v16f32", F32, [F32, VECTOR])
            found = b.call(add, [F32(0.0), b.load(total)], fastmath=("reassoc",))
            b.store(found, memory.pointer(self.offsets[v]))
        b.ret_void()

    def vectors(self, places: Sequence[Any], mask: Any) -> None:
        """Sixteen elements from each place on, or those that the mask lets through.

        Step by step for all places: while one waits for what it needs, another goes on.
        """
        b, memory = self.builder, self.memory
        values: list[dict[int, Any]] = [
            self.numbers | {v: memory.load(b.add(self.offsets[v], at), mask) for v in self.read}
            for at in places
        ]
        for step in self.steps:
            target = step.targets[0]
            code = None if type(step.op) is Sum else vector_code(step)
            for known in values:
                sources = [Vector(b, known[v]) for v in step.sources]
                if code is None:
                    value = sources[0].value
                    value = value if mask is None else b.select(mask, value, memory.zero)
                    b.store(b.fadd(b.load(self.parts[target]), value), self.parts[target])
                else:
                    known[target] = code(*sources).value
        for at, known in zip(places, values, strict=True):
            for v in self.stored:
                memory.store(b.add(self.offsets[v], at), known[v], mask)

    def collect(self) -> None:
        """Partial sums join the totals; what rounding takes from one is given to the next (Kahan 1965)."""
        b = self.builder
        for v, place in self.parts.items():
            total, part = b.load(self.totals[v]), b.fsub(b.load(place), b.load(self.lost[v]))
            new = b.fadd(total, part)
            b.store(b.fsub(b.fsub(new, total), part), self.lost[v])
            b.store(new, self.totals[v])
            b.store(self.memory.zero, place)


def target_machine() -> Any:
    """This processor; for one engine, which disposes of it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2)


@functools.cache
def machine_code(text: str) -> tuple[Any, int]:
    """The engine that holds the code, and its address. The same text is compiled once (or twice, by two threads)."""
    with global_compiler_lock:
        module = llvm.parse_assembly(text)
        machine = target_machine()
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
        builder.getModulePassManager().run(module, builder)
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        return engine, engine.get_function_address("loop")
