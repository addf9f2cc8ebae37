"""Elements chosen by integers that are arrays themselves, and put where these say."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import in_type
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show
from tinygrad_lesson.ops.index import with_size


def places(xp, indices, size, mode):
    """Indices, whose fractions are cut off, as integers from 0 to `size`."""
    whole = xp.trunc(indices) if indices.dtype.kind == "f" else indices
    whole = (
        xp.clip(whole, 0, size - 1)
        if mode == "clip"
        else xp.remainder(whole, size)
        if mode == "wrap"
        else whole
    )
    return in_type(xp, whole, np.dtype(np.int64))


@declares
class AlongIndices(Op):
    """An op whose second input holds places along `axis` of the first, which get no gradient."""

    analytic = True
    multilinear = 1
    mixes_dtypes = True
    axis: int = attr(0, doc="the axis along which elements are chosen")
    mode: str = attr(
        "raise",
        choices=("raise", "clip", "wrap"),
        doc="what a place beyond the ends is: an error, the end, counted on",
    )


@op
class Take(AlongIndices):
    """Parts of `x` along `axis`, one for each of `indices`; parts that are taken twice get both gradients.

    Shapes
        x (..., n, ...), indices (...) -> x with the shape of indices in the place of n
    """

    def shape(self, x, indices):
        axis = normalize_axis(self.axis, len(x))
        return (*x[:axis], *indices, *x[axis + 1 :])

    def dtype(self, x, indices):
        return x

    def forward(self, xp, x, indices):
        return xp.take(x, places(xp, indices, x.shape[self.axis], self.mode), axis=self.axis)

    def vjp(self, F, g, y, x, indices):
        return lambda: F.add_at(g, indices, shape=F.shape(x), axis=self.axis, mode=self.mode), None

    def oracle(self, x, indices):
        parts = [np.take(x, int(i), axis=self.axis) for i in indices.ravel()]
        axis = self.axis % x.ndim
        rest = (*x.shape[:axis], *x.shape[axis + 1 :])
        whole = np.array(parts).reshape((*indices.shape, *rest))
        return np.moveaxis(whole, range(indices.ndim), range(axis, axis + indices.ndim))

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape))
        indices = np.floor(draw.array(draw.shape(max_rank=2), low=0, high=shape[axis] - 0.01)).astype(
            np.int64
        )
        return cls(axis=axis, mode=draw.choice(("raise", "clip", "wrap"))), {
            "x": draw.array(shape),
            "indices": indices,
        }


@op
class AddAt(AlongIndices):
    """Zeros, to which the parts of `x` are added at `indices` along `axis`: the way back from `Take`."""

    traceable = False  # `add.at` is no call that gives a result
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")

    def shape(self, x, indices):
        return self.to

    def dtype(self, x, indices):
        return x

    def forward(self, xp, x, indices):
        axis = normalize_axis(self.axis, len(self.to))
        at, rank = places(xp, indices, self.to[axis], self.mode), indices.ndim
        rest = (*self.to[:axis], *self.to[axis + 1 :])
        rows = xp.moveaxis(x, tuple(range(axis, axis + rank)), tuple(range(rank)))
        y = xp.zeros((self.to[axis], *rest), dtype=x.dtype)
        xp.add.at(y, at.reshape(-1), rows.reshape((at.size, *rest)))
        return xp.moveaxis(y, 0, axis)

    def vjp(self, F, g, y, x, indices):
        return lambda: F.take(g, indices, axis=self.axis, mode=self.mode), None

    def oracle(self, x, indices):
        axis, y = self.axis % len(self.to), np.zeros(self.to)
        for i in np.ndindex(indices.shape):
            key: Any = (slice(None),) * axis
            y[(*key, int(indices[i]))] += x[(*key, *i)]
        return y

    @classmethod
    def sample(cls, draw):
        made, inputs = Take.sample(draw)
        to, indices = inputs["x"].shape, inputs["indices"]
        x = draw.array(made.shape(to, indices.shape))
        return cls(axis=made.axis, mode=made.mode, to=to), {"x": x, "indices": indices}


@op
class Embedding(Op):
    """The rows of `weight` that `data` names; a number beyond the ends names the first or the last row.

    Shapes
        data (...), weight (input_dim, output_dim) -> (..., output_dim)

    Source
        MXNet 1.9, `Embedding`.
    """

    mixes_dtypes = True
    input_dim: int = attr(minimum=1, doc="how many rows")
    output_dim: int = attr(minimum=1, doc="how long a row is")

    @property
    def taken(self):
        """The op behind it."""
        return Take(axis=0, mode="clip")

    def complete(self, shapes, results):
        """The weight from the attributes."""
        shapes = [shapes[0], merge(shapes[1], (self.input_dim, self.output_dim))]
        return super().complete(shapes, results)

    def shape(self, data, weight):
        if weight != (self.input_dim, self.output_dim):
            raise ShapeError(f"weight is {show(weight)}, expected {show((self.input_dim, self.output_dim))}")
        return (*data, self.output_dim)

    def dtype(self, data, weight):
        return weight

    def input_dtype(self, i, first):
        """A weight of which nothing is known is in single precision, whatever the numbers that name its rows."""
        return np.dtype(np.float32)

    def forward(self, xp, data, weight):
        self.shape(data.shape, weight.shape)
        return self.taken.forward(xp, weight, data)

    def vjp(self, F, g, y, data, weight):
        return None, lambda: F.add_at(g, data, shape=F.shape(weight), axis=0, mode="clip")

    def rewrite(self, F, shapes, data, weight):
        return F.apply(self.taken, (weight, data))

    def oracle(self, data, weight):
        return np.array([weight[int(i)] for i in data.ravel()]).reshape((*data.shape, self.output_dim))

    @classmethod
    def sample(cls, draw):
        rows, columns = draw.size(), draw.size()
        data = np.floor(draw.array(draw.shape(max_rank=2), low=0, high=rows - 0.01)).astype(np.int64)
        return cls(input_dim=rows, output_dim=columns), {"data": data, "weight": draw.array((rows, columns))}


@op
class OneHot(Op):
    """For each of `indices` a vector of `depth` numbers: `on_value` at that place, `off_value` elsewhere."""

    differentiable = False
    mixes_dtypes = True
    depth: int = attr(minimum=0, doc="how long a vector is")
    on_value: float = attr(1.0, doc="the number at the place")
    off_value: float = attr(0.0, doc="the number elsewhere; also everywhere, for a place beyond the ends")
    type: str = attr("float32", alias="dtype", doc="element type of the result")

    def shape(self, indices):
        return (*indices, self.depth)

    def dtype(self, indices):
        return np.dtype(self.type)

    def forward(self, xp, indices):
        whole = xp.trunc(indices) if indices.dtype.kind == "f" else indices
        at = xp.equal(xp.expand_dims(whole, -1), xp.arange(self.depth, dtype=indices.dtype))
        number = np.dtype(self.type).type
        return xp.where(at, number(self.on_value), number(self.off_value))

    def vjp(self, F, g, y, indices):
        return (None,)

    def oracle(self, indices):
        rows = [
            [self.on_value if int(i) == k else self.off_value for k in range(self.depth)]
            for i in indices.ravel()
        ]
        return np.array(rows).reshape((*indices.shape, self.depth))

    @classmethod
    def sample(cls, draw):
        indices = np.floor(draw.array(draw.shape(max_rank=2), low=0, high=3)).astype(np.int64)
        return cls(depth=draw.integer(1, 3), on_value=2.0, off_value=-1.0), {"indices": indices}


@op
class Pick(Op):
    """From each vector along `axis` the element that `index` names, whose fraction is cut off.

    Source
        MXNet 1.9, `pick`.
    """

    analytic = True
    mixes_dtypes = True
    axis: int = attr(-1, doc="the axis along which one is chosen")
    keepdims: bool = attr(False, doc="keep that axis with size 1")
    mode: str = attr(
        "clip", choices=("clip", "wrap"), doc="what a place beyond the ends is: the end, or counted on"
    )
    vector: bool = attr(False, shown=False, doc="a result without axes gets shape (1,), as in MXNet")

    def spread(self, x):
        """The shape of the index in which it broadcasts."""
        return with_size(x, self.axis, 1)

    def complete(self, shapes, results):
        """An index of which nothing is known has the axes of `x` but this one."""
        x, index = shapes
        if index is None and x is not None:
            axis = normalize_axis(self.axis, len(x))
            index = (*x[:axis], *x[axis + 1 :])
        return super().complete([x, index], results)

    def shape(self, x, index):
        axis = normalize_axis(self.axis, len(x))
        whole, short = self.spread(x), (*x[:axis], *x[axis + 1 :])
        if len(index) == len(x):
            merge(index, whole)
        else:
            merge(index, short)
        return whole if self.keepdims else short or ((1,) if self.vector else short)

    def dtype(self, x, index):
        return x

    def forward(self, xp, x, index):
        shape = self.shape(x.shape, index.shape)
        whole = xp.trunc(index) if index.dtype.kind == "f" else index
        size = x.shape[self.axis]
        whole = xp.clip(whole, 0, size - 1) if self.mode == "clip" else xp.remainder(whole, size)
        at = xp.reshape(whole, self.spread(x.shape))
        y = xp.take_along_axis(x, in_type(xp, at, np.dtype(np.int64)), self.axis)
        return xp.reshape(y, shape)

    def vjp(self, F, g, y, x, index):
        def gradient():
            shape, axis = F.shape(x), normalize_axis(self.axis, len(F.shape(x)))
            size, behind = shape[axis], len(shape) - 1 - axis
            at = F.trunc(F.reshape(index, shape=self.spread(shape)))
            at = F.clip(at, 0, size - 1) if self.mode == "clip" else F.remainder(at, size)
            every = F.reshape(F.arange(size, dtype=str(F.dtype(index))), shape=(size, *[1] * behind))
            return F.where(F.equal(at, every), F.reshape(g, shape=self.spread(shape)), 0)

        return gradient, None

    def oracle(self, x, index):
        axis = self.axis % x.ndim
        rest = (*x.shape[:axis], *x.shape[axis + 1 :])
        y = np.array(
            [np.moveaxis(x, axis, -1)[(*i, int(index.reshape(rest)[i]))] for i in np.ndindex(rest)]
        ).reshape(rest)
        return np.expand_dims(y, axis) if self.keepdims else np.atleast_1d(y) if self.vector else y

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape))
        mode, vector = draw.choice(("clip", "wrap")), draw.boolean()
        made = cls(axis=axis, keepdims=draw.boolean(), mode=mode, vector=vector)
        short = (
            made.spread(shape)
            if draw.boolean()
            else tuple(n for a, n in enumerate(shape) if a != axis % len(shape))
        )
        index = np.floor(draw.array(short, low=0, high=shape[axis] - 0.01)).astype(np.int64)
        return made, {"x": draw.array(shape), "index": index}


@op
class GatherNd(Op):
    """The elements, or parts, of `x` at the places that `indices` name: one coordinate for each of its first axis.

    Shapes
        x (n0, ..., nk, ...), indices (k + 1, ...) -> (..., of indices, then of x)
    """

    analytic = True
    multilinear = 1
    mixes_dtypes = True
    traceable = False

    def shape(self, x, indices):
        if not indices or (indices[0] is not None and indices[0] > len(x)):
            raise ShapeError(
                f"indices are {show(indices)}, expected at most {len(x)} coordinates along axis 0"
            )
        return None if indices[0] is None else (*indices[1:], *x[indices[0] :])

    def dtype(self, x, indices):
        return x

    def forward(self, xp, x, indices):
        return x[tuple(places(xp, indices, 0, "raise"))]

    def vjp(self, F, g, y, x, indices):
        return lambda: F.scatter_nd(g, indices, shape=F.shape(x)), None

    def oracle(self, x, indices):
        rest = indices.shape[1:]
        return np.array(
            [x[tuple(int(k) for k in indices[(slice(None), *i)])] for i in np.ndindex(rest)]
        ).reshape((*rest, *x.shape[len(indices) :]))

    @classmethod
    def sample(cls, draw):
        shape, rest = draw.shape(min_rank=1), draw.shape(max_rank=2)
        count = draw.integer(1, len(shape))
        indices = np.floor(draw.array((count, *rest), low=0, high=min(shape[:count]) - 0.01))
        return cls(), {"x": draw.array(shape), "indices": indices.astype(np.int64)}


@op
class ScatterNd(Op):
    """Zeros of `shape`, to which the elements, or parts, of `x` are added at the places that `indices` name.

    Source
        MXNet 1.9, `scatter_nd`, which leaves open what several at one place give; here they add up.
    """

    analytic = True
    multilinear = 1
    mixes_dtypes = True
    traceable = False
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")

    def shape(self, x, indices):
        return self.to

    def dtype(self, x, indices):
        return x

    def forward(self, xp, x, indices):
        y = xp.zeros(self.to, dtype=x.dtype)
        xp.add.at(y, tuple(places(xp, indices, 0, "raise")), x)
        return y

    def vjp(self, F, g, y, x, indices):
        return lambda: F.gather_nd(g, indices), None

    def oracle(self, x, indices):
        y = np.zeros(self.to)
        for i in np.ndindex(indices.shape[1:]):
            y[tuple(int(k) for k in indices[(slice(None), *i)])] += x[i]
        return y

    @classmethod
    def sample(cls, draw):
        made, inputs = GatherNd.sample(draw)
        to, indices = inputs["x"].shape, inputs["indices"]
        return cls(to=to), {"x": draw.array(made.shape(to, indices.shape)), "indices": indices}
