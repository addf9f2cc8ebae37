"""Corners of softmax and batch normalization."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor
from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.ops.nn import BatchNorm
from tinygrad_lesson.run import RUNNERS


def test_softmax_of_huge_numbers_does_not_overflow():
    x = np.array([[1e4, 1e4, -1e4], [0, 1000, 0]])
    np.testing.assert_array_equal(tl.softmax(x).numpy(), [[0.5, 0.5, 0], [0, 1, 0]])
    np.testing.assert_allclose(tl.log_softmax(x).numpy()[1], [-1000, 0, -1000])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_adds_up_to_one_along_its_axis(axis):
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(tl.softmax(x, axis=axis).numpy().sum(axis=axis), 1)
    np.testing.assert_allclose(np.exp(tl.log_softmax(x, axis=axis).numpy()), tl.softmax(x, axis=axis).numpy())


def test_a_temperature_of_0_is_refused():
    with pytest.raises(AttributeValueError, match="Softmax: temperature is 0"):
        tl.softmax(np.ones(3), temperature=0)


def layer(channels, **kinds):
    """Gamma, beta, moving mean and moving variance."""
    return [Tensor(np.full(channels, value), **kinds) for value in (2.0, 1.0, 0.0, 1.0)]


def test_training_moves_the_statistics_in_place_and_prediction_leaves_them():
    x = np.random.default_rng(0).normal(3, 2, size=(50, 4))
    gamma, beta, mean, var = layer(4)
    y = tl.batch_norm(x, gamma, beta, mean, var, eps=1e-5)
    np.testing.assert_allclose(y.numpy().mean(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(y.numpy().std(axis=0), 2, rtol=1e-5)
    np.testing.assert_allclose(mean.numpy(), 0.1 * x.mean(axis=0))
    np.testing.assert_allclose(var.numpy(), 0.9 + 0.1 * x.var(axis=0))
    before = mean.numpy(), var.numpy()
    y = tl.batch_norm(x, gamma, beta, mean, var, is_train=False, eps=1e-5)
    np.testing.assert_allclose(y.numpy(), (x - before[0]) / np.sqrt(before[1] + 1e-5) * 2 + 1)
    np.testing.assert_array_equal(mean.numpy(), before[0])
    np.testing.assert_array_equal(var.numpy(), before[1])


def test_a_fixed_gamma_counts_as_1_and_has_no_gradient():
    x = Tensor(np.random.default_rng(0).normal(size=(5, 3)), requires_grad=True)
    gamma, beta, mean, var = layer(3)
    gamma.requires_grad = True
    y = tl.batch_norm(x, gamma, beta, mean, var, fix_gamma=True)
    (y * y).sum().backward()
    np.testing.assert_allclose(y.numpy().std(axis=0), 1, rtol=1e-2)
    assert gamma.grad.numpy().tolist() == [0, 0, 0]


def test_gradients_of_a_normalized_batch_add_up_to_zero():
    x = Tensor(np.random.default_rng(0).normal(size=(5, 3)), requires_grad=True)
    y = tl.batch_norm(x, *layer(3))
    (y * np.random.default_rng(1).normal(size=(5, 3))).sum().backward()
    np.testing.assert_allclose(x.grad.numpy().sum(axis=0), 0, atol=1e-12)


def test_shapes_of_a_layer_come_from_the_channels_of_the_data():
    assert BatchNorm(axis=-1).parameters((2, 3, 4))["gamma"] == (4,)
    with pytest.raises(ShapeError, match=r"beta is \(1,\), expected \(3,\)"):
        tl.batch_norm(np.ones((5, 3)), np.ones(3), np.ones(1), Tensor(np.ones(3)), Tensor(np.ones(3)))
    with pytest.raises(ShapeError, match=r"data is \(3,\), expected at least \(batch, channel\)"):
        tl.batch_norm(np.ones(3), *layer(3), axis=0)


def test_statistics_are_results_on_request():
    x = np.random.default_rng(0).normal(size=(5, 3))
    _, mean, inverse = tl.batch_norm(x, *layer(3), output_mean_var=True, eps=0.0)
    np.testing.assert_allclose(mean.numpy(), x.mean(axis=0))
    np.testing.assert_allclose(inverse.numpy(), 1 / x.std(axis=0))


@pytest.mark.parametrize("is_train", [False, True])
def test_gradients_of_a_normalization_are_those_of_its_forward_pass_though_training_moved_the_states(
    is_train,
):
    x = np.random.default_rng(0).normal(3, 2, size=(8, 3))

    def slopes(moved):
        gamma, beta, mean, var = layer(3)
        gamma.requires_grad = True
        leaf = Tensor(x, requires_grad=True)
        y = tl.batch_norm(leaf, gamma, beta, mean, var, is_train=is_train)
        if moved:
            tl.batch_norm(x * 5 + 7, gamma, beta, mean, var, is_train=True)
        (y * y).sum().backward()
        return gamma.grad.numpy(), leaf.grad.numpy()

    for found, expected in zip(slopes(True), slopes(False), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("is_train", [False, True])
def test_no_result_of_a_normalization_shares_memory_with_a_state(is_train):
    arrays = [np.ones((4, 3)), *[np.full(3, value) for value in (1.0, 0.0, 2.0, 3.0)]]
    results = BatchNorm(is_train=is_train).forward(np, *arrays)[:3]
    assert not any(np.may_share_memory(y, a) for y in results for a in arrays)


@pytest.mark.parametrize("runner", ["eager", *RUNNERS])
def test_halves_are_normalized_with_statistics_in_single(runner):
    x = (np.random.default_rng(0).normal(size=(4, 1, 100, 100)) * 300 + 1000).astype(np.float16)
    if runner == "eager":
        kinds = {"dtype": np.float32}
        leaf = Tensor(x, requires_grad=True)
        y = tl.batch_norm(leaf, *layer(1, **kinds), eps=1e-5)
        (y * y).mean().backward()
        y, dx = (y.numpy() - 1) / 2, leaf.grad.numpy()  # of layers whose gamma is 2 and beta 1
    else:
        net = tl.sym.BatchNorm(tl.sym.Variable("data"), eps=1e-5)
        executor = net.simple_bind(tl.cpu(), type_dict={"data": "float16"}, runner=runner, data=x.shape)
        (y,) = executor.forward(is_train=True, data=x)
        executor.backward([y])
        dx = executor.grad_dict["data"]
    assert y.dtype == np.float16
    y = y.astype(float)
    assert abs(y.mean()) < 1e-3
    assert np.std(y) == pytest.approx(1, rel=1e-3)
    assert np.isfinite(dx).all()
    assert np.abs(dx).max() < 0.1  # a normalized batch has no way to grow


def test_softmax_of_many_halves_adds_up_to_one():
    y = tl.softmax(np.zeros(70_000, np.float16)).numpy().astype(float)
    assert y.sum() == pytest.approx(1, rel=2e-3)
