"""First and second derivatives, in reverse mode, far out and at the ends of a domain: those of the limits."""

import numpy as np
import pytest

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
