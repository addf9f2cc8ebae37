"""NumPy or CuPy, devices, and which arrays are taken."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import DeviceError, DTypeError


class Context(NamedTuple):
    """A device, as MXNet names it."""

    device_type: str = "cpu"
    device_id: int = 0

    def __repr__(self) -> str:
        return f"{self.device_type}({self.device_id})"

    def __enter__(self) -> Context:
        require_device(self)
        return self

    def __exit__(self, *error: object) -> None:
        """What is computed outside is on the processor too."""

    @classmethod
    def parse(cls, text: str) -> Context:
        """From `cpu`, `gpu` or `gpu:1`.

        Errors
            DeviceError if the text is none of these.
        """
        kind, _, number = text.partition(":")
        if kind not in ("cpu", "gpu") or (number and not number.isdecimal()):
            raise DeviceError(f"device {text!r} is not known; expected cpu, gpu or gpu:0")
        return cls(kind, int(number or 0))


def cpu(device_id: int = 0) -> Context:
    """The processor."""
    return Context("cpu", device_id)


def gpu(device_id: int = 0) -> Context:
    """A graphics card."""
    return Context("gpu", device_id)


def require_device(device: Context) -> None:
    """Refuse a device that plans cannot run on.

    Errors
        DeviceError saying what is missing.
    """
    if not isinstance(device, Context):
        raise DeviceError(f"{device!r} is no device; expected cpu() or gpu()")
    if device.device_type == "cpu":
        return
    if importlib.util.find_spec("cupy") is None:
        raise DeviceError(
            f"{device}: CuPy is not installed; try pip install 'tinygrad_lesson[cuda12]', or use cpu"
        )
    raise DeviceError(f"{device}: plans run on the cpu only in this version")


LINE = 64  # bytes of a cache line, and of the widest vector register


def aligned_zeros(size: int, dtype: Any) -> np.ndarray:
    """A flat array of zeros that begins at a cache line; a vector then never lies across two."""
    bytes_ = np.zeros(size * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -bytes_.ctypes.data % LINE
    return bytes_[start : start + size * np.dtype(dtype).itemsize].view(dtype)


def holds_masked(value: Any) -> bool:
    """Whether it is a masked array, or a list with one somewhere in it."""
    nested = isinstance(value, list | tuple)
    return any(map(holds_masked, value)) if nested else isinstance(value, np.ma.MaskedArray)


def refuse_masked(value: Any, what: str) -> None:
    """Refuse an array with a mask, or a list of them: the mask would be lost.

    Errors
        DTypeError saying what to write instead.
    """
    if "numpy.ma" not in sys.modules:  # NumPy loads it when it is first used
        return
    if holds_masked(value):
        raise DTypeError(
            f"{what} is a masked array, whose mask would be lost; fill it first: array.filled(0), "
            "and choose with where() what is to count"
        )


def real(value: Any, what: str, dtype: Any = None) -> np.ndarray:
    """`value` as an array of this type.

    Errors
        DTypeError for complex numbers, whose imaginary parts would be lost, and for a masked array.
    """
    if value.__class__ is not np.ndarray:
        refuse_masked(value, what)
    array = np.asarray(value)
    if array.dtype.kind == "c":
        raise DTypeError(f"{what} is {array.dtype}, expected real numbers: give array.real, or abs(array)")
    return np.asarray(array, dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    """The same memory, not to be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
