"""The eager face: gradients that add up, numbers and arrays that mix, and errors that tell."""

import copy
import gc
import math
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, no_grad
from tinygrad_lesson.engine.namespace import Methods
from tinygrad_lesson.errors import DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise
from tinygrad_lesson.ops.elementwise import Subtract


class Own(np.ndarray):
    """A subclass of NumPy's arrays."""


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
    assert not again(x * 2).requires_grad
    assert again(x * 2).numpy().tolist() == [2]
    with pytest.raises(GraphError, match="a copy.*the gradient would end here"):
        tl.grad(lambda x: again(x * 2).sum())([1.0])


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
        (lambda: Tensor([1.0]).storage(), AttributeError, r"a Tensor has no 'storage'; try x.numpy\(\)"),
        (lambda: Tensor([1.0]).tangh(), AttributeError, "no attribute 'tangh'"),
        (lambda: Tensor([1.0]).nonsense, AttributeError, "'Tensor' object has no attribute 'nonsense'$"),
        (lambda: leaf([1.0]).__setitem__(0, 2), GraphError, r"what is recorded does not change; write `x = x\.at"),
        (lambda: np.spacing(leaf([1.0])), TypeError, "does not support this ufunc"),
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
    methods = {name for name, cls in FUNCTIONS.items() if cls.method}
    assert methods <= set(dir(Tensor([1.0])))
    code = "import tinygrad_lesson as tl; tl.Tensor([1.0]).tangh()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Did you mean: 'tanh'?" in found.stderr


def test_a_rule_that_forgets_an_input_is_named(monkeypatch):
    monkeypatch.setattr(Subtract, "vjp", lambda self, F, g, y, a, b: (g,))
    with pytest.raises(GraphError, match=r"Subtract\(\): vjp gives 1 gradients, expected 2, one per input"):
        (leaf([1.0]) - leaf([2.0, 3.0])).sum().backward()


# What was recorded stays as it was.

SIZES = pytest.mark.parametrize("size", [3, 10_000], ids=["small", "large"])


def ramp(size):
    return np.arange(1.0, size + 1)


def times(w, a):
    """A graph of `w` whose gradient is `a`, and how it is swept later."""
    y = tl.sum(w * a)

    def back():
        w.grad = None
        y.backward()
        return w.grad.numpy()

    return back


def pulled(w, a):
    _, pull = tl.vjp(lambda w: tl.sum(w * a), w)
    return lambda: pull(1.0)[0].numpy()


def differentiated_twice(w, a):
    (g,) = tl.grad(tl.sum(w * a * w), [w], create_graph=True)
    return lambda: tl.grad(tl.sum(g), [w])[0].numpy() / 2


def recorded_later(w, a):
    y = tl.sum(w * a)
    return lambda: tl.grad(y, [w], create_graph=True)[0].numpy()


LATER = pytest.mark.parametrize("later", [times, pulled, differentiated_twice, recorded_later])


@SIZES
@LATER
@pytest.mark.parametrize("of", [np.array, Tensor, lambda a: Tensor(a).detach(), lambda a: tl.reshape(a, a.shape),
                                lambda a: a[::1], lambda a: a.view(Own), memoryview])  # fmt: skip
def test_a_gradient_is_that_of_the_forward_pass_whatever_becomes_of_an_operand(size, later, of):
    a = ramp(size)
    operand = of(a)
    back = later(leaf(np.ones(size)), operand)
    a[:] = 7
    if size > 3 and of is np.array:  # a large array is locked instead of copied
        with pytest.raises(ValueError, match="read-only"):
            operand[:] = 8
        np.testing.assert_array_equal(back(), ramp(size))
        del back
        gc.collect()
    if isinstance(operand, Tensor):
        operand.value[:] = 8
        operand.value = operand.value + 1
    elif not isinstance(operand, memoryview):
        operand[:] = 8
        if size > 3 and of is np.array:
            return
    np.testing.assert_array_equal(back(), ramp(size))


def test_a_large_array_whose_derivative_is_taken_is_locked_too():
    a = ramp(10_000)
    _, pull = tl.vjp(lambda x: tl.sum(x * x), a)
    with pytest.raises(ValueError, match="read-only"):
        a[:] = 5
    np.testing.assert_array_equal(pull(1.0)[0].numpy(), 2 * ramp(10_000))
    del pull
    gc.collect()
    a[:] = 5


