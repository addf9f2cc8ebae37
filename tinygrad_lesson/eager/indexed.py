"""The elements of a tensor by an index of any kind that NumPy has."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.arrays import held, module_of
from tinygrad_lesson.eager.given import numbers_in
from tinygrad_lesson.eager.protocol import NumpyProtocol, bare, holds_recorded
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.engine.errors import DeviceError, DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.index import Key, freeze


class Indexed:
    """The part of a tensor that brackets call."""

    __slots__ = ()
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __len__(self) -> int: ...

    def __setitem__(self, key: Any, value: Any) -> None:
        """Change elements of a tensor that asks for no gradient, or of a leaf in `no_grad`; graphs keep what they had.

        Errors
            GraphError for what is recorded, and for a part of another tensor, which would stay as it is.
        """
        changes = self.level is None and not RECORDING.tracing
        if self.node is not None:
            changes = changes and self.node.is_variable and not RECORDING.on
        if not changes or (RECORDING.on and holds_recorded(value)):
            raise GraphError(
                "x[i] = y: what is recorded does not change; write `x = x.at[i].set(y)` for a new tensor"
                + (", or `with tl.no_grad(): x[i] = y` to change a leaf" if self.node is not None else "")
            )
        if hasattr(self, "kept") and getattr(self.array, "base", None) is not None:
            raise GraphError(
                "x[i] = y: x may be a part of another tensor, which would not change; write `x = x.clone()` before, or "
                "all indices in one, x[i, j] = y"
            )
        parts = key if isinstance(key, tuple) else (key,)
        array = self.value
        array[tuple(map(elements, parts))] = module_of(array).asarray(elements(value))

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if all([p is None or p is ... or isinstance(p, slice | int | np.integer) for p in parts]) and not any(  # noqa: C419
            [isinstance(p, bool) for p in parts]  # noqa: C419
        ):
            return self.F.slice(self, freeze(key))
        plain, arrays = separated(parts, self.shape)
        try:
            return self.F.advanced_slice(self, *arrays, key=plain)
        except DeviceError:  # a list, or an array of the host, goes to where this lies
            return self[importlib.import_module("tinygrad_lesson.eager.moving").sent(self, parts)]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


def elements(x: Any) -> Any:
    """The array of a tensor; of a list that holds tensors, theirs."""
    return x.seen("x[i] = y") if isinstance(x, NumpyProtocol) else bare(x)


def separated(parts: Sequence[Any], shape: tuple[int, ...]) -> tuple[Key, list[Any]]:
    """An index with numbers in the places of its arrays, and these; a mask becomes the places where it holds.

    Errors
        DTypeError if a part is nothing to index with; ShapeError for a mask of another shape than its axes have.
    """
    key: list[Any] = []
    arrays: list[Any] = []
    masks: list[tuple[int, tuple[int, ...]]] = []  # where in the key, and their shapes
    for part in parts:
        if (
            part is None
            or part is ...
            or (isinstance(part, slice | int | np.integer) and not isinstance(part, bool))
        ):
            key += freeze(part)
            continue
        x = part if isinstance(part, NumpyProtocol) else numbers_in(whole(part), None, copy=None)
        if x.dtype.kind not in "iub":
            raise DTypeError(
                f"index {part!r:.80} is no integer, slice, None, Ellipsis, array of integers or mask"
            )
        found: Sequence[Any] = (x,)
        if x.dtype.kind == "b":
            mask = held(x.detach().seen("x[mask]") if isinstance(x, NumpyProtocol) else x)
            if not mask.ndim:  # it takes no axis, and gives one of size 1 or 0
                key.append(("flag", bool(mask)))
                continue
            masks.append((len(key), mask.shape))
            found = module_of(mask).nonzero(mask)
        key += [("array", len(arrays) + i) for i in range(len(found))]
        arrays += found
    for place, expected in masks:
        first = axis_of(place, key, len(shape))
        if shape[first : first + len(expected)] != expected:
            raise ShapeError(f"a mask of shape {show(expected)} stands at axis {first} of {show(shape)}")
    return tuple(key), arrays


def axis_of(place: int, key: Sequence[Any], rank: int) -> int:
    """The axis at which a part of an index stands."""
    takes = [
        0 if part is None or part is ... or (type(part) is tuple and part[0] == "flag") else 1 for part in key
    ]
    rest = rank - sum(takes) if any(part is ... for part in key[:place]) else 0
    return sum(takes[:place]) + rest


def whole(part: Any) -> np.ndarray:
    """A list of places as an array; an empty one holds integers."""
    array = np.asarray(part)
    return array if array.size or not isinstance(part, list | tuple) else array.astype(int)
