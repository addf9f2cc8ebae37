"""Linear algebra of square matrices, batch by batch."""

from __future__ import annotations

import contextlib

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, in_type, roomy, rounded, with_room
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import merge, show


def or_nan(function, *arrays):
    """What a library makes of matrices; NaN of those that it refuses because they are singular."""
    with contextlib.suppress(np.linalg.LinAlgError):
        return function(*arrays)
    y = np.full_like(arrays[-1], np.nan)
    for i in np.ndindex(y.shape[:-2]):
        with contextlib.suppress(np.linalg.LinAlgError):
            y[i] = function(*[x[i] for x in arrays])
    return y


class OfMatrices(Op):
    """An op on square matrices, by a library call."""

    host_only = "LAPACK computes it on the processor"
    traceable = False

    def dtype(self, x):
        return floating(x)

    def check(self, x):
        """Refuse what is no square matrix."""
        if len(x) < 2 or (None not in x[-2:] and x[-1] != x[-2]):
            raise ShapeError(f"x is {show(x)}, expected square matrices (..., n, n)")

    @staticmethod
    def drawn(draw):
        """Matrices of some batch, far from singular."""
        shape, n = draw.shape(max_rank=1), draw.size()
        return draw.array((*shape, n, n), low=-0.4, high=0.4) + 1.5 * np.eye(n)


@op
class Inverse(OfMatrices):
    """The inverse of each matrix; NaN where there is none.

    Shapes
        x (..., n, n) -> as x
    """

    analytic = True
    function = "inv"

    def shape(self, x):
        self.check(x)
        return x

    def forward(self, xp, x):
        self.check(x.shape)
        return rounded(xp, or_nan(xp.linalg.inv, with_room(xp, x)), x.dtype)

    def vjp(self, F, g, y, x):
        back = F.swapaxes(y, -1, -2)
        return (F.negative(F.matmul(F.matmul(back, g), back)),)

    def oracle(self, x):
        return np.linalg.solve(x, np.broadcast_to(np.eye(x.shape[-1]), x.shape))

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": cls.drawn(draw)}


@op
class Det(OfMatrices):
    """The determinant of each matrix.

    Shapes
        x (..., n, n) -> (...), of one matrix (1,) with `vector`
    """

    analytic = True
    vector: bool = attr(False, shown=False, doc="a result without axes gets shape (1,), as in MXNet")

    def shape(self, x):
        self.check(x)
        return x[:-2] or ((1,) if self.vector else ())

    def forward(self, xp, x):
        y = xp.linalg.det(with_room(xp, x))
        return rounded(xp, xp.reshape(y, self.shape(x.shape)), x.dtype)

    def vjp(self, F, g, y, x):
        shape = F.shape(x)
        return (F.reshape(g, shape=(*shape[:-2], 1, 1)) * F.cofactors(x),)

    def oracle(self, x):
        flat = x.reshape((-1, *x.shape[-2:]))
        found = np.array([np.prod(np.linalg.eigvals(m)).real if len(m) else 1.0 for m in flat])
        return found.reshape(self.shape(x.shape))

    @classmethod
    def sample(cls, draw):
        return cls(vector=draw.boolean()), {"x": cls.drawn(draw)}


@op
class Cofactors(OfMatrices):
    """What each element of a square matrix is multiplied by in its determinant: ``det(x) * inv(x).T``.

    Of a singular matrix it is the limit of that, which has no gradient: NaN.

    Shapes
        x (..., n, n) -> as x
    """

    analytic = True

    def shape(self, x):
        self.check(x)
        return x

    def forward(self, xp, x):
        self.check(x.shape)
        wide = with_room(xp, x)
        y = np.linalg.det(wide)[..., None, None] * or_nan(np.linalg.inv, wide).swapaxes(-1, -2)
        singular = np.isnan(y).any((-2, -1)) & np.isfinite(wide).all((-2, -1))
        if singular.any():
            u, s, vh = np.linalg.svd(wide[singular])
            others = [np.prod(np.delete(s, i, axis=-1), axis=-1) for i in range(x.shape[-1])]
            sign = np.linalg.det(u) * np.linalg.det(vh)
            y[singular] = (sign[:, None, None] * u.conj() * np.stack(others, -1)[:, None]) @ vh.conj()
        return rounded(xp, y, x.dtype)

    def vjp(self, F, g, y, x):
        inverse = F.swapaxes(F.inv(x), -1, -2)
        along = F.sum(g * inverse, axis=(-2, -1), keepdims=True)
        return (y * along - F.matmul(F.matmul(y, F.swapaxes(g, -1, -2)), inverse),)

    def oracle(self, x):
        y, n = np.zeros(x.shape), x.shape[-1]
        for i, j in np.ndindex(n, n):
            minor = np.delete(np.delete(x, i, axis=-2), j, axis=-1)
            y[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
        return y

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": cls.drawn(draw)}


@op
class Solve(Op):
    """The solution of linear equations: `y` for which ``a @ y = b``; NaN where there is none.

    Shapes
        a (..., n, n), b (..., n, m) -> as b
    """

    analytic = True
    host_only = "LAPACK computes it on the processor"
    traceable = False

    def shape(self, a, b):
        OfMatrices().check(a)
        if len(a) != len(b):
            raise ShapeError(
                f"b is {show(b)}, expected (..., n, m) with as many axes as a, which is {show(a)}"
            )
        return merge((*a[:-1], None), b)

    def dtype(self, a, b):
        return floating(super().dtype(a, b))

    def forward(self, xp, a, b):
        self.shape(a.shape, b.shape)
        kind = roomy(np.result_type(a, b))
        y = or_nan(xp.linalg.solve, in_type(xp, a, kind), in_type(xp, b, kind))
        return rounded(xp, y, np.result_type(a, b))

    def vjp(self, F, g, y, a, b):
        back = F.solve(F.swapaxes(a, -1, -2), g)
        return F.negative(F.matmul(back, F.swapaxes(y, -1, -2))), back

    def oracle(self, a, b):
        return np.linalg.inv(a) @ b

    @classmethod
    def sample(cls, draw):
        a = OfMatrices.drawn(draw)
        return cls(), {"a": a, "b": draw.array((*a.shape[:-1], draw.size()))}