def test_a_large_array_is_locked_while_any_graph_lives_that_has_it():
    a, w = ramp(10_000), leaf(np.ones(10_000))
    graphs = [times(w, a), pulled(w, a), differentiated_twice(w, a)]
    (g,) = tl.grad(tl.sum(w * a * w), [w], create_graph=True)
    second = tl.sum(g)
    del g
    while graphs:
        assert not a.flags.writeable
        np.testing.assert_array_equal(graphs.pop()(), ramp(10_000))
        gc.collect()
    assert not a.flags.writeable
    second.backward()
    del second
    gc.collect()
    a[:] = 1


@SIZES
@LATER
def test_a_gradient_is_that_of_the_forward_pass_whatever_becomes_of_a_leaf(size, later):
    w, held = leaf(np.ones(size)), leaf(ramp(size))
    seen = held.value
    back = later(w, held)
    held.value -= 1
    assert held.numpy().tolist() == (ramp(size) - 1).tolist()
    seen[:] = 5  # it is the same array, as before
    assert held.numpy().tolist() == [5] * size
    held.value = np.zeros(size)
    np.testing.assert_array_equal(back(), ramp(size))
    np.testing.assert_array_equal(later(w, held)(), np.zeros(size))


@SIZES
def test_a_leaf_that_changes_between_its_uses_is_taken_as_it_was_at_each(size):
    w = leaf(ramp(size))
    inside = w.value
    first = w * w
    inside *= 2
    second = w * w
    inside *= 0
    (first + second).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), 2 * ramp(size) + 4 * ramp(size))


@SIZES
def test_a_result_cannot_be_written_to(size):
    x = leaf(ramp(size))
    y = x * x
    z = tl.sum(y * y)
    for write in (
        lambda: y.value.__setitem__(0, 3), lambda: y.value.__isub__(1), lambda: setattr(y, "value", np.ones(size))
    ):  # fmt: skip
        with pytest.raises(ValueError, match="read-only|value of a result does not change"):
            write()
    y.detach().value[:] = 0  # of its own
    z.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * ramp(size) ** 3)


@SIZES
@pytest.mark.parametrize("changed", [0, 1])
def test_a_detached_tensor_and_its_origin_leave_the_graphs_of_each_other_alone(size, changed):
    origin = Tensor(ramp(size))
    pair = origin, origin.detach()
    w = leaf(np.ones(size))
    y = tl.sum(w * pair[1 - changed])
    pair[changed].value[:] = 0
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), ramp(size))
    w.grad, result = None, w * 2
    y = tl.sum(result * result)
    result.detach().value[:] = 0
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), np.full(size, 8.0))


@SIZES
def test_conditions_states_and_cotangents_are_taken_as_they_were(size):
    x, condition = leaf(ramp(size)), np.ones(2 * size, bool)[:size]
    y = tl.sum(tl.where(condition, x, 0.0))
    condition[:] = False
    y.backward()
    assert x.grad.numpy().tolist() == [1] * size
    cotangent = np.ones(size)
    (g,) = tl.grad(x * x * x, [x], gradient=cotangent, create_graph=True)
    cotangent[:] = 7
    np.testing.assert_allclose(tl.grad(tl.sum(g), [x])[0].numpy(), 6 * ramp(size))


@pytest.mark.parametrize("state", [np.array, Tensor])
def test_a_state_that_training_changes_leaves_an_earlier_graph_alone(state):
    data = X.T
    mean, var = state(np.array([1.0, 2.0])), state(np.array([4.0, 9.0]))
    gamma, beta = leaf([1.0, 1.0]), leaf([0.0, 0.0])
    y = tl.sum(tl.batch_norm(Tensor(data), gamma, beta, mean, var, is_train=False, eps=1e-3))
    tl.batch_norm(Tensor(data), gamma, beta, mean, var, is_train=True, eps=1e-3)
    assert not np.array_equal(np.asarray(mean), [1.0, 2.0])  # it has learnt
    y.backward()
    expected = ((data - [1.0, 2.0]) / np.sqrt(np.array([4.0, 9.0]) + 1e-3)).sum(axis=0)
    np.testing.assert_allclose(gamma.grad.numpy(), expected)


