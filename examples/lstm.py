"""A recurrent network with memory cells (LSTM) learns to go on with a wave that beats.

python examples/lstm.py [folder]     some seconds; writes lstm.png

    step   0  loss 0.4
    ...
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import optim

HIDDEN = 16


def follow(p, wave, more=0):
    """What is said of the next number after each of a wave, then after `more` of its own."""
    h = c = np.zeros((1, HIDDEN))
    said = []
    for t in range(len(wave) + more):
        x = np.reshape(wave[t], (1, 1)) if t < len(wave) else said[-1]
        i, f, o, new = tl.split(x @ p["wx"] + h @ p["wh"] + p["b"], 4, axis=1)
        c = tl.sigmoid(f) * c + tl.sigmoid(i) * tl.tanh(new)
        h = tl.sigmoid(o) * tl.tanh(c)
        said.append(h @ p["out"])
    return tl.concat(said, 0)[:, 0]


def loss(p, wave):
    return tl.mean((follow(p, wave[:-1]) - wave[1:]) ** 2)


def begin():
    rng = np.random.default_rng(0)
    shapes = {"wx": (1, 4 * HIDDEN), "wh": (HIDDEN, 4 * HIDDEN), "b": (4 * HIDDEN,), "out": (HIDDEN, 1)}
    t = np.arange(60)
    return {k: rng.normal(0, 0.3, s) for k, s in shapes.items()}, (np.sin(0.4 * t) * np.cos(0.07 * t),)


def main(folder=None, steps=300):
    p, (wave,) = begin()
    opt, gradient = optim.Adam(0.01), tl.jit(tl.value_and_grad(loss))
    state = opt.init(p)
    for k in range(steps):
        value, g = gradient(p, wave)
        p, state = opt.update(p, g, state)
        print(f"step {k:3d}  loss {value:.1g}")
    plt.plot(wave, "k.")
    plt.plot(np.arange(1, 101), follow(p, wave, 40).numpy())
    plt.savefig(f"{folder or tempfile.mkdtemp()}/lstm.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
