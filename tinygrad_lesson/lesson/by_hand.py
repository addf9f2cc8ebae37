"""Prediction by hand: what three of the lesson's networks compute, in NumPy and in a line per layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.engine.errors import AttributeValueError, BindError

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

BATCH_NORM_EPSILON = 1e-3


def by_hand(name: str, arguments: Arrays, auxiliary: Arrays, rows: Array) -> Array:
    """Probabilities of the kinds for each row, by the network `name`: ``bn8``, ``res6`` or ``dense6``.

    `arguments` and `auxiliary` hold the network's weights and moving statistics under MXNet's names.

    Shapes
        rows (batch, features) or (features,) -> (batch, kinds) or (kinds,)
    Errors
        AttributeValueError for another `name`, BindError if an array is missing.
    """
    if name not in NETWORKS:
        raise AttributeValueError(f"by_hand: no network {name!r}, expected one of {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](arguments, auxiliary, rows)
    except KeyError as error:
        raise BindError(f"by_hand: {name} needs an array {error} among its arguments and states") from None


def bn8(arguments: Arrays, auxiliary: Arrays, x: Array) -> Array:
    """Eight layers, each but the last with batch normalization by the moving statistics."""
    for i in range(1, 8):
        x = relu(batch_norm(arguments, auxiliary, i, fully_connected(arguments, i, x)))
    return softmax(fully_connected(arguments, 8, x))


def res6(arguments: Arrays, auxiliary: Arrays, x: Array) -> Array:
    """A layer, five more that each add to what they are given, and one for the kinds."""
    x = relu(fully_connected(arguments, 1, x))
    for i in range(2, 7):
        x = relu(fully_connected(arguments, i, x)) + x
    return softmax(fully_connected(arguments, 7, x))


def dense6(arguments: Arrays, auxiliary: Arrays, x: Array) -> Array:
    """A layer, five more that each append to what they are given, and one for the kinds."""
    x = relu(fully_connected(arguments, 1, x))
    for i in range(2, 7):
        x = np.concatenate([x, relu(fully_connected(arguments, i, x))], axis=-1)
    return softmax(fully_connected(arguments, 7, x))


NETWORKS: dict[str, Callable[[Arrays, Arrays, Array], Array]] = {"bn8": bn8, "res6": res6, "dense6": dense6}


def fully_connected(arguments: Arrays, i: int, x: Array) -> Array:
    """Layer `i` of the network: ``x @ weight.T + bias``."""
    return x @ arguments[f"fc{i}_weight"].T + arguments[f"fc{i}_bias"]


def batch_norm(arguments: Arrays, auxiliary: Arrays, i: int, x: Array) -> Array:
    """Batch normalization `i`, predicting: ``(x - moving_mean) / sqrt(moving_var + epsilon) + beta``.

    There is no gamma to multiply by: with ``fix_gamma`` it is 1, whatever its array holds.
    """
    mean, variance = auxiliary[f"bn{i}_moving_mean"], auxiliary[f"bn{i}_moving_var"]
    return (x - mean) / np.sqrt(variance + BATCH_NORM_EPSILON) + arguments[f"bn{i}_beta"]


def relu(x: Array) -> Array:
    """The positive part of each element: ``y = max(x, 0)``."""
    return np.maximum(x, 0)


def softmax(x: Array) -> Array:
    """Shares that add up to 1 in each row: ``y = exp(x) / sum(exp(x))``."""
    shares: Array = np.exp(x - x.max(axis=-1, keepdims=True))  # less the largest: nothing overflows
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares
