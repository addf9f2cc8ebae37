"""Calls as instructions of the interpreter: an encoder for each NumPy function that has a kernel."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.shapes import reduced_axes, show
from tinygrad_lesson.plan.trace import Call, NotTraceableError, Ref, Trace, numbers_in
from tinygrad_lesson.run.interpreter import CODES
from tinygrad_lesson.run.operands import (
    WORD,
    Memory,
    Operand,
    Row,
    apart,
    contiguous,
    in_elements,
)

Encoder = Callable[..., "list[Row] | None"]
NUMBERS = (bool, int, float, np.float32)  # types of numbers that leave a result in float32
LARGEST_PRODUCT = 64**3  # multiplications; above it BLAS is faster
LONGEST_SUM = 512  # products that are added up one after the other


def spread(x: Operand, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of `x` broadcast to `shape`."""
    padded = (0,) * (len(shape) - len(x.shape)) + x.strides
    sizes = (1,) * (len(shape) - len(x.shape)) + x.shape
    return tuple(0 if n == 1 else s for n, s in zip(sizes, padded, strict=True))


def as_matrix(
    shape: tuple[int, ...], *strides: tuple[int, ...]
) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Rows, columns and strides of loops over `shape`; None if two loops are not enough."""
    axes: list[tuple[int, list[int]]] = []  # (size, stride of each operand), outermost first
    for a, n in enumerate(shape):
        if n == 1:
            continue
        mine = [s[a] for s in strides]
        if axes and all(outer == inner * n % WORD for outer, inner in zip(axes[-1][1], mine, strict=True)):
            axes[-1] = (axes[-1][0] * n, mine)
        else:
            axes.append((n, mine))
    if len(axes) > 2:
        return None
    while len(axes) < 2:
        axes.insert(0, (1, [0] * len(strides)))
    (m, rows), (n, steps) = axes
    return m, n, list(zip(rows, steps, strict=True))


def elementwise(name: str) -> Callable[..., list[Row] | None]:
    """An instruction that treats each element alike."""

    def encode(memory: Memory, what: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
        if contiguous(target) and all(x[1:] == target[1:] for x in sources):
            one_row = [word for x in sources for word in (x.offset, 0, 1)]
            return [[CODES[name], target.offset, 0, *one_row, 1, math.prod(target.shape)]]
        loops = as_matrix(target.shape, target.strides, *(spread(x, target.shape) for x in sources))
        if loops is None or (loops[2][0][1] != 1 and loops[1] != 1):
            return None
        m, n, (to, *others) = loops
        row = [CODES[name], target.offset, to[0]]
        for x, strides in zip(sources, others, strict=True):
            row += [x.offset, *strides]
        return [[*row, m, n]]

    return encode


def rows_of(memory: Memory, w: Operand) -> tuple[list[Row], Operand] | None:
    """A matrix with contiguous rows: `w` itself, or a copy that instructions make of its transpose."""
    k, n = w.shape
    if w.strides[1] == 1 or n == 1:
        return [], w
    if w.strides[0] != 1:
        return None
    copy = memory.scratch(k, n)
    return [[CODES["transposed"], w.offset, w.strides[1], copy.offset, n, k]], copy


def product(memory: Memory, x: Operand, w: Operand, o: Operand, start: Operand | None) -> list[Row] | None:
    """``o = x @ w``, plus `start`, in every row if it is a vector."""
    (m, k), n = x.shape, w.shape[1]
    packed = rows_of(memory, w)
    if m * k * n > LARGEST_PRODUCT or packed is None or (o.strides[1] != 1 and n != 1):
        return None
    before, w = packed
    begin = [o.offset, 0, 0]
    if start is not None:  # a bias, the same for every row, or a matrix
        begin = [start.offset, start.strides[0] if len(start.shape) == 2 else 0, 1]
    if k > LONGEST_SUM and (m == 1 or o.strides[0] == n):
        parts = memory.temporary(-(-k // LONGEST_SUM), m * n)
        before, begin = [*before, *partial_products(x, w, parts, begin)], [0, 0, 0]
        x, w = memory.ones_before(parts), parts
        o, m, k, n = Operand(o.offset, (1, m * n), (m * n, 1)), 1, parts.shape[0], m * n
    at = [x.offset, *x.strides, w.offset, w.strides[0], o.offset, o.strides[0], *begin]
    return [*before, [CODES["product"], *at, m, k, n]]


def partial_products(x: Operand, w: Operand, parts: Operand, begin: list[int]) -> list[Row]:
    """``x @ w`` in parts along the inner axis, a row of `parts` for each: a long sum loses small numbers."""
    (m, k), n, rows = x.shape, w.shape[1], []
    for i, first in enumerate(range(0, k, LONGEST_SUM)):
        of_x, of_w = ((v.offset + first * step) % WORD for v, step in ((x, x.strides[1]), (w, w.strides[0])))
        at = [of_x, *x.strides, of_w, w.strides[0], parts.offset + i * m * n, n, *([0, 0, 0] if i else begin)]
        rows.append([CODES["product"], *at, m, min(LONGEST_SUM, k - first), n])
    return rows


def matmul(memory: Memory, call: Call, factors: Sequence[Any], target: Operand) -> list[Row] | None:
    """A product of two matrices."""
    if call.named or any(not isinstance(x, Operand) or len(x.shape) != 2 for x in factors):
        return None
    a, b = factors
    return product(memory, a, b, target, None)


def total(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """A sum over all elements, down the columns, or along the rows."""
    x, rank, named = operands[0], len(operands[0].shape), dict(call.named)
    axis = call.inputs[1] if len(operands) > 1 else named.get("axis", 0)
    if not contiguous(target) or len(operands) > 2 or named.keys() - {"axis", "keepdims"}:
        return None
    axes = reduced_axes(rank, axis)
    if len(axes) == rank and contiguous(x):
        size = int(np.prod(x.shape, dtype=int))
        return [[CODES["row_sums"], x.offset, 0, 1, target.offset, 1, size]]
    if rank == 2 and axes == (0,) and (x.strides[1] == 1 or x.shape[1] == 1):
        row = Operand(target.offset, (1, x.shape[1]), (x.shape[1], 1))
        return product(memory, memory.ones_before(x), x, row, None)
    if rank == 2 and axes == (1,):
        return [[CODES["row_sums"], x.offset, *x.strides, target.offset, *x.shape]]
    return None


def full(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """One number everywhere, which the call gives or its name says."""
    number = {"zeros": 0.0, "ones": 1.0}.get(call.name)
    value = (*operands, None)[1] if number is None else memory.operand(number)
    if not isinstance(value, Operand) or not contiguous(target):
        return None
    return [[CODES["filled"], target.offset, value.offset, math.prod(target.shape)]]


def clipped(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """What is between two numbers, of which one may be None."""
    x, *bounds = operands
    if call.named or len(bounds) != 2 or any(isinstance(bound, Ref) for bound in call.inputs[1:]):
        return None
    rows: list[Row] = []
    for kernel, bound in zip(("maximum", "minimum"), bounds, strict=True):
        row = [] if bound is None else elementwise(kernel)(memory, call, [x, bound], target)
        if row is None:
            return None
        x, rows = target if row else x, [*rows, *row]
    return rows or None


def pieces(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """Arrays one after the other: a copy for each."""
    rows: list[Row] = []
    (sources,), named = operands[:1], dict(call.named)
    axis = call.inputs[1] if len(operands) > 1 else named.get("axis", 0)
    if axis is None or named.keys() - {"axis"} or not all(isinstance(x, Operand) for x in sources):
        return None
    start, axis = 0, axis % len(target.shape)
    for x in sources:
        part = Operand((target.offset + start * target.strides[axis]) % WORD, x.shape, target.strides)
        copy = elementwise("copy")(memory, call, [x], part)
        if copy is None:
            return None
        rows += copy
        start += x.shape[axis]
    return rows


def by_element(kernel: str) -> Encoder:
    """The encoder of an elementwise function."""
    encode = elementwise(kernel)

    def encode_call(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
        sources = elementwise_inputs(call, operands)
        fits = sources is not None and {*map(type, sources)} == {Operand}
        return encode(memory, call, sources, target) if fits else None

    return encode_call


def elementwise_inputs(call: Call, operands: Sequence[Any]) -> Sequence[Any] | None:
    """What an elementwise call reads; None if it does more than that."""
    if call.part is not None or (call.named and any(key != "casting" for key, _ in call.named)):
        return None
    return operands[1:] if call.name == "copyto" else operands


# Elementwise functions, each with its kernel.
KERNELS = {"absolute": "abs", "positive": "copy", "copyto": "copy"} | {
    name: name
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "negative", "square", "sqrt", "sign",
                 "exp", "log", "tanh", "log1p", "copy")
}  # fmt: skip
# One row per function. An encoder takes the memory, the call, its operands as they stand in the call, the target; it
# gives instructions, or None for what they cannot do.
CALLS: dict[str, Encoder] = {name: by_element(kernel) for name, kernel in KERNELS.items()} | {
    "matmul": matmul, "dot": matmul, "add.reduce": total, "full": full, "zeros": full, "ones": full,
    "clip": clipped, "concatenate": pieces,
}  # fmt: skip


def encode_trace(memory: Memory, made: Trace, given: Sequence[Operand]) -> list[Row]:
    """Instructions for the calls of a trace on these operands, sources and then targets.

    Errors
        NotTraceableError naming the call for which there are none.
    """
    values: list[Operand | None] = list(given)
    for n in range(len(given), len(made.values)):
        spec, (root, start) = made.values[n], made.roots[n]
        x = values[root] if root != n else memory.value(spec, n - len(given))
        if x is not None and root != n:
            x = Operand((x.offset + start // 4) % WORD, spec.shape, in_elements(spec))
        values.append(x)
    rows: list[Row] = []
    for call in made.calls:
        if not call.view:
            rows += encode_call(memory, made, call, values)
    return rows


def encode_call(memory: Memory, made: Trace, call: Call, values: Sequence[Operand | None]) -> list[Row]:
    """Instructions for one call."""
    encoder, target = CALLS.get(call.name), values[call.out]
    touched = numbers_in(call.inputs)
    if encoder is None or target is None or None in [values[n] for n in touched]:
        types = sorted({made.values[n].dtype.name for n in (*touched, call.out)} - {"float32"})
        raise NotTraceableError(f"np.{call.name} has no instruction{''.join(f' for {t}' for t in types)}")
    root = made.roots[call.out][0]
    for x in [values[n] for n in touched if made.roots[n][0] == root]:
        if not (x == target and call.name in KERNELS) and not apart(x, target):  # type: ignore[arg-type]
            raise NotTraceableError(f"np.{call.name} writes over what it reads")
    operands = [resolved(memory, x, values) for x in call.inputs]
    rows = encoder(memory, call, operands, target) if 0 not in target.shape else None
    if rows is None:
        shapes = " ".join([show(made.values[n].shape) for n in touched])
        raise NotTraceableError(f"np.{call.name} of {shapes} has no instruction")
    return rows


def resolved(memory: Memory, x: Any, values: Sequence[Operand | None]) -> Any:
    """What stands in a call, values and numbers as operands."""
    if type(x) is Ref:
        return values[x.number]
    if type(x) is tuple:
        return tuple([values[part.number] if type(part) is Ref else part for part in x])
    return memory.operand(x) if type(x) in NUMBERS else x
