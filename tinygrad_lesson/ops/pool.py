"""Pooling: one number for each window of an image."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tinygrad_lesson.engine.blocks import is_gpu
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import HALF, floating, in_type, roomy, rounded, summed, with_room
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import merge
from tinygrad_lesson.ops.movement import batch_first, batch_last
from tinygrad_lesson.ops.ramps import Relu
from tinygrad_lesson.ops.sliding import Sliding, Window


@declares
class Pool(Sliding):
    """Windows as pooling places them."""

    pooling_convention: str = attr(
        "valid", choices=("valid", "full", "same"), doc="windows inside only, or one that sticks out too"
    )
    global_pool: bool = attr(False, doc="one window over the whole image")
    batch_last: bool = attr(False, doc="the batch is the last axis instead of the first")

    def space(self, shape):
        """Where the axes of the image begin and end in `shape`."""
        return (1, len(shape) - 1) if self.batch_last else (2, len(shape))

    def windows(self, shape):
        """How the window slides along each axis of the image."""
        if not self.global_pool:
            return [w._replace(convention=self.pooling_convention) for w in super().windows(shape)]
        first, last = self.space(shape)
        if self.kernel or first >= last:
            self.check_rank(shape, last - first)
        return [Window(n, n, 1, 1, 0) for n in shape[first:last]]

    def slid(self, shape):
        """`shape` with the number of windows along each axis of the image."""
        first, last = self.space(shape)
        counts = [1 if self.global_pool else w.count for w in self.windows(shape)]
        return (*shape[:first], *counts, *shape[last:])

    def settings(self, cls):
        """The attributes that this op has in common with the op `cls`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(cls)}

    def rewrite(self, F, shapes, *images):
        if self.batch_last:
            return None
        rank = len(shapes[0])
        y = F.apply(self.turned(), [F.transpose(x, axes=batch_last(rank)) for x in images])
        return F.transpose(y, axes=batch_first(rank))

    def turned(self):
        """The same of images whose batch is last."""
        return dataclasses.replace(self, batch_last=True)

    def firsts(self, xp, data):
        """For each place in the window, where the first of the largest elements lies there."""
        parts = self.seen(xp, data, lowest(data.dtype))
        top, left = combined(xp, xp.maximum, parts), None
        for part in parts:
            first = xp.equal(part, top)
            if left is not None:
                first = xp.logical_and(first, left, out=first)
            left = xp.logical_not(first) if left is None else xp.greater(left, first, out=left)
            yield first


@declares
class Averaging(Pool):
    """Windows whose elements are added, or averaged."""

    pool_type: str = attr("max", choices=("max", "avg", "sum", "lp"), doc="what is made of a window")
    count_include_pad: bool = attr(True, doc="divide by the size of the window in the padding too")

    def divisor(self, xp, x, dtype):
        """What the sum in each window is divided by: a number, or an array where windows differ."""
        if self.pool_type != "avg":
            return None
        covered = [w.covered(self.count_include_pad) for w in self.windows(x)]
        if all((c == c[0]).all() for c in covered):
            return float(math.prod(int(c[0]) for c in covered))
        counts = np.maximum(math.prod(np.ix_(*covered)), 1)[..., *[None] * self.batch_last]
        if is_gpu(xp):  # where they are computed, so that nothing is sent there
            rows = [w.covered(self.count_include_pad, xp) for w in self.windows(x)]
            grid = [
                r.reshape(tuple(-1 if i == k else 1 for i in range(len(rows)))) for k, r in enumerate(rows)
            ]
            counts = xp.maximum(math.prod(grid), 1)[(..., *[None] * self.batch_last)]
        return xp.asarray(counts, dtype=floating(dtype))


