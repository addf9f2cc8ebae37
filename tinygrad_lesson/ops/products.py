"""Products of matrices and of columns, sums of many arrays."""

from __future__ import annotations

import functools

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show, size_of
from tinygrad_lesson.ops.composing import with_number


@op
class Contract(Composite):
    """Products of `a` and `b` summed over the last axis of `a` and the first of `b`.

    Shapes
        a (..., k), b (k, ...) -> (..., ...); of two vectors (1,)

    Source
        MXNet 1.9, `dot`.
    """

    transpose_a: bool = attr(False, doc="sum over the first axis of `a` instead")
    transpose_b: bool = attr(False, doc="sum over the last axis of `b` instead")

    def compose(self, F, a, b):
        if self.transpose_a and len(F.shape(a)) > 1:
            a = F.transpose(a, axes=(*range(1, len(F.shape(a))), 0))
        if self.transpose_b and len(F.shape(b)) > 1:
            rank = len(F.shape(b))
            b = F.transpose(b, axes=(rank - 1, *range(rank - 1)))
        rows, columns = F.shape(a), F.shape(b)
        if not rows or not columns:
            raise ShapeError(f"a is {show(rows)} and b is {show(columns)}, expected at least one axis each")
        merge(rows[-1:], columns[:1])
        left = F.reshape(a, shape=(-1, rows[-1])) if len(rows) != 2 else a
        right = F.reshape(b, shape=(columns[0], -1)) if len(columns) != 2 else b
        shape = (*rows[:-1], *columns[1:]) or (1,)
        y = F.matmul(left, right)
        return y if len(shape) == 2 == len(rows) else F.reshape(y, shape=shape)

    def oracle(self, a, b):
        a = np.moveaxis(a, 0, -1) if self.transpose_a else a
        b = np.moveaxis(b, -1, 0) if self.transpose_b else b
        return np.atleast_1d(np.tensordot(a, b, 1))

    @classmethod
    def sample(cls, draw):
        made, k = cls(transpose_a=draw.boolean(), transpose_b=draw.boolean()), draw.size()
        a, b = draw.shape(max_rank=2), draw.shape(max_rank=2)
        a = (k, *a) if made.transpose_a else (*a, k)
        b = (*b, k) if made.transpose_b else (k, *b)
        return made, {"a": draw.array(a), "b": draw.array(b)}


def with_rows(F, x, axis):
    """Matrices with their rows along the last axis but one, if these lie along `axis`; and the way back."""
    return x if axis == -2 else F.swapaxes(x, axis, -2)


@op
class BatchDot(Composite):
    """Product of matrices, batch by batch, each transposed if wanted.

    Shapes
        a (batch, m, k), b (batch, k, n) -> (batch, m, n)
    """

    transpose_a: bool = attr(False, doc="take `a` as (batch, k, m)")
    transpose_b: bool = attr(False, doc="take `b` as (batch, n, k)")
    alpha: float = attr(1.0, doc="multiplies the product")
    axis: int = attr(-2, doc="the axis of the rows, in the product too; that of the columns is the last")

    def compose(self, F, a, b):
        if min(len(F.shape(a)), len(F.shape(b))) < 2:
            raise ShapeError(
                f"a is {show(F.shape(a))}, b {show(F.shape(b))}, expected (..., m, k) and (..., k, n)"
            )
        a, b = (with_rows(F, x, self.axis) for x in (a, b))
        a = F.swapaxes(a, -1, -2) if self.transpose_a else a
        b = F.swapaxes(b, -1, -2) if self.transpose_b else b
        y = with_rows(F, F.matmul(a, b), self.axis)
        return y if self.alpha == 1 else y * self.alpha

    def dtype(self, a, b):
        return with_number(super().dtype(a, b), self.alpha if self.alpha != 1 else 0)

    def oracle(self, a, b):
        a, b = (np.swapaxes(x, self.axis, -2) for x in (a, b))
        form = f"b{'km' if self.transpose_a else 'mk'},b{'nk' if self.transpose_b else 'kn'}->bmn"
        return np.swapaxes(np.einsum(form, a, b) * self.alpha, self.axis, -2)

    @classmethod
    def sample(cls, draw):
        batch, m, k, n = (draw.size() for _ in range(4))
        axis, alpha = draw.choice((-2, 0)), draw.choice((1.0, 2.5))
        made = cls(transpose_a=draw.boolean(), transpose_b=draw.boolean(), alpha=alpha, axis=axis)
        a = (batch, k, m) if made.transpose_a else (batch, m, k)
        b = (batch, n, k) if made.transpose_b else (batch, k, n)
        a, b = ((x[1], x[0], x[2]) if axis == 0 else x for x in (a, b))
        return made, {"a": draw.array(a), "b": draw.array(b)}


@op
class AddN(Composite):
    """The sum of any number of arrays of one shape."""

    def compose(self, F, *args):
        total = args[0]
        for i, x in enumerate(args[1:], 1):
            if None not in (*F.shape(x), *F.shape(total)) and F.shape(x) != F.shape(total):
                raise ShapeError(
                    f"input {i} is {show(F.shape(x))}, expected {show(F.shape(total))} as input 0"
                )
            total = F.add(total, x)
        return total if len(args) > 1 else F.identity(total)

    def oracle(self, *args):
        return np.sum(args, axis=0)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(), {f"args{i}": draw.array(shape) for i in range(draw.integer(1, 3))}


