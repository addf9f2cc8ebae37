"""A small language for kernels: vectors of numbers in registers, the memory they come from, loops.

Arithmetic with a `Vector` emits LLVM's intermediate code. A lane beyond the last element is masked off, so no length
needs a loop of its own for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import numpy as np
from llvmlite import ir

WIDTH = 64  # bytes of a vector of the widest elements
I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
BYTES = I8.as_pointer()
NOUGHT = I64(0)
IN_MEMORY: dict[str, Any] = {
    "float32": ir.FloatType(), "float64": ir.DoubleType(), "int32": I32, "int64": I64, "bool": I8,
}  # fmt: skip
FLOATS = (ir.FloatType(), ir.DoubleType())
ROWS_AT_ONCE = (
    4  # short rows that are read before one is written: a read of what was just written has to wait
)


def itemsize(kind: str) -> int:
    """Bytes of an element."""
    return np.dtype(kind).itemsize


def lanes_of(*kinds: str) -> int:
    """How many elements of each of these types a kernel works on at a time."""
    return WIDTH // max(4, *map(itemsize, kinds))


def vector_of(kind: str, lanes: int) -> ir.VectorType:
    """The type of a register; a truth value is one bit there."""
    return ir.VectorType(I1 if kind == "bool" else IN_MEMORY[kind], lanes)


def suffix(kind: Any) -> str:
    """What LLVM's functions for this type end in."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{suffix(kind.element)}"
    return {FLOATS[0]: "f32", FLOATS[1]: "f64"}.get(kind) or f"i{kind.width}"


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """One number in all lanes."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, I32(0))
    return shuffled(builder, first, undefined, [0] * lanes)


def shuffled(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """Lanes of two vectors, those of the second counted behind those of the first."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), [I32(i) for i in lanes]))


