"""Operators of `sym.image` and `nd.image`; numbers are MXNet 1.9.1's."""

import numpy as np
import pytest

from tinygrad_lesson import mx
from tinygrad_lesson.errors import ShapeError

X = mx.nd.array(np.arange(24.0).reshape(3, 2, 4))
PICTURE = mx.nd.array(np.arange(24.0).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [((0, 1, 2), (3, 2, 1), [0, 3.5, 14]), (1, 2, [-0.5, 3.5, 7.5]), ((0, 1, 2), 2, [0, 3.5, 7])],
)
def test_channels_are_moved_and_scaled(mean, std, expected):
    y = mx.nd.image.normalize(X, mean=mean, std=std)
    np.testing.assert_array_equal(y.asnumpy()[:, 0, 0], expected)
    batch = mx.nd.stack(X, X + 1)
    both = mx.nd.image.normalize(batch, mean=mean, std=std).asnumpy()
    np.testing.assert_array_equal(both[0], y.asnumpy())
    net = mx.sym.image.normalize(mx.sym.Variable("x"), mean=mean, std=std, name="n")
    executor = net.simple_bind(mx.cpu(), x=(3, 2, 4))
    np.testing.assert_array_equal(executor.forward(is_train=True, x=X)[0], y.asnumpy())
    executor.backward(mx.nd.ones((3, 2, 4)))
    slope = np.broadcast_to(1 / np.reshape(std, (-1, 1, 1)), (3, 2, 4))
    np.testing.assert_allclose(executor.grad_dict["x"].asnumpy(), slope, rtol=1e-6)
    assert mx.sym.load_json(net.tojson()).list_outputs() == ["n_output"]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_bytes_become_numbers_with_channels_first(dtype):
    y = mx.nd.image.to_tensor(PICTURE.astype(dtype))
    assert (y.shape, y.dtype) == ((4, 2, 3), np.float32)
    np.testing.assert_allclose(y.asnumpy()[:, 1, 2] * 255, [20, 21, 22, 23], rtol=1e-6)
    assert mx.nd.image.to_tensor(mx.nd.ones((5, 2, 3, 1))).shape == (5, 1, 2, 3)
    assert mx.sym.image.to_tensor(mx.sym.var("x")).infer_type(x=dtype)[1] == [np.float32]


def test_a_picture_is_turned_over_and_cut():
    x = PICTURE[:, :, :3]
    np.testing.assert_array_equal(mx.nd.image.flip_left_right(x).asnumpy(), x.asnumpy()[:, ::-1])
    np.testing.assert_array_equal(mx.nd.image.flip_top_bottom(x).asnumpy(), x.asnumpy()[::-1])
    np.testing.assert_array_equal(mx.nd.image.crop(x, x=1, y=0, width=2, height=1), x.asnumpy()[:1, 1:3])
    assert mx.nd.image.crop(mx.nd.stack(x, x), 1, 0, 2, 1).shape == (2, 1, 2, 3)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ShapeError, match="mean has 2 numbers, expected 1 or 3"):
        mx.nd.image.normalize(X, mean=(0, 1), std=1)
    with pytest.raises(ShapeError, match="expected \\(channel, height, width\\)"):
        mx.nd.image.normalize(mx.nd.ones((2, 4)), mean=1, std=1)
    with pytest.raises(ShapeError, match="expected \\(height, width, channel\\)"):
        mx.nd.image.to_tensor(mx.nd.ones((2, 4)))
