"""Rule and differences side by side, input by input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.noise import noise_of
from tinygrad_lesson.check.numeric import EPS, FLOOR, SAFETY, SHORTEST, STEPS, Lines, Slopes
from tinygrad_lesson.check.report import Drawn, Entry
from tinygrad_lesson.check.subject import Subject, Sweep, is_loss
from tinygrad_lesson.eager.operators import sweep_as_told

UNIT_ROWS = 64  # results up to which each has a row of its own; else they are weighted at random
UNIT_COLUMNS = 4096  # elements up to which each is moved on its own; else all are, in random directions
DIRECTIONS = 3  # random ones per input
GLANCES = 2  # directions at least that are tried before elements: in one alone, kinks may cancel
AT_ONCE = 64  # lines whose differences are looked at together
WITNESSED = ("numeric", "error", "left", "right", "sides_error", "kink", "jump")
DETAIL = 48  # rows and columns looked at one by one where a random direction fails


class WrongShapeError(Exception):
    """A gradient whose shape is not that of its input: (number of the input, shape found)."""


@dataclasses.dataclass
class Rows:
    """Which combinations of the results are differentiated: cotangents, and the same for what is below losses.

    `outputs` is the shape of the one result whose elements they are, if they are just that.
    """

    cotangents: Iterable[list[np.ndarray]]
    weights: np.ndarray | None  # (rows, numbers of all results), or (rows,) numbers chosen; None for all
    outputs: tuple[int, ...] | None
    names: list[str]

    def weigh(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """The combinations of `values`."""
        flat: np.ndarray = np.concatenate([v.ravel() for v in values])
        if self.weights is None:
            return flat
        combined: np.ndarray = flat[self.weights] if self.weights.ndim == 1 else self.weights @ flat
        return combined

    def with_cotangents(self, cotangents: list[list[np.ndarray]]) -> Rows:
        """The same combinations, with cotangents that differ a little."""
        return dataclasses.replace(self, cotangents=cotangents)


@dataclasses.dataclass
class Block:
    """Derivatives for one input. Shapes: (rows, columns); `columns` are element numbers, or None for directions."""

    input: int
    columns: list[int] | None
    analytic: np.ndarray
    numeric: np.ndarray
    error: np.ndarray
    scale: np.ndarray
    kink: np.ndarray
    jump: np.ndarray
    blunt: np.ndarray
    noisy: np.ndarray
    left: np.ndarray
    right: np.ndarray
    sides_error: np.ndarray
    step: np.ndarray
    near: float
    along: Lines
    moves: Sequence[Any]  # numbers of elements, or directions
    sizes: np.ndarray  # of what moves, by column
    jitter: np.ndarray  # by rounding, by row
    steep: np.ndarray  # slopes over a long step
    terms: np.ndarray | float = 0.0  # size of the terms of which the derivative is the sum, where it is known

    def hear(self, k: int, told: dict[str, np.ndarray], doubted: np.ndarray) -> None:
        """Take over what a second witness tells about line `k`, where it was doubted."""
        bars = numeric.tolerance(
            told["error"] + self.error[:, k], told["numeric"], self.numeric[:, k], self.scale[:, 0]
        )
        bent = self.kink[:, k] | self.jump[:, k]
        again = told["kink"] | told["jump"]
        agree = np.abs(told["numeric"] - self.numeric[:, k]) <= bars
        sharper = told["error"] < self.error[:, k]
        clear = SAFETY * told["error"] <= numeric.BENT * np.maximum(np.abs(told["numeric"]), self.scale[:, 0])
        right = np.abs(told["numeric"] - self.analytic[:, k]) <= numeric.tolerance(
            told["error"], told["numeric"]
        )
        take = doubted & ~again & np.where(bent, clear, sharper | (right & clear))
        lost = doubted & ~take & ~bent & (again | ~agree | np.isinf(told["error"]))
        for name in WITNESSED:
            field = getattr(self, name)
            field[:, k] = np.where(take, told[name], field[:, k])
        self.error[:, k] = np.where(lost, np.inf, self.error[:, k])

    def forgive(self, k: int, exact: np.ndarray) -> None:
        """Lengthen the bars along line `k` by what the rule lost to rounding, where it is right in more digits."""
        right = np.abs(exact - self.numeric[:, k]) <= numeric.tolerance(self.error[:, k], exact)
        self.error[:, k] += np.where(right & self.wrong[:, k], np.abs(self.analytic[:, k] - exact), 0.0)

    @property
    def wrong(self) -> np.ndarray:
        """Where the two part by more than the error bars; at a kink, where the rule lies outside of both sides.

        Where a result jumps, the others are not judged either: signs of vectors change together.
        """
        known = np.isfinite(np.where(self.kink, self.sides_error, self.error))
        return np.asarray(np.where(self.kink, self.outside, self.apart) & ~self.jump.any(axis=0) & known)

    @property
    def outside(self) -> np.ndarray:
        """Where the rule gives no slope between those of the two sides."""
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        far = np.maximum(low - self.analytic, self.analytic - high)
        sizes = self.left, self.right, np.broadcast_to(self.scale, self.numeric.shape)
        return np.asarray(far > numeric.tolerance(self.sides_error, *sizes) + numeric.BENT * (high - low))

    @property
    def apart(self) -> np.ndarray:
        """Where the two part by more than the error bars."""
        sizes = self.analytic, self.numeric, np.broadcast_to(self.scale, self.numeric.shape)
        return np.asarray(np.abs(self.analytic - self.numeric) > numeric.tolerance(self.error, *sizes))


def unit_rows(values: Sequence[np.ndarray], chosen: Sequence[int] | None = None) -> Rows:
    """Every number of the results by itself, or only those chosen."""
    sizes = [v.size for v in values]
    total = sum(sizes)
    numbers = list(range(total)) if chosen is None else list(chosen)
    cotangents, names = [], []
    offsets = np.cumsum([0, *sizes])
    for n in numbers:
        parts = [np.zeros(v.shape) for v in values]
        k = int(np.searchsorted(offsets, n, side="right")) - 1
        parts[k].reshape(-1)[n - offsets[k]] = 1.0
        cotangents.append(parts)
        at = [int(a) for a in np.unravel_index(n - offsets[k], values[k].shape)]
        names.append(f"result{k if len(values) > 1 else ''}{at if values[k].ndim else ''}")
    weights = None if chosen is None else np.asarray(numbers)
    alone = values[0].shape if len(values) == 1 and chosen is None else None
    return Rows(cotangents, weights, alone, names)


def rows_for(subject: Subject, values: Sequence[np.ndarray], generator: np.random.Generator) -> Rows:
    """Rows as the number of results allows, and as losses among them want."""
    total = sum(v.size for v in values)
    if not subject.has_loss(subject.arrays):
        if total <= UNIT_ROWS:
            return unit_rows(values)
        draws = [[np.asarray(generator.uniform(-1, 1, v.shape)) for v in values] for _ in range(2)]
        return Rows(draws, np.stack([flat(d) for d in draws]), None, ["random mix of results"] * 2)
    plain = [y.shape for y in subject.recorded(subject.arrays)[1] if not is_loss(y)]
    given = [np.asarray(generator.uniform(-1, 1, shape)) for shape in plain]
    below = subject.handed_down(subject.arrays, given)
    return Rows([given], flat(below)[None], None, ["loss"])


def mix_of(values: Sequence[np.ndarray], generator: np.random.Generator) -> Rows:
    """One random combination of the results."""
    given = [np.asarray(generator.uniform(-1, 1, v.shape)) for v in values]
    return Rows([given], flat(given)[None], None, ["random mix of results"])


def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All numbers in a row."""
    return np.concatenate([a.ravel() for a in arrays]) if arrays else np.zeros(0)