def test_training_in_place_goes_on_while_the_old_loss_is_alive():
    w, x, losses = leaf([1.0, -2.0]), np.array([0.5, 2.0]), []
    expected = w.numpy()
    for _ in range(5):
        loss = tl.sum(w * w * (x * x))
        losses.append(loss)
        w.grad = None
        loss.backward()
        w.value -= 0.1 * w.grad.value
        expected -= 0.1 * 2 * expected * x * x
        np.testing.assert_allclose(w.numpy(), expected)
    w.grad = None
    losses[0].backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * np.array([1.0, -2.0]) * x * x)


def test_an_optimizer_may_keep_the_arrays_and_change_them_in_place():
    flat = np.array([1.0, 2.0, 3.0])
    ws = [leaf([0.0]), leaf([0.0, 0.0])]
    ws[0].value, ws[1].value = flat[:1], flat[1:]
    tl.sum(ws[1] * ws[1]).backward()
    flat -= 1
    assert [w.numpy().tolist() for w in ws] == [[0], [1, 2]]


def test_where_nothing_is_recorded_nothing_is_copied():
    a, x = np.ones(10_000), leaf(np.ones(10_000))
    with no_grad():
        assert np.shares_memory(tl.reshape(a, (100, 100)).value, a)
    assert np.shares_memory(tl.reshape(a, (100, 100)).value, a)
    y = x * x
    assert y.node.a is x.array


@given(data=st.data())
def test_whatever_is_changed_between_forward_and_backward_the_gradient_is_that_of_the_forward_pass(data):
    numbers = st.lists(st.floats(-2, 2), min_size=2, max_size=2)
    kinds = data.draw(st.lists(st.sampled_from(["leaf", "plain", "array", "open"]), min_size=2, max_size=4))
    values = [np.array(data.draw(numbers)) for _ in kinds]
    made = {"leaf": leaf, "plain": Tensor, "array": np.array, "open": leaf}
    operands = [made[kind](value) for kind, value in zip(kinds, values, strict=True)]
    handles = [x.value if kind == "open" else None for x, kind in zip(operands, kinds, strict=True)]
    x = leaf([1.5, -0.5])
    y, slope = x, np.ones(2)
    for operand, value in zip(operands, values, strict=True):
        y, slope = y * operand, slope * value
    for operand, handle in zip(operands, handles, strict=True):
        if handle is not None:
            handle += 1
        elif isinstance(operand, Tensor):
            operand.value *= 3
        else:
            operand += 1
    tl.sum(y).backward()
    np.testing.assert_allclose(x.grad.numpy(), slope)


# Element types.


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("other", [np.float64, np.float32, np.int64, np.uint8, bool, complex])
def test_a_gradient_has_the_type_of_its_leaf_whatever_it_meets(kind, other):
    x, a = np.array([1, 2], kind), np.array([3, 1], other)
    f = lambda t: tl.sum(tl.abs(t * t * a))  # noqa: E731
    w = leaf(x, kind)
    f(w).backward()
    v = leaf(x, kind)
    tl.sum((v * kind(2)) * a).backward()  # a result in between
    found = {
        "backward": w.grad, "between": v.grad, "grad": tl.grad(f)(x), "vjp": tl.vjp(f, x)[1](1.0)[0],
        "create_graph": tl.grad(f(w), [w], create_graph=True)[0], "jacobian": tl.jacobian(f, x),
        "hessian": tl.hessian(f, x),
    }  # fmt: skip
    direct = lambda t: tl.sum(t * a)  # noqa: E731
    u = leaf(x, kind)
    direct(u).backward()
    found |= {
        "direct": u.grad, "direct grad": tl.grad(direct)(x), "direct vjp": tl.vjp(direct, x)[1](1.0)[0],
        "direct create_graph": tl.grad(direct(u), [u], create_graph=True)[0],
    }  # fmt: skip
    if other is not complex:
        w.grad = None
        tl.jit(f)(w).backward()
        found |= {"jit": tl.jit(tl.grad(f))(x), "pullback": w.grad}
    assert {name: g.dtype for name, g in found.items()} == dict.fromkeys(found, np.dtype(kind))
    size = np.abs(a.astype(complex))
    for name, g in found.items():
        expected = {"hessian": np.diag(2 * size), "between": 2 * a.real}.get(name, 2 * x * size)
        expected = a.real if name.startswith("direct") else expected
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-2 if kind == np.float16 else 1e-6)


C, D = np.array([1 + 2j, 3 - 1j]), np.array([[1j, 2.0], [3.0, 4 - 1j]])


