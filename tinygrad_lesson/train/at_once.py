"""Many training steps in one call of a runner that can."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.train.guard import refuse_loss
from tinygrad_lesson.train.history import History
from tinygrad_lesson.train.interrupt import Whole
from tinygrad_lesson.train.monitor import GradientMonitor


def train_at_once(
    executor: Executor,
    updater: Any,
    monitor: GradientMonitor,
    batches: Mapping[str, np.ndarray],
    epochs: tuple[int, int],
    history: History,
    whole: Whole,
) -> bool:
    """Go through `batches` in calls that are no longer than Ctrl-C may wait; False where the runner cannot.

    `epochs` are the number of the first and how many. A call takes whole epochs, or a part of one.
    """
    size, (epoch, count) = len(next(iter(batches.values()), ())), epochs
    if not size:
        raise ShapeError("fit: the iterator gave no batch")
    if whole.steps == 1:
        executor.train(batches, 0, updater, monitor)  # may compile, which Ctrl-C may break
    done, losses = 0, np.zeros(0, np.float32)
    while done < size * count:
        at, most = done % size, whole.steps
        steps = min(size - at, most) if at or most < size else min(most // size * size, size * count - done)
        began = time.perf_counter()
        with whole:
            part = {name: array[at : at + steps] for name, array in batches.items()}
            found = executor.train(part, steps, updater, monitor)
            if found is None:
                return False
            done, history.steps = done + steps, history.steps + steps
            losses = np.concatenate([losses, found])
            ended = 0 if done % size else len(losses) // size
            if ended:
                monitor.epoch(ended)
            refuse_loss(executor, found, size, epoch, done - steps)
            if ended:
                history.loss += losses.reshape(ended, size).mean(axis=1, dtype=float).tolist()
                losses = losses[:0]
        whole.took(steps, time.perf_counter() - began)
    return True
