"""PyTorch's methods and words, and elements that change: the numbers are NumPy's, gradients those of differences."""

import numpy as np
import pytest
from scipy import special

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.errors import AttributeValueError, GraphError, LessonError, ShapeError

A = np.array([[0.5, -1.2, 2.0, 0.1], [1.5, 0.3, -0.7, 2.2], [-2.0, 1.1, 0.9, -0.4]])
AT = np.array([[0, 1], [1, 3], [2, 2]])
ORDER = np.argsort(A, 1)


def set_along(value):
    y = A.copy()
    np.put_along_axis(y, AT, value, 1)
    return y


def added(places, value):
    y = A.copy()
    np.add.at(y, places, value)
    return y


ADDED_ALONG = added((np.arange(3)[:, None], AT), A[:, :2])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x.max(dim=1)[0], A.max(1)),
        (lambda x: x.min(dim=0, keepdim=True).values, A.min(0, keepdims=True)),
        (lambda x: tl.max(x, dim=0).values, A.max(0)),
        (lambda x: x.sort(dim=1).values, np.sort(A, 1)),
        (lambda x: x.sort(dim=0, descending=True).values, -np.sort(-A, 0)),
        (lambda x: x.std(dim=0), A.std(0, ddof=1)),
        (lambda x: x.std(dim=0, unbiased=False), A.std(0)),
        (lambda x: x.var(1, unbiased=True), A.var(1, ddof=1)),
        (lambda x: x.var(dim=1, correction=0, keepdim=True), A.var(1, keepdims=True)),
        (lambda x: tl.cat(x.split(3, dim=1), dim=1) * x, A * A),
        (lambda x: x.split(3, dim=1)[1], A[:, 3:]),
        (lambda x: x.split([1, 3], dim=1)[1], A[:, 1:]),
        (lambda x: x.norm(1), np.abs(A).sum()),
        (lambda x: x.norm(p=3, dim=1, keepdim=True), np.linalg.norm(A, 3, 1, keepdims=True)),
        (lambda x: x.norm(p="fro"), np.linalg.norm(A)),
        (lambda x: x.norm(1, keepdim=True), np.abs(A).sum().reshape(1, 1)),
        (lambda x: x.div(0.32, rounding_mode="floor") * x, A // 0.32 * A),
        (lambda x: x.div(0.32, rounding_mode="trunc") * x, np.trunc(A / 0.32) * A),
        (lambda x: x.add(x, alpha=2).sub(x, alpha=0.5), 2.5 * A),
        (lambda x: x.scatter(1, AT, 7.0), set_along(7.0)),
        (lambda x: x.scatter(1, AT, 2 * x), set_along(2 * A[:, :2])),
        (lambda x: x.scatter_add(1, AT, x), ADDED_ALONG),
        (lambda x: x.index_add(0, [0, 0], x[:2], alpha=2), added(([0, 0],), 2 * A[:2])),
        (lambda x: x.index_fill(1, [0, 2], 5.0), np.where(np.arange(4) % 2 == 0, 5.0, A)),
        (lambda x: x.index_put(([0, 1], [1, 2]), x[0, :2]), np.where(np.eye(3, 4, 1) * [[1], [1], [0]] > 0, [[0, 0.5, 0, 0], [0, 0, -1.2, 0], [0] * 4], A)),
        (lambda x: x.index_put(([0, 0], [1, 1]), x[0, :2], accumulate=True), added(([0, 0], [1, 1]), A[0, :2])),
        (lambda x: x.masked_scatter(A > 0, 2 * x), np.where(A > 0, np.pad(2 * A[A != 99][: (A > 0).sum()], (0, 0))[np.cumsum(A > 0).reshape(3, 4) - 1], A)),
        (lambda x: (x @ x.T).addmm(x, x.T, beta=2, alpha=3), 5 * A @ A.T),
        (lambda x: x[:, 0].addmv(x, x[0]), A[:, 0] + A @ A[0]),
        (lambda x: x.addr(x[:, 0], x[0], alpha=2), A + 2 * np.outer(A[:, 0], A[0])),
        (lambda x: x.addcmul(x, x, value=0.5), A + 0.5 * A * A),
        (lambda x: x.addcdiv(x, x + 10, value=2), A + 2 * A / (A + 10)),
        (lambda x: x.cdist(2 * x + 1), np.linalg.norm(A[:, None] - (2 * A + 1)[None], axis=-1)),
        (lambda x: x.aminmax().max - x.aminmax().min, np.ptp(A)),
        (lambda x: x.unfold(1, 2, 2), A.reshape(3, 2, 2)),
        (lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1), np.lib.stride_tricks.sliding_window_view(A, 3, 1)),
        (lambda x: np.maximum.accumulate(x, axis=1), np.maximum.accumulate(A, axis=1)),
        (lambda x: np.minimum.accumulate(x), np.minimum.accumulate(A)),
        (lambda x: np.logaddexp.reduce(x, axis=1), np.logaddexp.reduce(A, axis=1)),
        (lambda x: np.unique(np.concatenate([x[0], x[0]])), np.sort(A[0])),
        (lambda x: np.unique(x, axis=0), np.unique(A, axis=0)),
        (lambda x: np.union1d(x[0], x[1]), np.union1d(A[0], A[1])),
        (lambda x: np.intersect1d(x, x[0]), np.sort(A[0])),
        (lambda x: np.setdiff1d(x, x[0]), np.sort(A[1:].ravel())),
        (lambda x: np.multiply(x, 2.0, where=True), 2 * A),
    ],
)  # fmt: skip
def test_a_method_of_pytorch_gives_its_numbers_and_gradients(function, expected):
    found = function(tl.tensor(A, requires_grad=True))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-12)
    weights = np.random.default_rng(0).normal(size=found.shape)
    assert check.gradients(lambda x: tl.sum(function(x) * weights), A).ok


