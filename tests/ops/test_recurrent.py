"""Recurrent layers: sizes, the unit whose slope jumps, and several layers by hand."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import AttributeValueError
from tinygrad_lesson.op import OPS

RNN = OPS["RNN"]


def inputs_for(op, shape):
    random = np.random.default_rng(2)
    shapes = {"data": shape, **op.parameters(shape)}
    return [random.normal(size=shape) for shape in shapes.values()]


@pytest.mark.parametrize("mode", ["rnn_relu", "rnn_tanh", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_kind_of_unit_agrees_with_a_loop(mode, bidirectional):
    op = RNN(state_size=3, num_layers=2, mode=mode, bidirectional=bidirectional, state_outputs=True)
    inputs = inputs_for(op, (4, 2, 5))
    for y, z in zip(op.forward(np, *inputs), op.oracle(*inputs), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-12, atol=1e-14)


def test_sizes_follow_from_the_data():
    net = sym.RNN(sym.Variable("data"), state_size=3, num_layers=2, mode="lstm", bidirectional=True, name="r")
    arguments, outputs, _ = net.infer_shape(data=(7, 2, 5))
    each = 4 * 3 * (5 + 3 + 2) + 4 * 3 * (6 + 3 + 2)  # matrices and two biases, of both layers
    assert dict(zip(net.list_arguments(), arguments, strict=True)) == {
        "data": (7, 2, 5), "r_parameters": (2 * each,), "r_state": (4, 2, 3), "r_state_cell": (4, 2, 3),
    }  # fmt: skip
    assert outputs == [(7, 2, 6)]


def test_dropout_between_layers_is_that_of_training():
    """With identity matrices each layer of rnn_relu hands on what it is given, masked between the two."""
    with pytest.raises(AttributeValueError, match="p is 0.5, expected at most 0"):
        RNN(state_size=3, num_layers=2, mode="gru", p=0.5)
    width = 40
    net = sym.RNN(sym.Variable("data"), state_size=width, num_layers=2, mode="rnn_relu", p=0.25, name="r")
    executor = net.simple_bind(data=(1, 50, width))
    executor.arg_dict["data"][:] = 1
    parts = [np.eye(width), np.zeros((width, width))] * 2
    weights = np.concatenate([*map(np.ravel, parts), np.zeros(4 * width)])
    executor.arg_dict["r_parameters"][:] = weights
    (still,) = executor.forward(is_train=False)
    assert (still.asnumpy() == 1).all()
    (y,) = executor.forward(is_train=True)
    np.testing.assert_allclose(np.unique(y.asnumpy()), [0, 1 / 0.75], rtol=1e-6)
    assert abs((y.asnumpy() == 0).mean() - 0.25) < 0.05
    executor.backward([np.ones((1, 50, width), "f")])
    np.testing.assert_array_equal(executor.grad_dict["data"].asnumpy(), y.asnumpy())


def test_a_result_that_nobody_uses_has_no_say():
    op = RNN(state_size=2, num_layers=1, mode="lstm", state_outputs=True)
    inputs = [tl.Tensor(x, requires_grad=True) for x in inputs_for(op, (3, 1, 2))]

    def results(*x):
        return tl.rnn(*x, 2, 1, "lstm", state_outputs=True)

    alone = tl.grad(lambda *x: tl.sum(results(*x)[2]))(*inputs)
    beside = tl.grad(lambda *x: sum(tl.sum(y) * (i == 2) for i, y in enumerate(results(*x))))(*inputs)
    np.testing.assert_allclose(alone.numpy(), beside.numpy(), rtol=1e-12)
