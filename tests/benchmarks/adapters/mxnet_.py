"""MXNet 1.9.1: a symbol, `simple_bind`, an updater; its engine without threads, which is the faster on one."""

import os
import time
import warnings

os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")
warnings.filterwarnings("ignore")

import mxnet as mx  # noqa: E402
import numpy as np  # noqa: E402
import workloads as wl  # noqa: E402
from _base import serve  # noqa: E402

S = mx.sym


def dense(w):
    h, sizes = S.Variable("data"), [size for _, size in wl.dims(w)]
    for i, size in enumerate(sizes[:-1]):
        y = S.FullyConnected(h, num_hidden=size, name=f"fc{i}")
        if w in ("bn8", "predict"):
            y = S.BatchNorm(y, fix_gamma=False, eps=wl.BN_EPS, momentum=0.9, name=f"bn{i}")
        y = S.relu(y)
        h = S.concat(h, y, dim=1) if w == "dense6" else h + y if wl.depth(w) and i else y
    return S.FullyConnected(h, num_hidden=sizes[-1], name=f"fc{len(sizes) - 1}")


def lenet():
    h = S.Variable("data")
    for i, size in enumerate((20, 50)):
        h = S.relu(S.Convolution(h, kernel=(5, 5), num_filter=size, name=f"conv{i}"))
        h = S.Pooling(h, kernel=(2, 2), stride=(2, 2), pool_type="max")
    h = S.relu(S.FullyConnected(S.flatten(h), num_hidden=500, name="fc0"))
    return S.FullyConnected(h, num_hidden=10, name="fc1")


def fill(w, executor):
    ps = wl.conv_params(w) if w == "lenet" else wl.dense_params(w)
    layers = ["conv0", "conv1", "fc0", "fc1"] if w == "lenet" else [f"fc{i}" for i in range(len(ps) // 2)]
    for i, layer in enumerate(layers):
        executor.arg_dict[layer + "_weight"][:] = ps[2 * i].T if ps[2 * i].ndim == 2 else ps[2 * i]
        executor.arg_dict[layer + "_bias"][:] = ps[2 * i + 1]
    for i, (gamma, beta, mean, var) in enumerate(wl.bn_params(w) if w in ("bn8", "predict") else ()):
        executor.arg_dict[f"bn{i}_gamma"][:] = gamma
        executor.arg_dict[f"bn{i}_beta"][:] = beta
        executor.aux_dict[f"bn{i}_moving_mean"][:] = mean
        executor.aux_dict[f"bn{i}_moving_var"][:] = var


class Train:
    def __init__(self, w):
        if w in ("resnet20", "vgg", "lstm"):
            raise NotImplementedError
        x, y = wl.data(w)
        p = S.softmax(lenet() if w == "lenet" else dense(w))
        symbol = S.MakeLoss(-S.mean(S.log(p + 1e-8) * S.Variable("label")))
        names = symbol.list_arguments()
        requests = {name: "null" if name in ("data", "label") else "write" for name in names}
        executor = symbol.simple_bind(mx.cpu(), grad_req=requests, data=x.shape, label=y.shape)
        fill(w, executor)
        executor.arg_dict["data"][:] = x
        executor.arg_dict["label"][:] = y
        if w in wl.ADAM:
            optimizer = mx.optimizer.Adam(learning_rate=wl.LR_ADAM, wd=0)
        else:
            optimizer = mx.optimizer.SGD(learning_rate=wl.LR_SGD[w], momentum=wl.MOM, wd=0)
        self.executor, self.updater = executor, mx.optimizer.get_updater(optimizer)
        self.parameters = [
            (i, executor.grad_dict[name], executor.arg_dict[name])
            for i, name in enumerate(names)
            if requests[name] == "write"
        ]

    def step(self, n):
        for _ in range(n):
            self.executor.forward(is_train=True)
            self.executor.backward()
            for i, grad, weight in self.parameters:
                self.updater(i, grad, weight)
        mx.nd.waitall()

    def loss(self):
        return self.executor.outputs[0].asnumpy().ravel()[0]


class Chain:
    def __init__(self, w):
        array, x = wl.data(w)[0], S.Variable("x")
        y = S.MakeLoss(S.sum(S.tanh(x) * S.exp(-x * x) + S.log(1 + x * x)))
        self.executor = y.simple_bind(mx.cpu(), grad_req="write", x=array.shape)
        self.executor.arg_dict["x"][:] = array

    def step(self, n):
        for _ in range(n):
            self.executor.forward(is_train=True)
            self.executor.backward()
        mx.nd.waitall()

    def loss(self):
        gradient = self.executor.grad_dict["x"].asnumpy().sum(dtype=float)
        return self.executor.outputs[0].asnumpy().ravel()[0] + gradient


class Eager:
    def __init__(self, w):
        self.v = [mx.nd.array(v) for v in wl.data(w)[0]]
        for v in self.v:
            v.attach_grad()

    def step(self, n):
        forward = backward = 0.0
        for _ in range(n):
            a, b, c = self.v
            t0 = time.perf_counter()
            with mx.autograd.record():
                for _ in range(wl.CHAIN):
                    a = a + b * c
            mx.nd.waitall()
            t1 = time.perf_counter()
            a.backward()
            mx.nd.waitall()
            t2 = time.perf_counter()
            forward += t1 - t0
            backward += t2 - t1
        return [forward, backward]

    def loss(self):
        return self.v[1].grad.asnumpy().sum()


class Predict:
    def __init__(self, w):
        self.x = wl.data(w)[0]
        self.executor = S.softmax(dense(w)).simple_bind(mx.cpu(), grad_req="null", data=self.x.shape)
        fill(w, self.executor)

    def step(self, n):
        for _ in range(n):
            self.executor.arg_dict["data"][:] = self.x
            self.y = self.executor.forward(is_train=False)[0].asnumpy()

    def loss(self):
        return self.y[0, 0]


def make(w):
    return {"chain": Chain, "eager": Eager, "predict": Predict}.get(w, Train)(w)


serve(make, f"mxnet {mx.__version__} numpy {np.__version__}")
