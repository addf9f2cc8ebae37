"""What detectors of objects are made of: anchor boxes, what they are to learn, what they found.

A box is (left, top, right, bottom) in shares of the image. None of these has a gradient.

Source
    Liu et al. 2016, SSD; MXNet 1.9, ``contrib/multibox_prior.cc``, ``multibox_target.cc``, ``multibox_detection.cc``.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, show
from tinygrad_lesson.ops.spatial import check_image


def overlaps(a, b):
    """The area that boxes share over the area that they cover together; 0 where that is none.

    Shapes
        a (m, 4), b (n, 4) -> (m, n)
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    covered = np.prod(a[:, 2:] - a[:, :2], axis=1)[:, None] + np.prod(b[:, 2:] - b[:, :2], axis=1) - shared
    return np.where(covered > 0, shared / np.where(covered > 0, covered, 1), 0).astype(a.dtype)


def centred(boxes):
    """Boxes as their middle and their size: (x, y, width, height)."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


@declares
class Detecting(Op):
    """An op on boxes, which looks at its numbers."""

    host_only = "boxes are gone through one by one on the processor"
    method = False
    differentiable = False
    traceable = False

    def vjp(self, F, g, y, *inputs):
        return (None,) * len(inputs)


@op
class MultiBoxPrior(Detecting):
    """Anchor boxes around each place of an image: one for each of `sizes` with the first of `ratios`, then the others.

    Shapes
        data (batch, channel, h, w) -> (1, h * w * (sizes + ratios - 1), 4)
    """

    sizes: tuple[float, ...] = attr(
        (1.0,), doc="heights of the boxes, where width is height, as shares of the image"
    )
    ratios: tuple[float, ...] = attr((1.0,), doc="widths over heights")
    clip: bool = attr(False, doc="whether boxes end at the borders of the image")
    steps: tuple[float, ...] = attr(
        (-1.0, -1.0), doc="distance of places, down and across; -1: they fill the image"
    )
    offsets: tuple[float, ...] = attr((0.5, 0.5), doc="where the middle is within a place, down and across")

    def __post_init__(self):
        super().__post_init__()
        for name in ("steps", "offsets"):
            if len(getattr(self, name)) != 2:
                raise AttributeValueError(f"{name} is {getattr(self, name)}, expected two numbers")
        for name in ("sizes", "ratios"):
            if not getattr(self, name):
                raise AttributeValueError(f"{name} is empty, expected one number or more")

    def shape(self, data):
        check_image("data", data)
        h, w, each = data[2], data[3], len(self.sizes) + len(self.ratios) - 1
        return 1, None if h is None or w is None else h * w * each, 4

    def forward(self, xp, data):
        h, w = data.shape[2:]
        down, across = (1 / n if step <= 0 else step for step, n in zip(self.steps, (h, w), strict=True))
        y, x = np.meshgrid(
            (np.arange(h) + self.offsets[0]) * down, (np.arange(w) + self.offsets[1]) * across, indexing="ij"
        )
        kinds = [(size, self.ratios[0]) for size in self.sizes]
        kinds += [(self.sizes[0], ratio) for ratio in self.ratios[1:]]
        found = []
        for size, ratio in kinds:
            width, height = size * h / w * math.sqrt(ratio) / 2, size / math.sqrt(ratio) / 2
            found.append([x - width, y - height, x + width, y + height])
        boxes = np.moveaxis(np.array(found), (0, 1), (2, 3)).reshape(1, -1, 4)
        return xp.asarray((np.clip(boxes, 0, 1) if self.clip else boxes).astype(data.dtype))

    @classmethod
    def sample(cls, draw):
        made = cls(
            sizes=(0.5, 0.25), ratios=(1.0, 2.0, 0.5), clip=draw.boolean(),
            steps=draw.choice(((-1.0, -1.0), (0.25, 0.5))), offsets=draw.choice(((0.5, 0.5), (0.0, 0.25))),
        )  # fmt: skip
        return made, {"data": draw.array((1, 1, draw.size(1, 3), draw.size(1, 3)))}


def variances():
    """The attribute that scales what boxes are to learn."""
    return attr((0.1, 0.1, 0.2, 0.2), doc="what x, y, width and height are divided by")


@op
class MultiBoxTarget(Detecting):
    """What each anchor box is to learn: how it differs from an object, which numbers of that count, and its class.

    Each object takes the box that overlaps it most, of all objects and boxes the best pair first; then each box that
    overlaps an object by more than `overlap_threshold` learns that one. The others learn background, class 0; with
    `negative_mining_ratio` only those that take it least for background, and the rest `ignore_label`. An image without
    objects teaches nothing.

    Shapes
        anchor (1, n, 4), label (batch, objects, 5 or more): class, box; class -1 ends the list,
        cls_pred (batch, classes, n) -> (batch, 4 * n), (batch, 4 * n), (batch, n)
    """

    outputs = ("loc_target", "loc_mask", "cls_target")
    function = "multi_box_target"
    overlap_threshold: float = attr(0.5, doc="overlap above which a box learns an object")
    ignore_label: float = attr(-1.0, doc="class of boxes that learn nothing")
    negative_mining_ratio: float = attr(
        -1.0, doc="boxes that learn background per box that learns an object; -1: all"
    )
    negative_mining_thresh: float = attr(0.5, doc="overlap below which a box may learn background")
    minimum_negative_samples: int = attr(
        0, minimum=0, doc="how many boxes learn background at least, in mining"
    )
    variances: tuple[float, ...] = variances()

    def shape(self, anchor, label, cls_pred):
        if len(anchor) != 3 or anchor[0] not in (1, None) or anchor[2] not in (4, None):
            raise ShapeError(f"anchor is {show(anchor)}, expected (1, boxes, 4)")
        if len(label) != 3 or (label[2] or 5) < 5:
            raise ShapeError(f"label is {show(label)}, expected (batch, objects, 5 or more)")
        if len(cls_pred) != 3:
            raise ShapeError(f"cls_pred is {show(cls_pred)}, expected (batch, classes, boxes)")
        batch, n = merge((label[0], anchor[1]), (cls_pred[0], cls_pred[2])) or ()
        numbers = None if n is None else 4 * n
        return (batch, numbers), (batch, numbers), (batch, n)

    def forward(self, xp, anchor, label, cls_pred):
        parts = [
            self.of_image(np.asarray(anchor[0]), *map(np.asarray, one))
            for one in zip(label, cls_pred, strict=True)
        ]
        shapes = self.shape(anchor.shape, label.shape, cls_pred.shape)
        columns = zip(*parts, strict=True) if parts else ((), (), ())
        return tuple(
            xp.asarray(np.array(column, dtype=anchor.dtype).reshape(shape))
            for column, shape in zip(columns, shapes, strict=True)
        )

    def of_image(self, anchors, label, scores):
        """The targets of the boxes of one image."""
        n = len(anchors)
        place, mask, classes = np.zeros((n, 4)), np.zeros((n, 4)), np.full(n, self.ignore_label)
        ends = np.flatnonzero(label[:, 0] == -1)
        objects = label[: ends[0]] if len(ends) else label
        if not len(objects):
            return place, mask, classes
        learns, best, overlap = self.matched(overlaps(anchors, objects[:, 1:5]))
        background = ~learns
        if self.negative_mining_ratio > 0:
            background &= self.mined(learns, overlap, scores)
        classes[background] = 0
        chosen = objects[best[learns]]
        classes[learns], mask[learns] = chosen[:, 0] + 1, 1
        boxes, targets = centred(anchors[learns]), centred(chosen[:, 1:5])
        place[learns, :2] = (targets[:, :2] - boxes[:, :2]) / boxes[:, 2:]
        with np.errstate(divide="ignore", invalid="ignore"):  # of a box or an object without area
            place[learns, 2:] = np.log(targets[:, 2:] / boxes[:, 2:])
        place[learns] /= np.array(self.variances)
        return place, mask, classes

    def matched(self, overlap):
        """Which boxes learn an object, for each box the object that it overlaps most, and how much it does."""
        learns, best = np.zeros(len(overlap), bool), overlap.argmax(axis=1)
        left = overlap.copy()  # of boxes and objects that have no partner
        while left.size:
            box, thing = np.unravel_index(left.argmax(), left.shape)
            if not left[box, thing] > 1e-6:
                break
            learns[box], best[box] = True, thing
            left[box, :] = left[:, thing] = -1
        highest = overlap.max(axis=1)
        if self.overlap_threshold > 0:
            learns |= highest > self.overlap_threshold
        return learns, best, highest

    def mined(self, learns, overlap, scores):
        """The boxes that learn background: those that take it least for that, of those that overlap objects little."""
        positive = int(learns.sum())
        count = max(int(positive * self.negative_mining_ratio), self.minimum_negative_samples)
        count = min(count, len(learns) - positive)
        e = np.exp(scores - scores.max(axis=0))
        share = e[0] / e.sum(axis=0)
        candidates = np.flatnonzero(~learns & (overlap < self.negative_mining_thresh))
        hardest = candidates[np.argsort(share[candidates], kind="stable")]
        chosen = np.zeros(len(learns), bool)
        chosen[hardest[:count]] = True
        return chosen

    @classmethod
    def sample(cls, draw):
        batch, n, classes = draw.size(1, 2), draw.size(2, 4), draw.size(2, 3)
        made = cls(
            negative_mining_ratio=draw.choice((-1.0, 1.0)), negative_mining_thresh=draw.choice((0.5, 0.9))
        )
        low = draw.array((1, n, 2), low=0.0, high=0.5)
        anchor = np.concatenate([low, low + draw.array((1, n, 2), low=0.25, high=0.5)], axis=2)
        low = draw.array((batch, 2, 2), low=0.0, high=0.5)
        label = np.concatenate(
            [np.zeros((batch, 2, 1)), low, low + draw.array((batch, 2, 2), low=0.25, high=0.5)], axis=2
        )
        label[:, 1, 0] = draw.choice((-1.0, 1.0))
        return made, {"anchor": anchor, "label": label, "cls_pred": draw.array((batch, classes, n))}


@op
class MultiBoxDetection(Detecting):
    """What was found: for each box its class from 0, its score and where it is, best first; class -1 says nothing.

    So are boxes marked that score below `threshold` as every class, that overlap a better one of their class by
    `nms_threshold` or more, or that are not among the `nms_topk` best.

    Shapes
        cls_prob (batch, classes, n), loc_pred (batch, 4 * n), anchor (1, n, 4) -> (batch, n, 6):
        class, score, left, top, right, bottom
    """

    function = "multi_box_detection"
    clip: bool = attr(True, doc="whether boxes end at the borders of the image")
    threshold: float = attr(0.01, doc="the least score")
    background_id: int = attr(0, minimum=0, maximum=0, doc="the class of background, 0")
    nms_threshold: float = attr(
        0.5, doc="overlap from which the worse of two is none; outside of 0 to 1 none is"
    )
    force_suppress: bool = attr(False, doc="whether boxes of other classes count too")
    variances: tuple[float, ...] = variances()
    nms_topk: int = attr(-1, doc="how many of the best are kept; -1: all")

    def shape(self, cls_prob, loc_pred, anchor):
        if len(cls_prob) != 3:
            raise ShapeError(f"cls_prob is {show(cls_prob)}, expected (batch, classes, boxes)")
        batch, _, n = cls_prob
        merge(loc_pred, (batch, None if n is None else 4 * n))
        merge(anchor, (1, n, 4))
        return batch, n, 6

    def forward(self, xp, cls_prob, loc_pred, anchor):
        found = [
            self.of_image(*map(np.asarray, (p, q.reshape(-1, 4), anchor[0])))
            for p, q in zip(cls_prob, loc_pred, strict=True)
        ]
        return xp.asarray(
            np.array(found, cls_prob.dtype).reshape(self.shape(cls_prob.shape, loc_pred.shape, anchor.shape))
        )

    def of_image(self, prob, moved, anchors):
        """What was found in one image."""
        y = np.full((len(anchors), 6), -1.0)
        if len(prob) < 2:
            return y
        best, score = prob[1:].argmax(axis=0), prob[1:].max(axis=0)
        kept = np.flatnonzero(score >= self.threshold)
        rows = np.column_stack([best[kept], score[kept], self.boxes(moved[kept], anchors[kept])])
        y[: len(rows)] = rows
        if not 0 < self.nms_threshold <= 1:
            return y
        count = len(rows) if self.nms_topk <= 0 else min(self.nms_topk, len(rows))
        y[:count] = rows[
            np.argsort(-rows[:, 1], kind="stable")[:count]
        ]  # behind them the others lie as they lay
        y[count : len(rows), 0] = -1
        overlap = overlaps(y[:count, 2:], y[:count, 2:])
        for i in range(count):
            if y[i, 0] >= 0:
                alike = (y[:count, 0] == y[i, 0]) | self.force_suppress
                worse = np.arange(count) > i
                y[:count, 0][worse & alike & (overlap[i] >= self.nms_threshold)] = -1
        return y

    def boxes(self, moved, anchors):
        """Where boxes are, from their anchors and how they differ from them."""
        a, v = centred(anchors), self.variances
        middle = moved[:, :2] * v[:2] * a[:, 2:] + a[:, :2]
        half = np.exp(moved[:, 2:] * v[2:]) * a[:, 2:] / 2
        boxes = np.concatenate([middle - half, middle + half], axis=1)
        return np.clip(boxes, 0, 1) if self.clip else boxes

    @classmethod
    def sample(cls, draw):
        batch, n, classes = draw.size(1, 2), draw.size(1, 4), draw.size(2, 3)
        made = cls(
            clip=draw.boolean(), threshold=draw.choice((0.01, 0.4)), force_suppress=draw.boolean(),
            nms_topk=draw.choice((-1, 1)),
        )  # fmt: skip
        low = draw.array((1, n, 2), low=0.0, high=0.5)
        anchor = np.concatenate([low, low + draw.array((1, n, 2), low=0.25, high=0.5)], axis=2)
        scores = draw.distinct((batch, classes, n))  # which are apart in single precision too
        prob = 0.5 + 0.45 * scores / max(1.0, np.max(np.abs(scores)))
        return made, {"cls_prob": prob, "loc_pred": draw.array((batch, 4 * n)), "anchor": anchor}
