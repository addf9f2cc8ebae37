"""`mx.init`: first values of parameters."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.mx.rnn.fused import FusedRNN
from tinygrad_lesson.train.initializer import (
    INITIALIZERS,
    Constant,
    InitDesc,
    Initializer,
    MSRAPrelu,
    Normal,
    One,
    Uniform,
    Xavier,
    Zero,
    create,
)
from tinygrad_lesson.train.initializer import register as alias
from tinygrad_lesson.train.structured import Bilinear, Load, LSTMBias, Mixed, Orthogonal


def register(klass: type[Any]) -> type[Any]:
    """Make an initializer of one's own known to `create`, by the name of its class."""
    INITIALIZERS[klass.__name__.lower()] = klass
    return klass


__all__ = [
    "Bilinear", "Constant", "FusedRNN", "InitDesc", "Initializer", "LSTMBias", "Load", "MSRAPrelu", "Mixed", "Normal",
    "One", "Orthogonal", "Uniform", "Xavier", "Zero", "alias", "create", "register",
]  # fmt: skip
