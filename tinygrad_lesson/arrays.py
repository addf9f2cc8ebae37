"""NumPy or CuPy, devices, and which arrays are taken."""

from __future__ import annotations

import importlib
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import DeviceError, DTypeError

# glibc gives memory back to the system as soon as some hundred kB are free, and asks for it anew, page by page, with
# the next array. Once an array of this size was freed, it keeps twice as much; a `jvp` of arrays of 400 kB takes a
# quarter less so.
np.empty(1 << 24, np.uint8)


class Context(NamedTuple):
    """A device, as MXNet names it.

    Example
        >>> import tinygrad_lesson as tl
        >>> with tl.Context("cpu"):
        ...     x = tl.zeros(2)
        >>> str(x.device)
        'cpu(0)'
    """

    device_type: str = "cpu"
    device_id: int = 0

    def __repr__(self) -> str:
        return f"{self.device_type}({self.device_id})"

    @property
    def on_host(self) -> bool:
        """Whether it is the processor: MXNet has `cpu_pinned` and `cpu_shared` too."""
        return self.device_type.startswith("cpu")

    def __enter__(self) -> Context:
        """Inside, what is made of numbers alone is made on this device."""
        require_device(self)
        PLACES.stack += (self,)
        return self

    def __exit__(self, *error: object) -> None:
        PLACES.stack = PLACES.stack[:-1]

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
    """The processor.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.Tensor([1.0, 2.0])
        >>> x.device == tl.cpu()
        True
    """
    return Context("cpu", device_id)


def gpu(device_id: int = 0) -> Context:
    """A graphics card.

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.gpu(1) == tl.Context("gpu", 1)
        True
    """
    return Context("gpu", device_id)


class Places(threading.local):
    """The devices of the blocks, such as ``with tl.gpu(0):``, that this thread is in."""

    stack: tuple[Context, ...] = ()


PLACES = Places()
MODULES: dict[
    type, Any
] = {}  # the class of a device's arrays -> CuPy, once there is a device or an array of one
FEW = 4096  # elements up to which a copy costs less than to look whether it is needed
NEEDS_SLOW_PATH: list[str] = []  # an entry where tensors may be no NumPy arrays, or something else holds


def module_of(x: Any) -> Any:
    """What computes with an array: CuPy where it lies on a GPU, else NumPy."""
    return MODULES.get(x.__class__, np)


def is_array(x: Any) -> bool:
    """Whether it is an array, of NumPy or of a device."""
    return isinstance(x, np.ndarray) or x.__class__ in MODULES


def held(x: Any) -> Any:
    """`x` as an array, where it lies."""
    return x if x.__class__ in MODULES else np.asarray(x)


def own_copy(x: Any) -> Any:
    """A copy of `x`, where it lies."""
    return module_of(x).array(x)


def references(found: Any, i: int) -> tuple[int, int]:
    """How often an array of a list is known, and what its memory belongs to, counted from here."""
    x, base = found[i], found[i].base
    return sys.getrefcount(x), sys.getrefcount(base)


ALONE = references([np.empty(1)[:]], 0)  # where the list knows the one, and that the other, and nobody else


def taken(found: Any, i: int, others: int = 0) -> Any:
    """An array of a list as one's own: a copy, or itself if it is large and known to nobody but `others`."""
    if found[i].size > FEW and found[i].__class__ is np.ndarray and found[i].flags.writeable:
        known, of_base = references(found, i)
        base = found[i].base
        whole = base is None or (of_base <= ALONE[1] and getattr(base, "nbytes", 0) == found[i].nbytes)
        if whole and known <= ALONE[0] + others:
            return found[i]
    return own_copy(found[i])


def on_host(x: Any) -> Any:
    """The elements as a NumPy array; from a device for whoever asks for them."""
    return np.asarray(x) if x.__class__ not in MODULES else x.get()  # type: ignore[attr-defined]


def host_copy(x: Any) -> np.ndarray:
    """A copy of the elements as a NumPy array, from wherever they are."""
    found: np.ndarray = np.array(x) if x.__class__ not in MODULES else x.get()  # type: ignore[attr-defined]
    return found


def at(device: Context | str | None) -> AbstractContextManager[Any]:
    """A block in which what is made of numbers alone is made on this device; None changes nothing."""
    place: Context | None = device_named(device)
    if place is None:
        return nullcontext()
    require_device(place)
    return place


def device_named(device: Any) -> Any:
    """A device, also by its name: "cpu", "gpu(1)", or "cuda:1" as PyTorch has it."""
    return Context.parse(device.replace("cuda", "gpu")) if isinstance(device, str) else device


def refuse_device(x: Any, what: str) -> None:
    """Refuse an array of a device where its elements are needed on the processor.

    Errors
        DeviceError saying how to copy it.
    """
    if x.__class__ in MODULES:
        raise DeviceError(f"{what} needs the elements on the processor; write x.numpy(), or x.to(tl.cpu())")


def require_device(device: Context) -> None:
    """Refuse a device that is not there.

    Errors
        DeviceError saying what is missing.
    """
    if not isinstance(device, Context):
        raise DeviceError(f"{device!r} is no device; expected cpu() or gpu()")
    if not device.on_host:
        importlib.import_module("tinygrad_lesson.devices").cupy_for(device)


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


def real(value: Any, what: str, dtype: Any = None) -> Any:
    """`value` as an array of this type.

    Errors
        DTypeError for complex numbers, whose imaginary parts would be lost, and for a masked array.
    """
    if value.__class__ is not np.ndarray:
        refuse_masked(value, what)
    array = held(value)
    if array.dtype.kind == "c":
        raise DTypeError(f"{what} is {array.dtype}, expected real numbers: give array.real, or abs(array)")
    return array if dtype is None else array.astype(dtype, copy=False)


def placed_at(x: Any) -> Context:
    """Where an array lies."""
    if x.__class__ not in MODULES:
        return Context()
    return importlib.import_module("tinygrad_lesson.devices").device_of(x)  # type: ignore[no-any-return]


def zeros_at(place: Context, shape: Any, dtype: Any, filled: bool = True) -> Any:
    """Zeros on a device; what happens to be there unless they are to be `filled` in."""
    if place.on_host:
        return np.zeros(shape, dtype)
    devices = importlib.import_module("tinygrad_lesson.devices")
    with devices.on(place) as module, devices.room_for(f"{shape} numbers of {np.dtype(dtype)}", place):
        found = devices.cut(place, shape, np.dtype(dtype))
        return (module.zeros if filled else module.empty)(shape, dtype) if found is None else found


def zeros_like(x: Any, leading: tuple[int, ...] = ()) -> Any:
    """Zeros in the shape and element type of a tensor, where it lies; `leading` axes may come before its own."""
    return zeros_at(placed_at(x.example()) if MODULES else Context(), (*leading, *x.shape), x.dtype)


def assign(place: Any, value: Any) -> None:
    """Copy elements into an array, from wherever they are: whoever calls this asks for them to be moved."""
    place[...] = MODULES[place.__class__].asarray(value) if place.__class__ in MODULES else on_host(value)


def read_only_memory(array: Any) -> bool:
    """Whether nobody may write there, as far as it is known."""
    return array.__class__ not in MODULES and not array.flags.writeable


def read_only(array: Any) -> Any:
    """The same memory, not to be written to; CuPy's arrays cannot tell."""
    view = array.view()
    if array.__class__ in MODULES:
        return view
    view.flags.writeable = False
    return view
