"""Rule and differences side by side, input by input."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.numeric import EPS, FLOOR, SAFETY, Lines, Search, Slopes, magnitude, tolerance
from tinygrad_lesson.check.report import Element, Entry, element_at
from tinygrad_lesson.check.subject import Arrays, Subject, Sweep, is_loss
from tinygrad_lesson.eager.operators import sweep_as_told

UNIT_ROWS = 64  # results up to which each has a row, and a sweep, of its own; else they are mixed at random
UNIT_COLUMNS = 4096  # elements up to which each is moved alone, by a dozen calls; else all at random
DIRECTIONS = 3  # random ones per input: a mistake that is small beside the bar in one is not in all
GLANCES = 2  # directions at least that are tried before elements: in one alone, kinks may cancel
DETAIL = 48  # rows and columns looked at one by one where a random direction fails


class WrongShapeError(Exception):
    """A gradient whose shape is not that of its input: (number of the input, shape found)."""


@dataclasses.dataclass
class Rows:
    """Which combinations of the results are differentiated: cotangents, and the same for what is below losses.

    `outputs` is the shape of the one result whose elements they are, if they are just that.
    """

    cotangents: Iterable[list[np.ndarray]]
    weights: np.ndarray | None = None  # (rows, numbers of all results), or (rows,) numbers chosen
    outputs: tuple[int, ...] | None = None
    names: Sequence[str] = ()

    def weigh(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """The combinations of `values`."""
        combined = flat(values)
        if self.weights is None:
            return combined
        return np.asarray(combined[self.weights] if self.weights.ndim == 1 else self.weights @ combined)


def unit_rows(values: Arrays, chosen: Sequence[int] | None = None) -> Rows:
    """Every number of the results by itself, or only those chosen."""
    sizes = [v.size for v in values]
    cotangents, names = [], []
    offsets = np.cumsum([0, *sizes])
    for n in range(sum(sizes)) if chosen is None else chosen:
        parts = [np.zeros(v.shape) for v in values]
        k = int(np.searchsorted(offsets, n, side="right")) - 1
        parts[k].reshape(-1)[n - offsets[k]] = 1.0
        cotangents.append(parts)
        at = list(element_at(n - offsets[k], values[k].shape))
        names.append(f"result{k if len(values) > 1 else ''}{at or ''}")
    alone = values[0].shape if len(values) == 1 and chosen is None else None
    return Rows(cotangents, None if chosen is None else np.asarray(chosen), alone, names)


def rows_for(subject: Subject, values: Arrays, generator: Generator) -> Rows:
    """Rows as the number of results allows, and as losses among them want."""
    if not subject.has_loss(subject.arrays):
        return unit_rows(values) if sum(v.size for v in values) <= UNIT_ROWS else mixed(values, generator, 2)
    plain = [y.shape for y in subject.recorded(subject.arrays)[1] if not is_loss(y)]
    given = [np.asarray(generator.uniform(-1, 1, shape)) for shape in plain]
    return Rows([given], flat(subject.handed_down(subject.arrays, given))[None], None, ["loss"])


def mixed(values: Arrays, generator: Generator, count: int = 1) -> Rows:
    """Random combinations of the results."""
    draws = [[np.asarray(generator.uniform(-1, 1, v.shape)) for v in values] for _ in range(count)]
    return Rows(draws, np.stack([flat(d) for d in draws]), None, ["random mix of results"] * count)


def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All numbers in a row."""
    return np.concatenate([a.ravel() for a in arrays]) if arrays else np.zeros(0)


def pulled(subject: Subject, arrays: Arrays, rows: Rows, back: Sweep = sweep_as_told) -> list[np.ndarray]:
    """Gradients by the rules: for each wanted input an array (rows, elements).

    Errors
        WrongShapeError for a gradient of another shape than its input.
    """
    found: list[list[np.ndarray]] = [[] for _ in subject.wanted]
    for gradients in subject.pull(arrays, rows.cotangents, back):
        for i, g, kept in zip(subject.wanted, gradients, found, strict=True):
            if g is not None and np.shape(g) != arrays[i].shape:
                raise WrongShapeError(i, np.shape(g))
            kept.append(np.zeros(arrays[i].size) if g is None else np.array(np.real(g), np.float64).ravel())
    return [np.stack(part) for part in found]


