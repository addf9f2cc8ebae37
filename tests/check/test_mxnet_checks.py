"""MXNet's checks: numbers from NumPy and SciPy pass, others do not, and the message says where."""

import inspect
from unittest import mock

import numpy as np
import pytest
from broken_rules import declared
from scipy.special import softmax

import tinygrad_lesson as tl
from tinygrad_lesson import check, cpu, sym
from tinygrad_lesson.errors import BindError
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise
from tinygrad_lesson.run import available_runners

RNG = np.random.default_rng(1)
A, B = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
lhs, rhs = sym.Variable("lhs"), sym.Variable("rhs")


@pytest.fixture
def wrong():
    """The tangent's rule is wrong by a factor of 1.001."""

    class WrongTanh(Elementwise):
        """tanh."""

        def forward(self, xp, x, out=None):
            return xp.tanh(x, out=out)

        def vjp(self, F, g, y, x):
            return (1.001 * g * (1 - y * y),)

    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        OPS["WrongTanh"] = declared(WrongTanh)
        yield sym.WrongTanh(lhs, name="t")


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (check.check_numeric_gradient, "sym location aux_states numeric_eps rtol atol grad_nodes use_forward_train ctx grad_stype_dict dtype"),
        (check.check_symbolic_forward, "sym location expected rtol atol aux_states ctx equal_nan dtype"),
        (check.check_symbolic_backward, "sym location out_grads expected rtol atol aux_states grad_req ctx grad_stypes equal_nan dtype"),
        (check.check_consistency, "sym ctx_list scale grad_req arg_params aux_params rtol atol raise_on_err ground_truth equal_nan use_uniform rand_type"),
    ],
)  # fmt: skip
def test_parameters_stand_in_the_order_of_mxnet(function, names):
    assert " ".join(inspect.signature(function).parameters) == names


# check_numeric_gradient


@pytest.mark.parametrize("location", [[A, B], {"rhs": B, "lhs": A}, [A.tolist(), B.astype("float32")]])
def test_right_gradients_pass_at_a_list_or_a_dict(location):
    assert check.check_numeric_gradient(sym.tanh(lhs * rhs), location).ok


def test_a_layer_with_states_and_whole_numbers_passes():
    net = sym.BatchNorm(sym.Variable("data"), fix_gamma=False, name="bn")
    arrays = [RNG.normal(size=(4, 3)), np.ones(3), np.zeros(3)]
    for is_train in (True, False):
        check.check_numeric_gradient(net, arrays, [np.zeros(3), np.ones(3)], use_forward_train=is_train)
    check.check_numeric_gradient(lhs * rhs, [np.array([[1, 2]]), np.array([[3, 4]])])


def test_a_wrong_rule_is_caught_with_its_cause(wrong):
    with pytest.raises(check.GradientError) as caught:
        check.check_numeric_gradient(wrong, [A])
    assert isinstance(caught.value, AssertionError)
    assert caught.value.report.input == "lhs"
    assert caught.value.report.cause
    assert caught.value.report.relative_error == pytest.approx(1e-3, rel=0.01)


def test_a_tolerance_that_is_given_lets_pass_what_it_allows(wrong):
    assert not check.check_numeric_gradient(wrong, [A], rtol=2e-3).ok
    with pytest.raises(check.GradientError):
        check.check_numeric_gradient(wrong, [A], rtol=1e-4)


