"""What every peer computes: sizes, data and first parameters, the same numbers for all.

Parameters are in a fixed order; a dense layer is W (in, out) and b (out,).
"""

import itertools
import re

import numpy as np

F = np.float32
LR_ADAM, B1, B2, EPS = 1e-3, 0.9, 0.999, 1e-8
MOM = 0.9
BN_EPS, BN_MOM = 1e-5, 0.1
CHAIN = 1000  # iterations of the eager chain, two operations each

TITLE = {
    "mlp4": "4-10-10-10-3, batch 20, Adam",
    "bn8": "8 dense layers with batch normalization, batch 20, Adam",
    "res25": "25 residual layers of 10, batch 20, SGD with momentum",
    "dense6": "6 dense layers, each sees all before it, batch 20, SGD with momentum",
    "res1000": "1,000 residual layers of 10, batch 20, SGD with momentum",
    "mnist-mlp": "784-1024-1024-10, batch 128, Adam",
    "lenet": "two 5x5 convolutions with max pooling, fc 500, fc 10; 1x28x28, batch 64, SGD with momentum",
    "resnet20": "20 convolutions with batch normalization, 9 residual blocks of 16, 32, 64 channels; 3x32x32, batch 32, SGD with momentum",
    "vgg": "twice 3x3 convolution and relu, then max pooling, for 32, 64, 128 channels; fc 256, fc 10; 3x32x32, batch 32, SGD with momentum",
    "lstm": "50 steps of 64 units in 64 numbers, then fc 10, batch 32, SGD with momentum",
    "chain": "sum(tanh(x)*exp(-x*x)+log(1+x*x)) over 1e6 numbers and its gradient",
    "eager": "a = a + b*c on 3 numbers, 1,000 times, and its gradient",
    "predict": "one row through bn8",
    "res10": "as res1000 with 10 layers",
    "res100": "as res1000 with 100 layers",
    "res10000": "as res1000 with 10,000 layers",
}
DEPTHS = ("res10", "res100", "res1000", "res10000")
ADAM = ("mlp4", "bn8", "mnist-mlp")
# Steps in a block; every run is a multiple of it, for peers that take many steps in one call.
K = dict.fromkeys(TITLE, 50) | {
    "res1000": 5, "mnist-mlp": 5, "lenet": 5, "chain": 5, "eager": 1, "res10000": 2, "resnet20": 1, "vgg": 1, "lstm": 10,
}  # fmt: skip


def depth(w):
    """The number of residual layers; 0 for another network."""
    found = re.fullmatch(r"res(\d+)", w)
    return int(found[1]) if found else 0


class Rates(dict):
    """Learning rates of SGD, smaller for very deep networks."""

    def __missing__(self, w):
        return 0.01 if depth(w) <= 100 else 0.1 / depth(w)


LR_SGD = Rates()


def dims(w):
    """Sizes of the dense layers: (in, out) for each."""
    if w == "dense6":
        sizes, wide = [], 4
        for size in (3, 4, 5, 6, 7, 8):
            sizes.append((wide, size))
            wide += size
        return [*sizes, (wide, 3)]
    if w == "mnist-mlp":
        h = [784, 1024, 1024, 10]
    else:
        hidden = {"mlp4": 3, "bn8": 7, "predict": 7}.get(w, depth(w) + 1)
        h = [4, *[10] * hidden, 3]
    return list(itertools.pairwise(h))


def dense_params(w):
    """W and b of each dense layer."""
    r = np.random.RandomState(1)
    ps, ds = [], dims(w)
    for i, (a, b) in enumerate(ds):
        inner = depth(w) and 0 < i < len(ds) - 1
        s = 1 / (len(ds) * a**0.5) if inner else (2 / a) ** 0.5
        ps += [(r.randn(a, b) * s).astype(F), (r.rand(b) * 0.01).astype(F)]
    return ps


