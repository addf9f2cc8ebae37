"""First and second derivatives, in reverse mode, far out and at the ends of a domain: those of the limits."""

import numpy as np
import pytest
from mpmath import mp

import tinygrad_lesson as tl

# name: slope far to the left, slope far to the right; None where the function is not defined. No curvature is left.
SLOPES = {
    **dict.fromkeys(
        [
            "erf",
            "erfc",
            "ndtr",
            "tanh",
            "sigmoid",
            "arctan",
            "softsign",
            "sinc",
            "cbrt",
            "arcsinh",
            "reciprocal",
        ],
        (0, 0),
    ),
    **dict.fromkeys(["gelu", "silu", "softplus", "elu", "relu", "celu", "mish"], (0, 1)),
    **dict.fromkeys(["log", "log1p", "log2", "log10", "sqrt", "rsqrt", "arccosh"], (None, 0)),
    "log_expit": (1, 0),
    "log_ndtr": (None, 0),
}


def derivatives(f, x):
    """The first two derivatives of a function of one number at each number of `x`."""

    def slope(t):
        return tl.grad(lambda t: f(t).sum())(t)

    return slope(x).numpy(), tl.grad(lambda t: slope(t).sum())(x).numpy()


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("far", [np.float64(1e200), np.float64(1e30), np.float32(1e30)])
def test_derivatives_far_out_are_those_of_the_limit(name, far):
    x = np.array([side * far for side, slope in zip((-1, 1), SLOPES[name], strict=True) if slope is not None])
    slopes = [slope for slope in SLOPES[name] if slope is not None]
    with np.errstate(over="ignore"):
        first, second = derivatives(getattr(tl, name), x)
    assert first.dtype == second.dtype == far.dtype
    np.testing.assert_allclose(first, slopes, rtol=0, atol=1e-14)
    np.testing.assert_allclose(second, 0, rtol=0, atol=1e-14)


def test_derivatives_of_logit_at_the_ends_are_infinite():
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = derivatives(tl.logit, np.array([0.0, 1.0]))
    np.testing.assert_array_equal(first, [np.inf, np.inf])
    np.testing.assert_array_equal(second, [-np.inf, np.inf])


ENDS = {  # name: numbers at the ends of where a function is defined, its slopes and its curvatures there
    "arcsin": ([-1.0, 1.0], [np.inf, np.inf], [-np.inf, np.inf]),
    "arccos": ([-1.0, 1.0], [-np.inf, -np.inf], [np.inf, -np.inf]),
    "arctanh": ([-1.0, 1.0], [np.inf, np.inf], [-np.inf, np.inf]),
    "arccosh": ([1.0, np.inf], [np.inf, 0], [-np.inf, 0]),
    "cbrt": ([0.0, -0.0, np.inf, -np.inf], [np.inf, np.inf, 0, 0], [-np.inf, np.inf, 0, 0]),
    "rcbrt": ([0.0, np.inf, -np.inf], [-np.inf, 0, 0], [np.inf, 0, 0]),
    "hard_swish": ([-np.inf, np.inf], [0, 1], [0, 0]),
    "log_ndtr": ([-1e30, -1e15, -1e4, np.inf], [1e30, 1e15, 1e4, 0], [-1, -1, -1, 0]),
}


@pytest.mark.parametrize("name", ENDS)
def test_derivatives_at_the_ends_are_those_of_the_limit(name):
    x, slopes, curvatures = ENDS[name]
    with np.errstate(all="ignore"):
        first, second = derivatives(getattr(tl, name), np.array(x))
    np.testing.assert_allclose(first, slopes, rtol=1e-7)
    np.testing.assert_allclose(second, curvatures, rtol=1e-7)


def test_hard_swish_far_to_the_left_is_zero():
    np.testing.assert_array_equal(tl.hard_swish(np.array([-np.inf, -1e30, -3.0])).numpy(), [0, 0, 0])


@pytest.mark.parametrize("x", [-1e5, -1e3, -40.0, -32.1, -31.9, -20.0, -3.0, -1e-3, 2.0])
def test_the_curvature_of_log_ndtr_keeps_its_digits(x):
    with mp.workdps(60):
        hazard = mp.npdf(x) / mp.ncdf(x)
        expected = float(-hazard * (mp.mpf(x) + hazard))
    _, second = derivatives(tl.log_ndtr, np.array([x]))
    np.testing.assert_allclose(second, [expected], rtol=1e-11)
