"""Layers that are trees of parameters: see `eager/layers.py`."""

from __future__ import annotations

from tinygrad_lesson.eager.layers import *  # noqa: F403
