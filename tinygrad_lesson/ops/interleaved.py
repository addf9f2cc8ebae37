"""Attention whose queries, keys and values lie side by side in one array, head by head.

Source
    MXNet 1.9, ``contrib/transformer.cc``.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import show


@declares
class Interleaved(Composite):
    """Two products of attention: queries with keys, weights with values."""

    heads: int = attr(minimum=1, doc="how many heads there are")

    def head(self, F, x, count, which):
        """Part number `which` of the `count` that lie side by side in each head: (batch * heads, length, size)."""
        length, batch, width = F.shape(x)
        size = width // (self.heads * count)
        parts = F.reshape(x, shape=(length, batch, self.heads, count, size))
        part = F.slice(parts, key=(..., which, ("slice", None, None, None)))
        return F.reshape(F.transpose(part, axes=(1, 2, 0, 3)), shape=(batch * self.heads, length, size))

    def scores(self, F, queries, keys):
        """How well each query fits each key."""
        scaled = queries / math.sqrt(F.shape(queries)[-1])
        return F.matmul(scaled, F.transpose(keys, axes=(0, 2, 1)))

    def read(self, F, values, attention):
        """Weighted sums of values, the heads side by side: (length, batch, width)."""
        y = F.matmul(attention, values)
        rows, length, size = F.shape(y)
        y = F.reshape(y, shape=(rows // self.heads, self.heads, length, size))
        return F.reshape(F.transpose(y, axes=(2, 0, 1, 3)), shape=(length, -1, self.heads * size))

    def check(self, name, x, count):
        """Refuse what is no array of such parts."""
        if len(x) != 3 or (x[2] or 0) % (self.heads * count):
            expected = f"(length, batch, width), a width that {self.heads * count} divides"
            raise ShapeError(f"{name} is {show(x)}, expected {expected}")

    def sides(self, x):
        """The batch times the heads, of the shape of an array."""
        return None if x[1] is None else x[1] * self.heads

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    def arrays(self, x, count):
        """As `head`, of an array of NumPy, for the oracle."""
        length, batch, width = x.shape
        size = width // (self.heads * count)
        y = np.zeros((count, batch * self.heads, length, size))
        for part, b, h, n in np.ndindex(count, batch, self.heads, length):
            start = (h * count + part) * size
            y[part, b * self.heads + h, n] = x[n, b, start : start + size]
        return y

    def rows(self, attention, values):
        """As `read`, of arrays of NumPy."""
        rows, length, _ = attention.shape
        size = values.shape[-1]
        y = np.zeros((length, rows // self.heads, self.heads * size))
        for r in range(rows):
            start = r % self.heads * size
            y[:, r // self.heads, start : start + size] = attention[r] @ values[r]
        return y

    @classmethod
    def sizes(cls, draw):
        """An op, and the sizes of a sample: length, batch, batch times heads, width of a head times heads."""
        made = cls(heads=draw.size(1, 2))
        batch = draw.size(1, 2)
        return made, draw.size(), batch, batch * made.heads, draw.size(1, 2) * made.heads


@op
class InterleavedMatmulSelfattQk(Interleaved):
    """Queries times keys, divided by the root of the size of a head.

    Shapes
        queries_keys_values (length, batch, heads * 3 * size) -> (batch * heads, length, length)
    """

    def compose(self, F, queries_keys_values):
        return self.scores(F, *[self.head(F, queries_keys_values, 3, i) for i in (0, 1)])

    def shape(self, queries_keys_values):
        self.check("queries_keys_values", queries_keys_values, 3)
        length = queries_keys_values[0]
        return self.sides(queries_keys_values), length, length

    def oracle(self, queries_keys_values):
        q, k, _ = self.arrays(queries_keys_values, 3)
        return q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])

    @classmethod
    def sample(cls, draw):
        made, length, batch, _, width = cls.sizes(draw)
        return made, {"queries_keys_values": draw.array((length, batch, 3 * width))}


@op
class InterleavedMatmulSelfattValatt(Interleaved):
    """Weights of attention times values.

    Shapes
        queries_keys_values (length, batch, heads * 3 * size), attention (batch * heads, length, length)
        -> (length, batch, heads * size)
    """

    def compose(self, F, queries_keys_values, attention):
        return self.read(F, self.head(F, queries_keys_values, 3, 2), attention)

    def shape(self, queries_keys_values, attention):
        self.check("queries_keys_values", queries_keys_values, 3)
        length, batch, width = queries_keys_values
        return length, batch, width and width // 3

    def oracle(self, queries_keys_values, attention):
        return self.rows(attention, self.arrays(queries_keys_values, 3)[2])

    @classmethod
    def sample(cls, draw):
        made, length, batch, rows, width = cls.sizes(draw)
        given = {"queries_keys_values": draw.array((length, batch, 3 * width))}
        return made, {**given, "attention": draw.array((rows, length, length))}


@op
class InterleavedMatmulEncdecQk(Interleaved):
    """Queries of one sequence times keys of another, divided by the root of the size of a head.

    Shapes
        queries (length, batch, heads * size), keys_values (other, batch, heads * 2 * size)
        -> (batch * heads, length, other)
    """

    def compose(self, F, queries, keys_values):
        return self.scores(F, self.head(F, queries, 1, 0), self.head(F, keys_values, 2, 0))

    def shape(self, queries, keys_values):
        self.check("queries", queries, 1)
        self.check("keys_values", keys_values, 2)
        return self.sides(queries), queries[0], keys_values[0]

    def oracle(self, queries, keys_values):
        q, k = self.arrays(queries, 1)[0], self.arrays(keys_values, 2)[0]
        return q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])

    @classmethod
    def sample(cls, draw):
        made, length, batch, _, width = cls.sizes(draw)
        given = {"queries": draw.array((length, batch, width))}
        return made, {**given, "keys_values": draw.array((draw.size(), batch, 2 * width))}


@op
class InterleavedMatmulEncdecValatt(Interleaved):
    """Weights of attention times values of another sequence.

    Shapes
        keys_values (other, batch, heads * 2 * size), attention (batch * heads, length, other)
        -> (length, batch, heads * size)
    """

    def compose(self, F, keys_values, attention):
        return self.read(F, self.head(F, keys_values, 2, 1), attention)

    def shape(self, keys_values, attention):
        self.check("keys_values", keys_values, 2)
        return attention[1], keys_values[1], keys_values[2] and keys_values[2] // 2

    def oracle(self, keys_values, attention):
        return self.rows(attention, self.arrays(keys_values, 2)[1])

    @classmethod
    def sample(cls, draw):
        made, length, batch, rows, width = cls.sizes(draw)
        given = {"keys_values": draw.array((length, batch, 2 * width))}
        return made, {**given, "attention": draw.array((rows, draw.size(), length))}
