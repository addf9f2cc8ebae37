"""The lesson's gradients, derived on paper and written out: what an autograd engine has to find by itself.

A row of the code is a line of the lesson's formulas. Weights have MXNet's orientation, `(outputs, inputs)`:
the lesson's ``x W`` reads ``x @ W.T`` here. The lesson divides by the number of rows `n` at each weight; here
it is done once, at the top, so that every value is the gradient of the loss that is stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


def mlp_loss(x: Array, y: Array, weights: Arrays) -> float:
    """Mean over the rows of the cross entropy ``-sum(y * log(softmax(l2)))`` of a two-layer perceptron.

    Its layers are ``l1 = x W1 + b1``, ``h1 = max(l1, 0)``, ``l2 = h1 W2 + b2``.

    Shapes
        x (n, features), y (n, kinds) one-hot or any shares that add up to 1 in each row,
        fc1_weight (hidden, features), fc1_bias (hidden,), fc2_weight (kinds, hidden), fc2_bias (kinds,)
    """
    h1 = np.maximum(_affine(x, weights, "fc1"), 0)
    return _cross_entropy(y, _shares(_affine(h1, weights, "fc2")))


def mlp_gradients(x: Array, y: Array, weights: Arrays) -> dict[str, Array]:
    """Gradients of `mlp_loss` by ``x`` and by each of `weights`, under their names.

    The lesson's sigmoid with a binary cross entropy, and the softmax here, start alike: with ``o - y``.
    """
    l1 = _affine(x, weights, "fc1")
    h1 = np.maximum(l1, 0)
    o = _shares(_affine(h1, weights, "fc2"))

    grad_l2 = (o - y) / len(x)
    grad_h1 = grad_l2 @ weights["fc2_weight"]
    grad_l1 = grad_h1 * (l1 > 0)
    return {
        "fc2_weight": grad_l2.T @ h1,
        "fc2_bias": grad_l2.sum(axis=0),
        "fc1_weight": grad_l1.T @ x,
        "fc1_bias": grad_l1.sum(axis=0),
        "x": grad_l1 @ weights["fc1_weight"],
    }


def residual_mlp_loss(x: Array, y: Array, weights: Arrays) -> float:
    """Mean over the rows of the cross entropy ``-sum(y * log(softmax(l3)))`` after two residual blocks.

    Block 1 is ``l1 = x W1 + b1``, ``h1 = max(l1, 0)``, ``r1 = h1 + x``; block 2 the same from r1 to r2; and
    ``l3 = r2 W3 + b3``.

    Shapes
        x (n, features), y (n, kinds) one-hot or any shares that add up to 1 in each row,
        fc1_weight and fc2_weight (features, features), fc1_bias and fc2_bias (features,),
        fc3_weight (kinds, features), fc3_bias (kinds,)
    """
    r1 = np.maximum(_affine(x, weights, "fc1"), 0) + x
    r2 = np.maximum(_affine(r1, weights, "fc2"), 0) + r1
    return _cross_entropy(y, _shares(_affine(r2, weights, "fc3")))


def residual_mlp_gradients(x: Array, y: Array, weights: Arrays) -> dict[str, Array]:
    """Gradients of `residual_mlp_loss` by ``x`` and by each of `weights`, under their names.

    ``grad_r2`` comes through both sums unchanged, down to `x`: that is why it does not vanish.
    """
    l1 = _affine(x, weights, "fc1")
    r1 = np.maximum(l1, 0) + x
    l2 = _affine(r1, weights, "fc2")
    r2 = np.maximum(l2, 0) + r1
    o = _shares(_affine(r2, weights, "fc3"))

    grad_l3 = (o - y) / len(x)
    grad_r2 = grad_l3 @ weights["fc3_weight"]
    grad_l2 = grad_r2 * (l2 > 0)
    grad_r1 = grad_l2 @ weights["fc2_weight"] + grad_r2
    grad_l1 = grad_r1 * (l1 > 0)
    return {
        "fc3_weight": grad_l3.T @ r2,
        "fc3_bias": grad_l3.sum(axis=0),
        "fc2_weight": grad_l2.T @ r1,
        "fc2_bias": grad_l2.sum(axis=0),
        "fc1_weight": grad_l1.T @ x,
        "fc1_bias": grad_l1.sum(axis=0),
        "x": grad_l1 @ weights["fc1_weight"] + grad_r1,
    }


def batch_norm(x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-3) -> Array:
    """Each column with mean 0 and variance 1, then scaled and moved: ``y = x_hat * gamma + beta``.

    Here ``x_hat = (x - mean) / sqrt(variance + epsilon)``, with the column's mean and biased variance.

    Shapes
        x (n, features), gamma (features,), beta (features,) -> (n, features)
    """
    y: Array = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) * gamma + beta
    return y


def batch_norm_gradients(x: Array, gamma: Array, grad_y: Array, *, epsilon: float = 1e-3) -> dict[str, Array]:
    """Gradients of a loss whose gradient by ``y = batch_norm(x, gamma, beta)`` is `grad_y`.

    They are those by ``beta``, ``gamma``, ``x_hat``, ``variance``, ``mean`` and ``x``. That by the variance
    holds the mean fast; that by the mean holds `x` fast and lets the variance follow. The loss is
    ``sum(grad_y * y)`` or any other with that gradient: a mean over rows is in `grad_y` already.

    Shapes
        x and grad_y (n, features), gamma (features,) -> x_hat and x (n, features), the others (features,)
    """
    n, centred = len(x), x - x.mean(axis=0)
    spread = x.var(axis=0) + epsilon
    x_hat = centred / np.sqrt(spread)

    grad_x_hat = grad_y * gamma
    grad_variance = -(grad_x_hat * centred).sum(axis=0) * spread**-1.5 / 2
    grad_mean = -grad_x_hat.sum(axis=0) / np.sqrt(spread) - grad_variance * 2 * centred.sum(axis=0) / n
    return {
        "beta": grad_y.sum(axis=0),
        "gamma": (grad_y * x_hat).sum(axis=0),
        "x_hat": grad_x_hat,
        "variance": grad_variance,
        "mean": grad_mean,
        "x": grad_x_hat / np.sqrt(spread) + grad_variance * 2 * centred / n + grad_mean / n,
    }


def batch_norm_slide_gradients(
    x: Array, gamma: Array, grad_y: Array, *, epsilon: float = 1e-3
) -> dict[str, Array]:
    """The same as the lesson's slide has them: by ``beta`` and ``gamma`` too small by the factor `n`.

    The slide puts ``1/n`` before these two sums. Each row has its share in the gradient of beta, and shares
    are added, as `batch_norm_gradients` does and differences confirm. The slide would be right if ``grad_y``
    were taken row by row from that row's own loss, the loss being their mean, as in its formula for ``W``.
    """
    gradients = batch_norm_gradients(x, gamma, grad_y, epsilon=epsilon)
    return gradients | {name: gradients[name] / len(x) for name in ("beta", "gamma")}


def _affine(x: Array, weights: Arrays, name: str) -> Array:
    result: Array = x @ weights[f"{name}_weight"].T + weights[f"{name}_bias"]
    return result


def _shares(logits: Array) -> Array:
    shares: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _cross_entropy(y: Array, o: Array) -> float:
    return float(-(y * np.log(o)).sum(axis=1).mean())
