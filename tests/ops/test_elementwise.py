"""Corners of the elementwise ops: ties, kinks, zeros, overflow, broadcasting, numbers."""

import itertools

import numpy as np
import pytest
from scipy import special

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad, hessian, sym
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.errors import DTypeError, ShapeError
from tinygrad_lesson.op import OPS
from tinygrad_lesson.ops.elementwise import Add, Subtract, Unary
from tinygrad_lesson.ops.scalars import WithScalar
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import available_runners

UNARY = [cls for cls in OPS.values() if issubclass(cls, Unary)]
PAIRS = [((), ()), ((), (3,)), ((1,), (3,)), ((2, 1), (1, 3)), ((3,), (2, 3)), ((0,), (1,)), ((2, 0), (2, 1))]


def slopes(f, x):
    """The derivative of `f` at each of the numbers `x`."""
    return grad(lambda t: f(t).sum())(np.array(x, float)).numpy().tolist()


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_on_a_tie_both_sides_share_the_gradient_and_in_the_ops_of_mxnet_the_left_one_has_it(name):
    for f, left in ((getattr(tl, name), 0.5), (getattr(TENSORS, name), 1)):
        da, db = grad(lambda a, b, f=f: f(a, b).sum(), (0, 1))(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
        assert da.numpy().tolist() == [left, left]
        assert db.numpy().tolist() == [1 - left, 1 - left]


def test_slopes_at_kinks_are_those_of_mxnet():
    assert slopes(tl.relu, [-1, 0, 1]) == [0, 0, 1]
    assert slopes(tl.abs, [-1, 0, 1]) == [-1, 0, 1]
    assert slopes(lambda x: tl.leaky_relu(x, slope=0.1), [-1, 0, 1]) == [0.1, 0.1, 1]
    assert slopes(lambda x: tl.clip(x, -1, 1), [-2, -1, 0, 1, 2]) == [0, 1, 1, 1, 0]
    assert slopes(lambda x: tl.clip(x, low=0), [-1, 0, 9]) == [0, 1, 1]
    assert slopes(tl.softsign, [0]) == [1]
    assert tl.sign(Tensor([-2.0, 0.0, 3.0])).numpy().tolist() == [-1, 0, 1]


def test_powers_have_right_slopes_at_zero():
    assert slopes(lambda x: x**0, [0, 2]) == [0, 0]
    assert slopes(lambda x: x**1, [0, 2]) == [1, 1]
    assert slopes(lambda x: x**2, [0, -3]) == [0, -6]
    assert slopes(lambda x: x**-1, [2]) == [-0.25]
    assert slopes(lambda b: tl.power(0.0, b), [1, 2]) == [0, 0]
    assert slopes(lambda b: tl.power(2, b), [1]) == pytest.approx([2 * np.log(2)])
    assert hessian(lambda x: x**2, 0.0).item() == 2
    assert grad(grad(grad(lambda x: x**3)))(0.0).item() == 6


def test_slope_of_a_power_of_arrays_is_right_where_exponents_differ():
    a, b = np.array([0.0, 0.0, 0.0, 2.0, -2.0]), np.array([0.0, 1.0, 2.0, 0.5, 3.0])
    da = grad(lambda a: (a**b).sum())(a)
    np.testing.assert_allclose(da.numpy(), [0, 1, 0, 0.5 * 2**-0.5, 12])


@pytest.mark.parametrize(
    "f", [lambda x: x**2, lambda x: 2**x, lambda x: x**2.5, lambda x: 1 / x, lambda x: 3 - x]
)
def test_numbers_leave_float32_alone_in_gradients_of_every_order(f):
    x = Tensor(np.float32([1.5, 2.5]), requires_grad=True)
    (dx,) = grad(f(x).sum(), [x], create_graph=True)
    (ddx,) = grad(dx.sum() + (x * x).sum(), [x])
    (plain,) = grad(f(x).sum(), [x])
    assert {t.dtype for t in (f(x), dx, ddx, plain)} == {np.dtype(np.float32)}


def test_numbers_in_a_float64_power_keep_their_precision():
    x = 1.7
    assert slopes(lambda t: t**0.1, [x])[0] == pytest.approx(0.1 * x**-0.9, rel=1e-15)
    assert slopes(lambda t: 10**t, [x])[0] == pytest.approx(10**x * np.log(10), rel=1e-15)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_smooth_steps_and_ramps_do_not_overflow(kind):
    x = np.array([-1e4, -80, 0, 80, 1e4], kind)
    np.testing.assert_allclose(tl.sigmoid(x).numpy(), [0, np.exp(-80.0), 0.5, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(tl.softplus(x).numpy(), [0, np.exp(-80.0), np.log(2), 80, 1e4], rtol=1e-6)
    assert slopes(tl.sigmoid, x)[::4] == [0, 0]
    assert slopes(tl.softplus, x)[::4] == [0, 1]
    assert slopes(tl.tanh, x)[::4] == [0, 0]


def test_exponentials_and_logarithms_near_zero_are_exact():
    assert tl.expm1(Tensor(1e-20)).item() == 1e-20
    assert tl.log1p(Tensor(1e-20)).item() == 1e-20


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"]
)
def test_gradients_have_the_shapes_of_broadcast_inputs(name, shapes):
    a, b = (
        Tensor(np.full(shape, value), requires_grad=True)
        for shape, value in zip(shapes, (3.0, 2.0), strict=True)
    )
    y = tl.where(True, a, b) + tl.where(False, a, b) if name == "where" else getattr(tl, name)(a, b)
    assert y.shape == np.broadcast_shapes(*shapes)
    y.sum().backward()
    slope = {
        "add": (1, 1), "subtract": (1, -1), "multiply": (2, 3), "divide": (1 / 2, -3 / 4),
        "power": (6, 9 * np.log(3)), "maximum": (1, 0), "minimum": (0, 1), "where": (1, 1),
    }[name]  # fmt: skip
    for x, each in zip((a, b), slope, strict=True):
        times = y.size / max(x.size, 1) if x.size else 0
        np.testing.assert_allclose(x.grad.numpy(), np.full(x.shape, each * times))


@pytest.mark.parametrize("cls", UNARY, ids=lambda cls: cls.name)
def test_empty_arrays_stay_empty(cls):
    x = Tensor(np.ones((0, 3)), requires_grad=cls.differentiable)
    y = getattr(tl, cls.function)(x)
    assert y.shape == (0, 3)
    if cls.differentiable:
        y.sum().backward()
        assert x.grad.shape == (0, 3)


@pytest.mark.parametrize(
    "f", [tl.relu, tl.clip, tl.leaky_relu, lambda x: tl.maximum(x, 0), lambda x: tl.minimum(1, x)]
)
def test_not_a_number_stays_visible(f):
    assert np.isnan(f(Tensor([np.nan])).numpy()).all()


def test_integers_are_computed_as_numpy_does():
    x = np.arange(1, 4)
    assert (Tensor(x) + 1).dtype == np.int64
    assert (Tensor(x) / 2).numpy().tolist() == [0.5, 1, 1.5]
    assert (Tensor(x) * 0.5).dtype == np.float64
    assert tl.exp(Tensor(x)).dtype == np.float64
    assert tl.exp(Tensor(x.astype(np.int16))).dtype == np.float32


def test_the_strict_sum_says_what_would_broadcast():
    with pytest.raises(ShapeError, match=r"b is \(1,\), expected \(3,\); broadcast_add would repeat it"):
        Add(same_shape=True).complete([(3,), (1,)], [None])
    assert Add(same_shape=True).complete([(3, None), None], [(None, 4)]) == ([(3, 4)] * 2, [(3, 4)])


def test_shape_of_a_function_of_one_number_is_known_from_its_result():
    assert OPS["Tanh"]().complete([None], [(2, 3)]) == ([(2, 3)], [(2, 3)])


def test_mixed_second_derivative_of_a_power_holds_at_exponent_zero():
    slope = grad(lambda b: tl.sum(tl.power(np.array([2.0, 4.0]), b)))  # a**b * log(a)
    np.testing.assert_allclose(slope(np.zeros(2)).numpy(), np.log([2, 4]), rtol=1e-12)
    first = grad(lambda a, b: tl.sum(tl.power(a, b)))  # b * a**(b - 1)
    mixed = grad(lambda b: tl.sum(first(np.array([2.0, 4.0]), b)))  # at b = 0: 1 / a
    np.testing.assert_allclose(mixed(np.zeros(2)).numpy(), [0.5, 0.25], rtol=1e-12)


def test_gradient_of_a_power_of_a_number_asks_nothing_of_the_numbers():
    executor = (tl.sym.Variable("x") ** 3).simple_bind(x=(2,))
    steps = [type(step.op).__name__ for step in executor.plan().backward]
    assert "Where" not in steps
    assert "Equal" not in steps


def test_the_label_of_an_op_with_a_number_says_on_which_side_it_stands():
    assert WithScalar(binary=Subtract(), scalar=1.0).label() == "WithScalar(Subtract(x, 1.0))"
    assert WithScalar(binary=Subtract(), scalar=1.0, reverse=True).label() == "WithScalar(Subtract(1.0, x))"


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int64", "bool"])
@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("sigmoid", special.expit),
        ("softplus", lambda x: np.logaddexp(x, 0)),
        ("softsign", lambda x: x / (1 + abs(x))),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.25 * x)),
    ],
)
def test_integers_are_floats_before_a_function_of_several_steps(name, oracle, kind):
    x = np.array([0, 1, 100, 127, -1, -128]).astype(kind)
    for found in (
        getattr(tl, name)(x),
        *[tl.jit(getattr(tl, name), runner=r)(x) for r in available_runners()],
    ):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found.numpy(), oracle(x.astype(float)), rtol=1e-12)


