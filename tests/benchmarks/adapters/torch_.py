"""PyTorch on the CPU: mode eager (its default optimizer) or fused (the fused one)."""

import sys
import time

import torch
import torch.nn.functional as nn
import workloads as wl
from _base import serve

MODE = sys.argv[1] if len(sys.argv) > 1 else "eager"
torch.set_num_threads(1)
T = torch.from_numpy


def leaf(array):
    return torch.nn.Parameter(T(array.T.copy() if array.ndim == 2 else array.copy()))


def pairs(ps):
    return list(zip(ps[::2], ps[1::2], strict=True))


def batch_norm(h, state, is_train):
    gamma, beta, mean, var = state
    return nn.batch_norm(h, mean, var, gamma, beta, is_train, wl.BN_MOM, wl.BN_EPS)


def dense(w, x, layers, norms, is_train=True):
    h = x
    for i, (weight, bias) in enumerate(layers[:-1]):
        y = nn.linear(h, weight, bias)
        y = torch.relu(batch_norm(y, norms[i], is_train) if norms else y)
        h = torch.cat([h, y], 1) if w == "dense6" else h + y if wl.depth(w) and i else y
    return nn.linear(h, *layers[-1])


def lenet(x, layers):
    for weight, bias in layers[:2]:
        x = nn.max_pool2d(torch.relu(nn.conv2d(x, weight, bias)), 2)
    return nn.linear(torch.relu(nn.linear(x.flatten(1), *layers[2])), *layers[3])


def vgg(x, layers):
    def conv(x, i):
        return nn.conv2d(x, *layers[i], padding=1)

    x = wl.vgg(x, conv, torch.relu, lambda x: nn.max_pool2d(x, 2)).flatten(1)
    return nn.linear(torch.relu(nn.linear(x, *layers[6])), *layers[7])


def resnet20(x, layers, norms):
    def conv(x, i, stride):
        weight, _ = layers[i]
        return nn.conv2d(x, weight, None, stride, weight.shape[2] // 2)

    x = wl.resnet20(x, conv, lambda x, i: batch_norm(x, norms[i], True), torch.relu)
    return nn.linear(x.mean((2, 3)), *layers[-1])


class LSTM:
    """PyTorch's own, and a dense layer."""

    def __init__(self):
        *gates, weight, bias = wl.lstm_params()
        self.lstm, self.last = torch.nn.LSTM(wl.UNITS, wl.UNITS, batch_first=True), (leaf(weight), leaf(bias))
        for mine, given in zip(self.lstm.parameters(), gates, strict=True):
            mine.data[:] = T(given)
        self.everything = [*self.lstm.parameters(), *self.last]

    def __call__(self, x):
        return nn.linear(self.lstm(x)[0][:, -1], *self.last)


class Train:
    def __init__(self, w):
        if w == "lstm":
            self.logits = LSTM()
            everything = self.logits.everything
        else:
            given = wl.conv_params(w) if w in wl.CONVOLUTIONS else wl.dense_params(w)
            ps = [p if p is None else leaf(p) for p in given]
            known = wl.bn_params(w) if w in ("bn8", "resnet20") else []
            norms = [(leaf(g), leaf(b), T(m), T(v)) for g, b, m, v in known]
            layers = pairs(ps)
            everything = [p for p in ps if p is not None] + [p for norm in norms for p in norm[:2]]
            self.logits = {
                "lenet": lambda x: lenet(x, layers),
                "vgg": lambda x: vgg(x, layers),
                "resnet20": lambda x: resnet20(x, layers, norms),
            }.get(w, lambda x: dense(w, x, layers, norms))
        how = {"fused": True} if MODE == "fused" else {}
        if w in wl.ADAM:
            self.optimizer = torch.optim.Adam(everything, lr=wl.LR_ADAM, **how)
        else:
            self.optimizer = torch.optim.SGD(everything, lr=wl.LR_SGD[w], momentum=wl.MOM, **how)
        self.x, self.y = map(T, wl.data(w))

    def step(self, n):
        for _ in range(n):
            self.optimizer.zero_grad()
            p = torch.softmax(self.logits(self.x), 1)
            loss = -(torch.log(p + 1e-8) * self.y).mean()
            loss.backward()
            self.optimizer.step()
        self.value = loss

    def loss(self):
        return self.value.item()


class Chain:
    def __init__(self, w):
        self.x = T(wl.data(w)[0]).requires_grad_()

    def step(self, n):
        for _ in range(n):
            x = self.x
            x.grad = None
            y = (torch.tanh(x) * torch.exp(-x * x) + torch.log(1 + x * x)).sum()
            y.backward()
        self.y = y

    def loss(self):
        return float(self.y) + float(self.x.grad.double().sum())


class Eager:
    def __init__(self, w):
        self.v = [T(v).requires_grad_() for v in wl.data(w)[0]]

    def step(self, n):
        forward = backward = 0.0
        for _ in range(n):
            a, b, c = self.v
            a.grad = b.grad = c.grad = None
            t0 = time.perf_counter()
            for _ in range(wl.CHAIN):
                a = a + b * c
            t1 = time.perf_counter()
            a.sum().backward()
            t2 = time.perf_counter()
            forward += t1 - t0
            backward += t2 - t1
        return [forward, backward]

    def loss(self):
        return float(self.v[1].grad.sum())


class Predict:
    def __init__(self, w):
        self.layers = pairs([leaf(p).detach() for p in wl.dense_params(w)])
        self.norms = [tuple(map(T, norm)) for norm in wl.bn_params(w)]
        self.x = wl.data(w)[0]

    def step(self, n):
        with torch.inference_mode():
            for _ in range(n):
                self.y = torch.softmax(dense("predict", T(self.x), self.layers, self.norms, False), 1).numpy()

    def loss(self):
        return self.y[0, 0]


def make(w):
    if w == "eager" and MODE == "fused":
        raise NotImplementedError
    return {"chain": Chain, "eager": Eager, "predict": Predict}.get(w, Train)(w)


serve(make, f"torch {torch.__version__}")
