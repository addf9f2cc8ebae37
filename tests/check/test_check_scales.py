"""At all scales: tiny elements beside large ones, infinite ones, waves that are nearly too fast, slopes lost in rounding."""

import numpy as np
import pytest
from scipy import special

import tinygrad_lesson as tl
from tinygrad_lesson import check


def along(derivative, factor=1.0):
    """The rule of a function of single elements, times a factor."""
    return lambda g, x: factor * g * derivative(x)


# A function near a place where it ends, jumps or bends: elements of very different sizes have steps of their own.

BESIDE = {
    "log": (np.log, lambda x: 1 / x, [1e-150, 2.0, 4e-30]),
    "cube root": (np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2), [4e-25, -50.0]),
    "square root": (np.sqrt, lambda x: 0.5 / np.sqrt(x), [1e-40, 9.0, 1e-9]),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, [1e-8, -1e-70, 3.0]),
    "tangent": (np.tan, lambda x: 1 + np.tan(x) ** 2, [3 * np.pi / 2 - 1e-6, 0.3]),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, [3e-10, 2.0, -1e-8]),
    "absolute": (np.abs, np.sign, [-1e-200, 5.0, 1e-14]),
    "x log x": (lambda x: special.xlogy(x, x), lambda x: np.log(x) + 1, [1e-100, 1.5]),
    "sign times square": (lambda x: x * np.abs(x), lambda x: 2 * np.abs(x), [1e-120, -1e-3, 7.0]),
    "arsinh of a steep line": (
        lambda x: np.arcsinh(1e8 * x), lambda x: 1e8 / np.sqrt(1 + 1e16 * x * x), [1e-9, -3e-8, 1.0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_tiny_elements_beside_large_ones_have_steps_of_their_own(name):
    f, derivative, x = BESIDE[name]
    for point in (x, x[:1], x[::-1]):
        report = check.pair(f, along(derivative), point)
        assert report.ok, str(report)
        report = check.pair(f, along(derivative, 2.0), point)
        assert (report.verdict, report.cause) == ("wrong", "factor"), str(report)


@pytest.mark.parametrize("offset", [1e-3, 1e-6, 0.0])
def test_a_kink_that_rounding_hides_from_shorter_steps_is_still_one(offset):
    report = check.gradients(lambda x: tl.sqrt(tl.abs(x) + 0.25) + offset, np.array([0.7, -1e-16, 0.2]))
    assert report.verdict == "kink", str(report)


# Infinite elements, as of a mask: no step moves them.

MASK = np.where(np.tri(3) > 0, 0.0, -np.inf)
HELD = {
    "log of a sum of powers": (
        special.logsumexp, lambda g, x: g * np.exp(x - special.logsumexp(x)), [-np.inf, 0.4, 1.0],
    ),
    "tanh": (np.tanh, along(lambda x: 1 - np.tanh(x) ** 2), [np.inf, 0.5, -np.inf]),
    "arctan": (np.arctan, along(lambda x: 1 / (1 + x * x)), [-np.inf, 3.0]),
    "reciprocal": (lambda x: 1 / x, along(lambda x: -1 / x**2), [np.inf, 2.0]),
    "minimum": (lambda x: np.minimum(x, 5.0), along(lambda x: (x < 5) * 1.0), [np.inf, 2.0]),
    "not a number passed over": (np.nansum, lambda g, x: g * ~np.isnan(x), [np.nan, 0.5, 2.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("full", [None, True, False])
def test_infinite_elements_are_held_and_the_others_checked(name, full):
    f, rule, x = HELD[name]
    report = check.pair(f, rule, x, full=full)
    assert report.ok, str(report)
    report = check.pair(f, lambda g, x: 3 * rule(g, x), x, full=full)
    assert (report.verdict, report.cause) == ("wrong", "factor"), str(report)


def test_masked_attention_passes_in_single_precision_too():
    scores, values = np.random.default_rng(0).normal(size=(2, 3, 3))
    report = check.gradients(lambda s, m, v: tl.matmul(tl.softmax(s + m), v), scores, MASK, values)
    assert report.ok, str(report)
    assert not report.notes
    report = check.gradients(tl.log_softmax, np.where(np.isinf(MASK), -1e3, scores))
    assert report.ok, str(report)


# Waves that the longest steps cannot resolve, even where they happen to fit.


@pytest.mark.parametrize("frequency", [1e6, 7e6, 2e7, 3e7, 5e7, 8e7])
@pytest.mark.parametrize("x", [1.0, 0.3, -1.7, 0.02])
def test_a_short_step_that_is_resolved_outvotes_a_long_one(frequency, x):
    report = check.pair(
        lambda x: np.sin(frequency * x), along(lambda x: frequency * np.cos(frequency * x)), x
    )
    assert report.ok, str(report)
    assert not check.pair(lambda x: np.sin(frequency * x), along(lambda x: 0.0 * x), x).ok


def test_waves_of_many_lengths_pass():
    heights, lengths = 0.6 ** np.arange(8), np.pi * 7.0 ** np.arange(8)

    def rule(g, x):
        return g * np.sum(-heights * lengths * np.sin(lengths * x[:, None]), axis=1)

    report = check.pair(
        lambda x: np.sum(heights * np.cos(lengths * x[:, None]), axis=1), rule, [0.3, -1.1, 2.3]
    )
    assert report.ok, str(report)


# Slopes that are lost in rounding, and slopes that are none.


@pytest.mark.parametrize("large", [1e15, 1e16, 3e17, -1e20])
def test_a_slope_that_a_large_number_swallows_is_not_called_right(large):
    report = check.gradients(lambda x: (x + large) - large, [0.3, 1.7])
    assert report.verdict in ("cannot tell", "float noise"), str(report)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: tl.sum(x - tl.mean(x)),
        lambda x: tl.sum(tl.softmax(x)),
        lambda x: tl.sum(x * 3.0 - x * 2.0 - x),
    ],
)
def test_where_all_derivatives_are_zero_the_report_says_so_instead_of_a_relative_error(f):
    report = check.gradients(f, [0.3, 1.7, -0.4])
    assert report.ok, str(report)
    assert "all derivatives are 0 here, up to rounding" in str(report)
    assert "relative error" not in str(report)


@pytest.mark.parametrize("factor", [1.0, 1.001, 0.0])
def test_the_taylor_remainder_holds_infinite_elements(factor):
    found = check.taylor(
        lambda x: np.sum(np.exp(x)), [-np.inf, 0.4, 1.0], gradient=lambda x: factor * np.exp(x)
    )
    assert found.ok == (factor == 1), str(found)


@pytest.mark.parametrize(
    ("f", "gradient", "x"),
    [
        (np.log, lambda x: 1 / x, [-1.0, 2.0]),
        (np.sqrt, lambda x: 0.5 / np.sqrt(x), [0.0, 1.0]),
        (np.exp, np.exp, [800.0, 1.0]),
        (np.square, lambda x: x * np.nan, [0.5, 1.0]),
    ],
)
def test_a_taylor_remainder_that_is_not_finite_is_no_straight_line(f, gradient, x):
    found = check.taylor(lambda x: np.sum(f(x)), x, gradient=gradient)
    assert not found.ok
    assert "not finite" in str(found)


def entropy(x):
    p = tl.log_softmax(x)
    return -tl.sum(tl.exp(p) * p)


@pytest.mark.parametrize(
    "stopped",
    [
        lambda x: entropy(x) + tl.stop_gradient(tl.sum(x * x)),
        lambda x: entropy(x) + tl.sum(x * x.numpy()),
        lambda x: entropy(x) + tl.sum(x * tl.Tensor(np.abs(x.numpy()))),
        lambda x: entropy(x) + tl.sum(tl.square(tl.linear_regression_output(x, np.ones(3)))),
        lambda x: entropy(x) + tl.sum(tl.linear_regression_output(x, np.ones(3))),
        lambda x: tl.Tensor(np.square(x.numpy())),
        lambda x: tl.softmax(
            x, temperature=1 + float(x.numpy()[1]) / 50
        ),  # an attribute, which no graph shows
    ],
)
def test_a_gradient_that_is_stopped_there_is_wrong_all_the_same(stopped):
    assert check.gradients(stopped, np.array([0.0, 40.0, -3.0])).verdict == "wrong"
