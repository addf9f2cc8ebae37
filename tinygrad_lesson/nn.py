"""Layers that are trees of parameters: see `eager/layers.py`."""

from tinygrad_lesson.eager.layers import *  # noqa: F403
