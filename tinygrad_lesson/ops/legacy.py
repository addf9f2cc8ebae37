"""Small operators of MXNet that are few lines of others."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, with_room
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import Axis, normalize_axis, reduced, reduced_axes, show
from tinygrad_lesson.ops.norms import Norm
from tinygrad_lesson.ops.probabilities import Smooth


@op
class BroadcastKeeping(Composite):
    """`x` repeated to a shape in which 0 keeps the size that `x` has.

    Source
        MXNet 1.9, `broadcast_to`.
    """

    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result; 0 keeps a size")

    def shape(self, x):
        """The shape of the result."""
        if len(x) != len(self.to):
            raise ShapeError(f"data is {show(x)}, expected {len(self.to)} axes as in shape {self.to}")
        for n, m in zip(x, self.to, strict=True):
            if m and n not in (None, 1, m):
                raise ShapeError(f"data is {show(x)}, expected sizes of 1, or as in shape {self.to}")
        return tuple([m or n for n, m in zip(x, self.to, strict=True)])

    def compose(self, F, x):
        shape = self.shape(F.shape(x))
        return F.broadcast_to(x, shape=shape)

    def oracle(self, x):
        return x * np.ones(self.shape(x.shape))

    @classmethod
    def sample(cls, draw):
        to = draw.shape()
        shape = tuple(1 if draw.boolean() else n for n in to)
        kept = tuple(0 if n == m and draw.boolean() else m for n, m in zip(shape, to, strict=True))
        return cls(to=kept), {"x": draw.array(shape)}


@op
class BroadcastAxes(Composite):
    """`x` repeated along some of its axes of size 1.

    Source
        MXNet 1.9, `broadcast_axis`.
    """

    axis: int | tuple[int, ...] = attr((), doc="the axis or axes")
    size: int | tuple[int, ...] = attr((), doc="how often, for each of them")

    def shape(self, x):
        axes, sizes = (v if isinstance(v, tuple) else (v,) for v in (self.axis, self.size))
        if len(axes) != len(sizes):
            raise ShapeError(f"axis is {axes}, size {sizes}; expected as many of each")
        shape = list(x)
        for a, n in zip(axes, sizes, strict=True):
            a = normalize_axis(a, len(x))
            if x[a] not in (None, 1):
                raise ShapeError(f"data is {show(x)}, expected size 1 along axis {a}")
            shape[a] = n
        return tuple(shape)

    def compose(self, F, x):
        return F.broadcast_to(x, shape=self.shape(F.shape(x)))

    def oracle(self, x):
        return x * np.ones(self.shape(x.shape))

    @classmethod
    def sample(cls, draw):
        shape = list(draw.shape(min_rank=1))
        axis = draw.integer(0, len(shape) - 1)
        shape[axis] = 1
        plain = draw.boolean()
        size = draw.size()
        return cls(axis if plain else (axis,), size if plain else (size,)), {"x": draw.array(shape)}


@op
class DepthToSpace(Composite):
    """Channels of one place as a square of `block_size` by `block_size` places: the way back from `SpaceToDepth`.

    Shapes
        data (batch, channel * k * k, height, width) -> (batch, channel, height * k, width * k), where k is `block_size`
    """

    block_size: int = attr(minimum=1, doc="how many places, along each axis, one becomes")

    def shape(self, data):
        k = self.block_size
        if len(data) != 4 or (data[1] or 0) % (k * k):
            raise ShapeError(
                f"data is {show(data)}, expected (batch, channel, height, width), channels a multiple of {k * k}"
            )
        n, c, h, w = data
        return n, c and c // (k * k), h and h * k, w and w * k

    def compose(self, F, data):
        (n, _, h, w), k, to = F.shape(data), self.block_size, self.shape(F.shape(data))
        x = F.transpose(F.reshape(data, shape=(n, k, k, to[1], h, w)), axes=(0, 3, 4, 1, 5, 2))
        return F.reshape(x, shape=to)

    def oracle(self, data):
        k, y = self.block_size, np.zeros(self.shape(data.shape))
        parts = np.split(data, k * k, axis=1)
        for i in range(k):
            for j in range(k):
                y[:, :, i::k, j::k] = parts[i * k + j]
        return y

    @classmethod
    def sample(cls, draw):
        k = draw.integer(1, 2)
        shape = (draw.size(), k * k * draw.size(1, 2), draw.size(1, 2), draw.size(1, 2))
        return cls(block_size=k), {"data": draw.array(shape)}


@op
class Moments(Op):
    """The mean and the variance of the elements along `axes`.

    Source
        MXNet 1.9, `moments`.
    """

    outputs = ("output0", "output1")
    axes: Axis = attr(None, doc="axis or axes to reduce; None means all")
    keepdims: bool = attr(False, doc="keep the reduced axes with size 1")

    def shape(self, data):
        shape = reduced(data, reduced_axes(len(data), self.axes), self.keepdims) or (1,)
        return shape, shape

    def dtype(self, data):
        return floating(data), floating(data)

    def forward(self, xp, data):
        axes, wide = reduced_axes(data.ndim, self.axes), with_room(xp, data)
        mean = xp.mean(wide, axis=axes, keepdims=True)
        var = xp.mean(xp.square(xp.subtract(wide, mean)), axis=axes, keepdims=True)
        shape, kind = self.shape(data.shape)[0], floating(data.dtype)
        return tuple([xp.positive(xp.reshape(y, shape), dtype=kind, casting="unsafe") for y in (mean, var)])

    def vjp(self, F, g, y, data):
        def gradient():
            shape = F.shape(data)
            axes = reduced_axes(len(shape), self.axes)
            kept, count = reduced(shape, axes, keepdims=True), math.prod(shape[a] for a in axes)
            mean = None if g[0] is None else F.reshape(g[0], shape=kept)
            if g[1] is not None:
                centred = data - F.reshape(y[0], shape=kept)
                var = 2 * F.reshape(g[1], shape=kept) * centred
                mean = var if mean is None else mean + var
            return F.broadcast_to(mean / count, shape=shape)

        return (gradient,)

    def oracle(self, data):
        axes = reduced_axes(data.ndim, self.axes)
        found = (function(data, axis=axes, keepdims=self.keepdims) for function in (np.mean, np.var))
        return tuple(np.atleast_1d(y) for y in found)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        return cls(axes=draw.axes(len(shape)), keepdims=draw.boolean()), {"data": draw.array(shape)}


@op
class Mish(Smooth):
    """``y = x * tanh(log(1 + exp(x)))``.

    Source
        Misra 2019; MXNet 1.9, `mish`.
    """

    def compose(self, F, x):
        return x * F.tanh(F.softplus(x))

    def dtype(self, x):
        return floating(x)

    def oracle(self, x):
        return x * np.tanh(np.log(1 + np.exp(x)))


@op
class DivSqrtDim(Composite):
    """`x` divided by the root of the length of its last axis."""

    def compose(self, F, x):
        size = F.shape(x)[-1:] or (1,)
        return x / math.sqrt(size[0] or 1)

    def dtype(self, x):
        return floating(x)

    def oracle(self, x):
        return x * x.shape[-1] ** -0.5

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(min_rank=1))}


@op
class FillElement0Index(Composite):
    """`data`, with a number of each row replaced: at the place that `index` names by that of `values`.

    Shapes
        data (rows, n), values (rows,), index (rows,) -> as data

    Source
        MXNet 1.9, `fill_element_0index`.
    """

    function = "fill_element_0index"
    mixes_dtypes = True

    def compose(self, F, data, values, index):
        if len(F.shape(data)) != 2:
            raise ShapeError(f"data is {show(F.shape(data))}, expected (rows, n)")
        n = F.shape(data)[1]
        places = F.reshape(F.arange(n or 1, dtype=str(F.dtype(index))), shape=(1, -1))
        chosen = F.equal(F.trunc(F.expand_dims(index, axis=1)), places)
        return F.where(chosen, F.expand_dims(values, axis=1), data)

    def shape(self, data, values, index):
        super().shape(data, values, index)
        return data

    def dtype(self, data, values, index):
        return data

    def oracle(self, data, values, index):
        y = np.array(data)
        y[range(len(y)), index] = values
        return y

    @classmethod
    def sample(cls, draw):
        rows, n = draw.size(), draw.size()
        index = np.floor(draw.array((rows,), low=0, high=n - 0.01)).astype(np.int64)
        return cls(), {"data": draw.array((rows, n)), "values": draw.array((rows,)), "index": index}


@op
class IdentityAttachKLSparseReg(Op):
    """`data` itself; its gradient also pushes the mean of each channel towards `sparseness_target`.

    Shapes
        data (batch, channel, ...) between 0 and 1, moving_avg (channel,) -> as data

    Source
        Ng 2011, "Sparse autoencoder"; MXNet 1.9, `IdentityAttachKLSparseReg`.
    """

    function = "identity_attach_kl_sparse_reg"
    states = ("moving_avg",)
    sparseness_target: float = attr(0.1, minimum=0, maximum=1, doc="the mean that is wanted")
    penalty: float = attr(0.001, doc="multiplies the slope of the distance from it")
    momentum: float = attr(0.9, minimum=0, maximum=1, doc="what the running mean keeps in a step")
    is_train: bool = attr(False, doc="whether the running mean is updated; set when bound")

    def at_mode(self, is_train):
        """The running mean changes in training."""
        return dataclasses.replace(self, is_train=is_train)

    def parameters(self, data):
        if len(data) < 2:
            raise ShapeError(f"data is {show(data)}, expected (batch, channel, ...)")
        return {"moving_avg": (data[1],)}

    def shape(self, data, moving_avg):
        return data, moving_avg

    def dtype(self, data, moving_avg):
        return floating(data), floating(moving_avg)

    def forward(self, xp, data, moving_avg):
        kept = xp.positive(data, dtype=floating(data.dtype), casting="unsafe")
        if not self.is_train:
            return kept, xp.positive(moving_avg)
        mean = xp.mean(kept, axis=tuple(a for a in range(data.ndim) if a != 1))
        return kept, xp.add(xp.multiply(moving_avg, self.momentum), xp.multiply(mean, 1 - self.momentum))

    def vjp(self, F, g, y, data, moving_avg):
        def gradient():
            average, target = y[1], self.sparseness_target
            slope = (1 - target) / (1 - average) - target / average
            along = (1, -1, *[1] * (len(F.shape(data)) - 2))
            pushed = F.broadcast_to(F.reshape(slope, shape=along), shape=F.shape(data)) * self.penalty
            return pushed if g[0] is None else g[0] + pushed

        return (gradient if self.penalty else g[0]), None

    def oracle(self, data, moving_avg):
        mean = data.mean(axis=tuple(a for a in range(data.ndim) if a != 1))
        new = self.momentum * moving_avg + (1 - self.momentum) * mean
        return data, new if self.is_train else moving_avg

    @classmethod
    def sample(cls, draw):
        made = cls(penalty=0.0, is_train=draw.boolean())  # another number is no derivative
        shape = draw.shape(min_rank=2)
        average = draw.array(shape[1:2], low=0.2, high=0.8)
        return made, {"data": draw.array(shape, low=0.1, high=0.9), "moving_avg": average}


@op
class TypedResult(Composite):
    """What an op of one input gives in a stated element type; it is computed in that, or in that of `x` if it is wider.

    Source
        MXNet 1.9, `norm` with out_dtype, `cumsum` and `softmin` with dtype.
    """

    method = False
    mixes_dtypes = True
    of: Op = attr(doc="the op")
    type: str = attr(alias="dtype", doc="element type of the result")

    def compose(self, F, x):
        wide, given = np.dtype(self.type), F.dtype(x) or self.type
        wide = np.result_type(given, wide) if wide.kind == "f" else wide
        return F.cast(F.apply(self.of, [F.cast(x, dtype=str(wide))]), dtype=self.type)

    def dtype(self, x):
        return np.dtype(self.type)

    @classmethod
    def sample(cls, draw):
        norm, inputs = Norm.sample(draw)
        return cls(of=norm, type="float64"), inputs

    def oracle(self, x):
        return self.of.oracle(x)  # type: ignore[misc]
