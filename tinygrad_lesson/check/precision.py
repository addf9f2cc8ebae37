"""Single precision against double, and the compiled plan against the rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from tinygrad_lesson.check.compare import Rows, WrongShapeError, pulled, spread
from tinygrad_lesson.check.numeric import EPS, held_back, is_tiny, magnitude, noise_of
from tinygrad_lesson.check.report import Entry, Report, element_at
from tinygrad_lesson.check.subject import Arrays, Subject, SymbolSubject, as_tuple, below, recorded_nodes
from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.engine.kinds import Reduction
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.world import World
from tinygrad_lesson.ops.elementwise import Add, Subtract
from tinygrad_lesson.ops.reduce import SumLike

SHORT = np.float32
UNIT = float(np.finfo(SHORT).eps)
LITTLE = 2.0**-10  # without rounding
TINY = float(np.finfo(SHORT).tiny)
ROUNDED = 4 * EPS  # some roundings, relative to what is rounded
FAR = 2.0**-10  # part of a number by which it moves so that all digits of the result do
DRAWS = 10  # of roundings: up to one in five rounds as before, but all of them once in ten million times
BY_CHANCE = 20.0  # bits that are all 0 by chance once in a million times
ROUNDINGS = 16.0  # that may add up in one number, besides the square root of how many numbers there are
SUMMING = (Add, Subtract, Reduction, SumLike)  # ops in which what was rounded may cancel


def cast(arrays: Arrays, kind: Any) -> list[np.ndarray]:
    """Floats in another element type."""
    return [x.astype(kind) if x.dtype.kind == "f" else x for x in arrays]


def rounded_part(subject: Subject, report: Report, generator: Generator) -> None:
    """Say so where results have gone through single precision, though the inputs have more digits.

    What is left of a sum that cancels may have few digits too, but moves about as far however little
    the inputs do; it is passed over.
    """

    def moved(arrays: Arrays, part: float) -> list[np.ndarray]:
        far = [part * (np.abs(x) + part) * generator.uniform(-1, 1, x.shape) for x in arrays]
        return [x + d if i in subject.wanted else x for i, (x, d) in enumerate(zip(arrays, far, strict=True))]

    here = moved(subject.arrays, FAR)
    first = subject.value(here)
    if not any(np.any(fits(np.frexp(y[np.isfinite(y) & (y != 0)])[0], 24)) for y in first):
        return
    found = [first, *(subject.value(moved(here, part)) for part in (FAR, FAR**4, FAR**4))]
    for k, (y, far, *close) in enumerate(zip(*found, strict=True)):
        noise = np.max([np.abs(c - y) for c in close], axis=0)
        telling = np.isfinite(y) & (np.abs(y - far) > noise / np.sqrt(FAR))  # not a constant
        mantissas = np.frexp(y[telling])[0]
        if not mantissas.size or not np.all(fits(mantissas, 24)) or np.mean(fits(mantissas, 16)) >= 0.5:
            continue
        rounding = rounded_results(subject, here, ROUNDED, generator)[k]
        bits = np.log2(np.abs(y) / np.maximum(noise, rounding))[telling] - 24
        if bits[bits > 0].sum() > BY_CHANCE:
            said = "the result has only the digits of float32: it went through it on the way"
            report.refuse("float noise", "float noise", said)
            return


def fits(mantissas: np.ndarray, bits: int) -> np.ndarray:
    """Which of these need no more than so many bits; what is left of a sum that cancels needs very few."""
    scaled = np.ldexp(mantissas, bits)
    return np.asarray(scaled == np.floor(scaled))


def short_part(subject: Subject, report: Report, rows: Rows, generator: Generator) -> None:
    """Compare gradients in single precision with those in double, at the same numbers."""
    short = cast(subject.arrays, SHORT)
    lost = [~np.isclose(x, y, UNIT, 0, equal_nan=True) for x, y in zip(short, subject.arrays, strict=True)]
    if any(map(np.any, lost)) or not all(np.isfinite(y).all() for y in subject.value(short)):
        report.notes.append("beyond the range of single precision, which was not checked")
        return
    same = cast(short, np.float64)
    shortened = [cast(cast(row, SHORT), np.float64) for row in rows.cotangents]
    rows = dataclasses.replace(rows, cotangents=shortened)
    try:
        found, exact = pulled(subject, short, rows), pulled(subject, same, rows)
    except WrongShapeError:
        return
    bad: list[Entry] = []
    # nothing has to be moved where that is limit enough; farther where it stays: a value near a step of some function
    for reach in (0.0, UNIT, 64 * UNIT):
        bad = parting(subject, rows, found, exact, short_limits(subject, same, rows, exact, reach, generator))
        if not bad:
            return
    said = "the gradient in single precision parts from that in double by more than rounding does"
    report.refuse("float noise", "float noise", said, bad, sides=("float32", "float64"))


def short_limits(
    subject: Subject, same: Arrays, rows: Rows, exact: Arrays, reach: float, generator: Generator
) -> list[np.ndarray]:
    """How far single precision may lie from double.

    This follows from the unit of single precision, from the size of the gradients, and from how much
    those in double precision move when all that is rounded moves by that unit.
    """
    moved = sensitivity(subject, same, rows, exact, reach, generator) if reach else [0 * e for e in exact]
    values = np.abs(rows.weigh(subject.value(same)))
    unit = UNIT * (ROUNDINGS + np.sqrt(max(x.size for x in same)))
    everywhere = max(float(np.max(np.abs(e), initial=0.0)) for e in exact)
    limits = []
    for k, i in enumerate(subject.wanted):
        size = values / max(1.0, float(np.max(magnitude(same[i]))))
        scale = np.maximum(np.maximum(np.max(np.abs(exact[k]), axis=1), size), UNIT * everywhere)
        limits.append(ROUNDINGS * moved[k] + unit * scale[:, None] + TINY)
    return limits


def parting(subject: Subject, rows: Rows, found: Arrays, exact: Arrays, limits: Arrays) -> list[Entry]:
    """The element of each input that is farthest beyond its limit, the worst first."""
    entries = []
    for i, a, b, limit in zip(subject.wanted, found, exact, limits, strict=True):
        beyond = np.abs(a - b) / limit
        if np.all(beyond <= 1):
            continue
        r, c = element_at(np.argmax(np.nan_to_num(beyond, nan=np.inf)), beyond.shape)
        entry = subject.entry(i, c, a[r, c], b[r, c], limit[r, c], output=rows.names[r])
        entries.append((-float(beyond[r, c]), entry))
    return [entry for _, entry in sorted(entries, key=lambda pair: pair[0])]


def farthest(exact: Arrays, again: Callable[[], Any], draws: int, infinite: Any = None) -> list[np.ndarray]:
    """How far some more runs, with all rounded anew, lie from `exact` at most; one that raises tells nothing."""
    most = [np.zeros_like(e) for e in exact]
    for _ in range(draws):
        try:
            pairs = zip(again(), exact, strict=True)
            gaps = [np.nan_to_num(np.abs(b - e), posinf=infinite) for b, e in pairs]
        except Exception:  # a rule may know no other numbers than these
            break
        most = [np.maximum(a, gap) for a, gap in zip(most, gaps, strict=True)]
    return most


def sensitivity(
    subject: Subject, arrays: Arrays, rows: Rows, exact: Arrays, reach: float, generator: Generator
) -> list[np.ndarray]:
    """How much gradients move as inputs, cotangents, results and the terms of sums move by parts of `reach`."""
    shaken = shaking(reach, generator)

    def again() -> list[np.ndarray]:
        near = dataclasses.replace(rows, cotangents=[[shaken(c) for c in row] for row in rows.cotangents])
        return pulled(subject, [shaken(x) for x in arrays], near, Rough(shaken).sweep)

    return farthest(exact, again, DRAWS)


class Rough(World):
    """A recorded graph computed anew: every result has moved a little as `shaken` says, and so have the terms of sums.

    A number that is one of the inputs, as a maximum is, was not rounded; it stays. The graph met last is known.

    Source
        Parker 1997, "Monte Carlo arithmetic": what rounding does is seen by rounding at random.
    """

    compares = False

    def __init__(self, shaken: Callable[[Any], Any]) -> None:
        super().__init__(self.apply_shaken)
        self.shaken = shaken

    def read(self, t: Any) -> Any:
        """The moved value of a tensor."""
        return self.values[t.node][t.index] if t.node in self.values else t.array

    def follow(self, tensors: Sequence[Any]) -> None:
        """Compute what `tensors` are made of, unless that is done."""
        nodes = recorded_nodes(tensors)
        if any(node not in self.values for node in nodes):
            self.values.clear()
            interpret(self, nodes)

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The moved results of a node; those of an op that draws numbers stay."""
        op = node.op
        assert op is not None
        if op.random:
            return as_tuple(node.values)
        several = as_tuple(op.forward(np, *inputs))
        adds = isinstance(op, Add | Subtract)  # what is small beside the other was rounded away
        copies = [is_copy(part, () if adds else inputs) for part in several]
        if any(map(np.any, copies)):  # by chance, if the op does not choose among smaller ones too
            less = [np.asarray(x * LITTLE) if np.asarray(x).dtype.kind == "f" else x for x in inputs]
            small = as_tuple(op.forward(np, *less))
            copies = [c & (part * LITTLE == s) for c, part, s in zip(copies, several, small, strict=True)]
        return tuple([np.where(c, part, self.shaken(part)) for c, part in zip(copies, several, strict=True)])

    def apply_shaken(self, op: Op, inputs: Sequence[Any]) -> Any:
        """An op in a rule."""
        return op.forward(np, *(map(self.shaken, inputs) if isinstance(op, SUMMING) else inputs))

    def sweep(self, heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any]) -> list[Any]:
        """A reverse sweep through the moved graph."""
        self.follow([t for t, _ in heads])
        return backprop(self, heads, wrt)


