"""Layers: softmax and its kin, normalization."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np

from tinygrad_lesson.engine.blocks import in_machine_code
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import HALF, dtype_of, floating, roomy, rounded, with_room
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis, reduced_axes, show, size_of
from tinygrad_lesson.ops.fills import filled
from tinygrad_lesson.ops.reduce import largest


@declares
class AlongAxis(Op):
    """A map of each vector along `axis` to a vector of the same length."""

    axis: int = attr(-1, doc="the axis along which the numbers belong together")
    temperature: float = attr(1.0, doc="divides `x` first; must not be 0")

    def __post_init__(self):
        super().__post_init__()
        if self.temperature == 0:
            raise AttributeValueError(
                f"{self.name}: temperature is 0, which divides; expected another number"
            )

    def shape(self, x):
        normalize_axis(self.axis, len(x) or 1)
        return x

    def dtype(self, x):
        return floating(x)

    def apart(self, rank):
        return normalize_axis(self.axis, rank) != 0

    def shifted(self, xp, x):
        """`x / temperature` less its largest element along `axis`, so that no exponential overflows."""
        x = x if self.temperature == 1 else xp.divide(x, self.temperature)
        return xp.subtract(x, self.top(xp, x))

    def top(self, xp, x):
        """The largest element along `axis`."""
        return xp.max(x, axis=self.axis, keepdims=True)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        op = cls(axis=draw.axis(len(shape)), temperature=draw.choice((1.0, 2.5)))
        return op, {"x": draw.array(shape)}


@op
class Softmax(AlongAxis):
    """Probabilities: ``y = exp(x / temperature) / sum(exp(x / temperature))`` along `axis`."""

    compiled = True

    def forward(self, xp, x, out=None):
        wide = with_room(xp, x)
        e = xp.exp(self.shifted(xp, wide))
        y = xp.divide(e, xp.sum(e, axis=self.axis, keepdims=True), out=out)
        return y if wide is x else rounded(xp, y, x.dtype)

    @in_machine_code
    def vjp(self, F, g, y, x):
        gradient = (g - F.sum(g * y, axis=self.axis, keepdims=True)) * y
        return (gradient if self.temperature == 1 else gradient / self.temperature,)


@op
class LogSoftmax(AlongAxis):
    """Logarithms of softmax probabilities, exact where these are tiny."""

    compiled = True

    def top(self, xp, x):
        """The largest element along `axis`, but no infinity, so that smaller ones come out as minus infinity."""
        return xp.minimum(super().top(xp, x), largest(dtype_of(x)))

    def forward(self, xp, x, out=None):
        wide = with_room(xp, x)
        z = self.shifted(xp, wide)
        total = xp.sum(xp.exp(z), axis=self.axis, keepdims=True)
        y = xp.subtract(z, xp.log(total), out=out)
        return y if wide is x else rounded(xp, y, x.dtype)

    @in_machine_code
    def vjp(self, F, g, y, x):
        gradient = g - F.exp(y) * F.sum(g, axis=self.axis, keepdims=True)
        return (gradient if self.temperature == 1 else gradient / self.temperature,)


def single(dtype):
    """The element type `dtype`, single precision in place of half."""
    return roomy(dtype) if dtype == HALF else dtype


@op
class BatchNorm(Op):
    """Each channel brought to mean `beta` and standard deviation `gamma`.

    ``y = (data - mean) / sqrt(var + eps) * gamma + beta``, with the mean and variance of the batch in
    training and with the moving ones in prediction. Training moves these towards the batch's:
    ``moving = moving * momentum + batch * (1 - momentum)``, with the biased variance.

    Shapes
        data (batch, channel, ...), gamma, beta, moving_mean, moving_var (channel,) -> as data; the
        channels lie along `axis`. Further results (channel,): mean, and as `var` what MXNet gives
        under that name, ``1 / sqrt(var + eps)``.

    Source
        Ioffe and Szegedy 2015, algorithm 1; as in MXNet 1.9: epsilon inside the root.
    """

    mixes_dtypes = True
    states = ("moving_mean", "moving_var")
    eps: float = attr(1e-3, minimum=0, doc="added to the variance")
    momentum: float = attr(0.9, doc="what the moving statistics keep of themselves per step")
    fix_gamma: bool = attr(True, doc="take gamma as 1 and give it no gradient")
    use_global_stats: bool = attr(False, doc="use the moving statistics in training too")
    output_mean_var: bool = attr(False, doc="show mean and variance as results")
    axis: int = attr(1, doc="the axis of the channels")
    is_train: bool = attr(False, doc="use the statistics of the batch; set when bound")
    batch_gradient: bool = attr(
        False, shown=False, doc="as if the moving statistics were the batch's, backward"
    )

    outputs = ("output", "mean", "var")

    @property
    def visible(self):
        """Mean and variance are shown on request only."""
        return 3 if self.output_mean_var else 1

    @property
    def uses_batch(self):
        """Whether the statistics are the batch's own."""
        return self.is_train and not self.use_global_stats

    def at_mode(self, is_train):
        """Statistics of the batch in training, the moving ones in prediction."""
        return dataclasses.replace(self, is_train=is_train)

    def pinned(self):
        """Gamma is 1 while it is fixed."""
        return {"gamma": 1.0} if self.fix_gamma else {}

    def parameters(self, data):
        if len(data) < 2:
            raise ShapeError(f"data is {show(data)}, expected at least (batch, channel)")
        channels = (data[normalize_axis(self.axis, len(data))],)
        return dict.fromkeys(self.inputs[1:], channels)

    def shape(self, data, gamma, beta, moving_mean, moving_var):
        return data, gamma, gamma, moving_mean, moving_var

    def input_dtype(self, i, first):
        """Statistics of half precision are kept in single, as in MXNet 1.9."""
        return np.dtype(np.float32) if first == np.float16 else first

    def dtype(self, data, gamma, beta, moving_mean, moving_var):
        states = moving_mean, moving_var
        if self.uses_batch:
            states = floating(moving_mean), floating(moving_var)
        return floating(data), single(states[0]), roomy(moving_var), *states

    def aligned(self, rank):
        """Shape that lets a vector of channels broadcast with `rank` dimensions."""
        axis = normalize_axis(self.axis, rank)
        return tuple(-1 if a == axis else 1 for a in range(rank))

    def forward(self, xp, data, gamma, beta, moving_mean, moving_var):
        axes, shape = reduced_axes(data.ndim, self.axis, exclude=True), self.aligned(data.ndim)
        given, data = data, with_room(xp, data)
        if self.uses_batch:
            mean = self.pooled(xp, xp.mean(data, axis=axes))
        else:  # a copy, since training changes the state
            half = moving_mean.dtype == HALF
            mean = with_room(xp, moving_mean) if half else xp.positive(moving_mean)
            var = with_room(xp, moving_var)
        centred = xp.subtract(data, xp.reshape(mean, shape))
        if self.uses_batch:
            var = self.pooled(xp, xp.mean(xp.square(centred), axis=axes))
            moving_mean = self.moved(xp, moving_mean, mean)
            moving_var = self.moved(xp, moving_var, var)
        deviation = xp.sqrt(xp.add(var, self.eps))
        scale = xp.divide(1 if self.fix_gamma else gamma, deviation)
        y = xp.multiply(centred, xp.reshape(scale, shape))
        y = xp.add(y, xp.reshape(beta, shape))
        y = y if data is given else rounded(xp, y, given.dtype)
        return y, mean, xp.divide(1, deviation), moving_mean, moving_var

    def pooled(self, F, mean):
        """The mean over the whole batch, of which these rows are a part: they are all of it."""
        return mean

    def shared(self, F, g):
        """The gradient that these rows have from a statistic of the whole batch."""
        return g

    def moved(self, xp, state, batch):
        """A moving statistic after a batch."""
        new = xp.add(state * self.momentum, batch * (1 - self.momentum))
        return rounded(xp, new, state.dtype)

    def vjp(self, F, g, y, data, gamma, beta, moving_mean, moving_var):
        g, g_mean, g_inverse, *_ = g
        g = filled(F, data) if g is None else g
        shape, others = F.shape(data), {"axis": self.axis, "exclude": True}
        count = float(size_of(tuple([shape[a] for a in reduced_axes(len(shape), self.axis, exclude=True)])))

        def align(vector):
            return F.reshape(vector, shape=self.aligned(len(shape)))

        inverse = y[2]
        centred = data - align(y[1])
        normal = centred * align(inverse)
        scale = inverse if self.fix_gamma else gamma * inverse

        def data_gradient():
            if not (self.uses_batch or self.batch_gradient):
                return g * align(scale)
            mean_g, mean_gn = (self.pooled(F, F.mean(x, **others)) for x in (g, g * normal))
            dx = align(scale) * (g - align(mean_g) - normal * align(mean_gn))
            if g_mean is not None:
                dx = dx + align(F.widen(self.shared(F, g_mean)) / count)
            if g_inverse is not None:
                dx = dx - align(F.widen(self.shared(F, g_inverse) * inverse * inverse) / count) * normal
            return dx

        def gamma_gradient():
            return filled(F, gamma) if self.fix_gamma else F.sum(g * normal, **others)

        return data_gradient, gamma_gradient, lambda: F.sum(g, **others), None, None

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=2, min_size=2)
        axis = draw.axis(len(shape))
        switches = ("fix_gamma", "is_train", "use_global_stats", "output_mean_var")
        op = cls(eps=0.1, axis=axis, **{name: draw.boolean() for name in switches})
        return op, {"data": draw.distinct(shape), "moving_var": draw.array((shape[axis],), low=0.5, high=2)}


