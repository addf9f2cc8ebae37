"""A convolutional network tells bars from crosses and rings in noisy images of 12 x 12.

python examples/convnet.py [folder]     some seconds; writes convnet.png

    epoch  0  loss 1.1
    ...
    right: 97 of 100
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import nn, optim


def images(n, seed):
    rng = np.random.default_rng(seed)
    kind, place = rng.integers(3, size=n), rng.integers(4, 8, size=(n, 2, 1, 1))
    i, j = np.indices((12, 12))[:, None] - place.transpose(1, 0, 2, 3)
    near = (abs(i) < 4) & (abs(j) < 4)
    shapes = [near & (i == 0), near & (abs(i) == abs(j)), abs(np.hypot(i, j) - 3) < 0.5]
    return np.choose(kind[:, None, None], shapes)[:, None] + rng.normal(0, 0.3, (n, 1, 12, 12)), kind


def loss(model, x, y):
    return tl.cross_entropy(model(x), y)


def begin():
    tl.manual_seed(0)
    layers = nn.Conv(1, 8, 3, pad=1), tl.relu, lambda x: tl.pooling(x, 2, 2), nn.Conv(8, 8, 3, pad=1), tl.relu
    return nn.Sequential(*layers, tl.flatten, nn.Linear(8 * 6 * 6, 3)), images(200, 0)


def main(folder=None, steps=15):
    model, (x, y) = begin()
    opt = optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(steps):
        for rows in np.split(np.random.default_rng(epoch).permutation(len(x)), 10):
            value = loss(model, x[rows], y[rows])
            opt.zero_grad()
            value.backward()
            opt.step()
        print(f"epoch {epoch:2d}  loss {value:.1f}")
    x, y = images(100, 1)
    found = model(x).argmax(axis=1).numpy()
    print(f"right: {np.sum(found == y)} of {len(y)}")
    for k, axes in enumerate(plt.subplots(2, 5, figsize=(9, 4))[1].flat):
        axes.imshow(x[k, 0])
        axes.set(title=["bar", "cross", "ring"][found[k]], xticks=[], yticks=[])
    plt.savefig(f"{folder or tempfile.mkdtemp()}/convnet.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
