"""Triangular matrices, batch by batch, as MXNet's `linalg` operators treat them."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, show
from tinygrad_lesson.ops.linalg import OfMatrices


def triangle(F, x, lower=True):
    """One triangle of square matrices, the diagonal with it; 0 elsewhere."""
    shape = F.shape(x)
    OfMatrices().check(shape)
    n = shape[-1]
    if None in shape[-2:]:
        return x
    rows, columns = (F.reshape(F.arange(n, dtype="int64"), shape=s) for s in ((n, 1), (1, n)))
    inside = F.greater_equal(rows, columns) if lower else F.less_equal(rows, columns)
    return F.where(inside, x, 0)


@declares
class WithTriangle(Composite):
    """A product of a triangular matrix, or of its inverse."""

    transpose: bool = attr(False, doc="take the triangular matrix transposed")
    rightside: bool = attr(False, doc="it stands to the right of `b`")
    lower: bool = attr(True, doc="its lower triangle holds the numbers, else its upper one")
    alpha: float = attr(1.0, doc="multiplies the result")

    def shape(self, a, b):
        OfMatrices().check(a)
        if len(a) != len(b):
            raise ShapeError(f"a is {show(a)} and b is {show(b)}, expected as many axes")
        side = -1 if self.rightside else -2
        merge((*a[:-2], a[-1]), (*b[:-2], b[side]))
        return b

    def dtype(self, a, b):
        return floating(super().dtype(a, b))

    def factor(self, F, a):
        """The triangular matrix."""
        a = triangle(F, a, self.lower)
        return F.swapaxes(a, -1, -2) if self.transpose else a

    def known(self, a):
        """The triangular matrix, by NumPy."""
        a = np.tril(a) if self.lower else np.triu(a)
        return a.swapaxes(-1, -2) if self.transpose else a

    @classmethod
    def sample(cls, draw):
        shape, n, m = draw.shape(max_rank=1), draw.size(), draw.size()
        flags = {name: draw.boolean() for name in ("transpose", "rightside", "lower")}
        a = draw.array((*shape, n, n), low=-0.4, high=0.4) + 1.5 * np.eye(n)
        b = draw.array((*shape, m, n) if flags["rightside"] else (*shape, n, m))
        return cls(**flags, alpha=draw.choice((1.0, 2.5))), {"a": a, "b": b}


@op
class Trmm(WithTriangle):
    """A triangular matrix times `b`, and `alpha`.

    Source
        BLAS, `trmm`; MXNet 1.9, `linalg_trmm`.
    """

    def compose(self, F, a, b):
        self.shape(F.shape(a), F.shape(b))
        a = self.factor(F, a)
        return self.alpha * (F.matmul(b, a) if self.rightside else F.matmul(a, b))

    def oracle(self, a, b):
        a = self.known(a)
        return self.alpha * (
            np.einsum("...mk,...kn->...mn", b, a) if self.rightside else np.einsum("...mk,...kn", a, b)
        )


@op
class Trsm(WithTriangle):
    """The inverse of a triangular matrix times `b`, and `alpha`.

    Source
        BLAS, `trsm`; MXNet 1.9, `linalg_trsm`.
    """

    host_only = "LAPACK computes it on the processor"
    traceable = False

    def compose(self, F, a, b):
        self.shape(F.shape(a), F.shape(b))
        a = self.factor(F, a)
        if not self.rightside:
            return self.alpha * F.solve(a, b)
        return self.alpha * F.swapaxes(F.solve(F.swapaxes(a, -1, -2), F.swapaxes(b, -1, -2)), -1, -2)

    def oracle(self, a, b):
        inverse = np.linalg.inv(self.known(a))
        return self.alpha * (b @ inverse if self.rightside else inverse @ b)


@op
class Potrf(Composite):
    """The Cholesky factor of a positive definite matrix: the lower triangle ``l`` of ``l @ l.T``, or the upper ``u`` of
    ``u.T @ u``.

    Source
        LAPACK, `potrf`; MXNet 1.9, `linalg_potrf`.
    """

    host_only = "LAPACK computes it on the processor"
    method = False
    traceable = False
    lower: bool = attr(True, doc="the lower triangle, else the upper one")

    def compose(self, F, a):
        factor = F.cholesky(a)
        return factor if self.lower else F.swapaxes(factor, -1, -2)

    def dtype(self, a):
        return floating(a)

    def oracle(self, a):
        lower = np.linalg.cholesky((a + a.swapaxes(-1, -2)) / 2)
        return lower if self.lower else lower.swapaxes(-1, -2)

    @classmethod
    def sample(cls, draw):
        return cls(lower=draw.boolean()), {"a": OfMatrices.drawn(draw)}


@op
class Potri(Composite):
    """The inverse of the matrix whose Cholesky factor is `a`: of ``a @ a.T`` with the lower triangle of `a`, of
    ``a.T @ a`` with the upper one.

    Source
        LAPACK, `potri`; MXNet 1.9, `linalg_potri`.
    """

    host_only = "LAPACK computes it on the processor"
    traceable = False
    lower: bool = attr(True, doc="its lower triangle holds the numbers, else its upper one")

    def compose(self, F, a):
        inverse = F.inv(triangle(F, a, self.lower))
        other = F.swapaxes(inverse, -1, -2)
        return F.matmul(other, inverse) if self.lower else F.matmul(inverse, other)

    def dtype(self, a):
        return floating(a)

    def oracle(self, a):
        a = np.tril(a) if self.lower else np.triu(a).swapaxes(-1, -2)
        return np.linalg.inv(np.einsum("...ik,...jk->...ij", a, a))

    @classmethod
    def sample(cls, draw):
        return cls(lower=draw.boolean()), {"a": OfMatrices.drawn(draw)}


@op
class Sumlogdiag(Composite):
    """The sum of the logarithms of the diagonal.

    Shapes
        a (..., n, n) -> (...), of one matrix (1,)

    Source
        MXNet 1.9, `linalg_sumlogdiag`.
    """

    def compose(self, F, a):
        OfMatrices().check(F.shape(a))
        return F.sum(F.log(F.diagonal(a, 0, -2, -1)), axis=-1, vector=True)

    def dtype(self, a):
        return floating(a)

    def oracle(self, a):
        return np.atleast_1d(np.log(np.einsum("...ii->...i", a)).sum(axis=-1))

    @classmethod
    def sample(cls, draw):
        shape, n = draw.shape(max_rank=1), draw.size()
        return cls(), {"a": draw.array((*shape, n, n), low=0.2, high=3)}


@op
class Makediag(Composite):
    """Square matrices with `a` on a diagonal, `offset` places above the main one, and 0 elsewhere.

    Shapes
        a (..., n) -> (..., n + |offset|, n + |offset|)

    Source
        MXNet 1.9, `linalg_makediag`.
    """

    offset: int = attr(0, doc="how far above the main diagonal")

    def shape(self, a):
        if not a:
            raise ShapeError(f"a is {show(a)}, expected at least one axis")
        n = None if a[-1] is None else a[-1] + abs(self.offset)
        return (*a[:-1], n, n)

    def compose(self, F, a):
        shape = self.shape(F.shape(a))
        return F.put_diagonal(a, shape=shape, offset=self.offset, axis1=-2, axis2=-1)

    def oracle(self, a):
        rows = a.reshape((-1, a.shape[-1]))
        return np.array([np.diag(row, self.offset) for row in rows]).reshape(self.shape(a.shape))

    @classmethod
    def sample(cls, draw):
        return cls(offset=draw.integer(-1, 1)), {"a": draw.array(draw.shape(min_rank=1))}


@declares
class Packed(Op):
    """An op on the numbers of a triangle: of a lower one row by row, of an upper one column by column."""

    host_only = "its places are counted on the processor"
    offset: int = attr(0, doc="the first diagonal that counts: above the main one where positive")
    lower: bool = attr(True, doc="the lower triangle, unless the offset says which")

    def places(self, n):
        """The rows and columns of the numbers: beyond a diagonal off the middle that is on its own side."""
        lower = self.lower if not self.offset else self.offset < 0
        return np.tril_indices(n, self.offset) if lower else np.tril_indices(n, -self.offset)[::-1]

    def count(self, n):
        """How many numbers there are."""
        k = n - abs(self.offset)
        return max(0, k * (k + 1) // 2)

    def dtype(self, a):
        return a

    @classmethod
    def drawn(cls, draw):
        """An op, and the shape of matrices."""
        n, offset = draw.size(2, 3), draw.integer(-1, 1)
        return cls(offset=offset, lower=draw.boolean()), (*draw.shape(max_rank=1), n, n)


@op
class Extracttrian(Packed):
    """The numbers of a triangle of square matrices: of a lower one row by row, of an upper one column by column.

    Shapes
        a (..., n, n) -> (..., k * (k + 1) / 2) with k = n - |offset|

    Source
        MXNet 1.9, `linalg_extracttrian`.
    """

    analytic = True

    def shape(self, a):
        OfMatrices().check(a)
        n = a[-1] if a[-1] is not None else a[-2]
        return (*a[:-2], None if n is None else self.count(n))

    def forward(self, xp, a):
        self.shape(a.shape)
        rows, columns = self.places(a.shape[-1])
        flat = xp.reshape(a, (*a.shape[:-2], a.shape[-1] ** 2))
        return xp.take(flat, rows * a.shape[-1] + columns, axis=-1)

    def vjp(self, F, g, y, a):
        return (F.maketrian(g, offset=self.offset, lower=self.lower),)

    def oracle(self, a):
        n = a.shape[-1]
        lower = self.lower if not self.offset else self.offset < 0
        inside = [
            (i, j)
            for i in range(n)
            for j in range(n)
            if (j - i <= self.offset if lower else i - j >= self.offset)
        ]
        return np.stack([a[..., i, j] if lower else a[..., j, i] for i, j in inside], axis=-1)

    @classmethod
    def sample(cls, draw):
        made, shape = cls.drawn(draw)
        return made, {"a": draw.array(shape)}


@op
class Maketrian(Packed):
    """Square matrices with numbers in a triangle and 0 elsewhere: the way back from `Extracttrian`, in its order.

    Shapes
        a (..., k * (k + 1) / 2) -> (..., n, n) with n = k + |offset|

    Source
        MXNet 1.9, `linalg_maketrian`.
    """

    analytic = True

    def shape(self, a):
        if not a:
            raise ShapeError(f"a is {show(a)}, expected at least one axis")
        if a[-1] is None:
            return (*a[:-1], None, None)
        k = (math.isqrt(8 * a[-1] + 1) - 1) // 2
        n = k + abs(self.offset)
        if self.count(n) != a[-1]:
            raise ShapeError(f"a is {show(a)}, expected 1, 3, 6, 10, ... numbers along the last axis")
        return (*a[:-1], n, n)

    def forward(self, xp, a):
        shape = self.shape(a.shape)
        y = xp.zeros(shape, dtype=a.dtype)
        for i, (row, column) in enumerate(zip(*self.places(shape[-1]), strict=True)):
            y[..., int(row), int(column)] = a[..., i]
        return y

    def vjp(self, F, g, y, a):
        return (F.extracttrian(g, offset=self.offset, lower=self.lower),)

    def oracle(self, a):
        shape = self.shape(a.shape)
        y, packed = np.zeros(shape), Extracttrian(self.offset, self.lower)
        for i in np.ndindex(shape):  # the transpose of a linear map
            one = np.zeros(shape)
            one[i] = 1
            y[i] = np.sum(packed.oracle(one) * a)
        return y

    @classmethod
    def sample(cls, draw):
        made, shape = cls.drawn(draw)
        return made, {"a": draw.array((*shape[:-2], made.count(shape[-1])))}
