"""The same elements in the same places: a copy, or another element type."""

from __future__ import annotations

import functools

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import copied, floating, has_room, in_type, roomy, with_room
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import merge
from tinygrad_lesson.ops.elementwise import Unary


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
    through: bool = attr(False, shown=False, doc="whether whole numbers let gradients through, as in MXNet")

    @property
    def differentiable(self):
        """Whether the result is of real or complex numbers, or lets gradients through as if it were."""
        return self.through or np.dtype(self.type).kind in "fc"

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


@op
class Widen(Unary):
    """`x` in a type in which it can be added up: half precision as single, integers as float64."""

    analytic = True

    def forward(self, xp, x):
        return with_room(xp, x)

    def vjp(self, F, g, y, x):
        return (g,)

    def rewrite(self, F, shapes, x):
        return x if has_room(F.dtypes[x]) else None

    def dtype(self, x):
        return roomy(x)


@op
class AmpMulticast(Op):
    """Arrays in the widest floating type among theirs, or with `cast_narrow` the narrowest.

    Source
        MXNet 1.9, `amp_multicast`.
    """

    method = False
    variadic = True
    mixes_dtypes = True
    num_outputs: int = attr(minimum=1, doc="how many arrays there are")
    cast_narrow: bool = attr(False, doc="whether the narrowest type is taken")

    @property
    def outputs(self):
        """One name for each array."""
        return tuple(f"output{i}" for i in range(self.num_outputs))

    def shape(self, *data):
        if len(data) != self.num_outputs:
            raise ShapeError(f"{len(data)} arrays given, expected num_outputs, {self.num_outputs}")
        return data if len(data) > 1 else data[0]

    def kind(self, *dtypes):
        """The type of all results."""
        return (min if self.cast_narrow else max)(
            map(floating, dtypes), key=lambda dtype: np.dtype(dtype).itemsize
        )

    def dtype(self, *data):
        return (self.kind(*data),) * len(data) if len(data) > 1 else self.kind(*data)

    def forward(self, xp, *data):
        kind = self.kind(*[x.dtype for x in data])
        found = tuple([in_type(xp, x, kind) for x in data])
        return found if len(found) > 1 else found[0]

    def vjp(self, F, g, y, *data):
        g = g if len(data) > 1 else (g,)
        return tuple(
            [None if a is None else F.cast(a, dtype=str(F.dtype(x))) for a, x in zip(g, data, strict=True)]
        )

    @classmethod
    def sample(cls, draw):
        count = draw.size(1, 3)
        return cls(count, draw.boolean()), {f"data{i}": draw.array(draw.shape()) for i in range(count)}
