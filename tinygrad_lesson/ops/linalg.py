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
    """The determinant of each matrix; its gradient is NaN where that is 0.

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
        return (F.reshape(g * y, shape=(*shape[:-2], 1, 1)) * F.swapaxes(F.inv(x), -1, -2),)

    def oracle(self, x):
        flat = x.reshape((-1, *x.shape[-2:]))
        found = np.array([np.prod(np.linalg.eigvals(m)).real if len(m) else 1.0 for m in flat])
        return found.reshape(self.shape(x.shape))

    @classmethod
    def sample(cls, draw):
        return cls(vector=draw.boolean()), {"x": cls.drawn(draw)}


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
