"""`mx.util`: switches of MXNet's NumPy mode, which is not here."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.mx.absent import Absent, absent

INSTEAD = "mx.nd and mx.sym are MXNet's first arrays and symbols; tinygrad_lesson.numpy has NumPy's names"


def use_np(func: Any) -> type[Absent]:
    """A function or class of MXNet's NumPy mode: the definition passes, its use is an AbsentError."""
    return absent(f"mx.use_np for {func.__name__}", INSTEAD)


def is_np_array() -> bool:
    """Whether the NumPy mode is on: it is not here."""
    return False


is_np_shape = is_np_default_dtype = is_np_array


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.util.{name}", INSTEAD)
