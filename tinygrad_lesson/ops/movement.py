"""Ops that move elements or repeat them, and compute nothing."""

from __future__ import annotations

import math

from tinygrad_lesson.engine.backprop import unbroadcast
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import (
    broadcast,
    is_complete,
    merge,
    normalize_axes,
    normalize_axis,
    reshaped,
    show,
    size_of,
)


class Movement(Op):
    """An op whose result is, as a rule, a view of its first input."""

    analytic = True
    multilinear = 1
    view = True


@op
class Reshape(Movement):
    """The same elements in row-major order under another shape; one size may be -1."""

    to: tuple[int, ...] = attr(alias="shape", doc="the new shape; one size may be -1")
    zero_keeps: bool = attr(False, doc="sizes of 0 and below -1 are codes, as in MXNet: see `decoded`")
    reverse: bool = attr(False, doc="codes are read from the last axis to the first")

    def __post_init__(self):
        object.__setattr__(self, "to", (self.to,) if isinstance(self.to, int) else tuple(self.to))

    def shape(self, x):
        if not self.zero_keeps:
            return reshaped(x, self.to)
        if not self.reverse:
            return reshaped(x, decoded(x, self.to))
        return reshaped(x, decoded(x[::-1], self.to[::-1])[::-1])

    def complete(self, shapes, results):
        """One size of `x` that is unknown follows from the number of elements of the result."""
        shapes, (y,) = super().complete(shapes, results)
        x = shapes[0]
        if x is not None and y is not None and x.count(None) == 1 and is_complete(y):
            total, known = size_of(y), math.prod(n for n in x if n is not None)
            if known and total % known == 0:
                shapes = [tuple(total // known if n is None else n for n in x)]
        return shapes, [y]

    def forward(self, xp, x):
        return xp.reshape(x, self.shape(x.shape))

    def vjp(self, F, g, y, x):
        return (F.reshape(g, shape=F.shape(x)),)

    def rewrite(self, F, shapes, x):
        if self.shape(shapes[0]) == shapes[0]:
            return x
        if isinstance(x.node.op, Reshape):
            return F.reshape(x.node.inputs[0], shape=self.shape(shapes[0]))
        return F.reshape(x, shape=self.shape(shapes[0])) if self.zero_keeps or -1 in self.to else None

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        zero_keeps = draw.boolean()
        first = shape[:1] and (0,) if zero_keeps else (1, -1)
        to = draw.choice(((-1,), shape[::-1], (*first, *shape[1:])))
        return cls(to=to, zero_keeps=zero_keeps), {"x": draw.array(shape)}


def decoded(x, codes):
    """The sizes that MXNet's codes stand for, as the axes of `x` are gone through.

    0 keeps an axis, -2 keeps all that are left, -3 makes one of two, -4 makes two of one, whose sizes follow (one of
    them may be -1); -1 is what is left over.

    Errors
        ShapeError where `x` has too few axes.
    """
    sizes, left, told, codes = [], list(x), tuple(codes), list(codes)
    while codes:
        code = codes.pop(0)
        if code in (0, -3, -4) and len(left) < (2 if code == -3 else 1):
            raise ShapeError(f"{show(told)} keeps an axis that {show(x)} does not have")
        if code == 0:
            sizes.append(left.pop(0))
        elif code == -2:
            sizes, left = [*sizes, *left], []
        elif code == -3:
            pair = left.pop(0), left.pop(0)
            sizes.append(None if None in pair else pair[0] * pair[1])
        elif code == -4:
            if len(codes) < 2:
                raise ShapeError("-4 makes two axes of one, expected their two sizes behind it")
            whole, first, second = left.pop(0), codes.pop(0), codes.pop(0)
            if -1 in (first, second) and whole is not None:
                known = max(first, second)
                first, second = (whole // known if n == -1 else n for n in (first, second))
            sizes += [None if n == -1 else n for n in (first, second)]
        else:
            sizes.append(code)
            if left:
                left.pop(0)
    return tuple(sizes)


@op
class ReshapeLike(Movement):
    """The elements of `x` under the shape of `like`; or, with bounds, some axes of `x` replaced by some of `like`.

    Example
        x (30, 7), like (15, 2, 4), lhs_end 1, rhs_end 2 -> (15, 2, 7)

    Source
        MXNet 1.9, `reshape_like`.
    """

    mixes_dtypes = True
    lhs_begin: int | None = attr(None, doc="the first axis of `x` that is replaced; None is 0")
    lhs_end: int | None = attr(None, doc="the axis behind the last one; None takes all")
    rhs_begin: int | None = attr(None, doc="the first axis of `like` that is taken; None is 0")
    rhs_end: int | None = attr(None, doc="the axis behind the last one; None takes all")

    def target(self, x, like):
        """The shape of the result."""
        first, last, _ = slice(self.lhs_begin, self.lhs_end).indices(len(x))
        return (*x[:first], *like[self.rhs_begin : self.rhs_end], *x[last:])

    def shape(self, x, like):
        return reshaped(x, self.target(x, like))

    def forward(self, xp, x, like):
        return xp.reshape(x, self.target(x.shape, like.shape))

    def vjp(self, F, g, y, x, like):
        return F.reshape(g, shape=F.shape(x)), None

    def rewrite(self, F, shapes, x, like):
        return F.reshape(x, shape=self.target(*shapes))

    def dtype(self, x, like):
        return x

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        x, like = shape, shape[::-1]
        if some := draw.boolean():
            x, like = (draw.size(), *x), (*like, draw.size())
        made = cls(lhs_begin=1, rhs_end=-1) if some else cls()
        return made, {"x": draw.array(x), "like": draw.array(like)}


@op
class Flatten(Movement):
    """Two axes out of any number: those before `axis` become rows, the others columns.

    Source
        ONNX, `Flatten`; with `axis` 1 it is MXNet's.
    """

    axis: int = attr(1, doc="first axis of the columns; may be negative")

    def shape(self, x):
        axis = max(self.axis + len(x), 0) if self.axis < 0 else min(self.axis, len(x))
        return size_of(x[:axis]), size_of(x[axis:])

    def forward(self, xp, x):
        return xp.reshape(x, self.shape(x.shape))

    def vjp(self, F, g, y, x):
        return (F.reshape(g, shape=F.shape(x)),)

    def rewrite(self, F, shapes, x):
        return F.reshape(x, shape=self.shape(shapes[0]))

    @classmethod
    def sample(cls, draw):
        return cls(axis=draw.choice((1, -1, 0))), {"x": draw.array(draw.shape())}


def batch_last(rank):
    """The order of axes that brings the batch from the front to the end."""
    return (*range(1, rank), 0)


def batch_first(rank):
    """The order of axes that brings the batch from the end to the front."""
    return (rank - 1, *range(rank - 1))


def turned(F, x):
    """What a transposition of an image to batch first makes `x` of, and the unary elementwise ops between, or None."""
    source, between, rank = x, [], len(F.shapes[x])
    while isinstance(source.node.op, Elementwise) and len(source.node.inputs) == 1:
        between.append(source.node.op)
        (source,) = source.node.inputs
    if rank < 3 or source.node.op != Transpose(axes=batch_first(rank)):
        return None
    return source.node.inputs[0], between[::-1]


@op
class Transpose(Movement):
    """Axes in another order, reversed by default."""

    axes: tuple[int, ...] | None = attr(None, doc="the axes in their new order; None reverses them")

    def order(self, rank):
        """The axes in their new order, counted from the front."""
        if self.axes is None:
            return tuple(range(rank))[::-1]
        order = tuple(normalize_axis(a, rank) for a in self.axes)
        if sorted(order) != list(range(rank)):
            raise ShapeError(f"axes {self.axes} are no order of {rank} dimensions")
        return order

    def shape(self, x):
        return tuple(x[a] for a in self.order(len(x)))

    def complete(self, shapes, results):
        """Sizes of `x` follow from those of the result too."""
        shapes, (y,) = super().complete(shapes, results)
        if y is not None and (self.axes is None or len(self.axes) == len(y)):
            order = self.order(len(y))
            shapes = [merge(shapes[0], tuple(y[order.index(a)] for a in range(len(y))))]
        return shapes, [y]

    def forward(self, xp, x):
        return xp.transpose(x, self.order(x.ndim))

    def vjp(self, F, g, y, x):
        if self.axes is None:
            return (F.transpose(g),)
        order = self.order(len(self.axes))
        return (F.transpose(g, axes=tuple(order.index(a) for a in range(len(order)))),)

    def rewrite(self, F, shapes, x):
        order, before = self.order(len(shapes[0])), x.node.op
        if order == tuple(range(len(order))):
            return x
        if isinstance(before, Transpose):
            first = before.order(len(order))
            return F.transpose(x.node.inputs[0], axes=tuple(first[a] for a in order))
        found = turned(F, x) if order == batch_last(len(order)) else None
        if found is None:
            return None
        y, between = found
        for operation in between:  # done anew; the others are left out if nobody else wants them
            y = F.apply(operation, (y,))
        return y

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(axes=draw.choice((None, draw.permutation(len(shape))))), {"x": draw.array(shape)}


@op
class SwapAxes(Movement):
    """Two axes exchanged."""

    function = "swapaxes"
    a: int = attr(alias="axis1", doc="one axis")
    b: int = attr(alias="axis2", doc="the other axis")

    def shape(self, x):
        order = list(x)
        a, b = normalize_axis(self.a, len(x)), normalize_axis(self.b, len(x))
        order[a], order[b] = order[b], order[a]
        return tuple(order)

    def forward(self, xp, x):
        return xp.swapaxes(x, self.a, self.b)

    def vjp(self, F, g, y, x):
        return (F.swapaxes(g, self.a, self.b),)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        return cls(a=draw.axis(len(shape)), b=draw.axis(len(shape))), {"x": draw.array(shape)}


@op
class ExpandDims(Movement):
    """A new axis of size 1."""

    axis: int = attr(doc="where the new axis stands in the result")

    def shape(self, x):
        axis = normalize_axis(self.axis, len(x) + 1)
        return (*x[:axis], 1, *x[axis:])

    def forward(self, xp, x):
        return xp.expand_dims(x, self.axis)

    def vjp(self, F, g, y, x):
        return (F.reshape(g, shape=F.shape(x)),)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(axis=draw.axis(len(shape) + 1)), {"x": draw.array(shape)}


@op
class Squeeze(Movement):
    """Without axes of size 1: all of them, or those named."""

    axis: int | tuple[int, ...] | None = attr(None, doc="axes to drop; None drops all of size 1")
    vector: bool = attr(False, shown=False, doc="a result without axes gets shape (1,), as in MXNet")

    def shape(self, x):
        shape = self.left(x)
        return (1,) if shape == () and self.vector else shape

    def left(self, x):
        """The sizes of the axes that are not dropped."""
        if self.axis is None:
            return None if None in x else tuple(n for n in x if n != 1)
        axes = normalize_axes(self.axis, len(x) or 1)
        for a in axes if x else ():
            if x[a] not in (1, None):
                raise ShapeError(f"axis {a} of {show(x)} has size {x[a]}, expected 1")
        return tuple(n for a, n in enumerate(x) if a not in axes)

    def forward(self, xp, x):
        return xp.reshape(x, self.shape(x.shape))

    def vjp(self, F, g, y, x):
        return (F.reshape(g, shape=F.shape(x)),)

    @classmethod
    def sample(cls, draw):
        shape = (1, *draw.shape(), 1)
        return cls(axis=draw.choice((None, 0, -1, (0, -1))), vector=draw.boolean()), {"x": draw.array(shape)}


@op
class BroadcastTo(Movement):
    """`x` repeated along axes of size 1, or along new axes in front."""

    to: tuple[int, ...] = attr(alias="shape", doc="shape of the result")

    def shape(self, x):
        if None not in x and broadcast(x, self.to) != self.to:
            raise ShapeError(f"{show(x)} cannot be repeated to {show(self.to)}")
        return self.to

    def forward(self, xp, x):
        return xp.broadcast_to(x, self.to)

    def vjp(self, F, g, y, x):
        return (unbroadcast(F, g, self.to, F.shape(x)),)

    def rewrite(self, F, shapes, x):
        return x if shapes[0] == self.to else None

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(to=(2, *(3 if n == 1 else n for n in shape))), {"x": draw.array(shape)}


@op
class BroadcastLike(Movement):
    """`x` repeated to the shape of `like`."""

    def shape(self, x, like):
        return like

    def forward(self, xp, x, like):
        return xp.broadcast_to(x, like.shape)

    def vjp(self, F, g, y, x, like):
        return unbroadcast(F, g, F.shape(like), F.shape(x)), None

    def rewrite(self, F, shapes, x, like):
        return F.broadcast_to(x, shape=shapes[1])

    def dtype(self, x, like):
        return x

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(), {"x": draw.array(shape), "like": draw.array((2, *(3 if n == 1 else n for n in shape)))}
