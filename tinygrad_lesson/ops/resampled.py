"""Images of another size, as products with a matrix for each axis: `AdaptiveAvgPooling`, `BilinearResize`."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.ops.composing import FloatComposite
from tinygrad_lesson.ops.spatial import check_image


@declares
class Resampled(FloatComposite):
    """An image whose rows, and then columns, are weighted sums of others."""

    def sizes(self, data, like=None):
        """Rows and columns of the result, for these shapes."""
        raise NotImplementedError

    def weights(self, F, made, given):
        """How much each given row counts in each that is made: (made, given)."""
        raise NotImplementedError

    def shape(self, data, like=None):
        check_image("data", data)
        return (*data[:2], *self.sizes(data, like))

    def resampled(self, F, data, like=None):
        """The products."""
        (h, w), sizes = F.shape(data)[2:], self.sizes(F.shape(data), like if like is None else F.shape(like))
        if None in (h, w, *sizes):
            return F.slice(data, key=())
        kind = str(F.dtype(data) or np.dtype(float))
        down, across = (
            F.cast(self.weights(F, made, given), dtype=kind)
            for made, given in zip(sizes, (h, w), strict=True)
        )
        return F.matmul(F.matmul(down, data), F.transpose(across, axes=(1, 0)))


def rows_and_columns(F, made, given):
    """The numbers of what is made, as a column, and of what is given, as a row."""
    down, across = (F.arange(n, dtype="float64") for n in (made, given))
    return F.reshape(down, shape=(made, 1)), F.reshape(across, shape=(1, given))


@op
class AdaptiveAvgPooling(Resampled):
    """The mean of each of so many cells, which share the image as evenly as whole pixels allow.

    Cell number i of n begins at pixel ``floor(i * h / n)`` and ends before ``ceil((i + 1) * h / n)``.

    Shapes
        data (batch, channel, h, w) -> (batch, channel, *output_size)

    Source
        MXNet 1.9, `contrib.AdaptiveAvgPooling2D`; PyTorch, `adaptive_avg_pool2d`.
    """

    output_size: tuple[int, ...] = attr((), doc="how many cells down and across; one number means both")

    def compose(self, F, data):
        return self.resampled(F, data)

    def sizes(self, data, like=None):
        size = self.output_size or (1,)
        if len(size) > 2 or min(size) < 1:
            raise AttributeValueError(f"output_size is {self.output_size}, expected one or two sizes")
        return (size * 2)[:2]

    def weights(self, F, made, given):
        i, j = rows_and_columns(F, made, given)
        begin, end = F.floor(i * given / made), F.ceil((i + 1) * given / made)
        inside = F.logical_and(F.greater_equal(j, begin), F.less(j, end))
        return F.where(inside, 1 / (end - begin), 0.0)

    def oracle(self, data):
        (h, w), sizes = data.shape[2:], self.sizes(data.shape)
        y = np.zeros((*data.shape[:2], *sizes))
        for i, j in np.ndindex(*sizes):
            (a, b), (c, d) = (
                (k * n // size, -(-(k + 1) * n // size))
                for k, n, size in zip((i, j), (h, w), sizes, strict=True)
            )
            y[:, :, i, j] = data[:, :, a:b, c:d].mean(axis=(2, 3))
        return y

    @classmethod
    def sample(cls, draw):
        shape = (1, draw.size(1, 2), draw.size(1, 4), draw.size(1, 4))
        return cls(output_size=draw.choice(((), (2,), (3, 2)))), {"data": draw.array(shape)}


EVEN = {"to_even_down": (0, -1), "to_even_up": (0, 1), "to_odd_down": (1, -1), "to_odd_up": (1, 1)}


@op
class BilinearResize(Resampled):
    """An image of another size, between pixels by bilinear interpolation.

    `mode` says what the size is: ``size``: `height` and `width`, or the old size times `scale_height` and
    `scale_width`; ``odd_scale``: as that, but of an odd size one pixel is set aside first and comes back afterwards;
    ``like``: that of a second input; ``to_even_down`` and the like: the next even or odd size.

    Shapes
        data (batch, channel, h, w), in mode ``like`` also like (..., ..., height, width)
        -> (batch, channel, height, width)

    Source
        MXNet 1.9, `contrib.BilinearResize2D`.
    """

    height: int = attr(1, minimum=1, doc="rows of the result")
    width: int = attr(1, minimum=1, doc="columns of the result")
    scale_height: float | None = attr(None, doc="rows of the result per row of `data`")
    scale_width: float | None = attr(None, doc="columns of the result per column of `data`")
    mode: str = attr("size", choices=("size", "odd_scale", "like", *EVEN), doc="what the size is")
    align_corners: bool = attr(
        True, doc="whether the middles of the corner pixels stay where they are, otherwise their outer edges"
    )

    @property
    def input_names(self):
        """The second input where its size is wanted."""
        return ("data", "like") if self.mode == "like" else ("data",)

    def compose(self, F, data, like=None):
        return self.resampled(F, data, like)

    def sizes(self, data, like=None):
        if like is not None:
            return like[2:]
        scales, fixed = (self.scale_height, self.scale_width), (self.height, self.width)
        return tuple(
            None if n is None else self.size(n, scale, size)
            for n, scale, size in zip(data[2:], scales, fixed, strict=True)
        )

    def size(self, n, scale, size):
        """What an axis of size `n` becomes."""
        if self.mode in EVEN:
            odd, step = EVEN[self.mode]
            return n if n % 2 == odd else n + step
        if scale is None:
            return size
        apart = n % 2 if self.mode == "odd_scale" else 0
        made = int((n - apart) * scale) + apart
        if made < 1:
            raise ShapeError(f"{n} pixels times {scale:g} are none, expected one at least")
        return made

    def weights(self, F, made, given):
        i, j = rows_and_columns(F, made, given)
        if self.align_corners:
            at = i * ((given - 1) / (made - 1) if made > 1 else 0.0)
        else:
            at = F.clip((i + 0.5) * (given / made) - 0.5, 0.0, given - 1.0)
        return F.maximum(1 - F.abs(at - j), 0.0)

    def oracle(self, data, like=None):
        (h, w), sizes = data.shape[2:], self.sizes(data.shape, like if like is None else like.shape)
        y = np.zeros((*data.shape[:2], *sizes))
        for place in np.ndindex(*sizes):
            ends = []
            for k, n, m in zip(place, (h, w), sizes, strict=True):
                at = k * (n - 1) / max(m - 1, 1) if self.align_corners else (k + 0.5) * n / m - 0.5
                at = min(max(at, 0), n - 1)
                low = math.floor(at)
                ends.append((low, min(low + 1, n - 1), at - low))
            (a, b, u), (c, d, v) = ends
            top = (1 - v) * data[:, :, a, c] + v * data[:, :, a, d]
            y[(..., *place)] = (1 - u) * top + u * ((1 - v) * data[:, :, b, c] + v * data[:, :, b, d])
        return y

    @classmethod
    def sample(cls, draw):
        shape, mode = (
            (1, 1, draw.size(1, 4), draw.size(1, 4)),
            draw.choice(("size", "odd_scale", "like", *EVEN)),
        )
        if mode == "like":
            like = {"like": draw.array((1, 1, 3, 2))}
            return cls(mode=mode), {"data": draw.array(shape), **like}
        shape = (*shape[:2], *[n + 1 for n in shape[2:]])
        scale = draw.choice((None, 1.5)) if mode == "size" else 2.0
        made = cls(3, 2, scale, scale, mode, align_corners=draw.boolean())
        return made, {"data": draw.array(shape)}
