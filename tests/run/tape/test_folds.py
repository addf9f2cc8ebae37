"""Extremes, products, sums of integers and answers along rows of every length, dense and not: those of NumPy."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson.run.folds import fold
from tinygrad_lesson.run.operands import Memory
from tinygrad_lesson.run.segment import Segment, as_tape

LENGTHS = (1, 2, 5, 8, 15, 16, 17, 63, 64, 65, 127, 200)


def folded(name, x):
    """``np.<name>.reduce(x, axis=1)`` by the kernel."""
    memory, y = Memory(), getattr(np, name).reduce(x[:, :1], axis=1)
    whole, target = memory.operand(x), memory.operand(y)
    (m, n), (across, along) = whole.shape, whole.strides
    rows = fold(memory, name, whole._replace(shape=(m,), strides=(across,)), [(n, along)], target)
    Segment(as_tape(rows), memory)()
    return y


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("name", ["maximum", "minimum", "multiply", "add", "logical_and", "logical_or"])
def test_a_fold_along_rows_is_that_of_numpy(name, kind, dense):
    generator = np.random.default_rng(3)
    for n in LENGTHS:
        x = np.rint(generator.normal(size=(3, 2 * n)) * 3).astype(kind)
        x = x / np.asarray(4, kind) if name == "multiply" and kind.startswith("float") else x
        x = x[:, :n] if dense else x[:, ::2]
        expected = getattr(np, name).reduce(x, axis=1)
        np.testing.assert_allclose(folded(name, x), expected, rtol=1e-5, err_msg=str(n))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("n", [7, 16, 150])
def test_one_number_that_is_none_is_the_extreme_wherever_it_stands(name, n):
    x = np.random.default_rng(4).normal(size=(n, n)).astype(np.float32)
    x[np.arange(n), np.arange(n)] = np.nan
    assert np.isnan(folded(name, x)).all()


@pytest.mark.parametrize("name", ["logical_and", "logical_or"])
def test_one_other_answer_decides_wherever_it_stands(name):
    n = 150
    for other in (True, False):
        x = np.full((n, n), not other)
        x[np.arange(n), np.arange(n)] = other
        np.testing.assert_array_equal(folded(name, x), getattr(np, name).reduce(x, axis=1))


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_product_is_finite_wherever_it_is_in_order(kind):
    info = np.finfo(kind)
    high, low = float(info.max) / 4, float(info.tiny) * 8
    below, beyond = np.ones(64), np.ones(64)
    below[0], beyond[0] = 0.02 * float(info.tiny) ** 0.25, 3 * float(info.max) ** 0.25
    below[1:17], beyond[1:17] = below[0] ** (-1 / 16), beyond[0] ** (-1 / 16)
    rows = [
        [high, 0.5 / high] * 150,  # a lane has all that is large
        [low, 1 / low] * 150,
        [*below] * 4 + [*(1 / below)] * 4,  # a lane goes below, loses digits, and comes back
        [*beyond] * 4,
        [0.0, high, high] + [1.0] * 200,
        [high, high, 0.0] + [1.0] * 200,
        [np.nan] + [2.0] * 99,
        [2.0] * 99 + [-np.inf],
    ]
    for row in rows:
        x = np.resize(np.array(row, kind), (1, len(row)))
        with np.errstate(all="ignore"):
            expected = np.multiply.reduce(x, axis=1)
            np.testing.assert_allclose(folded("multiply", x), expected, rtol=1000 * float(info.eps))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_long_sum_with_infinities_is_that_of_numpy(axis, kind):
    x = np.ones((1000, 1100), kind)
    for places in (
        {(3, 5): np.inf},
        {(3, 5): -np.inf, (900, 5): -np.inf},
        {(3, 5): np.inf, (900, 5): -np.inf},
    ):
        for place, number in places.items():
            x[place] = number
        with np.errstate(invalid="ignore"):
            found, expected = tl.jit(lambda v: tl.sum(v, axis=axis), runner="vm")(x), x.sum(axis=axis)
        np.testing.assert_array_equal(found.numpy(), expected)
    x[:] = np.finfo(kind).max / 1000  # beyond the largest number in the middle of the sum
    with np.errstate(over="ignore"):
        found = tl.jit(lambda v: tl.sum(v), runner="vm")(x).numpy()
    assert found == np.inf
