"""Windows that slide over images, and convolution.

The work is done with the batch as the last axis: then what lies side by side in memory is treated alike,
and a copy or a sum runs over long rows. In a plan convolution and pooling become `Transpose`, the work,
`Transpose`, and where one follows another the two transpositions between them are left out.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.namespace import array_namespace
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import merge, size_of
from tinygrad_lesson.ops.movement import batch_first, batch_last
from tinygrad_lesson.ops.sliding import Dilated


@op
class Im2Col(Dilated):
    """What each window sees, as a column.

    Shapes
        x (channel, ..., batch) -> (num_group, channel / num_group * window, windows * batch)
    """

    function = "im2col"

    def shape(self, x):
        self.check_groups(x, x[0])
        return self.num_group, self.rows(x), size_of(self.slid(x)[1:])

    def rows(self, x):
        """Elements that a window sees in one group of channels."""
        return None if x[0] is None else x[0] // self.num_group * math.prod(self.kernel)

    def split(self, x):
        """The shape of the result before axes are joined."""
        channel, *others = self.slid(x)
        return (channel, math.prod(self.kernel), *others)

    def forward(self, xp, x, out=None):
        fits = out is not None and out.flags.c_contiguous
        y = out if fits else xp.empty_like(x, shape=self.shape(x.shape), order="C")
        parts = xp.reshape(y, self.split(x.shape))
        for i, part in enumerate(self.seen(xp, x, 0, order="C")):
            parts[:, i] = part
        return y

    def vjp(self, F, g, y, x):
        return (F.col2im(g, shape=F.shape(x), **self.window),)

    @classmethod
    def sample(cls, draw):
        window, data = sample_image(draw)
        return cls(**window), {"x": draw.array((*data[1:], data[0]))}


@op
class Col2Im(Dilated):
    """Each column added to what its window sees: the way back from `Im2Col`.

    Shapes
        x (num_group, channel / num_group * window, windows * batch) -> (channel, ..., batch)
    """

    function = "col2im"
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")

    def shape(self, x):
        return self.to

    def forward(self, xp, x, out=None):
        split = Im2Col(**self.window).split(self.to)
        columns = xp.reshape(x, split)
        return self.scattered(xp, self.to, x, (columns[:, i] for i in range(split[1])), out)

    def vjp(self, F, g, y, x):
        return (F.im2col(g, **self.window),)

    @classmethod
    def sample(cls, draw):
        op, inputs = Im2Col.sample(draw)
        to = inputs["x"].shape
        return cls(**op.window, to=to), {"x": draw.array(op.shape(to))}


def sample_image(draw):
    """Attributes of a window with gaps, and the shape of a batch of images that it fits."""
    rank, groups = draw.choice((1, 2, 2, 3)), draw.choice((1, 2))
    kernel, stride, dilate = (tuple(draw.size(1, 2) for _ in range(rank)) for _ in range(3))
    pad = tuple(draw.size(0, 1) for _ in range(rank))
    space = [d * (k - 1) + draw.size() for k, d in zip(kernel, dilate, strict=True)]
    window = {"kernel": kernel, "stride": stride, "dilate": dilate, "pad": pad, "num_group": groups}
    return window, (draw.size(), groups * draw.size(1, 2), *space)


@declares
class Products(Dilated):
    """Products of windows and filters, of images whose batch is last."""

    def filters(self, F, weight):
        """The weight, or whatever has its first axis, as one matrix per group."""
        first = F.shape(weight)[0]
        return F.reshape(weight, shape=(self.num_group, first // self.num_group, -1))

    @classmethod
    def drawn(cls, draw):
        """A window, and the shapes of an image, of filters and of their products."""
        window, (batch, channels, *space) = sample_image(draw)
        image, groups = (channels, *space, batch), window["num_group"]
        filters = (groups * draw.size(1, 2), channels // groups, *window["kernel"])
        return window, image, filters, SlidingProduct(**window, no_bias=True).shape(image, filters)


@op
class SlidingProduct(Products):
    """Each window's products with each filter, summed, of images whose batch is last.

    Shapes
        x (channel, ..., batch), weight (num_filter, channel / num_group, *kernel), bias (num_filter,)
        -> (num_filter, ..., batch)

    Source
        Chellapilla et al. 2006, section 3: one product of matrices per group.
    """

    function = "sliding_product"
    no_bias: bool = attr(False, doc="leave out the bias")

    @property
    def input_names(self):
        """The bias may be left out."""
        return self.inputs[:2] if self.no_bias else self.inputs

    def shape(self, x, weight, bias=None):
        self.check_groups(x, x[0])
        return (weight[0], *self.slid(x)[1:])

    def forward(self, xp, x, weight, bias=None):
        F = array_namespace(xp)
        y = F.matmul(self.filters(F, weight), F.im2col(x, **self.window))
        y = F.reshape(y, shape=self.shape(x.shape, weight.shape))
        if bias is None:
            return y
        bias = F.reshape(bias, shape=(-1, *[1] * (x.ndim - 1)))
        return xp.add(y, bias, out=y if np.result_type(y, bias) == y.dtype else None)

    def vjp(self, F, g, y, x, weight, bias=None):
        rules = (
            lambda: F.sliding_product_data(g, weight, shape=F.shape(x), **self.window),
            lambda: F.sliding_product_weight(x, g, **self.window),
            lambda: F.sum(g, axis=0, exclude=True),
        )
        return rules[: len(self.input_names)]

    @classmethod
    def sample(cls, draw):
        window, image, filters, _ = cls.drawn(draw)
        bias = {} if draw.boolean() else {"bias": draw.array(filters[:1])}
        return cls(**window, no_bias=not bias), {
            "x": draw.array(image),
            "weight": draw.array(filters),
            **bias,
        }


@op
class SlidingProductData(Products):
    """The way back from `SlidingProduct` to what windows slide over: each number times each filter, added up there.

    Shapes
        x (num_filter, ..., batch), weight (num_filter, channel / num_group, *kernel) -> (channel, ..., batch)
    """

    multilinear = 2
    function = "sliding_product_data"
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")

    def shape(self, x, weight):
        return self.to

    def forward(self, xp, x, weight):
        F = array_namespace(xp)
        columns = F.matmul(F.swapaxes(self.filters(F, weight), -1, -2), self.filters(F, x))
        return F.col2im(columns, shape=self.to, **self.window)

    def vjp(self, F, g, y, x, weight):
        return (
            lambda: F.sliding_product(g, weight, **self.window, no_bias=True),
            lambda: F.sliding_product_weight(g, x, **self.window),
        )

    @classmethod
    def sample(cls, draw):
        window, image, filters, products = cls.drawn(draw)
        return cls(**window, to=image), {"x": draw.array(products), "weight": draw.array(filters)}


@op
class SlidingProductWeight(Products):
    """The gradient of `SlidingProduct` by its weight: what windows see times `g`, summed over all windows.

    Shapes
        x (channel, ..., batch), g (num_filter, ..., batch) -> (num_filter, channel / num_group, *kernel)
    """

    multilinear = 2
    function = "sliding_product_weight"

    def shape(self, x, g):
        return (g[0], None if x[0] is None else x[0] // self.num_group, *self.kernel)

    def forward(self, xp, x, g):
        F = array_namespace(xp)
        product = F.matmul(self.filters(F, g), F.swapaxes(F.im2col(x, **self.window), -1, -2))
        return F.reshape(product, shape=self.shape(x.shape, g.shape))

    def vjp(self, F, g_weight, y, x, g):
        return (
            lambda: F.sliding_product_data(g, g_weight, shape=F.shape(x), **self.window),
            lambda: F.sliding_product(x, g_weight, **self.window, no_bias=True),
        )

    @classmethod
    def sample(cls, draw):
        window, image, _, products = cls.drawn(draw)
        return cls(**window), {"x": draw.array(image), "g": draw.array(products)}


@op
class Convolution(Dilated):
    """Each window's products with each filter, summed: cross-correlation, with a bias per filter.

    Shapes
        data (batch, channel, ...), weight (num_filter, channel / num_group, *kernel), bias (num_filter,)
        -> (batch, num_filter, ...); one, two or three axes in the place of the dots.

    Source
        MXNet 1.9, `Convolution`; by one matrix product per group, as in Chellapilla et al. 2006, section 3.
    """

    num_filter: int = attr(1, minimum=1, doc="number of channels of the result")
    no_bias: bool = attr(False, doc="leave out the bias")

    def __post_init__(self):
        super().__post_init__()
        if self.num_filter % self.num_group:
            raise AttributeValueError(
                f"{self.name}: num_filter is {self.num_filter}, "
                f"expected a multiple of num_group {self.num_group}"
            )

    @property
    def input_names(self):
        """The bias may be left out."""
        return self.inputs[:2] if self.no_bias else self.inputs

    def space(self, shape):
        """Where the axes of the image begin and end in `shape`: behind batch and channel."""
        return 2, len(shape)

    def parameters(self, data):
        self.check_rank(data, len(data) - 2)
        channels = data[1]
        self.check_groups(data, channels)
        each = None if channels is None else channels // self.num_group
        bias = {} if self.no_bias else {"bias": (self.num_filter,)}
        return {"weight": (self.num_filter, each, *self.kernel), **bias}

    def shape(self, data, weight, bias=None):
        batch, _, *space = self.slid(data)
        return (batch, self.num_filter, *space)

    def complete(self, shapes, results):
        """The batch follows from the result, and the image along each axis where windows lie side by side."""
        data, y = shapes[0], results[0]
        if data is not None and y is not None and len(data) == len(y) and None in data:
            space = [
                n + w.extent - 1 - 2 * w.pad if n is not None and w.stride == 1 else None
                for n, w in zip(y[2:], self.windows(data), strict=True)
            ]
            shapes = [merge(data, (y[0], None, *space)), *shapes[1:]]
        return super().complete(shapes, results)

    def forward(self, xp, data, weight, bias=None):
        F, rank = array_namespace(xp), data.ndim
        y = self.product(F, xp.transpose(data, batch_last(rank)), weight, bias)
        return xp.transpose(y, batch_first(rank))

    def product(self, F, x, weight, bias=None):
        """The result, from data whose batch is last and with the batch last."""
        inputs = (x, weight) if bias is None else (x, weight, bias)
        return F.sliding_product(*inputs, **self.window, no_bias=bias is None)

    def rewrite(self, F, shapes, data, *parameters):
        rank = len(shapes[0])
        y = self.product(F, F.transpose(data, axes=batch_last(rank)), *parameters)
        return F.transpose(y, axes=batch_first(rank))

    def vjp(self, F, g, y, data, weight, bias=None):
        rank = len(self.kernel) + 2
        x = F.transpose(data, axes=batch_last(rank))
        rows = F.transpose(g, axes=batch_last(rank))

        def data_gradient():
            images = F.sliding_product_data(rows, weight, shape=F.shape(x), **self.window)
            return F.transpose(images, axes=batch_first(rank))

        def weight_gradient():
            return F.sliding_product_weight(x, rows, **self.window)

        rules = data_gradient, weight_gradient, lambda: F.sum(g, axis=1, exclude=True)
        return rules[: len(self.input_names)]

    @classmethod
    def sample(cls, draw):
        window, data = sample_image(draw)
        op = cls(**window, num_filter=window["num_group"] * draw.size(1, 2), no_bias=draw.boolean())
        return op, {"data": draw.array(data)}
