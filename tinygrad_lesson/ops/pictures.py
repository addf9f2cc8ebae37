"""Pictures on their way into a network: bytes as numbers, channels first, of mean 0."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import show


@op
class ImageNormalize(Op):
    """Channels moved and scaled: ``(data - mean) / std``, with numbers for each channel or for all.

    Shapes
        data (channel, height, width) or (batch, channel, height, width) -> as data

    Source
        MXNet 1.9, `image.normalize`.
    """

    function = "image_normalize"
    method = False
    mean: tuple[float, ...] = attr((0.0,), doc="what is taken away, for each channel or for all")
    std: tuple[float, ...] = attr((1.0,), doc="what is divided by, for each channel or for all")

    def shape(self, data):
        if len(data) not in (3, 4):
            raise ShapeError(
                f"data is {show(data)}, expected (channel, height, width), or a batch of such images"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if data[-3] is not None and len(values) not in (1, data[-3]):
                raise ShapeError(
                    f"{name} has {len(values)} numbers, expected 1 or {data[-3]}, as many as there are channels"
                )
        return data

    def dtype(self, data):
        return floating(data)

    def forward(self, xp, data):
        self.shape(data.shape)
        kind = floating(data.dtype)
        away, scale = (
            xp.concatenate([xp.full((1, 1, 1), x, dtype=kind) for x in values])
            for values in (self.mean, self.std)
        )
        return xp.divide(xp.subtract(data, away), scale)

    def vjp(self, F, g, y, data):
        return (F.image_normalize(g, mean=(0.0,), std=self.std),)

    def oracle(self, data):
        y, channels = np.array(data, float), data.shape[-3]
        for i in range(channels):
            part = y[..., i, :, :]
            part -= self.mean[i % len(self.mean)]
            part /= self.std[i % len(self.std)]
        return y

    @classmethod
    def sample(cls, draw):
        shape = (*[draw.size()] * draw.integer(0, 1), draw.size(1, 3), draw.size(), draw.size())
        count = draw.choice((1, shape[-3]))
        mean, std = tuple(0.5 * i for i in range(count)), tuple(2.0 + i for i in range(count))
        return cls(mean=mean, std=std), {"data": draw.array(shape)}


@op
class ImageToTensor(Composite):
    """A picture of numbers from 0 to 255 as one from 0 to 1, with its channels first.

    Shapes
        data (height, width, channel) -> (channel, height, width); or a batch of such pictures

    Source
        MXNet 1.9, `image.to_tensor`. Its gradient there lacks the divisor.
    """

    function = "image_to_tensor"
    method = False
    mixes_dtypes = True
    type: str = attr("float32", alias="dtype", doc="the element type of the result")

    def compose(self, F, data):
        shape = F.shape(data)
        if len(shape) not in (3, 4):
            raise ShapeError(f"data is {show(shape)}, expected (height, width, channel), or a batch of such")
        axes = (2, 0, 1) if len(shape) == 3 else (0, 3, 1, 2)
        return F.transpose(F.cast(data, dtype=self.type) / 255.0, axes=axes)

    def dtype(self, data):
        return np.dtype(self.type)

    def oracle(self, data):
        return np.moveaxis(np.asarray(data, float) / 255, -1, -3).astype(self.type)

    @classmethod
    def sample(cls, draw):
        shape = (*[draw.size()] * draw.integer(0, 1), draw.size(), draw.size(), draw.size(1, 3))
        return cls(type="float64"), {"data": draw.array(shape, low=0, high=255)}  # another would round
