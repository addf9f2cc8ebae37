"""Slopes of numbers at equal distances."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, in_type, with_room
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis

EDGES = {1: (-1.0, 1.0), 2: (-1.5, 2.0, -0.5)}  # weights of the first elements in the slope at the first


@declares
class Differences(Op):
    """What `Slope` and the way back from it have in common."""

    analytic = True
    traceable = False
    axis: int = attr(-1, doc="the axis along which the numbers lie")
    distance: float = attr(1.0, doc="from one to the next; must not be 0")
    edge_order: int = attr(1, choices=tuple(EDGES), doc="order of the one-sided slopes at both ends")

    def shape(self, x):
        size = x[normalize_axis(self.axis, len(x))]
        if size is not None and size <= self.edge_order:
            raise ShapeError(
                f"gradient: an axis of size {size} is too short for edges of order {self.edge_order}"
            )
        return x

    def dtype(self, x):
        return floating(x)

    def matrix(self, size):
        """The slopes as a matrix, for tests."""
        m = np.zeros((size, size))
        for i in range(1, size - 1):
            m[i, i - 1], m[i, i + 1] = -0.5, 0.5
        for k, weight in enumerate(EDGES[self.edge_order]):
            m[0, k], m[-1, size - 1 - k] = weight, -weight
        return m / self.distance

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1, min_size=3)
        made = cls(
            axis=draw.axis(len(shape)), distance=draw.choice((1.0, -0.5)), edge_order=draw.choice((1, 2))
        )
        return made, {"x": draw.array(shape)}


@op
class Slope(Differences):
    """Slopes along `axis`: inside half the difference of both neighbours by `distance`, at the ends one-sided.

    Source
        NumPy, `gradient`.
    """

    def forward(self, xp, x):
        kind = self.dtype(x.dtype)
        x = xp.moveaxis(with_room(xp, x), self.axis, -1)
        y = xp.empty(x.shape, dtype=x.dtype)
        inside = xp.subtract(x[..., 2:], x[..., :-2], out=y[..., 1:-1])
        inside /= 2 * self.distance
        weights = EDGES[self.edge_order]
        ends = x[..., : len(weights)], x[..., ::-1][..., : len(weights)]
        for place, sign, part in zip((0, -1), (1, -1), ends, strict=True):
            y[..., place] = sum(part[..., k] * w for k, w in enumerate(weights)) / (sign * self.distance)
        return xp.ascontiguousarray(xp.moveaxis(in_type(xp, y, kind), -1, self.axis))

    def vjp(self, F, g, y, x):
        return (F.slope_back(g, self.axis, self.distance, self.edge_order),)

    def oracle(self, x):
        return np.gradient(x, self.distance, axis=self.axis, edge_order=self.edge_order)  # type: ignore[call-overload]


@op
class SlopeBack(Differences):
    """The way back from `Slope`: each element of `x` goes to those that its slope was made of."""

    def forward(self, xp, x):
        kind = self.dtype(x.dtype)
        x = xp.moveaxis(with_room(xp, x), self.axis, -1)
        y = xp.empty(x.shape, dtype=x.dtype)
        y[..., :2] = 0
        xp.multiply(x[..., 1:-1], 0.5 / self.distance, out=y[..., 2:])
        y[..., :-2] -= xp.multiply(x[..., 1:-1], 0.5 / self.distance)
        for k, weight in enumerate(EDGES[self.edge_order]):
            y[..., k] += x[..., 0] * (weight / self.distance)
            y[..., -1 - k] -= x[..., -1] * (weight / self.distance)
        return xp.ascontiguousarray(xp.moveaxis(in_type(xp, y, kind), -1, self.axis))

    def vjp(self, F, g, y, x):
        return (F.slope(g, self.axis, self.distance, self.edge_order),)

    def oracle(self, x):
        return np.moveaxis(np.moveaxis(x, self.axis, -1) @ self.matrix(x.shape[self.axis]), -1, self.axis)
