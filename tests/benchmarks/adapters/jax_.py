"""JAX: mode jit (one jitted step a call) or scan (`lax.scan` over many steps a call)."""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import workloads as wl
from _base import serve
from jax import lax

MODE = sys.argv[1] if len(sys.argv) > 1 else "jit"
MAP = jax.tree_util.tree_map
NORMAL = ("bn8", "resnet20")


def norm(h, gamma, beta):
    mean = h.mean(0)
    var = ((h - mean) ** 2).mean(0)
    return (h - mean) * (gamma / jnp.sqrt(var + wl.BN_EPS)) + beta, (mean, var)


def dense(w, P, x):
    layers, norms = P
    h, found = x, []
    for i, (weight, bias) in enumerate(layers[:-1]):
        y = h @ weight + bias
        if norms:
            y, moments = norm(y, *norms[i])
            found.append(moments)
        y = jax.nn.relu(y)
        h = jnp.concatenate([h, y], 1) if w == "dense6" else h + y if wl.depth(w) and i else y
    weight, bias = layers[-1]
    return h @ weight + bias, found


def stacked(P, x):
    """Residual layers as a scan: unrolled, a thousand of them take very long to compile."""
    (first, (weights, biases), last), _ = P
    h = jax.nn.relu(x @ first[0] + first[1])
    h, _ = lax.scan(lambda h, p: (h + jax.nn.relu(h @ p[0] + p[1]), None), h, (weights, biases))
    return h @ last[0] + last[1], []


def convolved(x, weight, stride=1, pad=0):
    return lax.conv_general_dilated(x, weight, (stride, stride), [(pad, pad)] * 2)


