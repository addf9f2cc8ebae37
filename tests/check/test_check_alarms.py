"""No false alarms: right rules pass, at a kink it is said so, float32 is not blamed for rounding."""

import os
import subprocess
import sys

import numpy as np
import pytest
from right_functions import KINKED, MINIMA, SMOOTH, TWICE

import tinygrad_lesson as tl
from tinygrad_lesson import check, sym
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.op import OPS

FIRST = int(os.environ.get("CHECK_FIRST", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("CHECK_SEEDS", "2")))  # `make alarms` takes 1,000
HARD = {
    "large": lambda x: x * 1e3,
    "tiny": lambda x: x * 1e-8,
    "tied": lambda x: np.where(np.arange(x.size).reshape(x.shape) == x.size - 1, x.flat[0], x),
    "strided": lambda x: np.repeat(x[..., None], 2, axis=-1)[..., 0],
}


def has_numbers(x):
    return x.dtype.kind == "f" and x.size > 0


@pytest.mark.parametrize("cls", OPS.values(), ids=lambda cls: cls.name)
def test_right_rules_pass(cls):
    for seed in SEEDS:
        op, inputs = Draw(seed).sample(cls)
        arrays = list(inputs.values())
        if any(map(has_numbers, arrays)):
            report = check.gradients(op, *arrays, order=1 + seed % 2, seed=seed)
            assert report.ok, str(report)


@pytest.mark.parametrize("cls", OPS.values(), ids=lambda cls: cls.name)
def test_right_rules_are_not_called_wrong_at_hard_numbers(cls):
    for seed in SEEDS:
        op, inputs = Draw(seed).sample(cls)
        harden = HARD[list(HARD)[seed % len(HARD)]]
        arrays = [harden(x) if has_numbers(x) else x for x in inputs.values()]
        if any(map(has_numbers, arrays)):
            report = check.gradients(op, *arrays, seed=seed)
            assert report.verdict != "wrong", str(report)


@pytest.mark.parametrize("name", KINKED)
def test_on_a_kink_the_verdict_is_kink_and_beside_it_never_wrong(name):
    f, kink = KINKED[name]
    generator = np.random.default_rng(1)
    for distance in (0, 1e-15, 1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        for _ in range(3):
            x = generator.normal(size=5)
            x[generator.integers(5)] = kink + distance * max(1, kink) * generator.choice([-1, 1])
            expected = ("kink",) if distance == 0 else ("ok",) if distance >= 1e-5 else ("ok", "kink")
            report = check.gradients(f, x)
            assert report.verdict in expected, str(report)


def test_a_corner_of_one_part_in_ten_thousand_is_a_kink():
    report = check.gradients(lambda x: 1e-4 * tl.relu(x) + x, np.array([0.0, 0.3]))
    assert report.verdict == "kink"
    assert report.culprit.op == "Relu"


@pytest.mark.parametrize("shape", [(10_000,), (100, 100), (2, 5000), (5000, 2)])
@pytest.mark.parametrize("scale", [1.0, 20.0, 1e-4])
def test_single_precision_passes_up_to_ten_thousand_elements(shape, scale):
    x = (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)
    for f in (tl.tanh, tl.softmax, tl.log_softmax, tl.relu, tl.softsign, tl.var, tl.exp, tl.max):
        report = check.gradients(f, x)
        assert report.ok, str(report)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_that_cancel_pass(dtype):
    x = np.random.default_rng(0).normal(size=(300, 300)).astype(dtype)
    for f in (
        lambda x: tl.sum(x - tl.mean(x)),
        lambda x: tl.sum(tl.tanh(x) - tl.tanh(x) * 1.0),
        lambda x: tl.sum(tl.softmax(x)),
        lambda x: tl.sum(x * 3.0 - x * 2.0 - x),
    ):
        report = check.gradients(f, x)
        assert report.ok, str(report)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in SMOOTH for name in SMOOTH[kind]])
def test_right_functions_pass(kind, name):
    f, *inputs = SMOOTH[kind][name]
    report = check.gradients(f, *inputs, order=2 if kind in TWICE else 1)
    assert report.ok, str(report)


@pytest.mark.parametrize("seed", [0, 4])
def test_a_deep_network_that_magnifies_rounding_passes(seed):
    x = sym.Variable("data")
    for i in range(16):
        x = sym.FullyConnected(x, num_hidden=4, name=f"fc{i}")
        x = sym.Activation(sym.BatchNorm(x, fix_gamma=False, name=f"bn{i}"), act_type="relu")
    data = np.random.default_rng(seed).normal(size=(4, 4))
    report = check.gradients(x, {"data": data}, full=False, seed=seed)
    assert report.ok, str(report)


def test_gradients_that_vanish_in_single_precision_are_no_alarm():
    x = np.array([0.5, 150.0, -150.0])
    assert check.gradients(lambda x: tl.softmax(x * 2.0), x).ok


def test_the_check_works_without_hypothesis():
    code = "import sys; sys.modules['hypothesis'] = None; import tinygrad_lesson as tl; assert tl.check.gradients('Tanh')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_no_op_says_what_was_perhaps_meant():
    with pytest.raises(tl.LessonError, match="there is no op 'Softmx'; did you mean 'Softmax'"):
        check.gradients("Softmx")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check.gradients("Tanh", order=3), "order is 3, expected 1 or 2"),
        (
            lambda: check.gradients(tl.sum, [1, 2]),
            r"no input of floats to differentiate for, but int64 \(2,\)",
        ),
        (lambda: check.gradients(tl.sum, np.zeros((0, 3))), r"differentiate for, but float64 \(0, 3\)"),
    ],
)
def test_what_cannot_be_checked_is_refused(call, message):
    with pytest.raises(tl.LessonError, match=message):
        call()


