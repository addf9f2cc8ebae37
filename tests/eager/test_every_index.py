"""Indexing of every kind that NumPy knows: the same parts, gradients that add up, and the same refusals."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson.errors import LessonError

SHAPES = ((), (3,), (2, 3), (3, 3), (2, 3, 4), (0, 3))
NEAR = st.integers(-3, 3)
END = st.none() | st.integers(-4, 4)


def masks(shape):
    return st.integers(0, 2 ** int(np.prod(shape)) - 1).map(
        lambda n: np.array([n >> i & 1 for i in range(int(np.prod(shape)))], bool).reshape(shape)
    )


PART = st.one_of(
    NEAR, st.builds(slice, END, END, st.sampled_from((None, 1, 2, -1, -2))), st.none(), st.just(...), st.booleans(),
    st.booleans().map(np.bool_), st.booleans().map(np.array), st.lists(NEAR, max_size=3), st.lists(st.booleans(), min_size=1, max_size=4),
    st.lists(NEAR, max_size=3).map(lambda x: np.array(x, np.int8)), st.lists(NEAR, min_size=2, max_size=2).map(lambda x: np.array(x)[:, None]),
    NEAR.map(np.array), NEAR.map(np.int8), masks((3,)), masks((2,)), masks((3, 3)), masks((2, 3)),
)  # fmt: skip


@given(shape=st.sampled_from(SHAPES), key=PART | st.lists(PART, max_size=5).map(tuple))
@example(shape=(3,), key=(True, 0))
@example(shape=(2, 3), key=(slice(None), np.array(False), 1))
@example(shape=(0, 3), key=[False, False])
def test_a_part_is_that_of_numpy_and_its_gradient_counts_how_often_each_was_taken(shape, key):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    t = tl.Tensor(x, requires_grad=True)
    try:
        expected = x[key]
    except (IndexError, ValueError, TypeError):
        with pytest.raises((LessonError, IndexError)):
            t[key]
        return
    y = t[key]
    np.testing.assert_array_equal(y.numpy(), expected, strict=True)
    weights = np.arange(1.0, expected.size + 1).reshape(expected.shape)
    y.backward(weights)
    counted = np.zeros(shape)
    np.add.at(counted, key, weights)
    np.testing.assert_array_equal(t.grad.numpy(), counted)
