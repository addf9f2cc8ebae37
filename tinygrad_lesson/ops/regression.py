"""Answers of regressions, at which gradients begin."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, show
from tinygrad_lesson.ops.elementwise import floated
from tinygrad_lesson.ops.fills import filled
from tinygrad_lesson.ops.rounding import Rint


@declares
class RegressionOutput(Op):
    """An answer, as a loss: the gradient of `data` begins here, as a mean over the numbers of each row."""

    is_loss = True
    grad_scale: float = attr(1.0, doc="multiplies the gradient")

    def complete(self, shapes, results):
        """Data, label and result have one shape; a label may have other axes than the first, if it has as many numbers.

        Source
            MXNet 1.9: of data with one column a label that is not given has one axis.
        """
        data = merge(shapes[0], results[0])
        label = shapes[1]
        if data is None:
            return [data, label], [data]
        if label is None:
            return [data, data[:1] if len(data) == 2 and data[1] == 1 else data], [data]
        alike = label[:1] == data[:1] or None in (*label[:1], *data[:1])
        if None not in (*data, *label) and not (
            alike and np.prod(data, dtype=int) == np.prod(label, dtype=int)
        ):
            raise ShapeError(f"label is {show(label)}, expected {show(data)}")
        return [data, label], [data]

    def shape(self, data, label):
        return self.complete([data, label], [None])[1][0]

    def dtype(self, data, label):
        return floating(data)

    def answer(self, F, data):
        """The result, by the ops in `F`."""
        return F.identity(data)

    def vjp(self, F, g, y, data, label):
        shape = F.shape(data)

        def gradient():
            each = float(max(1, np.prod(shape[1:], dtype=int)))
            difference = self.answer(F, data) - F.reshape(label, shape=shape)
            return self.slope(F, difference) * (self.grad_scale / each)

        return gradient, None

    def slope(self, F, difference):
        """The gradient for a difference between answer and label."""
        return difference

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        inputs = {"data": draw.array(shape), "label": draw.array(shape, low=3, high=4)}
        return cls(grad_scale=draw.choice((1.0, 2.5))), inputs


@op
class LinearRegressionOutput(RegressionOutput):
    """`data`, as the answer of a regression: the gradient of half the squared distance from `label` begins here.

    Source
        MXNet 1.9, `LinearRegressionOutput`.
    """

    def forward(self, xp, data, label):
        return xp.positive(floated(xp, data))

    def oracle(self, data, label):
        return data


@op
class MAERegressionOutput(RegressionOutput):
    """`data`, as the answer of a regression: the gradient of the distance from `label` begins here.

    Where both are equal it is that of a smaller answer, -1, as in MXNet.

    Source
        MXNet 1.9, `MAERegressionOutput`.
    """

    function = "mae_regression_output"

    def forward(self, xp, data, label):
        return xp.positive(floated(xp, data))

    def oracle(self, data, label):
        return data

    def slope(self, F, difference):
        return F.where(F.greater(difference, 0), filled(F, difference, 1.0), -1)


@op
class LogisticRegressionOutput(RegressionOutput):
    """Probabilities, the sigmoid of `data`: the gradient of the cross-entropy with `label` begins here.

    Source
        MXNet 1.9, `LogisticRegressionOutput`.
    """

    def forward(self, xp, data, label):
        data = floated(xp, data)
        return xp.divide(xp.exp(xp.minimum(data, 0)), 1 + xp.exp(-xp.abs(data)))

    def oracle(self, data, label):
        return 1 / (1 + np.exp(-data))

    def answer(self, F, data):
        """The sigmoid."""
        return F.sigmoid(data)


@op
class SVMOutput(Op):
    """`data`, as the answer of a support vector machine: the gradient of its hinge loss begins here.

    Shapes
        data (batch, classes), label (batch,) -> as data

    Source
        MXNet 1.9, `SVMOutput`.
    """

    function = "svm_output"
    is_loss = True
    mixes_dtypes = True
    margin: float = attr(1.0, doc="how far right and wrong shall be apart")
    regularization_coefficient: float = attr(1.0, doc="multiplies the gradient")
    use_linear: bool = attr(False, doc="the hinge itself; else its square")

    def shape(self, data, label):
        if len(data) != 2:
            raise ShapeError(f"data is {show(data)}, expected (batch, classes)")
        merge(label, data[:1])
        return data

    def complete(self, shapes, results):
        """The label from the data."""
        data, label = merge(shapes[0], results[0]), shapes[1]
        if data is not None and len(data) == 2:
            label = merge(label, data[:1])
        return super().complete([data, label], results)

    def dtype(self, data, label):
        return floating(data)

    def forward(self, xp, data, label):
        return xp.positive(floated(xp, data))

    def vjp(self, F, g, y, data, label):
        def gradient():
            sign = 2 * F.targets(label, data, axis=1) - 1
            away = self.margin - sign * data
            slope = F.greater(away, 0) if self.use_linear else 2 * F.maximum(away, 0)
            return -self.regularization_coefficient * (sign * slope)

        return gradient, None

    def oracle(self, data, label):
        return data

    @classmethod
    def sample(cls, draw):
        rows, kinds = draw.size(), draw.size()
        label = np.floor(draw.array((rows,), low=0, high=kinds - 0.01)).astype(np.int64)
        linear = draw.boolean()
        data = draw.array((rows, kinds), away_from=(-1, 1))
        return cls(regularization_coefficient=1.5, use_linear=linear), {"data": data, "label": label}


@op
class GradientMultiplier(Op):
    """`x` itself; its gradient is multiplied by `scalar`, as for training against an adversary.

    Source
        Ganin and Lempitsky 2015; MXNet 1.9, `contrib.gradientmultiplier`.
    """

    is_loss = False
    scalar: float = attr(1.0, doc="multiplies the gradient")

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return xp.positive(x)

    def vjp(self, F, g, y, x):
        return (g * self.scalar,)

    def oracle(self, x):
        return x

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}  # another number is no derivative


@op
class Unstopped(Op):
    """`x` rounded, or its sign; the gradient passes as if it were `x` itself.

    Source
        Bengio, Léonard and Courville 2013; MXNet 1.9, `contrib.round_ste` and `sign_ste`.
    """

    method = False
    of: str = attr(
        "x", choices=("x", "round", "sign"), doc="what is taken of `x`; of halves the one further from 0"
    )

    def shape(self, x):
        return x

    def forward(self, xp, x):
        if self.of == "round":
            return Rint(ties="away").forward(xp, x)
        return xp.sign(x) if self.of == "sign" else xp.positive(x)

    def vjp(self, F, g, y, x):
        return (g,)

    def oracle(self, x):
        return x

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}  # of the others this is no derivative
