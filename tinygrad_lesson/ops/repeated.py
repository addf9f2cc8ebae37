"""Elements in another order, repeated, or surrounded by others."""

from __future__ import annotations

import itertools

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import copied
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import Axis, normalize_axis, reduced_axes, show, size_of
from tinygrad_lesson.ops.index import freeze, with_size
from tinygrad_lesson.ops.movement import Movement


@op
class Flip(Movement):
    """The elements in reverse order along `axis`."""

    axis: Axis = attr(None, doc="axis or axes to reverse; None means all")

    def shape(self, x):
        reduced_axes(len(x), self.axis)  # which refuses axes that are not there
        return x

    def forward(self, xp, x):
        return xp.flip(x, reduced_axes(x.ndim, self.axis))

    def vjp(self, F, g, y, x):
        return (F.flip(g, axis=self.axis),)

    def oracle(self, x):
        axes = reduced_axes(x.ndim, self.axis)
        return x[tuple(slice(None, None, -1 if a in axes else 1) for a in range(x.ndim))]

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(axis=draw.axes(len(shape))), {"x": draw.array(shape)}


@op
class Tile(Op):
    """`x` beside itself: `reps` times along each axis, counted from the last."""

    analytic = True
    multilinear = 1
    reps: tuple[int, ...] = attr(doc="how often, for each axis; may be more, or fewer, than `x` has")

    def __post_init__(self):
        object.__setattr__(self, "reps", (self.reps,) if isinstance(self.reps, int) else tuple(self.reps))
        if any(n < 0 for n in self.reps):
            raise AttributeValueError(f"{self.name}: reps is {self.reps}, expected numbers of 0 or more")

    def pairs(self, x):
        """(repetitions, size) for each axis of the result."""
        rank = max(len(x), len(self.reps))
        return list(
            zip((1,) * (rank - len(self.reps)) + self.reps, (1,) * (rank - len(x)) + tuple(x), strict=True)
        )

    def shape(self, x):
        return tuple(None if n is None else r * n for r, n in self.pairs(x))

    def forward(self, xp, x):
        return xp.tile(x, self.reps)

    def vjp(self, F, g, y, x):
        pairs = self.pairs(F.shape(x))
        g = F.reshape(g, shape=tuple(itertools.chain(*pairs)))
        return (F.reshape(F.sum(g, axis=tuple(range(0, 2 * len(pairs), 2))), shape=F.shape(x)),)

    def oracle(self, x):
        y = x.reshape([n for _, n in self.pairs(x.shape)])
        for a, (r, _) in enumerate(self.pairs(x.shape)):
            y = np.concatenate([y] * r, axis=a) if r else y[(slice(None),) * a + (slice(0, 0),)]
        return y

    @classmethod
    def sample(cls, draw):
        return cls(reps=draw.shape(min_rank=1)), {"x": draw.array(draw.shape())}


@op
class Repeat(Op):
    """Each element `repeats` times in a row, along `axis`; without one, of all elements in row-major order."""

    analytic = True
    multilinear = 1
    repeats: int = attr(minimum=0, doc="how often")
    axis: int | None = attr(None, doc="the axis that grows; None flattens `x` first")

    def shape(self, x):
        x = (size_of(x),) if self.axis is None else x
        axis = normalize_axis(self.axis or 0, len(x))
        return with_size(x, axis, None if x[axis] is None else self.repeats * x[axis])

    def forward(self, xp, x):
        return xp.repeat(x, self.repeats, axis=self.axis)

    def vjp(self, F, g, y, x):
        shape = F.shape(x)
        flat = shape if self.axis is not None else (size_of(shape),)
        axis = normalize_axis(self.axis or 0, len(flat))
        g = F.reshape(g, shape=(*flat[: axis + 1], self.repeats, *flat[axis + 1 :]))
        return (F.reshape(F.sum(g, axis=axis + 1), shape=shape),)

    def oracle(self, x):
        x, axis = (x.ravel(), 0) if self.axis is None else (x, self.axis % x.ndim)
        return np.take(x, [i for i in range(x.shape[axis]) for _ in range(self.repeats)], axis=axis)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape)) if draw.boolean() else None
        return cls(repeats=draw.integer(1, 3), axis=axis), {"x": draw.array(shape)}


MODES = ("constant", "edge", "reflect")


@declares
class Margins(Op):
    """What `Pad` and `Unpad` have in common: how wide the margins are."""

    analytic = True
    pad_width: tuple[tuple[int, int], ...] = attr(doc="how much before and after, for each axis")
    mode: str = attr("constant", choices=MODES, doc="what stands in the margins")

    def check(self, shape):
        """Refuse margins that `shape` cannot have.

        Errors
            ShapeError.
        """
        if len(self.pad_width) != len(shape):
            raise ShapeError(
                f"pad_width has {len(self.pad_width)} pairs, expected {len(shape)} as {show(shape)} has axes"
            )
        least = {"constant": 0, "edge": 1, "reflect": 2}[self.mode]
        for n, (before, after) in zip(shape, self.pad_width, strict=True):
            if (
                n is not None
                and max(before, after)
                and (n < least or (least == 2 and max(before, after) >= n))
            ):
                raise ShapeError(
                    f"an axis of size {n} is too short for a margin of {max(before, after)} by {self.mode!r}"
                )


