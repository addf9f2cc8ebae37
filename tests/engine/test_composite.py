"""Ops that are written in others."""

from unittest import mock

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import check, sym
from tinygrad_lesson.engine.composite import ABSTRACT, Told
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.op import FUNCTIONS, OPS, Composite, attr, op
from tinygrad_lesson.run import available_runners

X, W = np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(0.5, 2, 3)


@pytest.fixture
def scaled():
    """A user's op of a few lines."""
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):

        @op
        class ScaledForTest(Composite):
            """The tangents of rows, scaled, squared and summed: ``y = sum((power * tanh(x) * w)**2)``."""

            power: float = attr(1.0, doc="multiplies")

            def compose(self, F, x, w):
                rows = F.shape(x)[0] or 1
                return F.sum(F.square(self.power * F.tanh(x) * w), axis=1) / float(rows)

        yield ScaledForTest


def by_hand(x, w, power=1.0):
    return np.square(power * np.tanh(x) * w).sum(axis=1) / len(x)


def test_its_inputs_are_those_of_compose_and_its_shape_follows(scaled):
    assert scaled.inputs == ("x", "w")
    assert scaled(power=2.0).shape((2, 3), (3,)) == (2,)
    assert scaled().shape((None, 3), (3,)) == (None,)
    with pytest.raises(LessonError):
        scaled().shape((2, 3), (4,))


def test_it_is_differentiated_twice_and_checked(scaled):
    np.testing.assert_allclose(tl.scaled_for_test(X, W, power=2.0).numpy(), by_hand(X, W, 2.0))
    assert check.gradients(scaled(power=2.0), X, W, order=2).ok


@pytest.mark.parametrize("runner", available_runners())
def test_a_plan_holds_the_ops_that_it_is_made_of(scaled, runner):
    y = sym.ScaledForTest(sym.Variable("x"), sym.Variable("w"), power=2.0)
    executor = y.simple_bind(x=X.shape, w=W.shape, runner=runner)
    found = executor.forward(is_train=True, x=X, w=W)[0]
    executor.backward(np.ones(2))
    np.testing.assert_allclose(found, by_hand(X, W, 2.0), rtol=1e-5)
    slope = 8 * np.tanh(X) * (1 - np.tanh(X) ** 2) * W**2 / 2
    np.testing.assert_allclose(executor.grad_dict["x"], slope, rtol=1e-4, atol=1e-6)
    names = {step.op.name for step in executor.plan().forward}
    assert "ScaledForTest" not in names


@pytest.mark.usefixtures("scaled")
def test_inputs_that_do_not_fit_are_told_with_its_name():
    with pytest.raises(
        LessonError, match=r"ScaledForTest\(\)(.|\n)*x  \(2, 3\) float64\n  w  \(4,\) float64"
    ):
        tl.scaled_for_test(X, np.ones(4))


def test_what_is_known_before_numbers_are_there_is_a_shape_and_a_type():
    y = ABSTRACT.matmul(Told((2, None), np.dtype("f4")), Told((None, 5), np.dtype("f4"))) * 2 + 1
    assert (y.shape, y.dtype) == ((2, 5), np.float32)
    parts = ABSTRACT.split(Told((4, 3), np.dtype("f8")), num_outputs=2, axis=0)
    assert [p.shape for p in parts] == [(2, 3), (2, 3)]
