"""Rules for a batch of the ops of networks: layers, convolutions, windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.eager.apply import TENSORS as F
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
)
from tinygrad_lesson.engine.kinds import Elementwise, Reduction
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import normalize_axis


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


def sharing(rule: Rule) -> Rule:
    """Of ops whose other inputs are parameters, as long as all samples share these."""
    return lambda n, op, xs, flags: None if any(flags[1:]) else rule(n, op, xs, flags)


def normalizing(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Along one axis, with parameters that all samples share."""
    return done(changed(op, axis=normalize_axis(op.axis, xs[0].ndim - 1) + 1), xs)


def batch_last(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops on images whose batch is last: those of all samples in one long batch."""
    x, rank = xs[0], xs[0].ndim - 1
    batch = x.shape[-1]
    long = F.transpose(x, axes=(*range(1, rank), 0, rank))
    long = F.reshape(long, shape=(*x.shape[1:-1], n * batch))
    op = changed(op, to=(*op.to[:-1], n * batch)) if getattr(op, "to", ()) else op
    (y,) = done(op, [long, *xs[1:]])
    y = F.reshape(y, shape=(*y.shape[:-1], n, batch))
    return [F.transpose(y, axes=(y.ndim - 2, *range(y.ndim - 2), y.ndim - 1))]


def grouped(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of products with filters, where each sample has its own: channels of all samples side by side, in more groups."""
    if not flags[1] and op.name != "SlidingProductWeight":
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


def embedding(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Rows of a table that all samples share."""
    return None if flags[1] else done(op, xs)


def rows(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops that treat each row of their first inputs alike: rows of all samples in one long array."""
    count = 2 if op.inputs[:2] == ("x", "data") else 1
    if (
        any(flags[count:])
        or getattr(op, "batch_last", False)
        or getattr(op, "mode", "instance") != "instance"
    ):
        return None
    firsts = [in_front(n, x, flag) for x, flag in zip(xs[:count], flags[:count], strict=True)]
    batch = firsts[0].shape[1]
    long = [F.reshape(x, shape=(n * batch, *x.shape[2:])) for x in firsts]
    op = changed(op, to=(n * batch, *op.to[1:])) if getattr(op, "to", ()) else op
    return [F.reshape(y, shape=(n, batch, *y.shape[1:])) for y in done(op, [*long, *xs[count:]])]


def targets(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Classes along an axis of the second input."""
    xs = all_in_front(n, xs, flags)
    return done(changed(op, axis=normalize_axis(op.axis, xs[1].ndim - 1) + 1), xs)


EVERY: dict[str, Rule] = {
    **RULES,
    **table(rows, "Pooling SpreadWindows PlaceMax PickMax InstanceNorm L2Normalization"),
    **table(grouped, "SlidingProduct SlidingProductData SlidingProductWeight"),
    **table(sharing(normalizing), "LayerNorm LayerNormMoments"),
    "Convolution": convolution,
    "Embedding": embedding,
    "FullyConnected": affine,
    "Targets": targets,
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
