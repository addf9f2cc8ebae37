"""MyGrad, with an optimizer in NumPy."""

import time

import _optimizer
import mygrad as mg
import numpy as np
import workloads as wl
from _base import serve
from mygrad.nnet.activations import softmax
from mygrad.nnet.layers import batchnorm, conv_nd, max_pool

F = np.float32


def relu(x):
    return mg.maximum(x, F(0))


def norm(h, gamma, beta, moving):
    for state, new in zip(moving, (h.data.mean(0), h.data.var(0)), strict=True):
        state += F(wl.BN_MOM) * (new - state)
    return batchnorm(h, gamma=gamma, beta=beta, eps=wl.BN_EPS)


def dense(w, x, ps, norms):
    n, h = len(wl.dims(w)), x
    for i in range(n - 1):
        t = h @ ps[2 * i] + ps[2 * i + 1]
        t = relu(norm(t, ps[2 * n + 2 * i], ps[2 * n + 2 * i + 1], norms[i]) if norms else t)
        h = mg.concatenate([h, t], axis=1) if w == "dense6" else h + t if wl.depth(w) and i else t
    return h @ ps[2 * n - 2] + ps[2 * n - 1]


def lenet(x, ps):
    for i in range(2):
        x = relu(conv_nd(x, ps[2 * i], stride=1) + ps[2 * i + 1].reshape(1, -1, 1, 1))
        x = max_pool(x, (2, 2), 2)
    return relu(x.reshape(len(x), -1) @ ps[4] + ps[5]) @ ps[6] + ps[7]


class Train:
    def __init__(self, w):
        if w in ("resnet20", "vgg", "lstm"):
            raise NotImplementedError
        raw = wl.conv_params(w) if w == "lenet" else wl.dense_params(w)
        states = wl.bn_params(w) if w == "bn8" else []
        raw += [p for norm in states for p in norm[:2]]
        ps = self.ps = [mg.tensor(p.copy()) for p in raw]
        x, self.y = wl.data(w)
        norms = [state[2:] for state in states]
        self.logits = (lambda: lenet(x, ps)) if w == "lenet" else (lambda: dense(w, x, ps, norms))
        self.update = _optimizer.make(w, [p.data for p in ps])

    def step(self, n):
        for _ in range(n):
            value = -mg.mean(mg.log(softmax(self.logits(), axis=1) + F(1e-8)) * self.y)
            value.backward()
            self.update([p.grad for p in self.ps])
            for p in self.ps:
                p.null_grad()
        self.value = float(value.item())

    def loss(self):
        return self.value


class Chain:
    def __init__(self, w):
        self.x = mg.tensor(wl.data(w)[0])

    def step(self, n):
        for _ in range(n):
            x = self.x
            y = mg.sum(mg.tanh(x) * mg.exp(-x * x) + mg.log(F(1) + x * x))
            y.backward()
        self.y = float(y.item())

    def loss(self):
        return self.y + self.x.grad.sum(dtype=float)


class Eager:
    def __init__(self, w):
        self.v = [mg.tensor(v) for v in wl.data(w)[0]]

    def step(self, n):
        forward = backward = 0.0
        for _ in range(n):
            a, b, c = self.v
            t0 = time.perf_counter()
            for _ in range(wl.CHAIN):
                a = a + b * c
            t1 = time.perf_counter()
            mg.sum(a).backward()
            t2 = time.perf_counter()
            forward += t1 - t0
            backward += t2 - t1
        self.gradient = self.v[1].grad
        return [forward, backward]

    def loss(self):
        return self.gradient.sum()


class Predict:
    def __init__(self, w):
        self.ps = [mg.tensor(p, constant=True) for p in wl.dense_params(w)]
        self.norms = [[mg.tensor(p, constant=True) for p in norm] for norm in wl.bn_params(w)]
        self.x = wl.data(w)[0]

    def step(self, n):
        ps = self.ps
        with mg.no_autodiff:
            for _ in range(n):
                h = self.x
                for i, (gamma, beta, mean, var) in enumerate(self.norms):
                    t = h @ ps[2 * i] + ps[2 * i + 1] - mean
                    h = relu(t * (gamma / mg.sqrt(var + F(wl.BN_EPS))) + beta)
                self.y = softmax(h @ ps[-2] + ps[-1], axis=1)

    def loss(self):
        return self.y.data[0, 0]


def make(w):
    return {"chain": Chain, "eager": Eager, "predict": Predict}.get(w, Train)(w)


serve(make, f"mygrad {mg.__version__} numpy {np.__version__}")