def test_a_condition_of_one_axis_chooses_rows_in_mxnets_where_and_columns_in_ours():
    c, a = np.array([1.0, 0.0, 1.0], np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    names = sym.Variable("c"), sym.Variable("a"), sym.Variable("b")
    rows = [[0, 1, 2], [-3, -4, -5], [6, 7, 8]]  # MXNet 1.9.1
    for runner, passes in itertools.product(
        available_runners(), (Passes(), Passes(False, False, False, False))
    ):
        gradients = {key: np.zeros_like(a) for key in "ab"}
        executor = sym.where(*names).bind(
            tl.cpu(), {"c": c, "a": a, "b": -a}, args_grad=gradients, runner=runner, passes=passes
        )
        assert executor.forward(is_train=True)[0].tolist() == rows
        executor.backward([a])
        assert gradients["a"].tolist() == [[0, 1, 2], [0, 0, 0], [6, 7, 8]]
        assert gradients["b"].tolist() == [[0, 0, 0], [3, 4, 5], [0, 0, 0]]
    np.testing.assert_array_equal(tl.where(c, a, -a).numpy(), np.where(c, a, -a))
    with pytest.raises(
        ShapeError, match=r"condition is \(3,\), expected \(2,\), one for each row of \(2, 3\)"
    ):
        sym.where(*names).infer_shape(c=(3,), a=(2, 3), b=(2, 3))
    assert sym.where(*names).infer_shape(c=(2,), a=(2, 3, 4), b=(2, 3, 4))[1] == [(2, 3, 4)]
    assert sym.where(*names).infer_shape(c=(2, 3), a=(2, 3), b=(2, 3))[1] == [(2, 3)]


def test_numbers_that_do_not_fit_are_refused_in_words():
    for f in (
        lambda: Tensor([1.0]) * 10**400,
        lambda: Tensor([1]) + 10**400,
        lambda: Tensor(np.uint8([1])) + 300,
    ):
        with pytest.raises(DTypeError, match=r"(Multiply|Add)\(\): .*\n  a  \(1,\)"):
            f()
