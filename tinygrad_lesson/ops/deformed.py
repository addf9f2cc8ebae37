"""Convolutions whose windows reach for pixels that lie where the network says: `DeformableConvolution`."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.ops.composing import slices
from tinygrad_lesson.ops.sliding import Dilated


@declares
class Deformed(Dilated, Composite):
    """A convolution of images whose windows are bent."""

    fades = False  # whether pixels outside are 0, and those at the border fade into them
    method = False
    kernel: tuple[int, ...] = attr(doc="height and width of the window")
    num_filter: int = attr(1, minimum=1, doc="number of channels of the result")
    num_deformable_group: int = attr(1, minimum=1, doc="parts of the channels, each with offsets of its own")
    no_bias: bool = attr(False, doc="leave out the bias")

    def __post_init__(self):
        super().__post_init__()
        if len(self.kernel) != 2 or self.num_filter % self.num_group:
            told = f"kernel is {self.kernel}, num_filter {self.num_filter}, num_group {self.num_group}"
            raise AttributeValueError(f"{self.name}: {told}; expected two sizes, and a multiple")

    @property
    def input_names(self):
        """The bias may be left out."""
        return self.inputs[:-1] if self.no_bias else self.inputs

    @property
    def taps(self):
        """How many pixels a window has."""
        return math.prod(self.kernel)

    def space(self, shape):
        """Where the axes of the image begin and end in `shape`: behind batch and channel."""
        return 2, len(shape)

    def parameters(self, data):
        self.check_groups(data, data[1])
        if data[1] is not None and data[1] % self.num_deformable_group:
            told = f"data has {data[1]} channels, expected a multiple of num_deformable_group"
            raise ShapeError(f"{told} {self.num_deformable_group}")
        each = None if data[1] is None else data[1] // self.num_group
        count, (batch, _, *sizes) = self.num_deformable_group * self.taps, self.slid(data)
        found = {"offset": (batch, 2 * count, *sizes), "weight": (self.num_filter, each, *self.kernel)}
        more = {"mask": (batch, count, *sizes), "bias": (self.num_filter,)}
        return found | {name: shape for name, shape in more.items() if name in self.input_names}

    def shape(self, data, *others):
        batch, _, *sizes = self.slid(data)
        return (batch, self.num_filter, *sizes)

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    def regular(self, F, sizes, kind):
        """Where the pixels of a window lie before they are moved, in rows and in columns.

        Shapes
            (1, 1, window, h, 1), (1, 1, window, 1, w)
        """
        found = []
        for a, (count, taps) in enumerate(zip(sizes, self.kernel, strict=True)):
            stride, pad, dilate = (
                (given or (default,) * 2)[a]
                for given, default in ((self.stride, 1), (self.pad, 0), (self.dilate, 1))
            )
            window = F.reshape(F.arange(taps, dtype=kind) * dilate, shape=(taps, 1) if a == 0 else (1, taps))
            window = F.broadcast_to(window, shape=self.kernel)
            first = F.arange(count, dtype=kind) * stride - pad
            along = F.reshape(first, shape=(1, 1, 1, count, 1) if a == 0 else (1, 1, 1, 1, count))
            found.append(along + F.reshape(window, shape=(1, 1, self.taps, 1, 1)))
        return found

    def convolved(self, F, data, offset, mask, weight, bias):
        """The product of the filters and what the windows see, the bias added."""
        (batch, channels, h, w), parts, groups = F.shape(data), self.num_deformable_group, self.num_group
        sizes, taps = F.shape(offset)[2:], self.taps
        moves = F.reshape(offset, shape=(batch, parts, taps, 2, *sizes))
        kind = str(F.dtype(offset) or np.dtype(float))
        row, column = (
            F.reshape(slices(F, moves, 3, k, 1), shape=(batch, parts, taps, *sizes)) + place
            for k, place in enumerate(self.regular(F, sizes, kind))
        )
        count = taps * math.prod(sizes)
        pixels = F.reshape(data, shape=(batch, parts, channels // parts, h * w))
        seen = 0.0
        for near_row, near_column in itertools.product(
            *(self.neighbours(F, x, n) for x, n in ((row, h), (column, w)))
        ):
            (i, a), (j, b) = near_row, near_column
            place = F.reshape(F.cast(i * w + j, dtype="int64"), shape=(batch, parts, 1, count))
            place = F.broadcast_to(place, shape=(batch, parts, channels // parts, count))
            share = F.reshape(a * b, shape=(batch, parts, 1, count))
            seen = F.take_along_axis(pixels, place, axis=3) * share + seen
        inside = F.logical_and(self.within(F, row, h), self.within(F, column, w))
        if mask is not None:
            seen = seen * F.reshape(mask, shape=(batch, parts, 1, count))
        seen = F.where(F.reshape(inside, shape=(batch, parts, 1, count)), seen, 0)
        seen = F.reshape(seen, shape=(batch, groups, channels // groups * taps, math.prod(sizes)))
        filters = F.reshape(weight, shape=(1, groups, self.num_filter // groups, -1))
        y = F.reshape(F.matmul(filters, seen), shape=(batch, self.num_filter, *sizes))
        return y if bias is None else y + F.reshape(bias, shape=(-1, 1, 1))

    def within(self, F, x, size):
        """Where a place counts."""
        low = F.greater(x, -1) if self.fades else F.greater_equal(x, 0)
        return F.logical_and(low, F.less(x, size))

    def neighbours(self, F, x, size):
        """The pixels on both sides of a place along an axis, each with its weight."""
        low = F.floor(F.stop_gradient(x))
        if self.fades:
            pairs = ((low, low + 1 - x), (low + 1, x - low))
            return [
                (F.clip(i, 0, size - 1), F.where(F.logical_and(F.greater_equal(i, 0), F.less(i, size)), a, 0))
                for i, a in pairs
            ]
        low = F.clip(low, 0, size - 1)
        part = F.where(F.less(low, size - 1), x - low, 0)
        return [(low, 1 - part), (F.minimum(low + 1, size - 1), part)]

    def looked_up(self, image, row, column):
        """The value of an image between its pixels, for the oracle."""
        h, w = image.shape
        least = -1 if self.fades else 0
        inside = (least < row or row == least == 0) and (least < column or column == least == 0)
        if not (inside and row < h and column < w):
            return 0.0
        if self.fades:
            image, row, column = np.pad(image, 1), row + 1, column + 1
        else:
            row, column = min(row, h - 1), min(column, w - 1)
        h, w = image.shape
        along = [np.maximum(1 - abs(np.arange(n) - p), 0) for n, p in ((h, row), (w, column))]
        return along[0] @ image @ along[1]

    def by_hand(self, data, offset, mask, weight, bias):
        """The oracle of both."""
        y = np.zeros(self.shape(data.shape))
        stride, pad, dilate = self.stride or (1, 1), self.pad or (0, 0), self.dilate or (1, 1)
        each, parts = data.shape[1] // self.num_group, data.shape[1] // self.num_deformable_group
        for b, f, i, j in np.ndindex(y.shape):
            group = f // (self.num_filter // self.num_group)
            for c, k in np.ndindex(each, self.taps):
                channel = group * each + c
                n = channel // parts * self.taps + k
                row, column = (
                    at * stride[a] - pad[a] + tap * dilate[a] + offset[b, 2 * n + a, i, j]
                    for a, (at, tap) in enumerate(((i, k // self.kernel[1]), (j, k % self.kernel[1])))
                )
                value = self.looked_up(data[b, channel], row, column) * (
                    1 if mask is None else mask[b, n, i, j]
                )
                y[b, f, i, j] += value * weight[f, c].ravel()[k]
        return y if bias is None else y + bias[:, None, None]

    @classmethod
    def sample(cls, draw):
        groups, parts = draw.choice(((1, 1), (2, 1), (1, 2), (2, 2)))
        kernel = (draw.size(1, 2), draw.size(1, 2))
        made = cls(
            kernel=kernel, stride=(1, draw.size(1, 2)), pad=(draw.integer(0, 1), 0), dilate=(draw.size(1, 2), 1),
            num_filter=groups, num_group=groups, num_deformable_group=parts, no_bias=draw.boolean(),
        )  # fmt: skip
        data = (1, 2, draw.size(3, 4), draw.size(2, 3))
        shapes = made.parameters(data)
        arrays = {"data": draw.array(data)} | {
            name: draw.array(shapes[name]) for name in made.input_names if name in shapes
        }
        arrays["offset"] = draw.array(shapes["offset"], -1.9, 1.9, away_from=(-1.0, 0.0, 1.0))
        return made, arrays


@op
class DeformableConvolution(Deformed):
    """A convolution whose windows reach for pixels that `offset` moves, between pixels by bilinear interpolation.

    Where a place lies outside of the image its pixel is 0.

    Shapes
        data (batch, channel, h, w), offset (batch, 2 * groups * window, h', w'): row and column of each pixel in turn,
        weight (num_filter, channel / num_group, *kernel), bias (num_filter,) -> (batch, num_filter, h', w')

    Source
        Dai et al. 2017; MXNet 1.9, `contrib.DeformableConvolution`.
    """

    def compose(self, F, data, offset, weight, bias=None):
        return self.convolved(F, data, offset, None, weight, bias)

    def oracle(self, data, offset, weight, bias=None):
        return self.by_hand(data, offset, None, weight, bias)


@op
class ModulatedDeformableConvolution(Deformed):
    """A convolution whose windows reach for pixels that `offset` moves, each times its number in `mask`.

    Outside of the image pixels are 0, and those at its border fade into them.

    Shapes
        data (batch, channel, h, w), offset (batch, 2 * groups * window, h', w'): row and column of each pixel in turn,
        mask (batch, groups * window, h', w'), weight (num_filter, channel / num_group, *kernel), bias (num_filter,)
        -> (batch, num_filter, h', w')

    Source
        Zhu et al. 2019; MXNet 1.9, `contrib.ModulatedDeformableConvolution`.
    """

    fades = True

    def compose(self, F, data, offset, mask, weight, bias=None):
        return self.convolved(F, data, offset, mask, weight, bias)

    def oracle(self, data, offset, mask, weight, bias=None):
        return self.by_hand(data, offset, mask, weight, bias)
