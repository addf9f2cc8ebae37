"""A differential equation whose right side is a network: it learns the flow of a spiral from one path.

python examples/neural_ode.py [folder]     some seconds; writes neural_ode.png

    step   0  loss 5.7
    ...
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import nn, optim

STEP, COUNT = 0.1, 60


def path(f, start):
    """Where the flow `f` takes a point, by the classical method of Runge and Kutta."""
    places = [start]
    for _ in range(COUNT):
        x = places[-1]
        a = f(x)
        b = f(x + STEP / 2 * a)
        c = f(x + STEP / 2 * b)
        places.append(x + STEP / 6 * (a + 2 * b + 2 * c + f(x + STEP * c)))
    return tl.stack(places)


def loss(model, told):
    return tl.mean((path(model, told[0]) - told) ** 2)


def begin():
    tl.manual_seed(0)
    turn = np.array([[-0.2, 1.5], [-1.5, -0.2]])
    told = path(lambda x: tl.tensor(x) @ turn.T, np.array([1.5, 0.0]))
    return nn.Sequential(nn.Linear(2, 24), tl.tanh, nn.Linear(24, 2)), (told.numpy(),)


def main(folder=None, steps=400):
    model, (told,) = begin()
    opt, gradient = optim.Adam(0.02), tl.jit(tl.value_and_grad(loss))
    state = opt.init(model)
    for k in range(steps):
        value, g = gradient(model, told)
        model, state = opt.update(model, g, state)
        if k % 100 == 0:
            print(f"step {k:3d}  loss {value:.2g}")
    plt.plot(*told.T, "k.")
    plt.plot(*path(model, told[0]).numpy().T)
    plt.savefig(f"{folder or tempfile.mkdtemp()}/neural_ode.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
