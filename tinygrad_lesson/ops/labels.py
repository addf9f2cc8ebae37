"""What labels of classes say: which probabilities should be had, and what each label counts for."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, roomy, rounded
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis
from tinygrad_lesson.ops.fills import filled
from tinygrad_lesson.ops.index import with_size


@declares
class FromLabels(Op):
    """What labels say of numbers `like` those that a softmax gives along `axis`.

    Shapes
        like (batch, classes, ...); label as `like`, with probabilities, or with one class number,
        whose fraction is cut off, in the place of each vector along `axis`
    """

    axis: int = attr(-1, doc="the axis of the classes")

    def spread(self, like):
        """The shape in which class numbers broadcast with `like`."""
        return with_size(like, self.axis, 1)

    def dtype(self, label, like):
        return floating(like)

    def number(self, dtype):
        """What turns a number into one of this type."""
        return np.dtype(dtype).type

    @classmethod
    def drawn(cls, draw, **attributes):
        """An op with these attributes and some axis, and its inputs: labels of either kind."""
        like = draw.shape(min_rank=2, min_size=2)
        op = cls(axis=draw.choice((1, -1)), **attributes)
        shape = like if draw.boolean() else tuple(n for a, n in enumerate(like) if a != op.axis % len(like))
        kinds = like[op.axis]
        label = draw.array(shape, low=-0.9, high=kinds + 0.9, away_from=tuple(range(1, kinds + 1)))
        return op, {"label": label, "like": draw.array(like)}


@op
class Targets(FromLabels):
    """What probabilities should be: the `label` itself, or 1 for the class that it names and 0 for others.

    Of a number that names no class all are 0, of NaN they are NaN: MXNet makes it an integer, which C leaves undefined.
    """

    smooth_alpha: float = attr(
        0.0, minimum=0, maximum=1, doc="what the class gives to the others, in equal parts"
    )

    def shape(self, label, like):
        return like

    def forward(self, xp, label, like):
        if label.shape == like.shape:
            y = xp.empty_like(like, dtype=floating(like.dtype))
            y[...] = label
            return y
        behind, kinds = like.ndim - 1 - normalize_axis(self.axis, like.ndim), like.shape[self.axis]
        classes = xp.arange(kinds, dtype=label.dtype)
        classes = xp.reshape(classes, (kinds, *[1] * behind)) if behind else classes
        label = xp.reshape(label, self.spread(like.shape))
        number = self.number(floating(like.dtype))
        others = self.smooth_alpha / max(kinds - 1, 1)
        named = xp.equal(xp.trunc(label), classes)
        y = xp.where(named, number(1 - self.smooth_alpha), number(others))
        return xp.where(xp.isnan(label), number(math.nan), y) if label.dtype.kind == "f" else y

    def vjp(self, F, g, y, label, like):
        return lambda: g if F.shape(label) == F.shape(g) else filled(F, label), None

    def rewrite(self, F, shapes, label, like):
        """The same by arithmetic that every runner has: a label names a class from which on it lies, up to the next."""
        dtype = F.dtypes[label]
        if shapes[0] == shapes[1]:
            return label
        if dtype != floating(F.dtypes[like]):
            return None
        axis, kinds = normalize_axis(self.axis, len(shapes[1])), shapes[1][self.axis]
        label = F.reshape(label, shape=self.spread(shapes[1]))
        classes = F.reshape(F.arange(kinds, str(dtype)), shape=(kinds, *[1] * (len(shapes[1]) - 1 - axis)))
        above = float(np.nextafter(dtype.type(-1), dtype.type(0)))  # what is cut off makes this 0 too

        def from_on(bound):
            return F.minimum(F.sign(label - bound) + 1, 1)

        named = from_on(F.where(F.equal(classes, 0), above, classes)) - from_on(classes + 1)
        others = self.smooth_alpha / max(kinds - 1, 1)
        return named * (1 - self.smooth_alpha - others) + others if self.smooth_alpha else named

    @classmethod
    def sample(cls, draw):
        return cls.drawn(draw, smooth_alpha=draw.choice((0.0, 0.25)))


@op
class Arange(Op):
    """The numbers ``0, 1, ..., size - 1``."""

    differentiable = False
    size: int = attr(minimum=0, doc="how many")
    type: str = attr("float32", alias="dtype", doc="element type of the result")

    def shape(self):
        return (self.size,)

    def dtype(self):
        return np.dtype(self.type)

    def forward(self, xp):
        return xp.arange(self.size, dtype=self.type)

    def vjp(self, F, g, y):
        return ()

    @classmethod
    def sample(cls, draw):
        return cls(size=draw.size(), type=draw.choice(("float64", "float32", "int64"))), {}


@op
class LabelWeights(FromLabels):
    """What each label counts for in a sum of losses, in a shape that broadcasts with `like`."""

    differentiable = False
    scale: float = attr(1.0, doc="what a label counts for before it is divided")
    normalization: str = attr(
        "null",
        choices=("null", "batch", "valid"),
        doc="divide it by the places behind `axis`, by the labels, or by the labels that are not `ignore_label`",
    )
    use_ignore: bool = attr(False, doc="labels that are `ignore_label` count for nothing")
    ignore_label: float = attr(-1.0, doc="the class number that may be ignored")

    def share(self, label, like):
        """The weight of a label in these shapes, if all weigh the same; None if it depends on the labels."""
        if label == like:
            return self.scale
        if self.use_ignore or self.normalization == "valid":
            return None
        behind = like[normalize_axis(self.axis, len(like)) + 1 :]
        return self.scale / max(1, math.prod(label if self.normalization == "batch" else behind))

    def shape(self, label, like):
        if None in label or None in like:
            return (None,) * len(like)
        each = label != like and self.use_ignore
        return self.spread(like) if each else (1,) * len(like)

    def forward(self, xp, label, like):
        dtype, share = floating(like.dtype), self.share(label.shape, like.shape)
        if share is not None:
            return xp.full(self.shape(label.shape, like.shape), self.number(dtype)(share))
        number = self.number(roomy(dtype))
        label = xp.reshape(label, self.spread(like.shape))
        counts = xp.where(xp.equal(xp.trunc(label), math.trunc(self.ignore_label)), number(0), number(1))
        if self.normalization == "valid":
            total = xp.maximum(xp.sum(counts, keepdims=True), number(1))
            share = xp.divide(number(self.scale), total)
        else:
            share = number(dataclasses.replace(self, use_ignore=False).share(label.shape, like.shape))
        return rounded(xp, xp.multiply(counts, share) if self.use_ignore else share, dtype)

    def vjp(self, F, g, y, label, like):
        return None, None

    def rewrite(self, F, shapes, label, like):
        share = self.share(*shapes)
        return None if share is None else F.full(self.shape(*shapes), share, str(floating(F.dtypes[like])))

    @classmethod
    def sample(cls, draw):
        return cls.drawn(
            draw,
            scale=draw.choice((1.0, 2.5)),
            normalization=draw.choice(("null", "batch", "valid")),
            use_ignore=draw.boolean(),
            ignore_label=draw.choice((-1.0, 0.0, 1.0)),
        )
