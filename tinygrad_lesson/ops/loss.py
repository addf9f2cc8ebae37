"""Where gradients begin, and where they end."""

from __future__ import annotations

import dataclasses
import math

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Classes, Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, show, size_of
from tinygrad_lesson.ops.fills import filled
from tinygrad_lesson.ops.nn import Softmax


@op
class MakeLoss(Op):
    """`x` itself, as a loss: the gradient begins here with `grad_scale`, whatever comes from above.

    Source
        MXNet 1.9, `MakeLoss`.
    """

    view = True
    is_loss = True
    grad_scale: float = attr(1.0, doc="the gradient of every element")
    normalization: str = attr(
        "null",
        choices=("null", "batch", "valid"),
        doc="divide it by nothing, the rows (all axes but the last), or the valid elements",
    )
    valid_thresh: float = attr(0.0, doc="elements above this are valid")

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return x

    def vjp(self, F, g, y, x):
        if self.normalization == "null":
            return (filled(F, x, self.grad_scale),)
        wide = F.widen(x)  # in which rows can be counted
        gradient = filled(F, wide, self.grad_scale)
        if self.normalization == "batch":
            gradient = gradient / float(math.prod(F.shape(x)[:-1]))
        if self.normalization == "valid":
            valid = F.sum(F.where(F.greater(x, self.valid_thresh), filled(F, wide, 1.0), 0))
            gradient = gradient / F.maximum(valid, 1)
        return (gradient,)

    def complete(self, shapes, results):
        """Input and result have one shape."""
        shape = merge(shapes[0], results[0])
        return [shape], [shape]

    @classmethod
    def sample(cls, draw):
        normalization = draw.choice(("null", "batch", "valid"))
        x = draw.array(draw.shape(min_rank=1), away_from=0)
        return cls(grad_scale=draw.choice((1.0, 2.5)), normalization=normalization), {"x": x}


@op
class StopGradient(Op):
    """`x` itself; no gradient passes."""

    analytic = True
    view = True
    differentiable = False

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return x

    def vjp(self, F, g, y, x):
        return (None,)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}


@declares
class SoftmaxOfLabels(Op):
    """A softmax whose gradient is that of the cross-entropy with labels, by what the softmax was taken of."""

    grad_scale: float = attr(1.0, doc="multiplies the gradient")
    ignore_label: float = attr(
        -1.0, doc="the class number that `use_ignore` and normalization 'valid' leave out"
    )
    multi_output: bool = attr(False, doc="take the softmax along axis 1")
    use_ignore: bool = attr(False, doc="give no gradient where the label is `ignore_label`")
    preserve_shape: bool = attr(False, doc="take the softmax along the last axis")
    normalization: str = attr(
        "null",
        choices=("null", "batch", "valid"),
        doc="divide the gradient by nothing (by the places, with `multi_output`), the labels, or the valid labels",
    )
    out_grad: bool = attr(False, doc="multiply the gradient with what comes from above")
    smooth_alpha: float = attr(
        0.0, minimum=0, maximum=1, doc="what the labelled class gives to the others, but with `multi_output`"
    )

    @property
    def is_loss(self):
        """The gradient begins here, unless it is to be multiplied with what comes."""
        return not self.out_grad

    @property
    def axis(self):
        """The axis of the classes."""
        return 1 if self.multi_output else -1

    @property
    def has_axis(self):
        """Whether a switch tells the axis; without one, all numbers of a row belong together."""
        return self.multi_output or self.preserve_shape

    def classes(self, *shapes):
        """The label, unless it has the shape of the data and so holds probabilities."""
        ignored = float(math.trunc(self.ignore_label)) if self.use_ignore else None
        return None if shapes[-1] == shapes[-2] else Classes(len(shapes) - 1, self.axis, ignored)

    @property
    def smoothing(self):
        """What the labelled class gives to the others: nothing with `multi_output`, as in MXNet 1.9.1."""
        return 0.0 if self.multi_output else self.smooth_alpha

    def weights(self, F, label, like, **attributes):
        """What each label counts for."""
        ignored = {"use_ignore": self.use_ignore, "ignore_label": self.ignore_label}
        return F.label_weights(label, like, axis=self.axis, **ignored, **attributes)

    def gradient(self, F, g, p, data, label):
        """The gradient of `data`, given its probabilities `p`."""
        targets = F.targets(label, data, axis=self.axis, smooth_alpha=self.smoothing)
        scale = {"scale": self.grad_scale, "normalization": self.normalization}
        gradient = (p - targets) * self.weights(F, label, data, **scale)
        return gradient * g if self.out_grad else gradient

    def label_shapes(self, data):
        """The shapes that labels of this data may have; first that of labels of which nothing is known.

        Source
            MXNet 1.9, `SoftmaxOutputShape`.
        """
        if self.multi_output:
            rest = data[2:]
            return [(data[0], size_of(rest)), (data[0], *rest), (data[0], 1, *rest), data]
        return [data[:-1], data] if self.has_axis or len(data) == 2 else [data]

    def complete(self, shapes, results):
        """The label from the data and the number of rows from the label; the result has the shape of the data.

        Errors
            ShapeError if the label has neither class numbers nor probabilities for this data.
        """
        *before, data, label = shapes
        for known in (*before, *results):
            data = merge(data, known)
        if data is None:
            return list(shapes), list(results)
        if len(data) < 2:
            raise ShapeError(f"data is {show(data)}, expected (batch, classes), or more axes")
        allowed = self.label_shapes(data)
        if label is None and len(allowed) > 1:
            label = allowed[0]
        fitting = [] if label is None else [shape for shape in allowed if agree(shape, label)]
        if not fitting:
            raise ShapeError(self.complaint(data, label, allowed))
        if len(set(fitting)) == 1:
            label = merge(label, fitting[0])
        data = merge(data, (label[0], *[None] * (len(data) - 1)))
        return [*[data] * len(before), data, label], [data]

    def complaint(self, data, label, allowed):
        """What is wrong with a label, and what would be right."""
        kinds = [f"{show(shape)} with a class in each place" for shape in dict.fromkeys(allowed[:-1])]
        expected = " or ".join([*kinds, f"{show(data)} with probabilities"])
        told = f"label is {show(label)}, expected {expected}"
        if len(allowed) > 1:
            return told
        return (
            f"{told}, since the softmax runs over all numbers of a row; for class numbers say "
            "multi_output=True, with the classes along axis 1, or preserve_shape=True, along the last"
        )

    def shape(self, *shapes):
        return self.complete(shapes, [None])[1][0]

    def dtype(self, *dtypes):
        return floating(dtypes[0])

    @classmethod
    def drawn(cls, draw):
        """An op, data for it, and labels of either kind."""
        data = draw.shape(min_rank=2, min_size=2)
        op = cls(
            grad_scale=draw.choice((1.0, 2.5)),
            ignore_label=draw.choice((-1.0, 0.0, 1.0)),
            multi_output=draw.boolean(),
            use_ignore=draw.boolean(),
            preserve_shape=draw.boolean(),
            normalization=draw.choice(("null", "batch", "valid")),
            smooth_alpha=draw.choice((0.0, 0.25)),
        )
        kinds = data[op.axis]
        label = draw.array(
            draw.choice(op.label_shapes(data)),
            low=-0.9,
            high=kinds + 0.9,
            away_from=tuple(range(1, kinds + 1)),
        )
        return op, draw.array(data), label


