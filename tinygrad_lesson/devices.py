"""Devices other than the processor: CuPy's arrays, where they lie, and what computes with them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, NEEDS_SLOW_PATH, PLACES, Context, module_of, on_host
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import DeviceError
from tinygrad_lesson.engine.op import Op

CPU = Context()
INSTALL = "pip install 'tinygrad_lesson[cuda13]', or [cuda12] for an older driver (nvidia-smi tells its CUDA version)"


def cupy_for(device: Context) -> Any:
    """CuPy, for a GPU that is there.

    Errors
        DeviceError that says what is missing: CuPy, a driver, or the device.
    """
    if "cupy" not in importlib.sys.modules and importlib.util.find_spec("cupy") is None:  # type: ignore[attr-defined]
        raise DeviceError(f"{device}: CuPy is not installed; {INSTALL}; or use cpu")
    try:
        with warnings.catch_warnings(action="ignore"):  # of two CuPys, and of a CUDA that it does not find
            module = importlib.import_module("cupy")
    except Exception as error:
        raise DeviceError(f"{device}: CuPy cannot be imported: {error}; {INSTALL}; or use cpu") from error
    try:
        count = module.cuda.runtime.getDeviceCount()
    except Exception as error:
        driver = f"; update the driver, or {INSTALL}" if "InsufficientDriver" in str(error) else ""
        raise DeviceError(f"{device}: no GPU can be used here: {error}{driver}; or use cpu") from error
    if not 0 <= device.device_id < count:
        known = ", ".join(f"gpu({i})" for i in range(count)) or "none"
        raise DeviceError(f"{device}: there is no such device; those here are {known}")
    enter(module)
    return module


def enter(module: Any) -> None:
    """Know the arrays of CuPy from now on."""
    if module.ndarray not in MODULES:
        MODULES[module.ndarray] = module
        NEEDS_SLOW_PATH.append("devices")


def is_cupys(x: Any) -> bool:
    """Whether it is an array of CuPy, which is then known."""
    cls = x.__class__
    if cls not in MODULES and cls.__module__.partition(".")[0] == "cupy" and cls.__name__ == "ndarray":
        enter(importlib.import_module("cupy"))
    return cls in MODULES


def device_of(x: Any) -> Context:
    """Where an array lies."""
    return CPU if module_of(x) is np else Context("gpu", x.device.id)


def here() -> Context:
    """Where arrays are made that come of no others."""
    return PLACES.stack[-1] if PLACES.stack else CPU


def is_number(x: Any) -> bool:
    """Whether it is one number of Python or NumPy, which goes along to any device."""
    return type(x) in NUMBERS or isinstance(x, np.generic)


def common(what: str, names: Sequence[str], arrays: Sequence[Any]) -> Context:
    """The device of all of `arrays`; numbers lie everywhere.

    Errors
        DeviceError that names two devices, and the input that lies elsewhere.
    """
    found: Context | None = None
    first = ""
    for name, x in zip(names, arrays, strict=True):
        if is_number(x):
            continue
        place = device_of(x)
        if found is not None and place != found:
            raise DeviceError(
                f"{what}: {name} is on {place}, {first} on {found}; write x.to(tl.{found}) to copy it"
            )
        found, first = place, first or name
    return found or (CPU if names else here())


def place_for(op: Op, arrays: Sequence[Any]) -> Context:
    """Where an op is carried out: where its inputs are.

    Errors
        DeviceError if they are on different devices, or on one that the op cannot be carried out on.
    """
    place = common(op.label(), op.name_inputs(len(arrays)), arrays)
    if place != CPU and op.host_only:
        raise DeviceError(
            f"{op.label()}: {op.host_only}, so it is not carried out on {place}; write x.to(tl.cpu())"
        )
    return place


@contextlib.contextmanager
def on(place: Context) -> Iterator[Any]:
    """Work on a device inside; gives what computes there."""
    with place:
        if place.on_host:
            yield np
        else:
            module = cupy_for(place)
            with module.cuda.Device(place.device_id):
                yield module


@contextlib.contextmanager
def room_for(what: str, place: Context) -> Iterator[None]:
    """Say in one line what there is no room for, beside what CuPy says was asked for."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"{what} on {place}: {error}") from None


class Rooms(threading.local):
    """The pieces of memory of which this thread cuts arrays now, innermost last."""

    stack: tuple[Room, ...] = ()


ROOMS = Rooms()
APART = 512  # bytes between the beginnings of arrays: what CuPy's own memory pool keeps to


class Room:
    """One piece of memory of a device. Inside of ``with room:`` new zeros lie in it, one array behind the other.

    `sizes` are those of the arrays in bytes. What finds no place there has memory of its own, as elsewhere.

    Errors
        MemoryError that says `what` there is no room for.
    """

    def __init__(self, place: Context, sizes: Sequence[int], what: str) -> None:
        self.place, self.size, self.taken = place, sum(map(apart, sizes)), 0
        with on(place) as module, room_for(f"{self.size} bytes for {what}", place):
            self.memory = module.zeros(self.size, np.uint8)

    def __enter__(self) -> Room:
        ROOMS.stack += (self,)
        return self

    def __exit__(self, *error: object) -> None:
        ROOMS.stack = ROOMS.stack[:-1]


def apart(size: int) -> int:
    """The bytes that an array takes of a room."""
    return -(-size // APART) * APART


def left(place: Context) -> int:
    """The bytes that are left in the room of which arrays of a device are cut now."""
    return sum(room.size - room.taken for room in ROOMS.stack[-1:] if room.place == place)


def cut(place: Context, shape: Any, dtype: np.dtype[Any]) -> Any:
    """Zeros in that room; None where there is none, or it is full."""
    size = math.prod(np.atleast_1d(shape).tolist()) * dtype.itemsize
    if not 0 < size <= left(place):
        return None
    room = ROOMS.stack[-1]
    found = room.memory[room.taken : room.taken + size].view(dtype).reshape(shape)
    room.taken += apart(size)
    return found


def moved(x: Any, place: Context) -> Any:
    """The elements on a device: itself if it lies there, else a copy."""
    if device_of(x) == place:
        return x
    if place == CPU:
        return on_host(x)
    with on(place) as module:
        return module.asarray(x)