@op
class SumOverRanks(Op):
    """The sum of `x` over all ranks, on each of them: see `parallel.world`. Where there are none, `x`.

    What the ranks bring down is the sum of their losses, so the gradient is summed over them too.
    """

    host_only = "ranks tell each other what lies in the processor's memory"
    traceable = False

    def shape(self, x):
        return x

    def forward(self, xp, x):
        y = xp.array(x, order="C")
        importlib.import_module("tinygrad_lesson.parallel").over_ranks([y])
        return y

    def vjp(self, F, g, y, x):
        return (F.sum_over_ranks(g),)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}

    def oracle(self, x):
        return x


@op
class SyncBatchNorm(BatchNorm):
    """`BatchNorm` with the mean and variance of the rows of all ranks: see `parallel.world`.

    `share` is the part of all rows that this rank has.

    Shapes
        data (batch, channel, ...), gamma, beta, moving_mean, moving_var (channel,) -> as data
    """

    host_only = SumOverRanks.host_only
    traceable = False
    share: float = attr(1.0, minimum=0, maximum=1, doc="how many of all rows this rank has, as a fraction")

    def pooled(self, F, mean):
        """The mean over the rows of all ranks."""
        if hasattr(F, "sum_over_ranks"):
            return F.sum_over_ranks(mean * self.share)
        return SumOverRanks().forward(F, mean * self.share)

    def shared(self, F, g):
        """The gradient that this rank's rows have from a statistic of all rows."""
        return F.sum_over_ranks(g) * self.share
