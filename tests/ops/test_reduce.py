"""Corners of sums, products and their kin."""

import itertools

import numpy as np
import pytest
from scipy import special

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad, hessian
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.errors import ShapeError
from tinygrad_lesson.run import RUNNERS, available_runners


@pytest.mark.parametrize("f", [tl.max, tl.min])
def test_elements_that_tie_share_the_gradient_and_in_the_ops_of_mxnet_each_gets_all(f):
    x = np.array([[1.0, 1.0], [2.0, 2.0]])
    assert grad(lambda x: f(x, axis=1).sum())(x).numpy().tolist() == [[0.5, 0.5], [0.5, 0.5]]
    op = getattr(TENSORS, f.__name__)
    assert grad(lambda x: op(x, axis=1).sum())(x).numpy().tolist() == [[1, 1], [1, 1]]


def product_without(x, *gone):
    return np.prod([v for i, v in enumerate(x) if i not in gone])


@pytest.mark.parametrize(
    "x", [[2.0, 3.0, 5.0, 7.0], [0.0, 3.0, 5.0, 7.0], [0.0, 3.0, 0.0, 7.0], [0.0, 0.0, 0.0, 7.0], [0.0] * 4]
)
def test_derivatives_of_a_product_are_right_for_any_number_of_zeros(x):
    n, f = range(len(x)), lambda t: t.prod()
    assert grad(f)(x).numpy().tolist() == [product_without(x, i) for i in n]
    expected = [[0 if i == j else product_without(x, i, j) for j in n] for i in n]
    assert hessian(f, x).numpy().tolist() == expected
    third = tl.jacobian(lambda t: hessian(f, t), x).numpy()
    for i, j, k in itertools.product(n, n, n):
        different = len({i, j, k}) == 3
        assert third[i, j, k] == (product_without(x, i, j, k) if different else 0)


def test_product_along_an_axis_counts_zeros_row_by_row():
    x = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [1.0, 4.0, 6.0]])
    dx = grad(lambda t: (t.prod(axis=1) * Tensor([1.0, 10.0, 100.0])).sum())(x)
    assert dx.numpy().tolist() == [[6, 0, 0], [0, 0, 0], [2400, 600, 400]]


@pytest.mark.parametrize(("axis", "keepdims"), [(None, False), (1, True), ((0, 2), False)])
def test_logsumexp_with_weights_is_that_of_scipy_and_has_its_gradient(axis, keepdims):
    generator = np.random.default_rng(3)
    x, b = generator.normal(size=(2, 3, 4)) * 300, generator.integers(0, 3, (3, 4))
    y = tl.logsumexp(x, axis, keepdims, b=b)
    np.testing.assert_allclose(y.numpy(), special.logsumexp(x, axis, b, keepdims), rtol=1e-14)
    share = b * np.exp(np.where(b == 0, -np.inf, x) - special.logsumexp(x, axis, b, keepdims=True))
    slope = tl.grad(lambda t: tl.logsumexp(t, axis, keepdims, b=b).sum())(x)
    np.testing.assert_allclose(slope.numpy(), share, rtol=1e-11, atol=1e-300)


def test_logsumexp_neither_overflows_nor_fails_at_infinity():
    assert tl.logsumexp(Tensor([1000.0, 1000.0])).item() == pytest.approx(1000 + np.log(2))
    with np.errstate(divide="ignore"):
        assert tl.logsumexp(Tensor([-np.inf, -np.inf])).item() == -np.inf
    assert tl.logsumexp(Tensor([np.inf, 0.0])).item() == np.inf


def test_variance_of_large_near_numbers_keeps_its_digits():
    assert tl.var(Tensor([1e8, 1e8 + 1])).item() == 0.25


