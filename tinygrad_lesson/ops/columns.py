"""What windows see, as columns of a batch of matrices, and the way back."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import merge, show, size_of
from tinygrad_lesson.ops.conv import sample_image
from tinygrad_lesson.ops.movement import batch_first, batch_last
from tinygrad_lesson.ops.sliding import Dilated


@op
class Columns(Dilated, Composite):
    """What each window over an image sees, as a column.

    Shapes
        data (batch, channel, ...) -> (batch, channel * window, windows)

    Source
        MXNet 1.9, `im2col`.
    """

    def space(self, shape):
        """Where the axes of the image begin and end in `shape`: behind batch and channel."""
        return 2, len(shape)

    def shape(self, data):
        batch, channels, *counts = self.slid(data)
        rows = None if channels is None else channels * math.prod(self.kernel)
        return batch, rows, size_of(tuple(counts))

    def compose(self, F, data):
        batch, rows, count = self.shape(F.shape(data))
        x = F.transpose(data, axes=batch_last(len(F.shape(data))))
        y = F.reshape(F.im2col(x, **self.window), shape=(rows, count, batch))
        return F.transpose(y, axes=(2, 0, 1))

    def oracle(self, data):
        shape = self.shape(data.shape)
        seen = self.seen(np, data, 0)
        return np.stack(seen, axis=2).reshape(shape)

    @classmethod
    def sample(cls, draw):
        window, data = sample_image(draw)
        return cls(**{**window, "num_group": 1}), {"data": draw.array(data)}


@op
class FromColumns(Dilated, Composite):
    """Each column added to what its window sees: the way back from `Columns`.

    Shapes
        data (batch, channel * window, windows) -> (batch, channel, *output_size)

    Source
        MXNet 1.9, `col2im`.
    """

    output_size: tuple[int, ...] = attr((), doc="the size of the image")

    def shape(self, data):
        window = math.prod(self.kernel)
        if len(data) != 3 or (data[1] or 0) % window or len(self.output_size) != len(self.kernel):
            raise ShapeError(
                f"data is {show(data)}, output_size {self.output_size}; expected (batch, channel * {window}, windows) "
                f"and {len(self.kernel)} sizes"
            )
        image = (data[0], None if data[1] is None else data[1] // window, *self.output_size)
        merge(data[2:], Columns(**self.window).shape(image)[2:])
        return image

    def compose(self, F, data):
        batch, *image = self.shape(F.shape(data))
        rows, count = F.shape(data)[1:]
        x = F.reshape(F.transpose(data, axes=(1, 2, 0)), shape=(1, rows, count * batch))
        y = F.col2im(x, shape=(*image, batch), **self.window)
        return F.transpose(y, axes=batch_first(len(image) + 1))

    def oracle(self, data):
        shape = self.shape(data.shape)
        columns = Columns(**self.window)
        y = np.zeros(shape)
        for i in np.ndindex(shape):  # the transpose of a linear map, one column of it at a time
            one = np.zeros(shape)
            one[i] = 1
            y[i] = np.sum(columns.oracle(one) * data)
        return y

    @classmethod
    def sample(cls, draw):
        columns, inputs = Columns.sample(draw)
        shape = inputs["data"].shape
        return cls(**columns.window, output_size=shape[2:]), {"data": draw.array(columns.shape(shape))}
