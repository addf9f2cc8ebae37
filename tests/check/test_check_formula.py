"""Gradients by hand beside autodiff: the lesson's derivations, right ones and the slide that is not."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.lesson import derivation as lesson

GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(12, 4))
Y = np.eye(3)[np.arange(12) % 3]
NAMES = ("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")
WEIGHTS = [GENERATOR.normal(size=s) for s in ((5, 4), (5,), (3, 5), (3,))]


def mlp(x, y, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h1 = tl.relu(tl.linear(x, fc1_weight, fc1_bias))
    l2 = tl.linear(h1, fc2_weight, fc2_bias)
    return -tl.mean(tl.sum(y * tl.log_softmax(l2), axis=1))


def by_hand(x, y, *weights):
    return lesson.mlp_gradients(x, y, dict(zip(NAMES, weights, strict=True)))


def batch_norm(x, gamma, beta):
    centred = x - tl.mean(x, axis=0)
    variance = tl.mean(centred * centred, axis=0)
    x_hat = centred / tl.sqrt(variance + 1e-3)
    return x_hat * gamma + beta, {"x_hat": x_hat, "variance": variance}


def test_the_lesson_s_perceptron_agrees():
    report = check.derivation(by_hand, mlp, X, Y, *WEIGHTS)
    assert report.ok, str(report)
    assert report.compared == 21 * sum(x.size for x in (X, *WEIGHTS))


def test_batch_normalization_agrees_step_by_step():
    report = check.derivation(
        lambda x, gamma, beta, g: lesson.batch_norm_gradients(x, gamma, g), batch_norm, X, X[0], X[1]
    )
    assert report.ok, str(report)
    assert "x_hat, variance" in str(report)


def test_the_slide_s_batch_normalization_parts_at_beta_by_one_over_n():
    report = check.derivation(
        lambda x, gamma, beta, g: lesson.batch_norm_slide_gradients(x, gamma, g), batch_norm, X, X[0], X[1]
    )
    assert (report.verdict, report.cause, report.input) == ("wrong", "factor", "beta")
    assert report.factor == pytest.approx(1 / 12)
    assert "1 / the size 12" in str(report)


@pytest.mark.parametrize(
    ("name", "cause", "change"),
    [
        ("fc1_weight", "sign", lambda g: -g),
        ("fc2_bias", "factor", lambda g: g * 1.01),
        ("fc2_weight", "transposed", lambda g: g.T),
        ("fc1_bias", "broadcast sum", lambda g: np.ones((12, 1)) * g),
        ("x", "missing term", lambda g: g + 1),
    ],
)
def test_each_mistake_is_shown_where_it_is(name, cause, change):
    def formula(*inputs):
        found = by_hand(*inputs)
        return found | {name: change(found[name])}

    report = check.derivation(formula, mlp, X, Y, *WEIGHTS)
    assert (report.input, report.cause) == (name, cause)
    assert report.cause in str(report)


def test_a_rule_that_holds_at_one_point_alone_is_found_out():
    report = check.derivation(lambda x: 2 * x, lambda x: tl.sum(x * x * x), np.full(3, 2 / 3))
    assert not report.ok


def test_autodiff_that_is_wrong_itself_is_said_so():
    report = check.derivation(lambda x: 2 * x, lambda x: tl.sum(x * x.detach()), np.ones(3))
    assert "autodiff itself fails" in str(report)


def test_points_of_one_s_own():
    drawn = []

    def sample(generator):
        drawn.append(generator.uniform(1, 2, 3))
        return [drawn[-1]]

    assert check.derivation(
        lambda x: 1 / x, lambda x: tl.sum(tl.log(x)), np.ones(3), sample=sample, points=4
    ).ok
    assert len(drawn) == 4


def test_a_formula_for_nothing_that_is_known_is_refused():
    with pytest.raises(LessonError, match="gives gradients of z; .* knows x"):
        check.derivation(lambda x: {"z": x}, lambda x: tl.sum(x), np.ones(3))
