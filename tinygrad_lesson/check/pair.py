"""`check.pair` and `check.derivation`: gradients by hand, wherever they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from tinygrad_lesson.check import cause as causes
from tinygrad_lesson.check.compare import worst
from tinygrad_lesson.check.gradients import gradients
from tinygrad_lesson.check.numeric import EPS, FLOOR
from tinygrad_lesson.check.report import Entry, Report, element_at
from tinygrad_lesson.check.subject import doubled, name_of, parameter_names, pull_back
from tinygrad_lesson.eager.recording import recording
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import DTypeError, LessonError
from tinygrad_lesson.engine.op import Op, attr, declares

Point = list[np.ndarray]
Sides = dict[str, tuple[np.ndarray, np.ndarray]]  # by hand, by autodiff, in the order of the derivation


@declares
class Pair(Op):
    """A function of arrays and its gradient, as an op: what checks and property tests take.

    `f(*inputs)` gives an array, a number, or a tuple of them. `vjp(g, *inputs)` gives the gradient for each input,
    None where there is none; `g` is a tuple if there are several results. Both are handed NumPy arrays of doubles
    in one piece (integers as they are), and may give anything that NumPy takes for an array. `along(v, *inputs)`, if it
    is given, is the change of the result along `v` (a tuple if there are several inputs of floats); it is compared
    with `vjp` by the dot-product test, ``<g, J v> = <J' g, v>``.

    Example
        >>> check = __import__("tinygrad_lesson").check
        >>> check.gradients(check.Pair(np.sin, lambda g, x: g * np.cos(x)), [0.5, 2.0]).verdict
        'ok'
    """

    name = "Pair"
    traceable = False
    mixes_dtypes = True
    count: ClassVar[int] = 1  # of results; known once `f` was called
    f: Callable[..., Any] = attr(doc="the function")
    rule: Callable[..., Any] = attr(doc="its gradient")
    along: Callable[..., Any] | None = attr(None, doc="its change along a direction, if that is known")

    def __post_init__(self) -> None:
        for given in (self.f, self.rule):
            if not callable(given):
                raise DTypeError(f"Pair: expected a function and its gradient, not {given!r}")

    def label(self) -> str:
        """The name of the function."""
        return name_of(self.f)

    __repr__ = label

    @property
    def outputs(self) -> tuple[str, ...]:
        """As many as the function gave."""
        return ("output",) if self.count == 1 else tuple(f"output{i}" for i in range(self.count))

    def name_inputs(self, count: int) -> tuple[str, ...]:
        """The parameters of the function."""
        return tuple(parameter_names(self.f, count))

    def complete(self, shapes: Any, results: Any) -> Any:
        """Nothing follows from shapes alone."""
        return list(shapes), list(results)

    def forward(self, xp: Any, *inputs: Any, out: Any = None) -> Any:
        """What the function gives, as arrays."""
        y = self.f(*map(plain, inputs))
        if not isinstance(y, tuple):
            return as_array(y, self)
        vars(self)["count"] = len(y)
        return tuple(as_array(part, self) for part in y) if len(y) != 1 else as_array(y[0], self)

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """What the gradient gives, one for each input."""
        if isinstance(g, tuple):
            g = tuple(np.zeros(np.shape(p)) if c is None else c for c, p in zip(g, y, strict=True))
        given = tuple(map(plain, g)) if isinstance(g, tuple) else plain(g)
        found = self.rule(given, *map(plain, inputs))
        if not isinstance(found, tuple) and (len(inputs) == 1 or not isinstance(found, list)):
            found = (found,)
        return tuple(None if x is None else as_array(x, self) for x in found)

    @property
    def jvp(self) -> Any:  # type: ignore[override]
        """The rule of forward mode, if there is one."""
        return self.tangent if self.along else None

    def tangent(self, F: Any, tangents: Sequence[Any], y: Any, *inputs: Any) -> Any:
        """What `along` gives for the inputs of floats; those that do not move have tangents of 0."""
        floats = [(t, x) for t, x in zip(tangents, inputs, strict=True) if np.asarray(x).dtype.kind == "f"]
        vs = [plain(np.zeros(np.shape(x)) if t is None else t) for t, x in floats]
        moved = self.along(vs[0] if len(vs) == 1 else tuple(vs), *map(plain, inputs))  # type: ignore[misc]
        several = isinstance(moved, tuple | list) and isinstance(y, tuple)
        return tuple(as_array(m, self) for m in moved) if several else as_array(moved, self)


def plain(x: Any) -> Any:
    """Doubles in one piece; anything else as it is. A copy, so that nobody writes into what is ours."""
    array = np.array(x, order="C")
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def as_array(y: Any, pair: Pair) -> np.ndarray:
    """What a function gave, as an array of numbers. DTypeError if it is none."""
    found = np.array(y.detach() if hasattr(y, "detach") else y)
    if found.dtype.kind not in "fiub":
        raise DTypeError(f"{pair.label()} gave {y!r}, expected an array of real numbers, or several")
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def pair(
    f: Callable[..., Any], vjp: Callable[..., Any], *inputs: Any, jvp: Callable[..., Any] | None = None,
    seed: int = 0, full: bool | None = None,
) -> Report:  # fmt: skip
    """Check the hand-written gradient `vjp(g, *inputs)` of any function `f(*inputs)` of arrays at `inputs`.

    NumPy, SciPy, PyTorch, JAX, numba, C: whatever takes arrays and gives arrays; see `Pair`. `jvp` is its
    `along`, the rule of forward mode.

    Errors
        Whatever `f` raises.

    Example
        >>> pair(lambda x: x @ x, lambda g, x: 2 * g * x, [1.0, 2.0, -0.5]).verdict
        'ok'
    """
    made = Pair(f, vjp, jvp)
    report = gradients(made, *map(np.asarray, inputs), seed=seed, full=full, float32=False)
    called = f"check.gradients({made.label()}", f"check.pair({made.label()}, {name_of(vjp)}"
    report.reproduce = report.reproduce.replace(*called)
    return report


@np.errstate(all="ignore")
def derivation(
    formula: Callable[..., Any], f: Callable[..., Any], *inputs: Any,
    sample: Callable[[Generator], Sequence[Any]] | None = None, points: int = 20, seed: int = 0,
) -> Report:  # fmt: skip
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
        drawn = [doubled(x) for x in sample(generator)] if sample else list(first)
        for i, (name, x) in enumerate(zip(names, first, strict=True)):
            if not sample and name in pairs[0] and x.dtype.kind == "f":  # moved by up to half of its size
                drawn[i] = x * generator.uniform(0.5, 1.5, x.shape)
        pairs.append(side_by_side(formula, f, names, drawn, generator))
    return compared(title, pairs, dict(zip(names, first, strict=True)), report)


def stepped(f: Callable[..., Any], tensors: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The result of `f` and its named steps."""
    made = f(*tensors)
    y, steps = made if isinstance(made, tuple) else (made, {})
    if not isinstance(y, Tensor) or not isinstance(steps, Mapping):
        raise DTypeError(f"{name_of(f)} gave {made!r}, expected a Tensor, or a Tensor and a dict of steps")
    return y, dict(steps)


