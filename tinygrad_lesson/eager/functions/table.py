"""Which functions of NumPy there are for tensors, by their names there."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tinygrad_lesson.arrays import MODULES, NEEDS_SLOW_PATH, is_array, refuse_device
from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.given import placed
from tinygrad_lesson.eager.tensor import Tensor, of_array, operand, wrap
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError

Function = TypeVar("Function", bound=Callable[..., Any])
TABLE: dict[str, Callable[..., Any]] = {}  # "np.linalg.inv" -> what it is for tensors


def like(*names: str) -> Callable[[Function], Function]:
    """Enter a function into the table under its names in NumPy: `@like("linalg.inv")`."""

    def enter(function: Function) -> Function:
        TABLE.update({f"np.{name}": function for name in names})
        return function

    return enter


def refuse(name: str, **given: Any) -> None:
    """Refuse a parameter of NumPy that has no meaning here.

    Errors
        AttributeValueError if one of them is not None.
    """
    for key, value in given.items():
        if value is not None:
            raise AttributeValueError(f"{name}: {key} is not taken: the elements of a Tensor do not change")


def tensor(x: Any) -> Tensor:
    """`x` as a tensor; of a list that holds tensors, those stacked."""
    if x.__class__ is Tensor and is_array(x.array):
        return x  # type: ignore[no-any-return]
    if isinstance(x, list | tuple) and holds_tensors(x):
        return F.stack(*[tensor(part) for part in x])  # type: ignore[no-any-return]
    x = operand(x)
    if x.level is not None or x.node is not None or hasattr(x.array, "shape"):
        return of_array(x)
    return made(np.asarray(x.array))


def brought(x: Tensor, value: Any) -> Any:
    """Numbers of the host as a tensor where `x` lies, if that is a device."""
    if not MODULES:
        return value
    return importlib.import_module("tinygrad_lesson.eager.moving").brought(x, value)


def made(array: np.ndarray) -> Tensor:
    """A tensor of numbers that were just computed, where tensors are made now."""
    return wrap(placed(array)) if NEEDS_SLOW_PATH else wrap(array)


def holds_tensors(x: Any) -> bool:
    """Whether there is a tensor in lists of lists."""
    return isinstance(x, Tensor) or (isinstance(x, list | tuple) and any(map(holds_tensors, x)))


def known(x: Any) -> Any:
    """The numbers of what no gradient goes to: places, counts, masks."""
    if isinstance(x, list | tuple) and holds_tensors(x):
        return np.array([known(part) for part in x])
    array = x.detach().seen("a value that decides where") if isinstance(x, Tensor) else x
    refuse_device(array, "a value that decides where, or how many,")
    return np.array(array) if isinstance(x, Tensor) else np.asarray(array)


def known_if_shared(x: Any) -> Any:
    """As `known`; a tensor where there is one value for each sample of a batch."""
    x = x.detach() if isinstance(x, Tensor) and x.level is not None else x
    return x if isinstance(x, Tensor) and x.level is not None else known(x)


def constant(what: str, x: Any) -> Any:
    """The numbers of what is taken as a constant.

    Errors
        DTypeError if a gradient may be asked for.
    """
    if isinstance(x, Tensor) and x.node is not None:
        raise DTypeError(f"{what} is taken as a constant here, whose gradient would be lost: give x.detach()")
    return known(x)


def cast(x: Any, dtype: Any) -> Any:
    """`x` in another element type, if one is wanted."""
    return x if dtype is None else F.cast(x, dtype=str(np.dtype(dtype)))


def beside(x: Any, a: Tensor) -> Tensor:
    """`x` as a tensor; numbers, and lists of them, take the element type of `a`."""
    if isinstance(x, Tensor | np.ndarray | np.generic) or holds_tensors(x):
        return tensor(x)
    plain = np.asarray(x)
    number = {"b": False, "i": 0, "u": 0, "c": 0j}.get(plain.dtype.kind, 0.0)  # Python's, which adapts
    return made(plain.astype(np.result_type(a.dtype, number)))


def numbers_of(x: Tensor) -> np.ndarray:
    """The numbers of the elements of `x`, in its shape."""
    return np.arange(x.size).reshape(x.shape)


def picked(places: Any, *arrays: Any) -> Any:
    """The elements of arrays, one after the other in row-major order, that have these numbers; the rest has none."""
    places = np.asarray(places)
    flat = [F.reshape(a, shape=(-1,)) for a in map(tensor, arrays)]
    whole = flat[0] if len(flat) == 1 else F.concat(*flat, dim=0)
    return F.reshape(F.take(whole, places.reshape(-1)), shape=places.shape)


def moved(function: Callable[..., Any], x: Any, *more: Any, **named: Any) -> Any:
    """What a function of NumPy gives that moves elements only: it is shown their numbers."""
    x = tensor(x)
    found = function(numbers_of(x), *more, **named)
    return [picked(part, x) for part in found] if isinstance(found, list | tuple) else picked(found, x)
