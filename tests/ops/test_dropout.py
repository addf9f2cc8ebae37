"""What dropout drops, how often, and that it can be repeated."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor
from tinygrad_lesson.errors import AttributeValueError

ONES = np.ones((200, 100))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_p_is_dropped_and_the_rest_make_up_for_it(p):
    tl.random.seed(0)
    y = tl.dropout(ONES, p).numpy()
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)])
    deviation = np.sqrt(p * (1 - p) / ONES.size)
    assert abs((y == 0).mean() - p) < 4 * deviation


def test_the_same_seed_drops_the_same_elements():
    masks = []
    for seed in (1, 1, 2):
        tl.random.seed(seed)
        masks.append([tl.dropout(ONES).numpy() for _ in range(2)])
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0][0] != masks[0][1]).any()
    assert (masks[0][0] != masks[2][0]).any()


def test_gradients_pass_where_elements_did():
    x = Tensor(ONES, requires_grad=True)
    y = tl.dropout(x, 0.3)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_nothing_is_dropped_in_prediction_or_with_p_0_and_all_with_p_1():
    np.testing.assert_array_equal(tl.dropout(ONES, 0.5, is_train=False).numpy(), ONES)
    np.testing.assert_array_equal(tl.dropout(ONES, 0.0).numpy(), ONES)
    assert not tl.dropout(ONES, 1.0).numpy().any()
    assert (Tensor.F.dropout(ONES, 0.5, mode="always").numpy() == 0).any()


def test_one_decision_can_be_shared_along_axes():
    y = Tensor.F.dropout(ONES, 0.5, axes=(1,), is_train=True).numpy()
    assert set(map(tuple, y)) == {(0.0,) * 100, (2.0,) * 100}


def test_a_probability_above_1_is_refused():
    with pytest.raises(AttributeValueError, match="Dropout: p is 1.5, expected at most 1"):
        tl.dropout(ONES, 1.5)


def test_dropped_float32_and_integers_have_sensible_types():
    assert tl.dropout(ONES.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(np.unique(tl.dropout(ONES.astype(int)).numpy()), [0, 2])
