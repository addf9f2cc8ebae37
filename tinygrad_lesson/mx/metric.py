"""`mx.metric`: how good predictions are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_lesson.train.metric import (
    METRICS,
    Accuracy,
    CompositeEvalMetric,
    CustomMetric,
    EvalMetric,
    create,
)
from tinygrad_lesson.train.metric import register as alias
from tinygrad_lesson.train.scores import (
    F1,
    MAE,
    MCC,
    MSE,
    PCC,
    RMSE,
    CrossEntropy,
    Loss,
    NegativeLogLikelihood,
    PearsonCorrelation,
    Perplexity,
    TopKAccuracy,
)


def register(klass: type[Any]) -> type[Any]:
    """Make a metric of one's own known to `create`, by the name of its class."""
    METRICS[klass.__name__.lower()] = klass
    return klass


def np(
    numpy_feval: Callable[[Any, Any], Any], name: str | None = None, allow_extra_outputs: bool = False
) -> CustomMetric:
    """A metric from a function of the label and the prediction."""
    return CustomMetric(numpy_feval, name, allow_extra_outputs)


__all__ = [
    "F1", "MAE", "MCC", "MSE", "PCC", "RMSE", "Accuracy", "CompositeEvalMetric", "CrossEntropy", "CustomMetric",
    "EvalMetric", "Loss", "NegativeLogLikelihood", "PearsonCorrelation", "Perplexity", "TopKAccuracy", "alias",
    "create", "np", "register",
]  # fmt: skip