@pytest.mark.parametrize(
    ("f", "same"),
    [
        (lambda x: tl.sum(x * C), lambda x: np.sum(x * C).real),
        (lambda x: tl.sum(tl.abs(x * C)), lambda x: np.sum(np.abs(x * C))),
        (lambda x: tl.sum(tl.abs(tl.abs(x * C) * C[::-1] + x)), lambda x: np.sum(np.abs(np.abs(x * C) * C[::-1] + x))),
        (lambda x: tl.sum(tl.abs(tl.exp(x * 1j) + x)), lambda x: np.sum(np.abs(np.exp(x * 1j) + x))),
        (lambda x: tl.sum(tl.abs(tl.tanh(x * C * 0.3) / (x + 1j))), lambda x: np.sum(np.abs(np.tanh(x * C * 0.3) / (x + 1j)))),
        (lambda x: tl.sum(tl.abs((x * C) @ D)), lambda x: np.sum(np.abs((x * C) @ D))),
        (lambda x: tl.sum(tl.abs(tl.sqrt(x * C) - tl.mean(x * C))), lambda x: np.sum(np.abs(np.sqrt(x * C) - np.mean(x * C)))),
    ],
)  # fmt: skip
def test_a_real_leaf_on_a_complex_way_has_a_real_gradient_of_every_order(f, same):
    x, h = np.array([1.2, 2.0]), 1e-5
    units = h * np.eye(2)
    g = tl.grad(f)(x)
    assert g.dtype == np.float64
    np.testing.assert_allclose(g.numpy(), [(same(x + u) - same(x - u)) / (2 * h) for u in units], rtol=1e-6)
    second = tl.hessian(f, x)
    slopes = [(tl.grad(f)(x + u).numpy() - tl.grad(f)(x - u).numpy()) / (2 * h) for u in units]
    assert second.dtype == np.float64
    np.testing.assert_allclose(second.numpy(), slopes, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: leaf(C, complex), "a tensor of complex128 cannot require a gradient: only real tensors do"),
        (lambda: tl.grad(lambda z: tl.sum(tl.abs(z)))(C), "a tensor of complex128 cannot require a gradient"),
        (lambda: tl.max(leaf([1.0, 2.0]) * C), r"Max\(\) has no gradient for complex numbers"),
        (lambda: Tensor.F.var(leaf([1.0, 2.0]) * C), r"Var\(\) has no gradient for complex numbers"),
        (lambda: tl.softmax(leaf([1.0, 2.0]) * C), r"Softmax\(\) has no gradient for complex numbers"),
        (lambda: tl.relu(leaf([1.0, 2.0]) * 1j), r"Relu\(\) has no gradient for complex numbers"),
        (lambda: tl.jacobian(lambda x: x * C, V), "jacobian: the function gives complex numbers"),
    ],
)
def test_what_has_no_right_gradient_for_complex_numbers_is_refused(make, message):
    with pytest.raises(DTypeError, match=message):
        make()


# NumPy's functions.

V = np.array([1.0, 2.0])


def away(name):
    """Functions that would take a value out of the graph."""
    return pytest.mark.parametrize(("f", "named"), name)


