"""More rules that are wrong: ops of the table with one thing changed, and what a check should say of it."""

from unittest import mock

import numpy as np

from tinygrad_lesson.op import FUNCTIONS, OPS, op
from tinygrad_lesson.tensor import TENSORS, Tensor

MORE = []  # (name, cause, op or function, inputs)


def numbers(*shape, low=0.3, high=1.7, seed=3):
    return np.random.default_rng(seed).uniform(low, high, shape)


def value(x):
    """The array in a tensor, or the array itself."""
    return np.asarray(x.value if isinstance(x, Tensor) else x)


def changed(name, cause, base, inputs, change=None, attributes=None, **rules):
    """An op of the table with `change(gradients, F, g, y, inputs, op)` after its rule, or with other rules."""
    cls = OPS[base]

    def vjp(self, F, g, y, *operands):
        found = [d() if callable(d) else d for d in cls.vjp(self, F, g, y, *operands)]
        return tuple(change(found, F, g, y, operands, self))

    rules = {"vjp": vjp} | rules if change else rules
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        made = op(type(name, (cls,), {"__doc__": f"{name}.", "__module__": __name__, **rules}))
    MORE.append((name, cause, made(**(attributes or {})), inputs))


def first(f):
    """A change of the first gradient alone."""
    return lambda d, F, g, y, inputs, op: (f(d[0], inputs[0], y, g, F), *d[1:])


def nth(n, f):
    """A change of gradient number `n` alone."""
    return lambda d, F, g, y, inputs, op: (*d[:n], f(d[n], inputs, g, F), *d[n + 1 :])


def at(x, index, factor):
    """Ones, and `factor` at one place."""
    scale = np.ones(value(x).shape)
    scale[index] = factor
    return scale


MIXED = numbers(3, 4, low=-2, high=2)
IMAGE = numbers(2, 3, 5, 5, low=-1, high=1)
KERNEL = numbers(4, 3, 2, 2, low=-1, high=1, seed=1)
CONV = {"kernel": (2, 2), "num_filter": 4}
BN = [numbers(6, 3, seed=1), numbers(3), numbers(3, seed=8), np.zeros(3), np.ones(3)]

