"""One op carried out in both faces, and whether they agree: eagerly, and as the plan of every runner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.report import element_at
from tinygrad_lesson.check.subject import as_tuple, executor_of, repeatable
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.operators import sweep
from tinygrad_lesson.eager.recording import recording
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.graph import Edge, Label, Node, outputs_of
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.run import available_runners


class OpError(LessonError, AssertionError):
    """A property that an op lacks: faces that differ, a rule of shapes that is wrong, an input written to."""


def learnable(op: Op, arrays: Sequence[np.ndarray]) -> list[int]:
    """Numbers of the inputs that a gradient may reach: floats that are no states."""
    count = len(arrays) - len(op.states)
    return [i for i, x in enumerate(arrays[:count]) if x.dtype.kind == "f"]


def eager(op: Op, arrays: Sequence[np.ndarray], g: Sequence[np.ndarray] | None) -> dict[str, Any]:
    """Outputs, gradients and new states by the eager face, by name; no gradients without cotangents `g`."""
    wanted, names = learnable(op, arrays), op.name_inputs(len(arrays))
    with repeatable(), recording(True), np.errstate(all="ignore"):
        tensors = [Tensor(x, requires_grad=i in wanted) for i, x in enumerate(arrays)]
        results = as_tuple(apply(op, tensors))
        found = {f"output {i}": t.numpy() for i, t in enumerate(results)}
        if g is not None:
            heads = [(t, gi) for t, gi in zip(results, g, strict=True) if t.requires_grad]
            for i, x in zip(wanted, sweep(heads, [tensors[i] for i in wanted]), strict=True):
                found[f"gradient of {names[i]}"] = np.zeros_like(arrays[i]) if x is None else np.asarray(x)
    count = len(arrays) - len(op.states)
    return found | {f"new {names[i]}": tensors[i].numpy() for i in range(count, len(arrays))}


def planned(
    op: Op, arrays: Sequence[np.ndarray], g: Sequence[np.ndarray] | None, runner: str
) -> dict[str, Any]:
    """The same by the plan of one node and of its gradient, as `runner` carries it out."""
    wanted, names = learnable(op, arrays), op.name_inputs(len(arrays))
    edges = tuple(Edge(Node(None, label=Label(name))) for name in names)
    heads = outputs_of(Node(op, edges, Label(op.function)))[: op.visible]
    asked = [names[i] for i in wanted if g is not None]
    executor = executor_of(heads, dict(zip(names, arrays, strict=True)), asked, runner=runner)
    found = {f"output {i}": np.array(y) for i, y in enumerate(executor.forward(is_train=True))}
    if g is not None:
        executor.backward([None if op.is_loss else gi for gi in g])
    found |= {f"gradient of {name}": x for name, x in executor.gradients.items()}
    return found | {f"new {name}": x for name, x in (executor.states.items() if g is not None else ())}


def assert_faces_agree(op: Op, arrays: Sequence[np.ndarray], g: Sequence[np.ndarray] | None = None) -> None:
    """Refuse an op of which the faces differ in more than the last half of their digits.

    Errors
        OpError naming the runner, the result and the element.
    """
    op = op.at_mode(True)
    expected = eager(op, arrays, g)
    for runner in available_runners():
        with np.errstate(all="ignore"):
            found = planned(op, arrays, g, runner)
        for name, y in found.items():
            what = f"{op!r}: {name} by runner {runner!r}"
            assert_close(y, expected[name], what, "the eager face gives", by_largest=True)


def assert_close(
    found: Any, expected: Any, what: str, whose: str = "expected", *, rtol: float | None = None,
    atol: float | None = None, equal_nan: bool = True, by_largest: bool = False,
) -> None:  # fmt: skip
    """Refuse arrays that differ in shape, or by more than ``atol + rtol * |expected|``.

    Where one is not given, half of the digits must agree. `by_largest` measures `atol` by the largest element, as
    befits sums that cancel.

    Errors
        OpError naming the worst element.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        raise OpError(f"{what} has the shape {show(found.shape)}, {whose} {show(expected.shape)}")
    floats = [x.dtype for x in (found, expected) if x.dtype.kind in "fc"]
    half = float(np.sqrt(max(np.finfo(d).eps for d in floats))) if found.dtype.kind in "fc" else 0.0
    rtol, atol = half if rtol is None else rtol, half if atol is None else atol
    with np.errstate(all="ignore"):
        size = np.abs(expected)
        if by_largest:
            atol *= max(1.0, float(np.max(size, where=np.isfinite(size), initial=0)))
        right = np.isclose(found, expected, rtol=rtol, atol=atol, equal_nan=equal_nan)
        gap = np.abs(found - expected.astype(np.result_type(expected, float)))
        excess = np.nan_to_num(gap / np.maximum(atol + rtol * size, 1e-300), nan=np.inf)
    if right.all():
        return
    at, count = (
        element_at(np.argmax(np.where(right, 0.0, excess)), found.shape),
        int(np.count_nonzero(~right)),
    )
    place = f" at {list(at)}" if found.ndim else ""
    raise OpError(
        f"{what}{place} is {found[at]:.8g}, {whose} {expected[at]:.8g}; "
        f"{count} of {found.size} elements differ by more than {atol:.1g} + {rtol:.1g} * |expected|"
    )
