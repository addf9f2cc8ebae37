"""Special functions against mpmath, over their whole range, and SciPy at poles and ends."""

import sys

import numpy as np
import pytest
from mpmath import mp
from scipy import special

import tinygrad_lesson as tl
from tinygrad_lesson.errors import DTypeError, GraphError, LessonError

ENDS = [0.0, -0.0, 1.0, 2.0, -1.0, -2.0, -3.5, 1e20, -1e20, np.inf, -np.inf, np.nan]


def spread(low, high, *small):
    """Numbers of a range, evenly, and near places given as (place, smallest power of ten, sign)."""
    random = np.random.default_rng(5)
    near = [at + sign * 10.0 ** random.uniform(least, -0.7, 100) for at, least, sign in small]
    return np.concatenate([random.uniform(low, high, 400), *near])


def erfcinv(q):
    """By the equation, in logarithms where `q` is small."""
    if q > 0.01:
        return mp.erfinv(1 - q)
    return mp.findroot(lambda t: mp.log(mp.erfc(t)) - mp.log(q), mp.sqrt(-mp.log(q)) * 0.97)


CASES = {
    "erf": (mp.erf, spread(-6, 6, (0, -300, 1))),
    "erfc": (mp.erfc, spread(-6, 26.5, (0, -300, 1))),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), spread(-26, 60, (0, -300, -1))),
    "erfinv": (mp.erfinv, spread(-1, 1, (0, -300, 1), (1, -15.9, -1), (-1, -15.9, 1))),
    "erfcinv": (erfcinv, spread(0, 2, (0, -300, 1), (1, -15, 1), (2, -15, -1))),
    "expit": (lambda x: 1 / (1 + mp.exp(-x)), spread(-700, 700, (0, -300, 1))),
    "gammaln": (lambda x: mp.log(abs(mp.gamma(x))), spread(-30, 60, (0, -300, 1), (1, -15, 1), (2, -15, -1))),
    "digamma": (mp.digamma, spread(-30, 60, (0, -300, 1), (1.4616321449683622, -15, 1))),
    "logit": (lambda x: mp.log(x / (1 - x)), spread(0, 1, (0, -300, 1), (0.5, -15, -1))),
    "ndtr": (lambda x: mp.erfc(-x / mp.sqrt(2)) / 2, spread(-37, 6, (0, -300, 1))),
    "gelu": (lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2, spread(-37, 6, (0, -300, 1))),
    "log_ndtr": (lambda x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2), spread(-1000, 6, (0, -300, 1))),
}


def exact(name, x):
    """What mpmath says, in 40 digits."""
    with mp.workdps(40):
        return [CASES[name][0](mp.mpf(float(v))) for v in x]


@pytest.mark.parametrize("name", CASES)
def test_float64_is_right_to_14_digits(name):
    x = CASES[name][1]
    for v, y, z in zip(x, getattr(tl, name)(x).numpy(), exact(name, x), strict=True):
        near_zeros = v < 0 and name in ("gammaln", "digamma")  # where a sum of larger parts is nearly 0
        assert abs(mp.mpf(float(y)) - z) <= 1e-14 * max(abs(z), 1 if near_zeros else 0), (
            f"{name}({v!r}) is {y!r}"
        )


@pytest.mark.parametrize("name", CASES)
def test_float32_is_right_to_4_units_of_its_last_place(name):
    with np.errstate(all="ignore"):
        x = CASES[name][1].astype(np.float32)
        x = x[(np.abs(x) > 1e-37) & (np.abs(x) != 1)] if name != "erfcx" else x[np.abs(x) < 9]
        y = getattr(tl, name)(x).numpy()
        z = np.array([float(v) for v in exact(name, x)])
        step = np.spacing(np.maximum(np.abs(z.astype(np.float32)), np.float32(1e-37)))
    assert y.dtype == np.float32
    usual = np.abs(z) < 3e38
    assert np.all(np.abs(y[usual].astype(float) - z[usual]) <= 4 * step[usual])


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("erfcinv", "gelu")])
def test_poles_and_ends_are_those_of_scipy(name):
    with np.errstate(all="ignore"):
        y = getattr(tl, name)(np.array(ENDS)).numpy()
        expected = getattr(special, name)(ENDS)
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    poles = np.isinf(expected)
    np.testing.assert_array_equal(np.signbit(y)[poles], np.signbit(expected)[poles])


def test_ends_of_gelu():
    for kind in (np.float32, np.float64):
        y = tl.gelu(np.array([np.inf, -np.inf, 0.0, -0.0, np.nan], kind)).numpy()
        np.testing.assert_array_equal(y, [np.inf, 0, 0, 0, np.nan])
        assert np.signbit(y[:4]).tolist() == [False, True, False, True]


