"""Running sums and products, and recurrences, in which each result takes up the one before; the area under a curve."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.blocks import Compiled, is_gpu
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, in_type, summed, with_room
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show, size_of
from tinygrad_lesson.ops.composing import slices
from tinygrad_lesson.ops.index import freeze
from tinygrad_lesson.ops.reduce import LEAST


@op
class Cumsum(Op):
    """Sums of all elements up to each one, along `axis`; without one, of all elements in row-major order."""

    analytic = True
    compiled = True
    multilinear = 1
    axis: int | None = attr(None, doc="the axis; None flattens `x` first")

    def shape(self, x):
        if self.axis is None:
            return (size_of(x),)
        normalize_axis(self.axis, len(x))
        return x

    def dtype(self, x):
        return summed(x)

    def forward(self, xp, x):
        wide = with_room(xp, x) if x.dtype.kind in "fc" else x
        return in_type(xp, xp.cumsum(wide, axis=self.axis), summed(x.dtype))

    def vjp(self, F, g, y, x):
        axis = self.axis or 0
        back = F.flip(F.cumsum(F.flip(g, axis=axis), axis=axis), axis=axis)
        return (F.reshape(back, shape=F.shape(x)),)

    def oracle(self, x):
        x, axis = (x.ravel(), 0) if self.axis is None else (x, self.axis)
        parts = [np.take(x, range(i + 1), axis=axis).sum(axis=axis) for i in range(x.shape[axis])]
        return np.stack(parts, axis=axis)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        return cls(axis=draw.axis(len(shape)) if draw.boolean() else None), {"x": draw.array(shape)}


@op
class Trapezoid(Op):
    """The area under `x` along `axis`, by trapezoids 1 apart: its sum, with the first and the last element halved."""

    analytic = True
    compiled = True
    multilinear = 1
    axis: int = attr(-1, doc="the axis along which it goes, of size 2 at least")

    def shape(self, x):
        axis = normalize_axis(self.axis, len(x))
        if x[axis] is not None and x[axis] < 2:
            raise ShapeError(f"x is {show(x)}, expected 2 elements or more along axis {self.axis}")
        return (*x[:axis], *x[axis + 1 :])

    def dtype(self, x):
        return floating(x)

    def forward(self, xp, x):
        wide = with_room(xp, x)
        before = (slice(None),) * normalize_axis(self.axis, x.ndim)
        sides = wide[(*before, 0)] + wide[(*before, -1)]
        between = xp.sum(wide[(*before, slice(1, -1))], axis=self.axis)
        return in_type(xp, between + sides / 2, floating(x.dtype))

    def vjp(self, F, g, y, x):
        shape = F.shape(x)
        axis = normalize_axis(self.axis, len(shape))
        g = F.expand_dims(g, axis=axis)
        halves = F.broadcast_to(g / 2, shape=(*shape[:axis], 2, *shape[axis + 1 :]))
        sides = freeze((*[slice(None)] * axis, slice(None, None, shape[axis] - 1)))
        return (F.broadcast_to(g, shape=shape) - F.put(halves, shape=shape, key=sides),)

    def oracle(self, x):
        return np.trapezoid(x, axis=self.axis)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape))
        at = normalize_axis(axis, len(shape))
        shape = (*shape[:at], draw.integer(2, 4), *shape[at + 1 :])
        return cls(axis=axis), {"x": draw.array(shape)}


BACK = Cumsum(axis=-1)


@declares
class Scan(Op):
    """What goes along `axis` from one element to the next."""

    analytic = True
    axis: int = attr(0, doc="the axis along which it goes")

    def shape(self, *shapes):
        whole = shapes[0]
        for shape in shapes[1:]:
            whole = merge(whole, shape)
        normalize_axis(self.axis, len(whole))
        return whole

    def oracle_along(self, function, *arrays):
        """What `function` makes of vectors along the axis."""
        lines = [np.moveaxis(a, self.axis, -1) for a in arrays]
        y = np.empty(lines[0].shape)
        for i in np.ndindex(y.shape[:-1]):
            y[i] = function(*[line[i] for line in lines])
        return np.moveaxis(y, -1, self.axis)


def shifted(F, x, axis, by, fill=0.0):
    """`x` moved along `axis` by one place, on or back; `fill` stands where nothing comes."""
    shape = F.shape(x)
    axis = normalize_axis(axis, len(shape))
    if not shape[axis]:
        return x
    width = [(max(by, 0), max(-by, 0)) if i == axis else (0, 0) for i in range(len(shape))]
    return F.pad(slices(F, x, axis, max(-by, 0), shape[axis] - 1), tuple(width), constant_values=fill)


@op
class Cumprod(Scan):
    """Products of all elements up to each one, along `axis`. The gradient is right for zeros too."""

    compiled = True

    def dtype(self, x):
        return summed(x)

    def forward(self, xp, x):
        wide = with_room(xp, x) if x.dtype.kind in "fc" else x
        return in_type(xp, xp.cumprod(wide, axis=self.axis), summed(x.dtype))

    def vjp(self, F, g, y, x):
        return (F.cumprod_gradient(x, y, g, axis=self.axis),)

    def oracle(self, x):
        return self.oracle_along(lambda v: [math.prod(v[: i + 1]) for i in range(len(v))], x)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        return cls(axis=draw.axis(len(shape))), {"x": draw.array(shape)}


@op
class CumprodGradient(Scan):
    """The way back from `Cumprod`: what comes before an element, times what `g` makes of all from there on.

    ``y[j] = p[j - 1] * (g[j] + x[j + 1] * (g[j + 1] + x[j + 2] * (g[j + 2] + ...)))``. Where `p` are the running
    products of `x`, none of which is near 0, that is the sum of ``g[k] * p[k]`` from `j` on, divided by ``x[j]``.

    Shapes
        x, p, g (...) -> (...)
    """

    traceable = False

    def dtype(self, x, p, g):
        return floating(super().dtype(x, p, g))

    def forward(self, xp, x, p, g):
        kind = self.dtype(x.dtype, p.dtype, g.dtype)
        x, p, g = (xp.moveaxis(with_room(xp, z), self.axis, -1) for z in (x, p, g))
        first, ahead = p[..., :1], p[..., :-1]
        y = xp.abs(x).astype(xp.result_type(x, p, g), copy=False)
        known = not is_gpu(xp)  # which would wait for the answer
        known = known and (y >= LEAST).all() and xp.isfinite(p).all() and xp.equal(first, x[..., :1]).all()
        if known and xp.equal(xp.multiply(ahead, x[..., 1:], out=y[..., 1:]), p[..., 1:]).all():
            back = xp.multiply(p, g, out=y)[..., ::-1]
            total = Compiled.forward(BACK, [back])
            y = (xp.cumsum(back, axis=-1, out=back) if total is None else total)[..., ::-1]
            y /= x
        else:
            after = xp.concatenate([x[..., 1:], xp.zeros_like(first)], axis=-1)
            y = recurrence(xp, after, g, -1, reverse=True)
            y[..., 1:] *= ahead
        return xp.ascontiguousarray(xp.moveaxis(in_type(xp, y, kind), -1, self.axis))

    def vjp(self, F, c, y, x, p, g):
        before = shifted(F, p, self.axis, 1, 1.0)
        t = F.recurrence(x, c * before, axis=self.axis)
        r = F.recurrence(shifted(F, x, self.axis, -1), g, axis=self.axis, reverse=True)
        return lambda: r * shifted(F, t, self.axis, 1), lambda: shifted(F, c * r, self.axis, -1), t

    def oracle(self, x, p, g):
        def line(x, p, g):
            n = len(x)
            return [
                (p[j - 1] if j else 1) * sum(g[k] * math.prod(x[j + 1 : k + 1]) for k in range(j, n))
                for j in range(n)
            ]

        return self.oracle_along(line, x, p, g)

    @classmethod
    def sample(cls, draw):
        made, inputs = Cumprod.sample(draw)
        x = inputs["x"]
        p = np.cumprod(x, axis=made.axis) if draw.boolean() else draw.array(x.shape)
        return cls(axis=made.axis), {"x": x, "p": p, "g": draw.array(x.shape)}


@op
class Recurrence(Scan):
    """Each result is the one before times `a`, and `b`: ``y[k] = a[k] * y[k - 1] + b[k]``, from 0 on.

    Shapes
        a, b (...) -> (...)
    """

    traceable = False
    reverse: bool = attr(False, doc="from the last to the first: ``y[k] = a[k] * y[k + 1] + b[k]``")

    def dtype(self, a, b):
        return floating(super().dtype(a, b))

    def forward(self, xp, a, b):
        kind = self.dtype(a.dtype, b.dtype)
        y = recurrence(xp, with_room(xp, a), with_room(xp, b), self.axis, self.reverse)
        return in_type(xp, y, kind)

    def vjp(self, F, g, y, a, b):
        on = -1 if self.reverse else 1
        back = F.recurrence(shifted(F, a, self.axis, -on), g, axis=self.axis, reverse=not self.reverse)
        return lambda: back * shifted(F, y, self.axis, on), back

    def oracle(self, a, b):
        def line(a, b):
            y, last, turn = [], 0.0, -1 if self.reverse else 1
            for p, q in zip(a[::turn], b[::turn], strict=True):
                last = p * last + q
                y.append(last)
            return y[::turn]

        return self.oracle_along(line, a, b)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        made = cls(axis=draw.axis(len(shape)), reverse=draw.boolean())
        return made, {"a": draw.array(shape), "b": draw.array(shape)}


ROWS = 512  # vectors that go side by side, at least


def recurrence(xp, a, b, axis, reverse=False):
    """``y[k] = a[k] * y[k - 1] + b[k]`` along `axis`.

    Vectors go side by side, step by step. Few long ones are cut into parts, each of which begins at 0; what the end of
    one brings to all of the next is the product of its `a` up to there.
    """
    a, b = (xp.moveaxis(x, axis, 0) for x in (a, b))
    if reverse:
        a, b = a[::-1], b[::-1]
    size, shape = b.shape[0], b.shape
    side = size_of(shape[1:])
    parts = min(max(1, ROWS // max(side, 1)), math.isqrt(size) or 1) if size > 1 else 1
    y = steps(xp, a, b) if parts == 1 else joined(xp, a, b, parts)
    return xp.ascontiguousarray(xp.moveaxis(y[::-1] if reverse else y, 0, axis))


def steps(xp, a, b):
    """A recurrence along the first axis."""
    y = xp.empty(b.shape, dtype=xp.result_type(a, b))
    last = xp.zeros(b.shape[1:], dtype=y.dtype)
    for k in range(len(b)):
        last = xp.add(xp.multiply(last, a[k], out=y[k, ...]), b[k], out=y[k, ...])
    return y


def joined(xp, a, b, parts):
    """A recurrence along the first axis in so many parts side by side."""
    length = -(-len(b) // parts)
    missing = parts * length - len(b)
    rest = b.shape[1:]
    folded = []
    for x in (a, b):
        x = xp.concatenate([x, xp.zeros((missing, *rest), dtype=x.dtype)]) if missing else x
        folded.append(xp.ascontiguousarray(xp.moveaxis(xp.reshape(x, (parts, length, *rest)), 1, 0)))
    a, y = xp.cumprod(folded[0], axis=0), steps(xp, *folded)
    carried = [xp.zeros(rest, dtype=y.dtype)]  # what comes before each part
    for product, end in zip(a[-1, :-1], y[-1, :-1], strict=True):
        carried.append(xp.where(carried[-1] == 0, 0, product) * carried[-1] + end)  # not infinity times 0
    before = xp.stack(carried)
    y += xp.where(before == 0, 0, a) * before
    return xp.reshape(xp.moveaxis(y, 0, 1), (parts * length, *rest))[: len(b)]
