"""Calls as instructions: an encoder for each NumPy function that has a kernel."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.trace import Call, Ref, Trace, numbers_in
from tinygrad_lesson.run.calls import function_of
from tinygrad_lesson.run.elements import ENOUGH, elementwise, loops_over, repeated
from tinygrad_lesson.run.folds import reduction, running
from tinygrad_lesson.run.operands import (
    FLOATS,
    KINDS,
    WORD,
    Encoder,
    Memory,
    Operand,
    Row,
    apart,
    contiguous,
    kind_of,
    signed,
    spread,
)
from tinygrad_lesson.run.products import product
from tinygrad_lesson.run.segment import side_by_side
from tinygrad_lesson.run.tape import loops, reductions
from tinygrad_lesson.run.tape.expressions import ANSWERS, EXPRESSIONS, FLOATS_ONLY, OF_OPS, is_choice
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.tape.vector import lanes_of
from tinygrad_lesson.run.threads import shares


def matmul(memory: Memory, call: Call, factors: Sequence[Any], target: Operand) -> list[Row] | None:
    """A product of two matrices, or of two stacks of them."""
    if call.named or any(not isinstance(x, Operand) or len(x.shape) < 2 for x in factors):
        return None
    a, b = factors
    stack = target.shape[:-2]
    if not stack:
        return product(memory, a, b, target)
    if call.name == "dot":
        return None
    before: list[Row] = []
    if b.strides[-1] != b.itemsize and b.shape[-1] > 1:  # rows that are not dense: copied once
        dense = memory.scratch(*b.shape, kind=b.kind)
        before, b = elementwise("positive")(memory, call, [b], dense) or [], dense
    x, w, o = [Operand(x.offset, x.shape[-2:], x.strides[-2:], x.kind) for x in (a, b, target)]
    rows = product(memory, x, w, o)
    if rows is None:
        return None
    rest = [Operand(x.offset, x.shape[:-2], x.strides[:-2], x.kind) for x in (a, b, target)]
    strides = [spread(x, stack) for x in rest]
    if len(rows) == 1:
        return [*before, repeated(rows[0], (1, 4, 6), *loops_over(stack, *strides))]
    for index in itertools.islice(np.ndindex(stack), 1, None):
        beyond = [sum(i * s for i, s in zip(index, by, strict=True)) for by in strides]
        offsets = [(v.offset + at) % WORD for v, at in zip((x, w, o), beyond, strict=True)]
        x_at, w_at, o_at = (v._replace(offset=at) for v, at in zip((x, w, o), offsets, strict=True))
        rows += product(memory, x_at, w_at, o_at) or []
    return before + rows


def full(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """One number everywhere, which the call gives or its name says."""
    number = {"zeros": 0, "ones": 1}.get(call.name.removesuffix("_like"))
    value = (*operands, None)[1] if number is None else number
    if isinstance(value, Operand):
        return elementwise("positive")(memory, call, [value], target)
    if type(value) not in (bool, int, float) or not contiguous(target):
        return None
    value = memory.number(value, target.kind)
    return [[address(loops.filled, target.kind), target.offset, value.offset, target.size]]


def pieces(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """Arrays one after the other, or side by side along a new axis: row by row, or a copy for each."""
    found = placed(call, operands, target)
    if found is None:
        return None
    together = beside(memory, [x for x, _ in found if x.size], target)
    if together is not None:
        return together
    rows = [elementwise("positive")(memory, call, [x], part) or [] for x, part in found if x.size]
    return list(itertools.chain(*rows))


def beside(memory: Memory, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Operands of as many axes side by side along the only one in which they differ from a dense target.

    None where rows are so short that a copy for each is no slower, or where they are not dense.
    """
    differ = [
        a for x in sources for a, (n, m) in enumerate(zip(x.shape, target.shape, strict=True)) if n != m
    ]
    axis = min(differ, default=0)
    m, width = math.prod(target.shape[:axis]), math.prod(target.shape[axis:])
    few = m < 2 or width < len(sources) * lanes_of(target.kind)
    if few or not contiguous(target) or any(x.kind != target.kind for x in sources):
        return None
    parts: list[tuple[int, int, int]] = []
    for x in sources:
        outer = loops_over(x.shape[:axis], x.strides[:axis])
        inner = Operand(x.offset, x.shape[axis:], x.strides[axis:], x.kind)
        if len(outer.sizes) > 1 or not contiguous(inner):
            return None
        parts.append((x.offset, outer.strides[0][0], inner.size))
    rows: list[Row] = []
    for first, last in shares(m, 1, target.size, ENOUGH):
        words = [word for at, by, n in parts for word in ((at + first * by) % WORD, by, n)]
        o = (target.offset + first * width * target.itemsize) % WORD
        rows.append([address(loops.beside, target.kind), o, last - first, len(parts), *words])
    return side_by_side(memory, rows)


