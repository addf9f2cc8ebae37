"""`check.derivation`: a gradient derived by hand beside the one by autodiff."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check import cause as causes
from tinygrad_lesson.check.gradients import gradients
from tinygrad_lesson.check.numeric import EPS, FLOOR
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import doubled, name_of, parameter_names, pull_back
from tinygrad_lesson.eager.recording import recording
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import DTypeError, LessonError

Point = list[np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]  # by hand, by autodiff


def derivation(
    formula: Callable[..., Any],
    f: Callable[..., Any],
    *inputs: Any,
    sample: Callable[[np.random.Generator], Sequence[Any]] | None = None,
    points: int = 20,
    seed: int = 0,
) -> Report:
    """Set a gradient written by hand beside autodiff, and show the first line where they part.

    `f` is a function of Tensors; it may return a dict of named steps besides its result. `formula` takes
    the same inputs as arrays, and after them the gradient of the result if that is no single number. It
    returns gradients in the order of the inputs, or by name in the order of the derivation: of inputs and
    of steps; other names are passed over. Both are checked at `inputs` and at `points` more: those that
    `sample(generator)` gives, or the inputs that have a gradient by hand moved at random. Autodiff itself
    is checked against differences.

    Errors
        LessonError if the formula gives no gradient of anything that is known.

    Example
        >>> import tinygrad_lesson as tl
        >>> print(derivation(lambda x: 3 * x, lambda x: tl.sum(x * x), [1.0, 2.0]).cause)
        factor
    """
    generator = np.random.default_rng(seed)
    title = f"{name_of(formula)} beside {name_of(f)}"
    first = [doubled(x) for x in inputs]
    report = gradients(lambda *tensors: stepped(f, tensors)[0], *first, seed=seed)
    if not report.ok:
        report.title = f"{title}: autodiff itself fails, {report.title}"
        return report
    names = parameter_names(f, len(first))
    pairs = [side_by_side(formula, f, names, first, generator)]
    for _ in range(points):
        drawn = (
            [doubled(x) for x in sample(generator)] if sample else nearby(first, names, pairs[0], generator)
        )
        pairs.append(side_by_side(formula, f, names, drawn, generator))
    return compared(title, pairs, dict(zip(names, first, strict=True)), report)


def stepped(f: Callable[..., Any], tensors: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The result of `f` and its named steps."""
    made = f(*tensors)
    y, steps = made if isinstance(made, tuple) else (made, {})
    if not isinstance(y, Tensor) or not isinstance(steps, Mapping):
        raise DTypeError(f"{name_of(f)} gave {made!r}, expected a Tensor, or a Tensor and a dict of steps")
    return y, dict(steps)


def side_by_side(
    formula: Callable[..., Any], f: Callable[..., Any], names: Sequence[str], point: Point, generator: Any
) -> dict[str, Pair]:
    """Gradients by hand and by autodiff at one point, in the order of the derivation."""
    tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in point]
    with recording(True):
        y, steps = stepped(f, tensors)
    known = {**dict(zip(names, tensors, strict=True)), **steps}
    single = y.size == 1
    g = np.ones(y.shape) if single else np.asarray(generator.uniform(-1, 1, y.shape))
    by_hand = formula(*(x.copy() for x in point), *([] if single else [g]))
    if not isinstance(by_hand, Mapping):
        several = isinstance(by_hand, tuple | list)
        by_hand = dict(zip(names, by_hand if several else [by_hand], strict=False))
    wanted = {name: known[name] for name, value in by_hand.items() if value is not None and name in known}
    if not wanted:
        raise LessonError(
            f"{name_of(formula)} gives gradients of {', '.join(by_hand) or 'nothing'}; "
            f"{name_of(f)} knows {', '.join(known)}"
        )
    found = pull_back(list(wanted.values()), [y], [g])
    return {
        name: (np.asarray(by_hand[name], float), np.zeros(x.shape) if d is None else np.asarray(d))
        for (name, x), d in zip(wanted.items(), found, strict=True)
    }


