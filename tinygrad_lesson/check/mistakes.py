"""The table of mistakes: for each a word, a sentence, and what the gradient would be without it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.shapes import Shape

BITS = 20.0  # what one derivative tells: differences know no more; a number that is fitted costs as much
SHORT_BITS = 10.0  # of a number of two digits: there are some 900 of them below 10, and as many beyond
NAMED_BITS = 6.0  # of one that has a name: there are some dozens of names
TRIES = 5  # axes up to which every order is tried: 120 of them
EXACT = 2.0**-BITS  # part by which a fitted number may miss one that has a name


class Guess(NamedTuple):
    """What was seen, if a mistake was made: `made`, and any multiples of `free`.

    `seen` is what differences give, unless something else is compared. `bits` says how much was chosen freely, `price`
    what a multiple costs, `told` which numbers were not, so that they tell something,
    `loose` how far apart two may lie.
    """

    said: str | Callable[..., str]
    made: np.ndarray
    free: tuple[np.ndarray, ...] = ()
    seen: np.ndarray | None = None
    bits: float = 0.0
    price: Callable[[float], float] | None = None
    told: np.ndarray | None = None
    loose: Any = None


class Mistake(NamedTuple):
    """A row of the table; a `local` one may be made in some places only."""

    word: str
    sentence: str
    guesses: Callable[[Any], Iterator[Guess]]
    local: bool = False


def cut(wholly: bool) -> Callable[[Any], Iterator[Guess]]:
    """A use that was not recorded, while another was unless `wholly`: that was seen, whatever the numbers are."""

    def guesses(case: Any) -> Iterator[Guess]:
        if case.cuts and wholly != bool(case.recorded_use and np.any(case.analytic)):
            ops = list(dict.fromkeys(case.cuts))
            taken = "takes a number that was" if len(ops) == 1 else "take numbers that were"
            said = f"{' and '.join(ops)} {taken} computed from {case.name} without being recorded"
            yield Guess(said, case.numeric, bits=-math.inf)

    return guesses


def shortened(case: Any) -> Iterator[Guess]:
    """Rounded to short floats: every number is one, or the last half of the digits is off to both sides."""
    for kind in (np.float16, np.float32):
        unit = float(np.finfo(kind).eps)
        short = np.all(case.analytic == case.analytic.astype(kind))
        largest = np.max(case.scale, initial=0.0)
        size = np.maximum(np.abs(case.numeric), EXACT * largest) if short else largest
        off = ((case.analytic - case.numeric) * np.sign(case.numeric))[case.wrong]
        if short or (kind is np.float32 and off.min() < 0 < off.max()):
            lost = 1024 if short and kind is np.float32 else 8  # 24 bits are not by chance
            yield Guess(np.dtype(kind).name, case.analytic, loose=lost * unit * size, bits=-1.0)


def negative(case: Any) -> Iterator[Guess]:
    """The negative of what it should be."""
    yield Guess("", -case.analytic)


def multiple(case: Any) -> Iterator[Guess]:
    """A multiple of what it should be."""

    def price(c: float) -> float:
        if not c or not math.isfinite(1 / c):
            return math.inf
        short = is_short(1 / c) or (0 < 1 / c < 2 and is_short(1 / c - 1))
        return NAMED_BITS if spelled(1 / c, case) else SHORT_BITS if short else BITS

    def said(c: float) -> str:
        return spelled(1 / c, case) or format(1 / c, ".10g")

    if not case.zero.all():  # up to rounding
        yield Guess(said, np.zeros_like(case.numeric), (case.analytic,), price=price)


def by_axis(case: Any) -> Iterator[Guess]:
    """A multiple, but another along one axis."""
    if case.columns is None or not case.shape or not np.any(case.analytic):
        return
    for axis, index in enumerate(np.unravel_index(case.columns, case.shape)):
        parts = tuple(np.where(index == n, case.analytic, 0.0) for n in np.unique(index))

        def said(*cs: float, axis: int = axis) -> str:
            least, most = min(1 / c for c in cs), max(1 / c for c in cs)
            return f"between {least:.6g} and {most:.6g} times what it should be, another factor along axis {axis}"

        if len(parts) > 1:
            yield Guess(said, np.zeros_like(case.numeric), parts)


def is_short(number: float) -> bool:
    """Whether this is a number of one or two digits, none of them far behind the point."""
    return 1e-3 < abs(number) < 1e3 and math.isclose(number, float(f"{number:.2g}"), rel_tol=EXACT)


def spelled(ratio: float, case: Any) -> str:
    """A factor in words: a small number or fraction, and the size or attribute that it may be; empty if it is none."""
    shapes = {case.name: case.shape} | ({"the result": case.result} if case.result != case.shape else {})
    named = {f"the size {n} of axis {a} of {x}": n for x, s in shapes.items() for a, n in enumerate(s)}
    named |= {f"the {math.prod(s)} elements of {x}": math.prod(s) for x, s in shapes.items()}
    values = ((f.name, getattr(case.op, f.name)) for f in (dataclasses.fields(case.op) if case.op else ()))
    named |= {f"{name} = {value!r}": value for name, value in values if isinstance(value, int | float)}
    found = []
    for what, n in named.items():
        powers = {what: n, f"the square of {what}": n * n, f"1 / {what}": 1 / n if n else 0}
        found += [x for x, c in powers.items() if c != 1 and math.isclose(abs(ratio), c, rel_tol=EXACT)]
    small = Fraction(ratio).limit_denominator(10)
    is_small = abs(small.numerator) <= 10 and small != 1 and math.isclose(ratio, small, rel_tol=EXACT)
    number = str(small).replace("/", " / ") if is_small else format(ratio, ".6g")
    return f"{number} (perhaps {' or '.join(found[:2])})" if found else number if is_small else ""


def arrays_along(case: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Inputs and result as factors of a Jacobian, along its columns or rows."""
    for name, array in case.arrays.items():
        for along, shape in ((1, case.shape if case.columns is not None else ()), (0, case.outputs or ())):
            useful = shape and array.size > 1 and array.dtype.kind == "f"
            for whole in repeated(array, shape) if useful else ():
                v = whole.ravel()[case.columns] if along else whole.ravel()
                if np.ptp(v) or v.size == case.numeric.size:
                    v = v[None, :] if along else v[:, None]
                    yield from ((name, v), (f"log({name})", np.log(v)))


