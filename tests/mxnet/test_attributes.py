"""Attributes of operators that no recorded case has: what MXNet 1.9.1 gives, written out in NumPy."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def result(op, *arrays, **attributes):
    """What an operator gives."""
    names = [f"x{i}" for i in range(len(arrays))]
    symbol = getattr(sym, op)(*map(sym.Variable, names), name="op", **attributes)
    (y,) = symbol.bind(tl.cpu(), dict(zip(names, arrays, strict=True))).forward()
    return y.asnumpy()


@pytest.mark.parametrize(("k", "axes"), [(0, (0, 1)), (1, (0, 2)), (-1, (2, 1)), (0, (-1, 0))])
def test_diag_takes_the_axes_that_it_is_told(k, axes):
    y = result("diag", X, k=k, axis1=axes[0], axis2=axes[1])
    np.testing.assert_array_equal(y, np.diagonal(X, k, *axes))


@pytest.mark.parametrize(
    ("ranges", "like", "shape"),
    [
        ({}, (4, 6), (4, 6)),
        ({"lhs_begin": 1, "lhs_end": 3, "rhs_begin": 0, "rhs_end": 2}, (4, 3, 5), (2, 4, 3)),
        ({"lhs_begin": -1, "rhs_begin": 1}, (7, 2, 2), (2, 3, 2, 2)),
        ({"lhs_end": 2, "rhs_end": -1}, (6, 9), (6, 4)),
    ],
)
def test_reshape_like_reshapes_the_axes_that_it_is_told(ranges, like, shape):
    y = result("reshape_like", X, np.zeros(like, np.float32), **ranges)
    np.testing.assert_array_equal(y, X.reshape(shape))


@pytest.mark.parametrize(("axis", "form"), [(-2, "mbk,mkn->mbn"), (0, "bmk,kmn->bmn"), (1, "mbk,mkn->mbn")])
def test_products_have_their_rows_along_the_axis_that_they_are_told(axis, form):
    generator = np.random.default_rng(0)
    a = generator.normal(size=(5, 3, 2) if axis == 0 else (3, 5, 2)).astype(np.float32)
    b = generator.normal(size=(2, 3, 4) if axis == 0 else (3, 2, 4)).astype(np.float32)
    c = np.ones((5, 3, 4) if axis == 0 else (3, 5, 4), np.float32)
    product = np.einsum(form, a, b)
    np.testing.assert_allclose(
        result("linalg_gemm2", a, b, axis=axis, alpha=3.0), 3 * product, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(result("linalg_gemm", a, b, c, axis=axis), product + c, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int32, np.float16, np.float64])
def test_a_mask_of_sequences_keeps_the_type_of_its_elements(kind):
    y = result(
        "SequenceMask",
        X.astype(kind),
        np.array([1.0, 0, 2], np.float32),
        use_sequence_length=True,
        value=-1.0,
    )
    assert y.dtype == kind
    expected = X.astype(kind)
    expected[1, 0] = expected[:, 1] = -1
    np.testing.assert_array_equal(y, expected)