@op
class Gemm(Composite):
    """``alpha * a @ b + beta * c``, batch by batch, `a` and `b` transposed if wanted.

    Source
        BLAS, `gemm`; MXNet 1.9, `linalg_gemm`.
    """

    transpose_a: bool = attr(False, doc="take `a` with its last two axes exchanged")
    transpose_b: bool = attr(False, doc="take `b` with its last two axes exchanged")
    alpha: float = attr(1.0, doc="multiplies the product")
    beta: float = attr(1.0, doc="multiplies `c`")
    axis: int = attr(-2, doc="the axis of the rows, in the result too; that of the columns is the last")

    def compose(self, F, a, b, c):
        a, b = (with_rows(F, x, self.axis) for x in (a, b))
        a = F.swapaxes(a, -1, -2) if self.transpose_a else a
        b = F.swapaxes(b, -1, -2) if self.transpose_b else b
        return self.alpha * with_rows(F, F.matmul(a, b), self.axis) + self.beta * c

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    def oracle(self, a, b, c):
        a = a.swapaxes(-1, -2) if self.transpose_a else a
        b = b.swapaxes(-1, -2) if self.transpose_b else b
        return self.alpha * np.einsum("...mk,...kn->...mn", a, b) + self.beta * c

    @classmethod
    def sample(cls, draw):
        batch, m, k, n = draw.shape(max_rank=1), *(draw.size() for _ in range(3))
        made = cls(transpose_a=draw.boolean(), transpose_b=draw.boolean(), alpha=0.5, beta=2.0)
        a = (*batch, k, m) if made.transpose_a else (*batch, m, k)
        b = (*batch, n, k) if made.transpose_b else (*batch, k, n)
        return made, {"a": draw.array(a), "b": draw.array(b), "c": draw.array((*batch, m, n))}


@op
class Syrk(Composite):
    """``alpha * a @ a.T``, batch by batch; ``alpha * a.T @ a`` with `transpose`.

    Source
        BLAS, `syrk`; MXNet 1.9, `linalg_syrk`.
    """

    transpose: bool = attr(False, doc="the transposed matrix comes first")
    alpha: float = attr(1.0, doc="multiplies the product")

    def compose(self, F, a):
        back = F.swapaxes(a, -1, -2)
        return self.alpha * (F.matmul(back, a) if self.transpose else F.matmul(a, back))

    def dtype(self, a):
        return floating(a)

    def oracle(self, a):
        return self.alpha * np.einsum("...ki,...kj->...ij" if self.transpose else "...ik,...jk->...ij", a, a)

    @classmethod
    def sample(cls, draw):
        shape = (*draw.shape(max_rank=1), draw.size(), draw.size())
        return cls(transpose=draw.boolean(), alpha=draw.choice((1.0, 2.5))), {"a": draw.array(shape)}


@op
class BroadcastAxesLike(Composite):
    """`x` repeated along some axes of size 1, as often as `like` is long along others; without axes, to its shape.

    Source
        MXNet 1.9, `broadcast_like`.
    """

    mixes_dtypes = True
    lhs_axes: tuple[int, ...] = attr((), doc="axes of `x`")
    rhs_axes: tuple[int, ...] = attr((), doc="axes of `like`, one for each")

    def target(self, x, like):
        """The shape of the result."""
        shape, sizes = list(x), like
        if len(self.lhs_axes) != len(self.rhs_axes):
            raise ShapeError(
                f"lhs_axes are {self.lhs_axes}, rhs_axes {self.rhs_axes}; expected as many of each"
            )
        for a, b in zip(self.lhs_axes, self.rhs_axes, strict=True):
            shape[normalize_axis(a, len(shape))] = sizes[normalize_axis(b, len(sizes))]
        return tuple(shape) if self.lhs_axes else sizes

    def compose(self, F, x, like):
        return F.broadcast_to(x, shape=self.target(F.shape(x), F.shape(like)))

    def shape(self, x, like):
        return self.target(x, like) if None in (*x, *like) else super().shape(x, like)

    def dtype(self, x, like):
        return x

    def oracle(self, x, like):
        shape = list(x.shape) if self.lhs_axes else list(like.shape)
        for a, b in zip(self.lhs_axes, self.rhs_axes, strict=True):
            shape[a] = like.shape[b]
        return x * np.ones(shape)

    @classmethod
    def sample(cls, draw):
        like = draw.shape(min_rank=1)
        if draw.boolean():
            x = tuple(1 if draw.boolean() else n for n in like)
            return cls(), {"x": draw.array(x), "like": draw.array(like)}
        axis = draw.axis(len(like))
        x = (draw.size(), 1, draw.size())
        return cls(lhs_axes=(1,), rhs_axes=(axis,)), {"x": draw.array(x), "like": draw.array(like)}


@op
class KhatriRao(Composite):
    """The columns of matrices times each other, each with each of its own: ``y[:, j] = kron(a[:, j], b[:, j])``."""

    def compose(self, F, *args):
        y = args[0]
        for b in args[1:]:
            (m, k), (n, _) = F.shape(y), F.shape(b)
            merge((k,), F.shape(b)[1:])
            y = F.reshape(F.reshape(y, shape=(m, 1, k)) * F.reshape(b, shape=(1, n, k)), shape=(m * n, k))
        return F.identity(y) if len(args) == 1 else y

    def shape(self, *args):
        rows = size_of(tuple([a[0] for a in args]))
        return (rows, args[0][1])

    def oracle(self, *args):
        return np.stack(
            [functools.reduce(np.kron, [a[:, j] for a in args]) for j in range(args[0].shape[1])], axis=1
        )

    @classmethod
    def sample(cls, draw):
        k = draw.size()
        return cls(), {f"args{i}": draw.array((draw.size(), k)) for i in range(draw.integer(1, 3))}
