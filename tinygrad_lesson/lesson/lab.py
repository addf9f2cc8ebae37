"""The laboratory: a page in which networks of any depth are trained, by the plans of this engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.lesson.data import ROWS, TRAIN_ROWS, Lesson, load
from tinygrad_lesson.lesson.networks import KINDS, cross_entropy
from tinygrad_lesson.lesson.remedies import ACTIVATIONS, STRUCTURES, network
from tinygrad_lesson.lesson.run import BATCH_SIZE
from tinygrad_lesson.mxnet import NameManager, Symbol
from tinygrad_lesson.plan.calls import Program, program
from tinygrad_lesson.plan.family import Sizes, as_data, family
from tinygrad_lesson.plan.update import update_plan
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.train.rules import SGD, Adam, Optimizer

ASKED = 100  # rows that a network is asked at once, when it does not learn
SAMPLES = [Sizes(5, 5, 4), Sizes(4, 5, 4), Sizes(5, 7, 4), Sizes(4, 7, 4), Sizes(5, 5, 2)]
TRIED = Sizes(3, 6, 3)
OPTIMIZERS: dict[str, Optimizer] = {"sgd": SGD(), "momentum": SGD(momentum=0.9), "adam": Adam()}
Array = npt.NDArray[Any]

# What the page opens with, and what else can be chosen at once. A network is its structure, hidden layers, units in
# each, activation, batch normalization, bound of the first weights, optimizer and rate.
MLP8 = "plain,7,10,relu,no,0.01,adam,0.001"
RES6 = "residual,6,10,relu,no,0.01,momentum,0.05"
RES25 = RES6.replace("6", "25")
TANH = "plain,3,12,tanh,no,1,adam,0.01"
DEEP = "dense,8,6,relu,no,0.2,adam,0.01"
PAIRS = (
    ("mlp8, bn8: vanishing, cured", "iris", MLP8, MLP8.replace("no", "yes")),
    ("25 layers: plain, residual", "iris", RES25.replace("residual", "plain"), RES25),
    ("larger first weights", "iris", MLP8, MLP8.replace("0.01", "0.5")),
    ("too large a rate", "iris", RES6, RES6.replace("0.05", "0.3")),
    (
        "sigmoid, relu: rings",
        "rings",
        "plain,4,12,sigmoid,no,0.5,adam,0.01",
        "plain,4,12,relu,no,0.5,adam,0.01",
    ),
    ("depth against spirals", "spirals", TANH.replace("3", "1", 1), TANH),
    ("dense, plain: spirals", "spirals", DEEP, DEEP.replace("dense", "plain")),
)
EXAMPLES = [(title, {"data": data, "a": a, "b": b}) for title, data, a, b in PAIRS]

NOISE = 0.06  # how far the made rows are scattered


def training(symbol: Symbol, features: int, optimizer: Optimizer | None = None) -> Program:
    """The calls of a training step of the network with these probabilities."""
    loss = cross_entropy(symbol)
    learnt = [name for name in loss.list_arguments() if name not in ("data", "label")]
    requests = dict.fromkeys(learnt, "write")
    bound = loss.simple_bind(grad_req=requests, data=(BATCH_SIZE, features), label=(BATCH_SIZE, KINDS))
    return program(bound.compile(is_train=True, optimizer=optimizer))


def prediction(symbol: Symbol, features: int) -> Program:
    """The calls that give the probabilities of `ASKED` rows."""
    return program(symbol.simple_bind(grad_req="null", data=(ASKED, features)).compile(is_train=False))


def calls_of(make: Callable[[Symbol, int], Program], **variant: Any) -> Any:
    """The calls that `make` tells of a network of this kind, for any size, as data."""

    def program_of(sizes: Sizes) -> Program:
        with NameManager():
            return make(network(**variant, depth=sizes.depth, hidden=sizes.width), sizes.features)

    return as_data(family(program_of, SAMPLES, TRIED))


def step_of(optimizer: Optimizer) -> Any:
    """The calls that change one parameter, of any size, as data."""

    def program_of(sizes: Sizes) -> Program:
        return program(update_plan(optimizer, sizes.width, np.dtype(np.float32), (False, False)))

    return as_data(family(program_of, [Sizes(1, 5, 1), Sizes(1, 7, 1)], Sizes(1, 6, 1)))


def families() -> dict[str, Any]:
    """For each structure, activation, and with batch normalization or without: the calls of training and prediction."""
    found = {}
    for structure, activation, normalized in itertools.product(STRUCTURES, ACTIVATIONS, (False, True)):
        variant = {"structure": structure, "activation": activation, "normalized": normalized}
        name = f"{structure}, {activation}, {'normalized' if normalized else 'as it is'}"
        found[name] = {
            "training": calls_of(training, **variant),
            "prediction": calls_of(prediction, **variant),
        }
    return found


def kit() -> dict[str, Any]:
    """All that the page needs: plans, optimizers, rows."""
    return {
        "structures": list(STRUCTURES),
        "activations": sorted(ACTIVATIONS, key="relu".__ne__),
        "examples": EXAMPLES,
        "families": families(),
        "optimizers": {
            name: {
                "calls": step_of(rule),
                "corrected": [rule.beta1, rule.beta2] if isinstance(rule, Adam) else None,
            }
            for name, rule in OPTIMIZERS.items()
        },
        "batch": BATCH_SIZE,
        "asked": ASKED,
        "kinds": KINDS,
        "rows": {name: told_rows(rows) for name, rows in all_rows().items()},
    }


def all_rows() -> dict[str, Lesson]:
    """What the networks learn: the lesson's irises, and two made sets of points in a plane."""
    return {"iris": load(), "rings": made_rows(ring), "spirals": made_rows(arm)}


def ring(kind: int, along: Array) -> tuple[Array, Array]:
    """Radius and angle of points on a ring around the middle."""
    return np.full_like(along, 0.15 + 0.35 * kind), 2 * np.pi * along


def arm(kind: int, along: Array) -> tuple[Array, Array]:
    """Radius and angle of points on an arm of a spiral."""
    return 0.1 + 0.9 * along, 2 * np.pi * (kind / KINDS + 0.75 * along)


def made_rows(curve: Callable[[int, Array], tuple[Array, Array]], seed: int = 0) -> Lesson:
    """As many points as there are irises, scattered around a curve for each kind, and dealt out in turn."""
    generator = MXNetGenerator(seed)
    kinds = np.arange(ROWS) % KINDS
    points = np.empty((ROWS, 2), np.float32)
    for kind in range(KINDS):
        count = int((kinds == kind).sum())
        radius, angle = curve(kind, (generator.permutation(count) + 0.5) / count)
        points[kinds == kind] = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    points += generator.normal(0, NOISE, points.shape)
    labels = np.eye(KINDS, dtype=np.float32)[kinds]
    learnt, tried = slice(None, TRAIN_ROWS), slice(TRAIN_ROWS, None)
    names = tuple(f"kind {kind + 1}" for kind in range(KINDS))
    return Lesson(points[learnt], labels[learnt], points[tried], labels[tried], names)


def told_rows(rows: Lesson) -> dict[str, Any]:
    """Rows for JSON: numbers that are the same when rounded to float32, and classes from 0."""

    def features(values: Array) -> list[list[float]]:
        return [[float(str(x)) for x in row] for row in values]

    return {
        "kinds": rows.kinds,
        "train": features(rows.train_data),
        "train_kinds": rows.train_label.argmax(axis=1).tolist(),
        "test": features(rows.test_data),
        "test_kinds": rows.test_label.argmax(axis=1).tolist(),
    }
