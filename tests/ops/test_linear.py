"""Corners of products of matrices."""

import numpy as np
import pytest
from one_op import Compiled

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor
from tinygrad_lesson.errors import ShapeError
from tinygrad_lesson.ops.linear import FullyConnected, MatMul
from tinygrad_lesson.run import RUNNERS

PAIRS = [((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4))] + [
    ((1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((2, 0), (0, 3)), ((0, 2), (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_products_are_those_of_numpy_and_gradients_have_the_shapes_of_the_inputs(pair):
    rng = np.random.default_rng(0)
    a, b = (Tensor(rng.normal(size=shape), requires_grad=True) for shape in pair)
    y = a @ b
    np.testing.assert_allclose(y.numpy(), a.value @ b.value)
    weight = rng.normal(size=y.shape)
    (y * weight).sum().backward()
    for x, other in ((a, lambda a: a @ b.value), (b, lambda b: a.value @ b)):
        v = rng.normal(size=x.shape)
        assert x.grad.shape == x.shape
        assert (x.grad.value * v).sum() == pytest.approx((other(v) * weight).sum())  # linear in each


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("huge", [np.inf, -np.inf, np.nan])
def test_zero_times_what_is_not_finite_is_no_number_in_any_runner(runner, huge):
    for a, b in (([[0.0]], [[huge, 1.0]]), ([[huge], [1.0]], [[0.0]]), ([[0.0, 1.0]], [[huge], [2.0]])):
        factors = [np.array(a), np.array(b)]
        with np.errstate(invalid="ignore"):
            (found,) = Compiled(MatMul(), factors, runner=runner).forward(factors, False)
            by_definition = np.sum(factors[0][:, :, None] * factors[1], axis=1)
        np.testing.assert_array_equal(found, by_definition)


def test_arrays_of_numpy_can_stand_on_either_side():
    x = Tensor(np.eye(2), requires_grad=True)
    assert isinstance(np.ones((2, 2)) @ x, Tensor)
    assert isinstance(x @ np.ones((2, 2)), Tensor)


def test_matrices_that_do_not_fit_are_named():
    with pytest.raises(
        ShapeError, match=r"MatMul\(\): b is \(2, 3\), expected \(3, 3\) to follow a \(2, 3\)"
    ):
        Tensor(np.ones((2, 3))) @ np.ones((2, 3))
    with pytest.raises(
        ShapeError, match=r"a is \(\) and b is \(2, 3\), expected at least two dimensions each"
    ):
        Tensor(1.0) @ np.ones((2, 3))
    assert MatMul().shape((None, 3), (3, 4)) == (None, 4)
    assert MatMul().shape((7, 2, None), (1, 3, 4)) == (7, 2, 4)


def test_linear_acts_on_the_last_axis():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(2, 5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    np.testing.assert_allclose(tl.linear(x, weight, bias).numpy(), x @ weight.T + bias)
    np.testing.assert_allclose(tl.linear(x[0, 0], weight).numpy(), weight @ x[0, 0])


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        ((10, 5), (10,), r"weight is \(10, 5\), expected \(10, 4\)"),
        ((10, 4), (1,), r"bias is \(1,\), expected \(10,\)"),
        ((9, 4), (10,), r"weight is \(9, 4\), expected \(10, 4\)"),
    ],
)
def test_a_wrong_weight_or_bias_is_named_even_where_it_would_broadcast(weight, bias, message):
    with pytest.raises(ShapeError, match=message + r"\n  data +\(20, 4\) float64\n  weight"):
        tl.fully_connected(np.ones((20, 4)), np.ones(weight), np.ones(bias), num_hidden=10)


def test_features_are_all_axes_but_the_first_or_only_the_last():
    assert FullyConnected(num_hidden=7).parameters((2, 3, 4)) == {"weight": (7, 12), "bias": (7,)}
    assert FullyConnected(num_hidden=7, flatten=False, no_bias=True).parameters((2, 3, 4)) == {
        "weight": (7, 4)
    }
    assert FullyConnected(num_hidden=7).parameters((2, None, 4)) == {"weight": (7, None), "bias": (7,)}


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients():
    weight = Tensor(np.ones((5, 6)), requires_grad=True)
    y = tl.fully_connected(np.ones((0, 2, 3)), weight, np.ones(5), num_hidden=5)
    assert y.shape == (0, 5)
    y.sum().backward()
    assert weight.grad.numpy().tolist() == np.zeros((5, 6)).tolist()


def test_the_batch_size_may_come_from_the_result():
    op = FullyConnected(num_hidden=3, no_bias=True)
    assert op.complete([(None, 4), None], [(20, 3)]) == ([(20, 4), (3, 4)], [(20, 3)])


@pytest.mark.parametrize(
    "x",
    [
        [[1.0, 2.0], [2.0, 4.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]],
        [[0.0]],
        [[[1.0, 2.0], [2.0, 4.0]], [[2.0, 1.0], [1.0, 3.0]]],
    ],
)
def test_the_gradient_of_the_determinant_of_a_singular_matrix_is_its_minors(x):
    x = np.array(x)
    expected, n = np.zeros(x.shape), x.shape[-1]
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(x, i, axis=-2), j, axis=-1)
        expected[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    found = tl.grad(lambda t: tl.sum(tl.linalg.det(t)))(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