def test_ends_of_erfcinv():
    y = tl.erfcinv(np.array([0.0, 1.0, 2.0, -0.1, 2.1, np.nan])).numpy()
    np.testing.assert_array_equal(y, [np.inf, 0, -np.inf, np.nan, np.nan, np.nan])


BESSEL = {  # name: what mpmath says, where, and what an error is measured by: far out the height of the wave
    "i0": (lambda x: mp.besseli(0, x), spread(-700, 700, (0, -300, 1), (8, -15, 1), (8, -15, -1)), None),
    "i1": (lambda x: mp.besseli(1, x), spread(-700, 700, (0, -300, 1), (-8, -15, 1), (8, -15, -1)), None),
    "j0": (lambda x: mp.besselj(0, x), spread(-30, 30, (0, -300, 1), (5, -15, -1), (900, -9, 1)), np.sqrt),
    "j1": (lambda x: mp.besselj(1, x), spread(-30, 30, (0, -300, 1), (5, -15, -1), (900, -9, 1)), np.sqrt),
    "y0": (lambda x: mp.bessely(0, x), spread(0, 30, (0, -300, 1), (5, -15, -1), (900, -9, 1)), np.sqrt),
    "y1": (lambda x: mp.bessely(1, x), spread(0, 30, (0, -300, 1), (5, -15, -1), (900, -9, 1)), np.sqrt),
}


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("name", BESSEL)
def test_functions_of_bessel_are_right_to_14_digits(name, kind):
    function, x, height = BESSEL[name]
    with np.errstate(all="ignore"):
        x = x.astype(kind)
        x = x[(np.abs(x) > 1e-37) & (np.abs(x) < 80)] if kind == np.float32 and height is None else x[x != 0]
        y = getattr(tl, name)(x).numpy()
    assert y.dtype == kind
    digits = 1e-14 if kind == np.float64 else 1e-7
    with mp.workdps(40):
        for v, found in zip(x, y, strict=True):
            exact = function(mp.mpf(float(v)))
            if abs(exact) < float(np.finfo(kind).max):
                size = max(abs(exact), 0 if height is None or abs(v) < 0.1 else 0.8 / height(abs(v) + 1))
                assert abs(mp.mpf(float(found)) - exact) <= digits * size, f"{name}({v!r}) is {found!r}"


BESSEL_ENDS = {  # at 0, -0, infinity, minus infinity, NaN, 714, -715: the limits; SciPy says NaN at infinity
    "i0": [1, 1, np.inf, np.inf, np.nan, np.inf, np.inf],
    "i1": [0.0, -0.0, np.inf, -np.inf, np.nan, np.inf, -np.inf],
    "j0": [1, 1, 0, 0, np.nan],
    "j1": [0.0, -0.0, 0, 0, np.nan],
    "y0": [-np.inf, -np.inf, 0, np.nan, np.nan],
    "y1": [-np.inf, -np.inf, 0, np.nan, np.nan],
}


@pytest.mark.parametrize("name", BESSEL_ENDS)
def test_functions_of_bessel_end_at_their_limits(name):
    ends = BESSEL_ENDS[name]
    with np.errstate(all="ignore"):
        y = getattr(tl, name)(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 714, -715])[: len(ends)]).numpy()
    np.testing.assert_allclose(y, ends, rtol=1e-15)
    np.testing.assert_array_equal(np.signbit(y[:2]), np.signbit(ends[:2]))


@pytest.mark.parametrize("name", ["gamma", "i0", "i1", "j0", "j1", "y0", "y1"])
def test_a_library_call_keeps_the_type_and_gives_what_the_library_says(name):
    x = np.linspace(0.1, 6, 50)
    for kind in (np.float64, np.float32):
        y = getattr(tl, name)(x.astype(kind)).numpy()
        assert y.dtype == kind
        np.testing.assert_allclose(y, getattr(special, name)(x.astype(kind)), rtol=1e-7)


def test_a_function_whose_library_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(LessonError, match=r"gamma is computed by SciPy.*tinygrad_lesson\[special\]"):
        tl.gamma(np.ones(2))
    assert tl.erf(np.array([np.inf])).numpy() == 1


def test_complex_numbers_are_refused():
    with pytest.raises(DTypeError, match=r"erf: x is complex128, expected real numbers"):
        tl.erf(np.array([1j]))


@pytest.mark.parametrize(("name", "at_zero"), [("xlogy", [0, np.nan]), ("xlog1py", [0, np.nan])])
def test_nothing_times_a_logarithm_is_nothing_but_of_nan(name, at_zero):
    y = getattr(tl, name)(np.zeros(2), np.array([-0.0, np.nan])).numpy()
    np.testing.assert_array_equal(y, at_zero)


