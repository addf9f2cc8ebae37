"""Regions in which a detector looks for objects, from scores and shifts of anchor boxes: `Proposal`."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import merge, show
from tinygrad_lesson.ops.detection import Detecting


@op
class Proposal(Detecting):
    """The regions of an image with the best scores, of those that overlap by more than `threshold` the best alone.

    Around each place lie anchor boxes of all `ratios` and `scales`; `bbox_pred` moves and stretches them. Regions end
    at the image; those that are too small, or lie around places outside of it, get the score -1. Where too few are
    left they are repeated. Boxes are (left, top, right, bottom) in pixels, both ends belong to them.

    Shapes
        cls_prob (batch, 2 * anchors, h, w): background, then objects; bbox_pred (batch, 4 * anchors, h, w);
        im_info (batch, 3): height, width, scale -> (batch * rpn_post_nms_top_n, 5): image, box; (..., 1): score

    Source
        Ren et al. 2015, Faster R-CNN; MXNet 1.9, `contrib.Proposal` and `contrib.MultiProposal`.
    """

    outputs = ("output", "score")
    rpn_pre_nms_top_n: int = attr(6000, doc="how many of the best scores are compared; below 1 all")
    rpn_post_nms_top_n: int = attr(300, minimum=1, doc="how many regions there are for an image")
    threshold: float = attr(0.7, doc="overlap above which the lower score goes")
    rpn_min_size: int = attr(16, doc="the least height and width, in pixels of an image of scale 1")
    scales: tuple[float, ...] = attr((4.0, 8.0, 16.0, 32.0), doc="sizes of anchors, in `feature_stride`")
    ratios: tuple[float, ...] = attr((0.5, 1.0, 2.0), doc="heights of anchors over their widths")
    feature_stride: int = attr(16, minimum=1, doc="distance of places, in pixels")
    output_score: bool = attr(False, doc="whether scores are shown")
    iou_loss: bool = attr(False, doc="whether `bbox_pred` moves the four sides, in pixels")

    @property
    def visible(self):
        """Scores only where they are asked for."""
        return 1 + self.output_score

    def shape(self, cls_prob, bbox_pred, im_info):
        count = len(self.scales) * len(self.ratios)
        if len(cls_prob) != 4 or cls_prob[1] not in (2 * count, None):
            raise ShapeError(f"cls_prob is {show(cls_prob)}, expected (batch, {2 * count}, height, width)")
        batch, _, h, w = cls_prob
        batch, *_ = merge(bbox_pred, (batch, 4 * count, h, w)) or ()
        batch, _ = merge(im_info, (batch, 3)) or ()
        regions = None if batch is None else batch * self.rpn_post_nms_top_n
        return (regions, 5), (regions, 1)

    def dtype(self, cls_prob, bbox_pred, im_info):
        kind = floating(cls_prob)
        return kind, kind

    def forward(self, xp, cls_prob, bbox_pred, im_info):
        kind, count = floating(cls_prob.dtype), self.rpn_post_nms_top_n
        y = np.zeros((len(cls_prob), count, 6), kind)
        for i, (scores, moves, info) in enumerate(zip(cls_prob, bbox_pred, im_info, strict=True)):
            found = self.of_image(*(np.asarray(x, kind) for x in (scores, moves, info)))
            y[i] = np.insert(found[np.arange(count) % len(found)], 0, i, axis=1)
        rows = y.reshape(-1, 6)
        return xp.asarray(rows[:, :5]), xp.asarray(rows[:, 5:])

    def anchors(self):
        """The anchor boxes of the first place.

        Shapes
            (anchors, 4)
        """
        side, found = self.feature_stride, []
        for ratio in self.ratios:
            width = math.floor(math.sqrt(math.floor(side * side / ratio)) + 0.5)
            height = math.floor(width * ratio + 0.5)
            middle = (side - 1) / 2
            for scale in self.scales:
                reach = [(n * scale - 1) / 2 for n in (width, height)]
                found.append([middle - reach[0], middle - reach[1], middle + reach[0], middle + reach[1]])
        return np.array(found)

    def of_image(self, scores, moves, info):
        """The regions of one image, and their scores.

        Shapes
            scores (2 * anchors, h, w), moves (4 * anchors, h, w), info (3,) -> (regions, 5)
        """
        count, (h, w) = len(scores) // 2, scores.shape[1:]
        scores = scores[count:].transpose(1, 2, 0).copy()
        moves = moves.reshape(count, 4, h, w).transpose(2, 3, 0, 1)
        down, across = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
        shift = np.stack([across, down, across, down], axis=-1)[:, :, None] * self.feature_stride
        boxes = self.moved((self.anchors() + shift).astype(scores.dtype), moves)
        height, width, scale = info
        boxes = np.maximum(np.minimum(boxes, np.tile([width - 1, height - 1], 2)), 0)
        scores[
            (down >= int(height / self.feature_stride)) | (across >= int(width / self.feature_stride))
        ] = -1
        least = self.rpn_min_size * scale
        small = ((boxes[..., 2:] - boxes[..., :2] + 1) < least).any(axis=-1)
        boxes[small] += np.array([-0.5, -0.5, 0.5, 0.5]) * least
        scores[small] = -1
        rows = np.column_stack([boxes.reshape(-1, 4), scores.ravel()])
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        rows = rows[: self.rpn_pre_nms_top_n] if self.rpn_pre_nms_top_n > 0 else rows
        return self.apart(rows)

    def moved(self, boxes, moves):
        """Anchors, moved and stretched."""
        if self.iou_loss:
            return boxes + moves
        size = boxes[..., 2:] - boxes[..., :2] + 1
        middle = boxes[..., :2] + (size - 1) / 2 + moves[..., :2] * size
        reach = (np.exp(moves[..., 2:]) * size - 1) / 2
        return np.concatenate([middle - reach, middle + reach], axis=-1)

    def apart(self, rows):
        """Of regions that overlap the first, as many as are wanted."""
        sides = rows[:, 2:4] - rows[:, :2] + 1
        area, kept = sides.prod(axis=1), list[int]()
        left = np.arange(len(rows))
        while len(left) and len(kept) < self.rpn_post_nms_top_n:
            first, left = left[0], left[1:]
            kept.append(first)
            low = np.maximum(rows[first, :2], rows[left, :2])
            high = np.minimum(rows[first, 2:4], rows[left, 2:4])
            shared = np.maximum(high - low + 1, 0).prod(axis=1)
            left = left[shared <= self.threshold * (area[first] + area[left] - shared)]
        return rows[kept]

    def oracle(self, cls_prob, bbox_pred, im_info):
        count, (h, w), stride = cls_prob.shape[1] // 2, cls_prob.shape[2:], self.feature_stride
        rows = list[tuple[float, ...]]()
        for b, (height, width, scale) in enumerate(im_info):
            found = []
            for i, j, a in np.ndindex(h, w, count):
                x1, y1, x2, y2 = self.anchors()[a] + stride * np.array([j, i, j, i])
                d = bbox_pred[b, 4 * a : 4 * a + 4, i, j]
                if self.iou_loss:
                    box = [x1 + d[0], y1 + d[1], x2 + d[2], y2 + d[3]]
                else:
                    n, m = x2 - x1 + 1, y2 - y1 + 1
                    x, y = x1 + (n - 1) / 2 + d[0] * n, y1 + (m - 1) / 2 + d[1] * m
                    n, m = np.exp(d[2]) * n - 1, np.exp(d[3]) * m - 1
                    box = [x - n / 2, y - m / 2, x + n / 2, y + m / 2]
                ends = (width - 1, height - 1) * 2
                box = [max(min(p, end), 0) for p, end in zip(box, ends, strict=True)]
                score, least = cls_prob[b, count + a, i, j], self.rpn_min_size * scale
                if i >= int(height / stride) or j >= int(width / stride):
                    score = -1
                if box[2] - box[0] + 1 < least or box[3] - box[1] + 1 < least:
                    score = -1
                    box = [box[0] - least / 2, box[1] - least / 2, box[2] + least / 2, box[3] + least / 2]
                found.append((*box, score))
            found.sort(key=lambda row: -row[4])
            kept = list[tuple[float, ...]]()
            for row in found[: self.rpn_pre_nms_top_n if self.rpn_pre_nms_top_n > 0 else None]:
                if len(kept) < self.rpn_post_nms_top_n and all(
                    self.overlap(row, k) <= self.threshold for k in kept
                ):
                    kept.append(row)
            rows += [(b, *kept[k % len(kept)]) for k in range(self.rpn_post_nms_top_n)]
        y = np.array(rows)
        return y[:, :5], y[:, 5:]

    @staticmethod
    def overlap(a, b):
        """The pixels that two boxes share over those that they cover together."""
        shared = math.prod(max(0, min(a[k + 2], b[k + 2]) - max(a[k], b[k]) + 1) for k in (0, 1))
        areas = [math.prod(x[k + 2] - x[k] + 1 for k in (0, 1)) for x in (a, b)]
        return shared / (sum(areas) - shared)

    @classmethod
    def sample(cls, draw):
        batch, h, w = draw.size(1, 2), draw.size(1, 3), draw.size(1, 3)
        made = cls(
            rpn_pre_nms_top_n=draw.choice((-1, 5)), rpn_post_nms_top_n=draw.size(1, 4), rpn_min_size=4,
            threshold=draw.choice((0.3, 0.7)), scales=(1.0, 2.0), ratios=(0.5, 2.0)[: draw.size(1, 2)],
            feature_stride=16, output_score=draw.boolean(), iou_loss=draw.boolean(),
        )  # fmt: skip
        count = 2 * len(made.ratios)
        scores = draw.distinct((batch, 2 * count, h, w))
        info = np.array([[16.0 * h, 16.0 * w, 1.0]] * batch)
        return made, {"cls_prob": scores, "bbox_pred": draw.array((batch, 4 * count, h, w)), "im_info": info}