def bn_params(w):
    """Gamma, beta, moving mean and moving variance of each layer that is normalized."""
    r = np.random.RandomState(2)
    sizes = [out for out, *_ in RESNET20] if w == "resnet20" else [b for _, b in dims(w)[:-1]]
    return [
        ((1 + 0.1 * r.randn(b)).astype(F), (0.1 * r.randn(b)).astype(F), np.zeros(b, F), np.ones(b, F))
        for b in sizes
    ]


def resnet20(x, conv, norm, relu):
    """What resnet20 makes of images before the average: `conv(x, i, stride)` and `norm(x, i)` are its layers `i`."""
    number = itertools.count()

    def layer(x, stride=1):
        i = next(number)
        return norm(conv(x, i, stride), i)

    h = relu(layer(x))
    for stage, block in itertools.product(range(3), range(3)):
        stride = 2 if stage and not block else 1
        y = layer(relu(layer(h, stride)))
        h = relu(y + (layer(h, stride) if stride == 2 else h))
    return h


RESNET20 = [(16, 3, 3), *[(16, 16, 3)] * 6]  # channels of the result and of the image, size of the window
for n in (32, 64):
    RESNET20 += [(n, n // 2, 3), (n, n, 3), (n, n // 2, 1), *[(n, n, 3)] * 4]
CONVOLUTIONS = {
    "lenet": [(20, 1, 5), (50, 20, 5)],
    "vgg": [(32, 3, 3), (32, 32, 3), (64, 32, 3), (64, 64, 3), (128, 64, 3), (128, 128, 3)],
    "resnet20": RESNET20,
}
DENSE = {"lenet": [(800, 500), (500, 10)], "vgg": [(2048, 256), (256, 10)], "resnet20": [(64, 10)]}


def vgg(x, conv, relu, pool):
    """What vgg makes of images before its dense layers: `conv(x, i)` is its layer `i`."""
    for i in range(6):
        x = relu(conv(x, i))
        x = pool(x) if i % 2 else x
    return x


def conv_params(w):
    """Kernels (out, in, height, width), then dense layers, each with its bias; resnet20's kernels have None."""
    r = np.random.RandomState(3)
    ps = []
    for out, channels, k in CONVOLUTIONS[w]:
        bias = None if w == "resnet20" else np.zeros(out, F)
        ps += [(r.randn(out, channels, k, k) * (2 / (channels * k * k)) ** 0.5).astype(F), bias]
    for a, b in DENSE[w]:
        ps += [(r.randn(a, b) * (2 / a) ** 0.5).astype(F), np.zeros(b, F)]
    return ps


UNITS, TIMES = 64, 50  # of the LSTM


def lstm_params():
    """Weights (4 * units, in) of data and of what went before, gates i, f, g, o, their biases; a dense layer."""
    r = np.random.RandomState(4)
    shapes = [(4 * UNITS, UNITS)] * 2 + [(4 * UNITS,)] * 2 + [(UNITS, 10), (10,)]
    return [r.uniform(-(UNITS**-0.5), UNITS**-0.5, shape).astype(F) for shape in shapes]


def data(w):
    """A batch and its labels, one-hot; None where there are none."""
    r = np.random.RandomState(0)
    if w == "chain":
        return r.randn(1000000).astype(F), None
    if w == "eager":
        return [r.rand(3).astype(F) for _ in range(3)], None
    if w == "predict":
        return r.randn(1, 4).astype(F), None
    if w == "mnist-mlp":
        x, kinds = r.rand(128, 784).astype(F), 10
    elif w == "lenet":
        x, kinds = r.rand(64, 1, 28, 28).astype(F), 10
    elif w in CONVOLUTIONS:
        x, kinds = r.randn(32, 3, 32, 32).astype(F), 10
    elif w == "lstm":
        x, kinds = r.randn(32, TIMES, UNITS).astype(F), 10
    else:
        x, kinds = r.randn(20, 4).astype(F), 3
    return x, np.eye(kinds, dtype=F)[r.randint(0, kinds, len(x))]
