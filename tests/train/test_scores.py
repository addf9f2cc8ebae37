"""Metrics against what MXNet 1.9.1 gave for the same random numbers, batch by batch."""

import json

import numpy as np
import pytest
from golden import DATA

from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.train.metric import CompositeEvalMetric, CustomMetric, EvalMetric, create, register

CASES = json.loads((DATA / "metrics.json").read_text())["cases"]


def batches(kind, seed):
    """The labels and predictions with which MXNet was asked."""
    r = np.random.RandomState(seed)
    make = {
        "classes": lambda n: (r.randint(0, 4, n), r.rand(n, 4)),
        "two": lambda n: (r.randint(0, 2, n), r.rand(n, 2)),
        "numbers": lambda n: (r.randn(n), r.randn(n)),
        "columns": lambda n: (r.randn(n, 3), r.randn(n, 3)),
        "sequence": lambda n: (r.randint(0, 4, (n, 2)), r.rand(2 * n, 4)),
    }[kind]
    return [make(n) for n in (6, 9, 4)]


@pytest.mark.parametrize(
    ("i", "case"), list(enumerate(CASES)), ids=lambda x: x if isinstance(x, int) else x["metric"]
)
def test_numbers_are_those_of_mxnet(i, case):
    metric = create(case["metric"], **case["settings"])
    for j, (label, pred) in enumerate(batches(case["kind"], i)):
        if j == 2:
            metric.reset_local()
        metric.update([label.astype("f")], [pred.astype("f")])
        local, whole = case["values"][j]
        if (
            case["metric"] == "pearsonr" and case["settings"]
        ):  # there only `reset` forgets, and no global sum is kept
            np.testing.assert_allclose(metric.get_global()[1], local, rtol=1e-5)
            continue
        np.testing.assert_allclose(metric.get()[1], local, rtol=1e-5, equal_nan=True)
        np.testing.assert_allclose(metric.get_global()[1], whole, rtol=1e-5, equal_nan=True)
    assert metric.get()[0] == case["name"]
    metric.reset()
    assert str(metric.get()[1]) == case["after_reset"]


def test_arrays_by_name_are_chosen():
    metric = create("mse", label_names=["y"], output_names=["out"])
    metric.update_dict({"y": np.ones(2), "z": np.zeros(2)}, {"out": np.zeros(2), "more": np.ones(2)})
    assert metric.get() == ("mse", 1.0)
    both = CompositeEvalMetric([metric, create("mae", label_names=["z"], output_names=["more"])])
    both.reset()
    both.update_dict({"y": np.ones(2), "z": np.zeros(2)}, {"out": np.zeros(2), "more": np.ones(2) * 3})
    assert both.get() == (["mse", "mae"], [1.0, 3.0])
    assert both.get_name_value() == [("mse", 1.0), ("mae", 3.0)]


def test_a_metric_of_ones_own_is_known_by_name():
    @register("longest")
    class Longest(EvalMetric):
        def __init__(self, name="longest", **more):
            super().__init__(name, **more)

        def update(self, labels, preds):
            for pred in preds:
                self.sum_metric = max(self.sum_metric, np.max(pred))
                self.num_inst = 1

    metric = create("longest")
    metric.update([None], [np.array([1.0, 4.0])])
    assert metric.get() == ("longest", 4.0)
    assert create(**metric.get_config()).get_config() == metric.get_config()


def test_a_function_may_leave_predictions_over():
    metric = CustomMetric(lambda label, pred: float(pred.sum()), "sum", allow_extra_outputs=True)
    metric.update([np.ones(1)], [np.array([2.0]), np.array([5.0])])
    assert metric.get() == ("sum", 2.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: create("topkaccuracy"), AttributeValueError, "top_k is 1, expected 2 or more"),
        (lambda: create("f1", average="all"), AttributeValueError, "average is 'all'"),
        (lambda: create("pearsonr", average="all"), AttributeValueError, "average is 'all'"),
        (lambda: create("f1").update([np.arange(3)], [np.ones((3, 2))]), AttributeValueError, "expected two classes"),
        (lambda: create("ce").update([np.arange(2)], [np.ones((3, 2))]), ShapeError, "2 labels for 3 rows"),
        (lambda: create("mse").update([np.ones(3)], []), ShapeError, "1 labels, but 0 predictions"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
