"""Optimizers over trees of parameters: see `train/optim.py`."""

from tinygrad_lesson.train.optim import *  # noqa: F403
