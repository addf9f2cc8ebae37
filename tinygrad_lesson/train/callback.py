"""What `FeedForward.fit` calls after batches and epochs, and what it shows meanwhile."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.mxnet.params import save_checkpoint

LOGGER = logging.getLogger("tinygrad_lesson")


class BatchEndParam(NamedTuple):
    """What a callback at the end of a batch is told; `epoch` and `nbatch` count from 0 and 1."""

    epoch: int
    nbatch: int
    eval_metric: Any
    locals: dict[str, Any]


Callbacks = Callable[..., Any] | Iterable[Callable[..., Any]] | None


def as_list(callbacks: Callbacks, what: str = "the callback") -> list[Callable[..., Any]]:
    """None, one callback or several, as a list.

    Errors
        DTypeError, which calls it `what`, for anything else.
    """
    if callbacks is None:
        return []
    found = [callbacks] if callable(callbacks) or not isinstance(callbacks, Iterable) else list(callbacks)
    if not all(map(callable, found)):
        raise DTypeError(f"{what} is {callbacks!r:.80}, expected a function, or a list of them")
    return found


def as_writer(log: Any, logger: Any) -> Callable[[str], Any] | None:
    """What takes the lines of a log: a function, or that of a logger; None where neither is given.

    Errors
        DTypeError for anything else.
    """
    if log is None and logger is None:
        return None
    write: Callable[[str], Any] | None = getattr(logger, "info", None) if log is None else log
    if not callable(write):
        wrong = (
            f"logger is {logger!r:.80}, expected one of" if log is None else f"log is {log!r:.80}, expected"
        )
        raise DTypeError(f"fit: {wrong} {'logging' if log is None else 'a function'}")
    return write


def log_line(epoch: int, loss: float, speed: float) -> str:
    """A line in the lesson's form; `epoch` counts from 1, `speed` is in rows per second."""
    return f"epoch = {epoch}: loss = {loss:.4f} (Speed: {speed:.2f} sample/secs)"


def is_logged(epoch: int) -> bool:
    """Whether the lesson prints a line for this epoch: the first five and every tenth."""
    return epoch <= 5 or epoch % 10 == 0


class Speedometer:
    """Logs rows per second every `frequent` batches.

    `auto_reset` is MXNet's, which then logs metrics since the last time; here those of an epoch are logged at its end.
    """

    def __init__(self, batch_size: int, frequent: int = 50, auto_reset: bool = True) -> None:
        self.batch_size, self.frequent, self.auto_reset = batch_size, frequent, auto_reset
        self.since = time.perf_counter()

    def __call__(self, param: BatchEndParam) -> None:
        """Count a batch."""
        if param.nbatch % self.frequent == 0:
            now = time.perf_counter()
            speed = self.frequent * self.batch_size / (now - self.since)
            LOGGER.info("Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec", param.epoch, param.nbatch, speed)
            self.since = now


class ProgressBar:
    """Logs a bar of `length` signs that fills up in `total` batches."""

    def __init__(self, total: int, length: int = 80) -> None:
        self.total, self.bar_len = total, length

    def __call__(self, param: BatchEndParam) -> None:
        """Count a batch."""
        share = param.nbatch / self.total
        filled = round(self.bar_len * share)
        LOGGER.info("[%s] %s%%", "=" * filled + "-" * (self.bar_len - filled), math.ceil(100 * share))


class LogValidationMetricsCallback:
    """Logs what the metrics of an epoch are."""

    def __call__(self, param: BatchEndParam) -> None:
        """Log them."""
        for name, value in param.eval_metric.get_name_value() if param.eval_metric else ():
            LOGGER.info("Epoch[%d] Validation-%s=%f", param.epoch, name, value)


def log_train_metric(period: int, auto_reset: bool = False) -> Callable[[BatchEndParam], None]:
    """A callback that logs the metrics every `period` batches, and with `auto_reset` forgets them then."""

    def callback(param: BatchEndParam) -> None:
        if param.nbatch % period == 0 and param.eval_metric is not None:
            for name, value in param.eval_metric.get_name_value():
                LOGGER.info("Iter[%d] Batch[%d] Train-%s=%f", param.epoch, param.nbatch, name, value)
            if auto_reset:
                param.eval_metric.reset_local()

    return callback


def do_checkpoint(prefix: str, period: int = 1) -> Callable[..., None]:
    """A callback that writes `prefix-symbol.json` and `prefix-0001.params` every `period` epochs."""

    def callback(epoch: int, symbol: Any, arg_params: Any, aux_params: Any) -> None:
        if (epoch + 1) % max(1, period) == 0:
            save_checkpoint(prefix, epoch + 1, symbol, arg_params, aux_params)

    return callback