def lowest(dtype):
    """A number that is above no other of its type."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def combined(xp, combine, parts, out=None):
    """All `parts` combined by a function of two."""
    first, *others = parts
    y = combine(first, others[0], out=out) if others else xp.positive(first, out=out)
    for part in others[1:]:
        y = combine(y, part, out=y)
    return y


def sample_pool(draw):
    """Attributes of a pooling window, and the shape of a batch of images that it fits."""
    rank, whole, last = draw.choice((1, 2, 2, 3)), draw.boolean() and draw.boolean(), draw.boolean()
    convention = draw.choice(("valid", "full", "same"))
    kernel = tuple(draw.size(1, 3 if rank < 3 else 2) for _ in range(rank))
    pad = tuple(0 if convention == "same" else draw.size(0, min(1, k - 1)) for k in kernel)
    stride = tuple(
        draw.size(1, 3 if convention == "valid" else k - p) for k, p in zip(kernel, pad, strict=True)
    )
    pool = {
        "kernel": kernel,
        "stride": stride,
        "pad": pad,
        "pooling_convention": convention,
        "global_pool": whole,
    }
    space = [k + draw.integer(0, 2) for k in kernel]
    shape = (draw.size(), draw.size(1, 2), *space)
    return {**pool, "batch_last": last}, tuple(shape[a] for a in batch_last(rank + 2)) if last else shape


@op
class Pooling(Averaging):
    """What is largest in each window, or its mean, its sum, or the p-th root of its sum of p-th powers.

    The gradient of a maximum goes to the first in the window, in row-major order, of several that tie.
    Padding counts as absent for the maximum and as 0 for the others.

    Shapes
        data (batch, channel, ...) -> (batch, channel, ...); one, two or three axes in the place of the dots.

    Source
        MXNet 1.9, `Pooling`.
    """

    p_value: int = attr(2, choices=(1, 2, 3), doc="p of pool_type lp, ``sum(x ** p) ** (1 / p)``")

    def shape(self, data):
        return self.slid(data)

    def dtype(self, data):
        return {"max": data, "sum": summed(data)}.get(self.pool_type, floating(data))

    def forward(self, xp, data, out=None):
        if self.pool_type == "max":
            return combined(xp, xp.maximum, self.seen(xp, data, lowest(data.dtype)), out)
        dtype = self.dtype(data.dtype)
        data = in_type(xp, data, roomy(dtype) if dtype == HALF else dtype)
        out = None if dtype == HALF else out
        if self.pool_type == "lp":
            data = xp.power(data, self.p_value)
        y = combined(xp, xp.add, self.seen(xp, data, 0), out)
        if self.pool_type == "lp":
            root = {1: xp.divide, 2: xp.sqrt, 3: xp.cbrt}[self.p_value]
            y = root(y, *[1] * (self.p_value == 1), out=out)
        divisor = self.divisor(xp, data.shape, data.dtype)
        return rounded(xp, y if divisor is None else xp.divide(y, divisor, out=out), dtype)

    def vjp(self, F, g, y, data):
        if self.pool_type == "max":
            return (F.place_max(g, data, **self.settings(Pool)),)
        if self.pool_type != "lp":
            return (F.spread_windows(g, shape=F.shape(data), **self.settings(Averaging)),)
        zero, order = F.equal(y, 0), self.p_value - 1
        each = F.where(zero, 0, g / F.power(F.where(zero, 1, y), order)) if order else g
        spread = F.spread_windows(each, shape=F.shape(data), **self.settings(Averaging))
        return (spread * F.power(data, order),)

    def rewrite(self, F, shapes, data):
        inside = not any(self.pad) and self.pooling_convention == "valid"
        largest = self.pool_type == "max" and not self.batch_last
        if inside and largest and data.node.op == Relu():  # it grows with what it is given, so
            return F.relu(F.apply(self, data.node.inputs))  # it may as well come after the maximum, on less
        return super().rewrite(F, shapes, data)

    @classmethod
    def sample(cls, draw):
        pool, shape = sample_pool(draw)
        kind = draw.choice(("max", "max", "avg", "sum", "lp"))
        op = cls(**pool, pool_type=kind, count_include_pad=draw.boolean(), p_value=draw.choice((1, 2, 3)))
        return op, {"data": draw.distinct(shape) if kind == "max" else draw.array(shape, low=0.5)}


@op
class SpreadWindows(Averaging):
    """Each number given to all that its window covers: the way back from pooling by sum or mean.

    Shapes
        x, which is `shape` after pooling -> `shape`: (batch, channel, ...)
    """

    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")

    def shape(self, x):
        return self.to

    def turned(self):
        return dataclasses.replace(super().turned(), to=(*self.to[1:], self.to[0]))

    def dtype(self, x):
        return floating(x) if self.pool_type == "avg" else x

    def forward(self, xp, x, out=None):
        dtype, x = x.dtype, with_room(xp, x) if x.dtype == HALF else x
        divisor = self.divisor(xp, self.to, x.dtype)
        x = x if divisor is None else xp.divide(x, divisor)
        out = None if dtype == HALF else out
        return rounded(xp, self.scattered(xp, self.to, x, [x] * len(self.places(self.to)), out), dtype)

    def vjp(self, F, g, y, x):
        settings = {**self.settings(Averaging), "pool_type": "avg" if self.pool_type == "avg" else "sum"}
        return (F.pooling(g, **settings),)

    @classmethod
    def sample(cls, draw):
        pool, shape = sample_pool(draw)
        op = cls(**pool, pool_type=draw.choice(("avg", "sum")), count_include_pad=draw.boolean(), to=shape)
        return op, {"x": draw.array(op.slid(shape))}


@op
class PlaceMax(Pool):
    """Each number put where the first of the largest elements of `data` in its window lies.

    Shapes
        x (`data` after pooling), data (batch, channel, ...) -> as data
    """

    def shape(self, x, data):
        return data

    def dtype(self, x, data):
        return x

    def forward(self, xp, x, data, out=None):
        parts = [x] * len(self.places(data.shape))
        return self.scattered(xp, data.shape, x, parts, out, masks=self.firsts(xp, data))

    def vjp(self, F, g, y, x, data):
        return F.pick_max(g, data, **self.settings(Pool)), None

    @classmethod
    def sample(cls, draw):
        pool, shape = sample_pool(draw)
        op = cls(**pool)
        return op, {"x": draw.array(op.slid(shape)), "data": draw.distinct(shape)}


@op
class PickMax(Pool):
    """From each window of `x` the element where the first of the largest of `data` lies.

    Shapes
        x, data (batch, channel, ...) -> `data` after pooling
    """

    def shape(self, x, data):
        return self.slid(merge(x, data))

    def dtype(self, x, data):
        return x

    def forward(self, xp, x, data, out=None):
        pairs = zip(self.seen(xp, x, 0), self.firsts(xp, data), strict=True)
        return combined(xp, xp.add, [xp.multiply(part, first) for part, first in pairs], out)

    def vjp(self, F, g, y, x, data):
        return F.place_max(g, data, **self.settings(Pool)), None

    @classmethod
    def sample(cls, draw):
        pool, shape = sample_pool(draw)
        return cls(**pool), {"x": draw.array(shape), "data": draw.distinct(shape)}
