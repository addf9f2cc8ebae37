"""`mx.profiler`: times of operators, to be imported only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(
        f"mx.profiler.{name}",
        "Python's cProfile measures calls, and print(executor.plan()) shows every step and its memory",
    )
