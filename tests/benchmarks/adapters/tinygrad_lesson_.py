"""This project in the protocol of the comparison: mode fit (many steps in a call), step (one executor call
after the other), numpy (as step, without the interpreter).

Put beside the other adapters; `PEERS` of a harness needs one line per mode.
"""

import os
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "fit"
MODE, ELEMENT = MODE.removesuffix("64"), "float64" if MODE.endswith("64") else "float32"
os.environ["TINYGRAD_LESSON_RUNNER"] = "numpy" if MODE == "numpy" else "vm"

from _base import serve  # noqa: E402, I001  (first: it tells where the workloads are)
import numpy as np  # noqa: E402
import workloads as wl  # noqa: E402
from networks import ADAM, kind, network, parameters  # noqa: E402

import tinygrad_lesson as tl  # noqa: E402
from tinygrad_lesson import sym  # noqa: E402


class Train:
    """Forward, backward and optimizer on one batch, over and over: what `FeedForward.fit` does once it is bound."""

    def __init__(self, w):
        x, y = wl.data(w)
        settings = (
            {"optimizer": "adam", "learning_rate": wl.LR_ADAM}
            if kind(w) in ADAM
            else {"optimizer": "sgd", "learning_rate": wl.LR_SGD[w], "momentum": wl.MOM}
        )
        arguments, states = parameters(w)
        self.model = tl.FeedForward(
            network(w, element=ELEMENT), arg_params=arguments, aux_params=states, **settings
        )
        self.executor = self.model.bind_training({"data": x, "label": y})
        self.executor.arg_dict["data"][:], self.executor.arg_dict["label"][:] = x, y
        self.updater, self.monitor = self.model.start(self.executor)
        self.steps = wl.K[w]
        rows = {"data": x, "label": y}
        many = {name: np.tile(a, (self.steps, *[1] * (a.ndim - 1))) for name, a in rows.items()}
        self.epoch = tl.NDArrayIter(many["data"], many["label"], len(x), label_name="label", dtype=ELEMENT)

    def step(self, n):
        """`n` steps, a multiple of the length of an epoch."""
        if MODE == "fit":
            history, count = tl.History(), n // self.steps
            self.model.run_epochs(
                self.executor, self.updater, self.monitor, self.epoch, 1, count, None, history
            )
            return
        executor, updater = self.executor, self.updater
        for _ in range(n):
            executor.forward(is_train=True)
            executor.backward()
            updater.step()

    def loss(self):
        """The loss of the last step."""
        return np.ravel(self.executor.outputs[0])[0]


class Chain:
    """An elementwise chain over many numbers, with its gradient: a function under `jit`, or an executor."""

    def __init__(self, w):
        self.x = wl.data(w)[0]
        if MODE == "fit":

            def f(x):
                return (tl.tanh(x) * tl.exp(-x * x) + tl.log(1 + x * x)).sum()

            self.f, self.x = tl.jit(tl.value_and_grad(f)), tl.Tensor(self.x)
        else:
            x = sym.Variable("x")
            y = sym.MakeLoss(sym.sum(sym.tanh(x) * sym.exp(-x * x) + sym.log(1 + x * x)))
            self.executor = y.simple_bind(tl.cpu(), grad_req="write", x=self.x.shape)
            self.executor.arg_dict["x"][:] = self.x

    def step(self, n):
        """`n` times the value and the gradient."""
        for _ in range(n):
            if MODE == "fit":
                y, gradient = self.f(self.x)
            else:
                (y,) = self.executor.forward(is_train=True)
                self.executor.backward()
        if MODE != "fit":
            gradient = self.executor.grad_dict["x"]
        self.found = float(np.ravel(y)[0]), gradient

    def loss(self):
        """The value, and the sum of the gradient."""
        value, gradient = self.found
        return value + np.asarray(gradient).sum(dtype=float)


class Predict:
    """One row through the network: `predict` of a model, or an executor."""

    def __init__(self, w):
        self.x, _ = wl.data(w)
        arguments, states = parameters(w)
        if MODE == "fit":
            self.model = tl.FeedForward(network(w, infer=True), arg_params=arguments, aux_params=states)
        else:
            self.executor = network(w, infer=True).simple_bind(tl.cpu(), grad_req="null", data=self.x.shape)
            self.executor.copy_params_from(arguments, states)

    def step(self, n):
        """`n` predictions."""
        for _ in range(n):
            if MODE == "fit":
                self.y = self.model.predict(self.x)
            else:
                self.y = self.executor.forward(data=self.x)[0].asnumpy()

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
            t1 = time.perf_counter()
            a.sum().backward()
            t2 = time.perf_counter()
            forward += t1 - t0
            backward += t2 - t1
        return [forward, backward]

    def loss(self):
        """A sum that every peer has alike."""
        return float(self.v[1].grad.numpy().sum())


def load():
    """Run something, so that the interpreter is there: the others too load what they are made of at the start."""
    x = sym.Variable("x")
    (x + x).simple_bind(tl.cpu(), grad_req="null", x=(1,)).forward()


def make(w):
    """The workload called `w`."""
    others = {"chain": Chain, "eager": Eager, "predict": Predict}
    if ELEMENT == "float64" and kind(w) in others:
        raise NotImplementedError
    return others.get(kind(w), Train)(w)


load()
serve(make, f"{tl.__version__} numpy {np.__version__}")
