"""Arrays that are refused at every door: with a mask, or with imaginary parts that would be dropped; and shared ones."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.arrays import taken
from tinygrad_lesson.errors import DTypeError
from tinygrad_lesson.run import RUNNERS
from tinygrad_lesson.train.data import NDArrayIter, as_batches

MASKED = np.ma.array([1.0, 2.0], mask=[False, True])
COMPLEX = np.array([1 + 2j, 3j])
ROWS, LABELS = np.ones((4, 2), np.float32), np.array([0.0, 1, 0, 1])


def net():
    """A network to be trained."""
    layer = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc")
    return sym.SoftmaxOutput(layer, name="softmax")


def exponential(runner=None):
    """An executor of one op."""
    return sym.exp(sym.Variable("x")).simple_bind(tl.cpu(), runner=runner, x=(2,))


def trained():
    """A model that can predict."""
    model = tl.FeedForward(net(), num_epoch=1)
    model.fit(ROWS, LABELS)
    return model


def doors(a, rows, labels):
    """Every way in which the user's arrays come in, by name."""
    return {
        "jit": lambda: tl.jit(lambda x: x * 2)(a),
        "jit, of its size": lambda: tl.jit(tl.abs)(a),
        "jit, from outside": lambda: tl.jit(lambda x: x * a)(np.ones(2)),
        "bind": lambda: sym.exp(sym.Variable("x")).bind(tl.cpu(), {"x": a}),
        "forward": lambda: exponential().forward(x=a),
        "copy_params_from": lambda: exponential().copy_params_from({"x": a}),
        "fit": lambda: tl.FeedForward(net(), num_epoch=1).fit(rows, LABELS),
        "fit, labels": lambda: tl.FeedForward(net(), num_epoch=1).fit(ROWS, labels),
        "predict": lambda: trained().predict(rows),
        "iterator": lambda: NDArrayIter(rows, LABELS),
        "batches": lambda: list(as_batches(NDArrayIter({"data": rows}))),
    }


TENSORS = {
    "Tensor": lambda a: tl.Tensor(a),
    "list": lambda a: tl.Tensor([a, a]),
    "op": tl.exp,
    "left": lambda a: a * tl.Tensor([1.0, 2.0]),
    "right": lambda a: tl.Tensor([1.0, 2.0]) * a,
    "grad": tl.grad(lambda x: tl.sum(x * x)),
    "cotangent": lambda a: tl.Tensor([1.0, 2.0], requires_grad=True).exp().backward(a),
}
MASKED_ROWS = np.ma.array(ROWS, mask=np.eye(4, 2, dtype=bool))
MASKED_LABELS = np.ma.array(LABELS, mask=[1, 0, 0, 0])


@pytest.mark.parametrize("door", doors(None, None, None))
def test_masked_arrays_are_refused_where_they_come_in(door):
    with pytest.raises(
        DTypeError, match=r"masked array, whose mask would be lost; fill it first: array.filled\(0\)"
    ):
        doors(MASKED, MASKED_ROWS, MASKED_LABELS)[door]()


@pytest.mark.parametrize("way", TENSORS)
def test_masked_arrays_are_refused_by_tensors_and_ops(way):
    with pytest.raises(DTypeError, match="masked array, whose mask would be lost"):
        TENSORS[way](MASKED)


@pytest.mark.parametrize("door", doors(None, None, None))
def test_complex_arrays_are_refused_where_only_real_ones_are_computed_with(door):
    with pytest.raises(DTypeError, match="complex.*expected real"):
        doors(COMPLEX, ROWS * 1j, LABELS * 1j)[door]()


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_complex_number_in_a_traced_function_is_refused(runner):
    with pytest.raises(DTypeError, match=r"is complex128, expected real numbers"):
        tl.jit(lambda x: tl.abs(x * 1j), runner=runner)(np.ones(2))


def test_an_array_is_taken_as_it_is_only_if_nobody_else_knows_it():
    def taken_of(made):
        held = [made()]
        before = held[0].__array_interface__["data"]
        return taken(held, 0).__array_interface__["data"] == before

    whole = np.ones((100, 100))
    assert taken_of(lambda: np.ones((100, 100)))
    assert taken_of(lambda: np.ones(10_000).reshape(100, 100))
    assert not taken_of(lambda: whole)
    assert not taken_of(lambda: whole[:])
    assert not taken_of(lambda: np.ones((200, 100))[:100])
    assert not taken_of(lambda: np.broadcast_to(1.0, (100, 100)))
    assert not taken_of(lambda: np.ones(3))


def test_large_gradients_share_memory_with_nothing():
    kept = []

    @tl.custom_vjp
    def twice(x):
        return 2 * x

    def pull(needed, g):
        kept.append(2 * g.numpy())
        return (kept[0],)

    twice.defvjp(lambda x: (2 * x, None), pull)
    g = np.ones((100, 100))
    for f in (lambda a, b: a + b, lambda a, b: a - b, lambda a, b: twice(a) * 1 + b.reshape(100, 100)):
        a, b = (tl.Tensor(np.ones((100, 100)), requires_grad=True) for _ in range(2))
        f(a, b).backward(g)
        found = [
            a.grad.value,
            b.grad.value,
            *[x.value for x in tl.grad(f(a, b), [a, b], gradient=g)],
            g,
            *kept,
        ]
        for i, x in enumerate(found):
            assert not any(np.shares_memory(x, y) for y in found[:i])
