"""Why a gradient is wrong, most likely: simple mistakes are tried until one explains the numbers.

A mistake explains either all derivatives, or those that are wrong while the others are right already;
then the sentence says where these are.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Shape, show

CLOSE = 1e-6  # part of the largest derivative by which an explanation may miss
MUCH_LESS = 0.01  # the same as a part of what is to be explained
TELLING = 3  # wrong elements from which on one factor for all of them says something
TRIES = 5  # axes up to which every order is tried


class Cause(NamedTuple):
    """A fixed word, a sentence, and a factor where the word is `factor`."""

    word: str
    sentence: str
    factor: float | None = None


class Other(NamedTuple):
    """Another input of the same check, with its Jacobians."""

    name: str
    shape: tuple[int, ...]
    analytic: np.ndarray
    numeric: np.ndarray


@dataclasses.dataclass
class Case:
    """One input whose gradient is wrong: Jacobians by rule and by differences, and what is around them.

    Shapes
        analytic, numeric, error, wrong (rows, columns). `outputs` is the one shape of the results if the
        rows are all their elements in order; `columns` are numbers of elements of the input, None for
        directions.
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
    others: Sequence["Other"] = ()
    variants: Callable[[], Iterator[tuple[Cause, np.ndarray]]] | None = None  # the rule, read in other ways
    cuts: Sequence[str] = ()  # what was computed from this input without being recorded
    recorded_use: bool = False  # whether some other use of it was
    region: bool = False  # whether these are the wrong elements alone
    linear: bool = False  # whether the function is a straight line in this input
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # inputs and result by name

    @cached_property
    def scale(self) -> float:
        """Size of the largest derivative."""
        return float(np.max(np.abs(self.numeric), initial=0.0))

    @cached_property
    def loose(self) -> np.ndarray:
        """How far two values may lie apart and still be called equal: far less than the rule is off."""
        off = float(np.max(np.abs(self.analytic - self.numeric), initial=0.0))
        return np.asarray(8 * self.error + min(CLOSE * self.scale, MUCH_LESS * off))

    @property
    def whole(self) -> bool:
        """Whether the columns are all elements of the input."""
        return self.columns is not None and len(self.columns) == math.prod(self.shape)

    def explains(self, other: np.ndarray) -> bool:
        """Whether `other` is what differences give."""
        return other.shape == self.numeric.shape and bool(np.all(np.abs(other - self.numeric) <= self.loose))

    def narrowed(self) -> "Case | None":
        """The wrong elements of the input by themselves, with the wrong results; None where that is all."""
        if self.columns is None or not self.wrong.any():
            return None
        rows, columns = self.wrong.any(axis=1), self.wrong.any(axis=0)
        if rows.all() and columns.all():
            return None
        pick = np.ix_(rows, columns)
        return dataclasses.replace(
            self, analytic=self.analytic[pick], numeric=self.numeric[pick], error=self.error[pick],
            wrong=self.wrong[pick], columns=self.columns[columns], outputs=None, picked=None, others=(), variants=None,
            region=True,
        )  # fmt: skip

    @cached_property
    def copies(self) -> np.ndarray | None:
        """For each row the number of the element that was repeated into it; None where none was."""
        size = math.prod(self.shape)
        if self.picked is None or self.columns is None or size >= math.prod(self.result):
            return None
        live = np.abs(self.numeric) > self.loose
        for whole in repeated(np.arange(size).reshape(self.shape), self.result):
            source: np.ndarray = whole.ravel()[self.picked]
            own = self.columns == source[:, None]
            if not np.any(live & ~own) and 2 * np.count_nonzero(live) > np.count_nonzero(own):
                return source
        return None