CUT_EVERYWHERE = [
    (lambda x: np.roots(x), "np.roots: "), (lambda x: np.linalg.eig(x * np.eye(2))[0], "np.linalg.eig: "),
    (lambda x: np.histogram(x)[1][:2], "np.histogram: "), (lambda x: np.sort_complex(x), "np.sort_complex: "),
    (lambda x: np.copyto(np.zeros(2), x) or 1.0, "np.copyto"),
    (lambda x: np.spacing(x), "np.spacing: a Tensor does not support this ufunc of NumPy"),
    (lambda x: np.hypot.reduce(x), r"np.hypot.reduce: a Tensor does not support this ufunc of NumPy; use a loop"),
    (lambda x: np.add.reduceat(x, [0, 1]), r"np.add.reduceat: .*this ufunc.* use sums of parts, x\[i:j\].sum\(\)"),
    (lambda x: np.add.at(x, [0], 1.0), r"np.add.at: .*this ufunc.* use x.at\[i\].add\(value\)"),
    (lambda x: tl.Tensor([[x[0], x[1]]]), "a list of recorded tensors is no array"),
    (lambda x: [[x[0], x[1]]] * x, "a list of recorded tensors is no array"),
]  # fmt: skip
CUT_IN_A_DERIVATIVE = [
    (lambda x: np.array([x[0], x[1]]), r"np.asarray\(x\), which np.array.*tl.stack"),
    (lambda x: np.asarray(x), "np.asarray"),
    (lambda x: float(x[0]), r"float\(x\)"), (lambda x: int(x[0]), r"int\(x\)"),
    (lambda x: math.sin(x[0]), r"math.sin"), (lambda x: math.hypot(*x), "math.sin"),
    (lambda x: x[0].item(), r"x.item\(\)"), (lambda x: x.numpy(), r"x.numpy\(\)"), (lambda x: tl.Tensor(x), r"Tensor\(x\)"),
    (lambda x: np.full(2, x[0]), "np.asarray"), (lambda x: np.float64(x[0]), "np.asarray"),
    (lambda x: complex(x[0]).real, r"float\(x\)"),
]  # fmt: skip
DERIVATIVES = {
    "grad": lambda f: tl.grad(f)(V), "vjp": lambda f: tl.vjp(f, V), "jvp": lambda f: tl.jvp(f, [V], [V]),
    "jacobian": lambda f: tl.jacobian(f, V), "hessian": lambda f: tl.hessian(f, V),
    "value_and_grad": lambda f: tl.value_and_grad(f)(V),
    "grad of grad": lambda f: tl.grad(lambda x: tl.sum(tl.grad(f)(x)))(V),
}  # fmt: skip


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize(("f", "named"), [*CUT_EVERYWHERE, *CUT_IN_A_DERIVATIVE])
def test_what_would_drop_a_part_of_a_derivative_is_refused_by_name(derivative, f, named):
    with pytest.raises(LessonError, match=named):
        DERIVATIVES[derivative](lambda x: tl.sum(x * f(x)))


@pytest.mark.parametrize(("f", "named"), CUT_EVERYWHERE)
def test_functions_of_numpy_do_not_cut_a_recorded_graph_in_silence(f, named):
    with pytest.raises(LessonError, match=named):
        f(leaf(V))
    if "list" not in named and "ufunc" not in named and "reduce" not in named:
        f(Tensor(V))  # there is no graph to be cut
        f(leaf(V).detach())
        with no_grad():
            f(leaf(V))


@pytest.mark.parametrize(("f", "named"), CUT_IN_A_DERIVATIVE)
def test_a_value_may_be_let_out_where_no_derivative_is_taken(f, named):
    f(leaf(V) * 1)
    tl.grad(lambda x: tl.sum(x) * np.sum(np.asarray(f(x.detach()))))(V)  # meant as a constant


@pytest.mark.parametrize("f", [
    lambda x: np.where(x > 1.5, x, 3 * x), lambda x: np.stack([x, x * x]), lambda x: np.sum(x) * x, lambda x: np.mean(x) * x,
    lambda x: np.max(x) * x, lambda x: np.reshape(x, (2, 1)) * x, lambda x: np.add(x, x) * x, lambda x: np.multiply(V, x) * x,
    lambda x: np.power(x, 3), lambda x: np.matmul(x, x), lambda x: np.clip(x, 0.5, 1.5), lambda x: V * x, lambda x: V @ x * x,
])  # fmt: skip
def test_functions_of_numpy_that_take_what_ours_take_are_differentiated(f):
    g, h = tl.grad(lambda x: tl.sum(f(x)))(V).numpy(), 1e-6
    expected = [
        (np.sum(np.asarray(f(V + u))) - np.sum(np.asarray(f(V - u)))) / (2 * h) for u in h * np.eye(2)
    ]
    np.testing.assert_allclose(g, expected, rtol=1e-6)


def looks(x):
    """Everything that only looks at a tensor."""
    assert f"{x}" == str(x) == repr(x)
    assert (f"{x[0]:.3f}", f"{x[1]:5.1e}") == ("1.000", "2.0e+00")
    assert np.array_equal(x, V)
    assert np.allclose(x, V)
    assert np.isclose(x, V).all()
    assert np.isfinite(x).all()
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2,), 1, 2)
    assert np.array2string(x) == "[1. 2.]"
    assert x[0]
    assert np.zeros_like(x).tolist() == [0, 0]
    if x[0] > 0 and x.sum() > 2 and x[0] != x[1]:
        return tl.sum(x * x) + max(x[0], x[1])
    raise AssertionError


