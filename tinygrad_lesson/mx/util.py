"""`mx.util`: whether 0 is a size or one that is not known; and switches of MXNet's NumPy arrays, which are not here."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from tinygrad_lesson.mx.absent import NUMPY, Absent, absent
from tinygrad_lesson.mxnet.serial import SIZES


@contextlib.contextmanager
def np_shape(active: bool = True) -> Iterator[None]:
    """In this block an unknown size is -1 and an unknown shape None, and 0 is a size; or, with False, not."""
    before = set_np_shape(active)
    try:
        yield
    finally:
        set_np_shape(before)


def set_np_shape(active: bool) -> bool:
    """Say from now on what `np_shape` says in a block; what held before is returned."""
    before, SIZES.unknown = is_np_shape(), -1 if active else 0
    return before


def is_np_shape() -> bool:
    """Whether an unknown size is -1."""
    return SIZES.unknown == -1


def use_np_shape(func: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose body is a block of `np_shape`."""

    @functools.wraps(func)
    def under(*inputs: Any, **named: Any) -> Any:
        with np_shape():
            return func(*inputs, **named)

    return under


def use_np(func: Any) -> type[Absent]:
    """A function or class of MXNet's NumPy mode: the definition passes, its use is an AbsentError."""
    return absent(f"mx.use_np for {func.__name__}", NUMPY)


def is_np_array() -> bool:
    """Whether the NumPy mode is on: it is not here."""
    return False


is_np_default_dtype = is_np_array


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.util.{name}", NUMPY)
