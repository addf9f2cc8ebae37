"""The lesson's five remedies against vanishing gradients, each beside what it cures, and beside each other.

One network of six hidden layers is varied in one respect at a time: its loss, its optimizer, its
activation, batch normalization, its structure; and, as no remedy of the lesson does, its first weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_lesson import mxnet as sym
from tinygrad_lesson.lesson.data import Lesson, load
from tinygrad_lesson.lesson.networks import ADAM, KINDS, SGD, cross_entropy
from tinygrad_lesson.mxnet import NameManager, Symbol
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.initializer import Uniform

DEPTH, HIDDEN = 6, 10
SCALE = 0.01  # of the first weights, as in the lesson
LARGER = 0.3  # with which a plain network of this depth learns

ACTIVATIONS: dict[str, Callable[[Symbol], Symbol]] = {
    "sigmoid": lambda x: sym.Activation(x, act_type="sigmoid"),
    "tanh": lambda x: sym.Activation(x, act_type="tanh"),
    "relu": lambda x: sym.Activation(x, act_type="relu"),
    "leaky relu": lambda x: sym.LeakyReLU(x, act_type="leaky", slope=0.25),
}
STRUCTURES: dict[str, Callable[[Symbol, Symbol], Symbol]] = {
    "plain": lambda x, h: h,
    "residual": lambda x, h: sym.broadcast_plus(h, x),
    "dense": lambda x, h: sym.concat(x, h, dim=1),
}


def squared_error(prediction: Symbol) -> Symbol:
    """Mean, over rows and kinds, of the squared distance from the one-hot label."""
    return sym.MakeLoss(sym.mean(sym.square(prediction - sym.Variable("label"))))


LOSSES: dict[str, Callable[[Symbol], Symbol]] = {
    "squared error": squared_error,
    "cross-entropy": cross_entropy,
}


def network(
    activation: str = "relu",
    normalized: bool = False,
    structure: str = "plain",
    *,
    depth: int = DEPTH,
    hidden: int = HIDDEN,
) -> Symbol:
    """Probabilities from `depth` hidden layers, each of `hidden` units."""
    x = sym.Variable("data")
    for i in range(1, depth + 1):
        h = sym.FullyConnected(x, num_hidden=hidden, name=f"fc{i}")
        h = ACTIVATIONS[activation](sym.BatchNorm(h, axis=1, name=f"bn{i}") if normalized else h)
        x = h if i == 1 else STRUCTURES[structure](x, h)
    return sym.softmax(sym.FullyConnected(x, num_hidden=KINDS, name="fc_final"), axis=1)


def losses(
    rows: Lesson,
    *,
    loss: str = "cross-entropy",
    training: Mapping[str, Any] = SGD,
    epochs: int = 100,
    scale: float = SCALE,
    **variant: Any,
) -> list[float]:
    """Cross-entropy on the test rows would favour one loss; the share of training loss left favours none."""
    with NameManager():
        prediction = network(**variant)
        model = FeedForward(
            LOSSES[loss](prediction),
            prediction=prediction,
            num_epoch=epochs,
            initializer=Uniform(scale),
            seed=0,
            **training,
        )
    batches = NDArrayIter(rows.train_data, rows.train_label, 20, label_name="label")
    history = model.fit(batches, progress=False)
    return [value / history.loss[0] for value in history.loss]


def compare(rows: Lesson | None = None, epochs: int = 100) -> dict[str, dict[str, list[float]]]:
    """For each remedy, and each network in it, the loss per epoch as a share of the first."""
    rows = load() if rows is None else rows

    def run(**variant: Any) -> list[float]:
        return losses(rows, epochs=epochs, **variant)

    plain, adam, leaky = run(), run(training=ADAM), run(activation="leaky relu")
    normalized = run(normalized=True)
    structures = {"plain": plain} | {name: run(structure=name) for name in STRUCTURES if name != "plain"}
    return {
        "loss function": {"cross-entropy": plain, "squared error": run(loss="squared error")},
        "optimizer": {"SGD": plain, "Adam": adam},
        "activation": {"relu": plain, "leaky relu": leaky, "sigmoid": run(activation="sigmoid")},
        "batch normalization": {"without": plain, "with": normalized},
        "structure": structures,
        "first weights": {f"within {SCALE}": plain, f"within {LARGER}": run(scale=LARGER)},
        "against each other": {
            "none": plain, "Adam": adam, "leaky relu": leaky, "batch normalization": normalized,
            "residual": structures["residual"], "dense": structures["dense"],
        },
    }  # fmt: skip
