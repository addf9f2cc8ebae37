"""Ops whose rules are wrong on purpose, each with the cause that a check should name.

They are declared without the decorator, so that the table of ops stays as it is.
"""

import itertools
from unittest import mock

import numpy as np

from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise, Op, attr, op
from tinygrad_lesson.tensor import TENSORS

BROKEN = []  # (name, cause, op or function, inputs)
COUNTER = itertools.count()


def numbers(*shape, low=0.3, high=1.7, seed=3):
    return np.random.default_rng(seed).uniform(low, high, shape)


def declared(cls):
    """The class as an op, without entering the table for good."""
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        return op(cls)


def broken(cause, *shapes, attributes=None, **how):
    """Enter an op into the list, with inputs of these shapes."""

    def enter(cls):
        made = declared(cls)(**(attributes or {}))
        inputs = [numbers(*s, seed=i, **how) if isinstance(s, tuple) else s for i, s in enumerate(shapes)]
        BROKEN.append((cls.__name__, cause, made, inputs))
        return cls

    return enter


class Unary(Elementwise):
    """Of one number."""


def unary(name, cause, forward, vjp, **how):
    """An elementwise op of one input."""
    rules = {
        "__doc__": f"{name}.", "__module__": __name__, "__qualname__": name,
        "forward": lambda self, xp, x: forward(xp, x), "vjp": lambda self, F, g, y, x: (vjp(F, g, y, x),),
    }  # fmt: skip
    broken(cause, how.pop("shape", (2, 3)), **how)(type(name, (Unary,), rules))


LEFT = {}  # by a forward, for a rule that runs later


def leaving(xp, x):
    LEFT["x"] = x
    return x * xp.sin(x)


def stale(F, g, y, x):
    return g * (np.sin(LEFT["x"]) + LEFT["x"] * np.cos(LEFT["x"]))


unary("StaleInput", "stale state", leaving, stale)
unary("TanhSign", "sign", lambda xp, x: xp.tanh(x), lambda F, g, y, x: -g * (1 - y * y))
unary("AbsWithoutSign", "sign", lambda xp, x: xp.abs(x), lambda F, g, y, x: g, low=-2, high=2, shape=(3, 4))
unary(
    "OnlyWhatRises", "cotangent", lambda xp, x: xp.tanh(x), lambda F, g, y, x: F.maximum(g, 0.0) * (1 - y * y)
)
unary("Clipped", "cotangent", lambda xp, x: xp.exp(x), lambda F, g, y, x: F.clip(g, low=-5.0, high=5.0) * y)
unary("SquareHalf", "factor", lambda xp, x: x * x, lambda F, g, y, x: g * x)
unary("SqrtWithoutHalf", "factor", lambda xp, x: xp.sqrt(x), lambda F, g, y, x: g / y)
unary("CubeFactor", "factor", lambda xp, x: x**3, lambda F, g, y, x: g * (x * x))
unary("ExpOfInput", "wrong input", lambda xp, x: xp.exp(x), lambda F, g, y, x: g * x)
unary("TanhOfInput", "wrong input", lambda xp, x: xp.tanh(x), lambda F, g, y, x: g * (1 - x * x))
unary("LogOfResult", "wrong input", lambda xp, x: xp.log(x), lambda F, g, y, x: g / y)
unary("TanhWithoutOne", "missing term", lambda xp, x: xp.tanh(x), lambda F, g, y, x: g * (-y * y))
unary("SwishHalf", "missing term", lambda xp, x: x * xp.tanh(x), lambda F, g, y, x: g * F.tanh(x))
unary("NothingGiven", "missing term", lambda xp, x: xp.exp(x), lambda F, g, y, x: None)
unary(
    "ThroughHalf",
    "float noise",
    lambda xp, x: xp.exp(x),
    lambda F, g, y, x: (g * y).astype(np.float16).astype(np.float64),
)
unary(
    "ThroughSingle",
    "float noise",
    lambda xp, x: xp.exp(x),
    lambda F, g, y, x: (g * y).astype(np.float32).astype(np.float64),
)
unary("HugeConstant", "float noise", lambda xp, x: (x + 1e12) - 1e12, lambda F, g, y, x: g)
unary("Jittering", "non-deterministic", lambda xp, x: x * (1 + 1e-9 * next(COUNTER)), lambda F, g, y, x: g)
unary(
    "JitteringRule",
    "non-deterministic",
    lambda xp, x: x * 1.0,
    lambda F, g, y, x: g * (1 + 1e-9 * next(COUNTER)),
)
unary(
    "WritesCotangent",
    "in place",
    lambda xp, x: xp.tanh(x),
    lambda F, g, y, x: np.multiply(g, 1 - y * y, out=g),
)
unary("WritesResult", "in place", lambda xp, x: xp.exp(x), lambda F, g, y, x: np.multiply(g, y, out=y))
unary("WritesInput", "in place", lambda xp, x: np.exp(x, out=x), lambda F, g, y, x: g * y)
unary(
    "ReluAtZero",
    "kink",
    lambda xp, x: xp.maximum(x - 1, 0),
    lambda F, g, y, x: g * F.greater(x, 1),
    shape=np.array([0.4, 1.0]),
)
unary(
    "StepAtZero",
    "discontinuity",
    lambda xp, x: xp.floor(x),
    lambda F, g, y, x: g * 0,
    shape=np.array([0.4, 1.0]),
)


