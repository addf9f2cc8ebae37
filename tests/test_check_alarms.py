"""No false alarms: right rules pass, at a kink it is said so, float32 is not blamed for rounding."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.check.draw import Draw
from tinygrad_lesson.op import OPS

SEEDS = int(os.environ.get("CHECK_SEEDS", "2"))  # `make alarms` takes 1,000
KINKED = {
    "relu": (tl.relu, 0.0),
    "abs": (tl.abs, 0.0),
    "leaky": (tl.leaky_relu, 0.0),
    "clip": (lambda x: tl.clip(x, low=-1.0, high=0.5), 0.5),
    "maximum": (lambda x: tl.maximum(x, 0.7), 0.7),
    "steep": (lambda x: tl.sqrt(tl.abs(x) + 1e-3), 0.0),
    "through": (lambda x: tl.tanh(tl.relu(x * 3.0) - x * 0.2), 0.0),
}


@pytest.mark.parametrize("cls", OPS.values(), ids=lambda cls: cls.name)
def test_right_rules_pass(cls):
    for seed in range(SEEDS):
        op, inputs = Draw(seed).sample(cls)
        arrays = list(inputs.values())
        if any(x.dtype.kind == "f" and x.size for x in arrays):
            report = check.gradients(op, *arrays, order=1 + seed % 2, seed=seed)
            assert report.ok, str(report)


@pytest.mark.parametrize("name", KINKED)
def test_on_a_kink_the_verdict_is_kink_and_beside_it_never_wrong(name):
    f, kink = KINKED[name]
    generator = np.random.default_rng(1)
    for distance in (0, 1e-15, 1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        for _ in range(3):
            x = generator.normal(size=5)
            x[generator.integers(5)] = kink + distance * generator.choice([-1, 1])
            expected = ("kink",) if distance <= 1e-7 else ("ok",) if distance >= 1e-5 else ("ok", "kink")
            report = check.gradients(f, x)
            assert report.verdict in expected, str(report)


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


def test_gradients_that_vanish_in_single_precision_are_no_alarm():
    x = np.array([0.5, 150.0, -150.0])
    assert check.gradients(lambda x: tl.softmax(x * 2.0), x).ok


def test_the_check_works_without_hypothesis():
    code = "import sys; sys.modules['hypothesis'] = None; import tinygrad_lesson as tl; assert tl.check.gradients('Tanh')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_no_op_says_what_was_perhaps_meant():
    with pytest.raises(tl.LessonError, match="there is no op 'Softmx'; did you mean 'Softmax'"):
        check.gradients("Softmx")
