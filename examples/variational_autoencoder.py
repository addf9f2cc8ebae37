"""A variational autoencoder of points on a noisy ring: two numbers are enough to draw new ones.

python examples/variational_autoencoder.py [folder]     some seconds; writes variational_autoencoder.png

    step    0  loss 65.5
    ...
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import nn, optim


def loss(model, x, noise):
    """The bound of Kingma and Welling 2013, equation 10, with points that spread by 0.1."""
    told = model["encoder"](x)
    mean, log_spread = told[:, :2], told[:, 2:]
    again = model["decoder"](mean + tl.exp(log_spread) * noise)
    far = 0.5 * tl.sum((again - x) ** 2, axis=1) / 0.1**2
    return tl.mean(far + tl.sum(0.5 * (mean**2 + tl.exp(2 * log_spread) - 1) - log_spread, axis=1))


def ring(n, rng):
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.05, (n, 2))


def begin():
    tl.manual_seed(0)
    rng = np.random.default_rng(0)
    encoder = nn.Sequential(nn.Linear(2, 32), tl.tanh, nn.Linear(32, 4))
    decoder = nn.Sequential(nn.Linear(2, 32), tl.tanh, nn.Linear(32, 2))
    return {"encoder": encoder, "decoder": decoder}, (ring(32, rng), rng.normal(size=(32, 2)))


def main(folder=None, steps=2000):
    model, _ = begin()
    rng, opt, gradient = np.random.default_rng(1), optim.Adam(5e-3), tl.jit(tl.value_and_grad(loss))
    state = opt.init(model)
    for k in range(steps):
        value, g = gradient(model, ring(128, rng), rng.normal(size=(128, 2)))
        model, state = opt.update(model, g, state)
        if k % 500 == 0:
            print(f"step {k:4d}  loss {value:.1f}")
    plt.plot(*ring(500, rng).T, "k.", alpha=0.2, label="given")
    plt.plot(*model["decoder"](rng.normal(size=(500, 2))).numpy().T, ".", label="drawn")
    plt.legend()
    plt.savefig(f"{folder or tempfile.mkdtemp()}/variational_autoencoder.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