def is_replayed(subject: Subject) -> bool:
    """Whether what is recorded here gives the results at inputs beside these: nothing is computed past it."""
    tensors, results = subject.recorded(subject.arrays)
    for part in (FAR, -FAR, 1 / DRAWS):
        moved = [x + part * (np.abs(x) + part) if x.dtype.kind == "f" else x for x in subject.arrays]
        again = Rough(lambda y: y)
        again.values = {t.node: (x,) for t, x in zip(tensors, moved, strict=True) if t.node is not None}
        interpret(again, recorded_nodes(results))
        pairs = zip(results, subject.recorded(moved)[1], strict=True)
        if not all(y.node in again.values and np.array_equal(again.read(y), z.array) for y, z in pairs):
            return False
    return True


def shaking(reach: float, generator: Generator) -> Callable[[Any], Any]:
    """A function that moves floats by parts of `reach`."""

    def shaken(x: Any) -> Any:
        array = np.asarray(x)
        if array.dtype.kind != "f":
            return x
        return np.asarray(x * (1 + reach * generator.uniform(-1, 1, array.shape)))

    return shaken


def jitter(subject: Subject, rows: Rows, generator: Generator) -> np.ndarray:
    """How far rounding may move the rows: as seen beside the point, and as every result may be rounded."""
    (gaps,) = rounded_results(subject, subject.arrays, EPS, generator, lambda values: [rows.weigh(values)])
    sizes = {i: magnitude(subject.arrays[i]) for i in subject.wanted}
    size = max(float(np.max(each)) for each in sizes.values())
    parts = {i: np.where(is_tiny(x), x / size, held_back(x, size)) for i, x in sizes.items()}
    directions = {i: spread(generator, part.shape) * part for i, part in parts.items()}

    def along(t: float) -> np.ndarray:
        moved = [x + t * directions[i] if i in directions else x for i, x in enumerate(subject.arrays)]
        return rows.weigh(subject.value(moved))

    return np.asarray(np.maximum(noise_of(along, size), gaps))


