"""Metrics: how good predictions are, summed up over batches; what one is, accuracy, and several as one.

Source
    MXNet 1.9, ``mx.metric``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, ShapeError
from tinygrad_lesson.mxnet.bound import as_numbers
from tinygrad_lesson.train.confusion import accuracy as accuracy
from tinygrad_lesson.train.confusion import class_indices
from tinygrad_lesson.train.confusion import confusion_table as confusion_table
from tinygrad_lesson.train.confusion import format_confusion as format_confusion

Array = npt.NDArray[Any]
Arrays = Sequence[npt.ArrayLike]


@runtime_checkable
class Metric(Protocol):
    """What a metric must have, ours and one of your own."""

    def reset(self) -> None:
        """Forget all rows."""

    def update(self, labels: Arrays, preds: Arrays) -> None:
        """Count the rows of one batch: a list of labels, a list of predictions."""

    def get(self) -> tuple[Any, Any]:
        """The name and the number, or a list of each."""


class EvalMetric:
    """An average of what batches give: one of your own is a subclass with `update`, or `score`.

    `score` says of one label and one prediction what is added and how much it counts for. `get` is about the
    batches since `reset` or `reset_local`, `get_global` about all since `reset`.

    Source
        MXNet 1.9, ``mx.metric.EvalMetric``.
    """

    def __init__(
        self,
        name: str,
        output_names: Sequence[str] | None = None,
        label_names: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        """Start without rows; `output_names` and `label_names` choose what `update_dict` takes."""
        self.name, self.output_names, self.label_names = str(name), output_names, label_names
        settings.pop("has_global_stats", None)
        self._kwargs = settings
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self.global_sum_metric: Any = 0
        self.global_num_inst: Any = 0
        self.reset_local()

    def reset_local(self) -> None:
        """Forget the rows, but for what `get_global` tells."""
        self.sum_metric: Any = 0
        self.num_inst: Any = 0

    def count(self, total: Any, rows: Any) -> None:
        """Add what some rows give together."""
        self.sum_metric += total
        self.num_inst += rows
        self.global_sum_metric += total
        self.global_num_inst += rows

    def update(self, labels: Arrays, preds: Arrays) -> None:
        """Count the rows of one batch: a list of labels, a list of predictions."""
        for label, pred in _pairs(self.name, labels, preds):
            self.count(*self.score(as_numbers(label, "labels"), as_numbers(pred, "predictions")))

    def score(self, label: Array, pred: Array) -> tuple[Any, Any]:
        """What is added for these rows, and how much they count for."""
        raise NotImplementedError

    def update_dict(self, label: Mapping[str, Any], pred: Mapping[str, Any]) -> None:
        """As `update`, with arrays by name."""
        labels = [label[name] for name in self.label_names or label]
        self.update(labels, [pred[name] for name in self.output_names or pred])

    def get(self) -> tuple[Any, Any]:
        """The name and the number; NaN if there were no rows."""
        return self.name, self.value(self.sum_metric, self.num_inst)

    def get_global(self) -> tuple[Any, Any]:
        """The name and the number of all rows since `reset`."""
        return self.name, self.value(self.global_sum_metric, self.global_num_inst)

    def value(self, total: Any, rows: Any) -> float:
        """The number, from what was added up."""
        return total / rows if rows else float("nan")

    def get_name_value(self) -> list[tuple[str, Any]]:
        """The name and the number of each metric in it."""
        return _told(*self.get())

    def get_global_name_value(self) -> list[tuple[str, Any]]:
        """The name and the number of each metric in it, of all rows since `reset`."""
        return _told(*self.get_global())

    def get_config(self) -> dict[str, Any]:
        """What `create` makes the same metric from."""
        names = {"output_names": self.output_names, "label_names": self.label_names}
        return {**self._kwargs, "metric": type(self).__name__, "name": self.name, **names}

    def __str__(self) -> str:
        return f"EvalMetric: {dict(self.get_name_value())}"


class Accuracy(EvalMetric):
    """The share of rows predicted right, over all batches since `reset`.

    Source
        MXNet 1.9, ``mx.metric.Accuracy``. Not as there, a label that is none of the classes is refused.
    """

    def __init__(self, axis: int = 1, name: str = "accuracy", **more: Any) -> None:
        """Start without rows; classes lie along `axis`."""
        self.axis = axis
        super().__init__(name, axis=axis, **more)

    def score(self, label: Array, pred: Array) -> tuple[int, int]:
        """How many rows are right, of how many."""
        if pred.ndim > 2 and self.axis not in (1, 1 - pred.ndim):
            pred = np.moveaxis(pred, self.axis, 1)
        predicted, true = class_indices(pred, label)
        return int(np.sum(predicted == true)), predicted.size


class CustomMetric(EvalMetric):
    """What a function of labels and predictions gives, on average over the calls since `reset`.

    The function gives a number, or a sum and the number of what was added up.

    Source
        MXNet 1.9, ``mx.metric.CustomMetric``.
    """

    def __init__(
        self,
        feval: Callable[[Array, Array], Any],
        name: str | None = None,
        allow_extra_outputs: bool = False,
        **more: Any,
    ) -> None:
        """Start without rows; with `allow_extra_outputs` there may be more predictions than labels."""
        self.feval, self.allow_extra_outputs = feval, allow_extra_outputs
        own = str(getattr(feval, "__name__", type(feval).__name__))
        settings: dict[str, Any] = {"feval": feval, "allow_extra_outputs": allow_extra_outputs}
        super().__init__(name or (f"custom({own})" if "<" in own else own), **settings, **more)

    def update(self, labels: Arrays, preds: Arrays) -> None:
        """Ask the function about one batch: a list of labels, a list of predictions."""
        super().update(labels, preds[: len(labels)] if self.allow_extra_outputs else preds)

    def score(self, label: Array, pred: Array) -> tuple[float, int]:
        """What the function gives."""
        given = self.feval(np.asarray(label), np.asarray(pred))
        try:
            total, count = given if isinstance(given, tuple) else (given, 1)
            return float(total), int(count)
        except (TypeError, ValueError):
            raise DTypeError(
                f"metric {self.name} gives {given!r:.80}, expected a number, or a sum and a count"
            ) from None


class CompositeEvalMetric(EvalMetric):
    """Several metrics of the same rows."""

    def __init__(self, metrics: Sequence[Any] | None = None, name: str = "composite", **more: Any) -> None:
        """Start without rows; the metrics are what `create` takes, and `add` brings more."""
        if metrics is not None and not metrics:
            raise AttributeValueError("metrics: the list is empty, expected one at least")
        self.metrics: list[Any] = [create(metric) for metric in metrics or ()]
        super().__init__(name, **more)

    def add(self, metric: Any) -> None:
        """One more."""
        self.metrics.append(create(metric))

    def get_config(self) -> dict[str, Any]:
        """What `create` makes the same metric from, with those of its metrics."""
        return {**super().get_config(), "metrics": [metric.get_config() for metric in self.metrics]}

    def get_metric(self, index: int) -> Any:
        """That number."""
        return self.metrics[index]

    def reset(self) -> None:
        """Forget all rows."""
        for metric in self.metrics:
            metric.reset()

    def reset_local(self) -> None:
        """Forget the rows, but for what `get_global` tells."""
        for metric in self.metrics:
            getattr(metric, "reset_local", metric.reset)()

    def update(self, labels: Arrays, preds: Arrays) -> None:
        """Count the rows of one batch: a list of labels, a list of predictions."""
        for metric in self.metrics:
            metric.update(labels, preds)

    def update_dict(self, label: Mapping[str, Any], pred: Mapping[str, Any]) -> None:
        """As `update`, with arrays by name, of which each metric takes its own."""
        labels = {name: label[name] for name in label if name in (self.label_names or label)}
        preds = {name: pred[name] for name in pred if name in (self.output_names or pred)}
        for metric in self.metrics:
            metric.update_dict(labels, preds)  # type: ignore[attr-defined]

    def get(self) -> tuple[list[Any], list[Any]]:
        """The names and the numbers."""
        return flat([metric.get() for metric in self.metrics])

    def get_global(self) -> tuple[list[Any], list[Any]]:
        """The names and the numbers of all rows since `reset`."""
        return flat([getattr(metric, "get_global", metric.get)() for metric in self.metrics])


def flat(found: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Names and numbers of several metrics, of which some have several."""
    pairs = [
        pair
        for names, values in found
        for pair in (zip(names, values, strict=True) if isinstance(names, list) else [(names, values)])
    ]
    return [name for name, _ in pairs], [value for _, value in pairs]


