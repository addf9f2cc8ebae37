"""HIPS autograd, with an optimizer in NumPy. It has no fast convolution, so no networks of convolutions."""

import time
from importlib.metadata import version

import _optimizer
import autograd.numpy as np
import numpy as plain
import workloads as wl
from _base import serve
from autograd import make_vjp, value_and_grad

F = plain.float32


def softmax(z):
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def norm(h, gamma, beta, moving):
    mean = np.mean(h, axis=0)
    d = h - mean
    var = np.mean(d * d, axis=0)
    for state, new in zip(moving, (mean, var), strict=True):
        state += F(wl.BN_MOM) * (new._value - state)
    return d * (gamma / np.sqrt(var + F(wl.BN_EPS))) + beta


class Train:
    def __init__(self, w):
        if w in wl.CONVOLUTIONS or w == "lstm":
            raise NotImplementedError
        ps = [p.copy() for p in wl.dense_params(w)]
        n = len(ps) // 2
        states = wl.bn_params(w) if w == "bn8" else []
        ps += [p for norm in states for p in norm[:2]]
        x, y = wl.data(w)

        def loss(ps):
            h = x
            for i in range(n - 1):
                t = np.dot(h, ps[2 * i]) + ps[2 * i + 1]
                if states:
                    t = norm(t, ps[2 * n + 2 * i], ps[2 * n + 2 * i + 1], states[i][2:])
                t = np.maximum(t, F(0))
                h = np.concatenate([h, t], axis=1) if w == "dense6" else h + t if wl.depth(w) and i else t
            p = softmax(np.dot(h, ps[2 * n - 2]) + ps[2 * n - 1])
            return -np.mean(np.log(p + F(1e-8)) * y)

        self.f, self.ps, self.update = value_and_grad(loss), ps, _optimizer.make(w, ps)

    def step(self, n):
        for _ in range(n):
            self.value, gradients = self.f(self.ps)
            self.update(gradients)

    def loss(self):
        return self.value


class Chain:
    def __init__(self, w):
        def f(x):
            return np.sum(np.tanh(x) * np.exp(-x * x) + np.log(F(1) + x * x))

        self.x, self.f = wl.data(w)[0], value_and_grad(f)

    def step(self, n):
        for _ in range(n):
            self.found = self.f(self.x)

    def loss(self):
        return float(self.found[0]) + self.found[1].sum(dtype=float)


class Eager:
    def __init__(self, w):
        self.v = tuple(wl.data(w)[0])

    def step(self, n):
        def f(v):
            a, b, c = v
            for _ in range(wl.CHAIN):
                a = a + b * c
            return np.sum(a)

        forward = backward = 0.0
        for _ in range(n):
            t0 = time.perf_counter()
            pull, _ = make_vjp(f)(self.v)
            t1 = time.perf_counter()
            self.found = pull(F(1))
            t2 = time.perf_counter()
            forward += t1 - t0
            backward += t2 - t1
        return [forward, backward]

    def loss(self):
        return self.found[1].sum()


class Predict:
    def __init__(self, w):
        self.ps, self.norms, self.x = wl.dense_params(w), wl.bn_params(w), wl.data(w)[0]

    def step(self, n):
        ps = self.ps
        for _ in range(n):
            h = self.x
            for i, (gamma, beta, mean, var) in enumerate(self.norms):
                t = np.dot(h, ps[2 * i]) + ps[2 * i + 1] - mean
                h = np.maximum(t * (gamma / np.sqrt(var + F(wl.BN_EPS))) + beta, F(0))
            self.y = softmax(np.dot(h, ps[-2]) + ps[-1])

    def loss(self):
        return self.y[0, 0]


def make(w):
    return {"chain": Chain, "eager": Eager, "predict": Predict}.get(w, Train)(w)


serve(make, f"autograd {version('autograd')} numpy {plain.__version__}")
