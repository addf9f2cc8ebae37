"""Rules for a batch of the ops of networks: layers, convolutions, windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.apply import update
from tinygrad_lesson.eager.batching import (
    RULES,
    Rule,
    all_in_front,
    changed,
    done,
    elementwise,
    in_front,
    reduction,
    table,
    visible,
)
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.dtypes import floating, roomy
from tinygrad_lesson.engine.kinds import Elementwise, Reduction
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import normalize_axis, reduced_axes


def affine(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Rows of all samples at once; samples with weights of their own by a product of matrices."""
    data, weight = in_front(n, xs[0], flags[0]), xs[1]
    if op.flatten:
        data = F.reshape(data, shape=(*data.shape[:2], -1))
    if not any(flags[1:]):
        return done(changed(op, flatten=False), [data, *xs[1:]])
    turned = F.swapaxes(in_front(n, weight, flags[1]), -1, -2)
    turned = F.reshape(turned, shape=(n, *[1] * (data.ndim - 3), *turned.shape[1:]))
    single = data.ndim == 2
    y = F.matmul(F.expand_dims(data, axis=1) if single else data, turned)
    if not op.no_bias:
        bias = in_front(n, xs[2], flags[2])
        y = y + F.reshape(bias, shape=(n, *[1] * (y.ndim - 2), bias.shape[-1]))
    return [F.squeeze(y, axis=1) if single else y]


