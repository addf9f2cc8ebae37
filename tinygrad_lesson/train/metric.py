"""How good predictions are: accuracy, and the table of what was taken for what.

Classes are given as indices (rows,), or as a column per class (rows, kinds): probabilities, or one-hot.
Then the largest counts, and the first of equal ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.errors import AttributeValueError, ShapeError

Array = npt.NDArray[Any]


def accuracy(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """The share of rows whose class is predicted right.

    Errors
        ShapeError if the numbers of rows differ, or there are none.
    """
    predicted, true = _classes(predicted, true)
    if not predicted.size:
        raise ShapeError("accuracy: there are no rows, expected one at least")
    return float(np.mean(predicted == true))


def confusion_table(predicted: npt.ArrayLike, true: npt.ArrayLike, kinds: int) -> npt.NDArray[np.intp]:
    """How many rows of each true class (columns) were taken for which class (rows).

    Shapes
        (kinds, kinds)
    Errors
        AttributeValueError if a class is not among the `kinds`; ShapeError if the numbers of rows differ.
    """
    predicted, true = _classes(predicted, true)
    for what, classes in (("predicted", predicted), ("true", true)):
        unknown = classes[(classes < 0) | (classes >= kinds)]
        if unknown.size:
            raise AttributeValueError(f"{what} class is {unknown[0]}, expected 0 to {kinds - 1}")
    return np.bincount(predicted * kinds + true, minlength=kinds * kinds).reshape(kinds, kinds)


def format_confusion(
    table: npt.ArrayLike,
    names: Sequence[str] | None = None,
    beside: npt.ArrayLike | None = None,
    headings: tuple[str, str] = ("computed", "expected"),
) -> str:
    """A confusion table as text, another one beside it if given, under `headings`.

    Example
        >>> print(format_confusion([[18, 0], [0, 15]], ["setosa", "other"]))
                setosa  other
        setosa      18      0
        other        0     15
        >>> print(format_confusion([[18, 0], [0, 15]], beside=[[17, 0], [1, 15]]))
        computed     expected
            1   2        1   2
        1  18   0    1  17   0
        2   0  15    2   1  15
    """
    table = np.asarray(table)
    names = [str(i + 1) for i in range(len(table))] if names is None else list(names)
    lines = _lines(table, names)
    if beside is None:
        return "\n".join(lines)
    others = _lines(np.asarray(beside), names)
    width = max(len(lines[0]), len(headings[0]))
    pairs = zip([headings[0], *lines], [headings[1], *others], strict=True)
    return "\n".join(f"{left:<{width}}    {right}".rstrip() for left, right in pairs)


class Accuracy:
    """The share of rows predicted right, over all batches since `reset`.

    Source
        MXNet 1.9, ``mx.metric.Accuracy``.
    """

    def __init__(self, name: str = "accuracy") -> None:
        """Start without rows."""
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self.sum_metric = 0
        self.num_inst = 0

    def update(self, labels: Sequence[npt.ArrayLike], preds: Sequence[npt.ArrayLike]) -> None:
        """Count the rows of one batch: a list of labels, a list of predictions."""
        if len(labels) != len(preds):
            raise ShapeError(f"{self.name}: {len(labels)} labels, but {len(preds)} predictions")
        for label, pred in zip(labels, preds, strict=True):
            predicted, true = _classes(pred, label)
            self.sum_metric += int(np.sum(predicted == true))
            self.num_inst += predicted.size

    def get(self) -> tuple[str, float]:
        """The name and the share; NaN if there were no rows."""
        return self.name, self.sum_metric / self.num_inst if self.num_inst else float("nan")


METRICS = {"acc": Accuracy, "accuracy": Accuracy}


def create(name: str) -> Accuracy:
    """The metric of this name, in any case.

    Errors
        AttributeValueError if there is none.
    """
    if name.lower() not in METRICS:
        raise AttributeValueError(f"unknown metric {name!r}; known: {', '.join(sorted(METRICS))}")
    return METRICS[name.lower()]()


def _classes(
    predicted: npt.ArrayLike, true: npt.ArrayLike
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Both as class indices, one per row."""
    indices: list[npt.NDArray[np.intp]] = []
    for what, given in (("predicted", predicted), ("true", true)):
        classes = np.asarray(given)
        if classes.ndim not in (1, 2):
            raise ShapeError(f"{what} classes are {classes.shape}, expected (rows,) or (rows, kinds)")
        if classes.ndim == 2 and classes.shape[1] > 1:
            classes = classes.argmax(axis=1)
        fractional = classes[classes % 1 != 0]
        if fractional.size:
            raise AttributeValueError(f"{what} class is {fractional[0]}, expected a whole number")
        indices.append(classes.reshape(-1).astype(np.intp))
    if indices[0].size != indices[1].size:
        raise ShapeError(f"{indices[0].size} rows are predicted, but {indices[1].size} are true")
    return indices[0], indices[1]


def _lines(table: Array, names: Sequence[str]) -> list[str]:
    """A heading with the true classes, then a line per predicted class."""
    if table.shape != (len(names), len(names)):
        raise ShapeError(f"table is {table.shape}, expected {len(names)} rows and columns for {list(names)}")
    cells = np.column_stack([["", *names], np.vstack([names, table.astype(str)])])
    widths = [max(map(len, column)) for column in cells.T]
    return [
        f"{label:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row, widths[1:], strict=True))
        for label, *row in cells
    ]
