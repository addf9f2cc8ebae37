"""The same elements in the same places: a copy, or another element type."""

from __future__ import annotations

import functools

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import copied, in_type
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import merge


@op
class Identity(Op):
    """A copy of `x`."""

    analytic = True
    multilinear = 1

    def shape(self, x):
        return x

    def forward(self, xp, x, out=None):
        return copied(xp, x, out)

    def vjp(self, F, g, y, x):
        return (g,)

    def rewrite(self, F, shapes, x):
        return x

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}


@op
class IdentityLike(Op):
    """A copy of `x`, whose shape is that of `like`: what is known of either shape holds for both."""

    analytic = True
    fits = True

    def shape(self, x, like):
        return merge(x, like)

    def complete(self, shapes, results):
        """One shape for all three."""
        same = functools.reduce(merge, (*shapes, *results))
        return [same, same], [same]

    def dtype(self, x, like):
        return x

    def forward(self, xp, x, like, out=None):
        return copied(xp, x, out)

    def vjp(self, F, g, y, x, like):
        return g, None

    def rewrite(self, F, shapes, x, like):
        return x

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(), {"x": draw.array(shape), "like": draw.array(shape)}


@op
class Cast(Op):
    """`x` in another element type; of a complex `x` the real part where that is real."""

    analytic = True
    mixes_dtypes = True
    type: str = attr(alias="dtype", doc="the element type of the result")

    @property
    def differentiable(self):
        """Whether the result is of real or complex numbers."""
        return np.dtype(self.type).kind in "fc"

    def shape(self, x):
        return x

    def dtype(self, x):
        return np.dtype(self.type)

    def forward(self, xp, x):
        dtype = np.dtype(self.type)
        return in_type(xp, xp.real(x) if x.dtype.kind == "c" != dtype.kind else x, dtype)

    def vjp(self, F, g, y, x):
        return (F.cast(g, dtype=str(F.dtype(x))),)

    def rewrite(self, F, shapes, x):
        return x if F.dtypes[x] == self.type else None

    @classmethod
    def sample(cls, draw):
        return cls(type="float64"), {"x": draw.array(draw.shape())}  # another would round