def normalizing(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Along one axis, with parameters that all samples share."""
    return done(changed(op, axis=normalize_axis(op.axis, xs[0].ndim - 1) + 1), xs)


def scaled(rule: Rule) -> Rule:
    """Of normalizations; with `gamma` and `beta` of each sample's own, these come after one with 1 and 0."""

    def own(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
        data = in_front(n, xs[0], flags[0])
        if not any(flags[1:]):
            return rule(n, op, [data, *xs[1:]], (True, False, False))
        plain = [np.full(x.shape[-1:], value, x.dtype) for x, value in zip(xs[1:], (1, 0), strict=True)]
        y, *others = rule(n, op, [data, *plain], (True, False, False))
        _, shape = op.groups(data.shape[1:])
        gamma, beta = [
            F.reshape(x, shape=(n, *shape)) if flag else x
            for x, flag in zip((xs[1], xs[2]), flags[1:], strict=True)
        ]
        gamma, beta = [x if x.ndim > 1 else F.reshape(x, shape=shape) for x in (gamma, beta)]
        return [y * gamma + beta, *others]

    return own


def normalizing_batches(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Channels of all samples side by side. Samples move the moving statistics one after the other."""
    states = xs[3:]
    if op.uses_batch and (any(flags[3:]) or any(x.level is not None for x in states)):
        return None
    data, *parameters = all_in_front(n, xs, flags)
    axis = normalize_axis(op.axis, data.ndim - 1)
    shape = data.shape[1:]
    side = F.transpose(data, axes=(*range(1, axis + 1), 0, *range(axis + 1, data.ndim)))
    side = F.reshape(side, shape=(*shape[:axis], n * shape[axis], *shape[axis + 1 :]))
    vectors = [F.reshape(x, shape=(-1,)) for x in parameters]
    if op.uses_batch:  # of states at 0, what each sample adds to them is left
        vectors[2:] = [Tensor(np.zeros(n * shape[axis], x.dtype)) for x in states]
    y, *others = done(changed(op, axis=axis), [side, *vectors])
    y = F.reshape(y, shape=(*shape[:axis], n, *shape[axis:]))
    y = F.transpose(y, axes=(axis, *range(axis), *range(axis + 1, y.ndim)))
    others = [F.reshape(x, shape=(n, -1)) for x in others]
    if op.uses_batch and not RECORDING.replaying:
        for state, added in zip(states, vectors[2:], strict=True):
            for each in np.reshape(added.array, (n, -1)):
                moved = (state.array * op.momentum ** steps_below(data) + each).astype(state.dtype)
                update(state, moved, op)
    return [y, *others]


def images(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops on an image or a batch of such: all images in one batch."""
    (x,) = xs
    y = done(op, [F.reshape(x, shape=(-1, *x.shape[-3:]))])[0]
    return [F.reshape(y, shape=x.shape)]


def steps_below(x: Any) -> int:
    """How many samples a tensor holds for levels of `vmap` below, each of which moves the statistics."""
    count = 1
    while x.level is not None:
        count, x = count * getattr(x.level, "count", 1), x.below
    return count


def batch_last(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool], count: int = 1) -> Any:
    """Of ops on images whose batch is last: those of all samples in one long batch, in the first `count` inputs."""
    batch = xs[0].shape[-1]
    long = [F.transpose(x, axes=(*range(1, x.ndim - 1), 0, x.ndim - 1)) for x in xs[:count]]
    long = [F.reshape(x, shape=(*x.shape[:-2], n * batch)) for x in long]
    op = changed(op, to=(*op.to[:-1], n * batch)) if getattr(op, "to", ()) else op
    (y,) = done(op, [*long, *xs[count:]])
    y = F.reshape(y, shape=(*y.shape[:-1], n, batch))
    return [F.transpose(y, axes=(y.ndim - 2, *range(y.ndim - 2), y.ndim - 1))]


def grouped(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Channels of all samples side by side, in more groups; where they share filters, one long batch."""
    if len(xs) > 1 and not any(flags[1:]) and op.name != "SlidingProductWeight":
        return batch_last(n, op, xs, flags) if not any(flags[2:]) else None
    xs = all_in_front(n, xs, flags)
    long = [F.reshape(x, shape=(n * x.shape[1], *x.shape[2:])) for x in xs]
    more = {"to": (n * op.to[0], *op.to[1:])} if getattr(op, "to", ()) else {}
    (y,) = done(changed(op, num_group=n * op.num_group, **more), long)
    return [F.reshape(y, shape=(n, y.shape[0] // n, *y.shape[1:]))]


def convolution(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Images of all samples in one long batch, or with filters of their own side by side."""
    if not any(flags[1:]):
        return rows(n, op, xs, flags)
    x, *parameters = all_in_front(n, xs, flags)
    side = F.reshape(F.swapaxes(x, 0, 1), shape=(x.shape[1], n * x.shape[2], *x.shape[3:]))
    long = [F.reshape(p, shape=(n * p.shape[1], *p.shape[2:])) for p in parameters]
    (y,) = done(changed(op, num_group=n * op.num_group, num_filter=n * op.num_filter), [side, *long])
    return [F.swapaxes(F.reshape(y, shape=(y.shape[0], n, op.num_filter, *y.shape[2:])), 0, 1)]


def convolving(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Vectors of all samples as the channels of one image, each with a filter of its own."""
    a, v = all_in_front(n, xs, flags)
    size = v.shape[1]
    if {a.dtype.kind, v.dtype.kind} != {"f"}:
        return None
    window = {"kernel": (size,), "pad": (size - 1 if op.mode == "full" else 0,), "no_bias": True}
    filters = F.flip(F.reshape(v, shape=(n, 1, size)), axis=2)
    image = F.reshape(a, shape=(1, *a.shape))
    return [F.reshape(F.convolution(image, filters, num_filter=n, num_group=n, **window), shape=(n, -1))]


def embedding(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Rows of a table."""
    return EVERY["Take"](n, op.taken, xs[::-1], flags[::-1])


def moments(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Over the same axes, which come one later."""
    shape = op.shape(xs[0].shape[1:])[0]
    axes = reduced_axes(xs[0].ndim - 1, op.axes)
    return [F.reshape(y, shape=(n, *shape)) for y in done(changed(op, axes=tuple([a + 1 for a in axes])), xs)]


def rows(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops that treat each row of their first inputs alike: rows of all samples in one long array."""
    count = 2 if op.inputs[:2] == ("x", "data") else 1
    if any(flags[count:]):
        return None
    if getattr(op, "batch_last", False):
        return batch_last(n, op, all_in_front(n, xs, flags), flags, count)
    firsts = [in_front(n, x, flag) for x, flag in zip(xs[:count], flags[:count], strict=True)]
    batch = firsts[0].shape[1]
    long = [F.reshape(x, shape=(n * batch, *x.shape[2:])) for x in firsts]
    op = changed(op, to=(n * batch, *op.to[1:])) if getattr(op, "to", ()) else op
    return [F.reshape(y, shape=(n, batch, *y.shape[1:])) for y in done(op, [*long, *xs[count:]])]


def targets(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Classes along an axis of the second input."""
    xs = all_in_front(n, xs, flags)
    return done(changed(op, axis=normalize_axis(op.axis, xs[1].ndim - 1) + 1), xs)


def label_weights(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """A number that shapes tell, or one that each sample's labels tell."""
    label, like = (visible(x, flag) for x, flag in zip(xs, flags, strict=True))
    dtype, share = floating(xs[1].dtype), op.share(label, like)
    if share is not None:
        whole = F.full(shape=op.shape(label, like), value=share, dtype=str(dtype))
        return [in_front(n, whole, False)]
    labels = F.reshape(in_front(n, xs[0], flags[0]), shape=(n, *op.spread(like)))
    labels = F.trunc(labels) if labels.dtype.kind == "f" else labels
    counts = F.cast(F.not_equal(labels, math.trunc(op.ignore_label)), dtype=str(roomy(dtype)))
    if op.normalization == "valid":
        share = op.scale / F.maximum(F.sum(counts, axis=tuple(range(1, counts.ndim)), keepdims=True), 1)
    else:
        share = changed(op, use_ignore=False).share(label, like)
    return [F.cast(counts * share if op.use_ignore else share, dtype=str(dtype))]


def answers(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of losses whose gradient begins at each row alone: rows of all samples in one long array."""
    xs = all_in_front(n, xs, flags)
    data, label = [x if x.ndim > 1 else F.reshape(x, shape=(n, 1)) for x in xs]
    if op.name != "SVMOutput":
        label = F.reshape(label, shape=data.shape)
    y = done(op, [F.reshape(x, shape=(n * x.shape[1], *x.shape[2:])) for x in (data, label)])[0]
    return [F.reshape(y, shape=xs[0].shape)]


def makes_loss(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """With what shapes say of the scale of the gradient; valid elements are counted sample by sample."""
    if op.normalization == "valid":
        return None
    rows_of = math.prod(xs[0].shape[1:-1]) if op.normalization == "batch" else 1
    return done(changed(op, grad_scale=op.grad_scale / rows_of, normalization="null"), xs)


def softmax_of_labels(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Rows of all samples in one long array, where the shapes say what a label counts for."""
    xs = all_in_front(n, xs, flags)
    data, label = xs[-2:]
    scale = op.grad_scale
    if data.shape != label.shape:
        if op.normalization == "valid":
            return None
        scale = scale * n if op.normalization == "batch" else scale
    long = [F.reshape(x, shape=(n * x.shape[1], *x.shape[2:])) for x in xs]
    return [F.reshape(y, shape=data.shape) for y in done(changed(op, grad_scale=scale), long)]


EVERY: dict[str, Rule] = {
    **RULES,
    **table(answers, "LinearRegressionOutput MAERegressionOutput LogisticRegressionOutput SVMOutput"),
    **table(rows, "Pooling SpreadWindows PlaceMax PickMax L2Normalization RoiWeights TurnedWeights"),
    **table(softmax_of_labels, "SoftmaxOutput SoftmaxLoss"),
    **table(grouped, "SlidingProduct SlidingProductData SlidingProductWeight Im2Col Col2Im"),
    **table(scaled(normalizing), "LayerNorm LayerNormMoments"),
    "BatchNorm": normalizing_batches,
    "Convolution": convolution,
    "Convolve": convolving,
    "Embedding": embedding,
    "FullyConnected": affine,
    "ImageNormalize": images,
    "InstanceNorm": scaled(rows),
    "LabelWeights": label_weights,
    "MakeLoss": makes_loss,
    "Moments": moments,
    "Targets": targets,
}

ALONE = {  # what is carried out sample by sample even so -> why
    **dict.fromkeys(("AdvancedPut", "AdvancedSlice"), "a truth value in the index has no axes"),
    **dict.fromkeys(("AllFinite", "Allclose", "MultiAllFinite"), "the answer is about all numbers at once"),
    **dict.fromkeys(("MakeLoss", "SoftmaxLoss", "SoftmaxOutput"), "each sample's valid labels are counted"),
    **dict.fromkeys(
        ("MultiBoxDetection", "MultiBoxTarget", "Proposal", "RoiPlaces"), "boxes are gone through one by one"
    ),
    "Histogram": "the numbers of each sample are counted",
}


def no_rule(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Sample by sample."""
    return None


def rule_of(op: Op) -> Rule:
    """The rule of an op: from its kind, or from the table."""
    if isinstance(op, Elementwise):
        return elementwise
    if isinstance(op, Reduction):
        return reduction
    return EVERY.get(op.name, no_rule) if op.ours else no_rule
