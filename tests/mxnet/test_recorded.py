"""A symbol from what the eager face has recorded."""

import gc

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import DTypeError, GraphError

RNG = np.random.default_rng(0)


def network():
    """Tensors and what was computed from them: layers, numbers, an array from outside, a value used twice."""
    x = tl.Tensor(RNG.normal(size=(4, 3)), requires_grad=True)
    w = tl.Tensor(RNG.normal(size=(2, 3)), requires_grad=True)
    h = tl.tanh(tl.linear(x, w)) * 2.0 + RNG.normal(size=2)
    return x, w, tl.softmax(1 / (h * h + 1)) - h**2


def test_a_recorded_tensor_becomes_a_symbol_with_the_same_values_and_gradients():
    x, w, y = network()
    symbol, arrays = sym.from_tensor(y, x=x, w=w)
    assert symbol.list_arguments() == ["x", "w", "constant0"]
    gradients = {name: np.zeros_like(a) for name, a in arrays.items()}
    executor = symbol.bind(tl.cpu(), arrays, args_grad=gradients)
    np.testing.assert_allclose(executor.forward(is_train=True)[0], y.numpy(), rtol=1e-12)
    g = RNG.normal(size=y.shape)
    executor.backward([g])
    y.backward(g)
    np.testing.assert_allclose(gradients["x"], x.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(gradients["w"], w.grad.numpy(), rtol=1e-12)


def test_it_can_be_saved_and_loaded():
    x, w, y = network()
    symbol, arrays = sym.from_tensor(y, x=x, w=w)
    again = sym.load_json(symbol.tojson())
    assert again.list_arguments() == symbol.list_arguments()
    np.testing.assert_allclose(again.bind(tl.cpu(), arrays).forward()[0], y.numpy(), rtol=1e-12)


def test_leaves_without_a_name_are_numbered_and_several_results_are_several_outputs():
    x = tl.Tensor([1.0, 2.0], requires_grad=True)
    symbol, arrays = sym.from_tensor([tl.exp(x), (x * x).sum()])
    assert symbol.list_arguments() == ["input0"]
    first, second = symbol.bind(tl.cpu(), arrays).forward()
    np.testing.assert_allclose(first, np.exp([1, 2]))
    assert second == 5


def test_what_was_not_recorded_is_refused_and_so_is_a_name_for_something_else():
    x = tl.Tensor([1.0], requires_grad=True)
    with pytest.raises(GraphError, match="computed without recording"):
        sym.from_tensor(tl.Tensor([1.0]) + 1)
    with pytest.raises(GraphError, match="'z' is no part of what made the result"):
        sym.from_tensor(x + 1, z=tl.Tensor([1.0]))
    with pytest.raises(DTypeError, match="is no Tensor"):
        sym.from_tensor([3.0])


def test_an_input_that_is_gone_is_told():
    y = tl.exp(tl.exp(tl.Tensor([1.0], requires_grad=True)))
    middle = y.node.inputs[0]
    middle.node.inputs = (tl.tensor.wrap(None, middle.node.inputs[0].node),)
    gc.collect()
    with pytest.raises(GraphError, match="is gone"):
        sym.from_tensor(y)
