"""`mx.model`: models that are trained as a whole, and their files."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.mxnet import params
from tinygrad_lesson.mxnet.invoked import NDArray, as_ndarray
from tinygrad_lesson.mxnet.params import save_checkpoint
from tinygrad_lesson.train.callback import BatchEndParam
from tinygrad_lesson.train.feedforward import FeedForward


def load_checkpoint(prefix: str, epoch: int) -> tuple[Any, dict[str, NDArray], dict[str, NDArray]]:
    """Symbol, arguments and auxiliary states of a checkpoint.

    Errors
        FormatError naming the file and the place in it that is wrong.
    """
    symbol, *parts = params.load_checkpoint(prefix, epoch)
    arguments, states = ({name: as_ndarray(x) for name, x in part.items()} for part in parts)
    return symbol, arguments, states


def load_params(prefix: str, epoch: int) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Arguments and auxiliary states of a checkpoint."""
    return load_checkpoint(prefix, epoch)[1:]


__all__ = ["BatchEndParam", "FeedForward", "load_checkpoint", "load_params", "save_checkpoint"]