def repeated(x: np.ndarray, shape: Shape) -> Iterator[np.ndarray]:
    """Ways in which `x` fills an array of this shape by being repeated along axes; NumPy's own comes first."""
    for kept in list(itertools.combinations(range(len(shape)), x.ndim))[::-1]:
        if all(n in (1, shape[axis]) for n, axis in zip(x.shape, kept, strict=True)):
            lined_up = [x.shape[kept.index(axis)] if axis in kept else 1 for axis in range(len(shape))]
            yield np.broadcast_to(x.reshape(lined_up), shape)


def likely(case: Case) -> Cause:
    """The first mistake that explains all numbers of `case`; where none does, a term is missing."""
    part = case.narrowed()
    telling = part is not None and part.analytic.shape[1] >= TELLING
    searches: list[tuple[Case | None, Sequence[Callable[[Case], Cause | None]]]] = [
        (case, (cut, precision, sign, exchanged, factor)),
        (part if telling and not case.linear else None, (sign, factor)),
        (case, (variant, other_input, some_uses, spilled, transposed, left_out)),
        (part, (sign, factor, left_out)),
    ]
    for searched, mistakes in searches:
        for mistake in mistakes if searched is not None else ():
            found = mistake(searched)  # type: ignore[arg-type]
            if found:
                region = "" if searched is case else f", {where(case)}"
                return found._replace(sentence=found.sentence + region)
    return flipped(case) or digits(case) or factors(case) or missing(case)


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
        size = np.maximum(np.abs(case.numeric), CLOSE * case.scale)
        with np.errstate(over="ignore"):
            short = case.analytic == case.analytic.astype(kind)
        if case.scale and np.all(np.abs(case.analytic - case.numeric) <= 8 * unit * size) and np.all(short):
            said = f"the gradient of {case.name} has only the digits of {name}: it went through it on the way"
            return Cause("float noise", said)
    return None


def digits(case: Case) -> Cause | None:
    """Right but for the last half of the digits, and off to both sides there, as by rounding."""
    gap = case.analytic - case.numeric
    off = (gap * np.sign(case.numeric))[case.wrong]
    if np.all(np.abs(gap) <= 8 * np.finfo(np.float32).eps * case.scale) and off.min() < 0 < off.max():
        said = f"the gradient of {case.name} has hardly more digits than float32: something went through it"
        return Cause("float noise", said)
    return None


def sign(case: Case) -> Cause | None:
    """The negative of what it should be."""
    if case.explains(-case.analytic):
        return Cause("sign", f"the gradient of {case.name} is the negative of what it should be")
    return None


def flipped(case: Case) -> Cause | None:
    """The negative in places that follow no region."""
    turned = np.where(case.analytic * case.numeric < 0, -case.analytic, case.analytic)
    if case.explains(turned):
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
    telling = case.region or np.count_nonzero(np.abs(case.numeric) > 0.01 * case.scale) > 2
    if not known and not telling and not math.isclose(ratio, float(f"{ratio:.3g}"), rel_tol=CLOSE):
        return None  # one number is some multiple of another always
    many = f"{known or format(ratio, '.6g')} times what it should be"
    return Cause("factor", f"the gradient of {case.name} is {many}", ratio)


def factors(case: Case) -> Cause | None:
    """A multiple, but another along one axis."""
    if case.columns is None or not case.shape or not np.any(case.analytic):
        return None
    live = np.abs(case.numeric) > 0.01 * case.scale
    for axis, index in enumerate(np.unravel_index(case.columns, case.shape)):
        ratios, moved = [], case.analytic.copy()
        for n in np.unique(index):
            own = (index == n) & live
            if np.count_nonzero(own) < TELLING:
                break
            ratios.append(float(np.median(case.analytic[own] / case.numeric[own])))
            moved[:, index == n] /= ratios[-1] or np.inf
        else:
            if len(ratios) > 1 and case.explains(moved):
                many = f"between {min(ratios):.6g} and {max(ratios):.6g} times"
                said = f"the gradient of {case.name} is {many} what it should be, another factor along axis {axis}"
                return Cause("factor", said)
    return None


