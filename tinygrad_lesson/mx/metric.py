"""`mx.metric`: how good predictions are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.mxnet.ndarray import NDArray
from tinygrad_lesson.train.metric import (
    METRICS,
    Accuracy,
    CompositeEvalMetric,
    CustomMetric,
    EvalMetric,
)
from tinygrad_lesson.train.metric import create as made
from tinygrad_lesson.train.metric import register as alias
from tinygrad_lesson.train.scores import (
    F1,
    MAE,
    MCC,
    MSE,
    PCC,
    RMSE,
    Caffe,
    CrossEntropy,
    Loss,
    NegativeLogLikelihood,
    PearsonCorrelation,
    Perplexity,
    TopKAccuracy,
    Torch,
)


def create(metric: Any, *given: Any, **settings: Any) -> Any:
    """A metric from its name, a function, a list of these, or the JSON of what `get_config` of a metric gives."""
    if isinstance(metric, str) and metric.startswith("{"):
        return create(**json.loads(metric))
    if "metrics" in settings:
        settings["metrics"] = [
            create(**part) if isinstance(part, dict) else part for part in settings["metrics"]
        ]
    return made(metric, *given, **settings)


def register(klass: type[Any]) -> type[Any]:
    """Make a metric of one's own known to `create`, by the name of its class."""
    METRICS[klass.__name__.lower()] = klass
    return klass


def check_label_shapes(labels: Any, preds: Any, wrap: bool = False, shape: bool = False) -> tuple[Any, Any]:
    """The given `labels` and `preds`, refused unless there are as many of both, or with `shape` of equal shapes.

    With `wrap` an array comes back as a list of it.

    Errors
        ShapeError
    """
    given = [x.shape if shape else len(x) for x in (labels, preds)]
    if given[0] != given[1]:
        raise ShapeError("Shape of labels {} does not match shape of predictions {}".format(*given))
    labels, preds = ([x] if wrap and isinstance(x, NDArray) else x for x in (labels, preds))
    return labels, preds


def np(
    numpy_feval: Callable[[Any, Any], Any], name: str | None = None, allow_extra_outputs: bool = False
) -> CustomMetric:
    """A metric from a function of the label and the prediction."""
    return CustomMetric(numpy_feval, name, allow_extra_outputs)


__all__ = [
    "F1", "MAE", "MCC", "MSE", "PCC", "RMSE", "Accuracy", "Caffe", "CompositeEvalMetric", "CrossEntropy",
    "CustomMetric", "EvalMetric", "Loss", "NegativeLogLikelihood", "PearsonCorrelation", "Perplexity",
    "TopKAccuracy", "Torch", "alias", "check_label_shapes", "create", "np", "register",
]  # fmt: skip