def side_by_side(formula: Any, f: Any, names: Sequence[str], point: Point, generator: Generator) -> Sides:
    """Gradients by hand and by autodiff at one point, in the order of the derivation."""
    tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in point]
    with recording(True):
        y, steps = stepped(f, tensors)
    known = {**dict(zip(names, tensors, strict=True)), **steps}
    single = y.size == 1
    g = np.ones(y.shape) if single else np.asarray(generator.uniform(-1, 1, y.shape))
    by_hand = formula(*(x.copy() for x in point), *([] if single else [g]))
    if not isinstance(by_hand, Mapping):
        by_hand = by_hand if isinstance(by_hand, tuple | list) else [by_hand]
        by_hand = dict(zip(names, by_hand, strict=False))
    wanted = {name: known[name] for name, value in by_hand.items() if value is not None and name in known}
    if not wanted:
        given = f"{name_of(formula)} gives gradients of {', '.join(by_hand) or 'nothing'}"
        raise LessonError(f"{given}; {name_of(f)} knows {', '.join(known)}")
    found = pull_back(list(wanted.values()), [y], [g])
    pairs = zip(wanted.values(), found, strict=True)
    exact = [np.zeros(x.shape) if d is None else np.asarray(d) for x, d in pairs]
    return {name: (np.asarray(by_hand[name], float), d) for name, d in zip(wanted, exact, strict=True)}


