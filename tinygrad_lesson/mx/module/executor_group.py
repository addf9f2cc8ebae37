"""`mx.mod.executor_group`: executors on several devices, to be imported only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.mod.executor_group.{name}", "mx.mod.Module has one executor, on the processor")
