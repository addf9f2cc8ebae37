"""Optimizers over trees of parameters: see `train/optim.py`."""

from __future__ import annotations

from tinygrad_lesson.train.optim import *  # noqa: F403