def rounded_results(
    subject: Subject, arrays: Arrays, reach: float, generator: Generator,
    read: Callable[[list[np.ndarray]], list[np.ndarray]] = list,
) -> list[np.ndarray]:  # fmt: skip
    """How far what `read` makes of the results moves as all that is rounded on the way moves by parts of `reach`."""
    heads = [t for y in subject.recorded(arrays)[1] for t, _ in below(y)]

    def again() -> list[np.ndarray]:
        rough = Rough(shaking(reach, generator))
        rough.follow(heads)
        return read([np.asarray(rough.read(t)) for t in heads])

    return farthest(read([np.asarray(t.array) for t in heads]), again, 3, infinite=0.0)


def is_copy(y: Any, inputs: Sequence[Any]) -> np.ndarray:
    """Which numbers of a result are numbers of an input."""
    found = np.zeros(np.shape(y), bool)
    for x in inputs:
        found |= np.equal(y, x) if np.shape(x) == np.shape(y) else np.isin(y, x)
    return found


def compiled_part(subject: Subject, report: Report, rows: Rows, rule: Sequence[np.ndarray]) -> None:
    """Compare the gradients of a symbol's compiled plan with those of the rules."""
    if not isinstance(subject, SymbolSubject) or not subject.is_train:
        return
    found = [g.reshape(1, -1) for g in subject.compiled(next(iter(rows.cotangents)))]
    size = max(x.size for x in subject.arrays)
    everywhere = max(float(np.max(np.abs(r[0]), initial=0.0)) for r in rule)
    unit = float(np.finfo(np.float64).eps) ** (2 / 3) * max(1.0, np.sqrt(size) / ROUNDINGS)
    limits = [np.full(g.shape, unit * everywhere + TINY) for g in found]
    bad = parting(subject, rows, found, [r[:1] for r in rule], limits)
    if bad:
        said = "the compiled plan parts from the rules it was made of, which agree with differences"
        report.refuse("wrong", "missing term", said, bad, sides=("plan", "rule"))
