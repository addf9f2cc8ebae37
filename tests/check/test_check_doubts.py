"""What seems wrong and is not: waves shorter than any step, mixed sizes, tolerances inside, parts lost in rounding.

Beside each stands a rule that is broken there: it is caught all the same.
"""

import warnings

import numpy as np
import pytest
from planted import changed, computing, network, planted, with_gradients
from scipy import special

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.ops.anchored import BoxDecode
from tinygrad_lesson.ops.elementwise import Tanh

# Huge elements: the longer steps reach over whole waves.


def bessel(f):
    """A function of tensors as one of arrays: it has all digits of huge numbers, which SciPy's has not."""
    return lambda x: f(tl.Tensor(x)).numpy()


WAVES = {
    "sine": (np.sin, np.cos, [2e9, 3e8, 1.0]),
    "cosine": (np.cos, lambda x: -np.sin(x), [-7e8, 4e7]),
    "Bessel": (bessel(tl.j1), lambda x: bessel(tl.j0)(x) - bessel(tl.j1)(x) / x, [2e9, 5e8]),
    "Bessel beside a larger one": (bessel(tl.j0), lambda x: -bessel(tl.j1)(x), [2e9, 3e10]),
    "wave on a line": (lambda x: x + np.sin(x), lambda x: 1 + np.cos(x), [3e8, -2e7]),
    "sawtooth smoothed": (lambda x: np.arcsin(0.9 * np.sin(x)),
                          lambda x: 0.9 * np.cos(x) / np.sqrt(1 - 0.81 * np.sin(x) ** 2), [1e9]),
}  # fmt: skip


@pytest.mark.parametrize("name", WAVES)
@pytest.mark.parametrize("seed", range(3))
def test_a_wave_of_a_huge_number_is_met_by_steps_that_are_short_beside_it(name, seed):
    f, slope, x = WAVES[name]
    report = check.pair(f, lambda g, x: g * slope(x), x, seed=seed)
    assert report.ok, str(report)
    assert report.sharpest < 1e-3


@pytest.mark.parametrize("f", [tl.sinc, tl.j1, tl.y0, tl.sin])
def test_no_wave_of_any_number_is_called_wrong(f):
    generator = np.random.default_rng(5)
    for seed in range(60):
        x = 10 ** generator.uniform(0, 12, generator.integers(1, 5))
        report = check.gradients(f, x, seed=seed, culprit=False)
        assert report.verdict != "wrong", str(report)


@pytest.mark.parametrize("name", WAVES)
@pytest.mark.parametrize("times", [1.01, -1.0, 0.5])
def test_a_wrong_slope_of_such_a_wave_is_not_taken_for_right(name, times):
    f, slope, x = WAVES[name]
    assert not check.pair(f, lambda g, x: times * g * slope(x), x).ok


