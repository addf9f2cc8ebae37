"""Training: initializers, optimizers, data, metrics, callbacks, `FeedForward`."""

from tinygrad_lesson.train import callback, data, initializer, metric, monitor, optimizer
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.feedforward import FeedForward, History

__all__ = [
    "FeedForward", "History", "NDArrayIter", "callback", "data", "initializer", "metric",
    "monitor", "optimizer",
]  # fmt: skip
