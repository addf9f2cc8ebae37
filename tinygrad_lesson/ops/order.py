"""Where the largest is, and elements in order of size."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.blocks import is_gpu, row_of
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import in_type
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis, reduced, size_of


@declares
class PlaceOfExtreme(Op):
    """A place along `axis`, the first of several that tie; it has no gradient."""

    differentiable = False
    axis: int | None = attr(None, doc="the axis to look along; None means all elements in row-major order")
    keepdims: bool = attr(False, doc="keep the axis with size 1")
    vector: bool = attr(
        False,
        shown=False,
        doc="a result without axes gets shape (1,), and the element type of `x`, as in MXNet",
    )

    def shape(self, x):
        axes = range(len(x)) if self.axis is None else (normalize_axis(self.axis, len(x)),)
        shape = reduced(x, axes, self.keepdims)
        return shape or (1,) if self.vector else shape

    def dtype(self, x):
        return x if self.vector else np.dtype(np.int64)

    def vjp(self, F, g, y, x):
        return (None,)

    def found(self, xp, function, x):
        """The places."""
        y = xp.reshape(function(x, axis=self.axis), self.shape(x.shape))
        return in_type(xp, y, x.dtype) if self.vector else y

    def oracle_of(self, function, x):
        """What NumPy says."""
        return np.reshape(function(x, axis=self.axis), self.shape(x.shape))

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape)) if draw.boolean() else None
        return cls(axis=axis, keepdims=draw.boolean(), vector=draw.boolean()), {"x": draw.distinct(shape)}


@op
class Argmax(PlaceOfExtreme):
    """Where the largest element along `axis` is, as its number."""

    def forward(self, xp, x):
        return self.found(xp, xp.argmax, x)

    def oracle(self, x):
        return self.oracle_of(np.argmax, x)


@op
class Argmin(PlaceOfExtreme):
    """Where the smallest element along `axis` is, as its number."""

    def forward(self, xp, x):
        return self.found(xp, xp.argmin, x)

    def oracle(self, x):
        return self.oracle_of(np.argmin, x)


FEW = 1000  # elements up to which a plain sort is as fast
PACKED = "efbhiBH"  # element types that leave room for a place in 64 bits


def packed_order(x, axis):
    """What a stable `argsort` gives: integers that hold an element above and its place below are sorted instead.

    NumPy sorts 64 bits in half the time in which it sorts places. NaN comes last, and both zeros are equal.
    """
    if x.dtype.kind == "f":
        bits = (x + np.float32(0)).view(np.int32)  # -0.0 as 0.0
        bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        missing = np.isnan(x)
        if missing.any():
            bits[missing] = 0x7FFFFFFF
    else:
        bits = x
    key = np.moveaxis(bits.astype(np.int64), axis, -1) << 32
    key |= np.arange(key.shape[-1])
    key = np.ascontiguousarray(key)
    key.sort(axis=-1)
    key &= 0xFFFFFFFF
    return np.moveaxis(key, -1, axis)


@declares
class Ordered(Op):
    """An op that puts the elements along `axis` in order; those that tie stay in their order."""

    axis: int | None = attr(-1, doc="the axis; None takes all elements in row-major order")
    descending: bool = attr(False, doc="the largest first")

    def shape(self, x):
        if self.axis is None:
            return (size_of(x),)
        normalize_axis(self.axis, len(x))
        return x

    def order(self, xp, x):
        """The numbers of the elements in their order, and `x` without axes if `axis` is None."""
        x = xp.reshape(x, -1) if self.axis is None else x
        axis = 0 if self.axis is None else self.axis
        turned = (
            xp.invert if x.dtype.kind in "iub" else xp.negative
        )  # what no sign, or the least number, survives
        key = turned(x) if self.descending else x
        if xp is np and type(key) is np.ndarray and key.size > FEW and key.dtype.char in PACKED:
            return packed_order(key, axis), x, axis
        return xp.argsort(key, axis=axis, kind="stable"), x, axis

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape)) if draw.boolean() else None
        return cls(axis=axis, descending=draw.boolean()), {"x": draw.distinct(shape)}


@op
class Argsort(Ordered):
    """The numbers of the elements along `axis` in their order of size; they have no gradient."""

    differentiable = False
    type: str = attr("int64", alias="dtype", doc="element type of the result")

    def dtype(self, x):
        return np.dtype(self.type)

    def forward(self, xp, x):
        return in_type(xp, self.order(xp, x)[0], np.dtype(self.type))

    mixes_dtypes = True

    def vjp(self, F, g, y, x):
        return (None,)

    def oracle(self, x):
        return np.argsort(-x if self.descending else x, axis=self.axis, kind="stable")


@op
class Sort(Ordered):
    """The elements along `axis` in their order of size; each gradient goes to where its element came from."""

    outputs = ("output", "places")
    visible = 1

    def shape(self, x):
        y = super().shape(x)
        return y, y

    def dtype(self, x):
        return x, np.dtype(np.int64)

    def forward(self, xp, x):
        at, x, axis = self.order(xp, x)
        return xp.take_along_axis(x, at, axis), at

    def vjp(self, F, g, y, x):
        if g[0] is None:
            return (None,)
        axis = 0 if self.axis is None else self.axis
        back = F.add_along_axis(g[0], y[1], shape=F.shape(y[1]), axis=axis, distinct=True)
        return (F.reshape(back, shape=F.shape(x)),)

    def oracle(self, x):
        y, at = np.sort(x, axis=self.axis), np.argsort(x, axis=self.axis)
        axis = 0 if self.axis is None else self.axis
        return (np.flip(y, axis), np.flip(at, axis)) if self.descending else (y, at)


@op
class PlacesInOrder(Op):
    """Where those elements along `axis` are that come at the places `at` in their order of size; no gradient.

    Shapes
        x (..., n, ...) -> (..., len(at), ...)
    """

    differentiable = False
    traceable = False
    mixes_dtypes = True
    at: tuple[int, ...] = attr(doc="places in order, from 0 to n - 1")
    axis: int = attr(-1, doc="the axis along which the elements lie")

    def shape(self, x):
        axis = normalize_axis(self.axis, len(x))
        return (*x[:axis], len(self.at), *x[axis + 1 :])

    def dtype(self, x):
        return np.dtype(np.int64)

    def forward(self, xp, x):
        found = xp.argpartition(x, sorted(set(self.at)), axis=self.axis)
        return xp.take(found, row_of(xp, self.at, np.int64), axis=self.axis)

    def vjp(self, F, g, y, x):
        return (None,)

    def oracle(self, x):
        return np.take(np.argsort(x, axis=self.axis), self.at, axis=self.axis)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape))
        at = tuple(draw.integer(0, shape[axis] - 1) for _ in range(draw.size()))
        return cls(at=at, axis=axis), {"x": draw.distinct(shape)}


@op
class TakeAlongAxis(Op):
    """From each vector along `axis` the elements whose numbers `indices` holds; one taken twice gets both gradients.

    Shapes
        x (..., n, ...), indices (..., m, ...) -> as indices
    """

    analytic = True
    multilinear = 1
    mixes_dtypes = True
    axis: int = attr(-1, doc="the axis along which elements are chosen")

    def shape(self, x, indices):
        return indices

    def dtype(self, x, indices):
        return x

    def forward(self, xp, x, indices):
        return xp.take_along_axis(x, in_type(xp, indices, np.dtype(np.int64)), self.axis)

    def vjp(self, F, g, y, x, indices):
        return lambda: F.add_along_axis(g, indices, shape=F.shape(x), axis=self.axis), None

    def oracle(self, x, indices):
        y, axis = np.zeros(indices.shape), self.axis % x.ndim
        for i in np.ndindex(indices.shape):
            y[i] = x[(*i[:axis], int(indices[i]), *i[axis + 1 :])]
        return y

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape))
        of = list(shape)
        of[axis] = draw.size()
        indices = np.floor(draw.array(of, low=0, high=shape[axis] - 0.01)).astype(np.int64)
        return cls(axis=axis), {"x": draw.array(shape), "indices": indices}


@op
class AddAlongAxis(Op):
    """Zeros, to which `x` is added at `indices` along `axis`: the way back from `TakeAlongAxis`."""

    analytic = True
    multilinear = 1
    mixes_dtypes = True
    traceable = False
    compiled = True
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")
    axis: int = attr(-1, doc="the axis along which elements are put")
    distinct: bool = attr(False, shown=False, doc="places are not negative, and none comes twice in a vector")

    @property
    def moves(self):
        """Where no place comes twice nothing is added up."""
        return self.distinct

    def shape(self, x, indices):
        return self.to

    def dtype(self, x, indices):
        return x

    def forward(self, xp, x, indices):
        axis = self.axis % len(self.to)
        size, rest = self.to[axis], (*self.to[:axis], *self.to[axis + 1 :])
        y = xp.zeros((size_of(rest), size), dtype=x.dtype)
        at = xp.moveaxis(in_type(xp, indices, np.dtype(np.int64)), axis, -1)
        at, x = at.reshape(len(y), at.shape[-1]), xp.moveaxis(x, axis, -1).reshape(-1)
        if self.distinct:
            at = at if len(at) == 1 else at + size * xp.arange(len(y))[:, None]
            y.reshape(-1)[at.reshape(-1)] = x
        else:
            at = xp.where(at < 0, at + size, at)
            if not is_gpu(xp) and at.size and not (at.min() >= 0 and at.max() < size):
                raise IndexError(f"an index is out of bounds for axis {axis} with size {size}")
            xp.add.at(y.reshape(-1), (at + size * xp.arange(len(y))[:, None]).reshape(-1), x)
        return xp.ascontiguousarray(xp.moveaxis(y.reshape(*rest, size), -1, axis))

    def vjp(self, F, g, y, x, indices):
        return lambda: F.take_along_axis(g, indices, axis=self.axis), None

    def oracle(self, x, indices):
        y, axis = np.zeros(self.to), self.axis % len(self.to)
        for i in np.ndindex(indices.shape):
            y[(*i[:axis], int(indices[i]), *i[axis + 1 :])] += x[i]
        return y

    @classmethod
    def sample(cls, draw):
        made, inputs = TakeAlongAxis.sample(draw)
        indices = inputs["indices"]
        return cls(to=inputs["x"].shape, axis=made.axis), {"x": draw.array(indices.shape), "indices": indices}