def test_places_come_with_values():
    x = tl.tensor(A)
    assert x.max(dim=1).indices.tolist() == A.argmax(1).tolist()
    assert x.sort(dim=1)[1].tolist() == ORDER.tolist()
    assert [y.tolist() for y in np.unique(tl.tensor([3.0, 1.0, 1.0]), return_index=True, return_counts=True)] == [
        [1, 3], [1, 0], [2, 1],
    ]  # fmt: skip


def test_functions_of_sets_take_what_numpys_take():
    a, b = [3.0, 1.0, np.nan, 1.0, np.nan], [1.0, 7.0, 3.0]
    for function, inputs, named in (
        (np.unique, [a], {"equal_nan": False, "return_inverse": True}),
        (np.unique, [A > 0], {"axis": 1, "return_counts": True}),
        (np.intersect1d, [a, b], {"return_indices": True}),
        (np.intersect1d, [b[:2], b], {"assume_unique": True}),
        (np.setdiff1d, [a, b[:1]], {}),
        (np.setdiff1d, [b, a[:1]], {"assume_unique": True}),
    ):
        found, expected = function(tl.tensor(inputs[0]), *inputs[1:], **named), function(*inputs, **named)
        pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
        for y, z in pairs:
            np.testing.assert_array_equal(y.numpy(), z)


def test_size_is_a_number_and_a_method():
    x = tl.tensor(A)
    assert (x.size, x.size * 2, x.size(), x.size(0), x.size(-1), x.size(dim=1)) == (12, 24, (3, 4), 3, 4, 4)
    assert x.stride() == (4, 1)
    assert x.T.stride(0) == 1
    assert (x.type(), x.type(tl.float32).dtype) == ("float64", np.float32)


def test_a_result_tells_what_made_it():
    x = tl.tensor(A, requires_grad=True)
    assert x.grad_fn is None
    assert (x * 2).grad_fn == (x * 3).grad_fn is not None


def test_what_does_not_fit_says_so():
    x = tl.tensor(A)
    with pytest.raises(ShapeError, match="scatter: index has 1 axes, expected 2"):
        x.scatter(0, [1], 2.0)
    with pytest.raises(AttributeValueError, match="rounding_mode is 'up', expected 'floor' or 'trunc'"):
        x.div(2, rounding_mode="up")


# Elements that change.


@pytest.mark.parametrize(
    "change",
    [
        "x[0] = 1.0", "x[0, 1] += 5", "x[:, :2] = 3", "x[x > 0] = 0", "x[[0, 2]] = x[1]", "x[0] = [1, x[0, 2], 3, 4]", "x[...] = 2",
        "x[1:, None] = np.ones((2, 1, 4))", "x[tensor([0, 1]), 2] -= 1", "x[0], x[1] = x[1] * 1, x[0] * 1", "x.fill(3.0)",
    ],
)  # fmt: skip
def test_elements_change_as_numpys(change):
    ours, theirs = tl.tensor(A), A.copy()
    exec(change, {"x": ours, "np": np, "tensor": tl.tensor})
    exec(change, {"x": theirs, "np": np, "tensor": np.array})
    assert ours.tolist() == theirs.tolist()


def test_a_leaf_changes_in_no_grad_and_stays_one():
    p = tl.tensor([1.0, 2.0], requires_grad=True)
    before = (p * p).sum()
    with tl.no_grad():
        p[0] = 7.0
        p[1] -= p[0]
    before.backward()
    assert p.tolist() == [7, -5]
    assert p.grad.tolist() == [2, 4]  # of what it was
    assert p.requires_grad


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.__setitem__(0, 1.0),
        lambda p: (p * 2).__setitem__(0, 1.0),
        lambda p: tl.zeros(2).__setitem__(0, p[0]),
        lambda p: tl.grad(lambda x: tl.zeros(2).__setitem__(0, x[0]))(p),
        lambda p: tl.vmap(lambda x: x.__setitem__(0, 1.0))(tl.ones((2, 3))),
        lambda p: tl.jit(lambda x: x.__setitem__(0, 1.0))(p),
    ],
)
def test_what_is_recorded_does_not_change(change):
    with pytest.raises(GraphError, match=r"x\[i\] = y: what is recorded does not change; write `x = x.at"):
        change(tl.tensor([1.0, 2.0], requires_grad=True))


