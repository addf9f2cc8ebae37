"""Parts of arrays chosen by arrays of integers, mixed with slices, as NumPy's advanced indexing does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import in_type
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.ops.index import Key, freeze, thaw


class Advanced(Op):
    """What the two ops have in common: an index of which some parts are inputs."""

    analytic = True
    multilinear = 1
    mixes_dtypes = True
    traceable = False
    key: Key

    def index(self, indices):
        """The index that NumPy is given."""
        whole = [in_type(np, i, np.dtype(np.int64)) for i in indices]
        kept: dict[str, Callable[[Any], Any]] = {"array": whole.__getitem__, "flag": bool}
        return tuple(
            kept[part[0]](part[1]) if type(part) is tuple and part[0] in kept else thaw((part,))[0]
            for part in self.key
        )

    @staticmethod
    def drawn(draw):
        """An index, the arrays in it, and a shape that it fits."""
        shape = draw.shape(min_rank=1)
        key: list[Any] = []
        arrays: list[Any] = []
        common = draw.shape(max_rank=2)
        size = min(shape)  # an Ellipsis in front shifts the axes
        for _ in range(draw.integer(1, len(shape))):
            kind = draw.integer(0, 3)
            if kind < 2 or not arrays:
                of = common if draw.boolean() else ()
                arrays.append(np.floor(draw.array(of, low=-size, high=size - 0.01)).astype(np.int64))
                key.append(("array", len(arrays) - 1))
            else:
                key.append(draw.choice((freeze(slice(None, None, -1))[0], 0)))
        for extra in (None, ..., ("flag", True)):
            if draw.boolean():
                key.insert(draw.integer(0, len(key)), extra)
        return tuple(key), {f"indices{i}": a for i, a in enumerate(arrays)}, shape


@op
class AdvancedSlice(Advanced):
    """Parts of `x` chosen by arrays of integers, mixed with integers, slices, None and Ellipsis.

    A part that is taken twice gets both gradients.

    Source
        NumPy, "Advanced indexing": what the arrays broadcast to stands where they stand, or in front if they do not
        stand side by side.
    """

    key: Key = attr(
        doc="the index as `freeze` makes it, in which ('array', i) is an input and ('flag', True) a mask of no axes"
    )

    def shape(self, x, *indices):
        if None in x or any(None in i for i in indices):
            return None
        return np.broadcast_to(np.False_, x)[self.index([np.zeros(i, int) for i in indices])].shape

    def dtype(self, x, *indices):
        return x

    def forward(self, xp, x, *indices):
        return xp.asarray(x[self.index(indices)])

    def vjp(self, F, g, y, x, *indices):
        back = F.advanced_put(g, *indices, shape=F.shape(x), key=self.key)
        return (back, *[None] * len(indices))

    def oracle(self, x, *indices):
        numbers = np.arange(x.size).reshape(x.shape)[self.index(indices)]
        return np.array([x.flat[i] for i in np.ravel(numbers)]).reshape(numbers.shape)

    @classmethod
    def sample(cls, draw):
        key, indices, shape = cls.drawn(draw)
        return cls(key=key), {"x": draw.array(shape), **indices}


@op
class AdvancedPut(Advanced):
    """Zeros, to which the parts of `x` are added where an index says: the way back from `AdvancedSlice`."""

    to: tuple[int, ...] = attr(alias="shape", doc="shape of the result")
    key: Key = attr(
        doc="the index as `freeze` makes it, in which ('array', i) is an input and ('flag', True) a mask of no axes"
    )

    def shape(self, x, *indices):
        return self.to

    def dtype(self, x, *indices):
        return x

    def forward(self, xp, x, *indices):
        y = xp.zeros(self.to, dtype=x.dtype)
        xp.add.at(y, self.index(indices), x)
        return y

    def vjp(self, F, g, y, x, *indices):
        return (F.advanced_slice(g, *indices, key=self.key), *[None] * len(indices))

    def oracle(self, x, *indices):
        numbers = np.arange(np.prod(self.to, dtype=int)).reshape(self.to)[self.index(indices)]
        y: Any = np.zeros(self.to)
        for i, value in zip(np.ravel(numbers), np.broadcast_to(x, np.shape(numbers)).ravel(), strict=True):
            y.flat[i] += value
        return y

    @classmethod
    def sample(cls, draw):
        key, indices, shape = cls.drawn(draw)
        x = AdvancedSlice(key=key).shape(shape, *[i.shape for i in indices.values()])
        return cls(key=key, to=shape), {"x": draw.array(x), **indices}
