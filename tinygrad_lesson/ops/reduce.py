"""Sums, means and their kin along axes, and the way back from them."""

import dataclasses
import functools
from typing import Any

import numpy as np

from tinygrad_lesson.engine.constant import Constant  # noqa: F401  (an op like others)
from tinygrad_lesson.engine.op import (
    HALF,
    Elementwise,
    Op,
    Reduction,
    attr,
    dtype_of,
    floating,
    has_room,
    in_type,
    op,
    roomy,
    summed,
    with_room,
)
from tinygrad_lesson.engine.shapes import Axis, merge, reduced, reduced_axes, size_of


class SampledReduction(Reduction):
    """A reduction that any numbers serve to test."""

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        axis, exclude = draw.axes(len(shape)), draw.boolean()
        op = cls(axis=axis, keepdims=draw.boolean(), exclude=exclude, vector=draw.boolean())
        return op, {"x": draw.distinct(shape)}


class WideningReduction(SampledReduction):
    """A reduction whose result is wider than short integers."""

    def dtype(self, x):
        return summed(x)


class FloatReduction(SampledReduction):
    """A reduction whose results are no integers, even for integers."""

    def dtype(self, x):
        return floating(x)


@op
class Sum(WideningReduction):
    """Sum along `axis`."""

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.sum, x, out)

    def vjp(self, F, g, y, x):
        return (F.spread_like(g, x, axis=self.axis, exclude=self.exclude),)

    def rewrite(self, F, shapes, x):
        if any(shapes[0][a] != 1 for a in self.axes(len(shapes[0]))):
            return None
        return F.reshape(x, shape=self.shape(shapes[0]))


@op
class Mean(FloatReduction):
    """Arithmetic mean along `axis`."""

    whole = True

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.mean, x, out)

    def vjp(self, F, g, y, x):
        return (F.spread_like(g, x, axis=self.axis, exclude=self.exclude, mean=True),)

    def rewrite(self, F, shapes, x):
        if not has_room(F.dtypes[x]):  # the sum alone might overflow
            return None
        total = F.sum(x, **dataclasses.asdict(self))
        return F.divide(total, F.count(x, axis=self.axis, exclude=self.exclude))


@op
class Var(FloatReduction):
    """Variance along `axis`, of the whole population: mean squared distance from the mean."""

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.var, x, out)

    def vjp(self, F, g, y, x):
        along = {"axis": self.axis, "exclude": self.exclude}
        centred = x - F.mean(x, **along, keepdims=True)
        return (F.spread_like(g * 2, x, **along, mean=True) * centred,)

    def rewrite(self, F, shapes, x):
        if not has_room(F.dtypes[x]):
            return None
        mean = F.mean(x, axis=self.axis, exclude=self.exclude, keepdims=True)
        return F.mean(F.square(F.subtract(x, mean)), **dataclasses.asdict(self))


@op
class Max(SampledReduction):
    """Largest element along `axis`; every one of several that tie gets the whole gradient.

    Source
        MXNet 1.9, `max`.
    """

    def forward(self, xp, x, out=None):
        return self.reduce(xp.max, x, out)

    def vjp(self, F, g, y, x):
        along = {"axis": self.axis, "exclude": self.exclude}
        return (F.where(F.equal(x, F.spread_like(y, x, **along)), F.spread_like(g, x, **along), 0),)


@op
class Min(SampledReduction):
    """Smallest element along `axis`; every one of several that tie gets the whole gradient.

    Source
        MXNet 1.9, `min`.
    """

    def forward(self, xp, x, out=None):
        return self.reduce(xp.min, x, out)

    def vjp(self, F, g, y, x):
        along = {"axis": self.axis, "exclude": self.exclude}
        return (F.where(F.equal(x, F.spread_like(y, x, **along)), F.spread_like(g, x, **along), 0),)


@op
class Prod(WideningReduction):
    """Product along `axis`; right for zeros too."""

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.prod, x, out)

    def vjp(self, F, g, y, x):
        along = {"axis": self.axis, "exclude": self.exclude}
        return (F.spread_like(g, x, **along) * F.product_of_others(x, **along),)

    @classmethod
    def sample(cls, draw):
        op, inputs = super().sample(draw)
        return op, {"x": draw.array(inputs["x"].shape)}


