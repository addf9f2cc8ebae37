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


def test_dropout_between_layers_is_refused():
    with pytest.raises(AttributeValueError, match="p is 0.5, expected at most 0"):
        RNN(state_size=3, num_layers=2, mode="gru", p=0.5)


def test_a_result_that_nobody_uses_has_no_say():
    op = RNN(state_size=2, num_layers=1, mode="lstm", state_outputs=True)
    inputs = [tl.Tensor(x, requires_grad=True) for x in inputs_for(op, (3, 1, 2))]

    def results(*x):
        return tl.rnn(*x, 2, 1, "lstm", state_outputs=True)

    alone = tl.grad(lambda *x: tl.sum(results(*x)[2]))(*inputs)
    beside = tl.grad(lambda *x: sum(tl.sum(y) * (i == 2) for i, y in enumerate(results(*x))))(*inputs)
    np.testing.assert_allclose(alone.numpy(), beside.numpy(), rtol=1e-12)