def nearby(
    first: Point, names: Sequence[str], pairs: Mapping[str, Pair], generator: np.random.Generator
) -> Point:
    """The inputs that have a gradient by hand, moved by up to half of their size; the others as they are."""
    return [
        x * generator.uniform(0.5, 1.5, x.shape) if name in pairs and x.dtype.kind == "f" else x
        for name, x in zip(names, first, strict=True)
    ]


def compared(
    title: str, pairs: Sequence[dict[str, Pair]], inputs: Mapping[str, np.ndarray], autodiff: Report
) -> Report:
    """The report: the first name, in the order of the derivation, where the two part at some point."""
    report = Report(title, sides=("hand", "autodiff"))
    report.notes.append(f"autodiff itself agrees with differences: {autodiff.compared} derivatives")
    agreed: list[str] = []
    for name in pairs[0]:
        report.compared += sum(each[name][1].size for each in pairs)
        shapes = [np.shape(side) for side in pairs[0][name]]
        if shapes[0] != shapes[1]:
            found = causes.of_shape(name, *shapes)
            report.worst = [Entry(name, None, "result", np.nan, np.nan, np.nan)]
        elif (case := case_of(name, pairs, inputs)) is not None:
            found = causes.likely(case)
            report.worst, report.failed = entries(case), int(case.wrong.sum())
        else:
            agreed.append(name)
            continue
        report.verdict, report.cause, report.factor = "wrong", found.word, found.factor
        report.sentence = found.sentence
        break
    if agreed:
        report.notes.insert(0, f"at {len(pairs)} points these agree: {', '.join(agreed)}")
    return report


def case_of(
    name: str, pairs: Sequence[dict[str, Pair]], inputs: Mapping[str, np.ndarray]
) -> causes.Case | None:
    """All points of one name, a row each, as a case for the search of a cause; None where they agree."""
    by_hand, exact = (np.stack([each[name][side].ravel() for each in pairs]) for side in (0, 1))
    largest = np.array([max(np.max(np.abs(b), initial=0.0) for _, b in each.values()) for each in pairs])
    bars = 64 * EPS * np.sqrt(exact.shape[1]) * np.maximum(largest, 1e-300)[:, None]
    limits = FLOOR * np.max(np.abs(exact), axis=1, keepdims=True, initial=0.0) + bars
    wrong = ~(np.abs(by_hand - exact) <= limits)
    if not wrong.any():
        return None
    shape = pairs[0][name][1].shape
    others = [
        causes.Other(
            other, each[1].shape, *(np.stack([p[other][side].ravel() for p in pairs]) for side in (0, 1))
        )
        for other, each in pairs[0].items()
        if other != name and each[1].shape == shape
    ]
    largest_input = max((x.shape for x in inputs.values()), key=lambda s: (len(s), s), default=())
    return causes.Case(
        name, shape, np.nan_to_num(by_hand), exact, np.broadcast_to(bars, exact.shape), wrong,
        np.arange(exact.shape[1]), None, None, largest_input, others=others,
    )  # fmt: skip


def entries(case: causes.Case, limit: int = 8) -> list[Entry]:
    """The worst of the first point where anything is wrong."""
    r = int(np.flatnonzero(case.wrong.any(axis=1))[0])
    gaps = np.where(case.wrong[r], np.abs(case.analytic[r] - case.numeric[r]), -1)
    chosen = [int(c) for c in np.argsort(gaps)[::-1][:limit] if gaps[c] >= 0]
    places = [tuple(int(a) for a in np.unravel_index(c, case.shape)) for c in chosen]
    output = "result" if r == 0 else f"result, point {r}"
    numbers = [(float(case.analytic[r, c]), float(case.numeric[r, c])) for c in chosen]
    return [Entry(case.name, at, output, a, b, np.nan) for at, (a, b) in zip(places, numbers, strict=True)]
