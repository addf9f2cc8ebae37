"""NumPy's calls in CUDA C: one table for every kernel, and calls as rows, each a loop over axes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.devices import is_number
from tinygrad_lesson.run.operands import joined_axes, spread

# Expressions of x, y and z, which are of the type T in which NumPy would compute.
OPERATIONS = {
    "add": "x + y", "subtract": "x - y", "multiply": "x * y", "divide": "x / y",
    "maximum": "(x != x || x > y) ? x : y", "minimum": "(x != x || x < y) ? x : y", "negative": "-x",
    "positive": "x", "copyto": "x", "square": "x * x", "reciprocal": "1 / x",
    "sign": "x > 0 ? (T)1 : x < 0 ? (T)-1 : x", "absolute": "fabs(x)",
    "greater": "x > y", "greater_equal": "x >= y", "less": "x < y", "less_equal": "x <= y",
    "equal": "x == y", "not_equal": "x != y", "where": "x != 0 ? y : z", "clip": "x < y ? y : x > z ? z : x",
    "logical_and": "x != 0 && y != 0", "logical_or": "x != 0 || y != 0", "logical_not": "x == 0",
    "logical_xor": "(x != 0) != (y != 0)", "isnan": "x != x", "isfinite": "x - x == 0",
    "isinf": "x == x && x - x != 0", "power": "pow(x, y)", "arctan2": "atan2(x, y)",
    "hypot": "hypot(x, y)", "arcsin": "asin(x)", "arccos": "acos(x)", "arctan": "atan(x)",
    "arcsinh": "asinh(x)", "arccosh": "acosh(x)", "arctanh": "atanh(x)", "fabs": "fabs(x)",
} | {
    name: f"{name}(x)"
    for name in "exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan sinh cosh tanh floor ceil trunc rint".split()  # noqa: SIM905
}  # fmt: skip
WHOLE = {  # those that mean the same for whole numbers and truth values
    "add", "subtract", "multiply", "maximum", "minimum", "negative", "positive", "copyto", "square", "greater",
    "greater_equal", "less", "less_equal", "equal", "not_equal", "where", "clip", "logical_and", "logical_or",
    "logical_not", "logical_xor",
}  # fmt: skip
LOWEST = "(T)-__int_as_float(0x7f800000)"
# name: what it begins with; what each element x (and y) makes of v; what two parts v and x make
INNER = {
    "matmul": ("0", "v + x * y", "v + x"),
    "add.reduce": ("0", "v + x", "v + x"),
    "multiply.reduce": ("1", "v * x", "v * x"),
    "absolute.sum": ("0", "v + fabs(x)", "v + x"),
    "maximum.reduce": (LOWEST, "(v != v || v > x) ? v : x", "(v != v || v > x) ? v : x"),
    "minimum.reduce": (LOWEST.replace("-", ""), "(v != v || v < x) ? v : x", "(v != v || v < x) ? v : x"),
    "logical_and.reduce": ("1", "v && x", "v && x"),
    "logical_or.reduce": ("0", "v || x", "v || x"),
}
TYPES = {
    "float32": "float", "float64": "double", "bool": "bool", "int32": "int", "int64": "long long",
    "uint8": "unsigned char", "int8": "signed char",
}  # fmt: skip
FILLED = {"zeros": 0, "ones": 1}


class UnsuitedError(Exception):
    """A call that no kernel knows, or too much for one block."""


class Part(NamedTuple):
    """An operand: an array, and its strides in bytes along the axes of a row.

    From step to step it goes on by `step` bytes, through `rounds` places again and again; with 0 it never begins anew.
    With -1 it is the number of the step itself.
    """

    array: Any
    strides: tuple[int, ...]
    step: int = 0
    rounds: int = 0


class Row(NamedTuple):
    """One loop: what is computed at each place of `shape`, along `axes` all into one.

    `operands` are the target, then what is read: a `Part` or a number each. `kind` is the element type in which it is
    computed. With more than one `parts` these are computed apart, and the target has a last axis for them.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    operands: tuple[Any, ...]
    kind: np.dtype[Any]
    parts: int = 1

    @property
    def kept(self) -> tuple[int, ...]:
        """The axes that are not gone through."""
        return tuple([a for a in range(len(self.shape)) if a not in self.axes])


def rows_of(name: str, inputs: Sequence[Any], named: Mapping[str, Any], out: Any) -> list[Row]:
    """The rows of one call.

    Errors
        UnsuitedError for one that is in no table.
    """
    if name == "concatenate":
        return joined(inputs[0], named.get("axis", 0) % out.ndim, out)
    if name in ("full", *FILLED) and not named.keys() - {"dtype"}:
        return [elementwise("copyto", (FILLED.get(name, inputs[-1]),), out)]
    if name == "matmul" and not named:
        return [product(inputs[0], inputs[1], out)]
    if name in INNER:
        return [reduction(name, inputs[0], named, out)]
    if name == "copyto":
        return [elementwise(name, inputs[1:2], out)]
    if name in ("astype", "copy", "asarray", "array") and not is_number(inputs[0]):
        return [elementwise("copyto", inputs[:1], out)] if hasattr(inputs[0], "strides") else refused(name)
    if name == "clip":
        return clipped(*inputs, **named, out=out)
    if name in OPERATIONS and not named:
        return [elementwise(name, inputs, out)]
    return refused(name)


def refused(name: str) -> list[Row]:
    """There are no rows for it."""
    raise UnsuitedError(name)


