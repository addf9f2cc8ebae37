"""How many predictions are right, and the table of what was taken for what.

Classes are given as indices (rows,), or as a column per class (rows, kinds): probabilities, or one-hot.
Then the largest counts, and the first of equal ones. Predictions with more axes have the classes along axis 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.engine.errors import AttributeValueError, NonFiniteError, ShapeError
from tinygrad_lesson.mxnet.bound import as_numbers
from tinygrad_lesson.train.classes import refuse_classes

Array = npt.NDArray[Any]


def accuracy(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """The share of rows whose class is predicted right.

    Errors
        ShapeError if the numbers of rows differ, or there are none.
    """
    predicted, true = class_indices(predicted, true)
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
    predicted, true = class_indices(predicted, true)
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


def class_indices(
    predicted: npt.ArrayLike, true: npt.ArrayLike
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Both as class indices, one per row."""
    scores, labels = as_numbers(predicted, "predicted classes"), as_numbers(true, "true classes")
    columns = [x.shape[1] if x.ndim > 1 else 1 for x in (scores, labels)]
    if (
        scores.ndim > 2 and labels.size * columns[0] == scores.size
    ):  # a label for each place behind the classes
        scores, labels = np.moveaxis(scores, 1, -1).reshape(-1, columns[0]), labels.reshape(-1)
        columns[1] = 1
    if labels.ndim > 1 and len(scores) == labels.size != len(
        labels
    ):  # a row for each label, in any order of axes
        labels, columns[1] = labels.reshape(-1), 1
    for what, classes in (("predicted", scores), ("true", labels)):
        if classes.ndim not in (1, 2):
            raise ShapeError(f"{what} classes are {classes.shape}, expected (rows,) or (rows, kinds)")
    if len(scores) != len(labels):
        raise ShapeError(f"{len(scores)} rows are predicted, but {len(labels)} are true")
    if min(columns) > 1 and columns[0] != columns[1]:
        raise ShapeError(f"predicted classes are {scores.shape}, but true classes are {labels.shape}")
    found = _indices("predicted", scores), _indices("true", labels)
    if columns[0] > 1 == columns[1]:
        refuse_classes(labels, columns[0], "accuracy")
    return found


def _indices(what: str, classes: Array) -> npt.NDArray[np.intp]:
    """Class indices from such, or from a column per class."""
    if classes.ndim == 2 and classes.shape[1] > 1:
        wrong = np.flatnonzero(np.isnan(classes).any(axis=1))
        if wrong.size:
            raise NonFiniteError(f"{what} classes hold nan in row {wrong[0]}: it names no class")
        return np.asarray(classes.argmax(axis=1))
    fractional = classes[~np.isfinite(classes) | (np.trunc(classes) != classes)]
    if fractional.size:
        raise AttributeValueError(f"{what} class is {fractional[0]}, expected a whole number")
    return classes.reshape(-1).astype(np.intp)


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