def test_a_part_of_another_tensor_does_not_change_alone():
    x = tl.tensor(A)
    for change in (
        lambda: x[0].__setitem__(1, 5.0),
        lambda: x.T.__setitem__(0, 5.0),
        lambda: np.fill_diagonal(x, 0),
    ):
        with pytest.raises(GraphError, match=r"a part of another tensor.*x.clone\(\)"):
            change()
    row = x[0].clone()
    row[1] = 5.0
    assert (row[1], x[0, 1]) == (5, -1.2)


def test_a_graph_keeps_what_a_part_of_a_constant_was():
    x, w = tl.tensor(A), tl.tensor(np.ones_like(A), requires_grad=True)
    before, y = x[0], (w * x).sum()
    after = x[0]
    for row in (before, after):
        row.value[1] = 100.0
        row += 1
    y.backward()
    assert w.grad.tolist() == A.tolist()
    assert x.tolist() == A.tolist()


def test_data_is_what_a_leaf_holds():
    p = tl.tensor([1.0, 2.0], requires_grad=True)
    loss = (p * p).sum()
    loss.backward()
    p.data -= 0.5 * p.grad
    assert p.tolist() == [0, 0]
    p.data[0] = 5.0
    p.data.add_(tl.ones(2), alpha=2)
    assert p.tolist() == [7, 2]
    p.data.copy_(tl.ones(2))
    other = tl.tensor([3.0, 4.0])
    p.data = other
    p.data[0] = 8.0
    assert (p.tolist(), other.tolist()) == ([8, 4], [3, 4])
    p.grad.data.zero_()
    loss.backward()
    assert p.grad.tolist() == [2, 4]  # of the first ones
    assert p.requires_grad
    with pytest.raises(GraphError, match="the value of a result does not change"):
        loss.data = 1.0
    with pytest.raises(GraphError, match="the gradient would end here"):
        tl.grad(lambda x: (x.data * x).sum())(A)


def test_random_numbers_fill_a_tensor():
    tl.manual_seed(0)
    x = tl.zeros(10_000)
    assert abs(float(x.normal_(3.0, 2.0).mean()) - 3) < 0.1
    assert abs(float(x.std()) - 2) < 0.1
    assert 0.49 < float(x.uniform_(0, 1).mean()) < 0.51
    assert 0.23 < float(x.bernoulli_(0.25).mean()) < 0.27
    assert 0.23 < float((x * 0 + 0.25).bernoulli().mean()) < 0.27
    assert 0.48 < float(x.exponential_(2.0).mean()) < 0.52


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.zero_(), r"x.zero_\(...\): .* or `x = x.at\[...\].set\(y\)`"),
        (lambda x: np.put(x, 0, 1.0), r"np.put: the gradient would end here; use x = x.at\[i\].set\(y\)"),
        (lambda x: np.copyto(np.zeros((3, 4)), x), r"np.copyto: .*; use x = x.at"),
        (lambda x: np.histogram(x), "np.histogram: the gradient would end here; use functions and operators"),
        (
            lambda x: np.add(x, 1, out=np.zeros((3, 4))),
            r"np.add into an array: .*; use y = f\(x\), a new tensor",
        ),
    ],
)
def test_what_would_lose_a_gradient_says_what_to_write(change, told):
    with pytest.raises(LessonError, match=told):
        change(tl.tensor(A, requires_grad=True))


def test_a_function_of_numbers_that_is_not_here_takes_what_has_no_graph():
    x = tl.tensor(A)
    np.testing.assert_array_equal(np.spacing(x), np.spacing(A))
    np.testing.assert_array_equal(np.gcd(tl.tensor([4, 6]), 2), [2, 2])
    np.testing.assert_array_equal(special.expit(x), special.expit(A))
    np.testing.assert_array_equal(tl.numpy.maximum.reduce(x, axis=1).numpy(), A.max(1))
    np.testing.assert_array_equal(tl.numpy.add.outer(x[0], x[1]).numpy(), np.add.outer(A[0], A[1]))
    np.testing.assert_array_equal(tl.numpy.maximum.accumulate(A), np.maximum.accumulate(A))


def test_bytes_and_factors_of_a_wide_matrix():
    x = tl.tensor(A)
    assert bytes(x[0]) == A[0].tobytes()
    q, r = x.qr()
    np.testing.assert_allclose((q @ r).numpy(), A)
