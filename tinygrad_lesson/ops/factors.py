"""Decompositions of matrices, with results in the order and the signs of MXNet."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.decompositions import Eigh, OfRectangles, Qr, Slogdet


def turned_all(F, values):
    """The transposed matrices; None stays None."""
    return [None if x is None else F.swapaxes(x, -1, -2) for x in values]


@op
class Syevd(Eigh):
    """Rows of eigenvectors `u` and eigenvalues `l` of symmetric matrices, ascending: ``x = u.T @ diag(l) @ u``.

    The largest number of each row is positive; further as `Eigh`.

    Source
        MXNet 1.9, `linalg_syevd`.
    """

    outputs = ("output0", "output1")

    def shape(self, x):
        self.check(x)
        return x, x[:-1]

    def forward(self, xp, x):
        values, vectors = Eigh().forward(xp, x)
        rows = xp.swapaxes(vectors, -1, -2)
        largest = xp.take_along_axis(rows, xp.argmax(xp.abs(rows), axis=-1)[..., None], -1)
        return rows * xp.where(xp.less(largest, 0), -1, 1).astype(rows.dtype), values

    def vjp(self, F, g, y, x):
        return super().vjp(F, (g[1], *turned_all(F, g[:1])), (y[1], *turned_all(F, y[:1])), x)

    def oracle(self, x):
        values, vectors = super().oracle(x)
        rows = vectors.swapaxes(-1, -2)
        largest = np.max(rows, axis=-1) > -np.min(rows, axis=-1)
        return rows * np.where(largest, 1, -1)[..., None], values


@op
class Gelqf(OfRectangles):
    """Orthogonal rows `q` and a lower triangle `l` whose product is `x`: ``x = l @ q``.

    There are at most as many rows as columns.

    Source
        MXNet 1.9, `linalg_gelqf`.
    """

    outputs = ("output0", "output1")

    def shape(self, x):
        batch, m, n, _ = self.ends(x)
        if None not in (m, n) and m > n:
            raise ShapeError(f"x is {show(x)}, expected at most as many rows as columns")
        return x, (*batch, m, m)

    def forward(self, xp, x):
        self.shape(x.shape)
        return tuple([xp.swapaxes(y, -1, -2) for y in Qr().forward(xp, xp.swapaxes(x, -1, -2))])

    def vjp(self, F, g, y, x):
        found = Qr().vjp(F, turned_all(F, g), turned_all(F, y), *turned_all(F, [x]))
        return tuple(turned_all(F, found))

    def oracle(self, x):
        return tuple(y.swapaxes(-1, -2) for y in Qr().oracle(x.swapaxes(-1, -2)))

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": cls.rectangles(draw, tall=True).swapaxes(-1, -2)}


@op
class SignAndLog(Slogdet):
    """As `Slogdet`; of one matrix the results have shape (1,).

    Source
        MXNet 1.9, `linalg_slogdet`.
    """

    outputs = ("output0", "output1")

    def shape(self, x):
        shape = super().shape(x)[0] or (1,)
        return shape, shape

    def forward(self, xp, x):
        return tuple([xp.reshape(y, self.shape(x.shape)[0]) for y in super().forward(xp, x)])

    def vjp(self, F, g, y, x):
        batch = F.shape(x)[:-2]
        return super().vjp(F, (None, None if g[1] is None else F.reshape(g[1], shape=batch)), y, x)

    def oracle(self, x):
        return tuple(np.atleast_1d(y) for y in super().oracle(x))
