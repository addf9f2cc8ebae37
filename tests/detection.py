"""What ops of detectors must give, as MXNet documents it: one box after the other, in Python."""

import math

import numpy as np


def iou(a, b):
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def prior(op, data):
    """Boxes place by place, in each first the sizes, then the ratios."""
    h, w = data.shape[2:]
    step = [1 / n if s <= 0 else s for s, n in zip(op.steps, (h, w), strict=True)]
    found = []
    for i in range(h):
        for j in range(w):
            y, x = (i + op.offsets[0]) * step[0], (j + op.offsets[1]) * step[1]
            kinds = [(s, op.ratios[0]) for s in op.sizes] + [(op.sizes[0], r) for r in op.ratios[1:]]
            for size, ratio in kinds:
                half_w, half_h = size * h / w * ratio**0.5 / 2, size / ratio**0.5 / 2
                box = [x - half_w, y - half_h, x + half_w, y + half_h]
                found.append([min(max(v, 0), 1) for v in box] if op.clip else box)
    return np.array([found])


def encode(anchor, box, variances):
    """How a box differs from its anchor."""
    w, h = anchor[2] - anchor[0], anchor[3] - anchor[1]
    dx = (box[0] + box[2] - anchor[0] - anchor[2]) / 2 / w
    dy = (box[1] + box[3] - anchor[1] - anchor[3]) / 2 / h
    parts = dx, dy, math.log((box[2] - box[0]) / w), math.log((box[3] - box[1]) / h)
    return [p / v for p, v in zip(parts, variances, strict=True)]


def partners(op, anchors, objects):
    """For each anchor that learns an object its number; the best pair first, then all above the threshold."""
    table, found, taken = [[iou(a, o[1:5]) for o in objects] for a in anchors], {}, set()
    while len(taken) < len(objects):
        pairs = [
            (table[j][k], -j, -k) for j in range(len(anchors)) for k in range(len(objects)) if j not in found and k not in taken
        ]  # fmt: skip
        best, j, k = max(pairs, default=(0, 0, 0))
        if best <= 1e-6:
            break
        found[-j] = -k
        taken.add(-k)
    for j, row in enumerate(table):
        if j not in found and op.overlap_threshold > 0 and max(row) > op.overlap_threshold:
            found[j] = row.index(max(row))
    return table, found


def target(op, anchor, label, cls_pred):
    """Offsets, masks and classes, box by box."""
    batch, n = len(label), anchor.shape[1]
    offsets, masks = np.zeros((batch, n, 4)), np.zeros((batch, n, 4))
    classes = np.full((batch, n), op.ignore_label)
    for b in range(batch):
        objects = []
        for row in label[b]:
            if row[0] == -1:
                break
            objects.append(row)
        if not objects:
            continue
        table, found = partners(op, anchor[0], objects)
        rest = [j for j in range(n) if j not in found]
        if op.negative_mining_ratio > 0:
            e = np.exp(cls_pred[b])
            share = e[0] / e.sum(axis=0)
            rest = sorted(
                (j for j in rest if max(table[j]) < op.negative_mining_thresh), key=lambda j: share[j]
            )
            rest = rest[: max(int(len(found) * op.negative_mining_ratio), op.minimum_negative_samples)]
        classes[b, rest] = 0
        for j, k in found.items():
            classes[b, j], masks[b, j] = objects[k][0] + 1, 1
            offsets[b, j] = encode(anchor[0, j], objects[k][1:5], op.variances)
    return offsets.reshape(batch, -1), masks.reshape(batch, -1), classes


def decode(op, anchor, moved):
    """A box from its anchor and how it differs."""
    w, h = anchor[2] - anchor[0], anchor[3] - anchor[1]
    dx, dy, dw, dh = (m * v for m, v in zip(moved, op.variances, strict=True))
    x, y = dx * w + (anchor[0] + anchor[2]) / 2, dy * h + (anchor[1] + anchor[3]) / 2
    half_w, half_h = math.exp(dw) * w / 2, math.exp(dh) * h / 2
    box = [x - half_w, y - half_h, x + half_w, y + half_h]
    return [min(max(v, 0), 1) for v in box] if op.clip else box


def found(op, cls_prob, loc_pred, anchor):
    """Classes, scores and boxes; the better of two that overlap stays."""
    batch, _, n = cls_prob.shape
    y = np.full((batch, n, 6), -1.0)
    for b in range(batch):
        rows = []
        for j in range(n):
            scores = list(cls_prob[b, 1:, j])
            if scores and max(scores) >= op.threshold:
                box = decode(op, anchor[0, j], loc_pred[b, 4 * j : 4 * j + 4])
                rows.append([scores.index(max(scores)), max(scores), *box])
        if 0 < op.nms_threshold <= 1:
            kept = len(rows) if op.nms_topk <= 0 else op.nms_topk
            best = [list(row) for row in sorted(rows, key=lambda row: -row[1])[:kept]]
            for i, row in enumerate(best):
                for better in best[:i]:
                    alike = op.force_suppress or better[0] == row[0]
                    if better[0] >= 0 and alike and iou(better[2:], row[2:]) >= op.nms_threshold:
                        row[0] = -1
                        break
            rows = best + [[-1, *row[1:]] for row in rows[kept:]]
        y[b, : len(rows)] = np.reshape(rows, (-1, 6))
    return y


ORACLES_OF_DETECTION = {"MultiBoxPrior": prior, "MultiBoxTarget": target, "MultiBoxDetection": found}
