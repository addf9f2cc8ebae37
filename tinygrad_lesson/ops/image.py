"""Images whose places are moved."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import show


@op
class UpSampling(Composite):
    """Each place of an image as a square of `scale` by `scale` places.

    Shapes
        data (batch, channel, height, width) -> (batch, channel, height * scale, width * scale)
    """

    function = "upsampling"
    scale: int = attr(minimum=1, doc="how many places one becomes, along each axis")

    def compose(self, F, data):
        if len(F.shape(data)) != 4:
            raise ShapeError(f"data is {show(F.shape(data))}, expected (batch, channel, height, width)")
        return F.repeat(F.repeat(data, repeats=self.scale, axis=2), repeats=self.scale, axis=3)

    def oracle(self, data):
        return np.kron(data, np.ones((1, 1, self.scale, self.scale)))

    @classmethod
    def sample(cls, draw):
        return cls(scale=draw.integer(1, 2)), {"data": draw.array(tuple(draw.size() for _ in range(4)))}


@op
class SpaceToDepth(Composite):
    """Squares of `block_size` by `block_size` places of an image as channels of one place.

    Shapes
        data (batch, channel, height, width) -> (batch, channel * k * k, height / k, width / k), where k is `block_size`
    """

    block_size: int = attr(minimum=1, doc="how many places, along each axis, become one")

    def compose(self, F, data):
        shape, k = F.shape(data), self.block_size
        if len(shape) != 4 or any(n is not None and n % k for n in shape[2:]):
            raise ShapeError(
                f"data is {show(shape)}, expected (batch, channel, height, width), the last two multiples of {k}"
            )
        n, c, h, w = shape
        if None in shape:
            return F.slice(data, key=())
        x = F.transpose(F.reshape(data, shape=(n, c, h // k, k, w // k, k)), axes=(0, 3, 5, 1, 2, 4))
        return F.reshape(x, shape=(n, k * k * c, h // k, w // k))

    def shape(self, data):
        if None not in data:
            return super().shape(data)
        k = self.block_size
        return (
            data[0],
            *[
                None if m is None else m * f // d
                for m, f, d in zip(data[1:], (k * k, 1, 1), (1, k, k), strict=True)
            ],
        )

    def oracle(self, data):
        k = self.block_size
        return np.concatenate([data[:, :, i::k, j::k] for i in range(k) for j in range(k)], axis=1)

    @classmethod
    def sample(cls, draw):
        k = draw.integer(1, 2)
        shape = (draw.size(), draw.size(), k * draw.size(1, 2), k * draw.size(1, 2))
        return cls(block_size=k), {"data": draw.array(shape)}