@dataclasses.dataclass
class Block(Slopes):
    """Derivatives for one input, by rule and by differences. Shapes: (rows, columns).

    `columns` are element numbers, or None for directions; `moves` are those numbers, or the directions.
    """

    input: int
    name: str
    shape: tuple[int, ...]
    columns: list[int] | None
    moves: Sequence[Any]
    analytic: np.ndarray
    scale: np.ndarray
    sizes: np.ndarray  # of what moves, by column
    steep: np.ndarray  # slopes over a long step
    along: Lines
    terms: np.ndarray | float = 0.0  # size of the terms of which the derivative is the sum, where it is known

    def element(self, column: int) -> Element | None:
        """The index of what moves in a column."""
        return None if self.columns is None else element_at(self.columns[column], self.shape)

    @property
    def gap(self) -> np.ndarray:
        """How far the two lie apart."""
        return np.asarray(np.abs(self.analytic - self.numeric))

    @property
    def wrong(self) -> np.ndarray:
        """Where the two part by more than the error bars; at a kink, where the rule lies outside of both sides.

        Where a result jumps, the others are not judged either: signs of vectors change together.
        """
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        far = np.maximum(low - self.analytic, self.analytic - high)
        outside = far > tolerance(self.sides_error, low, high, self.scale) + numeric.BENT * (high - low)
        known = np.isfinite(np.where(self.kink, self.sides_error, self.error))
        return np.asarray(np.where(self.kink, outside, self.apart) & ~self.jump.any(axis=0) & known)

    @property
    def apart(self) -> np.ndarray:
        """Where the two part by more than the error bars."""
        return np.asarray(self.gap > tolerance(self.error, self.analytic, self.numeric, self.scale))

    def loose(self, values: np.ndarray) -> np.ndarray:
        """Where the error bars are so long that any value would do; `values` is the size of the rows."""
        size = np.maximum(np.abs(self.numeric), self.steep.max(axis=1, keepdims=True, initial=0))
        size = np.maximum(np.maximum(self.scale, self.terms), size)
        size = np.maximum(np.where(np.isfinite(size), size, 0.0), values[:, None])
        return np.asarray(~np.isfinite(self.error) | (SAFETY * self.error > 0.01 * size + FLOOR))


def steps_for(sizes: np.ndarray, stretch: float, least: float) -> np.ndarray:
    """Steps along lines in which elements of these sizes move, not a number where a line has no more.

    They are longer for huge elements; shorter too for tiny ones, but not below the `least` that tells anything.

    Shapes
        sizes (lines,) -> (steps, lines)
    """
    given = stretch * np.asarray(numeric.STEPS)[:, None]
    shorter = given * np.where(numeric.is_tiny(sizes), sizes, np.nan)
    return np.concatenate([given * np.maximum(1.0, sizes), np.where(shorter > least, shorter, np.nan)])


def spread(generator: Generator, shape: Any) -> np.ndarray:
    """A direction in which no element moves by less than half of what another does: no bend is small beside it."""
    return np.asarray(generator.choice((-1, 1), shape) * generator.uniform(0.5, 1, shape))


@dataclasses.dataclass
class Point:
    """Where a subject is checked: the rows, what the rules give for them, their values, and how much these jitter."""

    subject: Subject
    rows: Rows
    rule: Sequence[np.ndarray]
    generator: Generator
    jitter: np.ndarray | None = None  # None for the rounding of the values themselves

    def __post_init__(self) -> None:
        self.at_zero = self.rows.weigh(self.subject.value(self.subject.arrays))
        self.noise = EPS * np.abs(self.at_zero) if self.jitter is None else self.jitter
        self.least = EPS**0.5 * max(float(np.max(np.abs(rule), initial=0.0)) for rule in self.rule)
        self.stretch = float(self.generator.uniform(*numeric.STRETCH))

    @property
    def values(self) -> np.ndarray:
        """The sizes of the rows."""
        return np.asarray(np.abs(self.at_zero))

    def lines(self, i: int, moves: Sequence[Any], arrays: Sequence[Any] = ()) -> Lines:
        """The rows as functions of a number that moves input `i`: elements by number, or all along directions.

        They go through the point, or through `arrays`.
        """
        arrays = list(arrays or self.subject.arrays)

        def along(k: int, t: float) -> np.ndarray:
            if isinstance(moves[k], int):
                moved = arrays[i].copy()
                moved.reshape(-1)[moves[k]] += t
            else:
                moved = arrays[i] + t * moves[k]
            return self.rows.weigh(self.subject.value([*arrays[:i], moved, *arrays[i + 1 :]]))

        return along

    def block(self, i: int, moves: Sequence[int] | Arrays, glance: bool = False) -> Block:
        """Derivatives for input `i`, of which elements move by number, or all along directions."""
        x, chosen = self.subject.arrays[i], [move for move in moves if isinstance(move, int)]
        rule = self.rule[self.subject.wanted.index(i)]
        if chosen:
            expected = rule[:, chosen]
            sizes, scale = magnitude(x.ravel()[chosen]), np.max(np.abs(rule), axis=1)
        else:
            expected = np.stack([rule @ np.ravel(v) for v in moves], axis=1)
            sizes, scale = np.full(len(moves), np.max(magnitude(x))), np.linalg.norm(rule, axis=1)
        scale, along = np.maximum(scale, self.least)[:, None], self.lines(i, moves)
        found = self.search(along, sizes, expected, scale, glance)
        return Block(
            **vars(found.best), input=i, name=self.subject.names[i], shape=x.shape, columns=chosen or None,
            moves=moves, analytic=expected, scale=scale, sizes=sizes, steep=found.steep, along=along,
        )  # fmt: skip

    def search(
        self, along: Lines, sizes: np.ndarray, expected: np.ndarray, scale: np.ndarray, glance: bool = False,
        rows: Any = slice(None),
    ) -> Search:  # fmt: skip
        """Slopes of some rows along lines in which elements of these sizes move."""
        at_zero, noise = self.at_zero[rows, None], self.noise[rows, None]
        steps = steps_for(sizes, self.stretch, float(np.min(noise / scale)) * SAFETY / numeric.BENT)
        return Search(along, at_zero, noise, steps, expected, scale, glance)

    def blocks(self, columns: Callable[[int], Sequence[int] | None], until: str = "") -> list[Block]:
        """A block for each wanted input, or `until` one has this mark.

        `columns(i)` chooses elements of input `i`, or None for directions.
        """
        blocks = []
        for i in self.subject.wanted:
            chosen, x = columns(i), self.subject.arrays[i]
            several = range(DIRECTIONS if chosen is None else 0)
            drawn = [numeric.held_back(x) * self.generator.uniform(-1, 1, x.shape) for _ in several]
            blocks.append(self.block(i, drawn if chosen is None else list(chosen)))
            if until and getattr(blocks[-1], until).any():
                break
        return blocks

    def glance(self) -> list[Block] | None:
        """Blocks of few random directions, if the rules agree with short differences along all of them; else None."""
        blocks = []
        for i, x in [(i, self.subject.arrays[i]) for i in self.subject.wanted]:
            count = math.ceil(GLANCES / len(self.subject.wanted))
            moves = [numeric.held_back(x) * spread(self.generator, x.shape) for _ in range(count)]
            block = self.block(i, moves, glance=True)
            if np.any(block.apart | block.kink | block.jump | block.blunt):
                return None
            blocks.append(block)
        return blocks

    def entries(self, blocks: Sequence[Block], mask: str, limit: int = 8) -> list[Entry]:
        """The worst derivatives of those that a mask of the blocks marks."""
        each = (worst(b, getattr(b, mask), self.rows.names, b.element, limit) for b in blocks)
        return sorted(itertools.chain(*each), key=lambda e: -abs(e.analytic - e.numeric))[:limit]


def worst(
    block: Any, marked: np.ndarray, names: Sequence[str], element: Callable[[int], Any], limit: int = 8
) -> list[Entry]:  # fmt: skip
    """The derivatives of a block, or of anything that has both sides, that are marked, the worst first."""
    gap, found = np.where(marked, np.abs(block.analytic - block.numeric), -1.0), []
    for n in np.argsort(gap, axis=None)[::-1][:limit]:
        r, c = divmod(int(n), gap.shape[1])
        if marked[r, c]:
            values = (float(a[r, c]) for a in (block.analytic, block.numeric, block.error))
            found.append(Entry(block.name, element(c), names[r], *values))
    return found


def suspects(blocks: Sequence[Block], mask: Callable[[Block], np.ndarray]) -> list[tuple[Block, int]]:
    """Lines along which anything is marked, the most wrong first: blocks, and numbers of columns."""
    found = []
    for n, block in enumerate(blocks):
        far = np.where(block.wrong, block.gap, 0.0).max(axis=0)
        found += [(-far[k], n, int(k)) for k in np.flatnonzero(mask(block).any(axis=0))]
    return [(blocks[n], k) for _, n, k in sorted(found)[:DETAIL]]


def sharpness(blocks: Sequence[Block]) -> float:
    """The largest difference between rule and differences, as a part of the largest derivative."""
    size = max(float(np.max(np.abs(part), initial=0.0)) for b in blocks for part in (b.analytic, b.numeric))
    gap = max(float(np.max(b.gap, initial=0.0)) for b in blocks)
    return gap / size if size else 0.0
