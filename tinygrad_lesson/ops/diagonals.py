"""Diagonals, taken and put in their places."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import copied
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import normalize_axis, show


@op
class Diagonal(Op):
    """The diagonal of two axes, which becomes the last axis; `k` places above it, or below."""

    analytic = True
    multilinear = 1
    k: int = attr(0, alias="offset", doc="how far above the main diagonal")
    a: int = attr(0, alias="axis1", doc="the axis of the rows")
    b: int = attr(1, alias="axis2", doc="the axis of the columns")

    def ends(self, x):
        """The axes, the others, and the length of the diagonal."""
        a, b = normalize_axis(self.a, len(x)), normalize_axis(self.b, len(x))
        if a == b:
            raise ShapeError(f"axis {a} is given twice, expected two axes of {show(x)}")
        others = tuple(n for i, n in enumerate(x) if i not in (a, b))
        known = None not in (x[a], x[b])
        return a, b, others, max(0, min(x[a] - max(0, -self.k), x[b] - max(0, self.k))) if known else None

    def shape(self, x):
        _, _, others, length = self.ends(x)
        return (*others, length)

    def forward(self, xp, x):
        return copied(xp, xp.diagonal(x, self.k, self.a, self.b))

    def vjp(self, F, g, y, x):
        return (F.put_diagonal(g, shape=F.shape(x), offset=self.k, axis1=self.a, axis2=self.b),)

    def oracle(self, x):
        return np.array(np.diagonal(x, self.k, self.a, self.b))

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=2)
        a, b = draw.permutation(len(shape))[:2]
        return cls(k=draw.integer(-1, 1), a=a, b=b - len(shape)), {"x": draw.array(shape)}


@op
class PutDiagonal(Op):
    """Zeros, with `x` on the diagonal of two axes: the way back from `Diagonal`."""

    analytic = True
    multilinear = 1
    to: tuple[int, ...] = attr(alias="shape", doc="shape of the result")
    k: int = attr(0, alias="offset", doc="how far above the main diagonal")
    a: int = attr(0, alias="axis1", doc="the axis of the rows")
    b: int = attr(1, alias="axis2", doc="the axis of the columns")

    def shape(self, x):
        return self.to

    def forward(self, xp, x, out=None):
        y = xp.zeros(self.to, dtype=x.dtype) if out is None else out
        y[...] = 0
        a, b, _, length = Diagonal(k=self.k, a=self.a, b=self.b).ends(self.to)
        rows, columns = max(0, -self.k), max(0, self.k)
        for i in range(length):
            key: list[Any] = [slice(None)] * len(self.to)
            key[a], key[b] = rows + i, columns + i
            y[tuple(key)] = x[..., i]
        return y

    def vjp(self, F, g, y, x):
        return (F.diagonal(g, offset=self.k, axis1=self.a, axis2=self.b),)

    def oracle(self, x):
        y = np.zeros(self.to)
        rows, columns = np.indices((self.to[self.a], self.to[self.b]))
        places = np.argwhere(columns - rows == self.k)
        moved = np.moveaxis(y, (self.a, self.b), (-2, -1))
        for i, (r, c) in enumerate(places):
            moved[..., r, c] = x[..., i]
        return y

    @classmethod
    def sample(cls, draw):
        made, inputs = Diagonal.sample(draw)
        to = inputs["x"].shape
        return cls(to=to, k=made.k, a=made.a, b=made.b), {"x": draw.array(made.shape(to))}


@op
class Diag(Op):
    """A matrix with the vector `x` on a diagonal; of more axes, the diagonal of the first two.

    Source
        NumPy and MXNet 1.9, `diag`.
    """

    analytic = True
    k: int = attr(0, doc="how far above the main diagonal")
    axis1: int = attr(0, doc="the axis of the rows, of more than one axis")
    axis2: int = attr(1, doc="the axis of the columns, of more than one axis")

    def made(self, x):
        """The op that does it for an input of this shape."""
        if len(x) != 1:
            return Diagonal(k=self.k, a=self.axis1, b=self.axis2)
        size: Any = None if x[0] is None else x[0] + abs(self.k)
        return PutDiagonal(to=(size, size), k=self.k)

    def shape(self, x):
        return self.made(x).shape(x)

    def forward(self, xp, x):
        return self.made(x.shape).forward(xp, x)

    def vjp(self, F, g, y, x):
        made = self.made(F.shape(x))
        return (made.vjp(F, g, y, x)[0],)

    def rewrite(self, F, shapes, x):
        return F.apply(self.made(shapes[0]), (x,))

    def oracle(self, x):
        return np.diag(x, self.k) if x.ndim < 2 else np.diagonal(x, self.k, self.axis1, self.axis2)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis1, axis2 = (-1, 0) if len(shape) > 1 and draw.boolean() else (0, 1)
        return cls(k=draw.integer(-1, 1), axis1=axis1, axis2=axis2), {"x": draw.array(shape)}
