"""Corners of the ops that move elements."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad
from tinygrad_lesson.errors import ShapeError
from tinygrad_lesson.ops.movement import Flatten, Reshape, Squeeze

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("to", [(-1,), (4, 6), (2, -1), (24, 1), (-1, 4, 1)])
def test_reshape_fills_in_one_open_size(to):
    np.testing.assert_array_equal(tl.reshape(X, to).numpy(), X.reshape(to))


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ((5, -1), r"\(2, 3, 4\) has 24 elements, which \(5, -1\) cannot hold"),
        ((5, 5), r"\(2, 3, 4\) has 24 elements, \(5, 5\) has 25"),
        ((-1, -1), r"\(-1, -1\) leaves more than one size open"),
        ((0, -1), r"\(2, 3, 4\) has 24 elements, which \(0, -1\) cannot hold"),
    ],
)
def test_an_impossible_reshape_says_how_many_elements_there_are(to, message):
    with pytest.raises(ShapeError, match=message):
        tl.reshape(X, to)


def test_a_zero_keeps_a_size_where_mxnet_reads_it_so():
    assert Reshape(to=(0, -1), zero_keeps=True).shape((2, 3, 4)) == (2, 12)
    assert Reshape(to=(0, -1), zero_keeps=True).shape((None, 3, 4)) == (None, None)
    with pytest.raises(ShapeError, match=r"\(0, 0, 0, 0\) keeps an axis that \(2, 3, 4\) does not have"):
        Reshape(to=(0, 0, 0, 0), zero_keeps=True).shape((2, 3, 4))


@pytest.mark.parametrize("axes", [None, (0, 1, 2), (2, 0, 1), (-1, 0, 1), (1, -1, 0)])
def test_transposed_gradients_find_their_way_back(axes):
    weight = np.random.default_rng(0).normal(size=X.transpose(axes).shape)
    y = tl.transpose(X, axes)
    np.testing.assert_array_equal(y.numpy(), X.transpose(axes))
    dx = grad(lambda x: (tl.transpose(x, axes) * weight).sum())(X)
    back = weight.transpose(None if axes is None else np.argsort([a % 3 for a in axes]))
    np.testing.assert_array_equal(dx.numpy(), back)


def test_wrong_orders_of_axes_are_refused():
    with pytest.raises(ShapeError, match=r"axes \(0, 0, 1\) are no order of 3 dimensions"):
        tl.transpose(X, (0, 0, 1))
    with pytest.raises(ShapeError, match="there is no axis 3 in 3 dimensions"):
        tl.swapaxes(X, 0, 3)


def test_only_axes_of_size_1_can_be_squeezed():
    assert tl.squeeze(np.ones((1, 2, 1))).shape == (2,)
    assert tl.squeeze(np.ones((1, 2, 1)), axis=-1).shape == (1, 2)
    with pytest.raises(ShapeError, match=r"Squeeze\(axis=1\): axis 1 of \(1, 2, 1\) has size 2, expected 1"):
        tl.squeeze(np.ones((1, 2, 1)), axis=1)
    assert Squeeze().shape((1, None)) is None


def test_flatten_counts_its_axis_from_either_end():
    assert [Flatten(axis=a).shape((2, 3, 4)) for a in (0, 1, 2, 3, -1, -3)] == [
        (1, 24), (2, 12), (6, 4), (24, 1), (6, 4), (1, 24),
    ]  # fmt: skip
    assert Flatten().shape((None, 3, 4)) == (None, 12)
    assert tl.flatten(np.ones((0, 2, 3))).shape == (0, 6)


def test_what_cannot_be_repeated_is_refused():
    with pytest.raises(ShapeError, match=r"\(3,\) cannot be repeated to \(2, 4\)|do not broadcast"):
        tl.broadcast_to(np.ones(3), (2, 4))
    with pytest.raises(ShapeError, match=r"\(2, 3\) cannot be repeated to \(3,\)"):
        tl.broadcast_to(np.ones((2, 3)), (3,))


def test_a_new_axis_can_stand_anywhere():
    assert [tl.expand_dims(X, a).shape for a in (0, 2, -1)] == [(1, 2, 3, 4), (2, 3, 1, 4), (2, 3, 4, 1)]
    with pytest.raises(ShapeError, match="there is no axis 4 in 4 dimensions"):
        tl.expand_dims(X, 4)


def test_views_share_memory_and_copies_do_not():
    x = Tensor(X)
    assert np.shares_memory(x.reshape(4, 6).array, x.array)
    assert not np.shares_memory(x.reshape(4, 6).value, x.value)  # who writes there changes nothing else
    assert not np.shares_memory(tl.identity(x).value, x.value)


@pytest.mark.parametrize("to", ["float16", "float32", "float64", "int32", "bool", "complex64"])
def test_a_cast_is_that_of_numpy_and_its_gradient_has_the_type_of_what_was_cast(to):
    x = np.array([-1.7, 0.0, 2.5])
    y = tl.cast(x, dtype=to)
    assert y.dtype == np.dtype(to)
    np.testing.assert_array_equal(y.numpy(), x.astype(to))
    g = grad(lambda t: tl.sum(tl.abs(tl.cast(t, dtype=to)) if to == "complex64" else tl.cast(t, dtype=to)))(
        x.astype(np.float32)
    )
    assert g.dtype == np.float32
    expected = np.sign(x) if to == "complex64" else np.ones(3) if to.startswith("float") else np.zeros(3)
    np.testing.assert_allclose(g.numpy(), expected)


def test_the_real_part_is_what_a_cast_to_a_real_type_takes():
    np.testing.assert_array_equal(tl.cast(np.array([1 + 2j]), dtype="float64").numpy(), [1.0])