METRICS: dict[str, Callable[..., Any]] = {
    "acc": Accuracy,
    "accuracy": Accuracy,
    "composite": CompositeEvalMetric,
    "compositeevalmetric": CompositeEvalMetric,
    "custommetric": CustomMetric,
}


def register(*names: str) -> Callable[[type[EvalMetric]], type[EvalMetric]]:
    """Make a metric known to `create` under the name of its class, and under these."""

    def add(cls: type[EvalMetric]) -> type[EvalMetric]:
        METRICS.update(dict.fromkeys((cls.__name__.lower(), *names), cls))
        return cls

    return add


def create(metric: Any, *given: Any, **settings: Any) -> Metric:
    """A metric from its name, in any case, from a function of (label, prediction), or from a list of these.

    What follows is for a metric that is made: ``create("topkaccuracy", top_k=3)``.

    Errors
        AttributeValueError if there is none of this name; DTypeError for anything else.
    """
    if isinstance(metric, str):
        if metric.lower() not in METRICS:
            raise AttributeValueError(f"unknown metric {metric!r}; known: {', '.join(sorted(METRICS))}")
        made: Metric = METRICS[metric.lower()](*given, **settings)
        return made
    if isinstance(metric, type):
        return create(metric(*given, **settings))
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, list | tuple):
        return CompositeEvalMetric(metric)
    if callable(metric):
        return CustomMetric(metric, *given, **settings)
    raise DTypeError(
        f"metric is {metric!r:.80}, expected a name, a function of (label, prediction), or a list"
    )


def _told(names: Any, values: Any) -> list[tuple[str, Any]]:
    """Each name with its number; there is one of both, or lists."""
    return list(zip(names, values, strict=True)) if isinstance(names, list) else [(names, values)]


def _pairs(name: str, labels: Arrays, preds: Arrays) -> list[tuple[npt.ArrayLike, npt.ArrayLike]]:
    """Labels with their predictions, which must be as many."""
    if len(labels) != len(preds):
        raise ShapeError(f"{name}: {len(labels)} labels, but {len(preds)} predictions")
    return list(zip(labels, preds, strict=True))
