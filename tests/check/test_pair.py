"""Functions and gradients from anywhere: `check.pair`, `check.Pair` in property tests, and `check.taylor`."""

import ctypes
import ctypes.util
import re

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.errors import LessonError

A = np.random.default_rng(4).normal(size=(3, 4))
B = np.random.default_rng(5).normal(size=(4, 2))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


RIGHT = {
    "elementwise": (np.sin, lambda g, x: g * np.cos(x), [A]),
    "product": (lambda x, y: x @ y, lambda g, x, y: (g @ y.T, x.T @ g), [A, B]),
    "number": (lambda x: float(x @ x), lambda g, x: 2 * g * x, [A[0]]),
    "list": (lambda x: (x * x).tolist(), lambda g, x: (2 * g * x).tolist(), [A[0]]),
    "several": (lambda x: (x.sum(), x * x), lambda g, x: g[0] + 2 * x * g[1], [A[0]]),
    "none": (lambda x, n: x**n, lambda g, x, n: (g * n * x ** (n - 1), None), [np.abs(A), 3]),
    "softmax": (softmax, lambda g, x: softmax(x) * (g - g @ softmax(x)), [A[0]]),
    "solve": (
        np.linalg.solve,
        lambda g, m, b: (-np.outer(np.linalg.solve(m.T, g), np.linalg.solve(m, b)), np.linalg.solve(m.T, g)),
        [A[:, :3], A[:, 3]],
    ),
    "looks at its numbers": (lambda x: x * x if x[0] > 0 else x * 3, lambda g, x: g * (2 * x if x[0] > 0 else 3), [np.array([0.4, 1.2])]),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_passes(name):
    f, vjp, inputs = RIGHT[name]
    report = check.pair(f, vjp, *inputs)
    assert report.ok, str(report)
    assert report.compared


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("times", [-1, 3, 1.001])
def test_a_wrong_one_is_told_with_its_cause(name, times):
    f, vjp, inputs = RIGHT[name]

    def broken(g, *inputs):
        found = vjp(g, *inputs)
        found = found if isinstance(found, tuple) else (found,)
        return tuple(None if x is None else times * np.asarray(x) for x in found)

    report = check.pair(f, broken, *inputs)
    assert report.verdict == "wrong", str(report)
    assert report.cause == ("sign" if times == -1 else "factor"), str(report)
    assert report.factor is None or report.factor == pytest.approx(times)


@pytest.mark.parametrize(
    ("f", "vjp", "words"),
    [
        (np.sin, lambda g, x: np.cos(x), "incoming gradient"),
        (np.sin, lambda g, x: g[0] * np.cos(x), "gradient of x"),
        (lambda x: x * x, lambda g, x: {}[0], "KeyError"),
        (lambda x: x * x, lambda g, x: (2 * g * x)[:2], r"\(2,\), expected \(3,\)"),
        (lambda x: np.float32(x) ** 2, lambda g, x: 2 * g * x, "digits of float32"),
        (lambda x: x * x, lambda g, x: "2 x", "expected an array"),
    ],
)
def test_other_mistakes_are_told_too(f, vjp, words):
    report = check.pair(f, vjp, np.array([0.3, 0.5, 0.7]))
    assert not report.ok
    assert re.search(words, str(report)), str(report)


def test_what_is_no_array_is_refused():
    with pytest.raises(LessonError, match="expected an array of real numbers"):
        check.pair(lambda x: "x", lambda g, x: g, [1.0])
    with pytest.raises(LessonError, match="expected a function"):
        check.pair(np.sin, 3, [1.0])


@pytest.mark.skipif(ctypes.util.find_library("m") is None, reason="no C library of mathematics is found")
def test_a_function_in_c_is_checked():
    c = ctypes.CDLL(ctypes.util.find_library("m"))
    for name in ("erf", "exp"):
        getattr(c, name).restype, getattr(c, name).argtypes = ctypes.c_double, [ctypes.c_double]

    def erf(x):
        return np.vectorize(c.erf, otypes=[float])(x)

    def right(g, x):
        return g * 2 / np.sqrt(np.pi) * np.vectorize(c.exp, otypes=[float])(-x * x)

    assert check.pair(erf, right, A[0]).ok
    assert check.pair(erf, lambda g, x: right(g, x) / 2, A[0]).factor == pytest.approx(0.5)


# A forward rule beside the reverse one.


@pytest.mark.parametrize(
    ("jvp", "cause"),
    [
        (lambda v, x, y: v[0] @ y + x @ v[1], ""),
        (lambda v, x, y: -v[0] @ y - x @ v[1], "sign"),
        (lambda v, x, y: 2 * (v[0] @ y + x @ v[1]), "factor"),
        (lambda v, x, y: v[0] @ y, "missing term"),
        (lambda v, x, y: v[0] @ y - x @ v[1], "missing term"),
        (lambda v, x, y: 0 * (v[0] @ y), "missing term"),
    ],
)
def test_forward_and_reverse_rules_are_each_other_s_transpose(jvp, cause):
    f, vjp, inputs = RIGHT["product"]
    report = check.pair(f, vjp, *inputs, jvp=jvp)
    assert report.ok == (not cause), str(report)
    assert report.cause == cause


# In property tests.


def bowl(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def bowl_gradient(g, x):
    return g * np.array([-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)])


test_bowl = check.property_test(check.Pair(bowl, bowl_gradient), check.arrays((2,)), seed=1)


def test_a_property_test_finds_what_is_wrong_beyond_one_point():
    late = check.Pair(lambda x: x * np.abs(x), lambda g, x: 2 * g * x)  # right where x is positive
    assert check.gradients(late, [0.5, 1.5]).ok
    with pytest.raises(check.GradientError) as caught:
        check.property_test(late, check.arrays((2,)), seed=1)()
    assert caught.value.report.verdict == "wrong"


# Taylor remainders.


def decay(k, y):
    """An ODE by a hundred steps of Runge and Kutta's method."""
    for _ in range(100):
        a = -k * y * y
        b = -k * (y + 0.005 * a) ** 2
        y = y + 0.01 * b
    return tl.sum(y)


@pytest.mark.parametrize(
    ("f", "inputs"),
    [
        (lambda x: tl.sum(tl.exp(x)), [A]),
        (lambda x, y: tl.mean(tl.tanh(tl.matmul(x, y)) ** 2), [A, B]),
        (decay, [np.array(0.7), np.array([1.0, 2.0])]),
        (lambda x: tl.sum(3.0 * x), [A]),
        (lambda x: tl.sum(x**3), [np.zeros(3)]),
    ],
)
def test_taylor_passes_right_gradients(f, inputs):
    found = check.taylor(f, *inputs)
    assert found, str(found)
    assert np.isnan(found.order) or found.order > 1.9


@pytest.mark.parametrize("off", [1e-6, 1e-3, 1.0, -2.0])
def test_taylor_sees_how_little_is_wrong(off):
    found = check.taylor(bowl, [0.3, 0.6], gradient=lambda x: bowl_gradient(1.0, x) * [1, 1 + off])
    assert not found, str(found)
    assert found.order < 1.5
    assert "wrong" in str(found)
    assert check.taylor(bowl, [0.3, 0.6], gradient=lambda x: bowl_gradient(1.0, x))


def test_taylor_wants_one_number():
    with pytest.raises(LessonError, match=r"array of shape \(2,\)"):
        check.taylor(lambda x: x * x, [1.0, 2.0], gradient=lambda x: 2 * x)


def test_taylor_draws_its_remainders():
    pytest.importorskip("matplotlib").use("Agg")
    found = check.taylor(bowl, [0.3, 0.6], gradient=lambda x: bowl_gradient(1.0, x))
    axes = found.plot()
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), found.remainders)
    assert axes.get_xscale() == "log"


# The report as a picture and as a page.


@pytest.mark.parametrize("times", [1.0, 1.5])
def test_a_report_draws_rule_against_differences(times):
    pytest.importorskip("matplotlib").use("Agg")
    report = check.pair(np.sin, lambda g, x: times * g * np.cos(x), [0.5, 2.0])
    left, right = report.plot()
    points = left.lines[0].get_xydata()
    np.testing.assert_allclose(points[:, 0], times * points[:, 1], rtol=1e-8, atol=1e-12)
    gaps = right.lines[0].get_ydata()
    assert (np.nanmin(gaps) < 1e-8) == (times == 1.0)


def test_nothing_compared_is_nothing_to_draw():
    with pytest.raises(LessonError, match="nothing to draw"):
        check.gradients(tl.ops.elementwise.Sign(), [0.5]).plot()


def test_a_notebook_shows_the_page_with_its_names_escaped():
    report = check.pair(np.sin, lambda g, x: -g * np.cos(x), [0.5, 2.0])
    report.title = "<b>"
    page = report._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 3
    assert "<th>by rule</th>" in page
    assert "<table>" not in check.pair(np.sin, lambda g, x: g * np.cos(x), [0.5])._repr_html_()