def is_whole(number: float) -> bool:
    """Whether this is a whole number, 2 or more."""
    return number > 1.5 and math.isclose(number, round(number), rel_tol=CLOSE)


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


def variant(case: Case) -> Cause | None:
    """Right if the rule is read in another way: with arguments or axes exchanged."""
    for found, gradient in case.variants() if case.variants else ():
        if case.explains(gradient) and not (found.word == "transposed" and case.copies is not None):
            return found
    return None


def other_input(case: Case) -> Cause | None:
    """What belongs to another input."""
    for other in case.others:
        if is_gradient_of(case, other):
            said = f"what the rule gives for {case.name} is the gradient of {other.name}"
            return Cause("wrong input", said)
    return None


def exchanged(case: Case) -> Cause | None:
    """What belongs to another input, which has got the gradient of this one."""
    for other in case.others:
        back = other.analytic.shape == case.numeric.shape
        if back and is_gradient_of(case, other) and case.explains(other.analytic):
            said = f"the rule gives the gradients of {case.name} and {other.name} in each other's place"
            return Cause("wrong input", said)
    return None


def is_gradient_of(case: Case, other: Other) -> bool:
    """Whether the rule gives the gradient of that other input."""
    if other.shape != case.shape or other.numeric.shape != case.analytic.shape or not np.any(other.numeric):
        return False
    size = max(case.scale, float(np.max(np.abs(other.numeric))))
    return bool(np.all(np.abs(case.analytic - other.numeric) <= CLOSE * size))


def some_uses(case: Case) -> Cause | None:
    """Copies or uses of an element that are not counted, or those of others that are."""
    zero, right = np.abs(case.analytic) <= case.loose, np.abs(case.analytic - case.numeric) <= case.loose
    needed = np.abs(case.numeric) > case.loose
    if case.copies is not None and np.any(~zero & ~needed) and not is_reordered(case):
        return Cause(
            "broadcast sum", f"{case.name} was repeated, and the sum takes in what belongs to others"
        )
    if not np.any(zero & needed) or not np.all(right | zero) or zero.all():
        return partial_uses(case)
    if case.copies is not None:
        return Cause("broadcast sum", f"{case.name} was repeated, and only some of the copies are summed")
    lost = np.all(zero, axis=1) & needed.any(axis=1)  # results of which nothing comes back
    others = np.any(needed & right & ~lost[:, None], axis=0)
    whole = (
        case.outputs is not None
        and np.all(right | lost[:, None])
        and np.all(others | ~needed[lost].any(axis=0))
    )
    again = np.any(needed & right, axis=0)  # elements of which some use is counted
    if (case.linear and np.all(again | ~(zero & needed).any(axis=0))) or (lost.any() and whole):
        said = f"elements of {case.name} are used several times, and not every use is counted"
        return Cause("accumulation", said)
    return None


def partial_uses(case: Case) -> Cause | None:
    """Elements that count once, or not at all, where they are used two times or more."""
    zero, needed = np.abs(case.analytic) <= case.loose, np.abs(case.numeric) > case.loose
    if not case.linear or zero.all() or np.any(~zero & ~needed):
        return None
    uses = np.unique(np.round(case.numeric[~zero] / case.analytic[~zero], 5))
    if len(uses) > 1 and all(u == 1 or is_whole(u) for u in uses):
        said = f"some elements of {case.name} are used {uses[-1]:.0f} times, and count once"
        return Cause("accumulation", said)
    return None