@broken("sign", (2, 3), (2, 3))
class DifferenceSign(Elementwise):
    """Difference."""

    def forward(self, xp, a, b):
        return a - b

    def vjp(self, F, g, y, a, b):
        return F.sum_like(g, a), F.sum_like(g, b)


@broken("wrong input", (2, 3), (2, 3))
class ProductSwapped(Elementwise):
    """Product."""

    def forward(self, xp, a, b):
        return a * b

    def vjp(self, F, g, y, a, b):
        return g * a, g * b


@broken("wrong input", (2, 3), (2, 3))
class QuotientOfNumerator(Elementwise):
    """Quotient."""

    def forward(self, xp, a, b):
        return a / b

    def vjp(self, F, g, y, a, b):
        return g / b, -g * a / b


@broken("broadcast sum", (4, 3), (3,))
class SumForgotten(Op):
    """Product with a row, whose gradient keeps the shape of the result."""

    def shape(self, a, b):
        return a

    def forward(self, xp, a, b):
        return a * b

    def vjp(self, F, g, y, a, b):
        return g * b, g * a


@broken("broadcast sum", (4, 3), (3,))
class FirstCopyOnly(Elementwise):
    """Sum with a row, of whose copies only the first is counted."""

    def forward(self, xp, a, b):
        return a + b

    def vjp(self, F, g, y, a, b):
        return g, F.slice(g, key=(0,))


@broken("broadcast sum", (3, 3), (3,))
class SumOverColumns(Elementwise):
    """Sum with a row, summed over the wrong axis."""

    def forward(self, xp, a, b):
        return a + b

    def vjp(self, F, g, y, a, b):
        return g, F.sum(g, axis=1)


@broken("broadcast sum", (4, 3))
class ReductionNotSpread(Op):
    """Sum of the rows, whose gradient is not repeated."""

    def shape(self, x):
        return x[1:]

    def forward(self, xp, x):
        return x.sum(axis=0)

    def vjp(self, F, g, y, x):
        return (g,)


@broken("factor", (4, 3))
class MeanAsSum(Op):
    """Mean of the rows: the factor 1/n is missing."""

    def shape(self, x):
        return x[1:]

    def forward(self, xp, x):
        return x.mean(axis=0)

    def vjp(self, F, g, y, x):
        return (F.broadcast_to(g, shape=F.shape(x)),)


@broken("factor", (4, 3))
class SumAsMean(Op):
    """Sum of the rows with a factor 1/n too many."""

    def shape(self, x):
        return x[1:]

    def forward(self, xp, x):
        return x.sum(axis=0)

    def vjp(self, F, g, y, x):
        return (F.broadcast_to(g / 4, shape=F.shape(x)),)


