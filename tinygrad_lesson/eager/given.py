"""Arrays that others give: what may be one, where it lies, and who may write to it."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import MODULES, Context, device_named, module_of, refuse_masked, require_device
from tinygrad_lesson.eager.protocol import NumpyProtocol, holds_recorded
from tinygrad_lesson.engine.errors import DTypeError, ShapeError

KINDS = "biufc"  # kinds of element types to compute with


def numbers_in(data: Any, dtype: Any, copy: bool | None = True) -> np.ndarray:
    """`data` as an array.

    Errors
        DTypeError if it holds other things than numbers; ShapeError if its rows differ in length.
    """
    if isinstance(data, NumpyProtocol):
        data = data.array
    if isinstance(data, list | tuple) and any(map(holds_recorded, data)):
        raise DTypeError("a list of recorded tensors is no array; stack(list) keeps their gradients")
    if data.__class__ is not np.ndarray:
        if hasattr(data, "__cuda_array_interface__") and devices().is_cupys(data):
            return module_of(data).array(data, dtype=dtype, copy=bool(copy))  # type: ignore[no-any-return]
        refuse_masked(data, "the data of a tensor")
    try:
        array = np.array(data, dtype=dtype, copy=copy)
    except ValueError as error:
        kind = ShapeError if "inhomogeneous" in str(error) else DTypeError
        raise kind(f"{data!r:.200} is no array of numbers: {error}") from None
    if array.dtype.kind not in KINDS:
        raise DTypeError(f"{data!r:.200} is neither a Tensor nor an array nor a number")
    return array


def devices() -> Any:
    """What knows of other devices than the processor, imported when the first is asked for."""
    return importlib.import_module("tinygrad_lesson.devices")


def placed(array: Any, device: Context | None = None) -> Any:
    """An array of a new tensor where it is to lie: a NumPy array where arrays are made now, if nothing is said."""
    device = device_named(device)
    if device is None and array.__class__ in MODULES:
        return array
    if device is not None:
        require_device(device)
    return devices().moved(array, device or devices().here())


def equal_bits(a: Any, b: Any) -> bool:
    """Whether two arrays lie alike and are the same to the last bit."""
    if b is None or (a.dtype, a.shape, a.strides) != (b.dtype, b.shape, b.strides):
        return False
    word = np.uint64 if a.nbytes % 8 == 0 else np.uint8
    return bool(np.array_equal(a.ravel("K").view(word), b.ravel("K").view(word)))


class Lock:
    """Nobody writes to an array while this lives: a copy of a large one would cost more than most operations."""

    counts: ClassVar[dict[int, int]] = {}  # of locks, by id of the array

    def __init__(self, array: np.ndarray) -> None:
        count = self.counts.get(id(array), 0)
        self.array = array if array.flags.writeable or count else None
        if self.array is not None:
            self.counts[id(array)] = count + 1
            array.setflags(write=False)

    def __del__(self) -> None:
        if self.array is not None:
            count = self.counts.pop(id(self.array)) - 1
            if count:
                self.counts[id(self.array)] = count
            else:
                self.array.setflags(write=True)
