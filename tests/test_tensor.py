"""The eager face: gradients that add up, numbers and arrays that mix, and errors that tell."""

import copy
import gc
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, no_grad
from tinygrad_lesson.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.op import FUNCTIONS
from tinygrad_lesson.ops.elementwise import Subtract

X = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])


def leaf(values, kind=float):
    return Tensor(np.array(values, kind), requires_grad=True)


# Gradients.


def test_backward_adds_to_what_is_there():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [2, 4]
    (x * 3).sum().backward()
    assert x.grad.numpy().tolist() == [5, 7]
    x.grad = None
    x.sum().backward()
    assert x.grad.numpy().tolist() == [1, 1]


def test_one_graph_can_be_swept_twice():
    x = leaf(2.0)
    y = x * x * x
    y.backward()
    y.backward()
    assert x.grad.item() == 24


def test_backward_takes_a_cotangent_for_a_result_with_many_elements():
    x = leaf([1.0, 2.0])
    (x * x).backward([10, 100])
    assert x.grad.numpy().tolist() == [20, 400]
    x.backward(np.array([1.0, 1.0]))
    assert x.grad.numpy().tolist() == [21, 401]


def test_a_gradient_is_an_array_of_its_own():
    x, y = leaf([1.0]), leaf([1.0])
    g = np.array([1.0])
    (x + y).backward(g)
    x.grad.value[0] = g[0] = 7
    assert y.grad.item() == 1


def test_gradients_keep_the_type_and_shape_of_their_leaf():
    for kind in (np.float16, np.float32, np.float64):
        x = leaf([[1.0], [2.0]], kind)
        (x * 2 + np.ones((2, 3), kind)).mean().backward()
        assert (x.grad.dtype, x.grad.shape) == (np.dtype(kind), (2, 1))


def test_integers_on_the_way_get_no_gradient():
    x, n = leaf([2.0, 3.0]), Tensor([1, 2])
    (x * n).sum().backward()
    assert x.grad.numpy().tolist() == [1, 2]
    assert n.grad is None


def test_several_results_of_an_op_send_their_gradients_back_together():
    x = leaf(np.arange(6.0))
    a, _, c = tl.split(x, 3)
    (a * c).sum().backward()
    assert x.grad.numpy().tolist() == [4, 5, 0, 0, 0, 1]


def test_inside_no_grad_nothing_is_recorded_even_after_an_error():
    x = leaf(1.0)
    with no_grad():
        assert not (x * 2).requires_grad
        with no_grad():
            pass
        assert not (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * 2).requires_grad

    @no_grad()
    def quietly():
        return x * 2

    assert not quietly().requires_grad


