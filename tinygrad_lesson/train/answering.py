"""The answers of a `FeedForward`: for rows, for the batches of an iterator, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, host_copy
from tinygrad_lesson.engine.errors import BindError, ShapeError
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train import metric
from tinygrad_lesson.train.classes import per_label
from tinygrad_lesson.train.data import NDArrayIter, as_batches, as_pair, is_iterator
from tinygrad_lesson.train.history import Arrays
from tinygrad_lesson.train.predictors import Predictors
from tinygrad_lesson.train.rows import as_rows, as_size, count_rows


class Answering:
    """How a model answers: by an executor of its prediction for each shape of a batch."""

    symbol: Symbol
    prediction: Symbol
    ctx: Context
    numpy_batch_size: int
    arg_params: Arrays | None
    aux_params: Arrays
    predictors: Predictors

    def predict(self, X: Any, num_batch: int | None = None) -> np.ndarray:
        """Answers for rows of an array, or for the rows of an iterator, in its order and each of them once.

        Shapes
            (rows, ...) -> (rows, results)
        """
        return self.answers(X, num_batch)[0]

    def answers(self, X: Any, num_batch: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Answers, and the labels that the batches carried, if any."""
        num_batch = None if num_batch is None else as_size(num_batch, "predict: num_batch")
        plain = type(X) is np.ndarray and X.dtype.kind in "fiub"
        if not plain and not is_iterator(X):
            X = X[0] if isinstance(X, tuple) and len(X) == 2 else X  # without labels, which are not asked for
            X = as_rows(
                X, "predict: X", isinstance(X, list) and "_0_data" in self.prediction.list_arguments()
            )
            plain = isinstance(X, np.ndarray)
        if plain and X.ndim and 0 < len(X) <= self.numpy_batch_size and num_batch != 0:
            X = np.asarray(X, np.float32)  # one batch, without ado
            return self.answer({"data": X}), None
        if not is_iterator(X):
            size = as_size(self.numpy_batch_size, "numpy_batch_size")
            X = NDArrayIter(X, batch_size=min(size, max(1, count_rows(X))))
        iterator: Any = X.once() if isinstance(X, NDArrayIter) else X
        names = self.prediction.list_arguments()
        told = {name for name, *_ in getattr(iterator, "provide_label", None) or ()}
        results, labels = [], []
        for number, (batch, pad) in enumerate(as_batches(iterator)):
            if number == num_batch:
                break
            rows = len(next(iter(batch.values()))) - pad
            given = {name: array for name, array in batch.items() if name in names}
            results.append(self.answer(given)[:rows])
            labels += [
                array[:rows] for name, array in batch.items() if name.endswith("label") or name in told
            ]
        if not results:
            raise ShapeError("predict: there are no rows")
        return np.concatenate(results), np.concatenate(labels) if labels else None

    def answer(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first output for one batch. Threads wait for each other."""
        with self.predictors.lock:
            executor = self.predictor(batch)
            executor.run(False, batch)
            return host_copy(executor.outputs_now[0])

    def predictor(self, batch: Mapping[str, np.ndarray]) -> Executor:
        """An executor of the prediction for batches of this shape."""
        if self.arg_params is None:
            raise BindError("predict: there are no parameters yet; call fit or load first")
        key = tuple([(name, array.shape) for name, array in batch.items()])
        known = self.predictors.find(key, self.arg_params, self.aux_params)
        if known is not None:
            return known
        shapes: dict[str, Any] = {name: array.shape for name, array in batch.items()}
        executor = self.bind_prediction(shapes)
        missing = [
            n
            for n in executor.arguments
            if n not in batch and n not in self.arg_params and not n.endswith("label")
        ]
        if missing:
            raise BindError(f"predict: there is no value for {missing[0]!r}")
        return self.predictors.add(key, executor, self.arg_params, self.aux_params)

    def bind_prediction(self, shapes: dict[str, Any]) -> Executor:
        """An executor of the prediction, refused where a parameter does not fit rows of this shape."""
        executor = self.prediction.simple_bind(self.ctx, "null", None, **shapes)
        for name, value in (self.arg_params or {}).items():
            wanted = executor.arguments[name].shape if name in executor.arguments else value.shape
            if value.shape != wanted:
                given = ", ".join(f"{n} {show(shape)}" for n, shape in shapes.items())
                raise ShapeError(
                    f"predict: {name!r} is {show(value.shape)}, expected {show(wanted)} for rows {given}: the "
                    "parameter or the rows have another shape than in training"
                )
        return executor

    def score(self, X: Any, y: Any = None, eval_metric: Any = "acc") -> Any:
        """Accuracy, or another metric, on labelled rows: a number, or a list of them for a list of metrics.

        `eval_metric` is a name, a function of (label, prediction) that gives a number, a metric, or a list of these.
        Where the network ends in `SoftmaxOutput` a metric gets a row for each label that is not ignored.

        Errors
            BindError if there are no labels.
        """
        measure = metric.create(eval_metric)
        if y is not None or isinstance(X, tuple):
            X, y = as_pair(X if y is None else (X, y), "score")
        if y is not None and isinstance(X, NDArrayIter) and X.shuffle:
            raise BindError("score: X is an iterator that shuffles, so its rows are not in the order of y")
        predicted, true = self.answers(X)
        true = true if y is None else y
        if true is None:
            raise BindError("score: there are no labels; give y, or an iterator with a label")
        predicted, true = per_label(self.symbol, predicted, true)
        measure.reset()
        measure.update([true], [predicted])
        return measure.get()[1]
