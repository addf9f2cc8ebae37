"""`mx.contrib.amp`: mixed precision, to be imported only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.contrib.amp.{name}", "plans keep the element types of a symbol; Cast changes them")
