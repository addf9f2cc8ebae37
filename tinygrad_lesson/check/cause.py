"""Why a gradient is wrong, most likely: simple mistakes are tried until one explains the numbers."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_lesson.op import Op
from tinygrad_lesson.shapes import Shape, show

CLOSE = 1e-6  # part of the largest derivative by which an explanation may miss


class Cause(NamedTuple):
    """A fixed word, a sentence, and a factor where the word is `factor`."""

    word: str
    sentence: str
    factor: float | None = None


@dataclasses.dataclass
class Case:
    """One input whose gradient is wrong: Jacobians by rule and by differences, and what is around them.

    Shapes
        analytic, numeric, error (rows, columns). `outputs` is the one shape of the results if the rows
        are all their elements in order, `whole` whether the columns are all elements of the input.
    """

    name: str
    shape: tuple[int, ...]
    analytic: np.ndarray
    numeric: np.ndarray
    error: np.ndarray
    outputs: tuple[int, ...] | None
    whole: bool
    result: tuple[int, ...]  # shape of the first result
    op: Op | None = None
    others: Sequence[tuple[str, tuple[int, ...], np.ndarray]] = ()  # other inputs: name, shape, numeric
    exchanged: Callable[[], Iterator[tuple[str, np.ndarray]]] | None = (
        None  # the rule with arguments exchanged
    )
    cuts: Sequence[str] = ()  # what was computed from this input without being recorded
    recorded_use: bool = False  # whether some other use of it was

    def __post_init__(self) -> None:
        self.scale = float(np.max(np.abs(self.numeric), initial=0.0))

    def explains(self, other: np.ndarray) -> bool:
        """Whether `other` is what differences give."""
        if other.shape != self.numeric.shape:
            return False
        return bool(np.all(np.abs(other - self.numeric) <= 8 * self.error + CLOSE * self.scale))

    @property
    def broadcasts(self) -> bool:
        """Whether the input was repeated to the shape of the result."""
        if self.shape == self.result or math.prod(self.shape) >= math.prod(self.result):
            return False
        try:
            return np.broadcast_shapes(self.shape, self.result) == self.result
        except ValueError:
            return False


def likely(case: Case) -> Cause:
    """The first mistake that explains all numbers of `case`; where none does, a term is missing."""
    for mistake in (cut, precision, sign, factor, arguments, other_input, some_uses, transposed):
        found = mistake(case)
        if found:
            return found
    if not np.any(case.analytic):
        return Cause(
            "missing term", f"the rule gives no gradient for {case.name}, on which the result depends"
        )
    return Cause(
        "missing term", f"what the rule gives for {case.name} is no simple multiple of what it should be"
    )


def cut(case: Case) -> Cause | None:
    """A use that was not recorded."""
    if not case.cuts:
        return None
    where = f"{case.cuts[0]} takes a number that was computed from {case.name} without being recorded"
    if case.recorded_use and np.any(case.analytic):
        return Cause("accumulation", f"a use of {case.name} is not counted: {where}")
    return Cause("missing term", f"the way back to {case.name} is cut: {where}")


def precision(case: Case) -> Cause | None:
    """A gradient that went through short floats."""
    for kind, name in ((np.float16, "float16"), (np.float32, "float32")):
        unit = float(np.finfo(kind).eps)
        near = np.abs(case.analytic - case.numeric) <= 8 * unit * np.maximum(
            np.abs(case.numeric), CLOSE * case.scale
        )
        with np.errstate(over="ignore"):
            short = case.analytic == case.analytic.astype(kind)
        if case.scale and np.all(near) and np.all(short):
            return Cause(
                "float noise", f"the gradient has only the digits of {name}: it went through it on the way"
            )
    return None


def sign(case: Case) -> Cause | None:
    """The negative of what it should be, everywhere or in places."""
    if case.explains(-case.analytic):
        return Cause("sign", f"the gradient of {case.name} is the negative of what it should be")
    flipped = np.where(case.analytic * case.numeric < 0, -case.analytic, case.analytic)
    if case.explains(flipped):
        return Cause("sign", f"some elements of the gradient of {case.name} have the wrong sign")
    return None


def factor(case: Case) -> Cause | None:
    """A multiple of what it should be."""
    flat = case.numeric.ravel()
    square = float(flat @ flat)
    ratio = float(case.analytic.ravel() @ flat) / square if square else 0.0
    if not ratio or not math.isfinite(ratio) or not case.explains(case.analytic / ratio):
        return None
    known = spelled(ratio, case)
    telling = np.count_nonzero(np.abs(case.numeric) > 0.01 * case.scale) > 2
    if not known and not telling:
        return None
    many = f"{known or format(ratio, '.6g')} times what it should be"
    return Cause("factor", f"the gradient of {case.name} is {many}", ratio)


def spelled(ratio: float, case: Case) -> str:
    """A factor in words: a small number, a size, an attribute, or one over it; empty if it is none."""
    sizes = {f"the size {n} of an axis": n for n in (*case.shape, *case.result) if n > 1}
    sizes[f"the {math.prod(case.shape)} elements"] = math.prod(case.shape)
    sizes[f"the {math.prod(case.result)} results"] = math.prod(case.result)
    named: dict[str, float] = {str(n): n for n in range(2, 10)}
    named |= {what: float(n) for what, n in sizes.items()}
    for field in dataclasses.fields(case.op) if case.op else ():
        value = getattr(case.op, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value not in (0, 1):
            named[f"{field.name} = {value!r}"] = float(value)
    found = []
    for what, n in named.items():
        for shape, value in ((what, n), (f"1 / {what}", 1 / n), (f"the square of {what}", n * n)):
            if math.isclose(abs(ratio), value, rel_tol=1e-5):
                found.append(f"-({shape})" if ratio < 0 else shape)
    return " or ".join(found[:3])


def arguments(case: Case) -> Cause | None:
    """Right if two arguments of the rule change places."""
    if case.exchanged is None:
        return None
    for what, gradient in case.exchanged():
        if case.explains(gradient):
            return Cause("wrong input", f"the rule for {case.name} is right with {what}")
    return None


def other_input(case: Case) -> Cause | None:
    """What belongs to another input."""
    for name, shape, numeric in case.others:
        if shape == case.shape and numeric.shape == case.analytic.shape and np.any(numeric):
            error = np.abs(case.analytic - numeric)
            if np.all(error <= CLOSE * max(case.scale, float(np.max(np.abs(numeric))))):
                return Cause("wrong input", f"what the rule gives for {case.name} is the gradient of {name}")
    return None


def some_uses(case: Case) -> Cause | None:
    """Some rows are right and others left out: a sum over the copies of an element is not whole."""
    loose = 8 * case.error + CLOSE * case.scale
    left_out = (np.abs(case.analytic) <= loose) & (np.abs(case.numeric) > loose)
    right = np.abs(case.analytic - case.numeric) <= loose
    if not left_out.any() or not np.all(right | left_out) or not np.any(np.abs(case.analytic) > loose):
        return None
    if case.broadcasts:
        return Cause("broadcast sum", f"{case.name} was repeated, and only some of the copies are summed")
    largest = np.max(np.abs(case.numeric), axis=0, keepdims=True)
    alike = np.all((np.abs(case.numeric) <= loose) | (np.abs(np.abs(case.numeric) - largest) <= loose))
    if alike:
        return Cause(
            "accumulation", f"elements of {case.name} are used several times, and not every use is counted"
        )
    return None


def transposed(case: Case) -> Cause | None:
    """Right with axes in another order: of the input, of the result, or of the whole Jacobian."""
    rows = len(case.numeric)
    ways: list[tuple[str, np.ndarray]] = []
    if case.whole and 1 < len(case.shape) < 5:
        by_input = case.analytic.reshape(rows, *case.shape)
        for order in itertools.permutations(range(1, len(case.shape) + 1)):
            moved = by_input.transpose(0, *order)
            ways.append((f"the gradient of {case.name}", moved.reshape(rows, -1)))
            backward = case.analytic.reshape(rows, *(case.shape[a - 1] for a in order))
            ways.append(
                (
                    f"the gradient of {case.name}",
                    backward.transpose(0, *(1 + np.argsort(order))).reshape(rows, -1),
                )
            )
    if case.outputs is not None and 1 < len(case.outputs) < 5:
        for order in itertools.permutations(range(len(case.outputs))):
            moved = case.analytic.reshape(*case.outputs, -1).transpose(*order, len(case.outputs))
            ways.append(("the incoming cotangent", moved.reshape(case.analytic.shape)))
    if case.outputs is not None and case.whole and rows == case.numeric.shape[1]:
        ways.append(("a factor of the rule", case.analytic.T))
    for what, moved in ways:
        if case.explains(moved):
            if case.broadcasts:
                return Cause(
                    "broadcast sum", f"{case.name} was repeated, and the sum runs over the wrong axis"
                )
            return Cause("transposed", f"{what} has its axes in the wrong order")
    return None


def of_shape(name: str, found: Shape, expected: Shape) -> Cause:
    """What a gradient of the wrong shape tells."""
    fact = f"the gradient of {name} is {show(found)}, expected {show(expected)}"
    if len(found) == len(expected) and sorted(map(str, found)) == sorted(map(str, expected)):
        return Cause("transposed", fact)
    return Cause("broadcast sum", f"{fact}: what was repeated must be summed, what was summed repeated")
