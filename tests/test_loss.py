"""Where gradients begin and where they end."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor
from tinygrad_lesson.errors import AttributeValueError


@pytest.mark.parametrize(
    ("attributes", "slope"),
    [
        ({}, 1), ({"grad_scale": 3.0}, 3), ({"normalization": "batch"}, 1 / 4),
        ({"normalization": "valid"}, 1 / 3), ({"normalization": "valid", "valid_thresh": 9.0}, 1),
    ],
)  # fmt: skip
def test_the_gradient_of_a_loss_begins_with_its_scale_whatever_comes_from_above(attributes, slope):
    x = Tensor([1.0, -1.0, 2.0, 3.0], requires_grad=True)
    (tl.make_loss(x, **attributes) * 100).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(4, slope))


def test_an_unknown_normalization_is_refused():
    with pytest.raises(
        AttributeValueError, match="normalization is 'rows', expected one of 'null', 'batch', 'valid'"
    ):
        tl.make_loss(np.ones(3), normalization="rows")


def test_no_gradient_passes_a_stop():
    x = Tensor([2.0], requires_grad=True)
    y = x * tl.stop_gradient(x)
    y.backward()
    assert x.grad.numpy().tolist() == [2]
    assert not tl.stop_gradient(x).requires_grad