def repeated(x: np.ndarray, shape: Shape) -> Iterator[np.ndarray]:
    """Ways in which `x` fills an array of this shape by being repeated along axes; NumPy's own comes first."""
    for kept in list(itertools.combinations(range(len(shape)), x.ndim))[::-1]:
        if all(n in (1, shape[axis]) for n, axis in zip(x.shape, kept, strict=True)):
            lined_up = [x.shape[kept.index(axis)] if axis in kept else 1 for axis in range(len(shape))]
            yield np.broadcast_to(x.reshape(lined_up), shape)


def left_out(case: Any) -> Iterator[Guess]:
    """A factor that is one of the arrays was left out, or is there once too often."""
    for name, v in arrays_along(case) if np.any(case.analytic) else ():
        yield Guess(f"lacks the factor {name}", case.analytic * v)
        yield Guess(f"has the factor {name} too many", case.analytic / v)


def exchanged(case: Any) -> Iterator[Guess]:
    """What belongs to another input, which has got the gradient of this one."""
    for other in case.others:
        if other.shape == case.shape and other.analytic.shape == case.numeric.shape == other.numeric.shape:
            made, seen = np.stack([other.analytic, other.numeric]), np.stack([case.numeric, case.analytic])
            yield Guess(other.name, made, seen=seen)


def read_otherwise(word: str) -> Callable[[Any], Iterator[Guess]]:
    """Right if the rule is read in another way: with arguments or axes exchanged."""

    def guesses(case: Any) -> Iterator[Guess]:
        if word != "transposed" or case.copies is None:
            yield from (Guess(said, made) for found, said, made in case.variants if found == word)

    return guesses