@pytest.mark.parametrize("x", [1e3, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("seed", range(3))
def test_a_rule_that_fits_the_longest_steps_alone_is_wrong(x, seed):
    for f, slope in ((np.sin, 0.0), (lambda x: x + np.sin(x), 1.0), (lambda x: 3 * x - np.cos(2 * x), 3.0)):
        report = check.pair(f, lambda g, x, slope=slope: slope * g, [x], seed=seed)
        assert report.verdict == "wrong", str(report)


@pytest.mark.parametrize("steep", [1e2, 1e4, 1e5])
@pytest.mark.parametrize("x", [-1e-4, 0.0, 5e-5])
def test_a_steep_slope_that_a_rule_leaves_out_is_no_jump(steep, x):
    def slope(g, x):
        return g * steep * special.expit(steep * x) * special.expit(-steep * x)

    assert check.pair(lambda x: special.expit(steep * x), slope, [x]).ok
    assert check.pair(lambda x: special.expit(steep * x), lambda g, x: 0 * g, [x]).verdict == "wrong"


def test_elements_beside_a_huge_one_do_not_move_as_far_along_a_direction():
    data = np.full((1, 3, 4), 0.4)
    data[0, 2, 3] = -9e9
    op = BoxDecode(std0=0.1, std1=0.2, std2=0.5, std3=2.0, clip=0.5, format="corner")
    anchors = np.array([[[0.0, 0.0, 1.0, 1.0], [0.2, 0.1, 1.2, 1.3], [0.3, 0.3, 1.3, 1.1]]])
    for seed in range(5):
        report = check.gradients(op, data, anchors, full=False, seed=seed)
        assert report.verdict != "wrong", str(report)


@pytest.mark.parametrize("times", [1.0, 1.01])
def test_a_direction_tells_what_is_wrong_beside_a_huge_element(times):
    x = np.array([1e10, 0.3, -0.7, 0.2, 1.1])
    report = check.pair(np.tanh, lambda g, x: times * g * (1 - np.tanh(x) ** 2), x, full=False)
    assert report.ok == (times == 1.0), str(report)


MIXED = {
    "gammaln": (tl.gammaln, [[-0.9999, 1e8, 1e-8, 30.5]]),
    "digamma": (tl.digamma, [[-0.9999, 1e8, 1e-8, 30.5]]),
    "hypot": (tl.hypot, [[3e200, 5.0], [4e200, 1e-9]]),
    "square": (tl.square, [[1e150, 1e-150, 1.0, 1e10]]),
    "cube root": (tl.cbrt, [[1e30, 2.0, 1e-12]]),
}


@pytest.mark.parametrize("name", MIXED)
def test_elements_of_all_sizes_in_one_array_do_not_count_as_noise_of_each_other(name):
    f, inputs = MIXED[name]
    report = check.gradients(f, *map(np.array, inputs))
    assert report.ok, str(report)
    half = check.gradients(
        lambda *xs: f(*xs) + 0 * tl.stop_gradient(f(*xs)) - 0.5 * tl.stop_gradient(f(*xs)), *inputs
    )
    assert half.verdict == "wrong", str(half)


@pytest.mark.parametrize(("t", "k"), [(2460310.5, 0.0172), (1e6, 1.0), (2e6, 0.1), (1e5, 0.0172)])
def test_a_huge_input_does_not_make_noise_of_the_waves_of_another(t, k):
    def rule(g, t, k):
        return g * np.cos(k * t) * k, g * np.cos(k * t) * t

    for seed in range(4):
        report = check.pair(lambda t, k: np.sin(k * t), rule, np.array(t), np.array(k), seed=seed)
        assert report.ok, str(report)
        times = [1.01, -1.0, 0.5, 2.0][seed]
        for off in ((times, 1.0), (1.0, times)):
            broken = check.pair(
                lambda t, k: np.sin(k * t), lambda g, t, k, off=off: tuple(np.array(rule(g, t, k)) * off),
                np.array(t), np.array(k), seed=seed,
            )  # fmt: skip
            assert not broken.ok, str(broken)


def test_what_single_precision_cannot_hold_is_not_checked_in_it():
    weak = check.gradients(lambda k, c: 2 * k * c / (k + tl.sqrt(k * k + 4 * k * c)), [1e-40], [1e-3])
    assert weak.ok, str(weak)
    assert "beyond the range of single precision, which was not checked" in weak.notes
    assert check.gradients(lambda a: tl.linalg.slogdet(a)[1], np.eye(2) * 1e-40).ok


# A part of the slope that rounding takes away.


def entropy(x):
    logs = tl.log_softmax(x)
    return -tl.sum(tl.exp(logs) * logs)


@pytest.mark.parametrize(
    "x", [[0.0, 100.0], [0.0, 40.0, -3.0], [0.0, -50.0, -97.0], [[1.0, 60.0], [-80.0, 3.0]]]
)
def test_where_every_op_is_right_and_rounding_hides_a_part_nothing_is_called_wrong(x):
    report = check.gradients(entropy, np.array(x))
    assert report.verdict in ("ok", "cannot tell"), str(report)


def test_an_op_that_is_wrong_by_itself_is_wrong_there_too():
    twice = changed(Tanh, vjp=with_gradients(Tanh, lambda d: 2 * d))
    report = check.gradients(
        lambda x: entropy(x) + tl.sum(tl.Tensor.F.apply(twice(), (x,))), np.array([0.0, 40.0])
    )
    assert report.verdict == "wrong", str(report)
    assert report.culprit.op == "BrokenTanh"


def later(x):
    """Half of it is written into the result after it was recorded."""
    y = tl.sin(x)
    y.array[...] += np.square(x.numpy())
    return y * 1.0


def test_what_is_written_past_the_graph_is_no_part_of_it():
    assert check.gradients(later, np.array([0.3, 1.2])).verdict == "wrong"


# Functions that end at a tolerance.


def fixed_point(tolerance):
    """The solution x of x = cos(a x), for each a."""

    def solve(a):
        found = []
        for each in a.tolist():
            x, new = 0.5, np.cos(each * 0.5)
            while abs(new - x) >= tolerance:
                x, new = new, np.cos(each * new)
            found.append(new)
        return np.array(found)

    return solve


def newton(tolerance):
    """The same by Newton's method."""

    def solve(a):
        x = np.full(a.shape, 0.5)
        step = np.ones(a.shape)
        while np.max(np.abs(step)) >= tolerance:
            step = (x - np.cos(a * x)) / (1 + a * np.sin(a * x))
            x = x - step
        return x

    return solve


def implicit(times=1.0):
    """The rule by the implicit function theorem."""

    def rule(g, a):
        x = newton(1e-15)(a)
        return times * g * -np.sin(a * x) * x / (1 + a * np.sin(a * x))

    return rule


SOLVERS = [(fixed_point, 10.0**-n) for n in (5, 6, 8, 10)] + [(newton, 1e-3), (newton, 1e-4), (newton, 1e-6)]


@pytest.mark.parametrize(("solver", "tolerance"), SOLVERS)
def test_the_tolerance_of_a_solver_is_no_mistake_of_its_rule(solver, tolerance):
    a = np.array([0.3, 0.77, 0.9, 0.55])
    report = check.pair(solver(tolerance), implicit(), a)
    assert report.verdict in ("ok", "float noise", "cannot tell"), str(report)


@pytest.mark.parametrize(("solver", "tolerance"), SOLVERS)
@pytest.mark.parametrize("times", [1.01, -1.0, 0.0])
def test_a_wrong_rule_of_a_solver_is_wrong(solver, tolerance, times):
    report = check.pair(solver(tolerance), implicit(times), np.array([0.3, 0.77, 0.9, 0.55]))
    assert report.verdict == "wrong", str(report)


def test_a_corner_nearby_excuses_no_rule():
    def f(x):
        return np.sin(x) + 0.01 * np.maximum(x - 0.52, 0)

    assert check.pair(f, lambda g, x: g * np.cos(x), [0.5, 0.4]).ok
    assert check.pair(f, lambda g, x: 1.0001 * g * np.cos(x), [0.5, 0.4]).verdict == "wrong"


def test_a_function_that_is_not_defined_further_away_is_judged_where_it_is():
    def f(x):
        if np.any(x < 0.05):
            raise ValueError("below 0.05")
        return np.sqrt(x)

    assert check.pair(f, lambda g, x: 1.0001 * g * 0.5 / np.sqrt(x), [0.066, 1.0]).verdict == "wrong"


@pytest.mark.parametrize(("part", "verdict"), [(1e-10, "ok"), (3e-9, "cannot tell"), (1e-7, "wrong")])
def test_a_gap_beyond_half_of_the_digits_may_be_an_approximation(part, verdict):
    report = check.pair(np.exp, lambda g, x: (1 + part) * g * np.exp(x), [0.3, -1.0])
    assert report.verdict == verdict, str(report)


# What a function may do besides.


@pytest.mark.parametrize("order", [1, 2])
def test_a_function_may_take_a_gradient_itself(order):
    def residual(x, w):
        u = tl.tanh(x * w)
        (slope,) = tl.grad(tl.sum(u), [x], create_graph=True)
        return slope + u * u

    report = check.gradients(residual, np.array([0.3, 0.5]), np.array([1.0, -2.0]), order=order)
    assert report.ok, str(report)


def test_complex_numbers_on_the_way_cause_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = np.random.default_rng(0).standard_normal(9)
        report = check.gradients(lambda x: tl.log1p(tl.real(tl.fft.rfft(x)) ** 2), x)
    assert report.ok, str(report)


# Causes.


def test_an_attribute_that_is_computed_from_the_input_is_named():
    x = np.array([0.3, 1.7, -0.6])
    report = check.gradients(lambda x: tl.softmax(x, temperature=1 + float(x.numpy()[1]) / 5), x)
    assert (report.verdict, report.cause) == ("wrong", "accumulation")
    assert "Softmax(" in report.sentence


def test_every_number_that_is_taken_past_the_graph_is_named():
    def stopped(x):
        e = tl.exp(x - tl.stop_gradient(tl.max(x)))
        return e / tl.Tensor(np.sum(e.numpy())) + tl.Tensor(np.tanh(x.numpy()))

    report = check.gradients(stopped, np.array([0.4, -0.3, 1.2]))
    assert report.verdict == "wrong"
    assert (
        "Divide() and Add() take numbers that were computed from x without being recorded" in report.sentence
    )


def test_a_rule_that_gives_nothing_but_rounding_has_no_factor():
    x = 2 * np.pi * np.array([1.0, -2.0, 5.0])
    report = check.pair(lambda x: x * np.sin(x), lambda g, x: g * np.sin(x), x)
    assert (report.verdict, report.cause) == ("wrong", "missing term")
    assert "the rule gives no gradient for x" in report.sentence


def test_digits_that_single_precision_lost_on_the_way_are_float_noise():
    def rule(g, x):
        x = x.astype(np.float32)
        return g * (np.exp(x - np.log(np.sum(np.exp(x - 90))) - np.float32(90))).astype(float)

    def logsumexp(x):
        return special.logsumexp(x)

    assert check.pair(logsumexp, rule, [99.3, 100.1, 97.2, 98.8]).cause == "float noise"


@pytest.mark.parametrize("name", ["relu16", "relu19"])
def test_an_op_is_named_whose_directions_cross_its_kinks(name):
    symbol, inputs = network("res25")
    node = next(node for node in computing(symbol) if node.name == name)
    broken = planted(symbol, node, vjp=with_gradients(type(node.op), lambda d: d * 1.01))
    report = check.gradients(broken, inputs, full=False)
    assert report.verdict == "wrong"
    assert report.culprit.name == name
