"""Arrays that are bound: what is given for one is copied into it, or refused in words."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, assign, on_host, read_only_memory, real
from tinygrad_lesson.engine.errors import BindError, DTypeError, ShapeError, near
from tinygrad_lesson.engine.shapes import show

if TYPE_CHECKING:
    from tinygrad_lesson.mxnet.ndarray import NDArray


def as_ndarray(array: np.ndarray) -> NDArray:
    """The same memory as MXNet's kind of array, which is imported when the first one is handed out."""
    made: NDArray = importlib.import_module("tinygrad_lesson.mxnet.invoked").as_ndarray(array)
    return made


def in_place(x: Any) -> np.ndarray:
    """The elements of an array, MXNet's or NumPy's, where they lie, to be written to."""
    return x.memory() if hasattr(x, "memory") else x  # type: ignore[no-any-return]


def elements_of(x: Any) -> Any:
    """The elements of an array, MXNet's or another, where they lie."""
    array = x.tensor.array if hasattr(x, "tensor") else x
    return array if array.__class__ in MODULES else np.asarray(x)


def check_shape(array: np.ndarray, value: Any, what: str) -> None:
    """Refuse a value of another shape than the array it goes to."""
    if np.shape(value) != array.shape:
        raise ShapeError(f"{what} is {show(np.shape(value))}, expected {show(array.shape)}")


class Named(dict[str, Any]):
    """Arrays by name: what is put under a name is copied into its array, all or none; names neither come nor go."""

    def __init__(self, arrays: Mapping[str, Any], what: str) -> None:
        super().__init__(arrays)
        self.what = what

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *given: Any, **named: Any) -> None:  # type: ignore[override]
        """Copy values into the arrays of these names.

        Errors
            BindError for a name that has no array; ShapeError for a value of another shape.
        """
        values = dict(*given, **named)
        for name in values:
            if self.get(name) is None:
                known = [n for n, array in self.items() if array is not None]
                raise BindError(f"{self.what}: there is no array for {name!r}; {near(str(name), known)}")
        assign_all((self[name], value, f"{self.what}[{name!r}]") for name, value in values.items())

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def refuse(self, *_: Any, **__: Any) -> Any:
        """What would change the names."""
        raise BindError(f"{self.what}: its names are those of the symbol and stay; write into its arrays")

    __delitem__ = pop = popitem = clear = setdefault = refuse

    def __reduce__(self) -> Any:  # for copy and pickle
        return dict, (dict(self),)


class Listed(list[Any]):
    """Arrays in order: what is put in a place is copied into its array; their number stays."""

    def __setitem__(self, place: Any, value: Any) -> None:
        arrays = self[place] if isinstance(place, slice) else [self[place]]
        values = list(value) if isinstance(place, slice) else [value]
        if len(arrays) != len(values) or any(array is None for array in arrays):
            raise BindError(f"{len(values)} arrays for {len(arrays)} places, or for one without an array")
        assign_all((array, v, f"array {i}") for i, (array, v) in enumerate(zip(arrays, values, strict=True)))

    def refuse(self, *_: Any, **__: Any) -> Any:
        """What would change their number or order."""
        raise BindError("an executor's arrays stay what they are; write into them, or take list(...) first")

    __delitem__ = __iadd__ = __imul__ = append = extend = insert = pop = remove = clear = sort = reverse = (
        refuse
    )

    def __reduce__(self) -> Any:  # for copy and pickle
        return list, (list(self),)


def assign_all(copies: Iterable[tuple[np.ndarray, Any, str]]) -> None:
    """Copy values into arrays of the same shapes, all or none: (array, value, what it is) for each.

    Errors
        ShapeError for another shape, DTypeError for what is no number, BindError for an array that
        cannot be written; then none has changed.
    """
    checked = []
    for place, value, what in copies:
        array = elements_of(place)
        value = numbers_there(value, what)
        check_shape(array, value, what)
        if read_only_memory(array):
            raise BindError(
                f"{what} goes to an array that is read-only, as outputs are; asnumpy() gives a copy"
            )
        checked.append((array, value.astype(array.dtype, copy=False)))
    for array, value in checked:
        assign(array, value)


def as_numbers(value: Any, what: str) -> np.ndarray:
    """`value` as a NumPy array; what lies on a device is copied.

    Errors
        ShapeError for lists of different lengths, DTypeError for what is no real number.
    """
    return on_host(numbers_there(value, what))  # type: ignore[no-any-return]


def numbers_there(value: Any, what: str, dtype: Any = None) -> Any:
    """`value` as an array, where it lies.

    Errors
        ShapeError for lists of different lengths, DTypeError for what is no real number.
    """
    try:
        array = real(elements_of(value) if hasattr(value, "tensor") else value, what)
    except ValueError as error:
        raise ShapeError(f"{what} is no array: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{what} has elements of type {array.dtype}, expected real numbers")
    return array if dtype is None else array.astype(dtype)
