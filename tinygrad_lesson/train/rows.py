"""What a user gives as rows: arrays, lists of numbers, dictionaries of them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.mxnet.bound import as_numbers


def as_size(number: Any, what: str) -> int:
    """A whole number.

    Errors
        DTypeError if it is none.
    """
    try:
        return operator.index(number)
    except TypeError:
        raise DTypeError(f"{what} is {number!r:.80}, expected a whole number") from None


def is_array_like(source: Any) -> bool:
    """Whether this is an array, or what NumPy makes one of: lists, and all with `__array__`."""
    return isinstance(source, Sequence) or hasattr(source, "__array__")


def as_rows(given: Any, what: str, several: bool = False) -> Any:
    """What a user gives as rows: an array, or a dictionary or (if there may be `several`) a list of them.

    Errors
        DTypeError or ShapeError, which call it `what`, for anything that is no array of real numbers.
    """
    if isinstance(given, Mapping):
        return {name: as_numbers(array, f"{what}[{name!r}]") for name, array in given.items()}
    if several and isinstance(given, list | tuple):
        return [as_numbers(array, f"{what}[{i}]") for i, array in enumerate(given)]
    if is_array_like(given):
        return as_numbers(given, what)
    kind = type(given).__name__
    if isinstance(given, Iterator):
        raise DTypeError(
            f"{what} is a {kind}, which can be gone through but once; expected an array, a list (write list(...)) "
            "or an iterator with reset(), such as NDArrayIter"
        )
    raise DTypeError(f"{what} is a {kind}; expected an array, a list, or a dictionary of arrays")


def count_rows(rows: Any) -> int:
    """The number of rows in what `as_rows` gives; that of its first array."""
    if not isinstance(rows, np.ndarray):
        rows = next(iter(rows.values() if isinstance(rows, Mapping) else rows), np.zeros(()))
    return len(rows) if rows.ndim else 0
