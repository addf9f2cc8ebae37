"""Logistic regression: two clouds of points, and the line that parts them.

python examples/logistic_regression.py [folder]     a second; writes logistic_regression.png

    step   0  loss 0.6931
    ...
    right: 89 of 100
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl


def loss(params, x, y):
    score = x @ params["weight"] + params["bias"]
    return tl.mean(tl.softplus(score) - y * score)


def begin():
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0], 50)
    x = rng.normal(size=(100, 2)) + 3 * y[:, None] * [0.8, 0.6]
    return {"weight": np.zeros(2), "bias": 0.0}, (x, y)


def main(folder=None, steps=200):
    params, (x, y) = begin()
    gradient = tl.value_and_grad(loss)
    losses = []
    for step in range(steps):
        value, g = gradient(params, x, y)
        params = {name: params[name] - 0.5 * g[name] for name in params}
        losses.append(value.item())
        if step % 50 == 0:
            print(f"step {step:3d}  loss {value:.4f}")
    w, b = params["weight"].numpy(), params["bias"].item()
    print(f"right: {np.sum((x @ w + b > 0) == y)} of {len(y)}")
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    left.plot(losses)
    left.set(xlabel="step", ylabel="loss")
    right.scatter(*x.T, c=y, cmap="coolwarm")
    ends = np.array([x[:, 0].min(), x[:, 0].max()])
    right.plot(ends, -(w[0] * ends + b) / w[1], "k")
    plt.savefig(f"{folder or tempfile.mkdtemp()}/logistic_regression.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
