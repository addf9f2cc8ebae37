"""A few lines of Python in which one op makes the same NaN or infinity once more."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.report import Element, as_code
from tinygrad_lesson.eager.apply import AS_TOLD
from tinygrad_lesson.engine.backprop import apply_vjp
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import FUNCTIONS, Op

Arrays = Sequence[Any]


def lines(op: Op, inputs: Arrays, cotangents: Arrays | None, number: int, element: Element) -> str:
    """The op at the smallest inputs found at which result `number`, or gradient `number`, is not finite.

    `cotangents` are those of its results, None forward.
    """
    arrays, given = smallest(op, inputs, cotangents, number, element)
    names = [name if name.isidentifier() else f"x{i}" for i, name in enumerate(op.name_inputs(len(arrays)))]
    text = ["import numpy as np", "import tinygrad_lesson as tl"]
    for name, x in zip(names, arrays, strict=True):
        wanted = cotangents is not None and is_float(x) and name not in op.states
        made = (
            isinstance(x, np.ndarray) and f"tl.Tensor({shown(x)}{', requires_grad=True' if wanted else ''})"
        )
        text.append(f"{name} = {made or repr(x)}")
    call, imports = as_call(op, names)
    text[2:2] = imports
    if given is None:
        pick = f"[{number}]" if 0 < number < op.visible else ""
        return "\n".join([*text, f"print({call}{pick})"])
    heads = [
        f"(y{f'[{k}]' if op.visible > 1 else ''} * {shown(g)}).sum()"
        for k, g in enumerate(given)
        if g is not None
    ]
    return "\n".join(
        [*text, f"y = {call}", f"({' + '.join(heads)}).backward()", f"print({names[number]}.grad)"]
    )


def as_call(op: Op, names: Sequence[str]) -> tuple[str, list[str]]:
    """A call of an op as Python, and what has to be imported for it."""
    attributes = [
        f"{f.name}={getattr(op, f.name)!r}"
        for f in dataclasses.fields(op)
        if getattr(op, f.name) != f.default
    ]
    plain = not any(isinstance(getattr(op, f.name), Op) for f in dataclasses.fields(op))
    if FUNCTIONS.get(op.function) is type(op) and plain:
        return f"tl.{op.function}({', '.join([*names, *attributes])})", []
    cls = type(op)
    made = f"{cls.__name__}({', '.join(attributes)})"
    return f"tl.Tensor.F.apply({made}, ({', '.join(names)},))", [
        f"from {cls.__module__} import {cls.__name__}"
    ]


def is_float(x: Any) -> bool:
    """Whether this is an array of floats, no number."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def shown(x: np.ndarray) -> str:
    """An array as Python; one that holds a single value by its shape."""
    if x.size > 3 and np.all(x == x.flat[0]):
        value = repr(x.flat[0].item()).replace("inf", "np.inf")
        return f"np.full({x.shape}, {value}, {str(x.dtype)!r})"
    return as_code(x)


def smallest(
    op: Op, arrays: Arrays, cotangents: Arrays | None, number: int, element: Element
) -> tuple[list[np.ndarray], Arrays | None]:
    """Inputs cut down to the element or row that fails, and ones wherever ones fail too."""
    kind = outcome(op, arrays, cotangents, number)

    def fails(arrays: Arrays, cotangents: Arrays | None) -> bool:
        return outcome(op, arrays, cotangents, number) == kind

    for cut in cuts(op, arrays, cotangents, element):
        if fails(*cut):
            arrays, cotangents = cut
            break
    kept = list(arrays)
    for i, x in enumerate(kept):
        if is_float(x):
            tried = [*kept[:i], np.ones_like(x), *kept[i + 1 :]]
            kept = tried if fails(tried, cotangents) else kept
    if cotangents is not None:
        plain = [None if g is None else np.ones_like(g) for g in cotangents]
        cotangents = plain if fails(kept, plain) else cotangents
    return kept, cotangents


def cuts(
    op: Op, arrays: Arrays, cotangents: Arrays | None, element: Element
) -> Iterator[tuple[Arrays, Arrays | None]]:
    """The element of an elementwise op, or the row of any, that may fail as the whole does."""
    if not element:
        return
    result = max((np.shape(x) for x in arrays), key=len)
    if isinstance(op, Elementwise):
        shape = np.broadcast_shapes(*[np.shape(x) for x in arrays])
        at = np.unravel_index(0, shape) if len(element) != len(shape) else element

        def one(x: Any) -> Any:
            return np.broadcast_to(x, shape)[at].reshape(1) if isinstance(x, np.ndarray) else x

        yield [one(x) for x in arrays], cotangents and [one(g) for g in cotangents]
    r, n = element[0], result[0]

    def row(x: Any) -> Any:
        return x[r : r + 1] if x is not None and np.ndim(x) == len(result) and np.shape(x)[0] == n > r else x

    yield [row(x) for x in arrays], cotangents and [row(g) for g in cotangents]


def outcome(op: Op, arrays: Arrays, cotangents: Arrays | None, number: int) -> str:
    """Of which kind result `number` is, or with cotangents the gradient of input `number`."""
    try:
        with np.errstate(all="ignore"):
            y = op.forward(np, *[np.array(x) if isinstance(x, np.ndarray) else x for x in arrays])
            values = y if isinstance(y, tuple) else (y,)
            if cotangents is None:
                return kind_of(values[number])
            if any(kind_of(v) for v in values):
                return "forward"
            g = tuple(cotangents) if len(values) > 1 else cotangents[0]
            return kind_of(apply_vjp(AS_TOLD, op, (g, y, *arrays))[number])
    except Exception:
        return "error"


def kind_of(x: Any) -> str:
    """Whether an array holds NaN, else infinity, else (empty) neither."""
    array = np.asarray(x, float)
    return "nan" if np.isnan(array).any() else "inf" if np.isinf(array).any() else ""
