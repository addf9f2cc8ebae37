"""Arrays in tuples, lists, dicts and dataclasses: what a traced function is given, and what it gives."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, is_array, placed_at, refuse_masked
from tinygrad_lesson.eager.captured import PLAIN, exact
from tinygrad_lesson.eager.tensor import Tensor, operand
from tinygrad_lesson.engine.errors import DTypeError

LEAVES = (Tensor, np.ndarray, *PLAIN)  # most often one of the first


def take_apart(
    x: Any,
    arrays: list[Tensor],
    key: list[Any],
    objects: list[Any] | None = None,
    floats: list[int] | None = None,
) -> None:
    """Add to `arrays` those that are in `x`, nested as it may be, and to `key` all else that a plan depends on.

    `objects` gets what may have attributes. With `floats` Python's floats are arrays too; it gets their places.

    Errors
        DTypeError for a masked array.
    """
    if x.__class__ is Tensor and x.array.__class__ is np.ndarray:
        arrays.append(x)
        key += (x.array.shape, x.array.dtype)
    elif isinstance(x, Tensor) or is_array(x):
        refuse_masked(x, "jit: an argument")
        arrays.append(operand(x))
        key += (x.shape, x.dtype)
        if MODULES:
            key.append(placed_at(arrays[-1].example()))
    elif floats is not None and type(x) is float:
        floats.append(len(arrays))
        arrays.append(operand(x))
        key.append(float)
    elif (parts := parts_of(x)) is None:
        key.append(exact(x))
        if objects is not None and not isinstance(x, PLAIN):
            objects.append(x)
    else:
        names, values = parts
        key.append((type(x), *map(exact, names)))
        for value in values:
            take_apart(value, arrays, key, objects, floats)
        if objects is not None and dataclasses.is_dataclass(x):
            objects += [value for _, value in names[len(values) :]]  # settings, which may hold arrays


def parts_of(x: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
    """What a container holds, and what tells it from others of its kind; None for anything else.

    A field of a dataclass that is static, ``field(metadata={"static": True})``, is a setting and not held.
    """
    if isinstance(x, LEAVES):
        return None
    if isinstance(x, dict):
        return tuple(x), tuple(x.values())
    if isinstance(x, list | tuple):
        return (len(x),), x
    cls: Any = type(x)
    fields = fields_of(cls)
    if fields is None:
        return None
    names, static = fields
    return [*names, *[(name, getattr(x, name)) for name in static]], [getattr(x, name) for name in names]


@functools.cache
def fields_of(cls: type) -> tuple[list[str], list[str]] | None:
    """The names of what a dataclass holds, and of its settings; None for another class."""
    if not dataclasses.is_dataclass(cls):
        return None
    fields = dataclasses.fields(cls)
    static = [field.name for field in fields if field.metadata.get("static", False)]
    return [field.name for field in fields if field.name not in static], static


def put_together(x: Any, arrays: Iterator[Any], floats: bool = False) -> Any:
    """A container like `x` with other arrays in the order of `parts_of`, in the place of `floats` too."""
    if isinstance(x, Tensor) or is_array(x) or (floats and type(x) is float):
        return next(arrays)
    parts = parts_of(x)
    if parts is None:
        return x
    return rebuilt(x, parts[0], [put_together(value, arrays, floats) for value in parts[1]])


def rebuilt(x: Any, names: Sequence[Any], values: Sequence[Any]) -> Any:
    """A container like `x` that holds other values."""
    if type(x) is tuple or type(x) is list:
        return type(x)(values)
    if isinstance(x, tuple):
        return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)
    new = copy.copy(x)
    if isinstance(x, list):
        new[:] = values
    elif isinstance(x, dict):
        new.update(zip(names, values, strict=True))
    else:
        for name, value in zip(names, values, strict=False):  # settings come after the names
            object.__setattr__(new, name, value)
    return new


def holds_numbers(x: Any) -> bool:
    """Whether a leaf is an array or a number; texts, functions and None are not."""
    return isinstance(x, Tensor) or not (x is None or isinstance(x, str | bytes) or callable(x))


def is_tree(x: Any) -> bool:
    """Whether it is a container of arrays, nested as it may be. Lists of numbers alone are an array."""
    parts = parts_of(x)
    return parts is not None and not (isinstance(x, list | tuple) and x and is_numbers(x))


def is_numbers(x: Any) -> bool:
    """Whether it is a number, or lists of them."""
    if isinstance(x, list | tuple):
        return all(map(is_numbers, x))
    return isinstance(x, bool | int | float | complex | np.generic)


def mapped(f: Any, x: Any, *others: Any) -> Any:
    """A tree like `x` of what `f` gives for each leaf of it, and for the leaves of others in the same places.

    Errors
        DTypeError if another is not built like `x`.
    """
    if not is_tree(x):
        return f(x, *others)
    names, values = parts_of(x)  # type: ignore[misc]
    branches = [parts_of(other) for other in others]
    held = max(1, len(values))  # settings come behind, and may differ
    for branch, other in zip(branches, others, strict=True):
        if branch is None or tuple(branch[0])[:held] != tuple(names)[:held]:
            raise DTypeError(f"{other!r:.200} is not built like {x!r:.200}")
    columns = zip(values, *[branch[1] for branch in branches if branch], strict=True)
    return rebuilt(x, names, [mapped(f, *column) for column in columns])


def tensors_in(result: Any) -> list[Tensor]:
    """The tensors in a result.

    Errors
        DTypeError if it holds anything else, but for None, functions, empty tuples and the settings of a dataclass.
    """
    found: list[Tensor] = []
    stack = [result]
    while stack:
        x = stack.pop()
        parts = parts_of(x)
        if isinstance(x, Tensor):
            found.append(x)
        elif dataclasses.is_dataclass(x):
            stack.extend(value for value in reversed(parts[1]) if not isinstance(value, PLAIN))  # type: ignore[index]
        elif x is not result and (callable(x) or parts == ((0,), ()) or x is None):
            continue
        elif parts is None or not parts[1]:
            raise DTypeError(
                f"jit: the function gave {result!r}, expected a tensor, or a tuple, list or dict of tensors"
            )
        else:
            stack.extend(reversed(parts[1]))
    return found