def placed(call: Call, operands: Sequence[Any], target: Operand) -> list[tuple[Operand, Operand]] | None:
    """Each of the arrays that a call puts beside each other, and the part of the target that it becomes."""
    (sources,), named = operands[:1], dict(call.named)
    axis = call.inputs[1] if len(operands) > 1 else named.get("axis", 0)
    if axis is None or named.keys() - {"axis"} or not all(isinstance(x, Operand) for x in sources):
        return None
    found, start, axis = list[tuple[Operand, Operand]](), 0, axis % len(target.shape)
    for x in sources:
        if call.name == "stack":
            shape, strides = ((*v[:axis], n, *v[axis:]) for v, n in ((x.shape, 1), (x.strides, 0)))
            x = x._replace(shape=shape, strides=strides)
        part = target._replace(offset=(target.offset + start * target.strides[axis]) % WORD, shape=x.shape)
        found.append((x, part))
        start += x.shape[axis]
    return found


def moved(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """Elements of one array in other places, which are known beforehand: what the call makes of their offsets."""
    arrays = [x for x in operands if isinstance(x, Operand)]
    if len(arrays) != 1 or not contiguous(target) or arrays[0].kind != target.kind or moves_constants(call):
        return None
    (x,) = arrays
    places = np.zeros(x.shape, np.int64)
    for a, (n, stride) in enumerate(zip(x.shape, x.strides, strict=True)):
        places += np.arange(n).reshape(-1, *[1] * (len(x.shape) - a - 1)) * signed(stride)
    try:
        table = function_of(call.name)(*[places if v is x else v for v in operands], **dict(call.named))
    except (TypeError, ValueError, IndexError):
        return None
    table = np.asarray(table if call.part is None else table[call.part])
    if table.size != target.size:
        return None
    return [[address(loops.taken, x.kind), target.offset, x.offset, memory.keep(table), target.size]]


def moves_constants(call: Call) -> bool:
    """Whether more than elements of the array comes out: a `pad` may fill with a number, or with means."""
    modes = ("edge", "reflect", "symmetric", "wrap")
    return call.name == "pad" and (*call.inputs[2:3], dict(call.named).get("mode"))[0] not in modes


def padded(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
    """Numbers around an array: the number everywhere, then the array; or elements of its own around it."""
    if not moves_constants(call):
        return moved(memory, call, operands, target)
    x, named = operands[0], dict(call.named)
    mode = (*call.inputs[2:3], named.get("mode", "constant"))[0]
    value = named.get("constant_values", 0)
    if (
        mode != "constant"
        or type(value) not in (int, float)
        or x.kind != target.kind
        or not contiguous(target)
    ):
        return None
    pairs = np.broadcast_to(np.asarray(operands[1]), (len(x.shape), 2)).tolist()
    number = memory.number(value, target.kind)
    found = framed(memory, x, pairs, value, target)
    if found is not None:
        return found
    start = sum(n * s for (n, _), s in zip(pairs, target.strides, strict=True))
    inner = Operand((target.offset + start) % WORD, x.shape, target.strides, target.kind)
    rows: list[Row] = [[address(loops.filled, target.kind), target.offset, number.offset, target.size]]
    return rows + (elementwise("positive")(memory, call, [x], inner) or [])


def framed(
    memory: Memory, x: Operand, pairs: Sequence[Sequence[int]], value: float, target: Operand
) -> list[Row] | None:
    """An array in a frame of one number, written from the first element to the last.

    None where there are rows of several frames, or rows are short.
    """
    axes, kind = [a for a, pair in enumerate(pairs) if any(pair)], target.kind
    if not axes:
        return elementwise("positive")(memory, None, [x], target)
    axis = axes[0]
    (before, after), by = pairs[axis], target.strides[axis]
    if math.prod(target.shape[:axis]) == 1:
        shape = (*target.shape[:axis], x.shape[axis], *target.shape[axis + 1 :])
        middle = target._replace(offset=(target.offset + before * by) % WORD, shape=shape)
        rest = framed(memory, x, [*[(0, 0)] * (axis + 1), *pairs[axis + 1 :]], value, middle)
        end = (middle.offset + x.shape[axis] * by) % WORD
        filled, number = address(loops.filled, kind), memory.number(value, kind).offset
        margins = [(at, n) for at, n in ((target.offset, before), (end, after)) if n]
        rows: list[Row] = [[filled, at, number, n * by // x.itemsize] for at, n in margins]
        return None if rest is None else rows + rest
    if len(axes) > 1:
        return None
    sides = []
    for n in (before, after):
        side = memory.temporary(n, *target.shape[axis + 1 :], kind=kind)
        memory.kept[-1][...] = value
        shape = (*target.shape[:axis], *side.shape)
        sides.append(Operand(side.offset, shape, (0,) * axis + side.strides, kind))
    return beside(memory, [v for v in (sides[0], x, sides[1]) if v.size], target)


def by_element(name: str) -> Encoder:
    """The encoder of an elementwise function."""

    def encode_call(memory: Memory, call: Call, operands: Sequence[Any], target: Operand) -> list[Row] | None:
        sources = elementwise_inputs(call, operands)
        inside = dict(call.named).get("dtype")
        return None if sources is None else of_elements(memory, name, sources, target, inside)

    return encode_call


def elementwise_inputs(call: Call, operands: Sequence[Any]) -> Sequence[Any] | None:
    """What an elementwise call reads; None if it does more than that."""
    if call.part is not None or (
        call.named and any(key not in ("casting", "dtype") for key, _ in call.named)
    ):
        return None
    return operands[1:] if call.name == "copyto" else operands


def of_elements(
    memory: Memory, name: str, inputs: Sequence[Any], target: Operand, inside: Any = None
) -> list[Row] | None:
    """Instructions for arrays and numbers: converted to the type that NumPy computes in, then the function."""
    name, inputs = as_numpy_does(name, inputs)
    types = [x.kind if isinstance(x, Operand) else x for x in inputs]
    common = common_kind(name, types, target.kind, inside)
    if common is None:
        return None
    sources = [
        x if isinstance(x, Operand) else memory.number(x, "bool" if is_choice(name, i) else common)
        for i, x in enumerate(inputs)
    ]
    return elementwise(name, common)(memory, None, sources, target)


def as_numpy_does(name: str, inputs: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Powers by 2 and by 0.5 as NumPy computes them: as a square and as a root, of -0 and minus infinity too.

    A bound that is None is no bound.
    """
    known = {2: "square", 0.5: "sqrt"} if name == "power" and type(inputs[1]) in (int, float) else {}
    if known and inputs[1] in known:
        return known[inputs[1]], inputs[:1]
    if name == "clip" and len(inputs) == 3 and None in inputs[1:]:
        x, low, high = inputs
        return ("minimum", (x, high)) if low is None else ("maximum", (x, low))
    return name, inputs


def common_kind(name: str, inputs: Sequence[Any], target: str, inside: Any = None) -> str | None:
    """The element type that NumPy computes in; None where no kernel does. Numbers adapt to the types of arrays.

    `inputs` are types and numbers, `inside` is the type that the call asks for.
    """
    inputs = [x for i, x in enumerate(inputs) if not is_choice(name, i)]
    if inside is not None and name != "positive":
        inputs = [np.dtype(inside).name]
    if not all(isinstance(x, str | bool | int | float | np.generic) for x in inputs):
        return None
    common = np.result_type(*[np.dtype(x) if type(x) is str else x for x in inputs]).name
    if name == "positive":
        return common if common in KINDS else None
    if common in FLOATS:
        return common if not (name in ANSWERS and target != "bool") else None
    known = common in KINDS and (common != "bool" or name in (*ANSWERS, "where"))
    return common if known and name not in FLOATS_ONLY else None


# Functions that have another name where they are emitted.
KERNELS = {"copyto": "positive", "copy": "positive"} | {
    name: name for name in EXPRESSIONS if name not in OF_OPS
}
# One row per function. An encoder takes the memory, the call, its operands as they stand in the call, the target; it
# gives instructions, or None for what they cannot do.
CALLS: dict[str, Encoder] = {name: by_element(kernel) for name, kernel in KERNELS.items()} | {
    f"{name}.reduce": reduction(name) for name in reductions.FOLDS
} | {
    "matmul": matmul, "dot": matmul, "full": full, "zeros": full, "ones": full, "zeros_like": full, "ones_like": full,
    "full_like": full, "concatenate": pieces, "stack": pieces, "pad": padded, "[]": moved,
    "reshape": moved, "repeat": moved, "tile": moved, "roll": moved, "ravel": moved,
    "take": moved, "cumsum": running("add"), "cumprod": running("multiply"),
}  # fmt: skip


def encode_trace(memory: Memory, made: Trace, given: Sequence[Operand]) -> list[Row]:
    """Instructions for the calls of a trace on these operands, sources and then targets.

    Errors
        NotTraceableError naming the call for which there are none.
    """
    known = constants(made, len(given))
    values: list[Operand | None] = list(given)
    for n in range(len(given), len(made.values)):
        spec, (root, start) = made.values[n], made.roots[n]
        if n in known:
            memory.kept.append(known[n])
            x = memory.operand(known[n])
        elif root == n:
            x = memory.value(spec, n - len(given))
        else:
            x = values[root]
            strides = tuple([s % WORD for s in spec.strides])
            x = x and Operand((x.offset + start) % WORD, spec.shape, strides, x.kind)
            x = x if x and kind_of(spec.dtype) == x.kind else None
        values.append(x)
    rows: list[Row] = []
    for call in made.calls:
        if not call.view and call.out not in known:
            rows += encode_call(memory, made, call, values, known)
    return rows


def constants(made: Trace, given: int) -> dict[int, np.ndarray]:
    """The values of a trace that depend on no array and are written once, or are views of such: made now."""
    writes = Counter([made.roots[call.out][0] for call in made.calls if not call.view])
    known: dict[int, np.ndarray] = {}
    for call in made.calls:
        touched = numbers_in(call.inputs)
        settled = (
            call.name in CONSTANTS and not touched if not call.view else all(n in known for n in touched)
        )
        if settled and call.out >= given and writes[made.roots[call.out][0]] == 1:
            inputs = [known[x.number] if isinstance(x, Ref) else x for x in call.inputs]
            found = function_of(call.name)(*inputs, **dict(call.named))
            known[call.out] = np.asarray(found if call.part is None else found[call.part])
    return known


def encode_call(
    memory: Memory, made: Trace, call: Call, values: Sequence[Operand | None], known: Mapping[int, np.ndarray]
) -> list[Row]:
    """Instructions for one call."""
    encoder, target = CALLS.get(call.name), values[call.out]
    fixed = known if encoder is moved else {}
    touched = [n for n in numbers_in(call.inputs) if n not in fixed]
    if encoder is None or target is None or None in [values[n] for n in touched]:
        types = sorted(
            {n for n in [made.values[n].dtype.name for n in (*touched, call.out)] if n not in KINDS}
        )
        raise NotTraceableError(f"np.{call.name} has no instruction{''.join(f' for {t}' for t in types)}")
    root = made.roots[call.out][0]
    for x in [values[n] for n in touched if made.roots[n][0] == root]:
        if not (x == target and call.name in KERNELS) and not apart(x, target):  # type: ignore[arg-type]
            raise NotTraceableError(f"np.{call.name} writes over what it reads")
    operands = [resolved(x, values, fixed) for x in call.inputs]
    rows = encoder(memory, call, operands, target) if 0 not in target.shape else []
    if rows is None:
        shapes = " ".join([show(made.values[n].shape) for n in touched])
        raise NotTraceableError(f"np.{call.name} of {shapes} has no instruction")
    return rows


CONSTANTS = {"arange", "array", "asarray", "eye", "identity", "linspace", "tri"}  # of numbers alone


def resolved(x: Any, values: Sequence[Operand | None], known: Mapping[int, np.ndarray]) -> Any:
    """What stands in a call: values as operands, or as the arrays that are known."""
    if type(x) is Ref:
        return known.get(x.number, values[x.number])
    return tuple([resolved(part, values, known) for part in x]) if type(x) is tuple else x
