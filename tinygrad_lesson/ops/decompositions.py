"""Matrices as products of simpler ones, and functions of matrices, batch by batch, by library calls."""

from __future__ import annotations

import contextlib

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, rounded, with_room
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.linalg import OfMatrices


def each_or_nan(function, x, shapes):
    """What a library makes of matrices, a tuple of results; NaN of those matrices that it refuses."""
    with contextlib.suppress(np.linalg.LinAlgError):
        y = function(x)
        return y if isinstance(y, tuple) else (y,)
    found = tuple(np.full(shape, np.nan, x.dtype) for shape in shapes)
    for i in np.ndindex(x.shape[:-2]):
        with contextlib.suppress(np.linalg.LinAlgError):
            y = function(x[i])
            for whole, part in zip(found, y if isinstance(y, tuple) else (y,), strict=True):
                whole[i] = part
    return found


def turned(F, x):
    """The transposed matrices."""
    return F.swapaxes(x, -1, -2)


def triangle(F, x, diagonal):
    """The lower triangle; what is on the diagonal times a number."""
    row, column = numbered(F, x)
    return F.where(F.greater(row, column), x, F.where(F.equal(row, column), x * diagonal, 0))


def identity_like(F, x):
    """The identity matrix of as many columns as `x`, in its type."""
    row, column = numbered(F, x)
    return F.cast(F.equal(row, column), dtype=str(F.dtype(x)))


def numbered(F, x):
    """The numbers of rows and of columns of a square matrix."""
    n = F.shape(x)[-1]
    numbers = F.arange(n, dtype="int64")
    return F.reshape(numbers, shape=(n, 1)), F.reshape(numbers, shape=(1, n))


class OfRectangles(Op):
    """An op on matrices that need not be square."""

    host_only = "LAPACK computes it on the processor"
    traceable = False

    def dtype(self, x):
        return floating(x)

    def ends(self, x):
        """The batch, the sizes of the matrices, and the smaller of them."""
        if len(x) < 2:
            raise ShapeError(f"x is {show(x)}, expected matrices (..., m, n)")
        m, n = x[-2:]
        return x[:-2], m, n, None if None in (m, n) else min(m, n)

    @staticmethod
    def rectangles(draw, tall=False):
        """Matrices of some batch, whose singular values are far from each other and from 0.

        No element is near 0, where the library chooses other signs for vectors.
        """
        batch, m, n = draw.shape(max_rank=1), draw.size(), draw.size()
        m, n = (max(m, n), min(m, n)) if tall else (m, n)
        return draw.array((*batch, m, n), low=0.05, high=0.3) + np.eye(m, n) * np.array([1.0, 2.0, 3.5])[:n]


@op
class Cholesky(OfMatrices):
    """The lower triangle whose product with its transpose is `x`, a positive definite matrix; NaN if it is none.

    Of a matrix that is not symmetric the symmetric part is taken.

    Shapes
        x (..., n, n) -> as x

    Source
        Its gradient: Murray 2016, "Differentiation of the Cholesky decomposition", equation 10.
    """

    def shape(self, x):
        self.check(x)
        return x

    def forward(self, xp, x):
        self.check(x.shape)
        wide = with_room(xp, x)
        (y,) = each_or_nan(np.linalg.cholesky, (wide + wide.swapaxes(-1, -2)) / 2, [self.shape(x.shape)])
        return rounded(xp, y, x.dtype)

    def vjp(self, F, g, y, x):
        inner = triangle(F, F.matmul(turned(F, y), g), 0.5)
        back = F.solve(turned(F, y), turned(F, F.solve(turned(F, y), turned(F, inner))))
        return ((back + turned(F, back)) * 0.5,)

    def oracle(self, x):
        s, y = (x + x.swapaxes(-1, -2)) / 2, np.zeros(x.shape)
        for j in range(x.shape[-1]):
            rest = s[..., j:, j] - np.einsum("...ik,...k->...i", y[..., j:, :j], y[..., j, :j])
            y[..., j:, j] = rest / np.sqrt(rest[..., :1])
        return y

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": cls.drawn(draw)}


