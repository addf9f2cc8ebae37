"""`tinygrad_lesson.numpy`: a script of NumPy becomes differentiable by one import."""

import numpy
import pytest

import tinygrad_lesson as tl
import tinygrad_lesson.numpy as np


def script(np, x):
    """What one writes with NumPy."""
    w = np.zeros((2, 2)) + np.eye(2)
    h = np.tanh(np.dot(w, x))
    y = np.array([h[0], h[1] ** 2, np.linalg.norm(x)])
    y = np.concatenate([y, np.where(x > 1.5, x, 2 * x), np.full(1, 0.5)])
    return np.sum(np.sort(y) * np.arange(6.0)) + np.linalg.det(np.outer(x, x) + np.eye(2)) + np.pi


def test_a_script_gives_numpys_numbers_and_a_gradient():
    x = numpy.array([1.1, 2.0])
    plain = script(np, x)
    assert plain == script(numpy, x)
    assert not isinstance(plain, tl.Tensor)
    slope = [(script(numpy, x + step) - script(numpy, x - step)) / 2e-6 for step in 1e-6 * numpy.eye(2)]
    numpy.testing.assert_allclose(tl.grad(lambda x: script(np, x))(x).numpy(), slope, rtol=1e-7)


def test_names_that_python_has_too_do_not_hide_pythons():
    for name in ("any", "all", "sum", "max", "min", "abs", "round"):
        assert callable(getattr(np, name))
    assert np.sum(numpy.ones(3)) == 3
    assert tl.grad(lambda x: np.max(np.abs(x)))([1.0, -3.0]).numpy().tolist() == [0, -1]


def test_names_are_numpys():
    assert np.float32 is numpy.float32
    assert np.random is numpy.random
    assert type(np.zeros(2)) is numpy.ndarray
    assert np.sin.__doc__ == numpy.sin.__doc__
    assert {"sin", "linalg"} <= set(dir(np))
    assert "norm" in dir(np.linalg)
    with pytest.raises(AttributeError, match="no attribute 'sinn'"):
        np.sinn


def test_what_would_cut_a_gradient_is_refused():
    with pytest.raises(tl.LessonError, match="the gradient would end here"):
        tl.grad(lambda x: np.sum(np.asarray(x.numpy()) * x))([1.0])


PIECES = """
np.r_[x, 1.0, x * 2] | np.r_[x[0], 5, 0:3, x] | np.r_["0,2", x, x * x] | np.c_[x, np.ones(2)] | np.c_[x, x**2]
np.full(2, x[0]) | np.full((3, 2), x) | np.array(x, ndmin=3) | np.array([x[0], 2], ndmin=2)
"""


@pytest.mark.parametrize("code", PIECES.replace("\n", "|").strip("|").split("|"))
def test_arrays_made_of_tensors_have_gradients(code):
    def f(np, x):
        y = eval(code.strip(), {"np": np, "x": x})
        return y * numpy.cos(numpy.arange(numpy.size(y))).reshape(y.shape)

    x = numpy.array([1.1, 2.0])
    y = f(np, tl.Tensor(x, requires_grad=True))
    numpy.testing.assert_allclose(y.numpy(), f(numpy, x))
    slope = [(f(numpy, x + s).sum() - f(numpy, x - s).sum()) / 2e-6 for s in 1e-6 * numpy.eye(2)]
    numpy.testing.assert_allclose(tl.grad(lambda x: f(np, x).sum())(x).numpy(), slope, rtol=1e-7)
