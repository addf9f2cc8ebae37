"""Running sums and products in machine code are NumPy's to the last bit, along every axis."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl


@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("shape", [(1,), (7,), (100,), (3, 17), (5, 1, 16), (2, 6, 35)])
def test_running_sums_and_products(name, kind, shape):
    x = np.rint(np.random.default_rng(2).normal(size=shape) * 3).astype(kind)
    x = x / np.asarray(7, kind) if kind != "int64" else x
    for axis in (None, *range(len(shape))):
        traced = tl.jit(lambda x, axis=axis: getattr(tl, name)(x, axis=axis), runner="vm")
        expected = getattr(np, name)(x, axis=axis)
        assert traced(x).numpy().tobytes() == expected.tobytes()
        (program,) = traced.programs.values()
        assert f"np.{name}" not in str(program.runner)  # where it says what NumPy does


def test_what_is_no_number_goes_on_to_the_end():
    x = np.array([1, np.inf, 2, -np.inf, 3], np.float32)
    with np.errstate(invalid="ignore"):
        y = tl.jit(tl.cumsum, runner="vm")(x).numpy()
    np.testing.assert_array_equal(y, [1, np.inf, np.inf, np.nan, np.nan])