changed("MatmulPercent", "factor", "MatMul", [numbers(3, 4), numbers(4, 5)], first(lambda d, *_: d * 1.01))
changed("MatmulSecondSign", "sign", "MatMul", [numbers(3, 4), numbers(4, 5)], nth(1, lambda d, *_: -d))
changed("SoftmaxScale", "factor", "Softmax", [MIXED], first(lambda d, *_: d * 2.5), {"temperature": 2.5})
changed("LogSoftmaxLossless", "missing term", "LogSoftmax", [MIXED], first(lambda d, x, y, g, F: g))
changed(
    "SoftmaxWrongAxis",
    "transposed",
    "Softmax",
    [MIXED],
    first(lambda d, x, y, g, F: y * (g - F.sum(g * y, axis=0, keepdims=True))),
)
changed(
    "BatchNormWithoutGamma",
    "factor",
    "BatchNorm",
    BN,
    lambda d, F, g, y, inputs, op: (d[0] / inputs[1], *d[1:]),
    {"fix_gamma": False, "is_train": True},
)
changed(
    "BatchNormGammaSign",
    "sign",
    "BatchNorm",
    BN,
    nth(1, lambda d, *_: -d),
    {"fix_gamma": False, "is_train": True},
)
changed(
    "BatchNormBetaMean",
    "factor",
    "BatchNorm",
    BN,
    nth(2, lambda d, *_: d / 6),
    {"fix_gamma": False, "is_train": True},
)
changed(
    "ConvolutionHalf", "factor", "Convolution", [IMAGE, KERNEL, numbers(4)], first(lambda d, *_: d / 2), CONV
)
changed(
    "ConvolutionBiasMean",
    "factor",
    "Convolution",
    [IMAGE, KERNEL, numbers(4)],
    nth(2, lambda d, *_: d / 32),
    CONV,
)
changed(
    "LayerBiasForgotten",
    "missing term",
    "FullyConnected",
    [numbers(3, 4), numbers(2, 4), numbers(2)],
    nth(2, lambda d, *_: None),
    {"num_hidden": 2},
)
changed(
    "LayerBiasOneRow",
    "broadcast sum",
    "FullyConnected",
    [numbers(3, 4), numbers(2, 4), numbers(2)],
    nth(2, lambda d, inputs, g, F: g[0]),
    {"num_hidden": 2},
)
changed(
    "LayerWeightShape",
    "transposed",
    "FullyConnected",
    [numbers(3, 4), numbers(2, 4), numbers(2)],
    nth(1, lambda d, *_: d.T),
    {"num_hidden": 2},
)
changed(
    "LeakySlope",
    "factor",
    "LeakyReLU",
    [MIXED],
    first(lambda d, x, y, g, F: d * np.where(value(x) < 0, 0.8, 1)),
)
changed("LeakyWithoutSlope", "factor", "LeakyReLU", [MIXED], first(lambda d, x, y, g, F: g))
changed("AbsNegativeOnly", "sign", "Abs", [MIXED], first(lambda d, x, y, g, F: g))
changed("ReluPassesAll", "missing term", "Relu", [MIXED], first(lambda d, x, y, g, F: g))
changed("TanhOneElement", "factor", "Tanh", [MIXED], first(lambda d, x, *_: d * at(x, (1, 2), 1.01)))
changed("ExpOneRow", "factor", "Exp", [MIXED], first(lambda d, x, *_: d * at(x, 2, 3.0)))
changed(
    "SigmoidNegativeSign",
    "sign",
    "Sigmoid",
    [MIXED],
    first(lambda d, x, *_: d * np.where(value(x) < 0, -1, 1)),
)
changed(
    "SingleOnly",
    "float noise",
    "Tanh",
    [MIXED],
    first(lambda d, x, *_: d * (1.001 if value(x).dtype == np.float32 else 1)),
)
changed(
    "SingleThroughHalf",
    "float noise",
    "Exp",
    [MIXED],
    first(lambda d, x, *_: d.astype(np.float16).astype(d.dtype) if d.dtype == np.float32 else d),
)
changed("MeanWithoutN", "factor", "Mean", [MIXED], first(lambda d, *_: d * 12))
changed(
    "SumUnspread",
    "transposed",
    "Sum",
    [numbers(3, 3)],
    first(lambda d, x, y, g, F: F.broadcast_like(F.expand_dims(g, 1), x)),
    {"axis": 0},
)
changed(
    "MaxToAll",
    "missing term",
    "Max",
    [numbers(3, 4)],
    first(lambda d, x, y, g, F: F.broadcast_like(F.expand_dims(g, 1), x)),
    {"axis": 1},
)
changed(
    "DivideSquareForgotten",
    "factor",
    "Divide",
    [numbers(2, 3), numbers(2, 3, seed=9)],
    nth(1, lambda d, inputs, *_: d * value(inputs[1])),
)
changed("SubtractBoth", "sign", "Subtract", [numbers(4, 3), numbers(3)], nth(1, lambda d, *_: -d))
changed(
    "MultiplyMeanOfCopies", "factor", "Multiply", [numbers(4, 3), numbers(3)], nth(1, lambda d, *_: d / 4)
)
changed(
    "WhereSwapped",
    "wrong input",
    "Where",
    [MIXED > 0, numbers(3, 4), numbers(3, 4, seed=4)],
    lambda d, *_: (d[0], d[2], d[1]),
)
changed(
    "ConcatSwapped",
    "wrong input",
    "Concat",
    [numbers(2, 3), numbers(2, 3, seed=4)],
    lambda d, *_: (d[1], d[0]),
    {"dim": 1},
)
changed("ReversedGradient", "transposed", "Tanh", [numbers(5)], first(lambda d, *_: d[::-1]))
changed("WritesLater", "in place", "Tanh", [MIXED], first(lambda d, x, y, g, F: np.multiply(d, 1, out=g)))
changed(
    "RandomRule",
    "non-deterministic",
    "Tanh",
    [MIXED],
    first(lambda d, *_: d * (1 + 1e-6 * np.random.default_rng().uniform())),
)


def half_counted(x, w):
    return TENSORS.sum(x * w) + TENSORS.sum(TENSORS.square(x.detach()))


def through_numpy(x):
    return TENSORS.tanh(x) * Tensor(np.exp(x.numpy()))


MORE += [
    ("half_counted", "accumulation", half_counted, [numbers(2, 3), numbers(2, 3, seed=5)]),
    ("through_numpy", "accumulation", through_numpy, [numbers(2, 3)]),
    ("cancelling", "float noise", lambda x: (x + 1e11) * 1.0 - 1e11, [numbers(3)]),
    ("rounded", "discontinuity", lambda x: TENSORS.where(x > 1.0, x + 1.0, x), [np.array([0.3, 1.0])]),
    ("tie", "kink", lambda x: TENSORS.max(x, axis=0), [np.array([0.3, 1.0, 1.0])]),
]
