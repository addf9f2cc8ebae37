"""`mx.image`: pictures from files, to be imported only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.image.{name}", "read images by another library and hand arrays to mx.io.NDArrayIter")
