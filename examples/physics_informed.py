"""A physics-informed network solves ``u'' + 9 u = 0`` with ``u(0) = 1`` and ``u'(0) = 0``, whose answer is a cosine.

python examples/physics_informed.py [folder]     some seconds; writes physics_informed.png

    step    0  loss 18
    ...
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import nn, optim


def u(model, x):
    return model(x[:, None])[:, 0]


def du(model, x):
    return tl.grad(lambda x: tl.sum(u(model, x)))(x)


def ddu(model, x):
    return tl.grad(lambda x: tl.sum(du(model, x)))(x)


def loss(model, x):
    start = np.zeros(1)
    held = (u(model, start) - 1) ** 2 + du(model, start) ** 2
    return tl.mean((ddu(model, x) + 9 * u(model, x)) ** 2) + 20 * tl.sum(held)


def begin():
    tl.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 24), tl.tanh, nn.Linear(24, 24), tl.tanh, nn.Linear(24, 1)), (
        np.linspace(0, 2, 30),
    )


def main(folder=None, steps=2000):
    model, (x,) = begin()
    opt, gradient = optim.Adam(5e-3), tl.jit(tl.value_and_grad(loss))
    state = opt.init(model)
    for k in range(steps):
        value, g = gradient(model, x)
        model, state = opt.update(model, g, state)
        if k % 500 == 0:
            print(f"step {k:4d}  loss {value:.2g}")
    print(f"largest error {abs(u(model, x).numpy() - np.cos(3 * x)).max():.1g}")
    plt.plot(x, np.cos(3 * x), "k.", x, u(model, x).numpy())
    plt.savefig(f"{folder or tempfile.mkdtemp()}/physics_informed.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
