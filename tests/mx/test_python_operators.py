"""Operators as MXNet had them before `CustomOp`: `NumpyOp` and `NDArrayOp`."""

import numpy as np
import pytest

from tinygrad_lesson import mx

RNG = np.random.default_rng(0)
X, CLASSES = RNG.normal(size=(4, 3)).astype("f"), np.array([0, 2, 1, 1])


class Softmax:
    """As MXNet's example has it: a loss that says which class was right."""

    def __init__(self):
        super().__init__(need_top_grad=False)

    def list_arguments(self):
        return ["data", "label"]

    def infer_shape(self, in_shape):
        return [in_shape[0], (in_shape[0][0],)], [in_shape[0]]


class OfNumPy(Softmax, mx.operator.NumpyOp):
    def forward(self, in_data, out_data):
        (x, _), (y,) = in_data, out_data
        y[:] = np.exp(x - x.max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)

    def backward(self, out_grad, in_data, out_data, in_grad):
        assert not out_grad
        in_grad[0][:] = out_data[0]
        in_grad[0][np.arange(4), in_data[1].astype(int)] -= 1


class OfArrays(Softmax, mx.operator.NDArrayOp):
    def forward(self, in_data, out_data):
        out_data[0][:] = mx.nd.softmax(in_data[0])

    def backward(self, out_grad, in_data, out_data, in_grad):
        in_grad[0][:] = out_data[0] - mx.nd.one_hot(in_data[1], 3)


@pytest.mark.parametrize("cls", [OfNumPy, OfArrays])
def test_a_loss_written_in_python(cls):
    net = cls()(data=mx.sym.Variable("x"), name="softmax")
    assert net.list_arguments() == ["x", "softmax_label"]
    assert net.list_outputs() == ["softmax_output"]
    executor = net.simple_bind(mx.cpu(), x=(4, 3))
    assert executor.arg_dict["softmax_label"].shape == (4,)
    y = executor.forward(is_train=True, x=X, softmax_label=CLASSES)[0].asnumpy()
    expected = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    executor.backward()
    np.testing.assert_allclose(executor.grad_dict["x"].asnumpy(), expected - np.eye(3)[CLASSES], atol=1e-6)


class Square(mx.operator.NumpyOp):
    def forward(self, in_data, out_data):
        out_data[0][:] = in_data[0] ** 2

    def backward(self, out_grad, in_data, out_data, in_grad):
        in_grad[0][:] = 2 * in_data[0] * out_grad[0]


def test_the_gradient_from_above_goes_on_and_every_object_is_an_operator_of_its_own():
    one, other = Square(), Square()
    net = other(one(mx.sym.Variable("x") * 2, name="a")) + 1
    executor = net.simple_bind(mx.cpu(), x=(2,))
    assert executor.forward(is_train=True, x=[1, 3])[0].asnumpy().tolist() == [17, 1297]
    executor.backward([np.array([1, 10])])
    assert executor.grad_dict["x"].asnumpy().tolist() == [64, 10 * 64 * 27]


@pytest.mark.parametrize("cls", [mx.operator.NumpyOp, mx.operator.NDArrayOp])
def test_one_that_says_nothing_hands_on_its_input(cls):
    executor = cls().get_symbol(mx.sym.Variable("x"), name="same").simple_bind(mx.cpu(), x=(3,))
    assert executor.forward(is_train=True, x=[1, 2, 3])[0].asnumpy().tolist() == [1, 2, 3]
    executor.backward(np.full(3, 5))
    assert executor.grad_dict["x"].asnumpy().tolist() == [1, 1, 1]
