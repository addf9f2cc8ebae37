"""The lesson's eight networks, written as the lesson writes them, and what it prints about each.

Source
    Lin Chin, "Solving vanishing gradients" (lesson 5 of a course on MXNet in R): architectures,
    optimizers, confusion tables and probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygrad_lesson import mxnet as sym
from tinygrad_lesson.mxnet import Symbol

KINDS = 3  # of iris
ADAM = {"optimizer": "adam", "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "wd": 0}
SGD = {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "wd": 0}


class Network(NamedTuple):
    """A network of the lesson: `build()` gives its prediction; then how it is trained and what is printed.

    `told` says in a few words what it is. `confusion` has a row per predicted and a column per true class;
    `first_row` are the probabilities of the first test row. None where the lesson prints nothing.
    """

    build: Callable[[], Symbol]
    training: dict[str, Any]
    confusion: list[list[int]] | None = None
    first_row: list[float] | None = None
    told: str = ""


def relu(x: Symbol, i: int) -> Symbol:
    """Activation number `i`."""
    return sym.Activation(data=x, act_type="relu", name=f"relu{i}")


def layer(x: Symbol, hidden: int, i: int) -> Symbol:
    """Fully connected layer number `i`."""
    return sym.FullyConnected(data=x, num_hidden=hidden, name=f"fc{i}")


def answer(x: Symbol, name: str) -> Symbol:
    """The last layer, and the probabilities of the kinds."""
    x = sym.FullyConnected(data=x, num_hidden=KINDS, name=name)
    return sym.softmax(data=x, axis=1, name="softmax_layer")


def mlp(depth: int, hidden: int = 10) -> Symbol:
    """Plain layers one after the other; `depth` counts the last one too."""
    x = sym.Variable("data")
    for i in range(1, depth):
        x = relu(layer(x, hidden, i), i)
    return answer(x, f"fc{depth}")


def bn(depth: int, last: str, hidden: int = 10, **settings: Any) -> Symbol:
    """`depth` layers with batch normalization between layer and activation, then the answer."""
    x = sym.Variable("data")
    for i in range(1, depth + 1):
        x = sym.BatchNorm(data=layer(x, hidden, i), axis=1, name=f"bn{i}", **settings)
        x = relu(x, i)
    return answer(x, last)


def res(depth: int, hidden: int) -> Symbol:
    """A layer, then `depth` - 1 layers that each add to what they are given."""
    x = relu(layer(sym.Variable("data"), hidden, 1), 1)
    for i in range(2, depth + 1):
        x = sym.broadcast_plus(lhs=relu(layer(x, hidden, i), i), rhs=x, name=f"plus{i}")
    return answer(x, f"fc{depth + 1}")


def dense(widths: tuple[int, ...]) -> Symbol:
    """Layers that each append to what all before them gave."""
    x = relu(layer(sym.Variable("data"), widths[0], 1), 1)
    for i, hidden in enumerate(widths[1:], 2):
        x = sym.concat(x, relu(layer(x, hidden, i), i), dim=1, name=f"concat{i}")
    return answer(x, f"fc{len(widths) + 1}")


def leaky(depth: int, slope: float = 0.25, hidden: int = 10) -> Symbol:
    """Plain layers with leaky activations."""
    x = sym.Variable("data")
    for i in range(1, depth):
        x = sym.LeakyReLU(data=layer(x, hidden, i), act_type="leaky", slope=slope, name=f"relu{i}")
    return answer(x, f"fc{depth}")


def cross_entropy(prediction: Symbol, eps: float = 1e-8) -> Symbol:
    """The lesson's loss: minus the mean, over rows and kinds, of ``label * log(probability + eps)``."""
    label = sym.Variable("label")
    m_log = 0 - sym.mean(sym.broadcast_mul(sym.log(prediction + eps), label))
    return sym.MakeLoss(m_log, name="m_logloss")


NETWORKS: dict[str, Network] = {
    "mlp4": Network(
        lambda: mlp(4),
        ADAM,
        [[18, 0, 0], [0, 1, 0], [0, 14, 17]],
        told="plain: fully connected layers and relu",
    ),
    "mlp8": Network(
        lambda: mlp(8),
        ADAM,
        [[0, 0, 0], [18, 15, 17], [0, 0, 0]],
        told="plain and deeper: its gradient vanishes",
    ),
    "bn8": Network(
        lambda: bn(7, "fc8", eps=1e-3, fix_gamma=True),
        ADAM,
        [[18, 0, 0], [0, 14, 0], [0, 1, 17]],
        [0.91460079, 0.03534730, 0.05005192],
        told="batch normalization before each relu",
    ),
    "bn25": Network(
        lambda: bn(25, "fc_final"),
        ADAM,
        [[18, 0, 15], [0, 15, 2], [0, 0, 0]],
        told="batch normalization alone, 25 layers and the answer",
    ),
    "res6": Network(
        lambda: res(6, 3),
        SGD,
        [[18, 0, 0], [0, 13, 0], [0, 2, 17]],
        [0.936310470, 0.061589610, 0.002099835],
        told="residual: 6 layers, each added to what came before, and the answer",
    ),
    "res25": Network(
        lambda: res(25, 10),
        SGD,
        [[18, 0, 0], [0, 13, 0], [0, 2, 17]],
        told="residual: 25 layers and the answer",
    ),
    "dense6": Network(
        lambda: dense((3, 4, 5, 6, 7, 8)),
        SGD,
        [[18, 0, 0], [0, 13, 0], [0, 2, 17]],
        [0.9988134, 0.001186645, 1.607887e-16],
        told="dense: 6 layers, each appended to all before, and the answer",
    ),
    "leaky3": Network(lambda: leaky(3), SGD, told="plain, with leaky relu"),
}