def pulled(
    subject: Subject, arrays: Sequence[np.ndarray], rows: Rows, back: Sweep = sweep_as_told
) -> list[np.ndarray]:
    """Gradients by the rules: for each wanted input an array (rows, elements).

    Errors
        WrongShapeError for a gradient of another shape than its input.
    """
    found: list[list[np.ndarray]] = [[] for _ in subject.wanted]
    for gradients in subject.pull(arrays, rows.cotangents, back):
        for i, g, kept in zip(subject.wanted, gradients, found, strict=True):
            if g is not None and np.shape(g) != arrays[i].shape:
                raise WrongShapeError(i, np.shape(g))
            kept.append(np.zeros(arrays[i].size) if g is None else np.array(g, np.float64).ravel())
    return [np.stack(part) for part in found]


def lines(subject: Subject, rows: Rows, i: int, columns: Sequence[Any], arrays: Sequence[Any] = ()) -> Lines:
    """The rows as functions of a number that moves input `i`: elements by number, or all along directions.

    They go through the point, or through `arrays`.
    """
    arrays = list(arrays or subject.arrays)

    def along(k: int, t: float) -> np.ndarray:
        direction = columns[k]
        if isinstance(direction, int):
            moved = arrays[i].copy()
            moved.reshape(-1)[direction] += t
        else:
            moved = arrays[i] + t * direction
        return rows.weigh(subject.value([*arrays[:i], moved, *arrays[i + 1 :]]))

    return along