def test_only_the_named_arguments_are_checked(wrong):
    both = wrong * rhs
    assert check.check_numeric_gradient(both, [A, B], grad_nodes=["rhs"]).ok
    with pytest.raises(check.GradientError) as caught:
        check.check_numeric_gradient(both, [A, B], grad_nodes={"lhs": "write"})
    assert caught.value.report.input == "lhs"
    with pytest.raises(BindError, match="grad_nodes: 'left' is no argument"):
        check.check_numeric_gradient(both, [A, B], grad_nodes=["left"])


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ([A], "location has 1 arrays, expected 2: lhs, rhs"),
        ({"lhs": A}, "location lacks 'rhs'; given: lhs"),
        ({"lhs": A, "rhs": B, "more": B}, "location: 'more' is not known"),
    ],
)
def test_a_location_that_does_not_fit_is_refused(location, message):
    for function in (
        lambda: check.check_numeric_gradient(lhs * rhs, location),
        lambda: check.check_symbolic_forward(lhs * rhs, location, [A]),
        lambda: check.check_symbolic_backward(lhs * rhs, location, [A], [A, B]),
    ):
        with pytest.raises(BindError, match=message):
            function()


# check_symbolic_forward and check_symbolic_backward


def test_outputs_are_those_that_are_expected():
    net = sym.Group([sym.softmax(lhs, name="p"), sym.broadcast_add(lhs, rhs, name="s")])
    outputs = check.check_symbolic_forward(net, [A, B], [softmax(A, axis=1), A + B])
    np.testing.assert_allclose(outputs[1], A + B, rtol=1e-6)
    check.check_symbolic_forward(net, [A, B], {"s_output": A + B, "p_output": softmax(A, axis=1)})
    net = sym.BatchNorm(sym.Variable("data"), eps=0, name="bn")
    check.check_symbolic_forward(
        net, {"data": A, "bn_gamma": np.ones(3), "bn_beta": np.ones(3)}, [(A - 2) / 3 + 1],
        aux_states={"bn_moving_mean": np.full(3, 2.0), "bn_moving_var": np.full(3, 9.0)},
    )  # fmt: skip


def test_an_output_that_differs_is_named_with_its_element():
    expected = A + B
    expected[1, 2] += 0.01
    with pytest.raises(
        check.OpError, match=r"s_output at \[1, 2\] is .*, expected .*; 1 of 6 elements differ"
    ):
        check.check_symbolic_forward(sym.broadcast_add(lhs, rhs, name="s"), [A, B], [expected])
    check.check_symbolic_forward(sym.broadcast_add(lhs, rhs, name="s"), [A, B], [expected], atol=0.02)
    with pytest.raises(AssertionError, match=r"has the shape \(2, 3\), expected \(3,\)"):
        check.check_symbolic_forward(lhs + rhs, [A, B], [np.zeros(3)])


def test_nan_is_equal_to_nan_on_request_only():
    x, y = np.array([-1.0, 4.0]), np.array([np.nan, 2.0])
    check.check_symbolic_forward(sym.sqrt(lhs), [x], [y], equal_nan=True)
    with pytest.raises(check.OpError):
        check.check_symbolic_forward(sym.sqrt(lhs), [x], [y])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_gradients_are_those_that_are_expected(dtype):
    g = np.ones_like(A)
    for expected in ([g * B, g * A], {"lhs": g * B, "rhs": g * A}, {"rhs": g * A}):
        check.check_symbolic_backward(lhs * rhs, [A, B], [g], expected, dtype=dtype)
    with pytest.raises(check.OpError, match=r"check_symbolic_backward: gradient of rhs at \[0, 0\]"):
        check.check_symbolic_backward(
            lhs * rhs, [A, B], [g], {"rhs": g * A + 0.1 * (A[0, 0] == A)}, dtype=dtype
        )


def test_requests_are_kept():
    product, g = sym.elemwise_mul(lhs, rhs, name="m"), np.full_like(A, 2)
    for request in ("write", "add", "null", {"lhs": "add", "rhs": "null"}, ["null", "write"]):
        found = check.check_symbolic_backward(
            product, [A, B], {"m_output": g}, [g * B, g * A], grad_req=request
        )
        assert len(found) == 2
    with pytest.raises(check.OpError):
        check.check_symbolic_backward(product, [A, B], [g], [g * B + 1, g * A], grad_req="add")