def test_printing_formatting_and_comparing_stay_allowed_while_a_derivative_is_taken():
    assert tl.grad(looks)(V).numpy().tolist() == [2, 5]
    assert tl.hessian(looks, V).numpy().tolist() == [[2, 0], [0, 2]]
    x = leaf(V)
    looks(x).backward()
    assert x.grad.numpy().tolist() == [2, 5]


def test_a_recorded_tensor_can_be_plotted_and_compared_by_numpy():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    x = leaf(V)
    np.testing.assert_allclose(x, V)
    np.testing.assert_array_equal(x * 1, V)
    assert np.mean([x[0], x[1]]) == 1.5
    figure, axes = pyplot.subplots()
    for draw in (axes.scatter, axes.bar, axes.fill_between):
        draw(x, x)
    axes.hist(x)
    axes.imshow(x.reshape(1, 2))
    pyplot.close(figure)


def test_numbers_are_arrays_without_axes_where_an_op_needs_axes():
    for f, same in ((tl.sum, np.sum), (tl.mean, np.mean), (tl.max, np.max), (tl.transpose, np.transpose)):
        assert f(2.5).item() == same(2.5)
        assert f(2.5).shape == ()
    assert tl.grad(tl.sum)(2.0).item() == 1


@pytest.mark.parametrize(
    "use", [Tensor, tl.tanh, tl.sum, lambda x: leaf(1.0) * x, lambda x: tl.grad(tl.sum)(x)]
)
@pytest.mark.parametrize("rows", [[[1.0], [1.0, 2.0]], [[1], 2], [[[1.0]] * 500, [2.0]]])
def test_rows_that_differ_in_length_are_refused_in_one_line(use, rows):
    with pytest.raises(ShapeError, match="is no array of numbers: .*inhomogeneous") as caught:
        use(rows)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("f", [
    np.mean, np.sum, np.max, np.min, np.prod, np.var, np.std, lambda x: np.clip(x, 0, 1), lambda x: np.max(x, axis=0),
    lambda x: np.mean(x, dtype=np.float32),
])  # fmt: skip
def test_functions_of_numpy_give_for_a_plain_tensor_what_they_give_for_its_array(f):
    result = f(Tensor(V))
    np.testing.assert_array_equal(np.asarray(result), f(V))
    assert np.asarray(result).dtype == f(V).dtype


@pytest.mark.parametrize(("f", "named"), [
    (lambda x: x.value, "x.value: the gradient would end here"),
    (lambda x: write_into(np.zeros(3), x[0]), "float.x., which"),
])  # fmt: skip
def test_other_ways_to_cut_a_graph_while_a_derivative_is_taken_are_refused_by_name(f, named):
    with pytest.raises(LessonError, match=named):
        tl.grad(lambda x: tl.sum(x * f(x)))(V)


def write_into(array, number):
    """`array` with a number at its first place."""
    array[0] = number
    return array[0]


def test_a_filled_array_is_a_constant_where_what_fills_it_is_one():
    assert tl.grad(lambda x: tl.sum(x * np.full_like(x, 3.0)))(V).numpy().tolist() == [3, 3]
    w = leaf(V)
    w.value -= 1  # as an optimizer does, where no derivative is being taken
    assert w.value.tolist() == [0, 1]


def test_a_complex_cotangent_of_a_real_result_is_refused():
    with pytest.raises(DTypeError, match="backward: the gradient is complex128, expected real numbers"):
        (leaf(V) * 2).backward(V * 1j)
    with pytest.raises(DTypeError, match="backward: the gradient is complex128, expected real numbers"):
        tl.vjp(lambda x: x * 2, V)[1](V * 1j)


def test_a_masked_array_deep_in_lists_is_refused():
    with pytest.raises(DTypeError, match="masked array, whose mask would be lost"):
        Tensor([[[np.ma.array([1.0, 2.0], mask=[True, False])]]])


def test_an_op_of_the_user_may_be_called_what_other_libraries_call_theirs():
    class Clamp(Elementwise):
        """Twice `x`."""

        def forward(self, xp, x):
            return 2 * x

        def vjp(self, F, g, y, x):
            return (2 * g,)

    before = dict(OPS), dict(FUNCTIONS)
    try:
        tl.op(Clamp)
        assert Tensor(V).clamp().numpy().tolist() == [2, 4]
    finally:
        del Methods.clamp
        for table, kept in zip((OPS, FUNCTIONS), before, strict=True):
            table.clear()
            table.update(kept)
