"""Arrays of counted numbers, and what is known of an array without its numbers; nothing here has a gradient."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tinygrad_lesson.engine.blocks import row_of
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis, show, size_of


class Made(Op):
    """An array that is made of attributes alone."""

    differentiable = False

    def dtype(self):
        return np.dtype(vars(self)["type"])

    def vjp(self, F, g, y):
        return ()


@op
class Counted(Made):
    """Numbers from `start` on, `step` apart, up to `stop` which is not reached; each `repeat` times.

    Source
        MXNet 1.9, `_arange`.
    """

    start: float = attr(0.0, doc="the first number; without `stop` the end, and the first is 0")
    stop: float | None = attr(None, doc="the end")
    step: float = attr(1.0, doc="from one number to the next; not 0")
    repeat: int = attr(1, minimum=1, doc="how often each number stands there")
    open: bool = attr(
        False, shown=False, doc="what it meets decides how many numbers there are, and not `stop`"
    )
    type: str = attr("float32", alias="dtype", doc="element type of the result")

    def __post_init__(self):
        super().__post_init__()
        if not self.step:
            raise AttributeValueError(f"{self.name}: step is 0, expected another number")

    @property
    def numbers(self):
        """How many different numbers, and the first."""
        start, stop = (0.0, self.start) if self.stop is None else (self.start, self.stop)
        return max(0, math.ceil((stop - start) / self.step)), start

    def shape(self):
        return (None if self.open else self.numbers[0] * self.repeat,)

    def sized(self, results):
        stop = self.start + self.step * -(-results[0][0] // self.repeat)
        return dataclasses.replace(self, stop=stop, open=False) if self.open else self

    def forward(self, xp):
        count, start = self.numbers
        return spaced(xp, count, start, self.step, self.repeat, self.type)

    def oracle(self):
        count, start = self.numbers
        return np.array([start + i * self.step for i in range(count) for _ in range(self.repeat)])

    @classmethod
    def sample(cls, draw):
        stop, step = draw.choice((None, 1.0, 7.5)), draw.choice((1.0, 0.5, 2.0))
        return cls(start=draw.choice((0.0, 3.0)), stop=stop, step=step, repeat=draw.integer(1, 2)), {}


def spaced(xp, count, start, step, repeat, dtype):
    """Numbers `step` apart, each `repeat` times."""
    whole = xp.arange(count * repeat) // repeat
    return xp.positive(start + step * whole, dtype=np.dtype(dtype), casting="unsafe")


@op
class Linspace(Made):
    """`num` numbers from `start` to `stop`, as far apart from each other."""

    start: float = attr(doc="the first number")
    stop: float = attr(doc="the last number, or with `endpoint` False the one behind it")
    num: int = attr(50, minimum=0, doc="how many")
    endpoint: bool = attr(True, doc="whether `stop` is the last number")
    type: str = attr("float64", alias="dtype", doc="element type of the result")

    def shape(self):
        return (self.num,)

    def forward(self, xp):
        return xp.linspace(self.start, self.stop, self.num, endpoint=self.endpoint, dtype=self.type)

    def oracle(self):
        parts = max(1, self.num - self.endpoint)
        return np.array([self.start + (self.stop - self.start) * i / parts for i in range(self.num)])

    @classmethod
    def sample(cls, draw):
        return cls(start=-1.0, stop=2.5, num=draw.integer(0, 4), endpoint=draw.boolean()), {}


@op
class Eye(Made):
    """A matrix of zeros with ones on one of its diagonals."""

    rows: int = attr(minimum=0, alias="N", doc="how many rows")
    columns: int = attr(0, minimum=0, alias="M", doc="how many columns; 0 means as many as rows")
    k: int = attr(0, doc="which diagonal: above the main one where it is positive")
    type: str = attr("float64", alias="dtype", doc="element type of the result")

    def shape(self):
        return self.rows, self.columns or self.rows

    def forward(self, xp):
        return xp.eye(*self.shape(), self.k, dtype=self.type)

    def oracle(self):
        return np.array([[j - i == self.k for j in range(self.shape()[1])] for i in range(self.rows)], float)

    @classmethod
    def sample(cls, draw):
        return cls(rows=draw.size(), columns=draw.integer(0, 3), k=draw.integer(-1, 1)), {}


@declares
class Known(Op):
    """What is known of an array without its numbers."""

    differentiable = False
    mixes_dtypes = True

    def dtype(self, x):
        return np.dtype(np.int64)

    def vjp(self, F, g, y, x):
        return (None,)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}


@op
class ShapeArray(Known):
    """The shape of an array, as an array."""

    def shape(self, x):
        return (len(x),)

    def forward(self, xp, x):
        return row_of(xp, x.shape, np.int64)

    def oracle(self, x):
        return np.array(np.shape(x), np.int64)


@op
class SizeArray(Known):
    """How many numbers an array holds, as an array of one number."""

    def shape(self, x):
        return (1,)

    def forward(self, xp, x):
        return row_of(xp, [x.size], np.int64)

    def oracle(self, x):
        return np.array([np.size(x)])


@op
class ArangeLike(Known):
    """Numbers `step` apart: as many as `x` has along `axis`, or in the shape of `x` without one.

    Source
        MXNet 1.9, `contrib.arange_like`.
    """

    start: float = attr(0.0, doc="the first number")
    step: float = attr(1.0, doc="from one number to the next")
    repeat: int = attr(1, minimum=1, doc="how often each number stands there")
    axis: int | None = attr(None, doc="the axis; None means all numbers of `x`, in row-major order")

    def dtype(self, x):
        return x

    def shape(self, x):
        return x if self.axis is None else (x[normalize_axis(self.axis, len(x))],)

    def forward(self, xp, x):
        count = size_of(self.shape(x.shape))
        y = spaced(xp, -(-count // self.repeat), self.start, self.step, self.repeat, x.dtype)
        return xp.reshape(y[:count], self.shape(x.shape))

    def oracle(self, x):
        shape = self.shape(x.shape)
        numbers = [self.start + self.step * (i // self.repeat) for i in range(math.prod(shape))]
        return np.array(numbers).reshape(shape)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape)) if draw.boolean() else None
        return cls(start=1.5, step=0.5, repeat=draw.integer(1, 2), axis=axis), {"x": draw.array(shape)}


@declares
class Places(Op):
    """An op on places in an array of some shape."""

    differentiable = False
    of: tuple[int, ...] = attr(
        (), alias="shape", doc="the shape of the array; its first size may be unknown, which is -1"
    )

    def vjp(self, F, g, y, x):
        return (None,)

    @property
    def steps(self):
        """How far the next place along each axis is, in row-major order."""
        return [math.prod(self.of[i + 1 :]) for i in range(len(self.of))]


@op
class RavelMultiIndex(Places):
    """Places, given by a coordinate for each axis, as numbers in row-major order.

    Shapes
        x (axes, ...) -> (...)
    """

    def shape(self, x):
        if not x or x[0] not in (None, len(self.of)) or not self.of:
            raise ShapeError(
                f"data is {show(x)}, expected a coordinate for each of {len(self.of)} axes along axis 0"
            )
        return x[1:]

    def forward(self, xp, x):
        self.shape(x.shape)
        y = x[0] * self.steps[0]
        for i, step in enumerate(self.steps[1:], 1):
            y = y + x[i] * step
        return y

    def oracle(self, x):
        return np.ravel_multi_index(x, self.of)

    @classmethod
    def sample(cls, draw):
        of, rest = draw.shape(min_rank=1), draw.shape(max_rank=2)
        x = [np.floor(draw.array(rest, low=0, high=n - 0.01)) for n in of]
        return cls(of=of), {"x": np.array(x).astype(np.int64)}


@op
class UnravelIndex(Places):
    """Places, given by numbers in row-major order, as a coordinate for each axis.

    Shapes
        x (...) -> (axes, ...)
    """

    def shape(self, x):
        return (len(self.of), *x)

    def forward(self, xp, x):
        sizes = zip(self.steps, self.of, strict=True)
        parts = [
            xp.floor_divide(x, step) if n < 0 else xp.remainder(xp.floor_divide(x, step), n)
            for step, n in sizes
        ]
        return xp.stack(parts) if parts else xp.zeros((0, *x.shape), dtype=x.dtype)

    def oracle(self, x):
        return np.array(np.unravel_index(x, self.of))

    @classmethod
    def sample(cls, draw):
        of = draw.shape(min_rank=1)
        x = np.floor(draw.array(draw.shape(max_rank=2), low=0, high=math.prod(of) - 0.01))
        return cls(of=of), {"x": x.astype(np.int64)}
