"""`mx.gluon.nn`: layers of Gluon, to be imported and derived from only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.gluon.nn.{name}", "build the network from mx.sym and train it with mx.mod.Module")