@op
class ProductOfOthers(Op):
    """For each element the product of all others along `axis`, right for zeros too.

    With further inputs, the sum of all products in which each of them takes the place of `x` at one
    other element: the derivative of the product along them, which is linear in each.

    Shapes
        x, along (...) -> (...)
    """

    axis: Axis = attr(None, doc="axis or axes of the product; None means all")
    exclude: bool = attr(False, doc="multiply over all axes but `axis`")

    def shape(self, x, *along):
        for shape in along:
            x = merge(x, shape)
        return x

    def forward(self, xp, x, *along):
        """Up a tree of products of pairs, then down to the product of what lies outside of each pair."""
        axes = reduced_axes(x.ndim, self.axis, self.exclude)
        order = tuple(a for a in range(x.ndim) if a not in axes) + axes
        shape = tuple(x.shape[a] for a in order)
        count = size_of(shape[x.ndim - len(axes) :])
        leaves = {}
        for i, a in enumerate((x, *along)):  # a polynomial in marks: bit i - 1 stands for along[i - 1]
            rows = xp.reshape(xp.transpose(a, order), (size_of(shape[: x.ndim - len(axes)]), count))
            missing = (1 << max(count - 1, 0).bit_length()) - count  # to a power of two
            padding = xp.full((len(rows), missing), 0 if i else 1, dtype=x.dtype)
            leaves[1 << i >> 1] = xp.concatenate([rows, padding], axis=1)
        levels = [leaves]
        while levels[-1][0].shape[1] > 1:
            levels.append(marked_product(*halves(levels[-1])))
        others = {0: xp.ones((len(leaves[0]), 1), dtype=x.dtype)}
        for level in levels[-2::-1]:
            left, right = halves(level)
            pair = marked_product(others, right), marked_product(others, left)
            others = {m: xp.reshape(xp.stack([p[m] for p in pair], axis=2), level[0].shape) for m in pair[0]}
        y = others.get((1 << len(along)) - 1, xp.zeros_like(leaves[0]))[:, :count]
        return xp.transpose(xp.reshape(y, shape), tuple(order.index(a) for a in range(x.ndim)))

    def vjp(self, F, g, y, x, *along):
        rule = {"axis": self.axis, "exclude": self.exclude}
        without = [(*along[:i], *along[i + 1 :]) for i in range(len(along))]
        return tuple(lambda u=u: F.product_of_others(x, *u, g, **rule) for u in (along, *without))

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        along = {f"along{i}": draw.array(shape) for i in range(draw.integer(0, 2))}
        return cls(axis=draw.axes(len(shape)), exclude=draw.boolean()), {"x": draw.array(shape), **along}


def halves(level):
    """The even and the odd columns of each coefficient."""
    return {m: a[:, 0::2] for m, a in level.items()}, {m: a[:, 1::2] for m, a in level.items()}


def marked_product(a, b):
    """The product of polynomials in marks whose squares are 0; a bit of a key stands for a mark."""
    y: dict[int, Any] = {}
    for m, p in a.items():
        for n, q in b.items():
            if not m & n:
                y[m | n] = y[m | n] + p * q if m | n in y else p * q
    return y


@op
class LogSumExp(FloatReduction):
    """``y = log(sum(exp(x)))`` along `axis`, without overflow."""

    function = "logsumexp"

    def forward(self, xp, x):
        dtype, x = x.dtype, with_room(xp, x)
        axes = self.axes(x.ndim)
        top = xp.max(x, axis=axes, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0)
        total = xp.sum(xp.exp(xp.subtract(x, top)), axis=axes, keepdims=True)
        y = xp.add(xp.log(total), top)
        return xp.reshape(in_type(xp, y, floating(dtype)), self.shape(x.shape))

    def vjp(self, F, g, y, x):
        along = {"axis": self.axis, "exclude": self.exclude}
        return (F.spread_like(g, x, **along) * F.exp_share(x, F.spread_like(y, x, **along)),)


@op
class ExpShare(Elementwise):
    """``y = exp(x - total)``: what `x` has in a sum of exponentials whose logarithm is `total`, at least `x`.

    Where both are minus infinity it is 0, where both are infinity 1: each that reaches the maximum counts whole.
    """

    def dtype(self, x, total):
        return floating(super().dtype(x, total))

    def forward(self, xp, x, total, out=None):
        most = largest(dtype_of(x))
        total = xp.maximum(xp.minimum(total, most), -most)
        return xp.exp(xp.minimum(xp.subtract(x, total), 0), out=out)

    def vjp(self, F, g, y, x, total):
        return lambda: F.sum_like(g * y, x), lambda: F.sum_like(-g * y, total)

    def rewrite(self, F, shapes, x, total):
        if F.dtypes[total] is None:
            return None
        most = largest(F.dtypes[total])
        return F.exp(F.minimum(F.subtract(x, F.maximum(F.minimum(total, most), -most)), 0))

    @classmethod
    def sample(cls, draw):
        x, total = draw.broadcasting(2)
        return cls(), {"x": draw.array(x, low=-2, high=-0.1), "total": draw.array(total, low=0, high=2)}


@functools.cache
def largest(dtype):
    """The largest finite number of a type."""
    return float(np.finfo(floating(dtype) or float).max)