@op
class Eigh(OfMatrices):
    """The eigenvalues of symmetric matrices, in ascending order, and the eigenvectors, as columns of length 1.

    Of a matrix that is not symmetric the symmetric part is taken. The sign of a vector is what the library gives. Where
    two eigenvalues are equal their vectors have no derivative: their gradient is infinite or NaN, that of the
    eigenvalues is one of many.

    Shapes
        x (..., n, n) -> (..., n) and (..., n, n)
    """

    outputs = ("eigenvalues", "eigenvectors")

    def shape(self, x):
        self.check(x)
        return x[:-1], x

    def forward(self, xp, x):
        self.check(x.shape)
        wide = with_room(xp, x)
        found = each_or_nan(
            lambda s: tuple(np.linalg.eigh(s)), (wide + wide.swapaxes(-1, -2)) / 2, self.shape(x.shape)
        )
        return tuple(rounded(xp, y, x.dtype) for y in found)

    def vjp(self, F, g, y, x):
        (w, v), (gw, gv) = y, g
        one = identity_like(F, x)
        inner = None if gw is None else F.expand_dims(gw, axis=-1) * one
        if gv is not None:
            gap = F.expand_dims(w, axis=-2) - F.expand_dims(w, axis=-1)
            turns = F.matmul(turned(F, v), gv) * ((1 - one) / (gap + one))
            inner = turns if inner is None else inner + turns
        back = F.matmul(F.matmul(v, inner), turned(F, v))
        return ((back + turned(F, back)) * 0.5,)

    def oracle(self, x):
        s = (x + x.swapaxes(-1, -2)) / 2
        w, signs = np.sort(np.linalg.eigvals(s).real, axis=-1), np.linalg.eigh(s)[1]
        v = np.zeros(x.shape)
        for i in np.ndindex(x.shape[:-2]):
            for k, value in enumerate(w[i]):  # the null space, from a decomposition of another kind
                v[(*i, slice(None), k)] = np.linalg.svd(s[i] - value * np.eye(len(s[i])))[2][-1]
        return w, v * np.sign(np.sum(v * signs, axis=-2, keepdims=True))

    @classmethod
    def sample(cls, draw):  # far from where LAPACK turns a vector round: at ties on and beside the diagonal
        shape, n = draw.shape(max_rank=1), draw.size()
        apart = np.array([[3.0, 0.8, 0.3], [0.8, 0.5, 0.0], [0.3, 0.0, -1.5]])
        return cls(), {"x": draw.array((*shape, n, n), low=0.1, high=0.3) + apart[:n, :n]}


@op
class Qr(OfRectangles):
    """Orthogonal columns and an upper triangle whose product is `x`, which has at least as many rows as columns.

    Where the columns of `x` depend on each other there is no gradient: infinite or NaN.

    Shapes
        x (..., m, n) -> (..., m, n) and (..., n, n), m at least n

    Source
        Its gradient: Roberts and Roberts 2020, "QR and LQ decomposition matrix backpropagation algorithms", equation 4.
    """

    outputs = ("q", "r")

    def shape(self, x):
        batch, m, n, _ = self.ends(x)
        if None not in (m, n) and m < n:
            raise ShapeError(f"x is {show(x)}, expected at least as many rows as columns")
        return x, (*batch, n, n)

    def forward(self, xp, x):
        found = each_or_nan(lambda a: tuple(np.linalg.qr(a)), with_room(xp, x), self.shape(x.shape))
        return tuple(rounded(xp, y, x.dtype) for y in found)

    def vjp(self, F, g, y, x):
        (q, r), (gq, gr) = y, g
        inner = None if gr is None else F.matmul(r, turned(F, gr))
        if gq is not None:
            back = F.negative(F.matmul(turned(F, gq), q))
            inner = back if inner is None else inner + back
        low = triangle(F, inner, 0.5)
        whole = F.matmul(q, low + turned(F, low))
        whole = whole if gq is None else whole + gq
        return (turned(F, F.solve(r, turned(F, whole))),)

    def oracle(self, x):
        q, r = np.zeros(x.shape), np.zeros(self.shape(x.shape)[1])
        for j in range(x.shape[-1]):  # Gram and Schmidt, twice
            v = x[..., j]
            for _ in range(2):
                share = np.einsum("...mk,...m->...k", q[..., :j], v)
                r[..., :j, j] += share
                v = v - np.einsum("...mk,...k->...m", q[..., :j], share)
            r[..., j, j] = np.linalg.norm(v, axis=-1)
            q[..., j] = v / r[..., j, j, None]
        signs = np.sign(np.einsum("...ii->...i", np.linalg.qr(x)[1]))
        return q * signs[..., None, :], r * signs[..., :, None]

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": cls.rectangles(draw, tall=True)}


