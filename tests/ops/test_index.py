"""Corners of indexing, concatenation and splitting."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad
from tinygrad_lesson.errors import DTypeError, ShapeError
from tinygrad_lesson.graph import Label, Node, toposort
from tinygrad_lesson.ops.index import Concat, Put, Slice, Split, Stack, freeze, thaw
from tinygrad_lesson.plan import Builder, Passes
from tinygrad_lesson.run import RUNNERS

X = np.arange(24.0).reshape(2, 3, 4)
KEYS = [
    0, -1, np.int64(1), slice(None), slice(1, None), slice(None, None, -1), slice(0, 10, 2), slice(-2, None), slice(5, 2),
    None, ..., (), (0, 1), (..., 0), (0, ..., None), (None, 1, slice(None), None), (slice(None), slice(2, 0, -1), -1),
    (1, 2, 3), (slice(None), None, 0), (slice(1), slice(1), slice(1, 3)),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_parts_are_those_of_numpy_and_gradients_go_back_into_their_places(key):
    x = Tensor(X, requires_grad=True)
    y = x[key]
    np.testing.assert_array_equal(y.numpy(), X[key])
    assert y.shape == Slice(key=freeze(key)).shape(X.shape) == X[key].shape
    weight = np.random.default_rng(0).normal(size=y.shape)
    (y * weight).sum().backward()
    expected = np.zeros_like(X)
    expected[key] = weight
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_a_key_is_found_again_after_freezing():
    key = (slice(1, None, 2), None, ..., -1)
    assert thaw(freeze(key)) == key
    assert hash(freeze(key)) == hash(freeze(key))


def test_the_shape_of_a_part_is_known_as_far_as_sizes_are():
    key = freeze((slice(0, 2), None, ..., -1))
    assert Slice(key=key).shape((None, 3, None)) == (None, 1, 3)
    assert Slice(key=freeze(5)).shape((None, 3)) == (3,)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (2, r"\(2, 3, 4\) has no part \(2,\): axis of size 2 has no 2"),
        ((0, -4), r"\(2, 3, 4\) has no part \(0, -4\): axis of size 3 has no -4"),
        ((0, 0, 0, 0), r"\(2, 3, 4\) has no part \(0, 0, 0, 0\): it has 3 axes"),
        ((..., ...), r"\(2, 3, 4\) has no part \(Ellipsis, Ellipsis\)"),
    ],
)
def test_a_part_that_is_not_there_is_named(key, message):
    with pytest.raises(ShapeError, match=message):
        Tensor(X)[key]


@pytest.mark.parametrize("key", [1.0, np.array([0.5]), [0.0]], ids=str)
def test_an_index_that_is_none_is_refused(key):
    with pytest.raises(DTypeError, match="is no integer, slice, None, Ellipsis, array of integers or mask"):
        Tensor(X)[key]


def test_concat_takes_a_list_or_several_arrays_and_any_axis():
    a, b = Tensor(np.ones((2, 1)), requires_grad=True), Tensor(np.full((2, 3), 2.0), requires_grad=True)
    for y in (tl.concat([a, b], axis=1), tl.concat(a, b, dim=-1), tl.concat((a, b))):
        assert y.numpy().tolist() == [[1, 2, 2, 2]] * 2
    (tl.concat([a, b], axis=1) * np.arange(8.0).reshape(2, 4)).sum().backward()
    assert a.grad.numpy().tolist() == [[0], [4]]
    assert b.grad.numpy().tolist() == [[1, 2, 3], [5, 6, 7]]
    assert tl.concat([a]).shape == (2, 1)


def test_concat_and_stack_say_which_input_does_not_fit():
    with pytest.raises(ShapeError, match=r"Concat\(\): input 1 is \(3, 1\), expected \(2, \?\) as input 0"):
        tl.concat([np.ones((2, 1)), np.ones((3, 1))], axis=1)
    with pytest.raises(ShapeError, match=r"Stack\(\): input 1 is \(3,\), expected \(2,\) as input 0"):
        tl.stack([np.ones(2), np.ones(3)])
    with pytest.raises(ShapeError, match="at least one array"):
        tl.concat([])


def test_shapes_of_joined_arrays_are_known_as_far_as_sizes_are():
    assert Concat(dim=0).shape((2, None), (None, 3)) == (None, 3)
    assert Concat(dim=0).shape((2, None), (1, 3)) == (3, 3)
    assert Stack(axis=-1).shape((2, None), (None, 3)) == (2, 3, 2)


def test_gradient_of_a_split_counts_the_part_that_was_used():
    x = Tensor(X, requires_grad=True)
    first, _, third = tl.split(x, 3, axis=1)
    np.testing.assert_array_equal(third.numpy(), X[:, 2:3])
    (first * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.broadcast_to([[2.0], [0.0], [0.0]], (2, 3, 4)))
    again = grad(lambda x: (tl.split(x, 3, axis=1)[0] ** 3).sum())
    second = grad(lambda x: again(x).sum())(X).numpy()
    np.testing.assert_array_equal(second[:, 0], 6 * X[:, 0])
    assert not second[:, 1:].any()


def test_uneven_splits_are_refused():
    with pytest.raises(ShapeError, match=r"axis 1 of \(2, 3, 4\) cannot be cut into 2 equal parts"):
        Split(num_outputs=2, axis=1).shape((2, 3, 4))
    with pytest.raises(ShapeError, match="axis 2 of .* has parts of 2, which cannot be dropped"):
        Split(num_outputs=2, axis=2, squeeze_axis=True).shape((2, 3, 4))
    with pytest.raises(ShapeError, match=r"Split\(num_outputs=2, axis=1\): axis 1 of"):
        tl.split(X, 2, axis=1)
    assert Split(num_outputs=2, axis=1).shape((2, None)) == ((2, None), (2, None))


def test_stacked_arrays_get_their_own_gradients():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    y = tl.stack([a, b, a], axis=1)
    assert y.numpy().tolist() == [[1, 3, 1], [2, 4, 2]]
    (y * np.arange(6.0).reshape(2, 3)).sum().backward()
    assert a.grad.numpy().tolist() == [2, 8]
    assert b.grad.numpy().tolist() == [1, 4]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_the_label_of_a_part_is_the_index_as_it_is_typed(key):
    for op in (Slice(key=freeze(key)), Put(to=X.shape, key=freeze(key))):
        typed = op.label().removeprefix(f"{op.name}(").removesuffix(")")
        np.testing.assert_array_equal(eval(f"X{typed}", {"X": X}) if typed != "[]" else X[()], X[key])


@pytest.mark.parametrize("join", [Concat(dim=0), Stack(axis=0)], ids=str)
def test_the_gradient_graph_of_joined_arrays_grows_with_their_number_alone(join):
    def edges(count):
        F = Builder(Passes())
        leaves = [F.variable(Node(None, label=Label(f"x{i}")), (2,), float) for i in range(count)]
        y = F.apply(join, leaves)
        found = F.gradients([(y, F.variable(Node(None, label=Label("g")), F.shape(y), float))], leaves)
        return sum(len(node.inputs) for node in toposort(edge.node for edge in found))

    assert edges(400) < 2.5 * edges(200)


@pytest.mark.parametrize("runner", ["eager", *RUNNERS])
def test_each_of_thousands_of_joined_arrays_gets_its_own_gradient(runner):
    count = 1000 if runner == "eager" else 300  # whose plan takes a while

    def f(whole):
        parts = tl.split(whole, count, axis=0)
        y = tl.concat([part * i for i, part in enumerate(parts)], dim=0)
        return tl.sum(y * y)

    pulled = grad(f) if runner == "eager" else tl.jit(grad(f), runner=runner)
    numbers = np.arange(float(count))[:, None] * np.ones(2)
    np.testing.assert_allclose(pulled(numbers).numpy(), 2 * numbers**3)


def test_second_derivatives_pass_through_joined_arrays():
    x = np.array([1.0, 2.0, 3.0])
    found = tl.hessian(lambda t: tl.sum(tl.concat([t * t, t], dim=0) ** 2), x).numpy()
    np.testing.assert_allclose(found, np.diag(12 * x**2 + 2))
