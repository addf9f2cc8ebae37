"""Initializers, against what MXNet 1.9.1 draws: its golden statistics are those of seed 11."""

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson import mx
from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.random import MXNetGenerator, default_generator, seed
from tinygrad_lesson.symbol.params import save_params
from tinygrad_lesson.train.initializer import (
    INITIALIZERS,
    Constant,
    InitDesc,
    Initializer,
    MSRAPrelu,
    Uniform,
    Xavier,
    create,
    from_attribute,
)
from tinygrad_lesson.train.structured import Load, Mixed

DATA = Path(__file__).parents[1] / "data"
GOLDEN = json.loads((DATA / "initializers.json").read_text())
EXACT = np.load(DATA / "filled.npz")
LESSON = np.load(DATA / "mxnet_reference.npz")


@pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda c: f"{c['initializer']}-{c['arguments']}-{c['shape']}"
)
def test_weights_have_the_statistics_of_those_of_mxnet(case):
    initializer = create(case["initializer"], **case["arguments"])
    drawn = initializer("fc_weight", case["shape"], MXNetGenerator(11)).astype(float)
    ours = [drawn.mean(), drawn.std(), drawn.min(), drawn.max()]
    # One unit in the last place of float32, for MXNet reads sqrt(3) from text with two roundings.
    theirs = [case[key] for key in ("mean", "std", "min", "max")]
    if "gram_diagonal_mean" in case:  # LAPACK is free to turn the signs of singular vectors
        ours, theirs = ([np.hypot(mean, std)] for mean, std, *_ in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=2.4e-7)


@pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda c: f"{c['initializer']}-{c['arguments']}-{c['shape']}"
)
def test_an_array_is_filled_as_mxnet_fills_it(case):
    seed(11)
    array = np.full(case["shape"], 7, np.float32)
    assert create(case["initializer"], **case["arguments"])(InitDesc("fc_weight"), array) is None
    seed(11)
    expected = create(case["initializer"], **case["arguments"])("fc_weight", case["shape"])
    np.testing.assert_array_equal(array, expected)
    exact = f"{case['initializer']}_{'x'.join(map(str, case['shape']))}"
    if exact in EXACT:
        np.testing.assert_array_equal(array, EXACT[exact])
    if "gram_diagonal_mean" in case:
        rows = array.reshape(len(array), -1).astype(float)
        gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
        np.testing.assert_allclose(gram.diagonal().mean(), case["gram_diagonal_mean"], rtol=1e-6)
        np.testing.assert_allclose(gram - np.diag(gram.diagonal()), 0, atol=1e-6)


def test_every_exact_array_of_mxnet_is_among_the_cases():
    shapes = {f"{c['initializer']}_{'x'.join(map(str, c['shape']))}" for c in GOLDEN["cases"]}
    assert set(EXACT) <= shapes


@pytest.mark.parametrize("case", GOLDEN["dispatch_by_name"], ids=lambda case: case["name"])
def test_a_described_name_gets_the_rule_that_mxnet_gives_it(case):
    array = np.full((2, 2), 7, np.float32)
    if "error" in case:
        with pytest.raises(ValueError, match=case["name"]):
            Constant(3.0)(InitDesc(case["name"]), array)
    else:
        Constant(3.0)(InitDesc(case["name"]), array)
        np.testing.assert_array_equal(array, np.full((2, 2), case["result"]))


def test_a_description_may_bring_an_initializer_of_its_own():
    array = np.zeros(3, np.float32)
    desc = InitDesc("bn_moving_var", {"__init__": '["constant", {"value": 0.5}]'})
    Uniform()(desc, array)
    np.testing.assert_array_equal(array, [0.5] * 3)
    assert desc.global_init == Uniform()


class Halves(Initializer):
    """One that is written as users of MXNet write it."""

    def __init__(self, value=0.5):
        super().__init__(value=value)
        self.value = value

    def _init_weight(self, name, array):
        array[:] = self.value

    def _init_bias(self, name, array):
        array[:] = 2

    def _init_default(self, name, array):
        array[:] = 9


