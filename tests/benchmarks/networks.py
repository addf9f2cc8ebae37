"""The networks of the workloads in this project's symbols, and what they begin with."""

import workloads as wl

from tinygrad_lesson import sym

NAMES = {  # another harness numbers the workloads
    "W1": "mlp4", "W2": "bn8", "W3": "res25", "W4": "dense6", "W5": "res1000", "W6": "mnist-mlp", "W7": "lenet",
    "W8": "chain", "W9": "eager", "W10": "predict",
}  # fmt: skip
NORMAL, ADAM = ("bn8", "predict", "resnet20"), ("mlp4", "bn8", "mnist-mlp")


def kind(w):
    """The workload by its own name."""
    return NAMES.get(w, w)


def full(h, number, size):
    """A fully connected layer."""
    return sym.FullyConnected(h, num_hidden=size, name=f"fc{number}")


def perceptron(h, w):
    """The logits of the networks of dense layers."""
    sizes = [size for _, size in wl.dims(w)]
    for i, size in enumerate(sizes[:-1]):
        x = full(h, i, size)
        if kind(w) in NORMAL:
            x = sym.BatchNorm(x, fix_gamma=False, eps=wl.BN_EPS, momentum=0.9, name=f"bn{i}")
        x = sym.relu(x)
        h = (
            sym.concat(h, x, dim=1)
            if kind(w) == "dense6"
            else h + x
            if kind(w).startswith("res") and i
            else x
        )
    return full(h, len(sizes) - 1, sizes[-1])


def convolution(h, w, i, **settings):
    """Layer `i` of the networks of convolutions."""
    size, _, k = wl.CONVOLUTIONS[w][i]
    return sym.Convolution(h, kernel=(k, k), num_filter=size, name=f"conv{i}", **settings)


def pooled(h):
    """The largest of each two by two."""
    return sym.Pooling(h, kernel=(2, 2), stride=(2, 2), pool_type="max")


def lenet(h):
    """The logits of two convolutions and two dense layers."""
    for i in range(2):
        h = pooled(sym.relu(convolution(h, "lenet", i)))
    return full(sym.relu(full(sym.Flatten(h), 0, 500)), 1, 10)


def vgg(h):
    """The logits of six convolutions and two dense layers."""
    h = wl.vgg(h, lambda h, i: convolution(h, "vgg", i, pad=(1, 1)), sym.relu, pooled)
    return full(sym.relu(full(sym.Flatten(h), 0, 256)), 1, 10)


def resnet20(h):
    """The logits of the residual network of convolutions."""

    def conv(h, i, stride):
        k = wl.RESNET20[i][2]
        return convolution(h, "resnet20", i, stride=(stride, stride), pad=(k // 2, k // 2), no_bias=True)

    def norm(h, i):
        return sym.BatchNorm(h, fix_gamma=False, eps=wl.BN_EPS, momentum=0.9, name=f"bn{i}")

    h = wl.resnet20(h, conv, norm, sym.relu)
    h = sym.Pooling(h, kernel=(8, 8), global_pool=True, pool_type="avg")
    return full(sym.Flatten(h), 0, 10)


def lstm(data):
    """The logits from the last of many steps, each of them written out."""
    names = "weight0", "weight1", "bias0", "bias1"
    (w0, w1, b0, b1), size = [sym.Variable(name) for name in names], 4 * wl.UNITS
    h = c = None
    for x in sym.SliceChannel(data, num_outputs=wl.TIMES, axis=1, squeeze_axis=True):
        gates = sym.FullyConnected(x, w0, b0, num_hidden=size)
        before = b1 if h is None else sym.FullyConnected(h, w1, b1, num_hidden=size)
        gates = sym.broadcast_add(gates, sym.expand_dims(b1, 0)) if h is None else gates + before
        i, f, g, o = sym.SliceChannel(gates, num_outputs=4, axis=1)
        new = sym.sigmoid(i) * sym.tanh(g)
        c = new if c is None else sym.sigmoid(f) * c + new
        h = sym.sigmoid(o) * sym.tanh(c)
    return full(h, 0, 10)


LOGITS = {"lenet": lenet, "vgg": vgg, "resnet20": resnet20, "lstm": lstm}


def network(w, infer=False, element=None):
    """The workload as a symbol: its loss, or its prediction."""
    w, data = kind(w), sym.Variable("data", dtype=element)
    p = sym.softmax(LOGITS[w](data) if w in LOGITS else perceptron(data, w))
    label = sym.Variable("label", dtype=element)
    return p if infer else sym.MakeLoss(-sym.mean(sym.log(p + 1e-8) * label))


def parameters(w):
    """The arguments and the states that every peer begins with, by name."""
    w = kind(w)
    if w == "lstm":
        names, ps = ["weight0", "weight1", "bias0", "bias1", "fc0_weight", "fc0_bias"], wl.lstm_params()
        ps[4] = ps[4].T
    else:
        ps = wl.conv_params(w) if w in wl.CONVOLUTIONS else wl.dense_params(w)
        layers = [f"conv{i}" for i in range(len(wl.CONVOLUTIONS.get(w, ())))]
        layers += [f"fc{i}" for i in range(len(ps) // 2 - len(layers))]
        names = [f"{layer}_{part}" for layer in layers for part in ("weight", "bias")]
        ps = [p.T if p is not None and p.ndim == 2 else p for p in ps]
    arguments = {name: p for name, p in zip(names, ps, strict=True) if p is not None}
    states = {}
    for i, (gamma, beta, mean, var) in enumerate(wl.bn_params(w) if w in NORMAL else ()):
        arguments.update({f"bn{i}_gamma": gamma, f"bn{i}_beta": beta})
        states.update({f"bn{i}_moving_mean": mean, f"bn{i}_moving_var": var})
    return arguments, states
