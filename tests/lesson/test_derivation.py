"""The gradients derived by hand, held against central differences in float64."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tinygrad_lesson.lesson import derivation

EPSILON = 1e-3  # of batch normalization
N, FEATURES, HIDDEN, KINDS = 20, 4, 7, 3


def differences(function, at, step=1e-5):
    """Central differences of a number `function(at)` by each element of `at`."""
    gradient = np.empty_like(at)
    for i in np.ndindex(at.shape):
        there, back = at.copy(), at.copy()
        there[i] += step
        back[i] -= step
        gradient[i] = (function(there) - function(back)) / (2 * step)
    return gradient


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


def layer(rng, name, outputs, inputs):
    return {f"{name}_weight": rng.normal(size=(outputs, inputs)), f"{name}_bias": rng.normal(size=outputs)}


@pytest.fixture
def rows():
    rng = np.random.default_rng(5)
    return rng.normal(size=(N, FEATURES)), np.eye(KINDS)[rng.integers(KINDS, size=N)]


@pytest.fixture
def mlp():
    rng = np.random.default_rng(6)
    return layer(rng, "fc1", HIDDEN, FEATURES) | layer(rng, "fc2", KINDS, HIDDEN)


@pytest.fixture
def residual_mlp():
    rng = np.random.default_rng(7)
    square = layer(rng, "fc1", FEATURES, FEATURES) | layer(rng, "fc2", FEATURES, FEATURES)
    return square | layer(rng, "fc3", KINDS, FEATURES)


@pytest.mark.parametrize("network", ["mlp", "residual_mlp"])
def test_gradients_of_every_weight_and_of_the_rows_agree_with_differences(network, rows, request):
    (x, y), weights = rows, request.getfixturevalue(network)
    loss = getattr(derivation, f"{network}_loss")
    gradients = getattr(derivation, f"{network}_gradients")(x, y, weights)
    assert gradients.keys() == {"x", *weights}
    for name, weight in weights.items():
        close(gradients[name], differences(lambda w, name=name: loss(x, y, weights | {name: w}), weight))
    close(gradients["x"], differences(lambda x: loss(x, y, weights), x))


def test_the_loss_is_the_mean_over_rows_of_minus_the_log_probability_of_the_true_kind(rows, mlp):
    x, y = rows
    l1 = x @ mlp["fc1_weight"].T + mlp["fc1_bias"]
    log_o = log_softmax(np.where(l1 > 0, l1, 0) @ mlp["fc2_weight"].T + mlp["fc2_bias"], axis=1)
    close(derivation.mlp_loss(x, y, mlp), -np.mean(log_o[np.arange(N), y.argmax(axis=1)]))


def test_the_gradient_passes_blocks_in_which_every_unit_is_dead(rows, residual_mlp):
    x, y = rows
    dead = residual_mlp | {"fc1_bias": np.full(FEATURES, -1e3), "fc2_bias": np.full(FEATURES, -1e3)}
    gradients = derivation.residual_mlp_gradients(x, y, dead)
    o = softmax(x @ dead["fc3_weight"].T + dead["fc3_bias"], axis=1)
    close(gradients["x"], (o - y) / N @ dead["fc3_weight"])
    assert not gradients["fc1_weight"].any()


@pytest.fixture
def normalized():
    rng = np.random.default_rng(8)
    x = rng.normal(2, 3, size=(N, FEATURES))
    return x, rng.normal(size=FEATURES), rng.normal(size=FEATURES), rng.normal(size=(N, FEATURES))


def test_batch_norm_gradients_agree_with_differences(normalized):
    x, gamma, beta, grad_y = normalized
    gradients = derivation.batch_norm_gradients(x, gamma, grad_y, epsilon=EPSILON)

    def loss(x=x, gamma=gamma, beta=beta):
        return np.sum(grad_y * derivation.batch_norm(x, gamma, beta, epsilon=EPSILON))

    close(gradients["x"], differences(lambda x: loss(x=x), x))
    close(gradients["gamma"], differences(lambda gamma: loss(gamma=gamma), gamma))
    close(gradients["beta"], differences(lambda beta: loss(beta=beta), beta))


def test_gradients_inside_batch_norm_agree_with_differences(normalized):
    x, gamma, beta, grad_y = normalized
    gradients = derivation.batch_norm_gradients(x, gamma, grad_y, epsilon=EPSILON)
    mean, variance = x.mean(axis=0), x.var(axis=0)

    def from_x_hat(x_hat):
        return np.sum(grad_y * (gamma * x_hat + beta))

    def from_variance(variance, mean=mean):
        return from_x_hat((x - mean) / np.sqrt(variance + EPSILON))

    def from_mean(mean):
        return from_variance(((x - mean) ** 2).mean(axis=0), mean)

    close(gradients["x_hat"], differences(from_x_hat, (x - mean) / np.sqrt(variance + EPSILON)))
    close(gradients["variance"], differences(from_variance, variance))
    close(gradients["mean"], differences(from_mean, mean))


def test_the_slide_is_off_by_the_number_of_rows_for_beta_and_gamma_only(normalized):
    x, gamma, beta, grad_y = normalized
    slide = derivation.batch_norm_slide_gradients(x, gamma, grad_y, epsilon=EPSILON)

    def loss(x=x, gamma=gamma, beta=beta):
        return np.sum(grad_y * derivation.batch_norm(x, gamma, beta, epsilon=EPSILON))

    close(N * slide["gamma"], differences(lambda gamma: loss(gamma=gamma), gamma))
    close(N * slide["beta"], differences(lambda beta: loss(beta=beta), beta))
    close(slide["x"], differences(lambda x: loss(x=x), x))
    assert not np.allclose(slide["beta"], differences(lambda beta: loss(beta=beta), beta), rtol=0.5)


def test_batch_norm_has_the_columns_mean_and_spread(normalized):
    x, gamma, beta, _ = normalized
    y = derivation.batch_norm(x, gamma, beta, epsilon=0.0)
    close(y.mean(axis=0), beta)
    close(y.std(axis=0), np.abs(gamma))
