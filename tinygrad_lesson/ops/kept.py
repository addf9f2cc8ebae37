"""Boxes compared with each other: how much two overlap, and which of many are kept."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.detection import Detecting, overlaps

FORMATS = ("corner", "center")


def box_format(of):
    """The attribute that says what four numbers mean."""
    return attr("corner", choices=FORMATS, doc=f"what {of} is: left, top, right, bottom; or middle and size")


def corners(boxes, how):
    """Boxes (n, 4) as left, top, right, bottom."""
    if how == "corner":
        return boxes
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=1)


@op
class BoxIou(Composite):
    """How much boxes overlap: the area that two share over the area that they cover together.

    Shapes
        lhs (..., 4), rhs (..., 4) -> (..., ...), each box of `lhs` with each of `rhs`

    Source
        MXNet 1.9, `contrib.box_iou`, whose gradient is 0; here it is the derivative.
    """

    format: str = box_format("a box")

    def shape(self, lhs, rhs):
        for name, boxes in (("lhs", lhs), ("rhs", rhs)):
            if not boxes or boxes[-1] not in (4, None):
                raise ShapeError(f"{name} is {show(boxes)}, expected (..., 4)")
        return (*lhs[:-1], *rhs[:-1])

    def compose(self, F, lhs, rhs):
        many, others = F.shape(lhs)[:-1], F.shape(rhs)[:-1]
        shapes = (*many, *[1] * len(others)), (*[1] * len(many), *others)
        boxes = [self.ends(F, x, shape) for x, shape in zip((lhs, rhs), shapes, strict=True)]
        sides = [
            F.maximum(F.minimum(a[1], b[1]) - F.maximum(a[0], b[0]), 0.0) for a, b in zip(*boxes, strict=True)
        ]
        shared = sides[0] * sides[1]
        one, other = ((x[1] - x[0]) * (y[1] - y[0]) for x, y in boxes)
        covered = one + other - shared
        some = F.greater(covered, 0)
        return F.where(some, shared / F.where(some, covered, 1.0), 0.0)

    def ends(self, F, x, shape):
        """Where boxes begin and end, across and down."""
        if None in F.shape(x):
            return [(F.slice(x, key=(..., k)),) * 2 for k in (0, 1)]
        numbers = [F.reshape(F.slice(x, key=(..., k)), shape=shape) for k in range(4)]
        if self.format == "corner":
            return [(numbers[k], numbers[k + 2]) for k in (0, 1)]
        return [(numbers[k] - numbers[k + 2] / 2, numbers[k] + numbers[k + 2] / 2) for k in (0, 1)]

    def dtype(self, lhs, rhs):
        return floating(super().dtype(lhs, rhs))

    def oracle(self, lhs, rhs):
        y = np.zeros(self.shape(lhs.shape, rhs.shape))
        for i in np.ndindex(lhs.shape[:-1]):
            for j in np.ndindex(rhs.shape[:-1]):
                (a, b), areas = (lhs[i], rhs[j]), []
                if self.format == "center":
                    a, b = (
                        [x[0] - x[2] / 2, x[1] - x[3] / 2, x[0] + x[2] / 2, x[1] + x[3] / 2] for x in (a, b)
                    )
                areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
                shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
                y[(*i, *j)] = shared / (sum(areas) - shared)
        return y

    @classmethod
    def sample(cls, draw):
        made = cls(draw.choice(FORMATS))
        given = {"lhs": boxes(draw, (draw.integer(1, 3),)), "rhs": boxes(draw, (draw.integer(1, 2), 2), 1)}
        if made.format == "center":
            given = {
                k: np.concatenate([x[..., :2] + 0.5, np.ones_like(x[..., 2:])], axis=-1)
                for k, x in given.items()
            }
        return made, given


def boxes(draw, shape, at=0):
    """Boxes for a sample, in two places far from each other; in one they lie on one another but for 0.15 and more."""
    count = int(np.prod(shape))
    place = np.array([[draw.choice((0.0, 3.0)), draw.choice((0.0, 3.0))] for _ in range(count)])
    low = (place + (np.arange(count)[:, None] + at / 2) * 0.15).reshape(*shape, 2)
    return np.concatenate([low, low + 1], axis=-1)


@declares
class Suppressing(Op):
    """What keeps, of boxes that overlap, the one with the highest score."""

    host_only = Detecting.host_only
    traceable = False
    overlap_thresh: float = attr(0.5, doc="overlap above which the lower score goes")
    valid_thresh: float = attr(0.0, doc="boxes count whose score is above this")
    topk: int = attr(-1, doc="how many of the highest scores are looked at; below 1 all")
    coord_start: int = attr(2, doc="where the four numbers of a box begin")
    score_index: int = attr(1, doc="where its score stands")
    id_index: int = attr(-1, doc="where its class stands; below 0 there is none")
    background_id: int = attr(-1, doc="class of boxes that do not count; below 0 there is none")
    force_suppress: bool = attr(False, doc="whether boxes of other classes are compared too")
    in_format: str = box_format("a box of `data`")

    def shape(self, data):
        if len(data) < 2:
            raise ShapeError(f"data is {show(data)}, expected (..., boxes, numbers of each)")
        return data


@op
class KeptBoxes(Suppressing):
    """The places of the boxes that are kept, the highest score first, and -1 behind them: see `BoxNms`.

    Shapes
        data (..., n, k) -> (..., n)
    """

    differentiable = False

    def shape(self, data):
        return super().shape(data)[:-1]

    def vjp(self, F, g, y, data):
        return (None,)

    def forward(self, xp, data):
        flat = np.asarray(data).reshape(-1, *data.shape[-2:])
        kept = np.full(flat.shape[:2], -1.0)
        for row, boxes in zip(kept, flat, strict=True):
            found = self.of_image(boxes)
            row[: len(found)] = found
        return xp.asarray(kept.reshape(data.shape[:-1]).astype(data.dtype))

    def of_image(self, boxes):
        """The places of the boxes of one image that are kept."""
        scores, classes = boxes[:, self.score_index], np.zeros(len(boxes))
        counts = scores > self.valid_thresh
        if self.id_index >= 0:
            classes = boxes[:, self.id_index]
            counts &= (self.background_id < 0) | (classes != self.background_id)
        order = [i for i in np.argsort(-scores, kind="stable") if counts[i]]
        order = order[: self.topk] if self.topk > 0 else order
        place = corners(boxes[:, self.coord_start : self.coord_start + 4], self.in_format)
        shared = overlaps(place, place)
        kept: list[int] = []
        for i in order:
            rivals = [j for j in kept if self.force_suppress or classes[i] == classes[j]]
            if not (shared[i, rivals] > self.overlap_thresh).any():
                kept.append(i)
        return kept

    def oracle(self, data):
        """One box after the other, by scores that are all different."""
        kept = np.full(data.shape[:-1], -1.0)
        for row, boxes in zip(kept, data, strict=True):
            left = {i: b for i, b in enumerate(boxes) if b[self.score_index] > self.valid_thresh}
            best = sorted(left, key=lambda i: -left[i][self.score_index])
            left, found = {i: left[i] for i in best[: self.topk if self.topk > 0 else None]}, []
            while left:
                first = next(iter(left))
                found.append(first)
                box = left.pop(first)
                for i, other in list(left.items()):
                    a, b = box[2:6], other[2:6]
                    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(
                        0, min(a[3], b[3]) - max(a[1], b[1])
                    )
                    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
                    alike = self.force_suppress or self.id_index < 0 or box[0] == other[0]
                    if alike and shared / (sum(areas) - shared) > self.overlap_thresh:
                        del left[i]
            row[: len(found)] = found
        return kept

    @classmethod
    def sample(cls, draw):
        batch, n = draw.integer(1, 2), draw.integer(1, 4)
        made = cls(draw.choice((0.1, 0.45)), 0.2, draw.choice((-1, 2)), force_suppress=draw.boolean())
        order = np.array([[draw.integer(0, 9) for _ in range(n)] for _ in range(batch)]).argsort(axis=1)
        scores = 0.3 + order[..., None] / 8
        classes = np.array([[[draw.choice((0.0, 1.0))] for _ in range(n)] for _ in range(batch)])
        return made, {"data": np.concatenate([classes, scores, boxes(draw, (batch, n))], axis=2)}


@op
class BoxNms(Composite, Suppressing):
    """Boxes, of those that overlap only the one with the highest score; the others, and what is left over, are -1.

    Two boxes of one class (or of any, with `force_suppress`) that overlap by more than `overlap_thresh` do not both
    stay. Those that stay come first, the highest score first.

    Shapes
        data (..., boxes, numbers of each) -> as data

    Source
        MXNet 1.9, `contrib.box_nms`.
    """

    out_format: str = box_format("a box of the result")

    def compose(self, F, data):
        same = {key: value for key, value in vars(self).items() if key != "out_format"}
        kept = F.expand_dims(F.kept_boxes(F.stop_gradient(data), **same), axis=-1)
        places = F.broadcast_to(F.cast(F.maximum(kept, 0), dtype="int64"), shape=F.shape(data))
        found = self.in_out(F, F.take_along_axis(data, places, axis=-2))
        return F.where(F.greater_equal(kept, 0), found, -1.0)

    def in_out(self, F, x):
        """Boxes in the format of the result."""
        if self.in_format == self.out_format:
            return x
        first, size = self.coord_start, F.shape(x)[-1]

        def part(begin, end):
            return F.slice(x, key=(..., ("slice", begin, end, None)))

        low, high = part(first, first + 2), part(first + 2, first + 4)
        centred, ends = [(low + high) / 2, high - low], [low - high / 2, low + high / 2]
        pair = centred if self.in_format == "corner" else ends
        parts = [part(0, first), *pair, part(first + 4, size)]
        return F.concat(*[p for p in parts if F.shape(p)[-1]], axis=-1)

    def shape(self, data):
        return Suppressing.shape(self, data)

    def dtype(self, data):
        return floating(data)

    def oracle(self, data):
        same = {key: value for key, value in vars(self).items() if key != "out_format"}
        kept, y = KeptBoxes(**same).oracle(data).astype(int), np.full(data.shape, -1.0)
        for b, i in np.ndindex(kept.shape):
            if kept[b, i] >= 0:
                y[b, i] = row = data[b, kept[b, i]]
                if self.out_format == "center":
                    left, top, right, bottom = row[2:]
                    y[b, i, 2:] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        return y

    @classmethod
    def sample(cls, draw):
        made, inputs = KeptBoxes.sample(draw)
        return cls(**vars(made), out_format=draw.choice(FORMATS)), inputs