def elementwise(name: str, inputs: Sequence[Any], out: Any, **more: int) -> Row:
    """The row of a call that treats each element alike; `more` are the steps of the target."""
    told = [type(x) if type(x) in (int, float) else np.result_type(x) for x in map(typed, inputs)]
    if name in ("where", "clip", "copyto"):
        values = [x for x in map(typed, inputs[1:] if name == "where" else inputs) if not weak(x)]
        kind = np.result_type(*values) if values else out.dtype
    else:
        kind = getattr(np, name).resolve_dtypes((*told, None))[0]
    parts = [x if is_number(x) else Part(x, spread(x, out.shape)) for x in inputs]
    target = Part(out, spread(out, out.shape), **more)
    return checked(Row(name, tuple(out.shape), (), (target, *parts), np.dtype(kind)))


def typed(x: Any) -> Any:
    """An operand as `np.result_type` takes it."""
    return np.dtype(bool) if type(x) is bool else x if is_number(x) else x.dtype


def weak(x: Any) -> bool:
    """Whether it takes the type of what it meets."""
    return type(x) in (int, float)


def checked(row: Row) -> Row:
    """A row, if there is a kernel for its types."""
    types = [row.kind, *[x.array.dtype for x in row.operands if isinstance(x, Part)]]
    known = row.kind.kind == "f" or row.name in WHOLE or row.name in ("add.reduce", "multiply.reduce")
    known = known or row.name in ("logical_and.reduce", "logical_or.reduce")
    if not known or any(t.name not in TYPES for t in types):
        raise UnsuitedError(f"{row.name} of {', '.join(sorted({t.name for t in types}))}")
    return row


def joined(parts: Sequence[Any], axis: int, out: Any) -> list[Row]:
    """Copies of arrays, one behind the other along an axis."""
    rows, start = [], 0
    for part in parts:
        key = (*[slice(None)] * axis, slice(start, start + part.shape[axis]))
        rows.append(elementwise("copyto", (part,), out[key]))
        start += part.shape[axis]
    return rows


def clipped(x: Any, low: Any = None, high: Any = None, *, out: Any, **named: Any) -> list[Row]:
    """What `clip` does, between bounds that may be left out."""
    if named or (low is None and high is None):
        refused("clip")
    if low is not None and high is not None:
        return [elementwise("clip", (x, low, high), out)]
    name, bound = ("maximum", low) if high is None else ("minimum", high)
    return [elementwise(name, (x, bound), out)]


def product(a: Any, b: Any, out: Any) -> Row:
    """The row of a product of matrices: axes that are repeated, rows, columns, and the one that is summed."""
    lines, columns = a.ndim > 1, b.ndim > 1
    batch = out.shape[: out.ndim - lines - columns]
    left = (*repeated(a, batch), *a.strides[-2:-1], *[0] * columns, a.strides[-1])
    right = (*repeated(b, batch), *[0] * lines, *[b.strides[-1]] * columns, b.strides[-2 if columns else -1])
    shape = (*out.shape, a.shape[-1])
    operands = [(out, (*out.strides, 0)), (a, left), (b, right)]
    parts = tuple([Part(x, settled(strides, shape)) for x, strides in operands])
    return checked(Row("matmul", shape, (len(shape) - 1,), parts, out.dtype))


def repeated(x: Any, batch: Sequence[int]) -> tuple[int, ...]:
    """Strides of the leading axes of a stack of matrices repeated to `batch`."""
    strides = [0 if n == 1 else s for n, s in zip(x.shape[:-2], x.strides[:-2], strict=True)]
    return (*[0] * (len(batch) - len(strides)), *strides)


def reduction(name: str, x: Any, named: Mapping[str, Any], out: Any) -> Row:
    """The row of a reduction."""
    if named.keys() - {"axis", "keepdims"} or is_number(x):
        refused(name)
    axis = named.get("axis", 0)
    axes = (
        tuple(range(x.ndim))
        if axis is None
        else tuple(sorted({int(a) % x.ndim for a in np.atleast_1d(axis)}))
    )
    if not axes:
        return elementwise("copyto", (x,), out)
    kept = iter(
        out.strides if out.ndim != x.ndim else [s for a, s in enumerate(out.strides) if a not in axes]
    )
    strides = [0 if a in axes else next(kept) for a in range(x.ndim)]
    sums = name in ("add.reduce", "multiply.reduce")
    kind = out.dtype if sums or name.startswith("logical") else x.dtype
    operands = Part(out, settled(strides, x.shape)), Part(x, spread(x, x.shape))
    return checked(Row(name, tuple(x.shape), axes, operands, kind))


def settled(strides: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Strides that are 0 where there is nowhere to go."""
    return tuple([0 if n == 1 else s for n, s in zip(shape, strides, strict=True)])


def merged(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """As `joined_axes`, but with the strides of each operand, along the axes that are left."""
    sizes, along = joined_axes(shape, strides)
    return sizes, [[step[i] for step in along] for i in range(len(strides))]


def reshaped(strides: Sequence[int], old: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """Strides of the same elements in another shape; None where they cannot be had without a copy."""
    if math.prod(old) != math.prod(new):
        return None
    sizes, (steps,) = merged(old, [strides])
    found = []
    for n in reversed(new):
        if n == 1:
            found.append(0)
            continue
        if sizes[-1] % n:
            return None
        found.append(steps[-1])
        sizes[-1], steps[-1] = sizes[-1] // n, steps[-1] * n
        if sizes[-1] == 1:
            sizes.pop()
            steps.pop()
    return tuple(found[::-1])


def substituted(text: str, words: Mapping[str, str]) -> str:
    """Text with other words in the place of some."""
    return re.sub(r"\b(" + "|".join(words) + r")\b", lambda found: words[found[1]], text)
