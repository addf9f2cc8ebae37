"""Sums, means and their kin along axes, and the way back from them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from tinygrad_lesson.engine.backprop import unbroadcast
from tinygrad_lesson.engine.blocks import FEW, Compiled, is_gpu
from tinygrad_lesson.engine.constant import Constant  # noqa: F401  (an op like others)
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of, floating, has_room, in_type, summed, with_room
from tinygrad_lesson.engine.kinds import Elementwise, Reduction
from tinygrad_lesson.engine.namespace import array_namespace
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import Axis, merge, reduced_axes, size_of
from tinygrad_lesson.ops.movement import Transpose


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

    compiled = True
    analytic = True
    multilinear = 1

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.sum, x, out)

    def vjp(self, F, g, y, x):
        return (self.spread(F, g, x),)

    def rewrite(self, F, shapes, x):
        axes, before = self.axes(len(shapes[0])), x.node.op
        if all(shapes[0][a] == 1 for a in axes):
            return F.reshape(x, shape=self.shape(shapes[0]))
        if not isinstance(before, Transpose):
            return None
        order = before.order(len(shapes[0]))
        kept = [a for i, a in enumerate(order) if i not in axes]
        if kept != sorted(kept):
            return None
        total = F.sum(x.node.inputs[0], axis=tuple([order[a] for a in axes]))  # in the order of memory
        return F.reshape(total, shape=self.shape(shapes[0]))


@op
class Mean(FloatReduction):
    """Arithmetic mean along `axis`."""

    compiled = True
    analytic = True
    multilinear = 1
    whole = True

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.mean, x, out)

    def vjp(self, F, g, y, x):
        return (self.spread(F, F.widen(g) / self.count(F.shape(x)), x),)

    def rewrite(self, F, shapes, x):
        if not has_room(F.dtypes[x]):  # the sum alone might overflow
            return None
        total = F.sum(x, **dataclasses.asdict(self))
        return F.divide(total, self.count(shapes[0]))


@op
class Var(FloatReduction):
    """Variance along `axis`, of the whole population: mean squared distance from the mean."""

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.var, x, out)

    def vjp(self, F, g, y, x):
        centred = x - F.mean(x, axis=self.axis, exclude=self.exclude, keepdims=True)
        return (self.spread(F, F.widen(g * 2) / self.count(F.shape(x)), x) * centred,)

    def rewrite(self, F, shapes, x):
        if not has_room(F.dtypes[x]):
            return None
        mean = F.mean(x, axis=self.axis, exclude=self.exclude, keepdims=True)
        return F.mean(F.square(F.subtract(x, mean)), **dataclasses.asdict(self))


PLAIN_SUM = functools.lru_cache(256)(lambda op: Sum(**dataclasses.asdict(op)))  # one op, so one form of code
TIES = ("whole", "share")


class Extreme(SampledReduction):
    """The largest or smallest element."""

    compiled = True
    ties = "whole"

    def vjp(self, F, g, y, x):
        chosen = F.equal(x, self.spread(F, y, x))
        if self.ties == "share":
            counts = F.sum(
                F.cast(chosen, dtype=str(F.dtype(y))), axis=self.axis, exclude=self.exclude, keepdims=True
            )
            g = g / F.reshape(counts, shape=F.shape(y))
        return (F.where(chosen, self.spread(F, g, x), 0),)

    @classmethod
    def sample(cls, draw):
        made, inputs = super().sample(draw)
        return dataclasses.replace(made, ties=draw.choice(TIES)), inputs


@op
class Max(Extreme):
    """Largest element along `axis`; each of several that tie gets the whole gradient, or an equal share.

    Source
        MXNet 1.9, `max`, for the whole one.
    """

    ties: str = attr(
        "whole", choices=TIES, shown=False, doc="what each of several that tie gets: all, or a share"
    )

    def forward(self, xp, x, out=None):
        return self.reduce(xp.max, x, out)


@op
class Min(Extreme):
    """Smallest element along `axis`; each of several that tie gets the whole gradient, or an equal share.

    Source
        MXNet 1.9, `min`, for the whole one.
    """

    ties: str = attr(
        "whole", choices=TIES, shown=False, doc="what each of several that tie gets: all, or a share"
    )

    def forward(self, xp, x, out=None):
        return self.reduce(xp.min, x, None if is_gpu(xp) else out)  # CuPy 14 takes none where CUB could serve


@op
class Prod(WideningReduction):
    """Product along `axis`; right for zeros too."""

    compiled = True
    analytic = True

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.prod, x, out)

    def vjp(self, F, g, y, x):
        return (self.spread(F, g, x) * F.product_of_others(x, axis=self.axis, exclude=self.exclude),)

    @classmethod
    def sample(cls, draw):
        op, inputs = super().sample(draw)
        return op, {"x": draw.array(inputs["x"].shape)}


LEAST = 1e-6  # size of the elements that products are divided by


@op
class ProductOfOthers(Op):
    """For each element the product of all others along `axis`, right for zeros too.

    With further inputs, the sum of all products in which each of them takes the place of `x` at one
    other element: the derivative of the product along them, which is linear in each.

    Shapes
        x, along (...) -> (...)
    """

    analytic = True
    axis: Axis = attr(None, doc="axis or axes of the product; None means all")
    exclude: bool = attr(False, doc="multiply over all axes but `axis`")

    def shape(self, x, *along):
        for shape in along:
            x = merge(x, shape)
        return x

    def forward(self, xp, x, *along):
        """Up a tree of products of pairs, then down to the product of what lies outside of each pair.

        Of many numbers, none near 0, it is their product divided by each.
        """
        axes = reduced_axes(x.ndim, self.axis, self.exclude)
        if not along and type(x) is np.ndarray and x.size > FEW and (abs(x) >= LEAST).all():
            whole = np.prod(x, axis=axes, keepdims=True)
            if np.isfinite(whole).all():
                return in_type(xp, whole / x, x.dtype)
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
class Nansum(WideningReduction):
    """Sum along `axis`, in which NaN counts as 0."""

    def forward(self, xp, x, out=None):
        if type(x) is np.ndarray and x.size > FEW and out is None:
            y = Compiled.forward(PLAIN_SUM(self), [x])
            y = self.accumulate(xp, xp.sum, x, None) if y is None else y
            if not np.isnan(y).any():  # most often
                return y
        return self.accumulate(xp, xp.sum, xp.where(xp.isnan(x), 0, x) if x.dtype.kind == "f" else x, out)

    def vjp(self, F, g, y, x):
        return (F.where(F.isnan(x), 0, self.spread(F, g, x)),)

    def oracle(self, x):
        return np.reshape(np.nansum(x, axis=self.axes(x.ndim)), self.shape(x.shape))


@op
class Nanprod(WideningReduction):
    """Product along `axis`, in which NaN counts as 1; right for zeros too."""

    def forward(self, xp, x, out=None):
        return self.accumulate(xp, xp.prod, xp.where(xp.isnan(x), 1, x) if x.dtype.kind == "f" else x, out)

    def vjp(self, F, g, y, x):
        known = F.where(F.isnan(x), 1, x)
        others = F.product_of_others(known, axis=self.axis, exclude=self.exclude)
        return (F.where(F.isnan(x), 0, self.spread(F, g, x) * others),)

    def oracle(self, x):
        return np.reshape(np.nanprod(x, axis=self.axes(x.ndim)), self.shape(x.shape))

    @classmethod
    def sample(cls, draw):
        op, inputs = super().sample(draw)
        return op, {"x": draw.array(inputs["x"].shape)}


@op
class LogSumExp(FloatReduction):
    """``y = log(sum(exp(x)))`` along `axis`, without overflow."""

    compiled = True
    function = "logsumexp"

    def apart(self, rank):
        return rank > 0 and 0 not in self.axes(rank)

    def forward(self, xp, x):
        dtype, x = x.dtype, with_room(xp, x)
        axes = self.axes(x.ndim)
        top = xp.max(x, axis=axes, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0)
        total = xp.sum(xp.exp(xp.subtract(x, top)), axis=axes, keepdims=True)
        y = xp.add(xp.log(total), top)
        return xp.reshape(in_type(xp, y, floating(dtype)), self.shape(x.shape))

    def vjp(self, F, g, y, x):
        return (self.spread(F, g, x) * F.exp_share(x, self.spread(F, y, x)),)


@op
class ExpShare(Elementwise):
    """``y = exp(x - total)``: what `x` has in a sum of exponentials whose logarithm is `total`, at least `x`.

    Where both are minus infinity it is 0, where both are infinity 1: each that reaches the maximum counts whole.
    """

    compiled = True

    def dtype(self, x, total):
        return floating(super().dtype(x, total))

    def forward(self, xp, x, total, out=None):
        most = largest(dtype_of(x))
        total = xp.maximum(xp.minimum(total, most), -most)
        return xp.exp(xp.minimum(xp.subtract(x, total), 0), out=out)

    def vjp(self, F, g, y, x, total):
        return lambda: g * y, lambda: -g * y

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
class SumLike(Op):
    """The way back from broadcasting: `x` summed to the shape of `like`. For elementwise ops the sweep does it."""

    analytic = True

    def shape(self, x, like):
        return like

    def forward(self, xp, x, like):
        if x.shape == like.shape:
            return x
        return in_type(xp, unbroadcast(array_namespace(xp), x, x.shape, like.shape), x.dtype)

    def vjp(self, F, g, y, x, like):
        return F.broadcast_to(g, shape=F.shape(x)), None

    def rewrite(self, F, shapes, x, like):
        return x if shapes[0] == shapes[1] else unbroadcast(F, x, *shapes)

    def dtype(self, x, like):
        return x

    @classmethod
    def sample(cls, draw):
        like = draw.shape()
        x = draw.choice(((2, *like), like, tuple(2 if n == 1 else n for n in like)))
        return cls(), {"x": draw.array(x), "like": draw.array(like)}
