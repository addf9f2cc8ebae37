"""`mx.model`: models that are trained as a whole, and their files."""

from __future__ import annotations

from tinygrad_lesson.mxnet.params import load_checkpoint, save_checkpoint
from tinygrad_lesson.train.callback import BatchEndParam
from tinygrad_lesson.train.feedforward import FeedForward

__all__ = ["BatchEndParam", "FeedForward", "load_checkpoint", "save_checkpoint"]