def test_an_initializer_of_ones_own_fills_arrays():
    for name, value in (("fc_weight", 0.25), ("fc_bias", 2), ("bn_gamma", 1), ("odd", 9)):
        np.testing.assert_array_equal(Halves(0.25)(name, (2,), MXNetGenerator(0)), [value] * 2)
    assert Halves(0.25).dumps() == '["halves", {"value": 0.25}]'
    assert Halves(0.25) == Halves(0.25) != Halves(1)


def test_mixed_takes_the_first_pattern_that_fits():
    mixed = Mixed(["fc1_.*", ".*"], [Constant(1.0), Constant(2.0)])
    np.testing.assert_array_equal(mixed("fc1_weight", (1,)), [1])
    np.testing.assert_array_equal(mixed("fc2_weight", (1,)), [2])
    array = np.zeros(1, np.float32)
    mixed(InitDesc("fc2_weight"), array)
    assert array == 2
    with pytest.raises(AttributeValueError, match=r"no pattern fits 'a_weight'; add \"\.\*\""):
        Mixed(["b"], [Constant()])("a_weight", (1,))
    with pytest.raises(AttributeValueError, match="2 patterns, but 1 initializers"):
        Mixed(["a", "b"], [Constant()])


def test_load_takes_arrays_by_name(tmp_path):
    save_params(tmp_path / "a.params", {"arg:fc_weight": np.arange(2.0, dtype="f")})
    for given in (str(tmp_path / "a.params"), {"fc_weight": np.arange(2.0)}):
        load = Load(given, default_init=Constant(3.0))
        np.testing.assert_array_equal(load("fc_weight", (2,)), [0, 1])
        np.testing.assert_array_equal(load("other_weight", (1,)), [3])
        array = np.ones(2, np.float32)
        load(InitDesc("fc_weight"), array)
        np.testing.assert_array_equal(array, [0, 1])
        with pytest.raises(ShapeError, match=r"fc_weight is \(2,\) where it was saved, expected \(3,\)"):
            load("fc_weight", (3,))
    with pytest.raises(AttributeValueError, match="no array 'fc_wait' and no default_init"):
        Load({"fc_weight": np.ones(1)})("fc_wait", (1,))


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


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name != "fusedrnn"])  # it needs sizes
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
        ("xaver", {}, "unknown initializer 'xaver'; known: bilinear, constant"),
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


@pytest.mark.parametrize("given", [np.arange(6.0).reshape(2, 3), mx.nd.array(np.arange(6.0).reshape(2, 3))])
def test_constant_takes_an_array(given):
    initializer = mx.init.Constant(given)
    assert initializer.dumps() == '["constant", {"value": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]}]'
    np.testing.assert_array_equal(initializer("fc_weight", (2, 3)), np.arange(6.0).reshape(2, 3))
    assert mx.init.Constant(1).dumps() == '["constant", {"value": 1}]'
    with pytest.raises(ShapeError, match=r"value is \(2, 3\), expected \(3, 2\) for fc_weight"):
        initializer("fc_weight", (3, 2))


def test_plain_text_names_that_mxnet_knows_by_their_beginning():
    array = np.full((1, 1, 4, 4), 9.0, np.float32)
    mx.init.Normal(0.2)("upsampling_weight", array)
    np.testing.assert_allclose(array[0, 0, 0], [0.0625, 0.1875, 0.1875, 0.0625])  # MXNet 1.9.1
    mx.init.Normal(0.2)("stn_loc_weight", array)
    assert not array.any()
    bias = np.full(6, 9.0, np.float32)
    mx.init.Normal(0.2)("stn_loc_bias", bias)
    assert bias.tolist() == [1, 0, 0, 0, 1, 0]
    mx.init.Zero()(mx.init.InitDesc("upsampling_weight"), array)
    assert not array.any()
