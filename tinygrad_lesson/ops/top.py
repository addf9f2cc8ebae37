"""The largest elements of vectors."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis
from tinygrad_lesson.ops.composing import slices


@declares
class Top(Composite):
    """An op about the `k` largest elements of each vector along `axis`."""

    k: int = attr(1, minimum=0, doc="how many; 0 means all")
    axis: int | None = attr(-1, doc="the axis of the vectors; None takes all elements as one")
    ascending: bool = attr(False, doc="the smallest instead")

    @property
    def along(self):
        """The axis once `x` is a vector, if it is to be one."""
        return 0 if self.axis is None else self.axis

    def count(self, F, x):
        """How many are wanted, and of how many; None where that is unknown."""
        shape = F.shape(x)
        if self.axis is None:
            size = None if None in shape else math.prod(shape)
        else:
            size = shape[normalize_axis(self.axis, len(shape))]
        if size is not None and self.k > size:
            raise ShapeError(f"k is {self.k}, expected at most {size}, the size of axis {self.along}")
        return self.k or size, size

    def places(self, F, x):
        """The numbers of the elements that are wanted."""
        order = F.argsort(x, axis=self.axis, descending=not self.ascending)
        count, size = self.count(F, x)
        return slices(F, order, normalize_axis(self.along, len(F.shape(order))), 0, size and count)

    def values(self, F, x, places):
        """The elements themselves."""
        return F.take_along_axis(
            F.reshape(x, shape=(-1,)) if self.axis is None else x, places, axis=self.along
        )

    def found(self, x):
        """The places as NumPy finds them, and the array that they are places of."""
        x = x.ravel() if self.axis is None else x
        order = np.argsort(x if self.ascending else -x, axis=self.along, kind="stable")
        return x, np.take(order, range(self.k or x.shape[self.along]), axis=self.along)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape)) if draw.boolean() else None
        size = math.prod(shape) if axis is None else shape[axis]
        made = cls(k=draw.integer(0, size), axis=axis, ascending=draw.boolean())
        return made, {"x": draw.distinct(shape)}


@op
class TopValues(Top):
    """The `k` largest elements of each vector along `axis`, the largest first."""

    outputs = ("output0",)

    def compose(self, F, x):
        return self.values(F, x, self.places(F, x))

    def oracle(self, x):
        x, at = self.found(x)
        return np.take_along_axis(x, at, self.along)


@op
class TopPlaces(Top):
    """Where the `k` largest elements of each vector along `axis` are, the largest first; without gradient."""

    differentiable = False
    mixes_dtypes = True
    type: str = attr("int64", alias="dtype", doc="element type of the result")

    def compose(self, F, x):
        return F.cast(self.places(F, x), dtype=self.type)

    def dtype(self, x):
        return np.dtype(self.type)

    def vjp(self, F, g, y, x):
        return (None,)

    def oracle(self, x):
        return self.found(x)[1]


@op
class TopK(Top):
    """The `k` largest elements of each vector along `axis`, the largest first, and where they are."""

    outputs = ("output0", "output1")
    mixes_dtypes = True
    type: str = attr("int64", alias="dtype", doc="element type of the places")

    def compose(self, F, x):
        at = self.places(F, x)
        return self.values(F, x, at), F.cast(at, dtype=self.type)

    def dtype(self, x):
        return x, np.dtype(self.type)

    def oracle(self, x):
        x, at = self.found(x)
        return np.take_along_axis(x, at, self.along), at


@op
class TopMask(Top):
    """1 where one of the `k` largest elements of a vector along `axis` is, else 0."""

    differentiable = False

    def compose(self, F, x):
        order = F.argsort(x, axis=self.axis, descending=not self.ascending)
        count, _ = self.count(F, x)
        wanted = F.less(F.argsort(order, axis=self.along), 0 if count is None else count)
        return F.cast(F.reshape(wanted, shape=F.shape(x)), dtype=str(F.dtype(x)))

    def vjp(self, F, g, y, x):
        return (None,)

    def oracle(self, x):
        flat, at = self.found(x)
        y = np.zeros(flat.shape)
        np.put_along_axis(y, at, 1.0, self.along)
        return y.reshape(x.shape)
