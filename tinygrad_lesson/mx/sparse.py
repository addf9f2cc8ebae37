"""`mx.nd.sparse`: sparse storage, to be imported only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(
        f"mx.nd.sparse.{name}", "arrays hold all of their elements; mx.nd has the same operators for them"
    )