@op
class SpreadLike(Op):
    """The way back from a reduction: `x` repeated along the axes that `like` lost.

    Shapes
        x (`like` reduced along `axis`, with or without size 1 there), like (...) -> shape of `like`
    """

    shape_only = ("like",)
    axis: Axis = attr(None, doc="axes that were reduced; None means all")
    exclude: bool = attr(False, doc="all axes but `axis` were reduced")
    mean: bool = attr(False, doc="the reduction was a mean, so divide by the number of elements too")

    def kept(self, like):
        """Shape of `x` with size 1 along the reduced axes."""
        return reduced(like, reduced_axes(len(like), self.axis, self.exclude), keepdims=True)

    def shape(self, x, like):
        return like

    def forward(self, xp, x, like):
        if self.mean:
            wide = with_room(xp, x)
            y = xp.divide(wide, float(count_along(like.shape, self.axis, self.exclude)))
            x = y if wide is x else in_type(xp, y, floating(x.dtype))
        return xp.broadcast_to(xp.reshape(x, self.kept(like.shape)), like.shape)

    def vjp(self, F, g, y, x, like):
        reduce = F.mean if self.mean else F.sum
        return F.reshape_like(reduce(g, axis=self.axis, exclude=self.exclude, keepdims=True), x), None

    def rewrite(self, F, shapes, x, like):
        if self.mean:
            if not has_room(F.dtypes[x]):
                return None
            x = F.divide(x, F.count(like, axis=self.axis, exclude=self.exclude))
        return F.broadcast_to(F.reshape(x, shape=self.kept(shapes[1])), shape=shapes[1])

    def dtype(self, x, like):
        return floating(x) if self.mean else x

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        op = cls(axis=draw.axes(len(shape)), exclude=draw.boolean(), mean=draw.boolean())
        axes = reduced_axes(len(shape), op.axis, op.exclude)
        return op, {"x": draw.array(reduced(shape, axes, draw.boolean())), "like": draw.array(shape)}


@op
class SumLike(Op):
    """The way back from broadcasting: `x` summed to the shape of `like`."""

    shape_only = ("like",)

    def shape(self, x, like):
        return like

    def forward(self, xp, x, like):
        if x.shape == like.shape:
            return x
        total = roomy(HALF) if x.dtype == HALF else x.dtype
        y = xp.sum(x, axis=spread_axes(x.shape, like.shape), dtype=total, keepdims=True)
        return in_type(xp, y, x.dtype).reshape(like.shape)

    def vjp(self, F, g, y, x, like):
        return F.broadcast_like(g, x), None

    def rewrite(self, F, shapes, x, like):
        if shapes[0] == shapes[1]:
            return x
        return F.reshape(F.sum(x, axis=spread_axes(*shapes), keepdims=True), shape=shapes[1])

    def dtype(self, x, like):
        return x

    @classmethod
    def sample(cls, draw):
        like = draw.shape()
        x = draw.choice(((2, *like), like, tuple(2 if n == 1 else n for n in like)))
        return cls(), {"x": draw.array(x), "like": draw.array(like)}


def spread_axes(shape, like):
    """Axes of `shape` along which an array of shape `like` was repeated."""
    extra = len(shape) - len(like)
    grown = (a + extra for a, n in enumerate(like) if n == 1 and shape[a + extra] != 1)
    return (*range(extra), *grown)


def count_along(shape, axis, exclude):
    """Number of elements along the axes of a reduction."""
    return size_of(tuple([shape[a] for a in reduced_axes(len(shape), axis, exclude)]))


@op
class Count(Op):
    """Number of elements of `x` along `axis`, as a number."""

    shape_only = ("x",)
    differentiable = False
    axis: Axis = attr(None, doc="axis or axes to count along; None means all")
    exclude: bool = attr(False, doc="count along all axes but `axis`")

    def count(self, shape):
        """The number for an array of this shape."""
        return count_along(shape, self.axis, self.exclude)

    def shape(self, x):
        return ()

    def dtype(self, x):
        return None

    def forward(self, xp, x):
        return float(self.count(x.shape))

    def vjp(self, F, g, y, x):
        return (None,)

    def rewrite(self, F, shapes, x):
        return F.constant(value=float(self.count(shapes[0])))

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(axis=draw.axes(len(shape)), exclude=draw.boolean()), {"x": draw.array(shape)}


@op
class Full(Op):
    """An array filled with one number."""

    differentiable = False
    to: tuple[int, ...] = attr(alias="shape", doc="shape of the result")
    value: float = attr(0.0, doc="the number")
    type: str = attr("float32", alias="dtype", doc="element type of the result")

    def shape(self):
        return self.to

    def dtype(self):
        return np.dtype(self.type)

    def forward(self, xp):
        return xp.full(self.to, self.value, dtype=self.type)

    def vjp(self, F, g, y):
        return ()

    @classmethod
    def sample(cls, draw):
        return cls(to=draw.shape(), value=2.5, type=draw.choice(("float64", "float32"))), {}


@op
class FullLike(Op):
    """An array like `x`, filled with one number."""

    shape_only = ("x",)
    differentiable = False
    value: float = attr(0.0, doc="the number")

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return xp.full(x.shape, self.value, dtype=x.dtype)

    def vjp(self, F, g, y, x):
        return (None,)

    def rewrite(self, F, shapes, x):
        return F.full(shapes[0], self.value, str(F.dtypes[x]))

    @classmethod
    def sample(cls, draw):
        return cls(value=1.5), {"x": draw.array(draw.shape())}