@pytest.mark.parametrize("far", [20.0, 40.0, 82.0, 200.0])
def test_a_slope_that_rounding_swallows_on_the_way_passes(far):
    x = np.array([102.0, 102.0 - far, 3.5])
    for f in (
        lambda x: tl.logsumexp(x) - tl.max(x),
        lambda x: tl.log(tl.exp(x[0]) + tl.exp(x[1])) - x[0],
        lambda x: (x[0] + tl.exp(x[1] - 102.0)) - x[0],
    ):
        report = check.gradients(f, x)
        assert report.verdict in ("ok", "float noise", "cannot tell"), str(report)


@pytest.mark.parametrize("name", ["Arcsin", "Arccos", "Arctanh", "Arcsinh", "Sin", "Erf"])
@pytest.mark.parametrize("seed", range(3))
def test_a_second_derivative_that_is_zero_has_the_digits_of_what_cancels(name, seed):
    report = check.gradients(OPS[name](), np.array(0.0), order=2, seed=seed)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", ["Gelqf", "Qr", "Svd"])
def test_vectors_whose_sign_is_another_one_at_this_very_point_jump(name):
    x = np.array([[1.5, 0.0]] if name != "Qr" else [[1.5], [0.0]])
    report = check.gradients(OPS[name](), x)
    assert (report.verdict, report.cause) == ("kink", "discontinuity"), str(report)


def test_a_value_at_one_point_alone_is_a_jump_and_not_a_kink():
    report = check.gradients(lambda x: tl.where(tl.equal(x, 0.5), x + 1.0, x * x), np.array([0.5, 0.7]))
    assert (report.verdict, report.cause) == ("kink", "discontinuity"), str(report)


@pytest.mark.parametrize("name", MINIMA)
def test_a_minimum_is_no_kink(name):
    f, *inputs = MINIMA[name]
    for seed in range(1, 6):
        report = check.gradients(f, *inputs, seed=seed)
        assert report.ok, str(report)


@pytest.mark.parametrize("height", [1.0, 1e-2])
def test_a_corner_at_a_minimum_is_a_kink(height):
    for seed in range(6):
        report = check.gradients(lambda x: x * x + height * tl.abs(x), [0.0, 1.0], seed=seed)
        assert report.verdict == "kink", str(report)


@pytest.mark.parametrize("rate", [3.8, 3.99])
def test_where_no_digit_of_a_chaotic_function_is_right_nothing_is_called_wrong(rate):
    def f(x):
        for _ in range(80):
            x = rate * x * (1 - x)
        return x

    for seed in range(3):
        x = np.random.default_rng(seed).uniform(0.1, 0.9, 2)
        assert check.gradients(f, x, seed=seed, culprit=False, float32=False).verdict != "wrong"


def test_a_slope_below_the_rounding_of_a_probability_of_one_passes():
    x = np.array([[-123.5, -101.6, 82.2], [83.2, 142.1, 195.8], [-155.3, 185.0, -75.6]])
    assert check.gradients("SoftmaxCrossEntropy", x, np.array([2, 2, 1])).ok


def test_a_gradient_that_overflows_where_the_incoming_one_is_large_is_no_alarm():
    report = check.gradients(tl.exp2, np.array([[1011.1], [1020.4], [718.8]]), seed=2500)
    assert report.verdict != "wrong", str(report)


@pytest.mark.parametrize("f", [tl.exp, lambda x: tl.sum(tl.exp(x)), lambda x: tl.exp(x) * 1e-300])
def test_slopes_whose_squares_overflow_are_no_alarm_and_give_no_warning(f):
    for size in (1, 6, 60):
        report = check.gradients(f, np.linspace(600.0, 700.0, size))
        assert report.verdict != "wrong", str(report)


@pytest.mark.parametrize("gap", [84, 85, 86.5, 87, 88])
def test_a_gradient_that_cancels_is_judged_by_more_than_a_few_roundings(gap):
    """Its terms are of size 1, and it is 1e-16: of a hundred times three roundings once all leave it as it was."""
    cancelling, x = OPS["Softmax"](axis=0, temperature=2.5), -158.5888922141754
    for seed in range(60):
        report = check.gradients(cancelling, np.array([[x], [x - gap]]), seed=seed, float32=False)
        assert report.verdict != "wrong", str(report)


@pytest.mark.parametrize("low", [82.2, 400.0])
def test_what_a_sum_has_rounded_away_is_not_held_against_a_rule_that_gives_zero(low):
    """The loss is 0; of the two terms that cancel in its slope ``log(1 + exp(-low))`` has lost one."""
    data = np.array([[[1500.0 - low, 1500.0]], [[-1300.0, -600.0]]])
    op = OPS["CTCLoss"](use_data_lengths=True)
    report = check.gradients(op, data, np.array([[1]]), np.array([2]))
    assert report.verdict != "wrong", str(report)


def test_a_tiny_function_whose_rule_gives_zero_does_not_pass():
    report = check.pair(lambda x: 1e-30 * x, lambda g, x: 0 * x, [0.5, 1.5])
    assert not report.ok