def spilled(case: Case) -> Cause | None:
    """A sum over axes along which nothing was repeated: the result has them too."""
    if not case.whole or case.outputs != case.shape or not np.any(case.analytic):
        return None
    shape = (len(case.numeric), *case.shape)
    long = [axis for axis, n in enumerate(shape) if axis and n > 1]
    for count in range(1, len(long) + 1):
        for axes in itertools.combinations(long, count):
            many = math.prod(shape[axis] for axis in axes)
            total = np.broadcast_to(case.numeric.reshape(shape).sum(axes, keepdims=True), shape)
            for sums in (total, total / many):
                if np.all(
                    np.abs(sums.reshape(case.analytic.shape) - case.analytic) <= many * case.loose.max()
                ):
                    place = " and ".join(str(axis - 1) for axis in axes)
                    said = f"the gradient of {case.name} is summed over axis {place}, along which it was not repeated"
                    return Cause("broadcast sum", said)
    return None


def is_reordered(case: Case) -> bool:
    """Whether an order of the axes of the cotangent makes it right."""
    return any(case.explains(moved) for _, moved in reorderings(case))


def transposed(case: Case) -> Cause | None:
    """Right with axes in another order: of the input, of the result, or of the whole Jacobian."""
    for what, moved in reorderings(case):
        if not case.explains(moved):
            continue
        kept = np.sort(np.abs(case.analytic)) - np.sort(
            np.abs(case.numeric)
        )  # each number has its own factor still
        if (
            case.copies is not None
            and what == "the incoming gradient"
            and np.all(np.abs(kept) <= case.loose.max())
        ):
            return Cause("broadcast sum", f"{case.name} was repeated, and the sum runs over the wrong axis")
        return Cause("transposed", f"{what} has its axes or elements in the wrong order")
    return None


