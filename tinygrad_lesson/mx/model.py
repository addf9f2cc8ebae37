"""`mx.model`: models that are trained as a whole, and their files."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, cpu
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.mx.io import NDArrayIter, ResizeIter
from tinygrad_lesson.mxnet import params
from tinygrad_lesson.mxnet.invoked import NDArray, as_ndarray
from tinygrad_lesson.mxnet.params import save_checkpoint
from tinygrad_lesson.train import feedforward
from tinygrad_lesson.train.callback import BatchEndParam


class FeedForward(feedforward.FeedForward):
    """A network that learns, as `tinygrad_lesson.FeedForward`, whose parameters are MXNet's arrays.

    Of several devices the first does all the work.

    Errors
        AttributeValueError for an `epoch_size`, which is told to the iterator here.
    """

    def __init__(
        self, symbol: Any, ctx: Any = None, num_epoch: int | None = None, epoch_size: int | None = None,
        *more: Any, **settings: Any,
    ) -> None:  # fmt: skip
        if epoch_size is not None:
            raise AttributeValueError(
                f"FeedForward: epoch_size is {epoch_size}; give fit mx.io.ResizeIter(data, {epoch_size}) instead"
            )
        first = ctx if ctx is None or isinstance(ctx, Context) else ctx[0]
        super().__init__(symbol, first or cpu(), num_epoch, *more, **settings)

    def fit(  # type: ignore[override]
        self, X: Any, y: Any = None, eval_data: Any = None, eval_metric: Any = "acc", epoch_end_callback: Any = None,
        batch_end_callback: Any = None, kvstore: Any = "local", logger: Any = None, work_load_list: Any = None,
        monitor: Any = None, eval_end_callback: Any = None, eval_batch_end_callback: Any = None, **more: Any,
    ) -> Any:  # fmt: skip
        """As `tinygrad_lesson.FeedForward.fit`, with arguments in MXNet's order.

        Errors
            AttributeValueError for a monitor, or a callback of an evaluation, which `mx.mod.Module` has.
        """
        elsewhere = {
            "monitor": monitor, "eval_end_callback": eval_end_callback,
            "eval_batch_end_callback": eval_batch_end_callback,
        }  # fmt: skip
        for name, given in elsewhere.items():
            if given is not None:
                raise AttributeValueError(
                    f"FeedForward.fit: {name} is not here; mx.mod.Module(...).fit takes it"
                )
        return super().fit(
            X,
            y,
            eval_data,
            eval_metric,
            epoch_end_callback,
            batch_end_callback,
            logger,
            kvstore=kvstore,
            **more,
        )

    def score(  # type: ignore[override]
        self, X: Any, eval_metric: Any = "acc", num_batch: int | None = None, batch_end_callback: Any = None,
        reset: bool = True, y: Any = None,
    ) -> Any:  # fmt: skip
        """As `tinygrad_lesson.FeedForward.score`, with arguments in MXNet's order; of `num_batch` batches if given.

        Errors
            AttributeValueError for a callback, and for an iterator that is not to begin anew: `mx.mod.Module` has both.
        """
        for name, given in (
            ("batch_end_callback", batch_end_callback is not None),
            ("reset=False", not reset),
        ):
            if given:
                raise AttributeValueError(
                    f"FeedForward.score: {name} is not here; mx.mod.Module(...).score takes it"
                )
        if num_batch is not None:
            X, y = ResizeIter(self.rows(X, y), num_batch), None
        return super().score(X, y, eval_metric)

    def predict(  # type: ignore[override]
        self, X: Any, num_batch: int | None = None, return_data: bool = False, reset: bool = True
    ) -> Any:  # fmt: skip
        """As `tinygrad_lesson.FeedForward.predict`; with `return_data` a list of answers, data and labels.

        Errors
            AttributeValueError for an iterator that is not to begin anew.
        """
        if not reset:
            raise AttributeValueError(
                "FeedForward.predict: reset=False is not here; mx.mod.Module(...).predict takes it"
            )
        answers = super().predict(X, num_batch)
        if not return_data:
            return answers
        batches = self.rows(X)
        batches.reset()
        parts: list[list[Any]] = [[], []]
        for batch in itertools.islice(batches, num_batch):
            for part, (array, *_) in zip(parts, (batch.data, batch.label), strict=True):
                part.append(array.asnumpy()[: len(array) - (batch.pad or 0)])
        return [answers, *map(np.concatenate, parts)]

    def rows(self, X: Any, y: Any = None) -> Any:
        """An iterator over rows, which may be one already."""
        if hasattr(X, "provide_data"):
            return X
        return NDArrayIter(X, y, batch_size=min(self.numpy_batch_size, len(X)))

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
    arguments, states = map(as_ndarrays, parts)
    return symbol, arguments, states


def load_params(prefix: str, epoch: int) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Arguments and auxiliary states of a checkpoint, whatever its network is."""
    arguments, states = map(as_ndarrays, params.load_parameters(prefix, epoch))
    return arguments, states


__all__ = ["BatchEndParam", "FeedForward", "load_checkpoint", "load_params", "save_checkpoint"]
