"""Where the largest is, and elements in order of size."""

from __future__ import annotations

import numpy as np

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
        return xp.argsort(xp.negative(x) if self.descending else x, axis=axis, kind="stable"), x, axis

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

    def forward(self, xp, x):
        at, x, axis = self.order(xp, x)
        return xp.take_along_axis(x, at, axis)

    def vjp(self, F, g, y, x):
        shape = F.shape(x)
        back = F.argsort(F.argsort(x, self.axis, self.descending), self.axis)
        return (
            F.reshape(F.take_along_axis(g, back, axis=0 if self.axis is None else self.axis), shape=shape),
        )

    def oracle(self, x):
        y = np.sort(x, axis=self.axis)
        return np.flip(y, 0 if self.axis is None else self.axis) if self.descending else y


@op
class TakeAlongAxis(Op):
    """From each vector along `axis` the elements whose numbers `indices` holds; one taken twice gets both gradients.

    Shapes
        x (..., n, ...), indices (..., m, ...) -> as indices
    """

    analytic = True
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
    mixes_dtypes = True
    traceable = False
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")
    axis: int = attr(-1, doc="the axis along which elements are put")

    def shape(self, x, indices):
        return self.to

    def dtype(self, x, indices):
        return x

    def forward(self, xp, x, indices):
        y, axis = xp.zeros(self.to, dtype=x.dtype), self.axis % len(self.to)
        key = list(np.indices(indices.shape, sparse=True))
        key[axis] = indices.astype(np.int64)
        xp.add.at(y, tuple(key), x)
        return y

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
