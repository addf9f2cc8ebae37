"""Layers that are trees of parameters: see `eager/layers.py`."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.eager.layers import *  # noqa: F403
from tinygrad_lesson.engine.op import FUNCTIONS


def __getattr__(name: str) -> Any:
    function = name.lower()
    there = function in NAMES or function in FUNCTIONS
    told = f"write tl.{function}" if there else "functions are in tl, as in Sequential(Linear(2, 3), tl.relu)"
    raise AttributeError(f"tinygrad_lesson.nn has no {name!r}; {told}")
