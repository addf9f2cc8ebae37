"""This project in the protocol of the comparison: mode fit (many steps in a call), step (one executor call
after the other), numpy (as step, without the interpreter).

Put beside the other adapters; `PEERS` of the harness needs one line per mode.
"""

import os
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "fit"
os.environ["TINYGRAD_LESSON_RUNNER"] = "numpy" if MODE == "numpy" else "vm"

from _base import serve  # noqa: E402, I001  (first: it tells where the workloads are)
import numpy as np  # noqa: E402
import workloads as wl  # noqa: E402

import tinygrad_lesson as tl  # noqa: E402
from tinygrad_lesson import sym  # noqa: E402
from tinygrad_lesson.train.monitor import GradientMonitor  # noqa: E402
from tinygrad_lesson.train.optimizer import FlatUpdater, create  # noqa: E402


def network(w, infer=False):
    """The workload as a symbol: its loss, or its prediction."""
    h, ds = sym.Variable("data"), wl.dims(w)

    def fc(x, i, k):
        return sym.FullyConnected(x, num_hidden=k, name=f"fc{i}")

    if w in ("W3", "W5"):
        h = sym.relu(fc(h, 0, 10))
        for i in range(1, len(ds) - 1):
            h = h + sym.relu(fc(h, i, 10))
    else:
        for i, (_, k) in enumerate(ds[:-1]):
            x = fc(h, i, k)
            if w in ("W2", "W10"):
                x = sym.BatchNorm(x, fix_gamma=False, eps=wl.BN_EPS, momentum=0.9, name=f"bn{i}")
            x = sym.relu(x)
            h = sym.concat(h, x, dim=1) if w == "W4" else x
    p = sym.softmax(fc(h, len(ds) - 1, ds[-1][1]))
    return p if infer else sym.MakeLoss(-sym.mean(sym.log(p + 1e-8) * sym.Variable("label")))


def fill(w, executor):
    """The parameters that every peer begins with."""
    ps = wl.dense_params(w)
    for i in range(len(ps) // 2):
        executor.arg_dict[f"fc{i}_weight"][:] = ps[2 * i].T
        executor.arg_dict[f"fc{i}_bias"][:] = ps[2 * i + 1]
    if w in ("W2", "W10"):
        for i, (g, b, m, v) in enumerate(wl.bn_params(w)):
            executor.arg_dict[f"bn{i}_gamma"][:] = g
            executor.arg_dict[f"bn{i}_beta"][:] = b
            executor.aux_dict[f"bn{i}_moving_mean"][:] = m
            executor.aux_dict[f"bn{i}_moving_var"][:] = v


class Train:
    """Forward, backward and optimizer on one batch, over and over."""

    def __init__(self, w):
        if w in ("W7", "W8", "W9"):
            raise NotImplementedError
        x, y = wl.data(w)
        symbol = network(w)
        requests = {n: "null" if n in ("data", "label") else "write" for n in symbol.list_arguments()}
        self.executor = symbol.simple_bind(tl.cpu(), grad_req=requests, data=x.shape, label=y.shape)
        fill(w, self.executor)
        adam = w in ("W1", "W2", "W6")
        settings = (
            {"learning_rate": wl.LR_ADAM} if adam else {"learning_rate": wl.LR_SGD[w], "momentum": wl.MOM}
        )
        flat, grads = self.executor.flat_parameters, self.executor.flat_gradients
        weight, grad = (next(iter(f.buffers.values())) for f in (flat, grads))
        segments = list(flat.segments.items())
        self.updater = FlatUpdater(create("adam" if adam else "sgd", **settings), weight, grad, segments)
        self.monitor = GradientMonitor(grad, flat.segments)
        self.batch = {"data": x, "label": y}
        self.batches = {"data": x[None], "label": y[None]}
        self.value = float("nan")

    def step(self, n):
        """`n` steps."""
        if MODE == "fit":
            losses = self.executor.train(self.batches, n, self.updater, self.monitor)
            if losses is not None:
                self.value = losses[-1]
                self.monitor.batches.clear()
                return
        executor, updater, batch = self.executor, self.updater, self.batch
        for _ in range(n):
            executor.forward(is_train=True, **batch)
            executor.backward()
            updater.step()
        self.value = executor.outputs[0][0]

    def loss(self):
        """The loss of the last step."""
        return self.value


class Predict:
    """One row through bn8."""

    def __init__(self, w):
        x, _ = wl.data(w)
        self.x = x
        self.executor = network(w, infer=True).simple_bind(tl.cpu(), grad_req="null", data=x.shape)
        fill(w, self.executor)

    def step(self, n):
        """`n` predictions."""
        executor, x = self.executor, self.x
        for _ in range(n):
            self.y = executor.forward(data=x)[0].asnumpy()

    def loss(self):
        """The first probability."""
        return self.y[0, 0]


class Eager:
    """A chain of small eager operations, forward and backward."""

    def __init__(self, w):
        self.v = [tl.Tensor(v, requires_grad=True) for v in wl.data(w)[0]]

    def step(self, n):
        """`n` times the chain; seconds forward and backward."""
        forward = backward = 0.0
        for _ in range(n):
            a, b, c = self.v
            for v in self.v:
                v.grad = None
            t0 = time.perf_counter()
            for _ in range(wl.CHAIN):
                a = a + b * c
            y = a.sum()
            t1 = time.perf_counter()
            y.backward()
            t2 = time.perf_counter()
            forward += t1 - t0
            backward += t2 - t1
        return [forward, backward]

    def loss(self):
        """A sum that every peer has alike."""
        return float(self.v[1].grad.numpy().sum())


def make(w):
    """The workload called `w`."""
    return {"W10": Predict, "W9": Eager}.get(w, Train)(w)


serve(make, f"{tl.__version__} numpy {np.__version__}")
