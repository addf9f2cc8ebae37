"""Rematerialization: the same numbers in less memory."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import available_runners

MIRROR = Passes(mirror=True)


def residual(layers):
    """A residual network, each layer ten wide."""
    h = sym.FullyConnected(sym.Variable("data"), num_hidden=10, name="first")
    for i in range(layers):
        h = h + sym.tanh(sym.FullyConnected(h, num_hidden=10, name=f"fc{i}"))
    return sym.MakeLoss(sym.mean(sym.square(h)))


def trained(loss, passes, runner, **shapes):
    """An executor after one step, on weights that do not let it overflow."""
    executor = loss.simple_bind(tl.cpu(), passes=passes, runner=runner, **shapes)
    generator = np.random.default_rng(0)
    for array in executor.arg_dict.values():
        array[:] = generator.normal(size=array.shape, scale=0.1)
    executor.forward(is_train=True)
    executor.backward()
    return executor


def gradients(executor):
    return {name: g.asnumpy() for name, g in executor.grad_dict.items() if g is not None}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_states_are_the_same(name):
    loss = cross_entropy(NETWORKS[name].build())
    plain, rematerialized = (
        trained(loss, p, "numpy", data=(20, 4), label=(20, 3)) for p in (Passes(), MIRROR)
    )
    for key, g in gradients(plain).items():
        np.testing.assert_array_equal(gradients(rematerialized)[key], g, err_msg=key)
    for key, state in plain.aux_dict.items():
        np.testing.assert_array_equal(rematerialized.aux_dict[key], state)


@pytest.mark.parametrize("runner", available_runners())
def test_every_runner_carries_it_out(runner):
    plain, rematerialized = (trained(residual(100), p, runner, data=(20, 10)) for p in (Passes(), MIRROR))
    for key, g in gradients(plain).items():
        np.testing.assert_allclose(gradients(rematerialized)[key], g, rtol=1e-4, atol=1e-9, err_msg=key)


def test_memory_grows_with_the_square_root_of_the_depth():
    sizes = [trained(residual(n), MIRROR, "numpy", data=(20, 10)).plan().arena for n in (100, 400, 1600)]
    assert sizes[1] < 2.3 * sizes[0]
    assert sizes[2] < 2.3 * sizes[1]
    assert sizes[2] < trained(residual(1600), Passes(), "numpy", data=(20, 10)).plan().arena / 10


def test_less_than_one_more_forward_run_is_computed():
    plain, rematerialized = (
        trained(residual(400), p, "numpy", data=(20, 10)).plan() for p in (Passes(), MIRROR)
    )
    work = len(plain.forward) + len(plain.backward)
    assert len(rematerialized.forward) == len(plain.forward)
    assert len(plain.backward) < len(rematerialized.backward) < len(plain.backward) + len(plain.forward)
    assert len(rematerialized.forward) + len(rematerialized.backward) < 1.4 * work


def test_what_was_drawn_at_random_is_not_drawn_again():
    h = sym.Variable("data")
    for i in range(40):
        h = sym.Dropout(sym.tanh(h + 0.1), p=0.5, name=f"drop{i}")
    loss = sym.MakeLoss(sym.sum(h))
    tl.random.seed(3)
    plain = trained(loss, Passes(), "numpy", data=(50, 20))
    tl.random.seed(3)
    rematerialized = trained(loss, MIRROR, "numpy", data=(50, 20))
    np.testing.assert_array_equal(gradients(rematerialized)["data"], gradients(plain)["data"])


def test_a_small_graph_is_left_as_it_is():
    x = sym.Variable("x")
    loss = sym.MakeLoss(sym.sum(sym.exp(x)))
    plans = [str(trained(loss, p, "numpy", x=(3,)).plan()) for p in (Passes(), MIRROR)]
    assert plans[0] == plans[1]
