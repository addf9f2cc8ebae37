"""Prediction by hand, held against what MXNet 1.9.1 predicts from the same weights.

`by_hand.npz` has the networks as they began and after 20 updates, and MXNet's own probabilities for 20 rows.
"""

from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson.errors import AttributeValueError, BindError
from tinygrad_lesson.lesson.by_hand import by_hand

FILE = Path(__file__).parents[1] / "data" / "by_hand.npz"


def golden(name, when):
    """Arguments, auxiliary states, rows and MXNet's probabilities of a network."""
    with np.load(FILE) as file:
        arguments, auxiliary = (
            {key.rsplit("/", 1)[1]: file[key] for key in file if key.startswith(f"{name}/{when}/{kind}/")}
            for kind in ("arg", "aux")
        )
        return arguments, auxiliary, file[f"{name}/data"], file[f"{name}/{when}/predict"]


@pytest.mark.parametrize("when", ["initial", "after20"])
@pytest.mark.parametrize("name", ["bn8", "res6", "dense6"])
def test_probabilities_are_those_of_mxnet(name, when):
    arguments, auxiliary, rows, expected = golden(name, when)
    np.testing.assert_allclose(by_hand(name, arguments, auxiliary, rows), expected, rtol=1e-5, strict=True)


def test_one_row_alone_gives_one_row_of_probabilities():
    arguments, auxiliary, rows, expected = golden("dense6", "after20")
    np.testing.assert_allclose(by_hand("dense6", arguments, auxiliary, rows[3]), expected[3], rtol=1e-5)


def test_a_fixed_gamma_counts_as_1_whatever_its_array_holds():
    arguments, auxiliary, rows, expected = golden("bn8", "after20")
    arguments["bn3_gamma"] = np.full(10, 7, np.float32)
    np.testing.assert_allclose(by_hand("bn8", arguments, auxiliary, rows), expected, rtol=1e-5)


def test_large_weights_do_not_overflow():
    arguments, auxiliary, rows, _ = golden("res6", "initial")
    huge = {name: array * 1000 for name, array in arguments.items()}
    probabilities = by_hand("res6", huge, auxiliary, rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_an_unknown_network_is_refused_by_name():
    with pytest.raises(AttributeValueError, match="no network 'vgg', expected one of bn8, res6, dense6"):
        by_hand("vgg", {}, {}, np.zeros((1, 4)))


def test_a_missing_array_is_named():
    arguments, auxiliary, rows, _ = golden("bn8", "initial")
    del auxiliary["bn4_moving_var"]
    with pytest.raises(BindError, match="bn8 needs an array 'bn4_moving_var'"):
        by_hand("bn8", arguments, auxiliary, rows)