def test_no_grad_does_not_leak_into_another_thread():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other():
        inside.wait(10)
        seen.append((leaf(1.0) * 2).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with no_grad():
        inside.set()
        done.wait(10)
    thread.join()
    assert seen == [True]


def test_threads_train_independently():
    def train(results, i):
        w = leaf([float(i)])
        for _ in range(100):
            w.grad = None
            ((w - 3) * (w - 3)).sum().backward()
            w = leaf(w.value - 0.1 * w.grad.value)
        results[i] = w.item()

    results = {}
    threads = [threading.Thread(target=train, args=(results, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[i] for i in range(4)] == pytest.approx([3] * 4)


# Depth and memory.


def test_a_chain_of_100_000_nodes_is_swept_and_freed_without_recursion():
    limit = sys.getrecursionlimit()
    gc.disable()
    try:
        sys.setrecursionlimit(200)
        x = leaf(1.0)
        y = x
        for _ in range(100_000):
            y = y + x
        y.backward()
        assert x.grad.item() == 100_001
        del y
    finally:
        sys.setrecursionlimit(limit)
        gc.enable()


def test_training_leaves_no_reference_cycles():
    def steps(count):
        w, gamma, beta = leaf(np.ones((3, 2))), leaf(np.ones(2)), leaf(np.zeros(2))
        mean, var = Tensor(np.zeros(2)), Tensor(np.ones(2))
        for _ in range(count):
            h = tl.batch_norm(X @ w, gamma, beta, mean, var)
            a, b = tl.split(tl.dropout(tl.relu(h)), 2)
            loss = (tl.concat([a, b]) - 1).var() + w.prod()
            loss.backward()
            (g,) = tl.grad(loss, [w], create_graph=True)
            tl.grad((g * g).sum(), [w])
        tl.hessian(lambda t: (t * t * t).sum(), np.ones(2))

    steps(1)
    gc.collect()
    gc.disable()
    try:
        steps(5)
        assert gc.collect() == 0
    finally:
        gc.enable()


# Numbers and arrays.


def test_numbers_and_numpys_scalars_keep_float32():
    x = leaf([1.0, 2.0], np.float32)
    for y in (
        x * 2,
        2 * x,
        x + 0.5,
        x / np.float64(3),
        np.float64(3) - x,
        x * np.int64(2),
        np.float32(2) * x,
    ):
        assert isinstance(y, Tensor)
        assert y.dtype == np.float32
    assert (x * np.ones(2)).dtype == np.float64  # arrays promote as in NumPy
    assert (x * True).dtype == np.float32


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
def test_operators_take_arrays_and_numbers_on_either_side(name):
    x, other = np.abs(X), np.array([1.0, 2.0, 3.0])
    for right in (other, 2.0, np.float32(2), other.tolist()):
        expected = getattr(x, f"__{name}__")(np.asarray(right))
        np.testing.assert_allclose(getattr(Tensor(x), f"__{name}__")(right).numpy(), expected)
        expected = getattr(x, f"__r{name}__")(np.asarray(right))
        np.testing.assert_allclose(getattr(Tensor(x), f"__r{name}__")(right).numpy(), expected)
    assert isinstance(other * Tensor(x), Tensor)
    assert isinstance(other - Tensor(x), Tensor)


def test_methods_read_as_in_numpy():
    x = Tensor(X)
    pairs = [
        (x.sum(0), X.sum(0)), (x.mean(axis=1, keepdims=True), X.mean(axis=1, keepdims=True)), (x.max(-1), X.max(-1)),
        (x.var(0), X.var(0)), (tl.var(x), X.var()), (x.prod(), X.prod()), (x.min(), X.min()),
        (x[1:, None], X[1:, None]), (x.T, X.T), (abs(x), abs(X)), (-x, -X), (+x, X), (x**2, X**2),
        (x.reshape(3, -1), X.reshape(3, -1)), (x.reshape((6,)), X.reshape(6)), (x.reshape(-1), X.reshape(-1)),
        (x.transpose(1, 0), X.T), (x.transpose(), X.T), (x.transpose((1, 0)), X.T), (x.swapaxes(0, 1), X.T),
        (x.clip(0, 1), X.clip(0, 1)), (tl.clip(x, 0, 1), X.clip(0, 1)), (tl.where(x > 0, x, 0), X.clip(0)),
        (tl.power(2, x), 2**X), (tl.exp(x), np.exp(X)), (x.squeeze(), X), (x.expand_dims(0), X[None]),
        (tl.concat([x, x], axis=0), np.concatenate([X, X])), (tl.stack([x, x], axis=1), np.stack([X, X], 1)),
        (tl.maximum(x, 0), X.clip(0)), (x @ X.T, X @ X.T), (X.T @ x, X.T @ X), (x[0] @ x[0], X[0] @ X[0]),
    ]  # fmt: skip
    for y, expected in pairs:
        assert isinstance(y, Tensor)
        assert y.shape == np.shape(expected)
        np.testing.assert_allclose(y.numpy(), expected)


def test_comparisons_answer_with_booleans_and_are_not_recorded():
    x = leaf([1.0, 2.0, 3.0])
    for y, expected in [
        (x > 2, [0, 0, 1]), (x >= 2, [0, 1, 1]), (x < 2, [1, 0, 0]), (x <= 2, [1, 1, 0]),
        (x == 2, [0, 1, 0]), (x != 2, [1, 0, 1]), (x < 4, [1, 1, 1]),
    ]:  # fmt: skip
        assert y.dtype == bool
        assert y.numpy().tolist() == expected
        assert not y.requires_grad
    assert {x: 1}[x] == 1


def test_a_tensor_of_one_element_is_a_number():
    x = leaf([[2.5]])
    assert (float(x), int(x), x.item(), bool(x), bool(x > 3)) == (2.5, 2, 2.5, True, False)
    assert type(leaf(1.0).item()) is float


def test_a_tensor_has_a_length_is_iterated_and_shows_itself():
    x = leaf(X)
    assert (len(x), x.ndim, x.size, x.shape, x.dtype) == (2, 2, 6, (2, 3), np.float64)
    total = sum(row.sum() * i for i, row in enumerate(x))
    total.backward()
    assert x.grad.numpy().tolist() == [[0, 0, 0], [1, 1, 1]]
    assert repr(Tensor([1.0])) == "Tensor([1.], dtype=float64)"
    assert repr(leaf([1.0], np.float32)) == "Tensor([1.], dtype=float32, requires_grad=True)"


def test_what_comes_of_numbers_alone_is_a_tensor_too():
    y = tl.exp(0.0) + tl.maximum(1, 2)
    assert (y.item(), y.shape, y.ndim, y.size) == (3, (), 0, 1)
    assert y.numpy().dtype == np.float64
    assert repr(y) == "Tensor(3., dtype=float64)"
    assert (y * np.float32([1])).dtype == np.float32


def test_data_is_copied_in_and_out():
    array = np.ones(2)
    x = Tensor(array)
    array[0] = 5
    x.numpy()[1] = 5
    assert x.numpy().tolist() == [1, 1]
    assert np.asarray(x).tolist() == [1, 1]
    assert Tensor(x).value is not x.value
    assert Tensor([1, 2], dtype="float32").dtype == np.float32


def test_detached_and_asked_for_tensors_are_leaves():
    x = leaf([1.0])
    y = x * 2
    assert not y.detach().requires_grad
    z = y.detach().requires_grad_()
    (z * 3).sum().backward()
    assert z.grad.item() == 3
    assert x.grad is None
    assert not z.requires_grad_(False).requires_grad
    with pytest.raises(GraphError, match="only a leaf can stop requiring a gradient"):
        y.requires_grad = False


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_leaf_has_a_gradient_of_its_own(again):
    x = leaf([1.0])
    y = again(x)
    (y * 3).sum().backward()
    assert (x.grad, y.grad.item()) == (None, 3)
    assert not again(Tensor(1)).requires_grad
    with pytest.raises(GraphError, match="only a leaf can be copied"):
        again(x * 2)


# Errors.


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Tensor(np.ones((2, 3))) + np.ones(4), ShapeError,
         r"^Add\(\): \(2, 3\) and \(4,\) do not broadcast together\n  a  \(2, 3\) float64\n  b  \(4,\) float64$"),
        (lambda: Tensor([1, 2], requires_grad=True), DTypeError, r"a tensor of int64 has no gradient; make it a float"),
        (lambda: (leaf([1.0, 2.0]) * 2).backward(), ShapeError, r"a result of shape \(2,\) needs its own gradient"),
        (lambda: (leaf([1.0, 2.0]) * 2).backward([1, 2, 3]), ShapeError, r"the gradient is \(3,\), expected \(2,\)"),
        (lambda: Tensor(1.0).backward(), GraphError, "computed without recording: set requires_grad=True"),
        (lambda: (leaf(1.0) > 0).backward(), GraphError, "use no op without a gradient on the way"),
        (lambda: Tensor("abc"), DTypeError, "'abc' is neither a Tensor nor an array nor a number"),
        (lambda: Tensor(["a", "b"]), DTypeError, "neither a Tensor nor an array nor a number"),
        (lambda: Tensor([None]), DTypeError, "neither a Tensor nor an array nor a number"),
        (lambda: Tensor(["a"], dtype=float), DTypeError, "is no array of numbers: could not convert"),
        (lambda: Tensor([[1], [1, 2]]), ShapeError, "is no array of numbers: .*inhomogeneous"),
        (lambda: Tensor([leaf(1.0), leaf(2.0)]), DTypeError, r"a list of recorded tensors .* stack\(list\)"),
        (lambda: Tensor([1.0]) + "a", DTypeError, "'a' is neither"),
        (lambda: Tensor([1.0]) * None, DTypeError, "None is neither"),
        (lambda: Tensor([1.0, 2.0]).item(), ShapeError, r"shape \(2,\) has 2 elements, not one"),
        (lambda: bool(Tensor([1.0, 2.0])), ShapeError, r"shape \(2,\) has no single truth value"),
        (lambda: len(Tensor(1.0)), TypeError, "a tensor without axes has no length"),
        (lambda: list(Tensor(1.0)), TypeError, "a tensor without axes has no length"),
        (lambda: tl.negative(Tensor([True])), DTypeError, r"Negative\(\): .*negative"),
        (lambda: Tensor([1.0]).view(1), AttributeError, "a Tensor has no 'view'; try reshape"),
        (lambda: Tensor([1.0]).tangh(), AttributeError, "no attribute 'tangh'"),
        (lambda: Tensor([1.0]).nonsense, AttributeError, "'Tensor' object has no attribute 'nonsense'$"),
        (lambda: Tensor([1.0]).__setitem__(0, 2), TypeError, r"do not change: use where\(\) or concat\(\)"),
        (lambda: np.exp(Tensor([1.0])), TypeError, "does not support ufuncs"),
    ],
)  # fmt: skip
def test_an_error_says_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_every_op_is_listed_and_a_method_and_unknown_names_are_not():
    assert set(FUNCTIONS) <= set(dir(tl))
    assert all(callable(getattr(tl, name)) for name in FUNCTIONS)
    assert not hasattr(tl, "nonsense")
    assert not hasattr(Tensor(1.0), "__cuda_array_interface__")


def test_every_op_is_a_method_and_a_wrong_name_is_answered_with_the_nearest():
    assert set(FUNCTIONS) <= set(dir(Tensor([1.0])))
    code = "import tinygrad_lesson as tl; tl.Tensor([1.0]).tangh()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Did you mean: 'tanh'?" in found.stderr


def test_a_rule_that_forgets_an_input_is_named(monkeypatch):
    monkeypatch.setattr(Subtract, "vjp", lambda self, F, g, y, a, b: (g,))
    with pytest.raises(GraphError, match=r"Subtract\(\): vjp gives 1 gradients, expected 2, one per input"):
        (leaf([1.0]) - leaf([2.0, 3.0])).sum().backward()
