"""Operations between layers that are a few others: an activation, normalizations, a loss."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import merge, show, size_of
from tinygrad_lesson.ops.composing import FloatComposite, slices


@op
class Softmin(FloatComposite):
    """Probabilities, the smaller a number the larger: the softmax of ``-x`` along `axis`."""

    axis: int = attr(-1, doc="the axis along which the numbers belong together")
    temperature: float = attr(1.0, doc="divides `x` first")

    def compose(self, F, x):
        return F.softmax(F.negative(x), axis=self.axis, temperature=self.temperature)

    def oracle(self, x):
        e = np.exp(-x / self.temperature)
        return e / e.sum(axis=self.axis, keepdims=True)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        return cls(axis=draw.axis(len(shape)), temperature=draw.choice((1.0, 2.5))), {"x": draw.array(shape)}


@op
class Prelu(FloatComposite):
    """`x` where it is positive, else ``gamma * x``, where `gamma` is learnt.

    That is one number, or one for each channel, or one for each channel of each row.

    Shapes
        x (batch, channel, ...), gamma (1,), (channel,) or (batch, channel) -> as x

    Source
        He et al. 2015; MXNet 1.9, `LeakyReLU` with act_type prelu.
    """

    def compose(self, F, x, gamma):
        shape, slopes = F.shape(x), F.shape(gamma)
        if len(shape) > 1 and slopes not in ((), (1,)):
            gamma = F.reshape(gamma, shape=(*slopes, *[1] * (len(shape) - 2)))
        return F.where(F.greater(x, 0), x, gamma * x)

    def parameters(self, x):
        return {}

    def complete(self, shapes, results):
        """The slopes from the channels."""
        x, gamma = shapes
        if gamma is None and x is not None:
            gamma = (x[1] if len(x) > 1 else x[0],) if x else (1,)
        return super().complete([merge(x, results[0]), gamma], results)

    def oracle(self, x, gamma):
        slope = gamma.reshape((*gamma.shape, *[1] * (x.ndim - 2))) if x.ndim > 1 else gamma
        return np.where(x > 0, x, slope * x)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=2)
        gamma = draw.choice(((1,), shape[1:2], shape[:2]))
        return cls(), {"x": draw.array(shape, away_from=0), "gamma": draw.array(gamma)}


@op
class Quadratic(Composite):
    """``y = a * x * x + b * x + c``."""

    a: float = attr(0.0, doc="of the square")
    b: float = attr(0.0, doc="of the number itself")
    c: float = attr(0.0, doc="the rest")

    def compose(self, F, x):
        return self.a * F.square(x) + self.b * x + self.c

    def dtype(self, x):
        return floating(x)

    def oracle(self, x):
        return self.a * x**2 + self.b * x + self.c

    @classmethod
    def sample(cls, draw):
        return cls(a=1.5, b=-2.0, c=0.5), {"x": draw.array(draw.shape())}


@op
class LRN(FloatComposite):
    """Each number divided by a power of what the `nsize` channels around it add up to.

    ``y = x / (knorm + alpha / nsize * sum(x**2)) ** beta``

    Shapes
        data (batch, channel, ...) -> as data

    Source
        Krizhevsky et al. 2012; MXNet 1.9, `LRN`.
    """

    function = "lrn"
    nsize: int = attr(minimum=1, doc="how many channels, an odd number")
    alpha: float = attr(1e-4, doc="multiplies the mean of squares")
    beta: float = attr(0.75, doc="the power")
    knorm: float = attr(2.0, doc="added to it")

    def compose(self, F, data):
        shape = F.shape(data)
        if len(shape) < 2:
            raise ShapeError(f"data is {show(shape)}, expected (batch, channel, ...)")
        half, every = self.nsize // 2, ((0, 0),) * (len(shape) - 2)
        squares = F.pad(F.square(data), ((0, 0), (half, half), *every))
        parts = [slices(F, squares, 1, i, shape[1]) for i in range(2 * half + 1)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return data / F.power(self.knorm + (self.alpha / self.nsize) * total, self.beta)

    def oracle(self, data):
        half, n = self.nsize // 2, data.shape[1]
        total = [np.square(data[:, max(0, i - half) : i + half + 1]).sum(axis=1) for i in range(n)]
        return data / (self.knorm + self.alpha / self.nsize * np.stack(total, axis=1)) ** self.beta

    @classmethod
    def sample(cls, draw):
        return cls(nsize=draw.choice((1, 3)), alpha=0.5), {"data": draw.array(draw.shape(min_rank=2))}


@op
class GroupNorm(FloatComposite):
    """The channels of each row in groups, each brought to mean 0 and deviation 1, then to `gamma` and `beta`.

    Shapes
        data (batch, channel, ...), gamma, beta (num_groups,) -> as data

    Source
        Wu and He 2018; MXNet 1.9.1, `GroupNorm`, which has one gamma for each group.
    """

    num_groups: int = attr(1, minimum=1, doc="how many groups")
    eps: float = attr(1e-5, minimum=0, doc="added to the variance")

    def parameters(self, data):
        if len(data) < 2 or (data[1] is not None and data[1] % self.num_groups):
            raise ShapeError(
                f"data is {show(data)}, expected channels in {self.num_groups} groups along axis 1"
            )
        return dict.fromkeys(("gamma", "beta"), (self.num_groups,))

    def in_groups(self, F, data):
        """The numbers of each group along one axis, also where there is no row."""
        shape = F.shape(data)
        size = size_of(shape[1:])
        return F.reshape(
            data, shape=(shape[0], self.num_groups, -1 if size is None else size // self.num_groups)
        )

    def compose(self, F, data, gamma, beta):
        shape = F.shape(data)
        if None in shape:
            return data
        x = self.in_groups(F, data)
        centred = x - F.mean(x, axis=2, keepdims=True)
        y = centred * F.rsqrt(F.mean(F.square(centred), axis=2, keepdims=True) + self.eps)
        along = (self.num_groups, 1)
        y = y * F.reshape(gamma, shape=along) + F.reshape(beta, shape=along)
        return F.reshape(y, shape=shape)

    def oracle(self, data, gamma, beta):
        x = data.reshape((len(data), self.num_groups, -1))
        y = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + self.eps)
        return (y * gamma[:, None] + beta[:, None]).reshape(data.shape)

    @classmethod
    def sample(cls, draw):
        groups = draw.size(1, 2)
        shape = (draw.size(), groups * draw.size(1, 2), draw.size(2, 3))
        return cls(num_groups=groups, eps=0.1), {"data": draw.array(shape)}


@op
class GroupNormMoments(GroupNorm):
    """As `GroupNorm`, with the mean of each group and its deviation as further results.

    Shapes
        data (batch, channel, ...), gamma, beta (num_groups,) -> as data, (batch, num_groups), (batch, num_groups)

    Source
        MXNet 1.9, `GroupNorm` with output_mean_var.
    """

    method = False
    outputs = ("output", "mean", "std")

    def shape(self, data, gamma, beta):
        groups = (data[0], self.num_groups)
        return data, groups, groups

    def dtype(self, data, gamma, beta):
        return (super().dtype(data, gamma, beta),) * 3

    def compose(self, F, data, gamma, beta):
        groups = (F.shape(data)[0], self.num_groups)
        x = self.in_groups(F, data)
        mean = F.mean(x, axis=2, keepdims=True)
        variance = F.mean(F.square(x - mean), axis=2)
        y = super().compose(F, data, gamma, beta)
        return y, F.reshape(mean, shape=groups), F.sqrt(variance + self.eps)

    def oracle(self, data, gamma, beta):
        x = data.reshape((len(data), self.num_groups, -1))
        return super().oracle(data, gamma, beta), x.mean(2), np.sqrt(x.var(2) + self.eps)


@op
class SoftmaxCrossEntropy(FloatComposite):
    """The cross-entropy of the softmax of each row with a class number, summed over the rows.

    Shapes
        data (batch, classes), label (batch,) -> (1,)

    Source
        MXNet 1.9, `softmax_cross_entropy`.
    """

    mixes_dtypes = True

    def compose(self, F, data, label):
        if len(F.shape(data)) != 2:
            raise ShapeError(f"data is {show(F.shape(data))}, expected (batch, classes)")
        chosen = F.pick(F.log_softmax(data, axis=1), label, axis=1)
        return F.reshape(F.negative(F.sum(chosen)), shape=(1,))

    def dtype(self, data, label):
        return floating(data)

    def oracle(self, data, label):
        e = np.exp(data)
        chosen = [row[int(k)] / row.sum() for row, k in zip(e, label, strict=True)]
        return np.array([-sum(map(math.log, chosen))])

    @classmethod
    def sample(cls, draw):
        rows, kinds = draw.size(), draw.size()
        label = np.floor(draw.array((rows,), low=0, high=kinds - 0.01)).astype(np.int64)
        return cls(), {"data": draw.array((rows, kinds)), "label": label}
