"""Sixteen numbers at a time: loops over vector registers, as LLVM intermediate code that numba takes in.

What numba makes of plain loops is no vector code where an operand may be the result itself, and none for rows of
ten numbers. Here a lane beyond the last column is masked off, so no width needs a loop of its own for the rest.
"""

import functools
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
LINE = 16  # elements in a cache line
AT_ONCE = 4  # short rows that are read before one is written: a read of what was just written has to wait
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
NOUGHT = I64(0)
VECTOR, MASK = ir.VectorType(F32, LANES), ir.VectorType(ir.IntType(1), LANES)
INTEGERS, WORDS = ir.VectorType(I32, LANES), ir.VectorType(I64, LANES)


def splat(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    """One number in all lanes."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(INTEGERS, [I32(0)] * LANES))


def declared(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """One of LLVM's own functions, declared once per module."""
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


class Vector:
    """Sixteen float32 numbers, or integers, or answers, in a register. Arithmetic with it emits code.

    Each operation rounds by itself, as NumPy's do: `x * x - y` is NaN where both are infinite. What has no flags numba
    would give all the liberties of its kernels; of the one here none of these operations makes use.
    """

    flags: tuple[str, ...] = ("afn",)

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def lift(self, other: Any) -> Any:
        """The other operand, a number in all lanes."""
        if isinstance(other, Vector):
            return other.value
        kind = self.value.type
        return ir.Constant(kind, [kind.element(int(other) if kind == INTEGERS else float(other))] * LANES)

    def emit(self, name: str, other: Any, **named: Any) -> Self:
        """The result of one of the builder's instructions."""
        return type(self)(self.builder, getattr(self.builder, name)(self.value, self.lift(other), **named))

    def arithmetic(self, name: str, other: Any) -> Self:
        """The result for floats or for integers."""
        if self.value.type == INTEGERS:
            return self.emit(name, other)
        return self.emit("f" + name, other, flags=self.flags)

    def compared(self, how: str, other: Any) -> Self:
        """Answers; those about NaN are no, but for `!=`."""
        compare = self.builder.fcmp_unordered if how == "!=" else self.builder.fcmp_ordered
        return type(self)(self.builder, compare(how, self.value, self.lift(other)))

    def called(self, name: str, *others: "Vector") -> Self:
        """The result of LLVM's function of that name."""
        values = [self.value, *[other.value for other in others]]
        function = declared(self.builder, f"llvm.{name}.v16f32", VECTOR, [VECTOR] * len(values))
        return type(self)(self.builder, self.builder.call(function, values))

    def cast(self, how: str, kind: Any) -> Self:
        """The same lanes as another kind of number."""
        return type(self)(self.builder, getattr(self.builder, how)(self.value, kind))

    def __add__(self, other: Any) -> Self:
        return self.arithmetic("add", other)

    def __sub__(self, other: Any) -> Self:
        return self.arithmetic("sub", other)

    def __rsub__(self, other: Any) -> Self:
        return type(self)(self.builder, self.lift(other)) - self

    def __mul__(self, other: Any) -> Self:
        return self.arithmetic("mul", other)

    def __truediv__(self, other: Any) -> Self:
        return self.arithmetic("div", other)

    def __rtruediv__(self, other: Any) -> Self:
        return type(self)(self.builder, self.lift(other)) / self

    def __neg__(self) -> Self:
        return type(self)(self.builder, self.builder.fneg(self.value))

    def __lshift__(self, other: Any) -> Self:
        return self.emit("shl", other)

    def __rshift__(self, other: Any) -> Self:
        return self.emit("ashr", other)

    def __and__(self, other: Any) -> Self:
        return self.emit("and_", other)

    def __or__(self, other: Any) -> Self:
        return self.emit("or_", other)

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

    flags = (
        "contract",
    )  # no `reassoc`: the reductions of exp and log live from the order of their operations


def where(answers: V, a: Any, b: Any) -> V:
    """`a` where the answer is yes, else `b`; one of them may be a number."""
    some = a if isinstance(a, Vector) else b
    if not isinstance(some, Vector):
        some = Vector(answers.builder, ir.Constant(VECTOR, [F32(0.0)] * LANES))
    return type(answers)(answers.builder, answers.builder.select(answers.value, some.lift(a), some.lift(b)))


def constant(builder: Any, number: float) -> Vector:
    """A number in all lanes."""
    with np.errstate(over="ignore"):
        return Vector(builder, ir.Constant(VECTOR, [F32(float(np.float32(number)))] * LANES))


class Memory:
    """Access to the elements behind an array's base, sixteen at a time or fewer."""

    def __init__(self, builder: Any, base: Any) -> None:
        self.builder, self.base = builder, base
        self.zero = ir.Constant(VECTOR, [F32(0.0)] * LANES)

    def first(self, count: Any) -> Any:
        """A mask of the first `count` lanes."""
        numbers = ir.Constant(WORDS, [I64(i) for i in range(LANES)])
        return self.builder.icmp_unsigned("<", numbers, splat(self.builder, count, WORDS))

    def pointer(self, offset: Any) -> Any:
        """Where element `offset` lies."""
        return self.builder.gep(self.base, [offset])

    def load(self, offset: Any, mask: Any) -> Any:
        """Sixteen elements from `offset` on, or those that the mask lets through and zeros."""
        where_ = self.builder.bitcast(self.pointer(offset), VECTOR.as_pointer())
        if mask is None:
            return self.builder.load(where_, align=4)
        name, kinds = "llvm.masked.load.v16f32.p0", [VECTOR.as_pointer(), I32, MASK, VECTOR]
        return self.builder.call(
            declared(self.builder, name, VECTOR, kinds), [where_, I32(4), mask, self.zero]
        )

    def store(self, offset: Any, value: Any, mask: Any) -> None:
        """As `load`, the other way."""
        where_ = self.builder.bitcast(self.pointer(offset), VECTOR.as_pointer())
        if mask is None:
            self.builder.store(value, where_, align=4)
            return
        name, kinds = "llvm.masked.store.v16f32.p0", [VECTOR, VECTOR.as_pointer(), I32, MASK]
        self.builder.call(declared(self.builder, name, ir.VoidType(), kinds), [value, where_, I32(4), mask])

    def apart(self, offset: Any, step: Any, count: Any) -> Any:
        """The first `count` of sixteen elements that lie `step` apart."""
        b = self.builder
        result = cgutils.alloca_once(b, VECTOR)
        lanes = b.bitcast(result, F32.as_pointer())
        with cgutils.for_range(b, count, intp=I64) as lane:
            element = b.load(self.pointer(b.add(offset, b.mul(lane.index, step))))
            b.store(element, b.gep(lanes, [lane.index]))
        return b.load(result)


def base_of(target: Any, builder: Any, signature: Any, array: Any) -> Any:
    """Where an array's elements begin."""
    return target.make_array(signature.args[0])(target, builder, array).data


# Which operands are constant in a row, by their number.
WAYS: dict[int, list[tuple[bool, ...]]] = {1: [(False,)], 2: [(False, False), (False, True), (True, False)]}


def elementwise(expression: Callable[..., Vector], operands: int) -> Any:
    """An intrinsic for ``o[i, :] = expression(a[i, :], ...)`` over rows of any length.

    Its arguments: the array, offset and row stride of the result, offset and both strides of every operand, the
    numbers of rows and of columns. An operand may be the result itself.
    """

    def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        memory = Memory(builder, base_of(target, builder, signature, arguments[0]))
        o, o_row, *strided, m, n = arguments[1:]
        sources = [strided[i : i + 3] for i in range(0, len(strided), 3)]
        whole, rest = builder.udiv(n, I64(LANES)), builder.urem(n, I64(LANES))
        mask, narrow = memory.first(rest), builder.icmp_unsigned("==", whole, I64(0))

        def at(offset: Any, row: Any, stride: Any) -> Any:
            return builder.add(offset, builder.mul(row, stride))

        def rows(*constant: bool | None) -> None:
            """The loop for operands that are constant along a row, or contiguous, or neither (None)."""
            if operands == 1 or constant not in WAYS[2][:2]:  # the rest is rare: less code loads faster
                wide(builder, m, *constant)
                return
            groups = builder.select(narrow, builder.udiv(m, I64(AT_ONCE)), I64(0))
            with cgutils.for_range(builder, groups, intp=I64) as group:
                first = builder.mul(group.index, I64(AT_ONCE))
                several = [builder.add(first, I64(r)) for r in range(AT_ONCE)]
                results = [result(I64(0), rest, mask, starts(row, constant), constant) for row in several]
                for row, value in zip(several, results, strict=True):
                    memory.store(at(o, row, o_row), value, mask)
            wide(builder, m, *constant, first=builder.mul(groups, I64(AT_ONCE)))

        def starts(row: Any, constant: Any) -> list[tuple[Any, Any]]:
            """Where a row of each operand begins, and its one number if it is constant."""
            begin = [at(a, row, stride) for a, stride, _ in sources]
            return [
                (a, splat(builder, builder.load(memory.pointer(a)), VECTOR) if one else None)
                for a, one in zip(begin, constant, strict=True)
            ]

        def result(j: Any, count: Any, mask: Any, begin: Any, constant: Any) -> Any:
            """What the expression gives from column `j` of a row on."""
            loaded = []
            for (a, value), (_, _, step), one in zip(begin, sources, constant, strict=True):
                if one is None:
                    value = memory.apart(at(a, j, step), step, count)
                loaded.append(Vector(builder, value or memory.load(builder.add(a, j), mask)))
            return expression(*loaded).value

        def wide(builder: Any, m: Any, *constant: bool | None, first: Any = NOUGHT) -> None:
            """Row by row from the first on, and along each sixteen columns at a time."""
            with cgutils.for_range_slice(builder, first, m, I64(1), intp=I64) as (row, _):
                begin, into = starts(row, constant), at(o, row, o_row)
                with cgutils.for_range(builder, whole, intp=I64) as part:
                    j = builder.mul(part.index, I64(LANES))
                    memory.store(builder.add(into, j), result(j, I64(LANES), None, begin, constant), None)
                with builder.if_then(builder.icmp_unsigned("!=", rest, I64(0))):
                    j = builder.mul(whole, I64(LANES))
                    memory.store(builder.add(into, j), result(j, rest, mask, begin, constant), mask)

        def choose(*ways: tuple[bool, ...]) -> None:
            """The first of the ways that fits the operands' steps, else the one that always does."""
            if not ways:
                rows(*[None] * operands)
                return
            fits = [
                builder.icmp_unsigned("==", step, I64(0 if one else 1))
                for (_, _, step), one in zip(sources, ways[0], strict=True)
            ]
            with builder.if_else(functools.reduce(builder.and_, fits)) as (yes, no):
                with yes:
                    rows(*ways[0])
                with no:
                    choose(*ways[1:])

        choose(*WAYS[operands])
        return target.get_dummy_value()

    if operands == 1:

        @intrinsic
        def unary(context: Any, array: Any, o: Any, o_row: Any, a: Any, a_row: Any, a_step: Any, m: Any, n: Any) -> Any:  # fmt: skip  # noqa: E501
            return types.void(array, *[types.uint64] * 7), code

        return unary

    @intrinsic
    def binary(
        context: Any, array: Any, o: Any, o_row: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_row: Any, b_step: Any,
        m: Any, n: Any,
    ) -> Any:  # fmt: skip
        return types.void(array, *[types.uint64] * 10), code

    return binary


@intrinsic
def call_loop(context: Any, array: Any, tape: Any, row: Any, address: Any) -> Any:
    """Call a compiled loop (`fused.py`) with the array's base and the words of a row, from the third on."""

    def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = base_of(target, builder, signature, arguments[0])
        tape = target.make_array(signature.args[1])(target, builder, arguments[1])
        words = builder.gep(tape.data, [builder.add(builder.mul(arguments[2], I64(16)), I64(3))])
        kind = ir.FunctionType(ir.VoidType(), [base.type, words.type]).as_pointer()
        builder.call(builder.inttoptr(arguments[3], kind), [base, words])
        return target.get_dummy_value()

    return types.void(array, tape, types.uint64, types.uint64), code


@intrinsic
def prefetch(context: Any, array: Any, offset: Any, lines: Any) -> Any:
    """Ask for cache lines from an element on, to be there when they are read."""

    def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, (offset, lines) = base_of(target, builder, signature, arguments[0]), arguments[1:]
        kinds = [ir.IntType(8).as_pointer(), I32, I32, I32]
        fetch = declared(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
        with cgutils.for_range(builder, lines, intp=I64) as line:
            at = builder.gep(base, [builder.add(offset, builder.mul(line.index, I64(LINE)))])
            read, kept, data = I32(0), I32(3), I32(1)
            builder.call(fetch, [builder.bitcast(at, kinds[0]), read, kept, data])
        return target.get_dummy_value()

    return types.void(array, types.uint64, types.uint64), code
