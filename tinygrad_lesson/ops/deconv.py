"""The way back from a convolution, as a layer."""

from __future__ import annotations

import itertools

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.movement import batch_first, batch_last
from tinygrad_lesson.ops.sliding import Dilated


@op
class Deconvolution(Dilated, Composite):
    """Each number times each filter, added where the windows of a convolution lie: what a convolution's gradient does.

    Shapes
        data (batch, channel, ...), weight (channel, num_filter / num_group, *kernel), bias (num_filter,)
        -> (batch, num_filter, ...): ``(n - 1) * stride - 2 * pad + dilate * (kernel - 1) + 1 + adj`` along each axis.

    Source
        MXNet 1.9, `Deconvolution`.
    """

    num_filter: int = attr(1, minimum=1, doc="number of channels of the result")
    no_bias: bool = attr(True, doc="leave out the bias")
    adj: tuple[int, ...] = attr((), doc="added to the size of the result; () is none")
    target_shape: tuple[int, ...] = attr((), doc="the size of the result, in the place of `pad` and `adj`")

    def __post_init__(self):
        super().__post_init__()
        if self.num_filter % self.num_group:
            told = f"num_filter is {self.num_filter}, expected a multiple of num_group {self.num_group}"
            raise AttributeValueError(f"{self.name}: {told}")
        for name in ("adj", "target_shape"):
            if len(getattr(self, name)) not in (0, len(self.kernel)):
                told = f"{name} is {getattr(self, name)}, expected {len(self.kernel)} numbers as kernel {self.kernel}"
                raise AttributeValueError(f"{self.name}: {told}")

    @property
    def input_names(self):
        """The bias may be left out."""
        return self.inputs[:2] if self.no_bias else self.inputs

    def parameters(self, data):
        self.check_rank(data, len(data) - 2)
        self.check_groups(data, data[1])
        bias = {} if self.no_bias else {"bias": (self.num_filter,)}
        return {"weight": (data[1], self.num_filter // self.num_group, *self.kernel), **bias}

    def placed(self, data):
        """The padding and the size of the result along each axis.

        Errors
            ShapeError where no padding gives `target_shape`.
        """
        rank = len(self.kernel)
        one, none = (1,) * rank, (0,) * rank
        pads, sizes = [], []
        for a, n in enumerate(data[2:]):
            stride, dilate = (self.stride or one)[a], (self.dilate or one)[a]
            whole = None if n is None else stride * (n - 1) + dilate * (self.kernel[a] - 1) + 1
            pad, size = (self.pad or none)[a], None
            if self.target_shape:
                size = self.target_shape[a]
                if whole is not None and whole < size:
                    raise ShapeError(
                        f"target_shape is {self.target_shape}, expected at most {whole} along axis {a}"
                    )
                pad = 0 if whole is None else (whole - size + 1) // 2
            elif whole is not None:
                size = whole - 2 * pad + (self.adj or none)[a]
            pads.append(pad)
            sizes.append(size)
        return tuple(pads), tuple(sizes)

    def shape(self, data, weight, bias=None):
        self.check_rank(data, len(data) - 2)
        return (data[0], self.num_filter, *self.placed(data)[1])

    def compose(self, F, data, weight, bias=None):
        shape, rank = F.shape(data), len(self.kernel) + 2
        pad, space = self.placed(shape)
        if min(space) < 1:
            raise ShapeError(f"data is {show(shape)}, which leaves nothing of size {space}")
        window = {**self.window, "pad": pad}
        x, to = F.transpose(data, axes=batch_last(rank)), (self.num_filter, *space, shape[0])
        y = F.sliding_product_data(x, weight, shape=to, **window)
        y = F.transpose(y, axes=batch_first(rank))
        return y if bias is None else F.add(y, F.reshape(bias, shape=(-1, *[1] * (rank - 2))))

    def oracle(self, data, weight, bias=None):
        pad, space = self.placed(data.shape)
        rank, groups = len(self.kernel), self.num_group
        stride, dilate = self.stride or (1,) * rank, self.dilate or (1,) * rank
        y = np.zeros((len(data), self.num_filter, *space))
        each_in, each_out = data.shape[1] // groups, self.num_filter // groups
        for at in itertools.product(*map(range, data.shape[2:])):
            for k in itertools.product(*map(range, self.kernel)):
                to = [i * s + j * d - p for i, s, j, d, p in zip(at, stride, k, dilate, pad, strict=True)]
                if all(0 <= t < n for t, n in zip(to, space, strict=True)):
                    for g in range(groups):
                        x = data[(slice(None), slice(g * each_in, (g + 1) * each_in), *at)]
                        w = weight[(slice(g * each_in, (g + 1) * each_in), slice(None), *k)]
                        y[(slice(None), slice(g * each_out, (g + 1) * each_out), *to)] += x @ w
        return y if bias is None else y + bias.reshape((-1, *[1] * rank))

    @classmethod
    def sample(cls, draw):
        rank, groups = draw.choice((1, 2, 2)), draw.choice((1, 2))
        kernel, stride, dilate = (tuple(draw.size(1, 2) for _ in range(rank)) for _ in range(3))
        adj = tuple(draw.integer(0, s - 1) for s in stride)
        made = cls(
            kernel=kernel, stride=stride, dilate=dilate, num_group=groups, adj=adj,
            num_filter=groups * draw.size(1, 2), no_bias=draw.boolean(),
        )  # fmt: skip
        shape = (draw.size(), groups * draw.size(1, 2), *[draw.size(1, 2) for _ in range(rank)])
        return made, {"data": draw.array(shape)}
