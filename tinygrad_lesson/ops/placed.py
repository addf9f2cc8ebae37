"""Places as arrays, rows put elsewhere, and how many numbers fall where: `IndexArray`, `IndexCopy`, `Histogram`."""

from __future__ import annotations

import itertools

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show
from tinygrad_lesson.ops.creation import Known


@op
class IndexArray(Known):
    """For each element of `x` its place: the index along each of `axes`.

    Shapes
        x -> (*x, axes)

    Source
        MXNet 1.9, `contrib.index_array`.
    """

    axes: tuple[int, ...] | None = attr(None, doc="the axes that count; None means all")

    def along(self, rank):
        """The axes, counted from the front."""
        return range(rank) if self.axes is None else [normalize_axis(a, rank) for a in self.axes]

    def shape(self, x):
        return (*x, len(self.along(len(x))))

    def forward(self, xp, x):
        shape = x.shape
        parts = []
        for a in self.along(len(shape)):
            along = xp.reshape(xp.arange(shape[a]), (-1, *[1] * (len(shape) - a - 1)))
            parts.append(xp.broadcast_to(along, shape))
        if not parts:
            return xp.zeros((*shape, 0), dtype=np.int64)
        return xp.stack(parts, axis=-1)

    def oracle(self, x):
        y = np.zeros(self.shape(x.shape), int)
        for place in np.ndindex(x.shape):
            y[place] = [place[a] for a in self.along(x.ndim)]
        return y

    @classmethod
    def sample(cls, draw):
        return cls(draw.choice((None, (0,), (-1, 0)))), {"x": draw.array(draw.shape(min_rank=1))}


@op
class IndexCopy(Composite):
    """`old_tensor` with some of its rows replaced by those of `new_tensor`; of several for one place the last counts.

    Shapes
        old_tensor (rows, ...), index_vector (n,), new_tensor (n, ...) -> as old_tensor

    Source
        MXNet 1.9, `contrib.index_copy`.
    """

    method = False  # PyTorch's method of this name takes an axis first
    mixes_dtypes = True

    def compose(self, F, old_tensor, index_vector, new_tensor):
        shape, (count,) = F.shape(old_tensor), F.shape(index_vector)
        if None in (shape[0], count):
            return F.slice(old_tensor, key=())
        if not count:
            return F.positive(old_tensor)
        index = F.reshape(F.cast(F.stop_gradient(index_vector), dtype="int64"), shape=(count, 1))
        places = F.reshape(F.arange(shape[0], dtype="int64"), shape=(1, shape[0]))
        chosen = F.cast(F.equal(F.where(F.less(index, 0), index + shape[0], index), places), dtype="int64")
        rank = F.reshape(F.arange(count, dtype="int64") + 1, shape=(count, 1))
        last = F.max(chosen * rank, axis=0)  # the number of the new row, from 1; 0 where there is none
        new = F.take(new_tensor, F.maximum(last - 1, 0), axis=0)
        replaced = F.reshape(F.greater(last, 0), shape=(shape[0], *[1] * (len(shape) - 1)))
        return F.where(replaced, new, old_tensor)

    def shape(self, old_tensor, index_vector, new_tensor):
        rows = (*index_vector, *old_tensor[1:])
        if not old_tensor or len(index_vector) != 1 or merge(rows, tuple(new_tensor)) is None:
            told = f"old_tensor is {show(old_tensor)}, index_vector {show(index_vector)}, new_tensor {show(new_tensor)}"
            raise ShapeError(f"{told}; expected (rows, ...), (n,), (n, ...)")
        return old_tensor

    def dtype(self, old_tensor, index_vector, new_tensor):
        return old_tensor

    def oracle(self, old_tensor, index_vector, new_tensor):
        y = np.array(old_tensor)
        for i, row in zip(index_vector.astype(int), new_tensor, strict=True):
            y[i] = row
        return y

    @classmethod
    def sample(cls, draw):
        rows, n, rest = draw.size(), draw.size(), draw.shape()[:1]
        index = np.array([draw.integer(0, rows - 1) for _ in range(n)])
        arrays = {"old_tensor": draw.array((rows, *rest)), "index_vector": index}
        return cls(), {**arrays, "new_tensor": draw.array((n, *rest))}


@op
class Histogram(Op):
    """How many numbers fall between each two neighbours of some edges, and the edges.

    The edges are given as `bins`, or `bin_cnt` equal parts of `range`. The last part has its upper edge too.

    Shapes
        data any, bins (n + 1,) -> (n,), (n + 1,)

    Source
        MXNet 1.9, `histogram`; NumPy, `histogram`.
    """

    outputs = ("output0", "output1")
    host_only = "its places are counted on the processor"
    differentiable = False
    traceable = False
    mixes_dtypes = True
    inputs = ("data", "bins")
    bin_cnt: int | None = attr(None, doc="how many parts; None where the edges are given")
    range: tuple[float, ...] | None = attr(None, doc="the lowest and the highest edge")

    @property
    def input_names(self):
        """With the edges where they are given."""
        return ("data", "bins") if self.bin_cnt is None else ("data",)

    @property
    def count(self):
        """How many parts, where that is given."""
        return self.bin_cnt or 0

    def shape(self, data, bins=None):
        if bins is not None:
            if len(bins) != 1 or bins[0] in (0, 1):
                raise ShapeError(f"bins is {show(bins)}, expected (edges,), two at least")
            return (None if bins[0] is None else bins[0] - 1,), bins
        if self.range is None or len(self.range) != 2 or not self.range[0] < self.range[1] or self.count < 1:
            told = f"bin_cnt is {self.bin_cnt}, range {self.range}"
            raise AttributeValueError(
                f"Histogram: {told}; expected a count and two numbers, the lower one first"
            )
        return (self.count,), (self.count + 1,)

    def dtype(self, data, bins=None):
        return np.dtype(np.int64), floating(data) if bins is None else bins

    def forward(self, xp, data, bins=None):
        kind = floating(data.dtype) if bins is None else bins.dtype
        edges = xp.linspace(*(self.range or ()), self.count + 1) if bins is None else bins
        counts, _ = xp.histogram(data, edges)
        return xp.asarray(counts, dtype=np.int64), xp.asarray(edges, dtype=kind)

    def vjp(self, F, g, y, data, bins=None):
        return (None,) if bins is None else (None, None)

    def oracle(self, data, bins=None):
        if bins is None:
            (low, high), n = self.range or (), self.count
            bins = np.array([low + (high - low) * i / n for i in range(n + 1)])
        counts = np.zeros(len(bins) - 1, int)
        for x in data.ravel():
            for i, (a, b) in enumerate(itertools.pairwise(bins)):
                counts[i] += a <= x < b or (x == b and i == len(counts) - 1)
        return counts, bins

    @classmethod
    def sample(cls, draw):
        data = draw.array(draw.shape()).round() + 0.25  # no number lies on an edge
        return cls(draw.size(1, 3), (-1.0, 2.0)), {"data": data}
