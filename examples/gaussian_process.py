"""A Gaussian process: length, height and noise are those under which the data are most likely.

python examples/gaussian_process.py [folder]     a second; writes gaussian_process.png

    step   0  -log likelihood 25
    ...
    length 0.89  height 0.97  noise 0.12
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import optim


def kernel(p, a, b):
    return tl.exp(2 * p["height"] - 0.5 * ((a[:, None] - b) / tl.exp(p["length"])) ** 2)


def factor(p, x):
    return tl.linalg.cholesky(kernel(p, x, x) + tl.exp(2 * p["noise"]) * np.eye(len(x)))


def loss(p, x, y):
    lower = factor(p, x)
    z = tl.linalg.solve_triangular(lower, y, lower=True)
    return 0.5 * tl.sum(z * z) + tl.sum(tl.log(tl.diagonal(lower))) + 0.5 * len(x) * np.log(2 * np.pi)


def begin():
    x = np.linspace(-3, 3, 25)
    y = np.sin(2 * x) + np.random.default_rng(0).normal(0, 0.15, 25)
    return {"length": 0.5, "height": 0.0, "noise": -0.5}, (x, y)


def main(folder=None, steps=150):
    p, (x, y) = begin()
    opt = optim.Adam(0.05)
    state = opt.init(p)
    for k in range(steps):
        value, g = tl.value_and_grad(loss)(p, x, y)
        p, state = opt.update(p, g, state)
        print(f"step {k:3d}  -log likelihood {value:.0f}")
    print("  ".join(f"{name} {np.exp(v.item()):.2f}" for name, v in p.items()))
    t = np.linspace(-4, 4, 200)
    z = tl.linalg.solve_triangular(factor(p, x), kernel(p, x, t), lower=True)
    mean = z.T @ tl.linalg.solve_triangular(factor(p, x), y, lower=True)
    spread = 2 * tl.sqrt(tl.exp(2 * p["height"]) - tl.sum(z * z, axis=0))
    plt.fill_between(t, (mean - spread).numpy(), (mean + spread).numpy(), alpha=0.3)
    plt.plot(t, mean.numpy(), "", x, y, "k.")
    plt.savefig(f"{folder or tempfile.mkdtemp()}/gaussian_process.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
