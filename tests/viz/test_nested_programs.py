"""Loops and choices in a printed program: the lines run on their own, and give what `grad` gives."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import cond, scan
from tinygrad_lesson.viz import show_program

W = np.random.default_rng(0).normal(size=(3, 3)) * 0.5


def with_choices(w, q, xs):
    def step(s, x):
        s = cond(s.sum() > 0, lambda s: tl.tanh(w @ s) + x, lambda s: tl.cos(w @ s + 1) * x, s)
        return s, (s * s).sum()

    last, rows = scan(step, q * 1, xs, reverse=True)
    return (last * last).sum() + (rows * np.arange(20.0)).sum()


def nested(w, q, xs):
    def step(s, x):
        inner, _ = scan(lambda t, _: (tl.sin(t + x) * w[0], None), s, length=16)
        return inner + s * 0.1, None

    return scan(step, q, xs)[0].sum()


def two_states(w, q, xs):
    """Of which each takes the other's place."""
    (a, b), rows = scan(lambda s, x: ((s[1] * x, s[0] + s[1]), s[0]), (q, q @ w), xs, checkpoint=True)
    return (a * b).sum() + (rows * rows).sum()


@pytest.mark.parametrize("f", [with_choices, nested, two_states])
def test_a_program_with_loops_runs_on_its_own(capsys, f):
    xs = [W, np.array([0.3, -0.2, 0.4]), np.sin(np.arange(60.0)).reshape(20, 3)]
    text = show_program(f, *xs)
    assert "for i in range(" in text
    assert text.count("\n") < 160
    names: dict = {}
    exec(str(text), names)
    value, gradients = tl.value_and_grad(f, (0, 1, 2))(*xs)
    np.testing.assert_allclose(names[text.names.outputs[0]], value.numpy(), rtol=1e-12)
    for name, g in zip(("w", "q", "xs"), gradients, strict=True):
        np.testing.assert_allclose(names[text.names.gradients[name]], g.numpy(), rtol=1e-10, atol=1e-12)