def compared(title: str, pairs: Sequence[Sides], inputs: Mapping[str, Any], autodiff: Report) -> Report:
    """The report: the first name, in the order of the derivation, where the two part at some point."""
    report, agreed = Report(title, sides=("hand", "autodiff")), []
    report.notes.append(f"autodiff itself agrees with differences: {autodiff.compared} derivatives")
    for name in pairs[0]:
        report.compared += sum(each[name][1].size for each in pairs)
        shapes = [np.shape(side) for side in pairs[0][name]]
        if shapes[0] != shapes[1]:
            found, worst = causes.of_shape(name, *shapes), Entry(name, None, "result", np.nan, np.nan, np.nan)
            report.refuse("wrong", found.word, found.sentence, [worst])
            break
        case = case_of_hand(name, pairs, inputs)
        if case.wrong.any():
            word, said, factor = causes.likely(case)
            report.refuse("wrong", word, said, entries(case), factor=factor)
            report.failed = int(case.wrong.sum())
            break
        agreed.append(name)
    if agreed:
        report.notes.insert(0, f"at {len(pairs)} points these agree: {', '.join(agreed)}")
    return report


def case_of_hand(name: str, pairs: Sequence[Sides], inputs: Mapping[str, np.ndarray]) -> causes.Case:
    """All points of one name, a row each, as a case for the search of a cause."""

    def sides(name: str) -> dict[str, np.ndarray]:
        by_hand, exact = (np.stack([each[name][side].ravel() for each in pairs]) for side in (0, 1))
        return {"analytic": by_hand, "numeric": exact}

    by_hand, exact = sides(name).values()
    largest = np.array([max(np.max(np.abs(b), initial=0.0) for _, b in each.values()) for each in pairs])
    bars = 64 * EPS * np.sqrt(exact.shape[1]) * np.maximum(largest, 1e-300)[:, None]
    limits = FLOOR * np.max(np.abs(exact), axis=1, keepdims=True, initial=0.0) + bars
    shape = pairs[0][name][1].shape
    alike = [other for other, each in pairs[0].items() if other != name and each[1].shape == shape]
    return causes.Case(
        name, shape, np.nan_to_num(by_hand), exact, np.broadcast_to(bars, exact.shape),
        ~(np.abs(by_hand - exact) <= limits), np.arange(exact.shape[1]), None, None,
        max((x.shape for x in inputs.values()), key=lambda s: (len(s), s), default=()),
        others=[SimpleNamespace(name=other, shape=shape, **sides(other)) for other in alike],
    )  # fmt: skip


def entries(case: causes.Case) -> list[Entry]:
    """The worst of the first point where anything is wrong."""
    rows = np.arange(len(case.wrong)) == np.argmax(case.wrong.any(axis=1))
    names = ["result", *(f"result, point {r}" for r in range(1, len(rows)))]
    known = dataclasses.replace(case, error=np.full(case.wrong.shape, np.nan))
    return worst(known, case.wrong & rows[:, None], names, lambda c: element_at(c, case.shape))
