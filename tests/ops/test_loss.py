"""Where gradients begin and where they end; `softmax_output.json` was computed by MXNet 1.9.1."""

import json

import numpy as np
import pytest
from golden import DATA
from hypothesis import given
from hypothesis import strategies as st
from test_golden_ops import CASES, symbol_of

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, sym
from tinygrad_lesson.errors import AttributeValueError, BindError, ShapeError
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.symbol import NameManager

FACTS = json.loads((DATA / "softmax_output.json").read_text())
SHAPES = [
    *FACTS["shapes"],
    *[
        {
            "attrs": {"multi_output": True} if "multi" in fact["source"] else {},
            "data": fact["given"]["a"], "label": None, "found": fact["result"]["args"],
        }
        for fact in json.loads((DATA / "golden_symbol.json").read_text())["infer_shape"]
        if fact["source"].startswith("SoftmaxOutput")
    ],
]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "slope"),
    [
        ({}, 1), ({"grad_scale": 3.0}, 3), ({"normalization": "batch"}, 1),  # of one row, as in MXNet
        ({"normalization": "valid"}, 1 / 3), ({"normalization": "valid", "valid_thresh": 9.0}, 1),
    ],
)  # fmt: skip
def test_the_gradient_of_a_loss_begins_with_its_scale_whatever_comes_from_above(attributes, slope):
    x = Tensor([1.0, -1.0, 2.0, 3.0], requires_grad=True)
    (tl.make_loss(x, **attributes) * 100).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(4, slope))


def test_an_unknown_normalization_is_refused():
    with pytest.raises(
        AttributeValueError, match="normalization is 'rows', expected one of 'null', 'batch', 'valid'"
    ):
        tl.make_loss(np.ones(3), normalization="rows")


def test_no_gradient_passes_a_stop():
    x = Tensor([2.0], requires_grad=True)
    y = x * tl.stop_gradient(x)
    y.backward()
    assert x.grad.numpy().tolist() == [2]
    assert not tl.stop_gradient(x).requires_grad


def softmax_output(**attributes):
    return sym.SoftmaxOutput(sym.Variable("data"), sym.Variable("label"), name="out", **attributes)


@pytest.mark.parametrize("fact", FACTS["cases"], ids=lambda fact: fact["case"])
@pytest.mark.parametrize("runner", available_runners())
def test_softmax_output_and_its_gradient_are_those_of_mxnet(fact, runner):
    data, label, output, gradient = (
        np.array(fact[key], np.float32) for key in ("data", "label", "output", "gradient")
    )
    x = Tensor(data, requires_grad=True)
    y = tl.softmax_output(x, label, **fact["attrs"])
    y.backward(np.full_like(data, 100))
    executor = softmax_output(**fact["attrs"]).simple_bind(
        tl.cpu(), {"data": "write", "label": "null"}, runner=runner, data=data.shape, label=label.shape
    )
    executor.forward(is_train=True, data=data, label=label)
    executor.backward()
    for found in (y.numpy(), executor.outputs[0]):
        np.testing.assert_allclose(found, output, rtol=1e-5, atol=1e-7)
    for found in (x.grad.numpy(), executor.grad_dict["data"]):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fact", SHAPES, ids=lambda fact: f"{fact['attrs']} {fact['data']} {fact['label']}")
def test_the_label_of_a_softmax_output_is_inferred_as_in_mxnet(fact):
    given = {key: tuple(fact[key]) for key in ("data", "label") if fact[key]}
    symbol = softmax_output(**fact["attrs"])
    if fact["found"] is None:
        with pytest.raises(ShapeError, match=r"out \(SoftmaxOutput\): label is"):
            symbol.infer_shape(**given)
    else:
        assert symbol.infer_shape(**given)[0] == [tuple(shape) for shape in fact["found"]]


def test_the_rows_of_a_softmax_output_are_inferred_from_its_label():
    net = sym.FullyConnected(sym.Variable("data", shape=(0, 5)), num_hidden=3, name="fc")
    net = sym.SoftmaxOutput(net, name="softmax")
    assert net.infer_shape(softmax_label=(4,)) == ([(4, 5), (3, 5), (3,), (4,)], [(4, 3)], [])


