"""Random numbers as symbols: their distributions, shapes and seeds."""

import numpy as np
import pytest

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.random import MXNetGenerator

MOMENTS = {  # mean and variance by the textbook; k, p count failures before success number k
    "uniform": ({"low": -1.0, "high": 3.0}, 1.0, 16 / 12),
    "normal": ({"loc": 2.0, "scale": 3.0}, 2.0, 9.0),
    "gamma": ({"alpha": 2.0, "beta": 3.0}, 6.0, 18.0),
    "exponential": ({"lam": 4.0}, 0.25, 0.0625),
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
