"""Products of matrices as instructions: small ones where they lie, large ones in packed panels."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_lesson.run.elements import elementwise
from tinygrad_lesson.run.operands import FLOATS, WORD, Memory, Operand, Row
from tinygrad_lesson.run.panels import LONGEST_SUM, large_product, with_dense_rows
from tinygrad_lesson.run.tape import products
from tinygrad_lesson.run.tape.machine import address

LARGEST_PRODUCT = 64**3  # multiplications; above it packing pays


def product(
    memory: Memory, x: Operand, w: Operand, o: Operand, starts: Sequence[Operand] = ()
) -> list[Row] | None:
    """``o = x @ w``, plus each of `starts`, in every row if it is a vector."""
    (m, k), n = x.shape, w.shape[1]
    kinds = {v.kind for v in (x, w, o, *starts)}
    if len(kinds) != 1 or o.kind not in FLOATS:
        return None
    if m * k * n > LARGEST_PRODUCT:
        return large_product(memory, x, w, o, starts)
    if n != 1 and (w.itemsize not in w.strides or o.strides[1] != o.itemsize):
        return None
    before, w = ([], w) if w.strides[1] == w.itemsize or n == 1 else with_dense_rows(memory, w)
    begin = [word for v in starts for word in (v.offset, v.strides[0] if len(v.shape) == 2 else 0)]
    rows, size = list(before), o.itemsize
    for first in range(0, k, LONGEST_SUM):  # a long sum loses small numbers: parts of it, which are added up
        last = first + LONGEST_SUM >= k
        of_x, of_w = ((v.offset + first * s) % WORD for v, s in ((x, x.strides[1]), (w, w.strides[0])))
        to = (o.offset, o.strides[0])
        if not last or first:
            part = memory.scratch(2, m, n, kind=o.kind)
            begin = [] if first else begin
            to = (part.offset + (m * n * size if first else 0), n * size)
        kernel = address(products.product, o.kind, len(begin) // 2)
        rows.append(
            [kernel, of_x, *x.strides, of_w, w.strides[0], *to, *begin, m, min(LONGEST_SUM, k - first), n]
        )
        if first:
            sum_so_far, new = (
                Operand(part.offset + i * m * n * size, (m, n), (n * size, size), o.kind) for i in (0, 1)
            )
            rows += elementwise("add")(memory, None, [sum_so_far, new], o if last else sum_so_far) or []
    return rows