def reordered(case: Any) -> Iterator[Guess]:
    """Axes or elements in another order: of the input, of the result, or of the whole Jacobian."""
    own, g = f"the gradient of {case.name}", "the incoming gradient"
    rows, size = len(case.numeric), case.numeric.shape
    if case.whole:
        for moved in arrangements(case.analytic.reshape(rows, *case.shape), 1):
            yield Guess(own, moved.reshape(size))
    if case.outputs is not None:
        for moved in arrangements(case.analytic.reshape(*case.outputs, -1).T, 1):
            yield Guess(g, moved.reshape(size[::-1]).T)
    if case.outputs is not None and case.whole and rows == size[1]:
        yield Guess("a factor of the rule", case.analytic.T)
    if case.whole:
        yield Guess(own, in_order_of(case.analytic.T, case.numeric.T).T, bits=orders(size[1]))
    yield Guess(g, in_order_of(case.analytic, case.numeric), bits=orders(rows))


def arrangements(x: np.ndarray, first: int) -> Iterator[np.ndarray]:
    """An array with its axes from `first` on in other orders, there and back, or read backwards along one."""
    axes = range(first, x.ndim)
    for order in itertools.permutations(axes) if 1 <= len(axes) <= TRIES else ():
        yield x.transpose(*range(first), *order)
        backward = x.reshape(*x.shape[:first], *(x.shape[a] for a in order))
        yield backward.transpose(*range(first), *(first + np.argsort(order)))
    yield from (np.flip(x, some) for count in (1, 2) for some in itertools.combinations(axes, count))


def orders(n: int) -> float:
    """Bits that an order of so many things costs."""
    return math.lgamma(n + 1) / math.log(2)


def choice(chosen: np.ndarray, among: np.ndarray) -> float:
    """Bits that it takes to say which of several are chosen."""
    n, k = int(among.sum()), int((chosen & among).sum())
    return orders(n) - orders(k) - orders(n - k)


