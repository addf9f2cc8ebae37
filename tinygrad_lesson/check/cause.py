"""Why a gradient is wrong, most likely: each mistake of a table is undone, and one matcher tells which fits best.

A mistake is a word, a sentence and a transformation: what the gradient would be without it. It explains all
derivatives, or those that are wrong while the others are right already; then the sentence says where these are.
Of the mistakes that explain the numbers the one that needs least to be said is named, and another one beside it
where that needs hardly more.

Source
    Rissanen 1978, "Modeling by shortest data description": what is said, and what it explains, are counted in bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.check.mistakes import BITS, EXACT, MISTAKES, Guess, repeated
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Shape, show

MUCH_LESS = 0.01  # part of the gap between rule and differences that an explanation may leave
NEAR = 3.0  # bits: a mistake that is up to eight times less likely is named too


class Cause(NamedTuple):
    """A fixed word, a sentence, and a factor where the word is `factor`."""

    word: str
    sentence: str
    factor: float | None = None


@dataclasses.dataclass
class Case:
    """One input whose gradient is wrong: Jacobians by rule and by differences, and what is around them.

    Shapes
        analytic, numeric, error, wrong (rows, columns). `outputs` is the one shape of the results if the rows are all
        their elements in order; `columns` are numbers of elements of the input, None for directions.
    """

    name: str
    shape: tuple[int, ...]
    analytic: np.ndarray
    numeric: np.ndarray
    error: np.ndarray
    wrong: np.ndarray
    columns: np.ndarray | None
    outputs: tuple[int, ...] | None
    picked: np.ndarray | None
    result: tuple[int, ...]  # shape of the first result
    op: Op | None = None
    others: Sequence[Any] = ()  # for other inputs of the same check the same: name, shape, analytic, numeric
    variants: Sequence[tuple[str, str, np.ndarray]] = ()  # word, sentence, and the rule read in another way
    cuts: Sequence[str] = ()  # what was computed from this input without being recorded
    recorded_use: bool = False  # whether some other use of it was
    linear: bool = False  # whether the function is a straight line in this input
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # inputs and result by name

    @cached_property
    def scale(self) -> np.ndarray:
        """Size of the largest derivative of each row."""
        return np.asarray(np.max(np.abs(self.numeric), axis=1, keepdims=True, initial=0.0))

    @cached_property
    def loose(self) -> np.ndarray:
        """How far two values may lie apart and still be called equal: far less than the rule is off."""
        off = float(np.max(np.abs(self.analytic - self.numeric), initial=0.0))
        return np.asarray(8 * self.error + np.minimum(EXACT * self.scale, MUCH_LESS * off))

    @cached_property
    def live(self) -> np.ndarray:
        """Which derivatives are not 0."""
        return np.asarray(np.abs(self.numeric) > self.loose)

    @cached_property
    def zero(self) -> np.ndarray:
        """Where the rule says 0."""
        return np.asarray(np.abs(self.analytic) <= self.loose)

    @property
    def whole(self) -> bool:
        """Whether the columns are all elements of the input."""
        return self.columns is not None and len(self.columns) == math.prod(self.shape)

    @property
    def square(self) -> bool:
        """Whether rows and columns are the same elements in order."""
        return self.whole and self.outputs == self.shape

    @cached_property
    def narrowed(self) -> Case | None:
        """The wrong elements of the input by themselves, with the wrong results; None where that is all."""
        rows, columns = self.wrong.any(axis=1), self.wrong.any(axis=0)
        if self.columns is None or not rows.any() or (rows.all() and columns.all()):
            return None
        pick = np.ix_(rows, columns)
        return dataclasses.replace(
            self, analytic=self.analytic[pick], numeric=self.numeric[pick], error=self.error[pick],
            wrong=self.wrong[pick], columns=self.columns[columns], outputs=None, picked=None, others=(), variants=(),
        )  # fmt: skip

    @cached_property
    def copies(self) -> np.ndarray | None:
        """For each row the number of the element that was repeated into it; None where none was."""
        size = math.prod(self.shape)
        if self.picked is None or self.columns is None or size >= math.prod(self.result):
            return None
        for whole in repeated(np.arange(size).reshape(self.shape), self.result):
            source: np.ndarray = whole.ravel()[self.picked]
            own = self.columns == source[:, None]
            if not np.any(self.live & ~own) and 2 * np.count_nonzero(self.live) > np.count_nonzero(own):
                return source
        return None


def likely(case: Case) -> Cause:
    """The mistake that explains the numbers of `case` in the fewest bits; where none does, a term is missing."""
    found: list[tuple[float, Cause]] = []
    for mistake in MISTAKES:
        for part in (case, case.narrowed) if mistake.local else (case,):
            if part is None:
                continue
            extra, region = (0.0, "") if part is case else where(case)
            guesses = list(mistake.guesses(part))
            for guess in guesses:
                bits, fitted = match(part, guess)
                if bits < np.inf:
                    said = guess.said if isinstance(guess.said, str) else guess.said(*fitted)
                    sentence = mistake.sentence.format(x=case.name, said=said) + (region and f", {region}")
                    is_factor = mistake.word == "factor" and len(fitted) == 1
                    factor = float(f"{1 / fitted[0]:.12g}") if is_factor else None
                    cause = Cause(mistake.word, sentence, factor)
                    found.append((bits + math.log2(len(guesses)) + extra, cause))
    if not found:
        return missing(case)
    least, best = min(found, key=lambda each: each[0])
    others = [each for each in found if each[1].word != best.word and each[0] <= least + NEAR]
    if others:
        other = min(others, key=lambda each: each[0])[1]
        best = best._replace(sentence=f"{best.sentence}; or {other.word}: {other.sentence}")
    return best


def match(case: Case, guess: Guess) -> tuple[float, list[float]]:
    """Bits that a guess costs if it explains the numbers, infinity if not; and the multiples that were fitted.

    Multiples of `guess.free` are added by least squares.
    """
    seen = case.numeric if guess.seen is None else guess.seen
    if guess.made.shape != seen.shape:
        return np.inf, []
    loose = case.loose if guess.seen is None else EXACT * np.max(np.abs(seen), initial=1e-300)
    loose = loose if guess.loose is None else guess.loose
    gap, bits, fitted = seen - guess.made, guess.bits, []
    told = np.abs(gap if guess.free else seen) > loose
    if guess.free:
        basis = np.stack([part.ravel() for part in guess.free], axis=1)
        size = np.linalg.norm(basis, axis=0)
        if not np.all((size > 0) & (size < np.inf)):
            return np.inf, []
        fitted = (np.linalg.lstsq(basis / size, gap.ravel(), rcond=None)[0] / size).tolist()
        gap = gap - (basis @ fitted).reshape(gap.shape)
        bits += sum(BITS if guess.price is None else guess.price(c) for c in fitted)
    explains = np.all(np.abs(gap) <= loose)
    count = np.count_nonzero(told if guess.told is None else told & guess.told)
    return (bits, fitted) if explains and bits < BITS * count else (np.inf, [])


def where(case: Case) -> tuple[float, str]:
    """Which elements of the input are wrong, in words, empty if all; and the bits that it takes to say so."""
    if case.columns is None:
        return 0.0, ""
    bad: np.ndarray = np.asarray(case.wrong.any(axis=0))
    rows: np.ndarray = np.asarray(case.wrong.any(axis=1))
    live = case.live.any(axis=0) | bad  # others are 0 and cannot be wrong
    if bad[live].all():
        told = f"in {np.count_nonzero(rows)} of {len(rows)} results"
        return float(len(rows)), "" if rows.all() else told
    if np.count_nonzero(bad) == 1:
        element = np.unravel_index(int(case.columns[np.flatnonzero(bad)[0]]), case.shape)
        return math.log2(len(bad)), f"at {case.name}{[int(a) for a in element]} alone"
    if case.name in case.arrays:
        x = case.arrays[case.name].ravel()[case.columns]
        for said, region in (("negative", x < 0), ("positive", x > 0)):
            if np.array_equal(bad[live], region[live]):
                return 1.0, f"where {case.name} is {said}"
    for axis, index in enumerate(np.unravel_index(case.columns, case.shape)):
        fixed = index[bad][0]
        if np.array_equal(bad[live], (index == fixed)[live]):
            return math.log2(sum(case.shape)), f"where axis {axis} is {fixed}"
    return float(len(bad)), f"in {np.count_nonzero(bad)} of {len(bad)} elements"


def missing(case: Case) -> Cause:
    """No mistake of the table: what the numbers tell about the term that is missing or too many."""
    region, off = where(case)[1], np.eye(*case.numeric.shape) == 0
    region = region and f", {region}"
    said = f"the gradient of {case.name} is no simple multiple of what it should be{region}"
    if case.zero.all():
        said = f"the rule gives no gradient for {case.name}, on which the result depends"
    elif case.square and not np.any(off & ~case.zero) and np.any(case.live & off):
        said = f"each element of {case.name} is treated alone; its effect on the other results is left out"
    return Cause("missing term", said)


def of_shape(name: str, found: Shape, expected: Shape) -> Cause:
    """What a gradient of the wrong shape tells."""
    fact = f"the gradient of {name} is {show(found)}, expected {show(expected)}"
    if len(found) != len(expected) and [n for n in found if n > 1] == [n for n in expected if n > 1]:
        return Cause("broadcast sum", f"{fact}: an axis of size 1 is lost or added; keepdims=True keeps it")
    if math.prod(found) == math.prod(expected):
        return Cause("transposed", f"{fact}: the elements of {name} in another arrangement")
    said = f"sum it over the axes along which {name} is repeated"
    if math.prod(found) < math.prod(expected):
        said = f"repeat it along the axes over which {name} is summed, and sum it over no others"
    return Cause("broadcast sum", f"{fact}: {said}")
