"""Metrics beside accuracy: of classes, of numbers, of losses.

Source
    MXNet 1.9, ``mx.metric``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.train.metric import Array, EvalMetric, register


def of_rows(what: str, label: Array, pred: Array) -> Array:
    """The label of each row as a whole number.

    Errors
        ShapeError for another number of labels than rows.
    """
    if label.size != len(pred):
        raise ShapeError(f"{what}: {label.size} labels for {len(pred)} rows of predictions")
    return label.reshape(-1).astype(np.int64)


@register("top_k_accuracy", "top_k_acc")
class TopKAccuracy(EvalMetric):
    """The share of rows whose class is among the `top_k` largest predictions."""

    def __init__(self, top_k: int = 1, name: str = "top_k_accuracy", **more: Any) -> None:
        """Start without rows."""
        if top_k < 2:
            raise AttributeValueError(
                f"TopKAccuracy: top_k is {top_k!r}, expected 2 or more; or use Accuracy"
            )
        self.top_k = top_k
        super().__init__(name, top_k=top_k, **more)
        self.name += f"_{top_k}"

    def score(self, label: Array, pred: Array) -> tuple[int, int]:
        """How many rows are right, of how many."""
        if pred.ndim > 2:
            raise ShapeError(f"{self.name}: predictions are {pred.shape}, expected two axes at most")
        true = of_rows(self.name, label, pred)
        order = np.argpartition(pred.astype(np.float32), -min(self.top_k, pred.shape[-1]))
        best = order[:, None] if pred.ndim == 1 else order[:, -min(self.top_k, pred.shape[1]) :]
        return int(np.sum(best == true[:, None])), len(true)


class Binary(EvalMetric):
    """A number from how many rows of two classes were taken for which.

    With ``average="macro"`` it is that of each batch, on average; with ``"micro"`` that of all rows together.
    """

    def __init__(self, name: str, average: str = "macro", **more: Any) -> None:
        """Start without rows."""
        if average not in ("macro", "micro"):
            raise AttributeValueError(f"{name}: average is {average!r}, expected macro or micro")
        self.average = average
        super().__init__(name, **more)

    def reset_local(self) -> None:
        """Forget the rows, but for what `get_global` tells."""
        super().reset_local()
        if self.average == "micro":
            self.sum_metric = np.zeros((2, 2))

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        if self.average == "micro":
            self.global_sum_metric = np.zeros((2, 2))

    def update(self, labels: Any, preds: Any) -> None:
        """Count the rows of one batch; several pairs of labels and predictions count as one."""
        tables = EvalMetric(self.name)
        tables.score = self.table  # type: ignore[method-assign]
        tables.update(labels, preds)
        if self.average == "macro":
            self.count(self.of_table(tables.sum_metric), 1)
        else:
            self.count(tables.sum_metric, tables.num_inst)

    def table(self, label: Array, pred: Array) -> tuple[Array, int]:
        """How many rows of each class (columns) were taken for which (rows)."""
        true = of_rows(self.name, label, pred)
        if len(np.unique(true)) > 2:
            raise AttributeValueError(
                f"{self.name}: labels are {np.unique(true)[:4]}..., expected two classes"
            )
        taken, is_one = pred.argmax(axis=1) == 1, true == 1
        return np.array([[np.sum((taken == i) & (is_one == j)) for j in (0, 1)] for i in (0, 1)]), len(true)

    def value(self, total: Any, rows: Any) -> float:
        """The number, from what was added up."""
        if self.average == "macro" or not rows:
            return super().value(total, rows)
        return self.of_table(total)

    def of_table(self, table: Array) -> float:
        """The number of one table."""
        raise NotImplementedError


@register()
class F1(Binary):
    """The harmonic mean of precision and recall of class 1."""

    def __init__(self, name: str = "f1", average: str = "macro", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, average, **more)

    def of_table(self, table: Array) -> float:
        """Of one table; 0 where nothing was right."""
        right = float(table[1, 1])
        return 2 * right / (float(table[1].sum()) + float(table[:, 1].sum())) if right else 0.0


@register()
class MCC(Binary):
    """Matthews' correlation of two classes."""

    def __init__(self, name: str = "mcc", average: str = "macro", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, average, **more)

    def of_table(self, table: Array) -> float:
        """Of one table; sums that are 0 are left out below."""
        (right0, wrong0), (wrong1, right1) = table.astype(float)
        sums = [float(x) for x in (*table.sum(axis=0), *table.sum(axis=1)) if x]
        return float(right1 * right0 - wrong1 * wrong0) / math.sqrt(math.prod(sums))


@register()
class PCC(EvalMetric):
    """The correlation of several classes, which generalizes `MCC`; NaN where one class is all there is."""

    def __init__(self, name: str = "pcc", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, **more)

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        self.global_sum_metric = np.zeros((2, 2))

    def reset_local(self) -> None:
        """Forget the rows, but for what `get_global` tells."""
        super().reset_local()
        self.sum_metric = np.zeros((2, 2))

    def score(self, label: Array, pred: Array) -> tuple[Array, int]:
        """A table of classes; the others grow to its size."""
        taken = (pred.argmax(axis=1) if pred.shape != label.shape else pred).astype(int).reshape(-1)
        true = label.astype(int).reshape(-1)
        kinds = max(taken.max() + 1, true.max() + 1, len(self.global_sum_metric))
        table = np.bincount(taken * kinds + true, minlength=kinds * kinds).reshape(kinds, kinds)
        for total in ("sum_metric", "global_sum_metric"):
            old = getattr(self, total)
            setattr(self, total, np.pad(old, (0, kinds - len(old))))
        return table, 1

    def value(self, total: Any, rows: Any) -> float:
        """The correlation."""
        n, x, y = total.sum(), total.sum(axis=1), total.sum(axis=0)
        spread = np.sum(x * (n - x)) * np.sum(y * (n - y))
        return float(np.sum(total.diagonal() * n - x * y) / spread**0.5) if spread else float("nan")