def pooled(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def lenet(P, x):
    layers, _ = P
    for weight, bias in layers[:2]:
        x = pooled(jax.nn.relu(convolved(x, weight) + bias[:, None, None]))
    return two_dense(x, layers[2:])


def vgg(P, x):
    layers, _ = P

    def conv(x, i):
        return convolved(x, layers[i][0], pad=1) + layers[i][1][:, None, None]

    return two_dense(wl.vgg(x, conv, jax.nn.relu, pooled), layers[6:])


def two_dense(x, layers):
    (w0, b0), (w1, b1) = layers
    return jax.nn.relu(x.reshape(x.shape[0], -1) @ w0 + b0) @ w1 + b1, []


def resnet20(P, x):
    (layers, norms), found = P, []

    def conv(x, i, stride):
        return convolved(x, layers[i][0], stride, layers[i][0].shape[2] // 2)

    def normed(x, i):
        axes, (gamma, beta) = (0, 2, 3), norms[i]
        mean, var = x.mean(axes), x.var(axes)
        found.append((mean, var))
        scale = gamma / jnp.sqrt(var + wl.BN_EPS)
        return x * scale[:, None, None] + (beta - mean * scale)[:, None, None]

    x = wl.resnet20(x, conv, normed, jax.nn.relu)
    return x.mean((2, 3)) @ layers[-1][0] + layers[-1][1], found


def lstm(P, x):
    w0, w1, b0, b1, weight, bias = P[0]

    def one(state, gates):
        h, c = state
        i, f, g, o = jnp.split(gates + h @ w1.T + b1, 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    begin = jnp.zeros((len(x), wl.UNITS))
    (h, _), _ = lax.scan(one, (begin, begin), jnp.swapaxes(x @ w0.T + b0, 0, 1))
    return h @ weight + bias, []


LOGITS = {"lenet": lenet, "vgg": vgg, "resnet20": resnet20, "lstm": lstm}


def pairs(w):
    if w == "lstm":
        return [jnp.array(p) for p in wl.lstm_params()]
    given = wl.conv_params(w) if w in wl.CONVOLUTIONS else wl.dense_params(w)
    ps = [p if p is None else jnp.array(p) for p in given]
    return list(zip(ps[::2], ps[1::2], strict=True))


def optimizer(w):
    """First state, and (parameters, gradients, state) -> (parameters, state)."""
    if w not in wl.ADAM:

        def sgd(P, g, m):
            m = MAP(lambda m, g: wl.MOM * m + g, m, g)
            return MAP(lambda p, m: p - wl.LR_SGD[w] * m, P, m), m

        return (lambda P: MAP(jnp.zeros_like, P)), sgd

    def adam(P, g, state):
        m, v, t = state
        t = t + 1
        m = MAP(lambda m, g: wl.B1 * m + (1 - wl.B1) * g, m, g)
        v = MAP(lambda v, g: wl.B2 * v + (1 - wl.B2) * g * g, v, g)
        c1, c2 = 1 - wl.B1**t, 1 - wl.B2**t
        P = MAP(lambda p, m, v: p - wl.LR_ADAM * (m / c1) / (jnp.sqrt(v / c2) + wl.EPS), P, m, v)
        return P, (m, v, t)

    return (lambda P: (MAP(jnp.zeros_like, P), MAP(jnp.zeros_like, P), jnp.float32(0))), adam


class Train:
    def __init__(self, w):
        if w in wl.CONVOLUTIONS and MODE == "scan":
            raise NotImplementedError  # XLA's convolutions are five times slower inside a loop
        deep = wl.depth(w) >= 1000
        if deep and MODE == "jit":
            raise NotImplementedError
        layers = pairs(w)
        norms = [(jnp.array(g), jnp.array(b)) for g, b, _, _ in wl.bn_params(w)] if w in NORMAL else []
        moving = [(jnp.array(m), jnp.array(v)) for _, _, m, v in wl.bn_params(w)] if norms else []
        if deep:
            inner = tuple(jnp.stack(part) for part in zip(*layers[1:-1], strict=True))
            layers = (layers[0], inner, layers[-1])
        logits = stacked if deep else LOGITS.get(w, lambda P, x: dense(w, P, x))
        begin, update = optimizer(w)

        def loss(P, x, y):
            z, moments = logits(P, x)
            return -(jnp.log(jax.nn.softmax(z, 1) + 1e-8) * y).mean(), moments

        def step(state, x, y):
            P, o, moving = state
            (value, moments), g = jax.value_and_grad(loss, has_aux=True)(P, x, y)
            P, o = update(P, g, o)
            moving = MAP(lambda old, new: old * 0.9 + new * 0.1, moving, moments)
            return (P, o, moving), value

        def many(state, x, y):
            return lax.scan(lambda s, _: step(s, x, y), state, None, length=wl.K[w])

        self.k = wl.K[w] if MODE == "scan" else 1
        self.f = jax.jit(many if MODE == "scan" else step, donate_argnums=0)
        P = (layers, norms)
        self.state, (self.x, self.y) = (P, begin(P), moving), map(jnp.array, wl.data(w))

    def step(self, n):
        for _ in range(n // self.k):
            self.state, value = self.f(self.state, self.x, self.y)
        self.value = jax.block_until_ready((self.state, value))[1]

    def loss(self):
        return np.ravel(self.value)[-1]


class Chain:
    def __init__(self, w):
        def f(x):
            return (jnp.tanh(x) * jnp.exp(-x * x) + jnp.log(1 + x * x)).sum()

        self.x, self.f = jnp.array(wl.data(w)[0]), jax.jit(jax.value_and_grad(f))

    def step(self, n):
        for _ in range(n):
            self.found = jax.block_until_ready(self.f(self.x))

    def loss(self):
        return float(self.found[0]) + np.asarray(self.found[1]).sum(dtype=float)


class Eager:
    def __init__(self, w):
        self.v = [jnp.array(v) for v in wl.data(w)[0]]

    def step(self, n):
        def f(a, b, c):
            for _ in range(wl.CHAIN):
                a = a + b * c
            return a.sum()

        forward = backward = 0.0
        for _ in range(n):
            t0 = time.perf_counter()
            y, pull = jax.vjp(f, *self.v)
            t1 = time.perf_counter()
            self.found = jax.block_until_ready(pull(jnp.ones_like(y)))
            t2 = time.perf_counter()
            forward += t1 - t0
            backward += t2 - t1
        return [forward, backward]

    def loss(self):
        return float(self.found[1].sum())


class Predict:
    def __init__(self, w):
        layers, norms = pairs(w), [tuple(map(jnp.array, norm)) for norm in wl.bn_params(w)]
        self.x = wl.data(w)[0]

        @jax.jit
        def f(x):
            for (weight, bias), (gamma, beta, mean, var) in zip(layers[:-1], norms, strict=True):
                x = (x @ weight + bias - mean) / jnp.sqrt(var + wl.BN_EPS)
                x = jax.nn.relu(x * gamma + beta)
            return jax.nn.softmax(x @ layers[-1][0] + layers[-1][1], 1)

        self.f = f

    def step(self, n):
        for _ in range(n):
            self.y = np.asarray(self.f(self.x))

    def loss(self):
        return self.y[0, 0]


def make(w):
    if MODE == "scan" and w in ("chain", "eager", "predict"):
        raise NotImplementedError
    return {"chain": Chain, "eager": Eager, "predict": Predict}.get(w, Train)(w)


serve(make, f"jax {jax.__version__}")
