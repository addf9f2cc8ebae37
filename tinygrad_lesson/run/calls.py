"""The calls of a trace, carried out by NumPy on fixed arrays, in the form that NumPy carries out fastest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from operator import getitem
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import aligned_zeros
from tinygrad_lesson.plan.inferred import CREATING
from tinygrad_lesson.plan.trace import Call, Ref, Spec, Trace, numbers_in
from tinygrad_lesson.run.parts import Run

LONGEST = 4096  # rows
# What is carried out otherwise than called, by name: what is done.
PATTERNS = {
    "blocks": "elementwise steps over large arrays run together, block by block",
    "small_product": "np.dot in the place of np.matmul, for two matrices",
    "columns": "what the windows of a convolution see is kept for its gradient by the weight",
    "column_sum": "np.dot with ones in the place of a short sum down the columns of a matrix",
}
WITH_OUT = {"clip", "concatenate", "cumsum", "dot", "matmul", "mean", "stack", "take", "var"}


def function_of(name: str) -> Any:
    """The NumPy function that a call names, which gives its value."""
    if name == "[]":
        return getitem
    if name == "copyto":
        return lambda place, value, **named: value
    function: Any = np
    for part in name.split("."):
        function = getattr(function, part)
    return function


class Scratch:
    """Arrays for what lies between the calls of one trace; the next trace has them again."""

    def __init__(self, patterns: bool = True) -> None:
        self.patterns = patterns
        self.arrays: dict[Spec, list[np.ndarray]] = {}
        self.used: Counter[Spec] = Counter()
        self.ones: dict[Any, np.ndarray] = {}  # vectors of ones, by length and type

    def array(self, spec: Spec) -> np.ndarray:
        """One like `spec`."""
        arrays, taken = self.arrays.setdefault(spec, []), self.used[spec]
        if taken == len(arrays):
            arrays.append(empty(spec))
        self.used[spec] += 1
        return arrays[taken]

    def prepare(
        self, trace: Trace, given: Sequence[Any], others: Mapping[int, np.ndarray] = MappingProxyType({})
    ) -> tuple[list[Run], list[np.ndarray]]:
        """The calls of a trace on `given` arrays, sources and then targets, and the arrays of its results.

        `others` are arrays for some of the values between, by number.
        """
        self.used.clear()
        arrays: list[Any] = [*given, *[None] * (len(trace.values) - len(given))]
        for number, x in others.items():
            arrays[number] = x
        calls: list[Run] = []
        touched = Counter(ref for call in trace.calls for ref in written_by(call))

        def array(x: Any) -> Any:
            if isinstance(x, tuple) and not isinstance(x, Ref):
                return tuple([array(part) for part in x])
            if not isinstance(x, Ref):
                return x
            if arrays[x.number] is None:
                spec = trace.values[x.number]
                arrays[x.number] = empty(spec) if x.number in trace.results else self.array(spec)
            return arrays[x.number]

        for call in trace.calls:
            operands, named = array(call.inputs), {key: array(x) for key, x in call.named}
            constant = call.name in (*CREATING, "array") and not any(isinstance(x, Ref) for x in call.inputs)
            if call.view or constant:
                made = function_of(call.name)(*operands, **named)
                made = made if call.part is None else made[call.part]
                if call.view or (arrays[call.out] is None and touched[call.out] == 1):
                    arrays[call.out] = made
                else:
                    calls.append(partial(np.copyto, array(Ref(call.out)), made))
            else:
                calls += self.carried_out(call, operands, named, array(Ref(call.out)))
        return calls, [array(Ref(number)) for number in trace.results]

    def carried_out(
        self, call: Call, operands: tuple[Any, ...], named: dict[str, Any], out: np.ndarray
    ) -> list[Run]:
        """What NumPy is called with for one call."""
        function = function_of(call.name)
        if isinstance(function, np.ufunc) or call.name in ("copyto", "where"):
            operands = tuple([in_type_of(out, x) for x in operands])
        match call.name:
            case "copyto":
                return [partial(np.copyto, *operands, **named)]
            case "asarray" | "astype" | "copy" | "array":
                return [partial(np.copyto, out, operands[0], casting="unsafe")]
            case "where":
                return self.chosen(operands, out)
            case "reshape":
                return [partial(np.copyto, out.reshape(operands[0].shape), operands[0])]
            case "matmul" if self.patterns and is_small_product(operands, out):
                return [partial(np.dot, *operands, out)]
            case "add.reduce" if self.patterns and is_column_sum(operands[0], named, out):
                x = operands[0]
                key = (len(x), x.dtype)
                ones = self.ones.setdefault(key, np.ones(*key))
                return [partial(np.dot, ones, x, out.reshape(x.shape[1]))]
        if isinstance(function, np.ufunc) and function.nin == len(operands) and not named:
            if function in (np.maximum, np.minimum):  # NumPy 2.4 is slow where `out` comes third
                return [partial(function, *operands, out=out)]
            return [partial(function, *operands, out)]
        if isinstance(function, np.ufunc) or call.name.endswith(".reduce") or call.name in WITH_OUT:
            return [partial(function, *operands, **named, out=out)]
        return [partial(copied, out, function, operands, named, call.part)]

    def chosen(self, operands: tuple[Any, ...], out: np.ndarray) -> list[Run]:
        """`where` as two copies into a fixed array."""
        calls: list[Run] = []
        condition, a, b = np.asarray(operands[0]), *operands[1:]
        if condition.dtype != bool:
            shape = condition.shape
            mask = self.array(Spec(shape, np.dtype(bool), np.empty(shape, bool).strides))
            calls.append(partial(np.not_equal, condition, 0, mask))
            condition = mask
        return [*calls, partial(np.copyto, out, b), partial(np.copyto, out, a, where=condition)]


def without(trace: Trace, value: int) -> Trace:
    """The calls that are still needed where a value is there already."""
    needed, calls = {trace.roots[n][0] for n in trace.results}, []
    for call in reversed(trace.calls):
        root = trace.roots[call.out][0]
        if root in needed and root != value:
            calls.append(call)
            needed.update(trace.roots[n][0] for n in numbers_in((call.inputs, call.named)))
        elif call.view and root == value:
            calls.append(call)
    return trace._replace(calls=tuple(calls[::-1]))


def written_by(call: Call) -> list[int]:
    """The values that a call may write to: its own, or through a view of it what that is a view of."""
    return [call.out, *[x.number for x in call.inputs if isinstance(x, Ref)]] if call.view else [call.out]


def copied(out: np.ndarray, function: Any, operands: Any, named: Any, part: int | None) -> None:
    """Call a function that cannot be told where to write."""
    made = function(*operands, **named)
    np.copyto(out, made if part is None else made[part])


def empty(spec: Spec) -> np.ndarray:
    """A new array, its axes in memory in the order that `spec` has."""
    order = sorted(range(len(spec.shape)), key=lambda a: -spec.strides[a])
    sizes = [spec.shape[a] for a in order]
    return aligned_zeros(math.prod(sizes), spec.dtype).reshape(sizes).transpose(np.argsort(order))


def in_type_of(out: Any, value: Any) -> Any:
    """A Python number as an array of the type it would take, which NumPy handles faster."""
    if type(value) not in (int, float) or out.dtype.kind != "f":
        return value
    return np.asarray(value, dtype=out.dtype)


def is_small_product(factors: Any, out: Any) -> bool:
    """Whether `dot` computes the same as `matmul`, faster; of a number it takes 0 times infinity for 0."""
    a, b = factors
    matrices = a.ndim == b.ndim == 2 and 1 not in (a.size, b.size)
    return dot_takes(out) and matrices and a.dtype == b.dtype == out.dtype and a.dtype.kind == "f"


def is_column_sum(x: Any, named: dict[str, Any], out: Any) -> bool:
    """Whether a sum runs down the columns of a matrix, no long ones: a product with ones is faster, but less exact."""
    down = (
        named.get("axis") in (0, (0,))
        and x.ndim == 2
        and x.dtype.kind == "f"
        and named.keys() <= {"axis", "keepdims"}
    )
    return down and x.size < 1 << 16 and len(x) <= LONGEST and out.dtype == x.dtype and dot_takes(out)


def dot_takes(out: Any) -> bool:
    """Whether `dot` can write into an array."""
    return out.flags.carray and out.dtype.isnative  # type: ignore[no-any-return]
