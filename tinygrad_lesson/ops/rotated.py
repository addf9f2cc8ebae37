"""Regions of images that are turned: `RROIAlign`."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.spatial import check_image


@declares
class Turned(Op):
    """What is told of turned regions of an image."""

    host_only = "regions are gone through one by one on the processor"
    method = False
    mixes_dtypes = True
    traceable = False
    pooled_size: tuple[int, ...] = attr(doc="how many cells a region has, down and across")
    spatial_scale: float = attr(doc="what one unit of `rois` is in pixels")
    sampling_ratio: int = attr(-1, doc="points per cell along each axis; 0 or less: one for each pixel begun")

    def check(self, rois):
        """Refuse what is no list of turned regions."""
        if len(rois) != 2 or rois[1] not in (6, None) or len(self.pooled_size) != 2:
            expected = "(regions, 6): image, middle across and down, width, height, degrees; and a pooled_size of two"
            raise ShapeError(f"rois is {show(rois)} and pooled_size {self.pooled_size}, expected {expected}")


@op
class TurnedWeights(Turned):
    """How much each pixel of the image counts in each cell of a turned region: bilinear, averaged over points.

    Shapes
        rois (regions, 6) -> (regions, cells, pixels)
    """

    differentiable = False
    size: tuple[int, ...] = attr(doc="height and width of the image")

    def shape(self, rois):
        self.check(rois)
        return rois[0], math.prod(self.pooled_size), math.prod(self.size)

    def dtype(self, rois):
        return np.dtype(np.float64)

    def points(self, roi):
        """Where the points of a region lie, down and across, and in which cell."""
        across, down, *lengths = (float(x) * self.spatial_scale for x in roi[1:5])
        sides = [(max(length, 1.0), n) for length, n in zip(lengths[::-1], self.pooled_size, strict=True)]
        counts = [
            n * (self.sampling_ratio if self.sampling_ratio > 0 else math.ceil(length / n))
            for length, n in sides
        ]
        i, j = (
            ((np.arange(k) + 0.5) / k - 0.5) * length for k, (length, _) in zip(counts, sides, strict=True)
        )
        (u, v), turn = np.indices(counts), math.radians(float(roi[5]))
        rows = i[u] * math.cos(turn) - j[v] * math.sin(turn) + down
        columns = j[v] * math.cos(turn) + i[u] * math.sin(turn) + across
        n, m = self.pooled_size
        return rows.ravel(), columns.ravel(), (u * n // counts[0] * m + v * m // counts[1]).ravel()

    def forward(self, xp, rois):
        y = np.zeros(self.shape(rois.shape))
        h, w = self.size
        for weights, roi in zip(y, rois, strict=True):
            rows, columns, cell = self.points(roi)
            inside = (rows >= -1) & (rows <= h) & (columns >= -1) & (columns <= w)
            share = inside * len(weights) / len(cell)
            rows, columns = np.clip(rows, 0, h - 1), np.clip(columns, 0, w - 1)
            top, left = (np.floor(x).astype(np.int64) for x in (rows, columns))
            for i, a in ((top, 1 - rows + top), (np.minimum(top + 1, h - 1), rows - top)):
                for j, b in ((left, 1 - columns + left), (np.minimum(left + 1, w - 1), columns - left)):
                    np.add.at(weights, (cell, i * w + j), a * b * share)
        return y

    def vjp(self, F, g, y, rois):
        return (None,)

    def oracle(self, rois):
        (h, w), y = self.size, np.zeros(self.shape(rois.shape))
        for r, roi in enumerate(rois):
            points = list(zip(*self.points(roi), strict=True))
            for row, column, cell in points:
                if -1 <= row <= h and -1 <= column <= w:
                    at = [min(max(p, 0), n - 1) for p, n in ((row, h), (column, w))]
                    near = [np.maximum(1 - abs(np.arange(n) - p), 0) for p, n in zip(at, (h, w), strict=True)]
                    y[r, cell] += np.outer(*near).ravel() * math.prod(self.pooled_size) / len(points)
        return y

    @classmethod
    def sample(cls, draw):
        made, inputs = RROIAlign.sample(draw)
        settings = {key: getattr(made, key) for key in ("pooled_size", "spatial_scale", "sampling_ratio")}
        return cls(size=inputs["data"].shape[2:], **settings), {"rois": inputs["rois"]}


@op
class RROIAlign(Composite, Turned):
    """The mean over points of each cell of each turned region, between pixels by bilinear interpolation.

    Regions have no gradient; in MXNet nothing has.

    Shapes
        data (batch, channel, h, w), rois (regions, 6): image, middle across, middle down, width, height, degrees
        counterclockwise -> (regions, channel, *pooled_size)

    Source
        Ma et al. 2018; MXNet 1.9, `_contrib_RROIAlign`.
    """

    function = "rroi_align"

    def compose(self, F, data, rois):
        (batch, channels, h, w), rois = F.shape(data), F.stop_gradient(rois)
        image = F.clip(F.trunc(F.slice(rois, key=(("slice", None, None, None), 0))), 0, max(batch - 1, 0))
        parts = F.reshape(F.take(data, F.cast(image, dtype="int64"), axis=0), shape=(-1, channels, h * w))
        weights = F.turned_weights(
            rois, size=(h, w), pooled_size=self.pooled_size, spatial_scale=self.spatial_scale,
            sampling_ratio=self.sampling_ratio,
        )  # fmt: skip
        weights = F.transpose(F.cast(weights, dtype=str(F.dtype(data) or np.dtype(float))), axes=(0, 2, 1))
        return F.reshape(F.matmul(parts, weights), shape=(-1, channels, *self.pooled_size))

    def shape(self, data, rois):
        check_image("data", data)
        self.check(rois)
        return (rois[0], data[1], *self.pooled_size)

    def dtype(self, data, rois):
        return data

    def oracle(self, data, rois):
        told = {key: getattr(self, key) for key in ("pooled_size", "spatial_scale", "sampling_ratio")}
        weights = TurnedWeights(size=data.shape[2:], **told).oracle(rois)
        images = data[rois[:, 0].astype(int)].reshape(len(rois), data.shape[1], -1)
        return np.einsum("rcp,rnp->rcn", images, weights).reshape(self.shape(data.shape, rois.shape))

    @classmethod
    def sample(cls, draw):
        data = draw.array((draw.size(1, 2), draw.size(1, 2), draw.size(2, 4), draw.size(2, 4)))
        rois = [
            [draw.integer(0, len(data) - 1), *(draw.integer(0, 4) for _ in range(4)), draw.integer(-180, 180)]
            for _ in range(draw.size(1, 2))
        ]
        cells, ratio = (draw.size(1, 2), draw.size(1, 2)), draw.choice((-1, 2))
        made = cls(pooled_size=cells, spatial_scale=0.7, sampling_ratio=ratio)
        return made, {"data": data, "rois": np.array(rois)}  # whole numbers, since regions have no gradient
