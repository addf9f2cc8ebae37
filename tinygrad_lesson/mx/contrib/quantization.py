"""`mx.contrib.quantization`: networks in whole numbers, to be imported only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.contrib.quantization.{name}", "plans compute in the element types of a symbol")
