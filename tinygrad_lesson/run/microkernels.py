"""Loops over panels of sixteen columns: products of small matrices, and normalization."""

import functools
import math
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinygrad_lesson.run.simd import (
    F32,
    I64,
    LANES,
    NOUGHT,
    VECTOR,
    Contracted,
    Memory,
    base_of,
    splat,
    where,
)

BLOCK = 128  # rows that are added up before they join a total


def block_product(rows: int) -> Any:
    """An intrinsic for ``o[r, :] = start[r, :] + sum_k x[r, k] * w[k, :]`` with a fixed number of rows, or relu of it.

    Its arguments are offsets into one float32 array and strides between rows (and of x along k); `lanes`
    columns are computed, and `start` counts for its first `start_lanes` columns (0: start from zero). One block of
    rows times one panel of up to 16 columns stays in registers over the whole inner loop.
    """

    @intrinsic
    def product(
        context: Any, array: Any, x: Any, x_row: Any, x_step: Any, w: Any, w_step: Any, o: Any, o_row: Any,
        start: Any, start_row: Any, start_lanes: Any, steps: Any, lanes: Any, positive: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(array, *[types.uint64] * 13)

        def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, x_row, x_step, w, w_step, o, o_row, start, start_row, start_lanes, steps, lanes, cut = (
                arguments[1:]
            )
            memory = Memory(builder, base_of(target, builder, signature, arguments[0]))
            mask, started = memory.first(lanes), memory.first(start_lanes)
            sums = [builder.alloca(VECTOR) for _ in range(rows)]

            def row(offset: Any, stride: Any, r: int) -> Any:
                return builder.add(offset, builder.mul(I64(r), stride))

            for r, total in enumerate(sums):
                builder.store(memory.load(row(start, start_row, r), started), total)
            with cgutils.for_range(builder, steps, intp=I64) as loop:
                weights = memory.load(builder.add(w, builder.mul(loop.index, w_step)), mask)
                along = builder.mul(loop.index, x_step)
                for r, total in enumerate(sums):
                    factor = builder.load(memory.pointer(builder.add(row(x, x_row, r), along)))
                    term = builder.fmul(splat(builder, factor, VECTOR), weights, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            floor = floor_of(builder, cut)
            for r, total in enumerate(sums):
                memory.store(
                    row(o, o_row, r), cut_below(floor, Contracted(builder, builder.load(total))).value, mask
                )
            return target.get_dummy_value()

        return signature, code

    return product


product5 = block_product(5)
product1 = block_product(1)


def floor_of(builder: Any, positive: Any) -> Contracted:
    """Below which results are cut: 0 where the positive part is wanted, else nothing is."""
    cut = builder.icmp_unsigned("!=", positive, NOUGHT)
    return Contracted(builder, splat(builder, builder.select(cut, F32(0.0), F32(-math.inf)), VECTOR))


def cut_below(floor: Contracted, v: Contracted) -> Contracted:
    """The larger of two, `floor` if they are equal (0 and -0, too), or the NaN that `v` holds."""
    return where(v <= floor, floor, v)


def squared_distance(center: Contracted, v: Contracted) -> Contracted:
    """Of each lane."""
    return (v - center) * (v - center)


@intrinsic
def normalized_columns(
    context: Any, array: Any, x: Any, gamma: Any, beta: Any, mean: Any, inverse: Any, o: Any, new_mean: Any,
    new_var: Any, settings: Any, is_train: Any, fixed: Any, positive: Any, m: Any, n: Any, old_mean: Any, old_var: Any,
) -> Any:  # fmt: skip
    """`BatchNorm` of x (m, n) along its columns, or relu of it; `settings` are epsilon and momentum."""

    def code(target: Any, b: Any, signature: Any, arguments: Any) -> Any:
        x, gamma, beta, mean, inverse, o, new_mean, new_var, settings, is_train, fixed, cut, m, n, *old = (
            arguments[1:]
        )
        memory = Memory(b, base_of(target, b, signature, arguments[0]))
        eps, momentum = (
            Contracted(b, splat(b, b.load(memory.pointer(b.add(settings, I64(i)))), VECTOR)) for i in (0, 1)
        )
        count = Contracted(b, splat(b, b.uitofp(m, F32), VECTOR))
        panels = b.udiv(b.add(n, I64(LANES - 1)), I64(LANES))
        total, lost, part, mean_place, var_place = (cgutils.alloca_once(b, VECTOR) for _ in range(5))

        with cgutils.for_range(b, panels, intp=I64) as panel:
            j = b.mul(panel.index, I64(LANES))
            mask = memory.first(b.sub(n, j))

            def read(offset: Any, row: Any = NOUGHT, j: Any = j, mask: Any = mask) -> Contracted:
                return Contracted(b, memory.load(b.add(b.add(offset, b.mul(row, n)), j), mask))

            def write(
                offset: Any, value: Contracted, row: Any = NOUGHT, j: Any = j, mask: Any = mask
            ) -> None:
                memory.store(b.add(b.add(offset, b.mul(row, n)), j), value.value, mask)

            def average(term: Callable[[Contracted], Contracted], read: Any = read) -> Contracted:
                """The mean over the rows; what rounding takes from a total is given to the next (Kahan 1965)."""
                for place in (total, lost):
                    b.store(memory.zero, place)
                with cgutils.for_range(b, b.udiv(b.add(m, I64(BLOCK - 1)), I64(BLOCK)), intp=I64) as block:
                    first = b.mul(block.index, I64(BLOCK))
                    left = b.sub(m, first)
                    some = b.select(b.icmp_unsigned("<", left, I64(BLOCK)), left, I64(BLOCK))
                    b.store(memory.zero, part)
                    with cgutils.for_range(b, some, intp=I64) as row:
                        value = term(read(x, b.add(first, row.index)))
                        b.store((Contracted(b, b.load(part)) + value).value, part)
                    before, more = (
                        Contracted(b, b.load(total)),
                        Contracted(b, b.load(part)) - Contracted(b, b.load(lost)),
                    )
                    b.store((before + more).value, total)
                    b.store((Contracted(b, b.load(total)) - before - more).value, lost)
                return Contracted(b, b.load(total)) / count

            with b.if_else(b.icmp_unsigned("!=", is_train, I64(0))) as (train, predict):
                with train:
                    center = average(lambda v: v)
                    spread = average(functools.partial(squared_distance, center))
                    for place, value in ((mean_place, center), (var_place, spread)):
                        b.store(value.value, place)
                    for new, before, value in ((new_mean, old[0], center), (new_var, old[1], spread)):
                        write(new, read(before) * momentum + value * (1.0 - momentum))
                with predict:
                    for new, before, place in ((new_mean, old[0], mean_place), (new_var, old[1], var_place)):
                        b.store(read(before).value, place)
                        write(new, read(before))
            center, spread = Contracted(b, b.load(mean_place)), Contracted(b, b.load(var_place))
            deviation = (spread + eps).called("sqrt")
            ones = 1.0 / deviation
            write(mean, center)
            write(inverse, ones)
            learnt = b.select(
                b.icmp_unsigned("!=", fixed, I64(0)), ones.value, (read(gamma) / deviation).value
            )
            scale, shift, floor = Contracted(b, learnt), read(beta), floor_of(b, cut)
            with cgutils.for_range(b, m, intp=I64) as row:
                value = (read(x, row.index) - center) * scale + shift
                write(o, cut_below(floor, value), row.index)
        return target.get_dummy_value()

    return types.void(array, *[types.uint64] * 16), code