@op
class Svd(OfRectangles):
    """Orthogonal columns, singular values in descending order, and orthogonal rows, whose product is `x`.

    The sign of a column and its row is what the library gives. Where two singular values are equal, or one is 0,
    vectors have no derivative: their gradient is infinite or NaN; `Svdvals` has one.

    Shapes
        x (..., m, n) -> (..., m, k), (..., k) and (..., k, n), where k is the smaller of m and n

    Source
        Its gradient: Townsend 2016, "Differentiating the singular value decomposition".
    """

    outputs = ("u", "s", "vh")

    def shape(self, x):
        batch, m, n, k = self.ends(x)
        return (*batch, m, k), (*batch, k), (*batch, k, n)

    def forward(self, xp, x):
        def decompose(a):
            return tuple(np.linalg.svd(a, full_matrices=False))

        found = each_or_nan(decompose, with_room(xp, x), self.shape(x.shape))
        return tuple(rounded(xp, y, x.dtype) for y in found)

    def vjp(self, F, g, y, x):
        (u, s, vh), (gu, gs, gvh) = y, g
        one = identity_like(F, s)
        row, column = F.expand_dims(s, axis=-2), F.expand_dims(s, axis=-1)
        gap = (1 - one) / ((row - column) * (row + column) + one)
        inner = None if gs is None else F.expand_dims(gs, axis=-1) * one
        outside = []
        for own, gradient, other, left in ((u, gu, vh, True), (turned(F, vh), gvh, u, False)):
            if gradient is None:
                continue
            gradient = gradient if left else turned(F, gradient)
            turns = gap * F.matmul(turned(F, own), gradient)
            turns = (turns + turned(F, turns)) * (row if left else column)
            inner = turns if inner is None else inner + turns
            beyond = (gradient - F.matmul(own, F.matmul(turned(F, own), gradient))) / row
            outside.append(F.matmul(beyond, other) if left else F.matmul(other, turned(F, beyond)))
        back = F.matmul(F.matmul(u, inner), vh)
        for part in outside:
            back = back + part
        return (back,)

    def oracle(self, x):
        u, s, vh = (
            np.zeros(self.shape(x.shape)[0]),
            np.zeros(self.shape(x.shape)[1]),
            np.zeros(self.shape(x.shape)[2]),
        )
        signs = np.linalg.svd(x, full_matrices=False)[0]
        for i in np.ndindex(x.shape[:-2]):  # by the eigenvectors of the smaller product
            wide = x[i].shape[0] < x[i].shape[1]
            a = x[i].T if wide else x[i]
            w, v = np.linalg.eigh(a.T @ a)
            w, v = np.sqrt(w[::-1]), v[:, ::-1]
            left, right = a @ v / w, v
            u[i], s[i], vh[i] = (right, w, left.T) if wide else (left, w, right.T)
        turn = np.sign(np.sum(u * signs, axis=-2))
        return u * turn[..., None, :], s, vh * turn[..., :, None]

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": cls.rectangles(draw)}


@op
class Pinv(OfRectangles):
    """The pseudoinverse: of all matrices that solve ``x @ y @ x = x`` the smallest.

    Its gradient is that among matrices of the same rank.

    Shapes
        x (..., m, n) -> (..., n, m)

    Source
        Golub and Pereyra 1973, equation 4.12.
    """

    rcond: float = attr(1e-15, minimum=0, doc="singular values below this share of the largest count as 0")

    def shape(self, x):
        batch, m, n, _ = self.ends(x)
        return (*batch, n, m)

    def forward(self, xp, x):
        (y,) = each_or_nan(
            lambda a: np.linalg.pinv(a, rcond=self.rcond), with_room(xp, x), [self.shape(x.shape)]
        )
        return rounded(xp, y, x.dtype)

    def vjp(self, F, g, y, x):
        back, turn = turned(F, y), turned(F, g)
        first = F.negative(F.matmul(F.matmul(back, g), back))
        left = F.matmul(turn, F.matmul(y, back))
        right = F.matmul(F.matmul(back, y), turn)
        return (first + left - F.matmul(x, F.matmul(y, left)) + right - F.matmul(F.matmul(right, y), x),)

    def oracle(self, x):
        a, b = (x.swapaxes(-1, -2), x) if x.shape[-2] >= x.shape[-1] else (x, x.swapaxes(-1, -2))
        y = np.linalg.solve(a @ b, a)
        return y if x.shape[-2] >= x.shape[-1] else y.swapaxes(-1, -2)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": cls.rectangles(draw)}


@op
class Slogdet(OfMatrices):
    """The sign of the determinant, which has no gradient, and the logarithm of its absolute value.

    Of a singular matrix they are 0 and minus infinity, and the gradient NaN.

    Shapes
        x (..., n, n) -> (...) and (...)
    """

    outputs = ("sign", "logabsdet")

    def shape(self, x):
        self.check(x)
        return x[:-2], x[:-2]

    def forward(self, xp, x):
        self.check(x.shape)
        return tuple(rounded(xp, np.asarray(y), x.dtype) for y in np.linalg.slogdet(with_room(xp, x)))

    def vjp(self, F, g, y, x):
        if g[1] is None:
            return (None,)
        scale = F.reshape(g[1], shape=(*F.shape(g[1]), 1, 1))
        return (scale * turned(F, F.inv(x)),)

    def oracle(self, x):
        det = np.array([np.prod(np.linalg.eigvals(m)).real for m in x.reshape((-1, *x.shape[-2:]))])
        return tuple(np.reshape(y, x.shape[:-2]) for y in (np.sign(det), np.log(np.abs(det))))

    @classmethod
    def sample(cls, draw):
        x = cls.drawn(draw)
        return cls(), {"x": -x if draw.boolean() else x}