def declared(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """One of LLVM's own functions, declared once per module."""
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def slot(builder: Any, kind: Any) -> Any:
    """A place for a value that changes in a loop."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


@contextmanager
def loop(builder: Any, count: Any, first: Any = NOUGHT) -> Iterator[Any]:
    """Emit what is inside for each number from `first` up to `count`."""
    head, body, done = [builder.append_basic_block() for _ in range(3)]
    before = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(I64)
    i.add_incoming(first, before)
    builder.cbranch(builder.icmp_unsigned("<", i, count), body, done)
    builder.position_at_end(body)
    yield i
    following = builder.add(i, I64(1))
    i.add_incoming(following, builder.block)
    builder.branch(head)
    builder.position_at_end(done)


@contextmanager
def as_long_as(builder: Any, condition: Callable[[], Any]) -> Iterator[None]:
    """Emit what is inside, for as long as the condition, which is looked at before, holds."""
    head, body, done = [builder.append_basic_block() for _ in range(3)]
    builder.branch(head)
    builder.position_at_end(head)
    builder.cbranch(condition(), body, done)
    builder.position_at_end(body)
    yield
    builder.branch(head)
    builder.position_at_end(done)


def smaller(builder: Any, a: Any, b: Any) -> Any:
    """The smaller of two sizes."""
    return builder.select(builder.icmp_unsigned("<", a, b), a, b)


def fused(b: Any, x: Any, y: Any, total: Any) -> None:
    """``total += x * y``, rounded once where the processor can."""
    vector = x.type
    function = declared(b, f"llvm.fmuladd.{suffix(vector)}", vector, [vector] * 3)
    b.store(b.call(function, [x, y, b.load(total)]), total)


class Vector:
    """Numbers, or answers, in a register. Arithmetic with it emits code.

    Each operation rounds by itself, as NumPy's do: `x * x - y` is NaN where both are infinite.
    """

    flags: tuple[str, ...] = ()

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @property
    def kind(self) -> Any:
        """The type of an element."""
        return self.value.type.element

    @property
    def is_float(self) -> bool:
        """Whether these are no integers and no answers."""
        return self.kind in FLOATS

    def lift(self, other: Any) -> Any:
        """The other operand, a number in all lanes."""
        if isinstance(other, Vector):
            return other.value
        with np.errstate(over="ignore"):
            number = float(np.float32(other)) if self.kind == FLOATS[0] else other
        number = float(number) if self.is_float else int(number)
        return ir.Constant(self.value.type, [self.kind(number)] * self.value.type.count)

    def like(self, value: Any) -> Self:
        """Another value as this kind of vector."""
        return type(self)(self.builder, value)

    def arithmetic(self, name: str, other: Any) -> Self:
        """The result for floats or for integers."""
        if self.is_float:
            return self.like(
                getattr(self.builder, f"f{name}")(self.value, self.lift(other), flags=self.flags)
            )
        return self.like(getattr(self.builder, name)(self.value, self.lift(other)))

    def compared(self, how: str, other: Any) -> Self:
        """Answers; those about NaN are no, but for `!=`."""
        if not self.is_float:
            compare = self.builder.icmp_unsigned if self.kind == I1 else self.builder.icmp_signed
        else:
            compare = self.builder.fcmp_unordered if how == "!=" else self.builder.fcmp_ordered
        return self.like(compare(how, self.value, self.lift(other)))

    def called(self, name: str, *others: Any) -> Self:
        """The result of LLVM's function of that name."""
        values, kind = [self.value, *map(self.lift, others)], self.value.type
        function = declared(self.builder, f"llvm.{name}.{suffix(kind)}", kind, [kind] * len(values))
        return self.like(self.builder.call(function, values))

    def cast(self, how: str, kind: Any) -> Self:
        """The same lanes as elements of another type."""
        return self.like(getattr(self.builder, how)(self.value, ir.VectorType(kind, self.value.type.count)))

    def __add__(self, other: Any) -> Self:
        return self.arithmetic("add", other)

    def __sub__(self, other: Any) -> Self:
        return self.arithmetic("sub", other)

    def __rsub__(self, other: Any) -> Self:
        return self.like(self.lift(other)) - self

    def __mul__(self, other: Any) -> Self:
        return self.arithmetic("mul", other)

    def __truediv__(self, other: Any) -> Self:
        return self.arithmetic("div", other)

    def __rtruediv__(self, other: Any) -> Self:
        return self.like(self.lift(other)) / self

    def __neg__(self) -> Self:
        return self.like(self.builder.fneg(self.value) if self.is_float else self.builder.neg(self.value))

    def __lshift__(self, other: Any) -> Self:
        return self.like(self.builder.shl(self.value, self.lift(other)))

    def __rshift__(self, other: Any) -> Self:
        return self.like(self.builder.ashr(self.value, self.lift(other)))

    def __and__(self, other: Any) -> Self:
        return self.like(self.builder.and_(self.value, self.lift(other)))

    def __or__(self, other: Any) -> Self:
        return self.like(self.builder.or_(self.value, self.lift(other)))

    def __xor__(self, other: Any) -> Self:
        return self.like(self.builder.xor(self.value, self.lift(other)))

    def __invert__(self) -> Self:
        return self.like(self.builder.not_(self.value))

    def __lt__(self, other: Any) -> Self:
        return self.compared("<", other)

    def __le__(self, other: Any) -> Self:
        return self.compared("<=", other)

    def __gt__(self, other: Any) -> Self:
        return self.compared(">", other)

    def __ge__(self, other: Any) -> Self:
        return self.compared(">=", other)

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        return self.compared("==", other)

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        return self.compared("!=", other)

    __hash__ = None  # type: ignore[assignment]


V = TypeVar("V", bound=Vector)


class Contracted(Vector):
    """The same, but a product and the sum it goes into may be rounded at once."""

    flags = ("contract",)  # no `reassoc`: exp and log live from the order of their operations


def contracted(x: Vector) -> Contracted:
    """A vector whose products and sums may be rounded at once."""
    return Contracted(x.builder, x.value)


def where(answers: Vector, a: Any, b: Any) -> Any:
    """`a` where the answer is yes, else `b`; one of them may be a number."""
    some = a if isinstance(a, Vector) else b
    return some.like(answers.builder.select(answers.value, some.lift(a), some.lift(b)))


class Memory:
    """Access to elements behind a base: `lanes` at a time, or fewer. Offsets and strides are in bytes."""

    def __init__(self, builder: Any, base: Any, words: Any, lanes: int) -> None:
        self.builder, self.base, self.words, self.lanes = builder, base, words, lanes
        self.taken = 0

    def take(self, count: int) -> list[Any]:
        """The next words of the instruction."""
        numbers = range(self.taken, self.taken + count)
        self.taken += count
        return [self.builder.load(self.builder.gep(self.words, [I64(i)])) for i in numbers]

    def first(self, count: Any) -> Any:
        """A mask of the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(I64, self.lanes), [I64(i) for i in range(self.lanes)])
        return self.builder.icmp_unsigned("<", numbers, splat(self.builder, count, self.lanes))

    def at(self, offset: Any, number: Any, stride: Any) -> Any:
        """Where element `number` lies."""
        return self.builder.add(offset, self.builder.mul(number, stride))

    def further(self, offset: Any, more: int) -> Any:
        """A place so many bytes further on."""
        return self.builder.add(offset, I64(more))

    def word(self, offset: Any) -> Any:
        """The word that lies at `offset`."""
        return self.builder.load(self.pointer(offset, I64), align=1)

    def pointer(self, offset: Any, kind: Any) -> Any:
        """A pointer to what lies at `offset`."""
        return self.builder.bitcast(self.builder.gep(self.base, [offset]), kind.as_pointer())

    def zero(self, kind: str) -> Any:
        """Zeros, or no."""
        vector = vector_of(kind, self.lanes)
        return ir.Constant(vector, None)

    def load(self, offset: Any, kind: str, mask: Any = None) -> Any:
        """The elements from `offset` on, or those that the mask lets through and zeros."""
        vector = ir.VectorType(IN_MEMORY[kind], self.lanes)
        place = self.pointer(offset, vector)
        if mask is None:
            value = self.builder.load(place, align=1)
        else:
            kinds = [place.type, I32, ir.VectorType(I1, self.lanes), vector]
            masked = declared(self.builder, f"llvm.masked.load.{suffix(vector)}.p0", vector, kinds)
            value = self.builder.call(masked, [place, I32(1), mask, ir.Constant(vector, None)])
        return self.builder.icmp_signed("!=", value, ir.Constant(vector, None)) if kind == "bool" else value

    def store(self, offset: Any, value: Any, kind: str, mask: Any = None) -> None:
        """As `load`, the other way."""
        vector = ir.VectorType(IN_MEMORY[kind], self.lanes)
        value = self.builder.zext(value, vector) if kind == "bool" else value
        place = self.pointer(offset, vector)
        if mask is None:
            self.builder.store(value, place, align=1)
            return
        kinds = [vector, place.type, I32, ir.VectorType(I1, self.lanes)]
        masked = declared(self.builder, f"llvm.masked.store.{suffix(vector)}.p0", ir.VoidType(), kinds)
        self.builder.call(masked, [value, place, I32(1), mask])

    def fetch(self, offset: Any, level: int = 1) -> None:
        """Ask for the line at `offset`, which may be anywhere, to be in the first or second cache when it is read."""
        fetch = declared(self.builder, "llvm.prefetch.p0", ir.VoidType(), [BYTES, I32, I32, I32])
        read, kept, data = I32(0), I32(4 - level), I32(1)
        self.builder.call(fetch, [self.builder.gep(self.base, [offset]), read, kept, data])

    def number(self, offset: Any, kind: str) -> Any:
        """One element, in all lanes."""
        one = self.builder.load(self.pointer(offset, IN_MEMORY[kind]), align=1)
        one = self.builder.icmp_signed("!=", one, I8(0)) if kind == "bool" else one
        return splat(self.builder, one, self.lanes)

    def apart(self, offset: Any, step: Any, kind: str, count: Any) -> Any:
        """The first `count` elements that lie `step` apart."""
        b, element = self.builder, IN_MEMORY[kind]
        vector = ir.VectorType(element, self.lanes)
        result = slot(b, vector)
        lanes = b.bitcast(result, element.as_pointer())
        with loop(b, count) as lane:
            b.store(b.load(self.pointer(self.at(offset, lane, step), element), align=1), b.gep(lanes, [lane]))
        value = b.load(result)
        return b.icmp_signed("!=", value, ir.Constant(vector, None)) if kind == "bool" else value

    def put_apart(self, offset: Any, step: Any, value: Any, kind: str, count: Any) -> None:
        """As `apart`, the other way."""
        b, element = self.builder, IN_MEMORY[kind]
        vector = ir.VectorType(element, self.lanes)
        result = slot(b, vector)
        b.store(b.zext(value, vector) if kind == "bool" else value, result)
        lanes = b.bitcast(result, element.as_pointer())
        with loop(b, count) as lane:
            b.store(b.load(b.gep(lanes, [lane])), self.pointer(self.at(offset, lane, step), element), align=1)


def in_parts(memory: Memory, count: Any, body: Callable[[Any, Any, Any], None]) -> None:
    """`body(first, mask, how_many)` for the elements of a row: so many lanes at a time, then the rest."""
    b, lanes = memory.builder, I64(memory.lanes)
    whole, rest = b.udiv(count, lanes), b.urem(count, lanes)
    with loop(b, whole) as part:
        body(b.mul(part, lanes), None, lanes)
    with b.if_then(b.icmp_unsigned("!=", rest, NOUGHT)):
        body(b.mul(whole, lanes), memory.first(rest), rest)