def test_a_loss_needs_no_cotangent():
    net = sym.MakeLoss(sym.square(lhs))
    check.check_symbolic_backward(net, [A], None, [2 * A])
    check.check_numeric_gradient(net, [A])


# check_consistency


def net_of(last="fc"):
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=4, name="hidden")
    return sym.FullyConnected(sym.tanh(net), num_hidden=2, name=last)


def settings(*dtypes, **more):
    return [{"ctx": cpu(), "data": (3, 5), "type_dict": {"data": dtype}, **more} for dtype in dtypes]


def test_types_and_runners_agree():
    truth = check.check_consistency(net_of(), settings("float64", "float32", "float16"))
    assert set(truth) == {"fc_output", "data", "hidden_weight", "hidden_bias", "fc_weight", "fc_bias"}
    assert truth["fc_output"].dtype == np.float64
    weights = {"hidden_weight": np.ones((4, 5)), "fc_weight": np.ones((2, 4))}
    arrays = {"data": np.full((3, 5), 0.1), "hidden_bias": np.zeros(4), "fc_bias": np.zeros(2), **weights}
    truth = check.check_consistency(net_of(), settings("float32", "float64"), arg_params=arrays)
    np.testing.assert_allclose(truth["fc_output"], np.full((3, 2), 4 * np.tanh(0.5)), rtol=1e-12)


def test_batch_normalization_and_dropout_agree_in_training_and_prediction():
    net = sym.Dropout(sym.BatchNorm(sym.Variable("data"), fix_gamma=False, name="bn"), p=0.3)
    check.check_consistency(net, settings("float64", "float32"), aux_params={"bn_moving_var": np.ones(5)})


def test_symbols_that_differ_are_told_with_their_setting(capsys):
    other = sym.FullyConnected(
        sym.relu(sym.Variable("data")),
        num_hidden=4,
        name="hidden",
    )
    other = sym.FullyConnected(other, num_hidden=2, name="fc")
    pair, both = [net_of(), other], settings("float64", "float32")
    with pytest.raises(
        check.OpError, match=r"check_consistency: fc_output with cpu\(0\), float32, runner 'numpy' at"
    ):
        check.check_consistency(pair, both)
    check.check_consistency(pair, both, raise_on_err=False)
    assert "check_consistency: fc_output with cpu(0), float32" in capsys.readouterr().out
    check.check_consistency(pair, both, rtol=1e3)


def test_every_runner_is_held_against_a_ground_truth_that_is_given():
    net = sym.tanh(sym.Variable("data"), name="t")
    data = RNG.normal(size=(3, 5))
    for runner in available_runners():
        ways = settings("float64", "float32", runner=runner)
        check.check_consistency(
            net, ways, arg_params={"data": data}, ground_truth={"t_output": np.tanh(data)}
        )
        with pytest.raises(check.OpError, match=f"t_output with .*, runner {runner!r} at"):
            check.check_consistency(
                net, ways, arg_params={"data": data}, ground_truth={"t_output": np.sin(data)}
            )


def test_a_custom_operator_passes_them_all():
    class Cube(tl.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            self.assign(out_data[0], req[0], in_data[0] ** 3)

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            self.assign(in_grad[0], req[0], 3 * in_data[0] ** 2 * out_grad[0])

    with mock.patch.dict(tl.operator.REGISTERED):

        @tl.operator.register("cube")
        class CubeProp(tl.operator.CustomOpProp):
            def __init__(self):
                super().__init__(need_top_grad=True)

            def create_operator(self, ctx, in_shapes, in_dtypes):
                return Cube()

        net = sym.Custom(data=sym.Variable("data"), op_type="cube", name="cube")
        check.check_numeric_gradient(net, [A])
        check.check_symbolic_forward(net, [A], [A**3])
        check.check_symbolic_backward(net, [A], [B], [3 * A**2 * B])
        check.check_consistency(net, settings("float64", "float32"))