@broken("factor", (2, 3), attributes={"beta": 2.5})
class ScaledTanh(Elementwise):
    """Tanh of a multiple, with the inner derivative left out."""

    beta: float = attr(1.0, doc="the factor")

    def forward(self, xp, x):
        return xp.tanh(self.beta * x)

    def vjp(self, F, g, y, x):
        return (g * (1 - y * y),)


@broken("transposed", (3, 3), (3, 3))
class ProductNotTransposed(Op):
    """Product of matrices."""

    def shape(self, a, b):
        return a

    def forward(self, xp, a, b):
        return a @ b

    def vjp(self, F, g, y, a, b):
        return F.matmul(g, b), F.matmul(F.swapaxes(a, -1, -2), g)


@broken("transposed", (4, 3), (3, 3))
class WeightTransposed(Op):
    """Affine map without bias; the gradient of the weight is transposed."""

    def shape(self, data, weight):
        return data[0], weight[0]

    def forward(self, xp, data, weight):
        return data @ weight.T

    def vjp(self, F, g, y, data, weight):
        return F.matmul(g, weight), F.matmul(F.swapaxes(data, 0, 1), g)


@broken("transposed", (2, 3))
class ShapeTransposed(Op):
    """A matrix transposed, whose gradient is not transposed back."""

    def shape(self, x):
        return x[::-1]

    def forward(self, xp, x):
        return x.T.copy()

    def vjp(self, F, g, y, x):
        return (g,)


@broken("transposed", (2, 3))
class ReshapedNotTransposed(Op):
    """A matrix transposed, whose gradient is reshaped instead."""

    def shape(self, x):
        return x[::-1]

    def forward(self, xp, x):
        return x.T.copy()

    def vjp(self, F, g, y, x):
        return (F.reshape_like(g, x),)


@broken("accumulation", (4,))
class GatherLastUse(Op):
    """Elements by number, some twice: of several uses only the last is counted."""

    def shape(self, x):
        return (5,)

    def forward(self, xp, x):
        return x[[0, 1, 1, 3, 0]]

    def vjp(self, F, g, y, x):
        gradient = np.zeros_like(x)
        gradient[[0, 1, 1, 3, 0]] = g
        return (gradient,)


@broken("accumulation", (3,), (2,))
class TwicePut(Op):
    """One array before and behind another; only its first place is counted."""

    def shape(self, x, b):
        return (8,)

    def forward(self, xp, x, b):
        return xp.concatenate([x, b, x])

    def vjp(self, F, g, y, x, b):
        return F.slice(g, key=(("slice", 0, 3, None),)), F.slice(g, key=(("slice", 3, 5, None),))


@broken("missing term", (3, 4))
class SoftmaxDiagonal(Op):
    """Softmax, of whose Jacobian only the diagonal is given."""

    def shape(self, x):
        return x

    def forward(self, xp, x):
        e = xp.exp(x)
        return e / e.sum(axis=-1, keepdims=True)

    def vjp(self, F, g, y, x):
        return (g * y * (1 - y),)


@broken("missing term", (4, 3))
class CentredNormalized(Op):
    """Columns divided by their deviation; the way through the deviation is left out."""

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return x / xp.sqrt((x * x).mean(axis=0) + 0.1)

    def vjp(self, F, g, y, x):
        return (g / F.sqrt(F.mean(F.square(x), axis=0, keepdims=True) + 0.1),)


# Functions of tensors.


def detached_use(x):
    return TENSORS.tanh(x) * x.detach()


def detached_result(x):
    return TENSORS.exp(x) + TENSORS.tanh(x).detach() * TENSORS.square(x)


def everything_detached(x, w):
    return TENSORS.exp(x.detach()) * w


BROKEN += [
    ("detached_use", "accumulation", detached_use, [numbers(2, 3)]),
    ("detached_result", "accumulation", detached_result, [numbers(2, 3)]),
    ("everything_detached", "missing term", everything_detached, [numbers(2, 3), numbers(2, 3, seed=5)]),
]