@op
class Pad(Margins):
    """`x` with margins: of one number, of its edge, or of its reflection, which leaves out the edge itself."""

    constant_values: float = attr(0.0, doc="the number of mode 'constant'")

    @property
    def moves(self):
        """Margins of one number are made like elements in other places."""
        return self.mode == "constant"

    compiled = moves

    def shape(self, x):
        self.check(x)
        return tuple(None if n is None else n + a + b for n, (a, b) in zip(x, self.pad_width, strict=True))

    def forward(self, xp, x):
        if not self.pad_width:
            return copied(xp, x)
        more = {"constant_values": self.constant_values} if self.mode == "constant" else {}
        return xp.pad(x, self.pad_width, mode=self.mode, **more)

    def vjp(self, F, g, y, x):
        return (F.unpad(g, self.pad_width, self.mode),)

    def oracle(self, x):
        for axis, (before, after) in enumerate(self.pad_width):
            n = x.shape[axis]
            places = [
                i if self.mode == "edge" else -i if i < 0 else 2 * n - 2 - i if i >= n else i
                for i in range(-before, n + after)
            ]
            if self.mode == "constant":
                margin = [
                    np.full((*x.shape[:axis], k, *x.shape[axis + 1 :]), self.constant_values)
                    for k in (before, after)
                ]
                x = np.concatenate([margin[0], x, margin[1]], axis=axis)
            else:
                x = np.take(x, np.clip(places, 0, n - 1), axis=axis)
        return x

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_size=2)
        width = tuple((draw.integer(0, 1), draw.integer(0, 1)) for _ in shape)
        return cls(pad_width=width, mode=draw.choice(MODES), constant_values=1.5), {"x": draw.array(shape)}


@op
class Unpad(Margins):
    """The way back from `Pad`: the margins are added to what they were made of, or dropped."""

    def shape(self, x):
        shape = tuple(None if n is None else n - a - b for n, (a, b) in zip(x, self.pad_width, strict=True))
        self.check(shape)
        return shape

    def forward(self, xp, x):
        for axis, (before, after) in enumerate(self.pad_width):
            end = x.shape[axis] - after

            def part(start, stop, of=x, axis=axis):
                return of[(*[slice(None)] * axis, slice(start, stop))]

            inner = part(before, end)
            if self.mode != "constant" and (before or after):
                inner = copied(xp, inner)
                for first, last, margin in (
                    (0, 0, part(0, before)),
                    (end - before, 1, part(end, end + after)),
                ):
                    size = margin.shape[axis]
                    if self.mode == "edge" and size:
                        at = 0 if not last else end - before - 1
                        where = (*[slice(None)] * axis, slice(at, at + 1))
                        margin = xp.sum(margin, axis=axis, keepdims=True)
                    elif size:
                        at = 1 if not last else first - 1 - size
                        where = (*[slice(None)] * axis, slice(at, at + size))
                        margin = xp.flip(margin, axis)
                    else:
                        continue
                    inner[where] = xp.add(inner[where], margin)
            x = inner
        return copied(xp, x)

    def vjp(self, F, g, y, x):
        return (F.pad(g, self.pad_width, self.mode),)

    def oracle(self, x):
        shape = self.shape(x.shape)
        unit = np.eye(size_of(shape)).reshape((size_of(shape), *shape))
        made = Pad(pad_width=self.pad_width, mode=self.mode)
        return np.array([(made.oracle(u) * x).sum() for u in unit]).reshape(shape)

    @classmethod
    def sample(cls, draw):
        made, inputs = Pad.sample(draw)
        x = draw.array(made.shape(inputs["x"].shape))
        return cls(pad_width=made.pad_width, mode=made.mode), {"x": x}


@op
class SliceLike(Op):
    """The first elements of `x` along `axes`, as many as `like` has there.

    Source
        MXNet 1.9, `slice_like`.
    """

    analytic = True
    mixes_dtypes = True
    axes: tuple[int, ...] = attr((), doc="the axes to cut; none means all")

    def cut(self, x, like):
        """The size of each axis of the result."""
        axes = {normalize_axis(a, len(x)) for a in self.axes} or set(range(len(x)))
        if max(axes, default=0) >= len(like) and axes:
            raise ShapeError(f"like is {show(like)}, expected an axis {max(axes)} to cut {show(x)} by")
        for a in axes:
            if None not in (x[a], like[a]) and like[a] > x[a]:
                raise ShapeError(f"like is {show(like)}, expected at most {x[a]} along axis {a}")
        return tuple(like[a] if a in axes else n for a, n in enumerate(x))

    def shape(self, x, like):
        return self.cut(x, like)

    def dtype(self, x, like):
        return x

    def key(self, x, like):
        """The index."""
        return tuple(slice(0, n) for n in self.cut(x, like))

    def forward(self, xp, x, like):
        return copied(xp, x[self.key(x.shape, like.shape)])

    def vjp(self, F, g, y, x, like):
        key = freeze(self.key(F.shape(x), F.shape(like)))
        return F.put(g, shape=F.shape(x), key=key), None

    def oracle(self, x, like):
        for a in self.axes or range(x.ndim):
            x = np.take(x, range(like.shape[a]), axis=a)
        return x

    @classmethod
    def sample(cls, draw):
        like = draw.shape()
        axes = draw.permutation(len(like))[: draw.integer(0, len(like))]
        cut = axes or range(len(like))
        x = tuple(n + draw.integer(0, 1) if a in cut else draw.size() for a, n in enumerate(like))
        return cls(axes=axes), {"x": draw.array(x), "like": draw.array(like)}
