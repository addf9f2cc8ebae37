"""Attributes by position, in the order in which MXNet 1.9.1 documents them, and values that it takes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.mxnet.register import OPERATORS

X, W = sym.Variable("x"), sym.Variable("w")
CALLS = {
    "clip": (lambda: sym.clip(X, 0, 6), {"a_min": "0", "a_max": "6"}),
    "reshape": (lambda: X.reshape((2, 3)), {"shape": "(2, 3)"}),
    "sum": (lambda: X.sum(1), {"axis": "1"}),
    "Dropout": (lambda: sym.Dropout(X, 0.5), {"p": "0.5"}),
    "Activation": (lambda: sym.Activation(X, "relu"), {"act_type": "relu"}),
    "LeakyReLU": (lambda: sym.LeakyReLU(X, None, "leaky", 0.1), {"act_type": "leaky", "slope": "0.1"}),
    "LRN": (lambda: sym.LRN(X, 0.1, 0.5, 2.0, 3), {"alpha": "0.1", "beta": "0.5", "knorm": "2.0", "nsize": "3"}),
    "Pad": (
        lambda: sym.Pad(X, "constant", (0, 0, 0, 0, 1, 1, 1, 1)),
        {"mode": "constant", "pad_width": "(0, 0, 0, 0, 1, 1, 1, 1)"},
    ),
    "Convolution": (
        lambda: sym.Convolution(X, W, None, (2, 2), (1, 1), (1, 1), (0, 0), 4, 1, 1024, True),
        {
            "kernel": "(2, 2)", "stride": "(1, 1)", "dilate": "(1, 1)", "pad": "(0, 0)", "num_filter": "4",
            "num_group": "1", "workspace": "1024", "no_bias": "True",
        },
    ),
}  # fmt: skip


# Inputs and attributes of each operator in the signatures of `mx.sym` in MXNet 1.9.1.
ORDER = json.loads((Path(__file__).parents[1] / "data" / "positions.json").read_text())
STATES_ARE_INPUTS = {
    "BatchNorm_v1",
    "IdentityAttachKLSparseReg",
}  # MXNet makes the states of these two itself


@pytest.mark.parametrize("name", sorted(ORDER.keys() - STATES_ARE_INPUTS))
def test_attributes_have_the_places_that_mxnet_has_for_them(name):
    names = ORDER[name].split()
    known = OPERATORS[name]
    inputs, attributes = known.by_position(names, {})
    assert list(inputs) == names[: len(inputs)]
    assert attributes == {key: key for key in names[len(inputs) :]}
    assert len(inputs) <= len(known.inputs or getattr(known.build, "inputs", ()))


@pytest.mark.parametrize("name", CALLS)
def test_an_attribute_may_be_given_by_its_position(name):
    call, attributes = CALLS[name]
    assert call().list_attr() == attributes


def test_an_attribute_that_is_given_twice_or_one_too_many_is_refused():
    with pytest.raises(AttributeValueError, match="clip: a_min is given twice"):
        sym.clip(X, 0, a_min=1, a_max=2)
    with pytest.raises(
        AttributeValueError, match="clip: 4 inputs and attributes given, it takes data, a_min, a_max"
    ):
        sym.clip(X, 0, 1, 2)


def test_an_input_of_none_is_left_out():
    net = sym.Convolution(X, W, None, no_bias=True, kernel=(2, 2), num_filter=2)
    assert net.list_arguments() == ["x", "w"]


def test_a_shape_of_one_axis_may_be_a_size():
    net = sym.Convolution(X, kernel=2, num_filter=3, name="c")
    assert net.infer_shape(x=(4, 2, 7))[1] == [(4, 3, 6)]


def test_infinity_among_the_attributes_survives_a_file():
    net = sym.load_json(sym.clip(X, a_min=-math.inf, a_max=math.inf).tojson())
    np.testing.assert_array_equal(net.eval(x=np.array([-8, 5]))[0].asnumpy(), [-8, 5])


def test_broadcast_to_keeps_an_axis_of_0():
    net = sym.broadcast_to(X, shape=(2, 0, 4))
    assert net.infer_shape(x=(1, 3, 1))[1] == [(2, 3, 4)]
    with pytest.raises(ShapeError, match="expected sizes of 1"):
        net.infer_shape(x=(3, 3, 1))


def test_sizes_of_concat_follow_from_any_part_and_from_the_result():
    net = sym.Concat(X, W, dim=1)
    assert net.infer_shape_partial(x=(2, 3))[0] == [(2, 3), (2, 0)]
    assert net.infer_shape_partial(x=(0, 3), w=(5, 4)) == ([(5, 3), (5, 4)], [(5, 7)], [])
    both = net + sym.Variable("y", shape=(2, 8))
    assert both.infer_shape(x=(2, 3))[0] == [(2, 3), (2, 5), (2, 8)]


def test_operators_stand_under_contrib_and_linalg_too():
    assert sym.contrib.div_sqrt_dim(X).list_outputs()[0].startswith("div_sqrt_dim")
    net = sym.linalg.gemm2(X, W, name="g")
    assert (net.list_outputs(), net.get_children().list_outputs()) == (["g_output"], ["x", "w"])
    with pytest.raises(AttributeError, match="_contrib_nothing"):
        sym.contrib.nothing(X)


def test_the_sparse_regularizer_adds_the_slope_of_a_divergence():
    rho, penalty, momentum = 0.2, 0.5, 0.9
    data = np.random.default_rng(3).uniform(0.1, 0.9, (4, 3)).astype(np.float32)
    average, g = np.full(3, 0.4, np.float32), np.ones((4, 3), np.float32)
    net = sym.IdentityAttachKLSparseReg(
        X, sparseness_target=rho, penalty=penalty, momentum=momentum, name="k"
    )
    gradient, state = np.zeros_like(data), {"k_moving_avg": average.copy()}
    executor = net.bind(cpu(), {"x": data}, args_grad={"x": gradient}, aux_states=state)
    np.testing.assert_array_equal(executor.forward(is_train=True)[0].asnumpy(), data)
    executor.backward([g])
    new = momentum * average + (1 - momentum) * data.mean(axis=0)
    np.testing.assert_allclose(gradient, 1 + penalty * ((1 - rho) / (1 - new) - rho / new) * g, rtol=1e-5)
    np.testing.assert_allclose(state["k_moving_avg"], new, rtol=1e-6)


def test_upsampling_between_pixels_is_a_deconvolution_by_hat_functions():
    net = sym.UpSampling(X, W, scale=2, sample_type="bilinear", num_filter=1)
    hat = np.array([0.25, 0.75, 0.75, 0.25])
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    y = net.eval(x=x, w=np.outer(hat, hat).astype(np.float32)[None, None])[0].asnumpy()
    at = (np.arange(6) + 0.5) / 2 - 0.5
    inside = slice(1, 5)
    np.testing.assert_allclose(y[0, 0, inside, inside], (3 * at[:, None] + at)[inside, inside], rtol=1e-6)


def test_a_softmax_may_be_given_its_element_type():
    y = sym.softmax(X, dtype="float64").eval(x=np.array([[1, 2]], np.float32))[0].asnumpy()
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, [[1 / (1 + np.e), np.e / (1 + np.e)]], rtol=1e-15)


def test_what_mxnet_requires_is_missed_before_it_becomes_one():
    with pytest.raises(AttributeValueError, match="attribute 'num_filter' is missing"):
        sym.Deconvolution(X, kernel=(2, 2))
