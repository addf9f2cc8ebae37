"""`mx.model`: models that are trained as a whole, and their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_lesson.mxnet import params
from tinygrad_lesson.mxnet.invoked import NDArray, as_ndarray
from tinygrad_lesson.mxnet.params import save_checkpoint
from tinygrad_lesson.train import feedforward
from tinygrad_lesson.train.callback import BatchEndParam


class FeedForward(feedforward.FeedForward):
    """A network that learns, as `tinygrad_lesson.FeedForward`, whose parameters are MXNet's arrays."""

    @property  # type: ignore[override]
    def arg_params(self) -> dict[str, NDArray] | None:
        """Arguments by name, as MXNet's arrays; None before there are any."""
        return self._arguments

    @arg_params.setter
    def arg_params(self, arrays: Mapping[str, Any] | None) -> None:
        self._arguments = None if arrays is None else as_ndarrays(arrays)

    @property  # type: ignore[override]
    def aux_params(self) -> dict[str, NDArray]:
        """States by name, as MXNet's arrays."""
        return self._states

    @aux_params.setter
    def aux_params(self, arrays: Mapping[str, Any]) -> None:
        self._states = as_ndarrays(arrays)


def as_ndarrays(arrays: Mapping[str, Any]) -> dict[str, NDArray]:
    """Arrays of NumPy as MXNet's, in the same memory."""
    return {name: x if isinstance(x, NDArray) else as_ndarray(x) for name, x in arrays.items()}


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
