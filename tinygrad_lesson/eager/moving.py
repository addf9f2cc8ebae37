"""Tensors from one device to another; the gradient comes back the same way."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, Context, placed_at, require_device
from tinygrad_lesson.devices import device_of, moved
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.tensor import Tensor, wrap
from tinygrad_lesson.engine.errors import DeviceError
from tinygrad_lesson.engine.op import Op, attr, declares


@declares
class Moved(Op):
    """The same elements on another device."""

    place: Any = attr(doc="the device")

    name = "Moved"
    function = "moved"
    family = "moving"
    inputs = ("x",)
    analytic = True

    def shape(self, *shapes: Any) -> Any:
        """As of the input."""
        return shapes[0]

    def forward(self, xp: Any, x: Any) -> Any:
        """A copy there."""
        return moved(x, self.place)

    def vjp(self, F: Any, g: Any, y: Any, x: Any) -> Any:
        """The gradient where the input lies."""
        place = device_of(x.array if isinstance(x, Tensor) else x)
        return (lambda: F.apply(Moved(place=place), (g,)),)


def brought(x: Tensor, value: Any) -> Any:
    """Numbers of the host as a tensor where `x` lies; tensors, and what lies there, as they are."""
    place, held = placed_at(x.example()), value if isinstance(value, list | tuple) else (value,)
    if place == Context() or any(isinstance(part, Tensor) or part.__class__ in MODULES for part in held):
        return value
    return wrap(moved(np.asarray(value), place))


def sent(x: Tensor, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """An index with its lists and arrays of the host where `x` lies.

    Errors
        The error that is being handled, where there are none.
    """
    found = tuple([brought(x, part) if isinstance(part, list | np.ndarray) else part for part in parts])
    if all(a is b for a, b in zip(found, parts, strict=True)):
        raise
    return found


def to_device(x: Tensor, place: Context) -> Any:
    """The same elements on a device; the tensor itself if it lies there.

    Errors
        DeviceError for a device that is not there.
    """
    require_device(place)
    if x.level is not None:
        raise DeviceError(f"to: a tensor is not moved to {place} inside of vmap or jvp; move it before")
    return x if device_of(x.array) == place else apply(Moved(place=place), (x,))