def agree(a, b):
    """Whether two partial shapes may be one."""
    try:
        merge(a, b)
    except ShapeError:
        return False
    return True


@op
class SoftmaxOutput(SoftmaxOfLabels):
    """Probabilities, as a loss: the gradient of `data` begins here with ``(y - target) * grad_scale``.

    That is the gradient of the cross-entropy ``-sum(target * log(y))``, which `FeedForward` reports. The
    `label` names a class by its number, counted from 0, or gives the target probabilities themselves;
    it is not read in prediction and gets no gradient. Whatever comes from above is not read, unless `out_grad`.

    Shapes
        data (batch, classes), label (batch,) -> as data. With `preserve_shape` data (..., classes), label
        (...); with `multi_output` data (batch, classes, ...), label (batch, ...), also with a 1 for the
        classes or with all axes behind the batch as one. A label of the shape of data holds
        probabilities; then neither `normalization` nor `use_ignore` has an effect, and without one of the switches
        the softmax is over all numbers of a row.

    Source
        MXNet 1.9.1, `SoftmaxOutput`. Not as there: `out_grad` multiplies with what comes from above, as MXNet's
        documentation says; MXNet takes the probabilities in its place. And class numbers for more than two
        axes without a switch are refused; MXNet takes the first few of them, one per row.
    """

    def forward(self, xp, data, label):
        self.complete([data.shape, label.shape], [None])
        softmax = Softmax(axis=self.axis)
        if self.has_axis or data.ndim == 2:
            return softmax.forward(xp, data)
        rows = xp.reshape(data, (data.shape[0], math.prod(data.shape[1:])))
        return xp.reshape(softmax.forward(xp, rows), data.shape)

    def probabilities(self, F, data):
        """The softmax by the ops in `F`."""
        if self.has_axis:
            return F.softmax(data, axis=self.axis)
        return F.reshape_like(F.softmax(F.flatten(data, axis=1)), data)

    def vjp(self, F, g, y, data, label):
        return lambda: self.gradient(F, g, self.probabilities(F, data), data, label), None

    def rewrite(self, F, shapes, data, label):
        attributes = dataclasses.asdict(self)
        return F.softmax_loss(self.probabilities(F, data), data, label, **attributes)

    def averaged(self, rows):
        """The same with a smaller `grad_scale`."""
        return dataclasses.replace(self, grad_scale=self.grad_scale / rows)

    def minimized(self, F, data, label):
        """The mean cross-entropy of the labels that are not ignored.

        Source
            MXNet 1.9.1, ``mx.metric.CrossEntropy``: 1e-12 is added to each probability.
        """
        targets = F.targets(label, data, axis=self.axis, smooth_alpha=self.smoothing)
        logarithms = F.log(F.widen(self.probabilities(F, data)) + 1e-12)
        entropy = 0 - F.sum(targets * logarithms, axis=self.axis, keepdims=True)
        if not self.use_ignore:
            return F.mean(entropy)
        counts = F.broadcast_like(self.weights(F, label, data), entropy)
        return F.sum(entropy * counts) / F.maximum(F.sum(counts), 1e-30)

    @classmethod
    def sample(cls, draw):
        op, data, label = cls.drawn(draw)
        return op, {"data": data, "label": label}


@op
class SoftmaxLoss(SoftmaxOfLabels):
    """`p` itself, the softmax of `data`, as a loss: what `SoftmaxOutput` becomes once shapes are known."""

    view = True

    def forward(self, xp, p, data, label):
        return p

    def vjp(self, F, g, y, p, data, label):
        return None, lambda: self.gradient(F, g, p, data, label), None

    @classmethod
    def sample(cls, draw):
        op, data, label = cls.drawn(draw)
        return op, {"p": draw.array(data.shape, low=0, high=1), "data": data, "label": label}