@register()
class Perplexity(EvalMetric):
    """``exp`` of the mean of ``-log p`` of the true classes, which lie along `axis`; `ignore_label` does not count."""

    def __init__(
        self, ignore_label: int | None = None, axis: int = -1, name: str = "perplexity", **more: Any
    ) -> None:
        """Start without rows."""
        self.ignore_label, self.axis = ignore_label, axis
        super().__init__(name, ignore_label=ignore_label, axis=axis, **more)

    def score(self, label: Array, pred: Array) -> tuple[float, int]:
        """The sum of ``-log p``, and how many count."""
        rows = np.moveaxis(pred, self.axis, -1).reshape(-1, pred.shape[self.axis])
        true = of_rows(self.name, label, rows)
        counted = np.ones(len(true), bool) if self.ignore_label is None else true != self.ignore_label
        inside = np.clip(true, 0, rows.shape[1] - 1)  # as `pick` does
        p = rows[np.arange(len(true)), inside][counted]
        return -float(np.sum(np.log(np.maximum(p, 1e-10)))), int(counted.sum())

    def value(self, total: Any, rows: Any) -> float:
        """The number, from what was added up."""
        return math.exp(total / rows) if rows else float("nan")


class Distance(EvalMetric):
    """A mean over elements, of each batch, on average over the batches."""

    def score(self, label: Array, pred: Array) -> tuple[float, int]:
        """That of one batch; one axis stands for a column."""
        columns = [x.reshape(len(x), 1) if x.ndim == 1 else x for x in (label, pred)]
        return self.mean(columns[0] - columns[1]), 1

    def mean(self, difference: Array) -> float:
        """The mean."""
        raise NotImplementedError


@register()
class MAE(Distance):
    """The mean of ``|label - prediction|``."""

    def __init__(self, name: str = "mae", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, **more)

    def mean(self, difference: Array) -> float:
        """Of the sizes."""
        return float(np.abs(difference).mean())


@register()
class MSE(Distance):
    """The mean of ``(label - prediction)**2``."""

    def __init__(self, name: str = "mse", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, **more)

    def mean(self, difference: Array) -> float:
        """Of the squares."""
        return float((difference**2.0).mean())


@register()
class RMSE(MSE):
    """The root of the mean of ``(label - prediction)**2``, batch by batch."""

    def __init__(self, name: str = "rmse", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, **more)

    def mean(self, difference: Array) -> float:
        """The root."""
        return math.sqrt(super().mean(difference))


@register("ce")
class CrossEntropy(EvalMetric):
    """The mean of ``-log(p + eps)`` of the true classes."""

    def __init__(self, eps: float = 1e-12, name: str = "cross-entropy", **more: Any) -> None:
        """Start without rows."""
        self.eps = eps
        super().__init__(name, eps=eps, **more)

    def score(self, label: Array, pred: Array) -> tuple[float, int]:
        """The sum, and how many rows."""
        true = of_rows(self.name, label, pred)
        return float(-np.log(pred[np.arange(len(true)), true] + self.eps).sum()), len(true)


@register("nll_loss")
class NegativeLogLikelihood(CrossEntropy):
    """As `CrossEntropy`."""

    def __init__(self, eps: float = 1e-12, name: str = "nll-loss", **more: Any) -> None:
        """Start without rows."""
        super().__init__(eps, name, **more)


@register("pearsonr")
class PearsonCorrelation(EvalMetric):
    """The correlation of labels and predictions: of each batch, on average (``"macro"``), or of all (``"micro"``)."""

    def __init__(self, name: str = "pearsonr", average: str = "macro", **more: Any) -> None:
        """Start without rows."""
        if average not in ("macro", "micro"):
            raise AttributeValueError(f"{name}: average is {average!r}, expected macro or micro")
        self.average = average
        super().__init__(name, **more)

    def score(self, label: Array, pred: Array) -> tuple[Any, int]:
        """The correlation of a batch, or sums of it: rows, both, their squares and their product."""
        if label.size != pred.size:
            raise ShapeError(f"{self.name}: {label.size} labels, but {pred.size} predictions")
        x, y = label.reshape(-1).astype(float), pred.reshape(-1).astype(float)
        if self.average == "macro":
            return np.corrcoef(y, x)[0, 1], 1
        return np.array([x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y]), 1

    def value(self, total: Any, rows: Any) -> float:
        """The number, from what was added up."""
        if self.average == "macro" or not rows:
            return super().value(total, rows)
        n, x, y, xx, yy, xy = total
        return float((n * xy - x * y) / math.sqrt((n * xx - x * x) * (n * yy - y * y)))


@register()
class Loss(EvalMetric):
    """The mean of the predictions, which are losses; labels do not count."""

    def __init__(self, name: str = "loss", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, **more)

    def update(self, labels: Any, preds: Any) -> None:
        """Count the losses of one batch."""
        for pred in preds if isinstance(preds, list | tuple) else [preds]:
            losses = np.asarray(pred)
            self.count(float(losses.sum()), losses.size)


@register()
class Torch(Loss):
    """`Loss` under the name that it has for losses of Torch."""

    def __init__(self, name: str = "torch", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, **more)


@register()
class Caffe(Loss):
    """`Loss` under the name that it has for losses of Caffe."""

    def __init__(self, name: str = "caffe", **more: Any) -> None:
        """Start without rows."""
        super().__init__(name, **more)
