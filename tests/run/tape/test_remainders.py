"""Remainders in machine code are NumPy's, bit for bit: of random bits, of whole multiples, of what is no number."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl

COUNT = 1 << 14
ODD = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 3.0, 1e-40, 5e-39, -2e-38, 3e38, -7e37)


def pairs(kind):
    """Dividends and divisors."""
    draw, word = np.random.default_rng(1), f"u{np.dtype(kind).itemsize}"
    most, digits = np.iinfo(word).max, np.finfo(kind).nmant
    bits = [draw.integers(0, most, COUNT, dtype=word).view(kind) for _ in range(2)]
    yield "random bits", *bits
    yield "odd numbers", *[draw.choice(np.array(ODD, kind), COUNT) for _ in range(2)]
    yield "whole numbers", *[draw.integers(-n, n, COUNT).astype(kind) for n in (1000, 9)]
    by = draw.uniform(0.5, 1, COUNT).astype(kind)
    near = (draw.integers(1, 1 << digits, COUNT) * by).astype(kind)
    for way in (-np.inf, 0, np.inf):
        yield "near multiples", np.nextafter(near, kind(way) if way else near), by
    yield "large quotients", *[draw.uniform(-n, n, COUNT).astype(kind) for n in (1e12, 3)]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_remainders_are_those_of_numpy(name, kind):
    function = tl.jit(getattr(tl, name), runner="vm")
    for what, a, b in pairs(kind):
        with np.errstate(all="ignore"):
            expected = getattr(np, name)(a, b)
            found = function(a, b).numpy()
        np.testing.assert_array_equal(found, expected, err_msg=what)
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]), err_msg=what)
