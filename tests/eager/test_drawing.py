"""Random tensors: distributions, shapes, gradients, seeds."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.errors import AttributeValueError, DTypeError
from tinygrad_lesson.random import MXNetGenerator

COUNT = 40_000
MOMENTS = {  # a call with NumPy's parameters by position, mean and variance by the textbook
    "uniform": ((-1.0, 3.0), 1.0, 16 / 12),
    "normal": ((2.0, 3.0), 2.0, 9.0),
    "exponential": ((0.25,), 0.25, 0.0625),
    "gamma": ((2.0, 3.0), 6.0, 18.0),
    "beta": ((2.0, 3.0), 0.4, 0.04),
    "poisson": ((4.0,), 4.0, 4.0),
    "negative_binomial": ((3, 0.4), 4.5, 11.25),
    "bernoulli": ((0.3,), 0.3, 0.21),
    "randint": ((2, 5), 3.0, 2 / 3),
}
NAMED = {
    "uniform": {"low": -1.0, "high": 3.0}, "normal": {"loc": 2.0, "scale": 3.0}, "exponential": {"scale": 0.25},
    "gamma": {"shape": 2.0, "scale": 3.0}, "beta": {"a": 2.0, "b": 3.0}, "poisson": {"lam": 4.0},
    "negative_binomial": {"n": 3, "p": 0.4}, "bernoulli": {"p": 0.3}, "randint": {"low": 2, "high": 5},
}  # fmt: skip


@pytest.mark.parametrize("name", MOMENTS)
def test_numbers_are_distributed_as_they_should_be_and_a_seed_repeats_them(name):
    given, mean, variance = MOMENTS[name]
    draw = getattr(tl.random, name)
    tl.random.seed(4)
    first, second = (draw(*given, COUNT).numpy() for _ in range(2))
    assert abs(first.mean() - mean) < 5 * np.sqrt(variance / COUNT)
    assert abs(first.var() / variance - 1) < 5 * np.sqrt(12 / COUNT)
    assert (first != second).any()
    tl.random.seed(4)
    np.testing.assert_array_equal(draw(**NAMED[name], size=(COUNT,)).numpy(), first)
    np.testing.assert_array_equal(draw(**NAMED[name], size=COUNT, generator=MXNetGenerator(4)).numpy(), first)


REPARAMETERIZED = {"uniform": 2, "normal": 2, "exponential": 1}


@pytest.mark.parametrize("name", REPARAMETERIZED)
def test_numbers_move_with_their_parameters_as_differences_say(name):
    count, draw = REPARAMETERIZED[name], getattr(tl.random, name)

    def f(*parameters):
        return tl.sum(tl.square(draw(*parameters, generator=MXNetGenerator(3))))

    assert tl.check.gradients(f, *[np.array([[0.5], [1.5]]), np.array([2.0, 2.5, 4.0])][:count], order=2).ok


def test_gamma_numbers_grow_with_scale_and_their_shape_is_a_constant():
    assert tl.check.gradients(
        lambda s: tl.random.gamma(2.0, s, generator=MXNetGenerator(3)), np.array([1.0, 2.0])
    ).ok
    alpha = tl.Tensor(2.0, requires_grad=True)
    for call in (
        lambda: tl.random.gamma(alpha),
        lambda: tl.random.beta(1.0, alpha),
        lambda: tl.random.poisson(alpha),
    ):
        with pytest.raises(DTypeError, match="is taken as a constant here, whose gradient would be lost"):
            call()


def test_shapes_are_those_of_parameters_or_as_told():
    assert tl.random.normal(np.zeros((2, 1)), np.ones(3)).shape == (2, 3)
    assert tl.random.uniform().shape == ()
    assert tl.random.multinomial(20, [0.2, 0.3, 0.5], size=4).shape == (4, 3)
    assert tl.random.randint(5).item() in range(5)
    assert tl.random.bernoulli([0.0, 1.0]).numpy().tolist() == [False, True]
    np.testing.assert_array_equal(
        tl.random.multinomial(20, [0.2, 0.3, 0.5], size=4).numpy().sum(axis=1), [20] * 4
    )


def test_parts_in_random_order_and_chosen_parts_have_their_gradients():
    x = tl.Tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    for mixed in (tl.random.permutation(x), tl.random.shuffle(x), tl.random.choice(x, 4, replace=False)):
        assert sorted(mixed.numpy()[:, 0]) == [0, 3, 6, 9]
    w = np.arange(1.0, 4.0)
    chosen = tl.random.choice(x, (2,), p=[0, 1, 0, 0])
    tl.sum(chosen * w).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0, 0], 2 * w, [0, 0, 0], [0, 0, 0]])
    assert sorted(tl.random.permutation(5).numpy()) == [0, 1, 2, 3, 4]
    assert tl.random.permutation(x, axis=1).shape == (4, 3)


def test_a_generator_can_be_split_and_saved():
    generator = MXNetGenerator(1)
    one, other = generator.split(2)
    numbers = [tl.random.normal(size=50, generator=g).numpy() for g in (one, other, generator)]
    assert len(np.unique(numbers)) == 150
    again = MXNetGenerator(1).split(2)
    np.testing.assert_array_equal(tl.random.normal(size=50, generator=again[1]), numbers[1])
    kept = MXNetGenerator()
    kept.set_state(generator.seed, generator.get_state())
    after = [tl.random.gamma(2.0, size=9, generator=g).numpy() for g in (generator, kept)]
    np.testing.assert_array_equal(*after)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tl.random.poisson(-1.0), "poisson: lam < 0"),
        (lambda: tl.random.bernoulli(1.5), "bernoulli: p has numbers outside of 0 to 1"),
        (lambda: tl.random.randint(3, 3), "integers: low >= high"),
        (lambda: tl.random.choice(3, 4, replace=False), "choice: Cannot take a larger sample"),
    ],
)
def test_what_no_distribution_has_is_told(call, message):
    with pytest.raises(AttributeValueError, match=message):
        call()
