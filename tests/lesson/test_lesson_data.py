"""The lesson's rows, held against the lists in `mxnet_reference.json` and facts known of R's iris."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson.lesson.data import iris, load, split

REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "mxnet_reference.json").read_text())


def test_iris_has_the_means_that_r_prints():
    features, classes = iris()
    # R: aggregate(. ~ Species, iris, mean)
    means = [[5.006, 3.428, 1.462, 0.246], [5.936, 2.770, 4.260, 1.326], [6.588, 2.974, 5.552, 2.026]]
    np.testing.assert_allclose([features[classes == k].mean(axis=0) for k in range(3)], means, rtol=1e-6)
    assert features.dtype == np.float32
    assert np.bincount(classes).tolist() == [50, 50, 50]


def test_rows_that_r_and_others_disagree_about_are_those_of_r():
    features, _ = iris()  # the copy of the UCI repository has 0.1 in row 35, and 3.1 and 0.1 in row 38
    np.testing.assert_array_equal(features[34], np.float32([4.9, 3.1, 1.5, 0.2]))
    np.testing.assert_array_equal(features[37], np.float32([4.9, 3.6, 1.4, 0.1]))


def test_the_split_is_that_of_r():
    train, test = split()
    assert (train + 1).tolist() == REFERENCE["train_rows_1based"]
    assert (test + 1).tolist() == REFERENCE["test_rows_1based"]


@pytest.mark.parametrize("seed", [1, 2026])
def test_another_seed_divides_the_rows_in_another_way(seed):
    train, test = split(seed)
    assert sorted([*train, *test]) == list(range(150))
    assert train.tolist() != split()[0].tolist()


def test_a_lesson_holds_the_drawn_rows_and_their_kinds():
    features, classes = iris()
    lesson = load()
    train = np.array(REFERENCE["train_rows_1based"]) - 1
    test = np.array(REFERENCE["test_rows_1based"]) - 1
    np.testing.assert_array_equal(lesson.train_data, features[train], strict=True)
    np.testing.assert_array_equal(lesson.test_data, features[test], strict=True)
    np.testing.assert_array_equal(lesson.train_label.argmax(axis=1), classes[train])
    np.testing.assert_array_equal(lesson.test_label.sum(axis=0), [18, 15, 17])  # as the lesson's tables
    assert lesson.train_label.shape == (100, 3)
    assert lesson.train_label.dtype == np.float32
    assert set(np.unique(lesson.train_label)) == {0, 1}
    assert lesson.kinds == ("setosa", "versicolor", "virginica")


def test_the_rows_are_found_from_another_folder(tmp_path):
    code = "from tinygrad_lesson.lesson.data import iris; print(iris()[0].shape)"
    path = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "(150, 4)\n"
