"""Random numbers as symbols: their distributions, shapes and seeds."""

import numpy as np
import pytest

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.random import MXNetGenerator

MOMENTS = {  # mean and variance by the textbook; k, p count failures before success number k
    "uniform": ({"low": -1.0, "high": 3.0}, 1.0, 16 / 12),
    "normal": ({"loc": 2.0, "scale": 3.0}, 2.0, 9.0),
    "gamma": ({"alpha": 2.0, "beta": 3.0}, 6.0, 18.0),
    "exponential": ({"scale": 0.25}, 0.25, 0.0625),
    "poisson": ({"lam": 4.0}, 4.0, 4.0),
    "negative_binomial": ({"k": 3, "p": 0.4}, 4.5, 11.25),
    "generalized_negative_binomial": ({"mu": 2.0, "alpha": 0.3}, 2.0, 3.2),
}
COUNT = 40_000


def run(symbol, seed=1, **arrays):
    """What a symbol draws in two runs of an executor that is seeded."""
    executor = symbol.bind(cpu(), arrays, grad_req="null")
    executor.generator = MXNetGenerator(seed)
    return [executor.forward()[0].asnumpy().copy() for _ in range(2)]


def assert_moments(x, mean, variance):
    """Mean and variance are within five deviations, a kurtosis up to 12 allowed for."""
    assert abs(x.mean() - mean) < 5 * np.sqrt(variance / x.size)
    assert abs(x.var() / variance - 1) < 5 * np.sqrt(12 / x.size)


@pytest.mark.parametrize("name", MOMENTS)
def test_numbers_are_distributed_as_they_should_be_and_can_be_repeated(name):
    given, mean, variance = MOMENTS[name]
    symbol = getattr(sym.random, name)(**given, shape=(COUNT,))
    first, second = run(symbol)
    assert_moments(first, mean, variance)
    assert (first != second).any()
    np.testing.assert_array_equal(run(symbol), [first, second])
    assert (run(symbol, seed=2)[0] != first).any()


@pytest.mark.parametrize("name", MOMENTS)
def test_each_element_of_symbols_has_its_own_numbers(name):
    given, mean, variance = MOMENTS[name]
    names = {"loc": "mu", "scale": "sigma"} if name == "normal" else {}
    arrays = {names.get(key, key): np.full(2, value, np.float32) for key, value in given.items()}
    symbol = getattr(sym.random, name)(*map(sym.Variable, arrays), shape=(COUNT,))
    found = run(symbol, **arrays)[0]
    assert found.shape == (2, COUNT)
    assert (found[0] != found[1]).any()
    for row in found:
        assert_moments(row, mean, variance)


def test_of_an_exponential_one_over_the_mean_may_be_given():
    symbol = sym.random.exponential(lam=4.0, shape=(COUNT,))
    assert_moments(run(symbol)[0], 0.25, 0.0625)
    np.testing.assert_array_equal(run(symbol), run(sym.random_exponential(4.0, (COUNT,))))


def test_parameters_may_be_given_by_position():
    for made, named in (
        (sym.random_uniform(0, 1, (3,)), {"low": "0", "high": "1", "shape": "(3,)"}),
        (sym.uniform(0, 1, (3,)), {"low": "0", "high": "1", "shape": "(3,)"}),
        (sym.random_normal(1.0, 2.0, 3, None, "float64"), {"loc": "1.0", "scale": "2.0", "shape": "3", "dtype": "float64"}),
        (sym.random_randint(0, 9, (2,)), {"low": "0", "high": "9", "shape": "(2,)"}),
        (sym.random.randn(2, 3, loc=1.0), {"loc": "1.0", "scale": "1.0", "shape": "(2, 3)"}),
    ):  # fmt: skip
        assert made.list_attr() == named
    assert run(sym.random_uniform(0, 1, (3,)))[0].shape == (3,)


def test_class_numbers_are_those_of_mxnet_and_their_logarithms_have_a_gradient():
    p = np.array([[0, 0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1, 0]], np.float32)
    symbol = sym.random.multinomial(sym.Variable("p"), shape=3)
    slopes = np.zeros_like(p)
    executor = symbol.bind(cpu(), {"p": p}, args_grad={"p": slopes})
    executor.generator = MXNetGenerator(5)
    classes, logs = (y.asnumpy() for y in executor.forward(is_train=True))
    assert classes.dtype == np.int32
    np.testing.assert_array_equal(classes, [[4, 3, 4], [1, 0, 1]])  # by MXNet 1.9.1, as all below
    np.testing.assert_allclose(logs, np.log(np.take_along_axis(p, classes.astype(int), 1)), rtol=1e-6)
    executor.backward([np.zeros((2, 3)), np.array([[1, 2, 3], [4, 5, 6]])])
    expected = [[0, 0, 0, 6.6666665, 10], [12.5, 33.333332, 0, 0, 0]]
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


def test_class_numbers_of_one_vector_and_of_several():
    p = np.full((2, 4), 0.25, np.float32)
    for rows, shape, expected in ((p, (), (2,)), (p[0], (), (1,)), (p[0], 2, (2,)), (p, (2, 3), (2, 2, 3))):
        symbol = sym.sample_multinomial(sym.Variable("p"), shape, dtype="float32")
        (found, _) = run(symbol, p=rows)
        assert (found.shape, found.dtype) == (expected, np.float32)
        assert set(found.ravel()) <= {0, 1, 2, 3}


def test_slopes_of_rrelu_are_drawn_in_training_and_their_mean_otherwise():
    x, slopes = np.array([-1.0, -1.0, -2.0, 2.0], np.float32), np.zeros(4, np.float32)
    symbol = sym.LeakyReLU(sym.Variable("x"), act_type="rrelu", lower_bound=0.25, upper_bound=0.75)
    executor = symbol.bind(cpu(), {"x": x}, args_grad={"x": slopes})
    np.testing.assert_array_equal(executor.forward()[0].asnumpy(), [-0.5, -0.5, -1, 2])
    executor.generator = MXNetGenerator(3)
    y = executor.forward(is_train=True)[0].asnumpy().copy()
    executor.backward([np.ones(4, np.float32)])
    np.testing.assert_allclose(y / x, slopes, rtol=1e-6)
    np.testing.assert_array_equal(slopes, [*MXNetGenerator(3).uniform(0.25, 0.75, (4,))[:3], 1])


def test_uniform_numbers_are_those_of_the_generator():
    found = run(sym.random_uniform(low=0, high=1, shape=(3, 2)), seed=5)[0]
    np.testing.assert_array_equal(found, MXNetGenerator(5).uniform(0, 1, (3, 2)))


def test_whole_numbers_reach_the_lower_end_and_not_the_upper():
    found = run(sym.random.randint(2, 5, shape=(200,)))[0]
    assert found.dtype == np.int32
    assert set(found.tolist()) == {2, 3, 4}


def test_a_shuffle_keeps_rows_whole():
    rows = np.arange(20.0).reshape(10, 2)
    first, second = run(sym.shuffle(sym.Variable("x")), x=rows)
    np.testing.assert_array_equal(first[np.argsort(first[:, 0])], rows)
    assert (first != second).any()