def test_empty_sums_and_products_are_their_neutral_elements():
    x = Tensor(np.ones((0, 3)), requires_grad=True)
    y = x.sum(axis=0) + x.prod(axis=0)
    assert y.numpy().tolist() == [1, 1, 1]
    y.sum().backward()
    assert x.grad.shape == (0, 3)
    with pytest.raises(ShapeError, match=r"Max\(\).*\n  x  \(0, 3\) float64"):
        x.max()


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 0), [1], ()], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes_are_given_as_numpy_takes_them(axis, keepdims):
    x = np.arange(24.0).reshape(2, 3, 4)
    expected = x.sum(axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    np.testing.assert_array_equal(tl.sum(x, axis, keepdims=keepdims).numpy(), expected)


def test_axes_can_be_excluded_as_in_mxnet():
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(tl.sum(x, axis=1, exclude=True).numpy(), x.sum(axis=(0, 2)))
    assert TENSORS.sum(x, vector=True).shape == (1,)


def test_an_axis_that_is_not_there_is_named():
    with pytest.raises(ShapeError, match=r"Sum\(axis=2\): there is no axis 2 in 2 dimensions\n  x  \(2, 3\)"):
        tl.sum(np.ones((2, 3)), axis=2)


def test_integers_are_summed_as_wide_as_numpy_does():
    assert tl.sum(np.ones(3, np.int16)).dtype == np.int64
    assert tl.sum(np.ones(3, bool)).item() == 3
    assert tl.mean(np.array([1, 2])).item() == 1.5


HALVES = {
    "sum": lambda x: tl.sum(x, axis=0),
    "mean": tl.mean,
    "var": lambda x: tl.var(x, axis=0),
    "logsumexp": lambda x: tl.logsumexp(x, axis=0),
    "softmax": lambda x: tl.softmax(x, axis=0),
    "log_softmax": lambda x: tl.log_softmax(x, axis=0),
    "sum_like": lambda x: tl.sum_like(x, np.ones((1, 3), np.float16)),
}


@pytest.mark.parametrize("runner", ["eager", *RUNNERS])
@pytest.mark.parametrize("name", HALVES)
def test_half_precision_is_added_up_in_single(name, runner):
    f = HALVES[name]
    x = np.random.default_rng(0).uniform(1, 3, (8000, 3)).astype(np.float16)
    g = np.linspace(-1, 1, f(Tensor(x)).size).reshape(f(Tensor(x)).shape)

    def pulled(x):
        return tl.grad(lambda t: tl.sum(f(t) * g.astype(x.dtype)))(x)

    value, gradient = (
        (f, pulled) if runner == "eager" else (tl.jit(f, runner=runner), tl.jit(pulled, runner=runner))
    )
    y, dx = value(Tensor(x)), gradient(x)
    assert y.dtype == np.float16
    for found, expected in ((y, f(Tensor(x.astype(float)))), (dx, pulled(x.astype(float)))):
        expected = expected.numpy()
        near = {
            "rtol": 2e-3,
            "atol": 1e-2 * np.abs(expected).max() + 2**-24,
        }  # half has steps of 2**-24 near 0
        np.testing.assert_allclose(found.numpy().astype(float), expected, **near)


@pytest.mark.parametrize("runner", ["eager", *RUNNERS])
def test_means_of_many_halves_neither_overflow_nor_lose_their_gradient(runner):
    def bound(x):
        executor = tl.sym.MakeLoss(tl.sym.mean(tl.sym.Variable("x"))).bind(
            tl.cpu(), {"x": x}, args_grad={"x": np.zeros_like(x)}, runner=runner
        )
        (y,) = executor.forward(is_train=True)
        executor.backward()
        return y, executor.grad_dict["x"]

    def eager(x):
        return tl.mean(x).numpy(), grad(tl.mean)(x).numpy()

    run = eager if runner == "eager" else bound
    assert run(np.full(10_000, 8, np.float16))[0] == 8
    y, dx = run(np.ones(70_000, np.float16))
    assert y == 1
    np.testing.assert_allclose(dx.astype(float), 1 / 70_000, rtol=2e-3)


INFINITE = [
    [-np.inf, -np.inf],
    [np.inf, 0.0],
    [-np.inf, 0.0],
    [np.inf, -np.inf],
    [np.nan, 0.0],
    [1e30, -np.inf],
]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("x", INFINITE, ids=str)
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_infinities_give_what_scipy_gives(name, x, kind):
    x, f = np.array(x, kind), getattr(tl, name)
    with np.errstate(all="ignore"):
        expected = getattr(special, name)(x)
        np.testing.assert_array_equal(f(x).numpy(), expected)
        for runner in available_runners():
            np.testing.assert_array_equal(tl.jit(f, runner=runner)(x).numpy(), expected)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("x", "slopes"),
    [
        ([-np.inf, -np.inf], [0, 0]),
        ([np.inf, 0], [1, 0]),
        ([-np.inf, 0], [0, 1]),
        ([np.inf, -np.inf], [1, 0]),
        ([np.inf, np.inf], [1, 1]),  # each that reaches the maximum counts whole, as for `max`
        ([np.nan, 0], [np.nan, np.nan]),
        ([0, 0], [0.5, 0.5]),
    ],
    ids=str,
)
def test_slopes_of_logsumexp_are_finite_at_infinity(x, slopes, kind):
    x, pulled = np.array(x, kind), grad(lambda t: tl.sum(tl.logsumexp(t)))
    with np.errstate(all="ignore"):
        for found in (pulled(x), *[tl.jit(pulled, runner=runner)(x) for runner in available_runners()]):
            np.testing.assert_array_equal(found.numpy(), np.array(slopes, kind))


ALONG = ["softmax", "log_softmax", "logsumexp", "sum", "mean", "var", "max", "min", "prod"]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", ALONG)
def test_an_axis_of_a_number_without_axes_is_the_number_itself_as_in_numpy(name, axis):
    x = Tensor(3.0, requires_grad=True)
    y = getattr(tl, name)(x, axis=axis)
    y.backward()
    oracle = getattr(special, name, None) or getattr(np, name)
    assert y.shape == x.grad.shape == ()
    assert y.item() == (
        oracle(np.float64(3)) if name in ("mean", "var") else oracle(np.float64(3), axis=axis)
    )
    assert x.grad.item() == (0 if name in ("softmax", "log_softmax", "var") else 1)
    with pytest.raises(ShapeError, match="there is no axis 1"):
        getattr(tl, name)(x, axis=1)


@pytest.mark.parametrize("kind", ["uint8", "int8", "int64", "bool"])
def test_integers_are_floats_before_they_are_subtracted(kind):
    x = np.array([3, 1, 100, 0]).astype(kind)
    for name in ("logsumexp", "softmax", "log_softmax"):
        found = getattr(tl, name)(x)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found.numpy(), getattr(special, name)(x.astype(float)), rtol=1e-14)
