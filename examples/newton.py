"""Newton's method without a Hessian: conjugate gradients need its products with vectors alone.

python examples/newton.py [folder]     a second; writes newton.png

    step  0  value 9e+02
    ...
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl


def loss(x):
    """Rosenbrock's valley, in as many dimensions as `x` has."""
    return tl.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def begin():
    return np.linspace(0.5, 1.5, 100), ()


def solved(product, b, tolerance):
    """Conjugate gradients, until the rest is small or a direction is found in which the slope falls."""
    x, r = np.zeros_like(b), b
    p = r
    while np.linalg.norm(r) > tolerance and p @ (q := product(p)) > 0:
        step = (r @ r) / (p @ q)
        x, before, r = x + step * p, r, r - step * q
        p = r + (r @ r) / (before @ before) * p
    return x if x.any() else b


def main(folder=None, steps=40):
    x, _ = begin()
    values = []
    for k in range(steps):
        value, g = tl.value_and_grad(loss)(x)
        values.append(value.item())
        print(f"step {k:2d}  value {value:.0e}")
        if value < 1e-20:
            break
        g, at = g.numpy(), x
        size = np.linalg.norm(g)
        step = solved(lambda v, at=at: tl.hvp(loss, at, v).numpy(), -g, min(0.1, size) * size)
        while loss(x + step) > value + 1e-4 * (g @ step):
            step = step / 2
        x = x + step
    plt.semilogy(values, "o-")
    plt.xlabel("step")
    plt.savefig(f"{folder or tempfile.mkdtemp()}/newton.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
