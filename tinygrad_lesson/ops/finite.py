"""Whether arrays are what they should be, and other answers about whole arrays, as MXNet's training asks for them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, show

SINGLE = np.dtype(np.float32)


@declares
class Answer(Op):
    """One number about whole arrays, 1 for yes; it has no gradient."""

    differentiable = False
    mixes_dtypes = True
    answers: ClassVar[np.dtype[Any]] = SINGLE  # the element type

    def shape(self, *data):
        return (1,)

    def dtype(self, *data):
        return self.answers

    def vjp(self, F, g, y, *data):
        return (None,) * len(data)

    def told(self, xp, answers):
        """1 if all of these hold."""
        y = xp.ones((1,), dtype="bool")
        for answer in answers:
            y = xp.logical_and(y, xp.all(answer))
        return xp.multiply(y, 1, dtype=self.answers)


@op
class AllFinite(Answer):
    """1 if no number is infinite or NaN, else 0.

    Source
        MXNet 1.9, `all_finite`.
    """

    init_output: bool = attr(True, doc="accepted for scripts of MXNet; the result is made anew")

    def forward(self, xp, data):
        return self.told(xp, [xp.isfinite(data)])

    def oracle(self, data):
        return np.array([float(all(abs(x) < np.inf for x in data.ravel()))])

    @classmethod
    def sample(cls, draw):
        return cls(), {"data": draw.array(draw.shape())}


@op
class MultiAllFinite(Answer):
    """1 if no number of any array is infinite or NaN, else 0.

    Source
        MXNet 1.9, `multi_all_finite`.
    """

    variadic = True
    num_arrays: int = attr(1, minimum=1, doc="how many arrays there are")
    init_output: bool = attr(True, doc="accepted for scripts of MXNet; the result is made anew")

    def forward(self, xp, *data):
        return self.told(xp, [xp.isfinite(x) for x in data])

    def oracle(self, *data):
        return np.array([float(all(abs(y) < np.inf for x in data for y in x.ravel()))])

    @classmethod
    def sample(cls, draw):
        count = draw.size(1, 3)
        return cls(count), {f"data{i}": draw.array(draw.shape()) for i in range(count)}


@op
class Allclose(Answer):
    """1 if two arrays are equal but for ``atol + rtol * abs(b)``, else 0.

    Source
        MXNet 1.9, `contrib.allclose`.
    """

    inputs = ("a", "b")
    answers = np.dtype(np.uint8)
    rtol: float = attr(1e-5, minimum=0, doc="how far apart numbers may be, in sizes of `b`")
    atol: float = attr(1e-8, minimum=0, doc="how far apart numbers may be besides")
    equal_nan: bool = attr(True, doc="whether NaN equals NaN")

    def shape(self, a, b):
        if merge(a, b) is None:
            raise ShapeError(f"a is {show(a)}, b {show(b)}, expected the same shape")
        return (1,)

    def forward(self, xp, a, b):
        finite = xp.logical_and(xp.isfinite(a), xp.isfinite(b))
        apart = xp.abs(xp.subtract(xp.where(finite, a, 0), xp.where(finite, b, 0)))
        near = xp.less_equal(apart, xp.add(xp.multiply(xp.abs(xp.where(finite, b, 0)), self.rtol), self.atol))
        near = xp.logical_or(xp.logical_and(near, finite), xp.equal(a, b))
        if self.equal_nan:
            near = xp.logical_or(near, xp.logical_and(xp.isnan(a), xp.isnan(b)))
        return self.told(xp, [near])

    def oracle(self, a, b):
        return np.array([float(np.allclose(a, b, self.rtol, self.atol, self.equal_nan))])

    @classmethod
    def sample(cls, draw):
        a = draw.array(draw.shape(), away_from=0)
        return cls(0.2, 0.2, draw.boolean()), {"a": a, "b": a * draw.choice((1.0, 9.0))}


@op
class MultiSumSq(Composite):
    """The sum of the squares of each array.

    Source
        MXNet 1.9, `multi_sum_sq`, which LARS takes its norms from.
    """

    variadic = True
    num_arrays: int = attr(1, minimum=1, doc="how many arrays there are")

    def compose(self, F, *data):
        return F.stack(*[F.sum(F.square(x * 1.0)) for x in data], axis=0)

    def shape(self, *data):
        return (len(data),)

    def dtype(self, *data):
        return floating(super().dtype(*data))

    def oracle(self, *data):
        return np.array([sum(y * y for y in x.ravel()) for x in data])

    @classmethod
    def sample(cls, draw):
        count = draw.size(1, 3)
        return cls(count), {f"data{i}": draw.array(draw.shape()) for i in range(count)}


@op
class MultiLars(Composite):
    """The rates of several arrays, each in proportion to how large the weights are beside their gradient.

    ``lr * eta * |w| / (rescale_grad * |g| + wd * |w| + eps)`` where neither is 0, else ``lr``.

    Shapes
        lrs, weights_sum_sq, grads_sum_sq, wds, all (n,) -> (n,)

    Source
        You et al. 2017, LARS; MXNet 1.9, `multi_lars`.
    """

    eta: float = attr(doc="the share of a weight that a step may be")
    eps: float = attr(doc="added to the divisor")
    rescale_grad: float = attr(1.0, doc="multiplies the gradients")

    def compose(self, F, lrs, weights_sum_sq, grads_sum_sq, wds):
        both = F.logical_and(F.greater(weights_sum_sq, 0), F.greater(grads_sum_sq, 0))
        w = F.sqrt(F.where(both, weights_sum_sq, 1.0))
        g = F.sqrt(F.where(both, grads_sum_sq, 1.0)) * self.rescale_grad
        return F.where(both, lrs * self.eta * w / (g + wds * w + self.eps), lrs)

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    def oracle(self, lrs, weights_sum_sq, grads_sum_sq, wds):
        y = np.array(lrs)
        for i, (w, g) in enumerate(zip(weights_sum_sq, grads_sum_sq, strict=True)):
            if w > 0 < g:
                y[i] *= self.eta * w**0.5 / (self.rescale_grad * g**0.5 + wds[i] * w**0.5 + self.eps)
        return y

    @classmethod
    def sample(cls, draw):
        shape = (draw.size(),)
        names = ("lrs", "weights_sum_sq", "grads_sum_sq", "wds")
        return cls(0.5, 1e-3, 0.5), {name: draw.array(shape, low=0.5, high=2.0) for name in names}
