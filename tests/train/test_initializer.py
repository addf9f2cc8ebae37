"""Initializers, against what MXNet 1.9.1 draws: its golden statistics are those of seed 11."""

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.random import MXNetGenerator, default_generator, seed
from tinygrad_lesson.train.initializer import (
    INITIALIZERS,
    Constant,
    MSRAPrelu,
    Uniform,
    Xavier,
    create,
    from_attribute,
)

DATA = Path(__file__).parents[1] / "data"
GOLDEN = json.loads((DATA / "initializers.json").read_text())
LESSON = np.load(DATA / "mxnet_reference.npz")


@pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda c: f"{c['initializer']}-{c['arguments']}-{c['shape']}"
)
def test_weights_have_the_statistics_of_those_of_mxnet(case):
    initializer = create(case["initializer"], **case["arguments"])
    drawn = initializer("fc_weight", case["shape"], MXNetGenerator(11)).astype(float)
    ours = [drawn.mean(), drawn.std(), drawn.min(), drawn.max()]
    # One unit in the last place of float32, for MXNet reads sqrt(3) from text with two roundings.
    np.testing.assert_allclose(ours, [case[key] for key in ("mean", "std", "min", "max")], rtol=2.4e-7)


# MXNet knows moving averages by an attribute of the variable, or by name when asked in its older way.
BY_NAME = [case for case in GOLDEN["dispatch_by_name"] if "_moving_" not in case["name"]]


@pytest.mark.parametrize("case", BY_NAME, ids=lambda case: case["name"])
def test_a_name_gets_the_rule_that_mxnet_gives_it(case):
    name = case["name"]
    if "error" in case:
        with pytest.raises(AttributeValueError, match=name):
            Constant(3.0)(name, (2, 2))
    else:
        np.testing.assert_array_equal(Constant(3.0)(name, (2, 2)), np.full((2, 2), case["result"]))


@pytest.mark.parametrize(
    ("name", "value"), [("bn1_moving_mean", 0), ("bn1_moving_var", 1), ("x_moving_avg", 0)]
)
def test_moving_averages_begin_as_those_of_mxnet_do(name, value):
    np.testing.assert_array_equal(Uniform()(name, (3,)), [value] * 3)


@pytest.mark.parametrize(
    ("net", "shapes"),
    [("mlp4", [(10, 4), (10, 10)]), ("bn8", [(10, 4), (10, 10)]), ("res6", [(3, 4), (3, 3)])],
)
def test_first_weights_of_the_lesson_are_those_of_mxnet(net, shapes):
    generator = MXNetGenerator(0)
    for name, shape in zip(("fc1_weight", "fc2_weight"), shapes, strict=True):
        drawn = Uniform(0.01)(name, shape, generator)
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(drawn, LESSON[f"{net}/init/{name}"])


def test_the_default_generator_serves_where_none_is_given():
    seed(0)
    np.testing.assert_array_equal(Uniform(0.01)("fc1_weight", (10, 4)), LESSON["mlp4/init/fc1_weight"])
    assert default_generator().seed == 0


def test_the_attribute_of_a_variable_goes_before_its_name():
    attribute = '["constant", {"value": 0.5}]'
    np.testing.assert_array_equal(Uniform()("fc_bias", (2,), attribute=attribute), [0.5, 0.5])


def test_values_come_in_the_type_asked_for():
    for name in ("fc_weight", "fc_bias"):
        assert Uniform()(name, (2, 2), dtype=np.float64).dtype == np.float64
    assert Uniform()("foo", (2, 2), dtype=np.float64, attribute="ones").dtype == np.float64


@pytest.mark.parametrize("name", INITIALIZERS)
def test_an_initializer_written_as_text_is_read_as_itself(name):
    initializer = create(name)
    assert from_attribute(initializer.dumps()) == initializer


def test_the_text_is_the_one_that_mxnet_writes():
    assert create("normal", sigma=0.5).dumps() == '["normal", {"sigma": 0.5}]'
    assert MSRAPrelu().dumps() == '["msraprelu", {"factor_type": "avg", "slope": 0.25}]'
    assert from_attribute("zeros") == create("Zero")


@pytest.mark.parametrize(
    "text", ["[", "[1, 2]", '["uniform"]', '["uniform", [1]]', '["uniform", {}, 3]', "[" * 5000]
)
def test_a_text_that_is_no_initializer_is_refused(text):
    with pytest.raises(AttributeValueError, match="__init__ is"):
        from_attribute(text)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("xaver", {}, "unknown initializer 'xaver'; known: constant, msraprelu"),
        ("uniform", {"sigma": 1}, "Uniform: unknown argument 'sigma'; expected scale"),
        ("zero", {"scale": 1}, "Zero: unknown argument 'scale'; it takes none"),
        ("uniform", {"scale": "x"}, "Uniform: scale is 'x', expected a finite number"),
        ("constant", {"value": float("nan")}, "Constant: value is nan"),
        ("xavier", {"rnd_type": "normal"}, "rnd_type is 'normal', expected uniform or gaussian"),
        ("xavier", {"factor_type": "both"}, "factor_type is 'both', expected avg, in or out"),
        ("msraprelu", {"factor_type": "both"}, "factor_type is 'both', expected avg, in or out"),
        ("xavier", {"magnitude": -1}, "magnitude is -1, expected 0 or more"),
    ],
)
def test_a_wrong_setting_is_named(name, arguments, message):
    with pytest.raises(AttributeValueError, match=message):
        create(name, **arguments)


@pytest.mark.parametrize("shape", [(5,), (0, 3)])
def test_xavier_needs_two_axes(shape):
    with pytest.raises(ShapeError, match=r"fc_weight.*expected at least two axes"):
        Xavier()("fc_weight", shape)
