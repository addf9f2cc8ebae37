"""Two ops of computer vision that compare or sample images: `ROIAlign` and `Correlation`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.composing import FloatComposite, slices
from tinygrad_lesson.ops.spatial import check_image


@declares
class Regions(Op):
    """What is told of regions of an image."""

    host_only = "regions are gone through one by one on the processor"
    mixes_dtypes = True
    spatial_scale: float = attr(doc="what one unit of `rois` is in pixels")
    sample_ratio: int = attr(-1, doc="points per cell along each axis; 0 or less: one for each pixel begun")
    aligned: bool = attr(
        False, doc="whether pixel (0, 0) has its middle at (0.5, 0.5); regions may then be small"
    )

    def check(self, rois):
        """Refuse what is no list of regions."""
        check_image("rois", rois, 2, "expected (regions, 5): image, left, top, right, bottom")
        if rois[1] not in (5, None):
            raise ShapeError(f"rois is {show(rois)}, expected (regions, 5): image, left, top, right, bottom")


@op
class RoiWeights(Regions):
    """How much each row, or column, of the image counts in each row of cells of a region: bilinear, averaged.

    Shapes
        rois (regions, 5) -> (regions, cells, length)
    """

    differentiable = False
    traceable = False
    cells: int = attr(minimum=1, doc="how many cells a region has along this axis")
    length: int = attr(minimum=0, doc="how long the image is along this axis")
    down: bool = attr(doc="along the rows, otherwise along the columns")
    images: int = attr(minimum=0, doc="how many images there are; of another one nothing counts")

    def shape(self, rois):
        self.check(rois)
        return rois[0], self.cells, self.length

    def dtype(self, rois):
        return floating(rois)

    def forward(self, xp, rois):
        y = np.zeros((len(rois), self.cells, self.length))
        start, end = (2, 4) if self.down else (1, 3)
        for r, roi in enumerate(np.asarray(rois, dtype=float)):
            if 0 <= roi[0] < self.images and np.isfinite(roi).all() and self.length:
                ends = np.array([roi[start], roi[end]]) * self.spatial_scale - 0.5 * self.aligned
                for cell, points in enumerate(self.points(*ends)):
                    inside = points[(points >= -1) & (points <= self.length)]
                    place = np.clip(inside, 0, self.length - 1)
                    low = np.minimum(place.astype(int), max(self.length - 2, 0))
                    np.add.at(y[r, cell], low, (1 - (place - low)) / len(points))
                    np.add.at(y[r, cell], np.minimum(low + 1, self.length - 1), (place - low) / len(points))
        return xp.asarray(y.astype(floating(rois.dtype)))

    def points(self, start, end):
        """For each cell the points at which the image is looked at."""
        size = end - start if self.aligned else max(end - start, 1.0)
        count = self.sample_ratio if self.sample_ratio > 0 else max(math.ceil(size / self.cells), 1)
        step = size / self.cells
        return [start + cell * step + (np.arange(count) + 0.5) * step / count for cell in range(self.cells)]

    def vjp(self, F, g, y, rois):
        return (None,)

    def oracle(self, rois):
        """One point after the other."""
        y = np.zeros((len(rois), self.cells, self.length))
        for r, c in np.ndindex(y.shape[:2]):
            low, high = (rois[r, i + self.down] * self.spatial_scale - self.aligned / 2 for i in (1, 3))
            size = high - low if self.aligned else max(1, high - low)
            count = self.sample_ratio if self.sample_ratio > 0 else math.ceil(size / self.cells)
            for i in range(count):
                at = low + size / self.cells * (c + (i + 0.5) / count)
                if 0 <= rois[r, 0] < self.images and -1 <= at <= self.length:
                    at = min(max(at, 0), self.length - 1)
                    for k in range(self.length):
                        y[r, c, k] += max(0, 1 - abs(at - k)) / count
        return y

    @classmethod
    def sample(cls, draw):
        made = cls(
            spatial_scale=draw.choice((0.3, 0.7)), sample_ratio=draw.choice((-1, 2)), aligned=draw.boolean(),
            cells=draw.size(1, 2), length=draw.size(1, 4), down=draw.boolean(), images=1,
        )  # fmt: skip
        rois = [
            [draw.integer(-1, 0), left, top, left + draw.integer(1, 5), top + draw.integer(1, 5)]
            for left, top in [(draw.integer(-1, 3), draw.integer(-1, 3)) for _ in range(draw.size(1, 2))]
        ]
        return made, {"rois": np.array(rois)}  # whole numbers, since regions have no gradient


@op
class ROIAlign(Composite, Regions):
    """The mean over points of each cell of each region, between pixels by bilinear interpolation; no rounding.

    Regions have no gradient, as in MXNet; one that names no image gives 0.

    Shapes
        data (batch, channel, h, w), rois (regions, 5): image, left, top, right, bottom
        -> (regions, channel, *pooled_size), or with `position_sensitive` channel / cells channels

    Source
        He et al. 2017, Mask R-CNN; MXNet 1.9, `_contrib_ROIAlign`.
    """

    function = "roi_align"
    traceable = False  # `RoiWeights` is not
    pooled_size: tuple[int, ...] = attr(doc="how many cells a region has, down and across")
    position_sensitive: bool = attr(False, doc="whether each cell has channels of its own")

    def weights(self, F, rois, length, images, down):
        """Of rows or columns, for each region and cell."""
        return F.roi_weights(
            rois, spatial_scale=self.spatial_scale, sample_ratio=self.sample_ratio, aligned=self.aligned,
            cells=self.pooled_size[not down], length=length, down=down, images=images,
        )  # fmt: skip

    def compose(self, F, data, rois):
        (batch, channels, h, w), rois = F.shape(data), F.stop_gradient(rois)
        count, cells = F.shape(rois)[0], self.pooled_size
        image = F.clip(F.trunc(F.slice(rois, key=(("slice", None, None, None), 0))), 0, max(batch - 1, 0))
        parts = F.take(data, F.cast(image, dtype="int64"), axis=0)
        rows, columns = (self.weights(F, rois, n, batch, down) for n, down in ((h, True), (w, False)))
        rows, columns = (F.cast(x, dtype=str(F.dtype(data) or np.dtype(float))) for x in (rows, columns))
        down = F.matmul(F.expand_dims(rows, axis=1), parts)
        y = F.matmul(down, F.expand_dims(F.transpose(columns, axes=(0, 2, 1)), axis=1))
        if not self.position_sensitive:
            return y
        y = F.reshape(y, shape=(count, channels // math.prod(cells), *cells, *cells))
        return F.diagonal(F.diagonal(y, axis1=2, axis2=4), axis1=2, axis2=3)

    def shape(self, data, rois):
        check_image("data", data)
        self.check(rois)
        channels, cells = data[1], math.prod(self.pooled_size)
        if len(self.pooled_size) != 2:
            raise ShapeError(f"pooled_size is {self.pooled_size}, expected two numbers")
        if self.position_sensitive and channels is not None:
            if channels % cells:
                raise ShapeError(
                    f"data has {channels} channels, expected a multiple of {cells}, one for each cell"
                )
            channels //= cells
        return (rois[0], channels, *self.pooled_size)

    def dtype(self, data, rois):
        return data

    def oracle(self, data, rois):
        y = np.zeros(self.shape(data.shape, rois.shape))
        settings: Any = {key: getattr(self, key) for key in ("spatial_scale", "sample_ratio", "aligned")}
        down, across = (
            RoiWeights(cells=n, length=m, down=down, images=len(data), **settings).oracle(rois)
            for n, m, down in zip(self.pooled_size, data.shape[2:], (True, False), strict=True)
        )
        for r, c, i, j in np.ndindex(y.shape):
            channel = (
                (c * self.pooled_size[0] + i) * self.pooled_size[1] + j if self.position_sensitive else c
            )
            y[r, c, i, j] = down[r, i] @ data[int(max(rois[r, 0], 0)), channel] @ across[r, j]
        return y

    @classmethod
    def sample(cls, draw):
        made, inputs = RoiWeights.sample(draw)
        cells, own = (draw.size(1, 2), made.cells), draw.boolean()
        channels = math.prod(cells) if own else draw.size(1, 2)
        data = draw.array((draw.size(1, 2), channels, draw.size(2, 4), draw.size(2, 4)))
        settings = {key: getattr(made, key) for key in ("spatial_scale", "sample_ratio", "aligned")}
        return cls(pooled_size=cells, position_sensitive=own, **settings), {"data": data, **inputs}


@op
class Correlation(FloatComposite):
    """How alike patches of two images are: the mean of their products, or of the sizes of their differences.

    A patch of `data1` is compared with those of `data2` that lie up to `max_displacement` away; each of these is a
    channel of the result.

    Shapes
        data1 and data2 (batch, channel, h, w) -> (batch, displacements, h', w')

    Source
        Fischer et al. 2015, FlowNet; MXNet 1.9, `Correlation`.
    """

    kernel_size: int = attr(1, minimum=1, doc="height and width of a patch, odd")
    max_displacement: int = attr(1, minimum=0, doc="how far away patches are compared, in pixels")
    stride1: int = attr(1, minimum=1, doc="distance between patches of `data1`")
    stride2: int = attr(1, minimum=1, doc="distance between the displacements")
    pad_size: int = attr(0, minimum=0, doc="zeros around the images")
    is_multiply: bool = attr(True, doc="whether products are taken, otherwise differences")

    def __post_init__(self):
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise AttributeValueError(f"kernel_size is {self.kernel_size}, expected an odd number")

    def sizes(self, space):
        """Height and width of the result."""
        border = 2 * (self.max_displacement + self.kernel_size // 2)
        found = tuple(n and -(-(n + 2 * self.pad_size - border) // self.stride1) for n in space)
        if any(n is not None and n < 1 for n in found):
            raise ShapeError(
                f"images of {show(space)} leave no room: displacements and patches reach {border} pixels"
            )
        return found

    def displacements(self):
        """How far away patches of `data2` are, down and across."""
        reach = self.max_displacement // self.stride2
        steps = [k * self.stride2 for k in range(-reach, reach + 1)]
        return [(down, across) for down in steps for across in steps]

    def shape(self, data1, data2):
        for name, data in (("data1", data1), ("data2", data2)):
            check_image(name, data)
        if None not in (*data1, *data2) and data1 != data2:
            raise ShapeError(f"data2 is {show(data2)}, expected {show(data1)} as data1")
        return (data1[0], len(self.displacements()), *self.sizes(data1[2:]))

    def complete(self, shapes, results):
        """The two images have one shape."""
        known = [shape for shape in shapes if shape is not None]
        return super().complete(known[:1] * 2 if len(known) == 1 else shapes, results)

    def compose(self, F, data1, data2):
        k, reach, pad = self.kernel_size, self.max_displacement, self.pad_size
        shape, margin = F.shape(data1), ((0, 0), (0, 0), (pad, pad), (pad, pad))
        a, b = (F.pad(x, pad_width=margin) if pad else x for x in (data1, data2))
        steps = sorted({down for down, _ in self.displacements()})
        h, w = ((n - 1) * self.stride1 + k for n in self.sizes(shape[2:]))
        a = slices(F, slices(F, a, 2, reach, h), 3, reach, w)
        b = F.stack(*[slices(F, b, 2, reach + step, h) for step in steps], axis=2)
        b = F.stack(*[slices(F, b, 4, reach + step, w) for step in steps], axis=4)
        a = F.reshape(a, shape=(*shape[:2], 1, h, 1, w))
        found = F.sum(a * b if self.is_multiply else F.abs(a - b), axis=1)
        y = F.reshape(F.transpose(found, axes=(0, 1, 3, 2, 4)), shape=(shape[0], len(steps) ** 2, h, w))
        window = {"kernel": (k, k), "stride": (self.stride1, self.stride1)}
        return F.pooling(y, pool_type="sum", **window) / (k * k * shape[1])

    def oracle(self, data1, data2):
        pad, k = self.pad_size, self.kernel_size
        a, b = (np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))) for x in (data1, data2))
        y = np.zeros(self.shape(data1.shape, data2.shape))
        for n, q, i, j in np.ndindex(y.shape):
            down, across = self.displacements()[q]
            top, left = (self.max_displacement + self.stride1 * m for m in (i, j))
            for u, v in np.ndindex(k, k):
                one, other = a[n, :, top + u, left + v], b[n, :, top + down + u, left + across + v]
                y[n, q, i, j] += np.mean(one * other if self.is_multiply else np.abs(one - other)) / k**2
        return y

    @classmethod
    def sample(cls, draw):
        k, pad = draw.choice(((1, 0), (1, 1), (3, 1)))
        made = cls(
            kernel_size=k, max_displacement=1, stride1=draw.integer(1, 2), stride2=draw.integer(1, 2),
            pad_size=pad, is_multiply=draw.boolean(),
        )  # fmt: skip
        size = 2 * made.max_displacement + k - 2 * pad
        shape = (1, draw.size(1, 2), max(size, 1), max(size, 1) + draw.integer(0, 1))
        apart = draw.distinct((2, *shape))
        low, high = np.abs(apart[0]) + 0.2, -np.abs(apart[1]) - 0.2  # never equal, nor 0 as the margin is
        return made, {"data1": low, "data2": high}
