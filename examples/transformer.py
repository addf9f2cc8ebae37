"""A transformer of one block learns to say a row of letters backwards; the picture shows where it looks.

python examples/transformer.py [folder]     some seconds; writes transformer.png

    step   0  loss 2
    ...
    right: 1.00
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import optim

LETTERS, LENGTH, SIZE = 8, 6, 32


def scores(p, words):
    """For each place a score of every letter, and how much each place looks at the others."""
    x = p["letters"][words] + p["places"]
    q, k, v = (tl.rms_norm(x) @ p[name] for name in ("query", "key", "value"))
    looks = tl.softmax(q @ k.mT / SIZE**0.5, axis=-1)
    x = x + looks @ v
    x = x + tl.relu(tl.rms_norm(x) @ p["up"]) @ p["down"]
    return tl.rms_norm(x) @ p["out"], looks


def loss(p, words):
    return tl.cross_entropy(scores(p, words)[0], words[:, ::-1], axis=2)


def begin():
    rng = np.random.default_rng(0)
    shapes = {"letters": (LETTERS, SIZE), "places": (LENGTH, SIZE), "up": (SIZE, 64), "down": (64, SIZE)}
    shapes |= dict.fromkeys(("query", "key", "value"), (SIZE, SIZE)) | {"out": (SIZE, LETTERS)}
    words = rng.integers(LETTERS, size=(16, LENGTH))
    return {k: rng.normal(0, s[0] ** -0.5, s) for k, s in shapes.items()}, (words,)


def main(folder=None, steps=300):
    p, rng, opt = begin()[0], np.random.default_rng(1), optim.Adam(3e-3)
    gradient, state = tl.jit(tl.value_and_grad(loss)), opt.init(p)
    for k in range(steps):
        value, g = gradient(p, rng.integers(LETTERS, size=(64, LENGTH)))
        p, state = opt.update(p, g, state)
        print(f"step {k:3d}  loss {value:.0f}")
    words = rng.integers(LETTERS, size=(200, LENGTH))
    found, looks = scores(p, words)
    print(f"right: {np.mean(found.argmax(axis=-1).numpy() == words[:, ::-1]):.2f}")
    plt.imshow(looks.numpy().mean(0))
    plt.savefig(f"{folder or tempfile.mkdtemp()}/transformer.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
