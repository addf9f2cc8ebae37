"""The lesson's rows: iris flowers, and which of them are for training."""

from __future__ import annotations

from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.random import RGenerator

ROWS, TRAIN_ROWS = 150, 100


class Lesson(NamedTuple):
    """What the lesson's networks learn from, and what they are tried on; labels are one-hot."""

    train_data: npt.NDArray[np.float32]
    train_label: npt.NDArray[np.float32]
    test_data: npt.NDArray[np.float32]
    test_label: npt.NDArray[np.float32]
    kinds: tuple[str, ...]


def iris() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Measures of 150 flowers, and which of three kinds each is: 0 setosa, 1 versicolor, 2 virginica.

    Shapes
        features (150, 4): length and width of the sepal, then of the petal; classes (150,)
    Units
        cm
    Source
        Anderson 1935 and Fisher 1936, with the numbers of R's ``iris``.
    """
    table = np.loadtxt(_iris_lines()[1:], delimiter=",")
    return table[:, :4].astype(np.float32), table[:, 4].astype(np.int64)


def split(seed: int = 0) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Numbers of the rows to train on, in the order drawn, and of the rest, in rising order.

    Source
        R before 3.6: ``set.seed(seed); sample(1:150, 100)``, counted here from 0.
    """
    train = RGenerator(seed).sample(ROWS, TRAIN_ROWS)
    return train, np.setdiff1d(np.arange(ROWS), train)


def load(seed: int = 0) -> Lesson:
    """The rows as the lesson uses them, train and test set apart.

    Shapes
        train_data (100, 4), train_label (100, 3), test_data (50, 4), test_label (50, 3)
    """
    features, classes = iris()
    kinds = tuple(_iris_lines()[0].split(",")[2:])
    one_hot = np.eye(len(kinds), dtype=np.float32)[classes]
    train, test = split(seed)
    return Lesson(features[train], one_hot[train], features[test], one_hot[test], kinds)


def _iris_lines() -> list[str]:
    return resources.files(__package__).joinpath("iris.csv").read_text("utf-8").splitlines()