def noise(subject: Subject, rows: Rows, generator: np.random.Generator) -> np.ndarray:
    """How much the rows jitter as all inputs move by a few roundings."""
    shapes = {i: subject.arrays[i].shape for i in subject.wanted}
    directions = {i: generator.choice((-1, 1), s) * generator.uniform(0.5, 1, s) for i, s in shapes.items()}
    size = max(float(np.max(np.abs(subject.arrays[i]))) for i in subject.wanted)

    def along(t: float) -> np.ndarray:
        moved = [x + t * directions[i] if i in directions else x for i, x in enumerate(subject.arrays)]
        return rows.weigh(subject.value(moved))

    return noise_of(along, size)


def steps_for(sizes: np.ndarray, alone: bool, stretch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Steps along lines in which elements of these sizes move, and how near a kink is as good as met.

    They are longer for huge elements, shorter too for tiny ones. Where many elements move at once one of
    them may be near a kink, so still shorter ones are tried.

    Shapes
        sizes (lines,) -> (steps, lines), not a number where a line has no more; (lines,)
    """
    given = stretch * np.asarray(STEPS if alone else (*STEPS, SHORTEST))[:, None]
    steps = given * np.maximum(1.0, sizes)
    tiny = np.where((sizes > 0) & (sizes < STEPS[0]), sizes, np.nan)
    shorter = (given[:1] if alone else given) * tiny
    met = steps[-1] if alone else np.fmin(steps[-1], shorter[-1])
    return np.concatenate([steps, shorter]), met


class Around(NamedTuple):
    """What is known about the rows at the point: their values, how much they jitter, the smallest size that counts."""

    at_zero: np.ndarray
    jitter: np.ndarray
    least: float
    stretch: float


def around(
    subject: Subject,
    rows: Rows,
    gradients: Sequence[np.ndarray],
    jitter: np.ndarray,
    generator: np.random.Generator,
) -> Around:
    """The rows at the point where `gradients` are those by the rules."""
    largest = max(float(np.max(np.abs(rule), initial=0.0)) for rule in gradients)
    stretch = float(generator.uniform(*numeric.STRETCH))
    return Around(rows.weigh(subject.value(subject.arrays)), jitter, EPS**0.5 * largest, stretch)


def block_of(
    subject: Subject,
    rows: Rows,
    i: int,
    rule: np.ndarray,
    moves: Sequence[int] | Sequence[np.ndarray],
    here: Around,
    glance: bool = False,
) -> Block:
    """Derivatives for input `i`, of which elements move by number, or all along directions."""
    x, chosen = subject.arrays[i], [move for move in moves if isinstance(move, int)]
    if chosen:
        expected = rule[:, chosen]
        sizes, scale = np.abs(x.ravel()[chosen]), np.max(np.abs(rule), axis=1)
    else:
        expected = np.stack([rule @ np.ravel(v) for v in moves], axis=1)
        sizes, scale = np.full(len(moves), np.max(np.abs(x))), np.linalg.norm(rule, axis=1)
    scale = np.maximum(scale, here.least)[:, None]
    parts = []
    for k in range(0, len(moves), AT_ONCE):
        some = slice(k, k + AT_ONCE)
        steps, met = steps_for(sizes[some], bool(chosen), here.stretch)
        along = lines(subject, rows, i, moves[some])
        at_zero, jitter = here.at_zero[:, None], here.jitter[:, None]
        parts.append(numeric.slopes(along, at_zero, jitter, steps, met, expected[:, some], scale, glance))
    slopes, near, steep = zip(*parts, strict=True)
    found = Slopes._make(np.concatenate(field, axis=1) for field in zip(*slopes, strict=True))
    return Block(
        i, chosen or None, expected, found.value, found.error, scale, found.kink, found.jump, found.blunt,
        found.noisy, found.left, found.right, found.sides_error, found.step, max(float(n.max()) for n in near),
        lines(subject, rows, i, moves), moves, sizes, here.jitter, np.concatenate(steep, axis=1),
    )  # fmt: skip


def glance(
    subject: Subject, rows: Rows, gradients: Sequence[np.ndarray], generator: np.random.Generator
) -> list[Block] | None:
    """Blocks of few random directions, if the rules agree with short differences along all of them; else None.

    Only rounding of the results themselves counts as noise, so what agrees here does so whatever else is rounded. In
    none of the directions an element moves by less than half of what another does, so no bend is small beside it.
    """
    here = around(subject, rows, gradients, np.zeros(0), generator)
    here = here._replace(jitter=EPS * np.abs(here.at_zero))
    blocks = []
    for i, rule in zip(subject.wanted, gradients, strict=True):
        shape = subject.arrays[i].shape
        moves = [
            generator.choice((-1, 1), shape) * generator.uniform(0.5, 1, shape)
            for _ in range(math.ceil(GLANCES / len(gradients)))
        ]
        block = block_of(subject, rows, i, rule, moves, here, glance=True)
        if np.any(block.apart | block.kink | block.jump | block.blunt):
            return None
        blocks.append(block)
    return blocks


def compare(
    subject: Subject,
    rows: Rows,
    gradients: Sequence[np.ndarray],
    here: Around,
    generator: np.random.Generator,
    columns: Callable[[int], Sequence[int] | None],
) -> list[Block]:
    """A block for each wanted input; `columns(i)` chooses elements of input `i`, or None for directions."""
    blocks = []
    for i, rule in zip(subject.wanted, gradients, strict=True):
        chosen, shape = columns(i), subject.arrays[i].shape
        moves = (
            [generator.uniform(-1, 1, shape) for _ in range(DIRECTIONS)] if chosen is None else list(chosen)
        )
        blocks.append(block_of(subject, rows, i, rule, moves, here))
    return blocks


def entries(subject: Subject, rows: Rows, blocks: Sequence[Block], mask: str, limit: int = 8) -> list[Entry]:
    """The worst derivatives of those that a mask of the blocks marks."""
    found = []
    for block in blocks:
        marked = getattr(block, mask)
        gap = np.where(marked, np.abs(block.analytic - block.numeric), -1.0)
        for n in np.argsort(gap, axis=None)[::-1][:limit]:
            r, c = divmod(int(n), gap.shape[1])
            if not marked[r, c]:
                break
            element = None
            if block.columns is not None:
                where = np.unravel_index(block.columns[c], subject.arrays[block.input].shape)
                element = tuple(int(a) for a in where)
            values = (float(a[r, c]) for a in (block.analytic, block.numeric, block.error))
            found.append(Entry(subject.names[block.input], element, rows.names[r], *values))
    return sorted(found, key=lambda e: -abs(e.analytic - e.numeric))[:limit]


def drawn(subject: Subject, blocks: Sequence[Block]) -> list[Drawn]:
    """What a picture of the check shows."""

    def part(block: Block) -> Drawn:
        worst = int(np.argmax(np.nan_to_num(np.abs(block.analytic - block.numeric))))
        r, k = divmod(worst, block.numeric.shape[1])

        def scan(h: float) -> float:
            return float((block.along(k, h)[r] - block.along(k, -h)[r]) / (2 * h))

        numbers = block.analytic.ravel(), block.numeric.ravel(), block.error.ravel()
        return Drawn(subject.names[block.input], *numbers, worst, scan)

    return [part(block) for block in blocks if block.numeric.size]


def sharpness(blocks: Sequence[Block]) -> float:
    """The largest difference between rule and differences, as a part of the largest derivative."""
    size = max(float(np.max(np.abs(part), initial=0.0)) for b in blocks for part in (b.analytic, b.numeric))
    gap = max(float(np.max(np.abs(b.analytic - b.numeric), initial=0.0)) for b in blocks)
    return gap / size if size else 0.0


def loose(block: Block, values: np.ndarray) -> np.ndarray:
    """Where the error bars are so long that any value would do; `values` is the size of the rows."""
    size = np.maximum(
        np.maximum(block.scale, block.terms),
        np.maximum(np.abs(block.numeric), block.steep.max(axis=1, keepdims=True, initial=0)),
    )
    size = np.maximum(np.where(np.isfinite(size), size, 0.0), values[:, None])
    return np.asarray(~np.isfinite(block.error) | (SAFETY * block.error > 0.01 * size + FLOOR))


def chooser(subject: Subject, full: bool | None) -> Callable[[int], Sequence[int] | None]:
    """Every element where there are few, else directions; `full` decides it for all."""
    total = sum(subject.arrays[i].size for i in subject.wanted)
    each = total <= UNIT_COLUMNS if full is None else full
    return lambda i: range(math.prod(subject.arrays[i].shape)) if each else None