def reorderings(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    """What the rule gives, with axes or elements in other orders."""
    rows, size = len(case.numeric), case.numeric.shape
    if case.whole and 1 <= len(case.shape) <= TRIES:
        own = f"the gradient of {case.name}"
        whole = case.analytic.reshape(rows, *case.shape)
        for order in itertools.permutations(range(1, len(case.shape) + 1)):
            yield own, whole.transpose(0, *order).reshape(size)
            backward = case.analytic.reshape(rows, *(case.shape[a - 1] for a in order))
            yield own, backward.transpose(0, *(1 + np.argsort(order))).reshape(size)
        for axis in range(1, len(case.shape) + 1):
            yield own, np.flip(whole, axis).reshape(size)
    if case.outputs is not None and 1 <= len(case.outputs) <= TRIES:
        whole = case.analytic.reshape(*case.outputs, -1)
        for order in itertools.permutations(range(len(case.outputs))):
            yield "the incoming gradient", whole.transpose(*order, len(case.outputs)).reshape(size)
        for axis in range(len(case.outputs)):
            yield "the incoming gradient", np.flip(whole, axis).reshape(size)
    if case.outputs is not None and case.whole and rows == size[1]:
        yield "a factor of the rule", case.analytic.T
    if case.whole:
        yield f"the gradient of {case.name}", in_order_of(case.analytic.T, case.numeric.T).T
    yield "the incoming gradient", in_order_of(case.analytic, case.numeric)


def in_order_of(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The rows in such an order that they equal the others, if there is one."""
    keys = np.random.default_rng(0).uniform(1, 2, rows.shape[1])
    moved = np.empty_like(rows)
    moved[np.argsort(others @ keys)] = rows[np.argsort(rows @ keys)]
    return moved


def left_out(case: Case) -> Cause | None:
    """A factor that is one of the arrays and was left out, or is there once too often."""
    if not np.any(case.analytic):
        return None
    for name, array in case.arrays.items():
        for along, shape, numbers in ((1, case.shape, case.columns), (0, case.outputs, None)):
            if shape is None or (along and numbers is None) or array.dtype.kind != "f":
                continue
            for v in spread(array, shape):
                v = v[numbers] if numbers is not None else v
                v = v[None, :] if along else v[:, None]
                if np.all(v == v.flat[0]) and v.size < case.numeric.size:
                    continue
                with np.errstate(all="ignore"):
                    if case.explains(case.analytic * v):
                        return Cause("factor", f"the gradient of {case.name} lacks the factor {name}")
                    if case.explains(case.analytic / v):
                        return Cause("factor", f"the gradient of {case.name} has the factor {name} too many")
    return None


def spread(array: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Ways in which an array fits a shape: as NumPy repeats it, or a vector along one axis. Flat."""
    if array.size < 2:
        return
    if array.ndim == 1:
        for axis, n in enumerate(shape):
            if n == len(array):
                along = array.reshape([-1 if a == axis else 1 for a in range(len(shape))])
                yield np.broadcast_to(along, shape).ravel()
        return
    try:
        yield np.broadcast_to(array, shape).ravel()
    except ValueError:
        return


def missing(case: Case) -> Cause:
    """No simple mistake: what the numbers tell about the term that is missing or too many."""
    name = case.name
    if not np.any(case.analytic):
        return Cause("missing term", f"the rule gives no gradient for {name}, on which the result depends")
    gap = case.numeric - case.analytic
    square = case.outputs is not None and case.whole and gap.shape[0] == gap.shape[1]
    if square:
        off = ~np.eye(len(gap), dtype=bool)
        own, other = np.diagonal(gap), gap[off]
        if np.all(np.abs(other) <= case.loose[off]) and np.ptp(own) <= case.loose.max():
            amount = f"{abs(own[0]):.6g} times the incoming gradient"
            return Cause("missing term", f"{amount} is {'missing' if own[0] > 0 else 'too many'} for {name}")
        if np.any(case.numeric[off]) and not np.any(case.analytic[off]):
            said = f"each element of {name} is treated alone; its way through the other results is left out"
            return Cause("missing term", said)
    return Cause(
        "missing term", f"the gradient of {name} is no simple multiple of what it should be{at(case)}"
    )


def at(case: Case) -> str:
    """The region, as the end of a sentence."""
    region = where(case)
    return f", {region}" if region else ""


def where(case: Case) -> str:
    """Which elements of the input are wrong, in words; empty if all."""
    if case.columns is None:
        return ""
    bad: np.ndarray = np.asarray(case.wrong.any(axis=0))
    live = (
        np.asarray((np.abs(case.numeric) > case.loose).any(axis=0)) | bad
    )  # others are 0 and cannot be wrong
    if bad[live].all() and not case.wrong.any(axis=1).all():
        return f"in {np.count_nonzero(case.wrong.any(axis=1))} of {len(case.wrong)} results"
    if bad[live].all():
        return "in places"
    if np.count_nonzero(bad) == 1:
        element = np.unravel_index(int(case.columns[np.flatnonzero(bad)[0]]), case.shape)
        return f"at {case.name}{[int(a) for a in element]} alone"
    x = case.arrays.get(case.name)
    x = None if x is None else x.ravel()[case.columns]
    for said, region in () if x is None else (("negative", x < 0), ("positive", x > 0)):
        if np.array_equal(bad[live], region[live]):
            return f"where {case.name} is {said}"
    places = np.unravel_index(case.columns, case.shape)
    for axis, index in enumerate(places):
        fixed = index[bad][0]
        if np.array_equal(bad[live], (index == fixed)[live]):
            return f"where axis {axis} is {fixed}"
    return f"in {np.count_nonzero(bad)} of {len(bad)} elements"


def of_shape(name: str, found: Shape, expected: Shape) -> Cause:
    """What a gradient of the wrong shape tells."""
    fact = f"the gradient of {name} is {show(found)}, expected {show(expected)}"
    if len(found) != len(expected) and [n for n in found if n > 1] == [n for n in expected if n > 1]:
        return Cause(
            "broadcast sum", f"{fact}: an axis of size 1 is lost or too many; keepdims=True keeps it"
        )
    if math.prod(found) == math.prod(expected):
        return Cause("transposed", f"{fact}: the elements of {name} in another arrangement")
    return Cause("broadcast sum", f"{fact}: what was repeated must be summed, what was summed repeated")
