"""Boxes and what they are matched with: which belongs to which, and how far each lies from its anchor."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.draw import MARGIN
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import merge, show
from tinygrad_lesson.ops.detection import Detecting
from tinygrad_lesson.ops.kept import FORMATS, boxes


@op
class BipartiteMatching(Detecting):
    """Rows and columns in pairs: the best score first, then the best of the rows and columns that are left.

    Shapes
        data (..., rows, columns) -> (..., rows), the column of each row; (..., columns), the row of each column; -1
        stands for none

    Source
        MXNet 1.9, `contrib.bipartite_matching`.
    """

    outputs = ("output0", "output1")
    is_ascend: bool = attr(False, doc="whether the lowest score is the best")
    threshold: float = attr(doc="a pair needs a score above this; with `is_ascend` one below it")
    topk: int = attr(
        -1, doc="there is at most one pair more than this, as in MXNet; below 1 as many as there can be"
    )

    def shape(self, data):
        if len(data) < 2:
            raise ShapeError(f"data is {show(data)}, expected (..., rows, columns)")
        return data[:-1], (*data[:-2], data[-1])

    def forward(self, xp, data):
        found = [np.full(shape, -1, data.dtype) for shape in self.shape(data.shape)]
        scores = np.asarray(data)
        for i in np.ndindex(data.shape[:-2]):
            self.match(scores[i], *(y[i] for y in found))
        return tuple(map(xp.asarray, found))

    def match(self, scores, rows, columns):
        """Write the pairs of one table into `rows` and `columns`."""
        better = np.less if self.is_ascend else np.greater
        order = np.argsort(scores if self.is_ascend else -scores, axis=None, kind="stable")
        left = min(scores.shape) if self.topk < 1 else self.topk + 1
        for row, column in zip(*np.unravel_index(order, scores.shape), strict=True):
            if not left or not better(scores[row, column], self.threshold):
                return
            if rows[row] == columns[column] == -1:
                rows[row], columns[column], left = column, row, left - 1

    def oracle(self, data):
        rows, columns = (np.full(shape, -1.0) for shape in self.shape(data.shape))
        sign = -1 if self.is_ascend else 1
        for i in np.ndindex(data.shape[:-2]):
            left = {place: sign * data[i][place] for place in np.ndindex(data.shape[-2:])}
            pairs = list[tuple[int, ...]]()
            while left and (self.topk < 1 or len(pairs) <= self.topk):
                best = max(left, key=lambda place: left[place])
                if left[best] <= sign * self.threshold:
                    break
                pairs.append(best)
                left = {p: s for p, s in left.items() if p[0] != best[0] and p[1] != best[1]}
            for row, column in pairs:
                rows[i][row], columns[i][column] = column, row
        return rows, columns

    @classmethod
    def sample(cls, draw):
        between = MARGIN * 3 / 4  # lies in the middle of two points of the grid of `distinct`
        made = cls(draw.boolean(), draw.choice((-10.0, between, 10.0)), draw.choice((-1, 1, 2)))
        shape = (*draw.shape()[:1], draw.size(1, 4), draw.size(1, 3))
        return made, {"data": draw.distinct(shape)}


def middles(F, boxes, how="corner"):
    """Middles and sizes of boxes (..., 4), two numbers each."""
    one, other = (F.slice(boxes, key=(..., ("slice", k, k + 2, None))) for k in (0, 2))
    return (one, other) if how == "center" else ((one + other) / 2, other - one)


@op
class BoxEncode(Composite):
    """What boxes are to learn: how far their object lies from their anchor, in sizes of the anchor.

    The middle is told by the way to it over the anchor's size, the size by the logarithm of the two sizes' ratio. From
    both `means` are taken, and `stds` divide them. A box that is no positive sample learns nothing: 0. One that has no
    area, or whose object has none, learns NaN.

    Shapes
        samples (batch, n): 1 for a positive sample, -1 for a negative one, 0 for none; matches (batch, n): the number
        of the object; anchors (batch, n, 4) and refs (batch, objects, 4): left, top, right, bottom; means (4,), stds
        (4,) -> (batch, n, 4), and as many numbers that are 1 for positive samples, else 0

    Source
        MXNet 1.9, `contrib.box_encode`, whose gradients are 0; here they are the derivatives.
    """

    outputs = ("output0", "output1")
    method = False
    mixes_dtypes = True

    def compose(self, F, samples, matches, anchors, refs, means, stds):
        batch, n = self.shape(*map(F.shape, (samples, matches, anchors, refs, means, stds)))[0][:2]
        kind = F.dtype(anchors)
        positive = F.greater(F.stop_gradient(samples), 0.5)
        wide = F.broadcast_to(F.expand_dims(positive, axis=-1), shape=(batch, n, 4))
        mask = F.cast(wide, dtype=str(kind or np.dtype(float)))
        places = F.cast(F.where(positive, F.stop_gradient(matches), 0), dtype="int64")
        objects = F.take_along_axis(
            refs, F.broadcast_to(F.expand_dims(places, axis=-1), shape=(batch, n, 4)), axis=1
        )
        (middle, size), (aim, extent) = middles(F, anchors), middles(F, objects)
        used = F.slice(wide, key=(..., ("slice", 0, 2, None)))
        size = F.where(used, F.where(F.equal(size, 0), math.nan, size), 1)
        ratio = F.where(used, extent, 1) / size
        grown = F.log(F.where(F.greater(ratio, 0), ratio, math.nan))
        told = F.concat((aim - middle) / size, grown, axis=-1)
        return F.where(wide, (told - means) / stds, 0), mask

    def shape(self, samples, matches, anchors, refs, means, stds):
        if len(samples) != 2 or len(refs) != 3:
            told = f"samples is {show(samples)}, refs {show(refs)}"
            raise ShapeError(f"{told}; expected (batch, boxes) and (batch, objects, 4)")
        batch, n = merge(samples, matches) or ()
        sizes = merge((batch, n, 4), anchors)
        merge(refs, (batch, None, 4))
        for given in (means, stds):
            merge(given, (4,))
        return sizes, sizes

    def dtype(self, samples, matches, anchors, refs, means, stds):
        kind = floating(anchors)
        return kind, kind

    def oracle(self, samples, matches, anchors, refs, means, stds):
        y, mask = np.zeros(anchors.shape), np.zeros(anchors.shape)
        for b, i in np.ndindex(samples.shape):
            if samples[b, i] > 0.5:
                a, r = anchors[b, i], refs[b, int(matches[b, i])]
                for k in (0, 1):
                    size, extent = a[k + 2] - a[k], r[k + 2] - r[k]
                    y[b, i, k] = ((r[k] + r[k + 2] - a[k] - a[k + 2]) / 2 / size - means[k]) / stds[k]
                    y[b, i, k + 2] = (np.log(extent / size) - means[k + 2]) / stds[k + 2]
                mask[b, i] = 1
        return y, mask

    @classmethod
    def sample(cls, draw):
        batch, n, objects = draw.size(1, 2), draw.size(1, 3), draw.size(1, 2)
        samples = np.array([[draw.choice((-1.0, 0.0, 1.0)) for _ in range(n)] for _ in range(batch)])
        matches = np.array([[draw.integer(0, objects - 1) for _ in range(n)] for _ in range(batch)])
        return cls(), {
            "samples": samples.astype(int), "matches": matches, "anchors": boxes(draw, (batch, n)),
            "refs": boxes(draw, (batch, objects), 1), "means": draw.array((4,)),
            "stds": draw.array((4,), low=0.5, high=2),
        }  # fmt: skip


@op
class BoxDecode(Composite):
    """Where boxes are, from their anchors and what was predicted of them: `BoxEncode` the other way round.

    Shapes
        data (batch, n, 4), anchors (1, n, 4) -> (batch, n, 4): left, top, right, bottom

    Source
        MXNet 1.9, `contrib.box_decode`, whose gradients are 0; here they are the derivatives.
    """

    method = False
    std0: float = attr(1.0, doc="multiplies what is predicted of the middle, across")
    std1: float = attr(1.0, doc="multiplies what is predicted of the middle, down")
    std2: float = attr(1.0, doc="multiplies the logarithm of the width")
    std3: float = attr(1.0, doc="multiplies the logarithm of the height")
    clip: float = attr(-1.0, doc="the largest logarithm of a size; below or at 0 there is none")
    format: str = attr(
        "center", choices=FORMATS, doc="what an anchor is: left, top, right, bottom; or middle and size"
    )

    def compose(self, F, data, anchors):
        self.shape(F.shape(data), F.shape(anchors))
        moved, grown = middles(F, data, "center")
        middle, size = middles(F, anchors, self.format)
        pairs = ((self.std0, self.std1), (self.std2, self.std3))
        moved, grown = (
            F.stack(*[F.slice(x, key=(..., k)) * std for k, std in enumerate(stds)], axis=-1)
            for x, stds in zip((moved, grown), pairs, strict=True)
        )
        grown = F.minimum(grown, self.clip) if self.clip > 0 else grown
        middle, half = moved * size + middle, F.exp(grown) * size / 2
        return F.concat(middle - half, middle + half, axis=-1)

    def shape(self, data, anchors):
        if len(data) != 3 or len(anchors) != 3:
            told = f"data is {show(data)}, anchors {show(anchors)}"
            raise ShapeError(f"{told}; expected (batch, boxes, 4) and (1, boxes, 4)")
        merge(anchors, (1, data[1], 4))
        return merge(data, (None, anchors[1], 4))

    def dtype(self, data, anchors):
        return floating(super().dtype(data, anchors))

    def oracle(self, data, anchors):
        y, stds = np.zeros(data.shape), (self.std0, self.std1, self.std2, self.std3)
        for b, i in np.ndindex(data.shape[:2]):
            for k in (0, 1):
                low, high = anchors[0, i, k], anchors[0, i, k + 2]
                middle, size = (low, high) if self.format == "center" else ((low + high) / 2, high - low)
                grown = data[b, i, k + 2] * stds[k + 2]
                grown = min(grown, self.clip) if self.clip > 0 else grown
                middle, half = middle + data[b, i, k] * stds[k] * size, size * np.exp(grown) / 2
                y[b, i, k], y[b, i, k + 2] = middle - half, middle + half
        return y

    @classmethod
    def sample(cls, draw):
        batch, n = draw.size(1, 2), draw.size(1, 3)
        stds = (draw.choice((0.1, 1.0)), draw.choice((0.2, 1.0)), 0.5, 2.0)
        made = cls(*stds, clip=draw.choice((-1.0, 0.5)), format=draw.choice(FORMATS))
        data = draw.array((batch, n, 4), away_from=(0.25, 1.0))
        return made, {"data": data, "anchors": boxes(draw, (1, n))}
