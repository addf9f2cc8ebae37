"""`mx.recordio`: files of records, to be imported only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.recordio.{name}", "read the data by NumPy and hand it to mx.io.NDArrayIter")
