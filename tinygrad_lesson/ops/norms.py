"""Layers that bring numbers to a common size, and the lengths of vectors."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, rounded, with_room
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis, show
from tinygrad_lesson.ops.reduce import FloatReduction


@op
class Norm(FloatReduction):
    """The length of vectors along `axis`: the sum of absolute values (`ord` 1), or the root of the sum of squares (2).

    The slope where all are 0 is taken as 0.
    """

    compiled = True
    analytic = False
    ord: int = attr(2, choices=(1, 2), doc="which length")
    steep: bool = attr(False, shown=False, doc="NaN as the slope where all are 0, as in MXNet")

    def forward(self, xp, x):
        wide = with_room(xp, x)
        if self.ord == 1:
            y = self.accumulate(xp, xp.sum, xp.abs(wide), None)
        else:
            y = xp.sqrt(self.accumulate(xp, xp.sum, xp.square(wide), None))
        return rounded(xp, y, x.dtype)

    def vjp(self, F, g, y, x):
        if self.ord == 1:
            return (self.spread(F, g, x) * F.sign(x),)
        length = y if self.steep else F.where(F.equal(y, 0), 1, y)  # not 0 / 0
        return (self.spread(F, g, x) * (x / self.spread(F, length, x)),)

    @classmethod
    def sample(cls, draw):
        made, inputs = super().sample(draw)
        return dataclasses.replace(made, ord=draw.choice((1, 2))), {
            "x": draw.array(inputs["x"].shape, away_from=0)
        }

    def oracle(self, x):
        axes = self.axes(x.ndim)
        parts = np.moveaxis(x, axes, range(len(axes))).reshape(
            (-1, *[n for a, n in enumerate(x.shape) if a not in axes])
        )
        return np.linalg.norm(parts, self.ord, axis=0).reshape(self.shape(x.shape))


@declares
class Normalization(Op):
    """Numbers brought to mean 0 and deviation 1 in groups, then to `gamma` and `beta`."""

    eps: float = attr(1e-5, minimum=0, doc="added to the variance")

    def dtype(self, data, gamma, beta):
        return floating(data)

    def groups(self, data):
        """The axes over which mean and variance are taken, and the shape in which gamma and beta broadcast."""
        raise NotImplementedError

    def forward(self, xp, data, gamma, beta):
        axes, along = self.groups(data.shape)
        wide = with_room(xp, data)
        centred = xp.subtract(wide, xp.mean(wide, axis=axes, keepdims=True))
        variance = xp.mean(xp.square(centred), axis=axes, keepdims=True)
        y = xp.divide(centred, xp.sqrt(xp.add(variance, self.eps)))
        y = xp.add(xp.multiply(y, xp.reshape(gamma, along)), xp.reshape(beta, along))
        return rounded(xp, y, data.dtype)

    def vjp(self, F, g, y, data, gamma, beta):
        shape = F.shape(data)
        axes, along = self.groups(shape)
        kept = {"axis": axes, "keepdims": True}
        centred = data - F.mean(data, **kept)
        inverse = F.rsqrt(F.mean(F.square(centred), **kept) + self.eps)
        normal = centred * inverse
        others = tuple(a for a, n in enumerate(along) if n == 1)

        def data_gradient():
            scaled = g * F.reshape(gamma, shape=along)
            return inverse * (scaled - F.mean(scaled, **kept) - normal * F.mean(scaled * normal, **kept))

        def summed(x):
            return F.reshape(F.sum(x, axis=others), shape=F.shape(gamma))

        return data_gradient, lambda: summed(g * normal), lambda: summed(g)

    def oracle(self, data, gamma, beta):
        axes, along = self.groups(data.shape)
        spread = np.sqrt(data.var(axis=axes, keepdims=True) + self.eps)
        return (data - data.mean(axis=axes, keepdims=True)) / spread * gamma.reshape(along) + beta.reshape(
            along
        )


@op
class LayerNorm(Normalization):
    """Each vector along `axis` brought to mean 0 and deviation 1, then to `gamma` and `beta`.

    Shapes
        data (..., n, ...), gamma, beta (n,) -> as data

    Source
        Ba, Kiros and Hinton 2016; MXNet 1.9, `LayerNorm`.
    """

    axis: int = attr(-1, doc="the axis of the vectors")

    def parameters(self, data):
        return dict.fromkeys(("gamma", "beta"), (data[normalize_axis(self.axis, len(data))],))

    def shape(self, data, gamma, beta):
        return data

    def groups(self, data):
        """One for each vector."""
        axis = normalize_axis(self.axis, len(data))
        return (axis,), tuple(n if a == axis else 1 for a, n in enumerate(data))

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1, min_size=2)
        return cls(axis=draw.axis(len(shape)), eps=0.1), {"data": draw.array(shape)}


@op
class LayerNormMoments(LayerNorm):
    """As `LayerNorm`, with the mean of each vector and its deviation as further results.

    Source
        MXNet 1.9, `LayerNorm` with output_mean_var; there the gradient leaves out what comes from the further results.
    """

    method = False
    outputs = ("output", "mean", "std")

    def shape(self, data, gamma, beta):
        axis = normalize_axis(self.axis, len(data))
        kept = (*data[:axis], 1, *data[axis + 1 :])
        return data, kept, kept

    def forward(self, xp, data, gamma, beta):
        axes, _ = self.groups(data.shape)
        wide = with_room(xp, data)
        mean = xp.mean(wide, axis=axes, keepdims=True)
        variance = xp.mean(xp.square(xp.subtract(wide, mean)), axis=axes, keepdims=True)
        std = xp.sqrt(xp.add(variance, self.eps))
        return super().forward(xp, data, gamma, beta), *[rounded(xp, m, data.dtype) for m in (mean, std)]

    def vjp(self, F, g, y, data, gamma, beta):
        axes, _ = self.groups(F.shape(data))
        size = F.shape(data)[axes[0]]
        none = (None, None, None)
        through, *of_parameters = none if g[0] is None else super().vjp(F, g[0], y[0], data, gamma, beta)

        def data_gradient():
            parts = [] if through is None else [through()]
            if g[1] is not None:
                parts.append(F.broadcast_to(g[1] / size, shape=F.shape(data)))
            if g[2] is not None:
                parts.append(g[2] * (data - y[1]) / (y[2] * size))
            return F.add_n(*parts)

        return data_gradient, *of_parameters

    def oracle(self, data, gamma, beta):
        mean = data.mean(axis=self.axis, keepdims=True)
        return (
            super().oracle(data, gamma, beta),
            mean,
            np.sqrt(data.var(axis=self.axis, keepdims=True) + self.eps),
        )


@op
class InstanceNorm(Normalization):
    """Each channel of each row brought to mean 0 and deviation 1, then to `gamma` and `beta`.

    Shapes
        data (batch, channel, ...), gamma, beta (channel,) -> as data

    Source
        Ulyanov et al. 2016; MXNet 1.9, `InstanceNorm`.
    """

    eps: float = attr(1e-3, minimum=0, doc="added to the variance")

    def parameters(self, data):
        if len(data) < 3:
            raise ShapeError(
                f"data is {show(data)}, expected (batch, channel, ...) with at least one more axis"
            )
        return dict.fromkeys(("gamma", "beta"), (data[1],))

    def shape(self, data, gamma, beta):
        return data

    def groups(self, data):
        """One for each channel of each row."""
        return tuple(range(2, len(data))), (1, data[1], *[1] * (len(data) - 2))

    @classmethod
    def sample(cls, draw):
        shape = (*draw.shape(min_rank=2, max_rank=2, min_size=2), draw.size(2, 3))
        return cls(eps=0.1), {"data": draw.array(shape)}


@op
class L2Normalization(Op):
    """`data` divided by the length of its vectors: of each row, along the channels, or over the places of each channel.

    Source
        MXNet 1.9, `L2Normalization`.
    """

    function = "l2_normalization"
    eps: float = attr(1e-10, minimum=0, doc="added to the sum of squares")
    mode: str = attr("instance", choices=("instance", "channel", "spatial"), doc="what a vector is")

    def axes(self, data):
        """The axes of a vector."""
        if self.mode != "instance" and len(data) < 3:
            raise ShapeError(
                f"data is {show(data)}, expected (batch, channel, ...) with at least one more axis"
            )
        return {
            "instance": tuple(range(1, len(data))),
            "channel": (1,),
            "spatial": tuple(range(2, len(data))),
        }[self.mode]

    def shape(self, data):
        self.axes(data)
        return data

    def dtype(self, data):
        return floating(data)

    def forward(self, xp, data):
        wide = with_room(xp, data)
        total = xp.sum(xp.square(wide), axis=self.axes(data.shape), keepdims=True)
        return rounded(xp, xp.divide(wide, xp.sqrt(xp.add(total, self.eps))), data.dtype)

    def vjp(self, F, g, y, data):
        kept = {"axis": self.axes(F.shape(data)), "keepdims": True}
        inverse = F.rsqrt(F.sum(F.square(data), **kept) + self.eps)
        return ((g - y * F.sum(g * y, **kept)) * inverse,)

    def oracle(self, data):
        return data / np.sqrt((data**2).sum(axis=self.axes(data.shape), keepdims=True) + self.eps)

    @classmethod
    def sample(cls, draw):
        shape = (*draw.shape(min_rank=2, max_rank=2, min_size=2), draw.size(2, 3))
        return cls(eps=0.1, mode=draw.choice(("instance", "channel", "spatial"))), {"data": draw.array(shape)}
