"""What `Op.sample` draws from: shapes, choices, and numbers that keep away from kinks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Axis, Shape, show

MARGIN = 0.1  # how far numbers keep from a kink, and from each other where ties matter
MANY = 600  # elements of an array with a long axis, at most: an oracle may go through them one by one
T = TypeVar("T")


class Draw:
    """Random samples for tests: `Draw(seed).sample(Tanh)` gives an op and its inputs.

    `integer(low, high)`, both included, makes every choice of size, axis and attribute, and
    `elements(shape, low, high, kinks)` arrays, so that a test framework can steer and shrink them.
    Without them, or where `elements` gives None, `seed` decides.
    """

    long: Mapping[int, int] = {}  # lengths of axes that are open, by their number as they are asked for
    largest = 2.0  # bound of numbers of which nothing is said
    asked = -1  # number of the axis that was asked for last

    def __init__(
        self,
        seed: int = 0,
        integer: Callable[[int, int], int] | None = None,
        elements: Callable[[tuple[int, ...], float, float, Any], np.ndarray | None] | None = None,
    ) -> None:
        self.generator = np.random.default_rng(seed)
        self.elements = elements or (lambda shape, low, high, kinks: None)
        self.integer = integer or (lambda low, high: int(self.generator.integers(low, high, endpoint=True)))

    def sample(self, cls: type[Op]) -> tuple[Op, dict[str, np.ndarray]]:
        """An op of this class and all its inputs by name, in order: arrays for its `parameters` too."""
        op, inputs = cls.sample(self)
        data = next(iter(inputs.values()), None)
        shapes = {} if data is None else op.parameters(data.shape)
        filled = {name: self.array(shape) for name, shape in shapes.items() if name not in inputs}
        inputs |= filled
        names = op.name_inputs(len(inputs))
        if set(names) != set(inputs):
            raise LessonError(f"{cls.name}.sample gives {', '.join(inputs)}, expected {', '.join(names)}")
        return op, {name: inputs[name] for name in names}

    def fitting(self, op: Op, **ranks: int) -> list[np.ndarray]:
        """Inputs for an op that declares no `sample`: broadcasting ones, or what its rules accept.

        Errors
            LessonError, or whatever its rules raise, where what was drawn does not fit.
        """
        names = op.name_inputs(2 if op.variadic else len(op.input_names))
        if isinstance(op, Elementwise):
            return [self.array(shape) for shape in self.broadcasting(len(names))]
        return self.of_shapes(op, completed(op, self.shape(**ranks)))

    def of_shapes(
        self, op: Op, shapes: Sequence[Shape], low: float = -2.0, high: float = 2.0
    ) -> list[np.ndarray]:
        """Arrays of these shapes, in the types that its rules say; whole numbers may be indices."""
        types = [op.input_dtype(i, np.dtype(float)) for i in range(len(shapes))]
        last = max(0, min(shapes[0], default=1) - 1) + 0.99
        return [
            self.array(shape, low, high)
            if t.kind == "f"
            else np.floor(self.array(shape, 0.0, last)).astype(t)
            for shape, t in zip(shapes, types, strict=True)
        ]

    # Choices.

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[self.integer(0, len(options) - 1)]

    def boolean(self) -> bool:
        """True or False."""
        return bool(self.integer(0, 1))

    def size(self, low: int = 1, high: int = 3) -> int:
        """Length of an axis."""
        self.asked += high == 3
        return self.long.get(self.asked, 0) * (high == 3) or self.integer(low, high)

    def shape(self, min_rank: int = 0, max_rank: int = 3, min_size: int = 1) -> tuple[int, ...]:
        """Sizes of some number of axes."""
        rank = self.integer(min_rank, max(min_rank, max_rank))
        return tuple(self.size(min_size, max(min_size, 3)) for _ in range(rank))

    def broadcasting(self, n: int, max_rank: int = 3) -> list[tuple[int, ...]]:
        """Shapes of `n` arrays that broadcast: one shape less some leading axes, with some sizes 1."""
        whole = self.shape(max_rank=max_rank)
        shapes = []
        for _ in range(n):
            kept = whole[self.integer(0, len(whole)) :]
            shapes.append(tuple(1 if size > 1 and self.boolean() else size for size in kept))
        return shapes

    def axis(self, rank: int) -> int:
        """One axis, counted from either end."""
        return self.integer(-rank, rank - 1)

    def axes(self, rank: int) -> Axis:
        """None, one axis, or a tuple of different axes in any order, counted from either end."""
        kind = self.integer(0, 2)
        if kind == 0:
            return None
        if kind == 1 and rank:
            return self.axis(rank)
        chosen = self.permutation(rank)[: self.integer(0, rank)]
        return tuple(a - rank if self.boolean() else a for a in chosen)

    def permutation(self, n: int) -> tuple[int, ...]:
        """The numbers below `n` in some order."""
        left = list(range(n))
        return tuple(left.pop(self.integer(0, len(left) - 1)) for _ in range(n))

    # Arrays, float64.

    def array(
        self,
        shape: Sequence[int],
        low: float = -2.0,
        high: float = 2.0,
        away_from: float | Sequence[float] = (),
    ) -> np.ndarray:
        """Numbers between `low` and `high`, each at least `MARGIN` from every number of `away_from`.

        Errors
            LessonError if there are hardly any such numbers, or too many elements beside a long axis.
        """
        if self.long and np.prod(shape) > MANY:
            raise LessonError(f"{show(tuple(shape))} has more than {MANY} elements")
        if (low, high) == (-2.0, 2.0):
            low, high = -self.largest, self.largest
        drawn = self.elements(tuple(shape), low, high, away_from)
        if drawn is not None:
            return drawn
        kinks = np.ravel(np.asarray(away_from, float))
        numbers = np.asarray(self.generator.uniform(low, high, tuple(shape)))
        for _ in range(100):
            near = (np.abs(numbers[..., None] - kinks) < MARGIN).any(axis=-1)
            if not near.any():
                return numbers
            numbers[near] = self.generator.uniform(low, high, np.count_nonzero(near))
        raise LessonError(f"hardly any number from {low} to {high} is {MARGIN} away from {away_from}")

    def distinct(self, shape: Sequence[int]) -> np.ndarray:
        """Numbers around 0 of which no two are nearer than `MARGIN` to each other."""
        return self.on_grid(shape, spacing=1.5 * MARGIN, shift=0.0)

    def apart(self, *names: str) -> dict[str, np.ndarray]:
        """Arrays by name that broadcast; elements of different ones are nowhere nearer than `MARGIN`."""
        step = 1.5 * MARGIN
        shapes = self.broadcasting(len(names))
        return {
            name: self.on_grid(shape, spacing=step * len(names), shift=i * step)
            for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
        }

    def on_grid(self, shape: Sequence[int], spacing: float, shift: float) -> np.ndarray:
        """Numbers around 0, no two at one point of a grid, each within a quarter of `MARGIN` of its point."""
        count = int(np.prod(shape, dtype=int))
        points = (self.generator.permutation(count) - count // 2) * spacing + shift
        return np.asarray(points + self.array((count,), -MARGIN / 4, MARGIN / 4)).reshape(tuple(shape))


def completed(op: Op, first: Shape) -> list[Shape]:
    """Shapes for all inputs of an op that follow from that of the first, or are like it.

    Errors
        LessonError, or whatever its rules raise, where they do not fit.
    """
    names, results = op.name_inputs(2 if op.variadic else len(op.input_names)), [None] * op.results
    with contextlib.suppress(NotImplementedError):
        known: Any = op.complete([first, *[None] * (len(names) - 1)], results)[0]
        shapes = [shape or first for shape in known]
        op.complete(shapes, results)
    return shapes
