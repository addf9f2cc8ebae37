"""Parts of arrays, and arrays put together from parts."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show
from tinygrad_lesson.ops.fills import filled

Key = tuple[Any, ...]


def freeze(key: Any) -> Key:
    """A basic index (integers, slices, None, Ellipsis) as a tuple that can be compared and hashed."""
    parts = key if isinstance(key, tuple) else (key,)
    plain = (k.item() if isinstance(k, np.generic) else k for k in parts)
    return tuple(("slice", k.start, k.stop, k.step) if isinstance(k, slice) else k for k in plain)


def thaw(key: Key) -> tuple[Any, ...]:
    """The index that `freeze` was given."""
    return tuple(slice(*k[1:]) if isinstance(k, tuple) else k for k in key)


def told_key(key: Key) -> str:
    """The index that `freeze` was given, as it is typed.

    Example
        >>> told_key(freeze((slice(None), slice(2, None), 0, ..., None)))
        '[:, 2:, 0, ..., None]'
    """
    return f"[{', '.join(map(told_part, thaw(key)))}]"


def told_part(part: Any) -> str:
    """One part of an index."""
    if not isinstance(part, slice):
        return "..." if part is ... else repr(part)
    start, stop, step = ("" if end is None else str(end) for end in (part.start, part.stop, part.step))
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


@op
class Slice(Op):
    """A part of `x` by basic indexing: integers, slices, None and Ellipsis."""

    analytic = True
    multilinear = 1
    view = True
    key: Key = attr(doc="the index, as `freeze` makes it")

    def label(self) -> str:
        """`Slice([:, 2:])`."""
        return f"{self.name}({told_key(self.key)})"

    def shape(self, x):
        sizes, result = iter(x), []
        for part in self.parts(x):
            size = 1 if part is None else next(sizes)
            if not isinstance(part, int):
                result.append(size if part is None or size is None else len(range(*part.indices(size))))
            elif size is not None and not -size <= part < size:
                raise ShapeError(f"{show(x)} has no part {thaw(self.key)}: axis of size {size} has no {part}")
        return tuple(result)

    def parts(self, x):
        """The index with one part for every axis of the shape `x`: its Ellipsis spelled out."""
        key = thaw(self.key)
        missing = len(x) - sum(part is not None and part is not ... for part in key)
        if missing < 0 or key.count(...) > 1:
            raise ShapeError(f"{show(x)} has no part {key}: it has {len(x)} axes")
        at = key.index(...) if ... in key else len(key)
        return (*key[:at], *[slice(None)] * missing, *key[at + 1 :])

    def forward(self, xp, x):
        return x[(*thaw(self.key), ...)] if ... not in self.key else x[thaw(self.key)]

    def vjp(self, F, g, y, x):
        return (F.put(g, shape=F.shape(x), key=self.key),)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        options = (slice(None), 0, -1, slice(None, None, -1), slice(0, None, 2), slice(-1, None), slice(1, 1))
        key = [draw.choice(options) for _ in range(draw.integer(0, len(shape)))]
        for extra in (None, ...):
            if draw.boolean():
                key.insert(draw.integer(0, len(key)), extra)
        return cls(key=freeze(tuple(key))), {"x": draw.array(shape)}


@op
class Put(Op):
    """Zeros, with `x` in the part that `key` names."""

    analytic = True
    multilinear = 1
    to: tuple[int, ...] = attr(alias="shape", shown=False, doc="shape of the result")
    key: Key = attr(doc="the index, as `freeze` makes it")

    def label(self) -> str:
        """`Put([:, 2:])`."""
        return f"{self.name}({told_key(self.key)})"

    def shape(self, x):
        return self.to

    def forward(self, xp, x, out=None):
        y = xp.zeros(self.to, dtype=x.dtype) if out is None else out
        y[...] = 0
        y[thaw(self.key)] = x
        return y

    def vjp(self, F, g, y, x):
        return (F.slice(g, key=self.key),)

    @classmethod
    def sample(cls, draw):
        op, inputs = Slice.sample(draw)
        to = inputs["x"].shape
        return cls(to=to, key=op.key), {"x": draw.array(op.shape(to))}


@op
class Concat(Op):
    """Arrays one after the other along `dim`."""

    analytic = True
    compiled = True
    moves = True
    dim: int = attr(1, alias="axis", doc="the axis along which they follow each other")

    def shape(self, *args):
        axis = normalize_axis(self.dim, len(args[0]))
        known, sizes = with_size(args[0], axis, None), []
        for i, shape in enumerate(args):
            try:
                known = merge(known, (*shape[:axis], None, *shape[axis + 1 :]))
            except ShapeError:
                raise ShapeError(f"input {i} is {show(shape)}, expected {show(known)} as input 0") from None
            sizes.append(shape[axis])
        return with_size(known, axis, None if None in sizes else sum(sizes))

    def complete(self, shapes, results):
        """Sizes but that along `dim` are those of any part and of the result; along it one follows from the others."""
        known = [x for x in (*shapes, results[0]) if x is not None]
        if not known or all(x is not None and None not in x for x in shapes):
            return super().complete(shapes, results)
        axis = normalize_axis(self.dim, len(known[0]))
        common: Any = (None,) * len(known[0])
        for x in known:
            common = merge(common, with_size(x, axis, None))
        sizes = [None if x is None else x[axis] for x in shapes]
        if sizes.count(None) == 1 and results[0] is not None and results[0][axis] is not None:
            sizes[sizes.index(None)] = results[0][axis] - sum(n for n in sizes if n is not None)
        return super().complete([with_size(common, axis, n) for n in sizes], results)

    def forward(self, xp, *args, out=None):
        return xp.concatenate(args, axis=self.dim, out=out)

    def vjp(self, F, g, y, *args):
        if len(args) == 1:
            return (g,)
        axis = normalize_axis(self.dim, len(F.shape(g)))
        ends = tuple(itertools.accumulate([F.shape(a)[axis] for a in args[:-1]]))
        return F.split_at(g, places=ends, axis=axis)  # once for all

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape))
        sizes = [draw.size() for _ in range(draw.choice((1, 2, 3)))]
        parts = [with_size(shape, axis, n) for n in sizes]
        return cls(dim=axis), {f"args{i}": draw.array(part) for i, part in enumerate(parts)}


@functools.cache
def numbered(count):
    """Names of so many outputs."""
    return tuple(f"output{i}" for i in range(count))


@op
class SplitAt(Op):
    """Parts of `x` along `axis`, which is cut at `places`."""

    analytic = True
    view = True
    places: tuple[int, ...] = attr(doc="where a new part begins, in order")
    axis: int = attr(0, doc="the axis that is cut")

    @property
    def outputs(self):
        """One name for each part."""
        return numbered(len(self.places) + 1)

    def keys(self, x):
        """The index of each part of the shape `x`."""
        axis = normalize_axis(self.axis, len(x))
        ends = itertools.pairwise((0, *self.places, x[axis]))
        return [(*[slice(None)] * axis, slice(*along)) for along in ends]

    def shape(self, x):
        axis = normalize_axis(self.axis, len(x))
        ends, whole = (0, *self.places), x[axis]
        if list(ends) != sorted(ends) or (whole is not None and whole < ends[-1]):
            raise ShapeError(f"axis {axis} of {show(x)} cannot be cut at {self.places}")
        sizes = [b - a for a, b in itertools.pairwise(ends)] + [None if whole is None else whole - ends[-1]]
        parts = tuple([with_size(x, axis, size) for size in sizes])
        return parts if self.places else parts[0]

    def forward(self, xp, x):
        parts = tuple([x[key] for key in self.keys(x.shape)])
        return parts if self.places else parts[0]

    def vjp(self, F, g, y, x):
        if not self.places:
            return (g,)
        parts = [filled(F, yi) if gi is None else gi for gi, yi in zip(g, y, strict=True)]
        return (F.concat(*parts, dim=self.axis),)

    def rewrite(self, F, shapes, x):
        parts = tuple([F.slice(x, key=freeze(key)) for key in self.keys(shapes[0])])
        return parts if self.places else parts[0]

    @classmethod
    def sample(cls, draw):
        op, args = Concat.sample(draw)
        ends = itertools.accumulate([x.shape[op.dim] for x in args.values()])
        x = draw.array(op.shape(*[a.shape for a in args.values()]))
        return cls(places=tuple(ends)[:-1], axis=op.dim), {"x": x}


def with_size(shape, axis, size):
    """`shape` with another size along `axis`."""
    axis = normalize_axis(axis, len(shape))
    return (*shape[:axis], size, *shape[axis + 1 :])


@op
class Split(Op):
    """Equal parts of `x` along `axis`."""

    analytic = True
    num_outputs: int = attr(minimum=1, maximum=1 << 16, doc="how many parts")
    axis: int = attr(0, doc="the axis that is cut")
    squeeze_axis: bool = attr(False, doc="drop the axis, whose size must then be `num_outputs`")

    @property
    def outputs(self):
        """One name for each part."""
        return numbered(self.num_outputs)

    def shape(self, x):
        axis = normalize_axis(self.axis, len(x))
        if x[axis] is not None and x[axis] % self.num_outputs:
            raise ShapeError(f"axis {axis} of {show(x)} cannot be cut into {self.num_outputs} equal parts")
        size = None if x[axis] is None else x[axis] // self.num_outputs
        if self.squeeze_axis and size not in (1, None):
            raise ShapeError(f"axis {axis} of {show(x)} has parts of {size}, which cannot be dropped")
        middle = () if self.squeeze_axis else (size,)
        part = (*x[:axis], *middle, *x[axis + 1 :])
        return part if self.num_outputs == 1 else (part,) * self.num_outputs

    def complete(self, shapes, results):
        """What is known of any part holds for all of them, and says what `x` is."""
        part = functools.reduce(merge, results)
        if part is not None:
            axis = normalize_axis(self.axis, len(part) + self.squeeze_axis)
            size = 1 if self.squeeze_axis else part[axis]
            size = None if size is None else size * self.num_outputs
            shapes = [merge(shapes[0], (*part[:axis], size, *part[axis + (not self.squeeze_axis) :]))]
        return super().complete(shapes, results)

    def forward(self, xp, x):
        parts = xp.split(x, self.num_outputs, axis=self.axis)
        parts = [xp.squeeze(p, axis=self.axis) for p in parts] if self.squeeze_axis else parts
        return parts[0] if self.num_outputs == 1 else tuple(parts)

    def vjp(self, F, g, y, x):
        if self.num_outputs == 1:
            return (F.reshape(g, shape=F.shape(x)),)
        parts = [filled(F, yi) if gi is None else gi for gi, yi in zip(g, y, strict=True)]
        if self.squeeze_axis:
            parts = [F.expand_dims(p, axis=self.axis) for p in parts]
        return (F.concat(*parts, dim=self.axis),)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis, count = draw.axis(len(shape)), draw.choice((1, 2, 3))
        squeeze = draw.boolean()
        size = count if squeeze else count * draw.size()
        x = draw.array(with_size(shape, axis, size))
        return cls(num_outputs=count, axis=axis, squeeze_axis=squeeze), {"x": x}


@op
class Stack(Op):
    """Arrays of one shape side by side along a new axis."""

    analytic = True
    axis: int = attr(0, doc="where the new axis stands in the result")

    def shape(self, *args):
        known = args[0]
        for i, shape in enumerate(args):
            try:
                known = merge(known, shape)
            except ShapeError:
                raise ShapeError(f"input {i} is {show(shape)}, expected {show(known)} as input 0") from None
        axis = normalize_axis(self.axis, len(known) + 1)
        return (*known[:axis], len(args), *known[axis:])

    def forward(self, xp, *args, out=None):
        return xp.stack(args, axis=self.axis, out=out)

    def vjp(self, F, g, y, *args):
        parts = F.split(g, num_outputs=len(args), axis=self.axis, squeeze_axis=True)
        return (parts,) if len(args) == 1 else parts

    @classmethod
    def sample(cls, draw):
        shape, count = draw.shape(), draw.choice((1, 2, 3))
        return cls(axis=draw.axis(len(shape) + 1)), {f"args{i}": draw.array(shape) for i in range(count)}