def test_a_plan_carries_out_the_error_function_by_numpys_calls():
    x = np.linspace(-3, 3, 50)
    f = tl.jit(tl.grad(lambda a: tl.sum(tl.erf(a) * tl.digamma(a + 4))))
    expected = 2 / np.sqrt(np.pi) * np.exp(-x * x) * special.digamma(x + 4)
    expected += special.erf(x) * special.polygamma(1, x + 4)
    np.testing.assert_allclose(f(x).numpy(), expected, rtol=1e-12, atol=1e-15)


def test_the_slope_of_digamma_is_right_to_14_digits_and_at_poles_as_scipy():
    x = spread(-30, 60, (0, -100, 1), (10, -15, -1))
    with mp.workdps(40):
        expected = [mp.polygamma(1, mp.mpf(float(v))) for v in x]
    for v, y, z in zip(x, tl.polygamma(x, 1).numpy(), expected, strict=True):
        assert abs(mp.mpf(float(y)) - z) <= 1e-14 * abs(z), f"{v!r}: {y!r}"
    ends = np.array([0.0, -1.0, -2.0, -3.5, 1e20, 1e300, np.inf, np.nan])
    np.testing.assert_allclose(tl.polygamma(ends, 1).numpy(), special.polygamma(1, ends), rtol=1e-14)


OF_PARAMETERS = {
    "jv": (mp.besselj, (1.5,)),
    "yv": (mp.bessely, (0.25,)),
    "iv": (mp.besseli, (2.5,)),
    "kv": (mp.besselk, (1.5,)),
    "gammainc": (lambda a, x: mp.gammainc(a, 0, x, regularized=True), (2.5,)),
    "gammaincc": (lambda a, x: mp.gammainc(a, x, regularized=True), (0.5,)),
    "betainc": (lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True), (0.5, 2.5)),
}


@pytest.mark.parametrize("name", OF_PARAMETERS)
def test_a_function_of_fractional_parameters_has_its_first_two_derivatives(name):
    exact, parameters = OF_PARAMETERS[name]

    def f(x):
        return getattr(tl, name)(*parameters, x)

    slope = tl.grad(f)
    for x in (0.2, 0.9):
        for order, found in enumerate((f, slope, tl.grad(slope))):
            expected = mp.diff(lambda t: exact(*parameters, t), x, order)
            assert found(x).item() == pytest.approx(float(expected), rel=1e-9), (x, order)


def test_a_derivative_by_an_order_is_refused_and_the_others_are_not():
    with pytest.raises(GraphError, match=r"Jv\(\) has no derivative by v here; give v.detach\(\)"):
        tl.grad(tl.jv)(0.5, 1.0)
    v = tl.Tensor([0.5, 1.5], requires_grad=True)
    assert tl.grad(lambda x: tl.jv(v.detach(), x).sum())(1.0).shape == ()


def test_other_names_of_special_functions():
    x = np.linspace(0.5, 3, 7)
    for name, function in {
        "psi": tl.digamma(x),
        "jn": tl.jv(2, x),
        "yn": tl.yv(2, x),
        "kn": tl.kv(2, x),
    }.items():
        np.testing.assert_array_equal(
            (getattr(tl, name)(x) if name == "psi" else getattr(tl, name)(2, x)).numpy(), function.numpy()
        )


DENSE = {  # where float32 is told apart most finely from what is right
    "erf": (-4, 4),
    "erfc": (-4, 9.9),
    "erfinv": (-1, 1),
    "expit": (-80, 80),
    "gammaln": (0, 40),
    "digamma": (0, 40),
}


@pytest.mark.parametrize("way", ["eager", "vm"])
@pytest.mark.parametrize("name", DENSE)
def test_float32_is_within_four_units_everywhere(name, way):
    if way == "vm":
        pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")
    low, high = DENSE[name]
    x = np.random.default_rng(7).uniform(low, high, 1 << 18).astype(np.float32)
    x = x[np.abs(x) < 1] if name == "erfinv" else x
    function = getattr(tl, name) if way == "eager" else tl.jit(getattr(tl, name), runner="vm")
    parts = np.array_split(x, 8)  # which NumPy computes in the eager face
    y = np.concatenate([function(part).numpy() for part in (parts if way == "eager" else [x])])
    expected = getattr(special, name)(x.astype(float))  # of which every digit of float32 is right
    unit = np.spacing(np.abs(expected).astype(np.float32))
    assert (np.abs(y - expected) <= 4 * unit).all()
