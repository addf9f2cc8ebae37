"""`mx.gluon`: to be imported and derived from only."""

from __future__ import annotations

from tinygrad_lesson.mx.absent import Absent, absent
from tinygrad_lesson.mx.gluon import nn


def __getattr__(name: str) -> type[Absent]:
    return absent(f"mx.gluon.{name}", "build the network from mx.sym and train it with mx.mod.Module")


__all__ = ["nn"]
