"""The largest numbers in the cells of regions of images."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.ops.spatial import check_image


@op
class RoiPlaces(Op):
    """Where the largest number of each cell of each region is, as its number in `data`.

    It is -1 for an empty cell, and for every cell of a region that names no image.

    Shapes
        data (batch, channel, h, w), rois (regions, 5) -> (regions, channel, *pooled_size)
    """

    host_only = "regions are gone through one by one on the processor"
    differentiable = False
    mixes_dtypes = True
    traceable = False
    pooled_size: tuple[int, ...] = attr(doc="how many cells a region has, down and across")
    spatial_scale: float = attr(doc="what one unit of `rois` is in pixels")

    def shape(self, data, rois):
        check_image("data", data)
        check_image("rois", rois, 2, "expected (regions, 5): image, left, top, right, bottom")
        return (rois[0], data[1], *self.pooled_size)

    def dtype(self, data, rois):
        return np.dtype(np.int64)

    def cells(self, roi, space):
        """Each cell of a region with the rows and columns it covers."""
        left, top, right, bottom = (math.floor(float(v) * self.spatial_scale + 0.5) for v in roi[1:])
        spans = []
        for start, end, n, count in zip((top, left), (bottom, right), space, self.pooled_size, strict=True):
            size = max(end - start + 1, 1) / count
            edges = [(math.floor(i * size), math.ceil((i + 1) * size)) for i in range(count)]
            spans.append([slice(*[min(max(start + e, 0), n) for e in pair]) for pair in edges])
        return itertools.product(*map(enumerate, spans))

    def forward(self, xp, data, rois):
        y = xp.full(self.shape(data.shape, rois.shape), -1, dtype=np.int64)
        batch, channels, h, w = data.shape
        numbers = xp.arange(h * w).reshape(h, w)
        for r, roi in enumerate(rois):
            if not (np.isfinite(roi).all() and 0 <= roi[0] < batch):
                continue
            image = int(roi[0])
            first = (image * channels + xp.arange(channels)) * (h * w)
            for (i, rows), (j, columns) in self.cells(roi, (h, w)):
                cell = data[image, :, rows, columns].reshape(channels, -1)
                if cell.size:
                    y[r, :, i, j] = first + numbers[rows, columns].ravel()[xp.argmax(cell, axis=1)]
        return y

    def vjp(self, F, g, y, data, rois):
        return None, None

    def oracle(self, data, rois):
        y = np.full((len(rois), data.shape[1], *self.pooled_size), -1)
        for r, c in np.ndindex(y.shape[:2]):
            for (i, rows), (j, columns) in self.cells(rois[r], data.shape[2:]):
                best = -np.inf
                for a in range(*rows.indices(data.shape[2])):
                    for b in range(*columns.indices(data.shape[3])):
                        if data[int(rois[r, 0]), c, a, b] > best:
                            best = data[int(rois[r, 0]), c, a, b]
                            y[r, c, i, j] = np.ravel_multi_index((int(rois[r, 0]), c, a, b), data.shape)
        return y

    @classmethod
    def sample(cls, draw):
        batch, h, w, count = draw.size(), draw.size(2, 4), draw.size(2, 4), draw.size(1, 2)
        rois = [
            [
                draw.integer(0, batch - 1),
                draw.integer(0, 1),
                draw.integer(0, 1),
                draw.integer(1, w),
                draw.integer(1, h),
            ]
            for _ in range(count)
        ]
        made = cls(pooled_size=(draw.size(1, 2), draw.size(1, 2)), spatial_scale=draw.choice((1.0, 0.5)))
        return made, {"data": draw.distinct((batch, draw.size(1, 2), h, w)), "rois": np.array(rois)}


@op
class ROIPooling(Composite):
    """The largest number of each cell of each region, 0 of an empty one; the first of several gets the gradient.

    Shapes
        data (batch, channel, h, w), rois (regions, 5): image, left, top, right, bottom
        -> (regions, channel, *pooled_size)

    Source
        Girshick 2015; MXNet 1.9, `ROIPooling`.
    """

    host_only = "regions are gone through one by one on the processor"
    traceable = False

    function = "roi_pooling"
    mixes_dtypes = True
    pooled_size: tuple[int, ...] = attr(doc="how many cells a region has, down and across")
    spatial_scale: float = attr(doc="what one unit of `rois` is in pixels")

    def compose(self, F, data, rois):
        at = F.roi_places(data, F.stop_gradient(rois), self.pooled_size, self.spatial_scale)
        found = F.take(F.reshape(data, shape=(-1,)), F.maximum(at, 0))
        return F.where(F.less(at, 0), 0, found)

    def shape(self, data, rois):
        return RoiPlaces(self.pooled_size, self.spatial_scale).shape(data, rois)

    def dtype(self, data, rois):
        return data

    def oracle(self, data, rois):
        at = RoiPlaces(self.pooled_size, self.spatial_scale).oracle(data, rois)
        return np.where(at < 0, 0, data.ravel()[np.maximum(at, 0)])

    @classmethod
    def sample(cls, draw):
        made, inputs = RoiPlaces.sample(draw)
        return cls(made.pooled_size, made.spatial_scale), inputs
