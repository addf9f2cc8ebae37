"""Accuracy and confusion tables, against MXNet 1.9.1, the lesson's tables, and counting by hand."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.train import metric
from tinygrad_lesson.train.metric import Accuracy, accuracy, confusion_table, create, format_confusion

DATA = Path(__file__).parent / "data"
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
    assert doctest.testmod(metric) == (0, 2)


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
        (lambda: create("f1"), AttributeValueError, "unknown metric 'f1'; known: acc, accuracy"),
        (lambda: Accuracy().update([[0]], []), ShapeError, "1 labels, but 0 predictions"),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
