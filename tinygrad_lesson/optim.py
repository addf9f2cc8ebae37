"""Optimizers over trees of parameters: see `train/optim.py`."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.train.optim import *  # noqa: F403
from tinygrad_lesson.train.optim import ELSEWHERE


def __getattr__(name: str) -> Any:
    told = f"; {ELSEWHERE[name]}" if name in ELSEWHERE else ""
    raise AttributeError(f"tinygrad_lesson.optim has no {name!r}{told}")