def in_order_of(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The rows in such an order that they equal the others, if there is one."""
    keys = np.random.default_rng(0).uniform(1, 2, rows.shape[1])
    moved = np.empty_like(rows)
    moved[np.argsort(others @ keys)] = rows[np.argsort(rows @ keys)]
    return moved


def wrong_axis(case: Any) -> Iterator[Guess]:
    """What was repeated, summed over another axis: each result counts as it should, but for other elements."""
    if case.copies is None:
        return
    moved = np.empty_like(case.analytic)
    np.put_along_axis(moved, np.argsort(case.numeric, axis=1), np.sort(case.analytic, axis=1), 1)
    yield Guess("", moved, bits=-1.0)


def spilled(case: Any) -> Iterator[Guess]:
    """A sum over axes along which nothing was repeated: the result has them too."""
    if not case.square or not np.any(case.analytic):
        return
    shape = (len(case.numeric), *case.shape)
    long = [axis for axis, n in enumerate(shape) if axis and n > 1]
    for axes in itertools.chain(*(itertools.combinations(long, n) for n in range(1, len(long) + 1))):
        total = np.broadcast_to(case.numeric.reshape(shape).sum(axes, keepdims=True), shape)
        for made in (total, total / math.prod(shape[axis] for axis in axes)):
            said = " and ".join(str(axis - 1) for axis in axes)
            yield Guess(said, made.reshape(case.numeric.shape), seen=case.analytic)


def uncounted(case: Any) -> Iterator[Guess]:
    """Derivatives that are right, but for those that are 0."""
    lost = case.zero & case.live
    yield Guess("", np.where(lost, case.numeric, case.analytic), bits=choice(lost, case.live), told=~lost)


def copies_lost(case: Any) -> Iterator[Guess]:
    """Copies of what was repeated that are not counted."""
    return uncounted(case) if case.copies is not None else iter(())


def uses_lost(case: Any) -> Iterator[Guess]:
    """Uses of elements that are not counted, though others are."""
    lost, again = case.zero & case.live, (case.live & ~case.zero).any(axis=0)
    none = case.zero.all(axis=1) & case.live.any(axis=1)  # results of which nothing comes back
    others = np.any(case.live & ~lost & ~none[:, None], axis=0)
    straight = case.linear and np.all(again | ~lost.any(axis=0))
    results = case.outputs is not None and none.any() and not np.any(lost[~none])
    if case.copies is None and (straight or (results and np.all(others | ~case.live[none].any(axis=0)))):
        yield from uncounted(case)


def counted_once(case: Any) -> Iterator[Guess]:
    """Elements that count once or not at all, where they are used several times."""
    lost = case.zero & case.live
    uses = np.where(case.live & ~lost, np.nan_to_num(case.numeric / case.analytic), 1.0)
    whole = np.round(np.clip(uses, 1, 1e6))
    if case.linear and len(np.unique(whole[case.live & ~lost])) > 1:
        made = np.where(lost, case.numeric, case.analytic * whole)
        bits = np.log2(whole).sum() + choice(lost, case.live) + choice(whole > 1, case.live)
        yield Guess(f"{whole.max():.0f}", made, bits=bits, told=~lost)


def terms(case: Any) -> Iterator[Guess]:
    """A term, made of inputs and results, that is missing or too many: each element's own, or through all results."""
    if not case.square or not np.any(case.analytic):
        return
    fitting = {name: x for name, x in case.arrays.items() if x.dtype.kind == "f" and x.shape == case.shape}
    floats = {name: x.ravel() for name, x in fitting.items()}
    some = [("", np.ones(len(case.numeric))), *((f" * {name}", v) for name, v in floats.items())]
    pairs = itertools.combinations_with_replacement(some[1:], 2)
    powers = [*some, *((one + other, u * v) for (one, u), (other, v) in pairs)]
    made = [(f"g{name}", np.diag(v)) for name, v in powers]
    made += [(f"sum(g{one}){other}", np.outer(u, v)) for one, u in some for other, v in some]
    for term, basis in made:
        size = float(np.linalg.norm(basis) * np.linalg.norm(case.analytic))
        if abs(float(np.vdot(basis, case.analytic))) < (1 - EXACT) * size:  # else it is a factor

            def said(c: float, term: str = term) -> str:
                return f"{abs(c):.6g} * {term} is {'missing' if c > 0 else 'too many'}"

            yield Guess(said, case.analytic, (basis,), price=lambda c: NAMED_BITS if is_short(c) else BITS)


MISTAKES = (
    Mistake("accumulation", "a use of {x} is not counted: {said}", cut(wholly=False)),
    Mistake("missing term", "the way back to {x} is cut: {said}", cut(wholly=True)),
    Mistake("float noise", "the gradient of {x} has only the digits of {said}, which it went through", shortened),
    Mistake("sign", "the gradient of {x} is the negative of what it should be", negative, local=True),
    Mistake("factor", "the gradient of {x} is {said} times what it should be", multiple, local=True),
    Mistake("wrong input", "the rule gives the gradients of {x} and {said} in each other's place", exchanged),
    Mistake("wrong input", "{said}", read_otherwise("wrong input")),
    Mistake("accumulation", "some elements of {x} are used {said} times, and count once", counted_once),
    Mistake("broadcast sum", "{x} was repeated, and the sum runs over the wrong axis", wrong_axis),
    Mistake("broadcast sum", "{x} was repeated, and only some of the copies are summed", copies_lost),
    Mistake("accumulation", "elements of {x} are used several times, and not every use is counted", uses_lost),
    Mistake("broadcast sum", "the gradient of {x} is summed over axis {said}, which was not repeated", spilled),
    Mistake("transposed", "{said}", read_otherwise("transposed")),
    Mistake("transposed", "{said} has its axes or elements in the wrong order", reordered),
    Mistake("factor", "the gradient of {x} {said}", left_out, local=True),
    Mistake("missing term", "in the gradient of {x} {said}", terms),
    Mistake("factor", "the gradient of {x} is {said}", by_axis),
)  # fmt: skip