@pytest.mark.parametrize(
    ("shapes", "attributes", "message"),
    [
        (
            {"data": (20, 3), "label": (20, 1)}, {},
            "out (SoftmaxOutput): label is (20, 1), expected (20,) with a class in each place or (20, 3) with probabilities\n"
            "  data   (20, 3)   given to infer_shape as 'data'\n"
            "  label  (20, 1)   given to infer_shape as 'label'",
        ),
        (
            {"data": (2, 3, 4), "label": (2, 3)}, {},
            "out (SoftmaxOutput): label is (2, 3), expected (2, 3, 4) with probabilities, since the softmax runs over all "
            "numbers of a row; for class numbers say multi_output=True, with the classes along axis 1, or "
            "preserve_shape=True, along the last\n"
            "  data   (2, 3, 4)   given to infer_shape as 'data'\n"
            "  label  (2, 3)      given to infer_shape as 'label'",
        ),
        (
            {"data": (2, 3, 4), "label": (2, 3)}, {"multi_output": True},
            "out (SoftmaxOutput): label is (2, 3), expected (2, 4) with a class in each place or (2, 1, 4) with a class in "
            "each place or (2, 3, 4) with probabilities\n"
            "  data   (2, 3, 4)   given to infer_shape as 'data'\n"
            "  label  (2, 3)      given to infer_shape as 'label'\n"
            "  multi_output = True",
        ),
        (
            {"data": (5,)}, {},
            "out (SoftmaxOutput): data is (5,), expected (batch, classes), or more axes\n"
            "  data   (5,)      given to infer_shape as 'data'\n"
            "  label  unknown   variable 'label'",
        ),
    ],
)  # fmt: skip
def test_a_label_that_does_not_fit_is_named_with_what_would(shapes, attributes, message):
    with pytest.raises(ShapeError) as caught:
        softmax_output(**attributes).infer_shape(**shapes)
    assert str(caught.value) == message
    if "label" in shapes:
        with pytest.raises(ShapeError, match=r"SoftmaxOutput\(.*\): label is"):
            tl.softmax_output(*[np.zeros(shape) for shape in shapes.values()], **attributes)


def test_softmax_output_is_named_as_in_mxnet_under_its_old_name_too():
    assert sym.SoftmaxOutput(sym.Variable("x")).list_arguments()[-1].startswith("softmaxoutput")
    with NameManager():
        old = sym.Softmax(sym.Variable("x"))
    assert old.list_arguments() == ["x", "softmax0_label"]
    assert json.loads(old.tojson())["nodes"][-1]["op"] == "SoftmaxOutput"
    assert sym.load_json(old.tojson().replace('"SoftmaxOutput"', '"Softmax"')).tojson() == old.tojson()


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    label=st.lists(
        st.sampled_from([0, 1.9, 2, -0.5, -1, 3, np.inf, -np.inf, np.nan]), min_size=4, max_size=4
    ),
    alpha=st.sampled_from([0.0, 0.3]),
    multi_output=st.booleans(),
)
def test_a_label_that_is_nan_has_a_gradient_of_nan_and_one_that_names_no_class_that_of_zeros(
    runner, dtype, label, alpha, multi_output
):
    label = np.array(label, dtype)
    data = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    p = np.exp(data) / np.exp(data).sum(axis=1, keepdims=True)
    alpha = 0 if multi_output else alpha  # MXNet smooths only without
    targets = np.where(np.trunc(label)[:, None] == np.arange(3), 1 - alpha, alpha / 2)
    targets[np.isnan(label)] = np.nan
    attributes = {"smooth_alpha": alpha, "multi_output": multi_output}
    x = Tensor(data, requires_grad=True)
    tl.softmax_output(x, label.reshape(4, 1) if multi_output else label, **attributes).backward(data)
    executor = softmax_output(**attributes).simple_bind(
        tl.cpu(), {"data": "write", "label": "null"}, {"label": dtype}, runner=runner, data=(4, 3)
    )
    executor.forward(is_train=True, data=data, label=label.reshape(executor.arg_dict["label"].shape))
    executor.backward()
    for found in (x.grad.numpy(), executor.grad_dict["data"]):
        np.testing.assert_allclose(found, p - targets, rtol=1e-5, atol=1e-6)


def test_out_grad_multiplies_with_what_comes_from_above():
    case = CASES["SoftmaxOutput__25_with_head_grad"]["arrays"]
    executor = symbol_of(CASES["SoftmaxOutput__25_with_head_grad"]).simple_bind(tl.cpu(), data=(4, 3))
    executor.forward(is_train=True, data=case["in_data"], label=case["in_label"])
    with pytest.raises(BindError, match="output 'op_output' is no loss, so its gradient is needed"):
        executor.backward()
    assert tl.ops.loss.SoftmaxOutput().is_loss
    assert not tl.ops.loss.SoftmaxOutput(out_grad=True).is_loss
    x = Tensor(case["in_data"], requires_grad=True)
    tl.softmax_output(x, case["in_label"], out_grad=True).backward(case["head_grad0"])
    classes = np.eye(3)[case["in_label"].astype(int)]
    np.testing.assert_allclose(x.grad.numpy(), (case["out0"] - classes) * case["head_grad0"], atol=1e-6)


@pytest.mark.parametrize(
    "label", [np.array([0.0, 2, 1, 1]), np.random.default_rng(1).dirichlet(np.ones(3), 4)]
)
def test_the_second_derivative_of_softmax_output_is_that_of_the_cross_entropy(label):
    targets = np.eye(3)[label.astype(int)] if label.ndim == 1 else label

    def entropy(x):
        return -(tl.log_softmax(x) * targets).sum()

    data = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(
        tl.hessian(lambda x: tl.softmax_output(x, label).sum(), data).numpy(),
        tl.hessian(entropy, data).numpy(),
        atol=1e-12,
    )
