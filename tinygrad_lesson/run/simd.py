"""Small matrix products in vector registers, as LLVM intermediate code that numba takes in.

One block of rows times one panel of up to 16 columns stays in registers over the whole inner loop.
Lanes beyond the last column are masked off, so no width needs a loop of its own for the rest.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR, MASK = ir.VectorType(F32, LANES), ir.VectorType(ir.IntType(1), LANES)
UNDEFINED = ir.Undefined


def splat(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    """One number in all lanes."""
    undefined = ir.Constant(kind, UNDEFINED)
    first = builder.insert_element(undefined, value, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, LANES), [I32(0)] * LANES))


class Lanes:
    """Masked access to the elements behind an array's base, for the first `count` lanes."""

    def __init__(self, builder: Any, base: Any, count: Any) -> None:
        self.builder, self.base = builder, base
        self.zero = ir.Constant(VECTOR, [F32(0.0)] * LANES)
        self.load_function = self.declare(
            "llvm.masked.load.v16f32.p0", VECTOR, [VECTOR.as_pointer(), I32, MASK, VECTOR]
        )
        self.store_function = self.declare(
            "llvm.masked.store.v16f32.p0", ir.VoidType(), [VECTOR, VECTOR.as_pointer(), I32, MASK]
        )
        self.mask = self.first(count)

    def declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """An LLVM intrinsic, declared once per module."""
        module = self.builder.module
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)

    def first(self, count: Any) -> Any:
        """A mask of the first `count` lanes."""
        wide = ir.VectorType(I64, LANES)
        numbers = ir.Constant(wide, [I64(i) for i in range(LANES)])
        return self.builder.icmp_unsigned("<", numbers, splat(self.builder, count, wide))

    def pointer(self, offset: Any) -> Any:
        """Where element `offset` lies."""
        return self.builder.gep(self.base, [offset])

    def load(self, offset: Any, mask: Any = None) -> Any:
        """Up to 16 elements from `offset` on, zero where masked off."""
        where = self.builder.bitcast(self.pointer(offset), VECTOR.as_pointer())
        return self.builder.call(self.load_function, [where, I32(4), mask or self.mask, self.zero])

    def store(self, offset: Any, value: Any) -> None:
        """Up to 16 elements to `offset` and on."""
        where = self.builder.bitcast(self.pointer(offset), VECTOR.as_pointer())
        self.builder.call(self.store_function, [value, where, I32(4), self.mask])


def block_product(rows: int) -> Any:
    """An intrinsic for ``o[r, :] = start[r, :] + sum_k x[r, k] * w[k, :]`` with a fixed number of rows.

    Its arguments are offsets into one float32 array and strides between rows (and of x along k); `lanes`
    columns are computed, and `start` counts for its first `start_lanes` columns (0: start from zero).
    """

    @intrinsic
    def product(
        context: Any, array: Any, x: Any, x_row: Any, x_step: Any, w: Any, w_step: Any, o: Any, o_row: Any,
        start: Any, start_row: Any, start_lanes: Any, steps: Any, lanes: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(array, *[types.uint64] * 12)

        def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            base = target.make_array(signature.args[0])(target, builder, arguments[0]).data
            x, x_row, x_step, w, w_step, o, o_row, start, start_row, start_lanes, steps, lanes = arguments[1:]
            memory = Lanes(builder, base, lanes)
            started = memory.first(start_lanes)
            sums = [builder.alloca(VECTOR) for _ in range(rows)]

            def row(offset: Any, stride: Any, r: int) -> Any:
                return builder.add(offset, builder.mul(I64(r), stride))

            for r, total in enumerate(sums):
                builder.store(memory.load(row(start, start_row, r), started), total)
            with cgutils.for_range(builder, steps, intp=I64) as loop:
                weights = memory.load(builder.add(w, builder.mul(loop.index, w_step)))
                along = builder.mul(loop.index, x_step)
                for r, total in enumerate(sums):
                    factor = builder.load(memory.pointer(builder.add(row(x, x_row, r), along)))
                    term = builder.fmul(splat(builder, factor, VECTOR), weights, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for r, total in enumerate(sums):
                memory.store(row(o, o_row, r), builder.load(total))
            return target.get_dummy_value()

        return signature, code

    return product


product5 = block_product(5)
product1 = block_product(1)


def narrow_rows(operation: str) -> Any:
    """An intrinsic for ``o[i, :] = a[i, :] operation b[i, :]`` over rows of at most 16 elements."""

    @intrinsic
    def rows(
        context: Any,
        array: Any,
        o: Any,
        o_row: Any,
        a: Any,
        a_row: Any,
        b: Any,
        b_row: Any,
        count: Any,
        lanes: Any,
    ) -> Any:
        def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            base = target.make_array(signature.args[0])(target, builder, arguments[0]).data
            o, o_row, a, a_row, b, b_row, count, lanes = arguments[1:]
            memory = Lanes(builder, base, lanes)

            def at(offset: Any, stride: Any, i: Any) -> Any:
                return builder.add(offset, builder.mul(i, stride))

            with cgutils.for_range(builder, count, intp=I64) as loop:
                left = memory.load(at(a, a_row, loop.index))
                right = memory.load(at(b, b_row, loop.index))
                memory.store(at(o, o_row, loop.index), getattr(builder, operation)(left, right))
            return target.get_dummy_value()

        return types.void(array, *[types.uint64] * 8), code

    return rows


add_rows, subtract_rows = narrow_rows("fadd"), narrow_rows("fsub")
multiply_rows, divide_rows = narrow_rows("fmul"), narrow_rows("fdiv")


@intrinsic
def float_bits(context: Any, x: Any) -> Any:
    """The bits of a float32 as an int32."""
    return types.int32(types.float32), lambda target, builder, signature, a: builder.bitcast(a[0], I32)


@intrinsic
def bits_float(context: Any, x: Any) -> Any:
    """The float32 with these bits."""
    return types.float32(types.int32), lambda target, builder, signature, a: builder.bitcast(a[0], F32)
