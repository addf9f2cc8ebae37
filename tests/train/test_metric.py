"""Accuracy and confusion tables, against MXNet 1.9.1, the lesson's tables, and counting by hand."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson.errors import AttributeValueError, DTypeError, NonFiniteError, ShapeError
from tinygrad_lesson.train import confusion
from tinygrad_lesson.train.metric import (
    Accuracy,
    CustomMetric,
    accuracy,
    confusion_table,
    create,
    format_confusion,
)

DATA = Path(__file__).parents[1] / "data"
REFERENCE = json.loads((DATA / "mxnet_reference.json").read_text())
PROBABILITIES = np.load(DATA / "mxnet_reference.npz")


def true_classes():
    rows = np.array(REFERENCE["test_rows_1based"]) - 1
    return np.loadtxt(DATA / "iris.csv", delimiter=",", skiprows=1)[rows, 4].astype(int)


@pytest.mark.parametrize("net", ["mlp4", "mlp8", "bn8", "bn25", "res6", "res25", "dense6", "leaky3"])
def test_tables_of_the_lesson_follow_from_its_probabilities(net):
    probabilities, classes = PROBABILITIES[f"{net}/test_probabilities"], true_classes()
    table = confusion_table(probabilities, np.eye(3)[classes], 3)
    assert table.tolist() == REFERENCE["mxnet_1_9_1"][net]["confusion"]
    assert accuracy(probabilities, classes) == np.trace(table) / 50


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_every_row_is_counted_once_where_it_belongs(pairs):
    predicted, true = np.array(pairs).T
    table = confusion_table(predicted, true, 4)
    for i in range(4):
        for j in range(4):
            assert table[i, j] == pairs.count((i, j))


def test_indices_a_single_column_and_one_hot_mean_the_same():
    predicted, true = np.array([0, 2, 1, 1]), np.array([0, 1, 1, 2])
    assert accuracy(predicted, true) == 0.5
    assert accuracy(predicted[:, None], np.eye(3)[true]) == 0.5
    assert accuracy(np.eye(3)[predicted], true.astype(np.float32)) == 0.5


def test_accuracy_over_batches_is_that_of_mxnet():
    counted = create("acc")  # the numbers: mx.metric.create("acc") of MXNet 1.9.1 on the same batches
    counted.update([[0, 1, 2, 1]], [[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]])
    assert counted.get() == ("accuracy", 0.5)
    counted.update([[2, 2]], [[[0, 0, 1], [1, 0, 0]]])
    assert counted.get() == ("accuracy", 0.5)
    counted.reset()
    assert np.isnan(counted.get()[1])


def test_more_rows_count_more():
    counted = Accuracy()
    counted.update([[0, 0, 0], [1]], [[0, 0, 0], [0]])
    assert counted.get() == ("accuracy", 0.75)


def test_the_examples_print_what_they_show():
    assert doctest.testmod(confusion) == (0, 2)


def test_tables_stand_side_by_side_under_their_headings():
    text = format_confusion([[100, 0], [0, 7]], ["a", "b"], [[1, 2], [3, 4]], ("ours", "theirs"))
    lines = text.splitlines()
    assert lines[0].split() == ["ours", "theirs"]
    assert [line.split() for line in lines[1:]] == [
        ["a", "b", "a", "b"],
        ["a", "100", "0", "a", "1", "2"],
        ["b", "0", "7", "b", "3", "4"],
    ]
    assert {line.index(cell) for line, cell in zip(lines[2:], ("a  1  2", "b  3  4"), strict=True)} == {
        lines[0].index("theirs")
    }


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: accuracy([0, 1], [0]), ShapeError, "2 rows are predicted, but 1 are true"),
        (lambda: accuracy([], []), ShapeError, "there are no rows"),
        (
            lambda: accuracy([0.7], [0]),
            AttributeValueError,
            "predicted class is 0.7, expected a whole number",
        ),
        (lambda: accuracy(np.ones((1, 2, 3)), [0]), ShapeError, r"predicted classes are \(1, 2, 3\)"),
        (lambda: confusion_table([3], [0], 3), AttributeValueError, "predicted class is 3, expected 0 to 2"),
        (lambda: confusion_table([0], [-1], 3), AttributeValueError, "true class is -1, expected 0 to 2"),
        (lambda: format_confusion([[1, 2]], ["a", "b"]), ShapeError, r"table is \(1, 2\)"),
        (lambda: create("f9"), AttributeValueError, "unknown metric 'f9'; known: acc, accuracy"),
        (lambda: Accuracy().update([[0]], []), ShapeError, "1 labels, but 0 predictions"),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@given(
    st.integers(2, 5),
    st.lists(st.integers(-2, 7), min_size=1, max_size=8),
    st.sampled_from([np.int64, np.float32, np.int8]),
)
def test_labels_that_are_no_column_are_refused_wherever_they_are_counted(kinds, labels, dtype):
    scores, true = np.random.RandomState(0).rand(len(labels), kinds), np.array(labels, dtype)
    counted = Accuracy()
    if set(labels) <= set(range(kinds)):
        assert accuracy(scores, true) == np.mean(scores.argmax(axis=1) == true)
        counted.update([true], [scores])
        assert counted.get()[1] == accuracy(scores, true[:, None])
        return
    for call in (lambda: accuracy(scores, true), lambda: counted.update([true], [scores])):
        with pytest.raises(AttributeValueError, match=f"labels are .*, expected 0 to {kinds - 1}"):
            call()
    assert np.isnan(counted.get()[1])


def test_classes_of_places_lie_along_the_second_axis_as_in_mxnet():
    scores, true = (
        np.random.RandomState(0).rand(4, 3, 2, 5),
        np.random.RandomState(1).randint(0, 3, (4, 2, 5)),
    )
    right = np.mean(scores.argmax(axis=1) == true)
    for label in (true, true.reshape(4, 10), true[:, None]):
        assert accuracy(scores, label) == right


def test_a_function_is_averaged_over_calls_or_by_the_counts_that_it_gives():
    mean = create(lambda label, prediction: np.abs(label - prediction).mean())
    mean.update([[1, 2]], [[1, 4]])
    mean.update([[0]], [[5]])
    assert mean.get() == ("custom(<lambda>)", 3)
    counted = CustomMetric(lambda label, prediction: (np.abs(label - prediction).sum(), len(label)), "mae")
    counted.update([[1, 2], [0]], [[1, 4], [5]])
    assert counted.get() == ("mae", pytest.approx(7 / 3))
    counted.reset()
    assert np.isnan(counted.get()[1])


def test_several_metrics_are_asked_together():
    both = create(["acc", lambda label, prediction: 2])
    both.update([[0, 1]], [[0, 0]])
    assert both.get() == (["accuracy", "custom(<lambda>)"], [0.5, 2])
    both.reset()
    assert np.isnan(both.get()[1]).all()
    assert create(both) is both
    assert isinstance(create(Accuracy), Accuracy)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: accuracy([[0.1, np.nan]], [0]), NonFiniteError, "predicted classes hold nan in row 0"),
        (lambda: accuracy([[0.1, 0.9]], [np.nan]), AttributeValueError, "true class is nan"),
        (lambda: accuracy([np.inf], [0]), AttributeValueError, "predicted class is inf"),
        (
            lambda: accuracy(np.eye(3), np.eye(4)[:3]),
            ShapeError,
            r"are \(3, 3\), but true classes are \(3, 4\)",
        ),
        (lambda: accuracy([[1j, 0]], [0]), DTypeError, "complex128, expected real numbers"),
        (lambda: accuracy([0], np.ma.masked_array([0])), DTypeError, "true classes is a masked array"),
        (lambda: accuracy(["a"], [0]), DTypeError, "<U1, expected real numbers"),
        (lambda: create([]), AttributeValueError, "the list is empty"),
        (lambda: create(None), DTypeError, "metric is None, expected a name, a function"),
        (lambda: create(["acc", "f9"]), AttributeValueError, "unknown metric 'f9'"),
        (lambda: create(lambda a, b: "x").update([[0]], [[0]]), DTypeError, "gives 'x', expected a number"),
    ],
    ids=range(11),
)
def test_what_would_be_counted_wrong_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
