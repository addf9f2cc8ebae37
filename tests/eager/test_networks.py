"""Functions of networks against their formulas in NumPy, and first and second gradients against differences."""

import numpy as np
import pytest
from scipy import special

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.errors import AttributeValueError, ShapeError

RNG = np.random.default_rng(3)
X = RNG.uniform(0.1, 0.9, (4, 3)) * np.where(RNG.uniform(size=(4, 3)) < 0.5, -1, 1) * 2
P, T = RNG.uniform(0.1, 0.9, (4, 3)), RNG.uniform(0.1, 0.9, (4, 3))
LABELS = np.array([2, 0, 1, 1])
SIGNS = np.where(P > 0.5, 1.0, -1.0)
Q, K, V = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(2, 5, 3)), RNG.normal(size=(2, 5, 2))
SEEN = RNG.uniform(size=(4, 5)) < 0.7
SEEN[:, 0] = True
LOGS = np.log(P / P.sum(axis=1, keepdims=True))
SHARES = T / T.sum(axis=1, keepdims=True)


def attended(q, k, v, bias=0.0):
    """Attention, one query after the other."""
    y = np.empty((*q.shape[:-1], v.shape[-1]))
    for b, i in np.ndindex(y.shape[:2]):
        scores = [q[b, i] @ key / np.sqrt(3) for key in k[b]] + np.broadcast_to(bias, (4, 5))[i]
        weights = np.exp(scores) / np.exp(scores).sum()
        y[b, i] = sum(w * row for w, row in zip(weights, v[b], strict=True))
    return y


def each(f):
    """A function of numbers, of every element."""
    return lambda *arrays: np.vectorize(f, otypes=[float])(*arrays)


ROWS = np.arange(4)
CASES = {  # what is called, its arrays, and what it must give
    "relu6": (lambda x: tl.relu6(x * 4), [X], each(lambda x: min(max(4 * x, 0), 6))),
    "celu": (lambda x: tl.celu(x, 1.5), [X], each(lambda x: x if x > 0 else 1.5 * np.expm1(x / 1.5))),
    "selu": (tl.selu, [X], each(lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * np.expm1(x)))),
    "silu": (tl.silu, [X], lambda x: x * special.expit(x)),
    "hard_swish": (lambda x: tl.hard_swish(3 * x), [X], each(lambda x: 3 * x * min(max(3 * x + 3, 0), 6) / 6)),
    "rms_norm": (lambda x, g: tl.rms_norm(x, g), [X, P[0]], lambda x, g: g * x / np.sqrt((x**2).mean(1)[:, None] + 1e-6)),
    "rms_norm, axis": (lambda x: tl.rms_norm(x, axis=0), [X], lambda x: x / np.sqrt((x**2).mean(0) + 1e-6)),
    "attention": (tl.attention, [Q, K, V], attended),
    "attention, mask": (
        lambda q, k, v: tl.attention(q, k, v, SEEN), [Q, K, V],
        lambda q, k, v: attended(q, k, v, np.where(SEEN, 0, -1e9)),
    ),
    "attention, bias": (
        lambda q, k, v: tl.attention(q, k, v, SEEN * 1.5), [Q, K, V], lambda q, k, v: attended(q, k, v, SEEN * 1.5),
    ),
    "attention, causal": (
        lambda q, k, v: tl.attention(q, k, v, is_causal=True), [Q, K, V],
        lambda q, k, v: attended(q, k, v, np.where(np.arange(5) <= np.arange(4)[:, None], 0, -1e9)),
    ),
    "attention, scale": (
        lambda q, k, v: tl.attention(q * 2, k, v, scale=0.5 / np.sqrt(3)), [Q, K, V], attended,
    ),
    "cross_entropy": (
        lambda x: tl.cross_entropy(x, LABELS), [X],
        lambda x: np.mean(special.logsumexp(x, axis=1) - x[ROWS, LABELS]),
    ),
    "cross_entropy, smoothed": (
        lambda x: tl.cross_entropy(x, LABELS, label_smoothing=0.3, reduction="none"), [X],
        lambda x: -(special.log_softmax(x, 1) * (0.7 * np.eye(3)[LABELS] + 0.1)).sum(1),
    ),
    "cross_entropy, shares": (
        lambda x, t: tl.cross_entropy(x, t, reduction="sum"), [X, T], lambda x, t: -(t * special.log_softmax(x, 1)).sum(),
    ),
    "cross_entropy, axis": (
        lambda x: tl.cross_entropy(x.T, LABELS, axis=0), [X],
        lambda x: np.mean(special.logsumexp(x, axis=1) - x[ROWS, LABELS]),
    ),
    "nll_loss": (lambda x: tl.nll_loss(x, LABELS), [LOGS], lambda x: -np.mean([x[i, k] for i, k in enumerate(LABELS)])),
    "binary_cross_entropy": (
        tl.binary_cross_entropy, [P, T], lambda p, t: -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p)),
    ),
    "binary_cross_entropy, logits": (
        lambda x, t: tl.binary_cross_entropy(x, t, logits=True), [X, T],
        lambda x, t: -np.mean(t * np.log(special.expit(x)) + (1 - t) * np.log(special.expit(-x))),
    ),
    "mse_loss": (tl.mse_loss, [X, T], lambda x, t: np.mean((x - t) ** 2)),
    "l1_loss": (lambda x, t: tl.l1_loss(x, t, reduction="sum"), [X, T], lambda x, t: np.abs(x - t).sum()),
    "huber_loss": (
        lambda x, t: tl.huber_loss(x, t, delta=0.6, reduction="none"), [X, T],
        each(lambda x, t: (x - t) ** 2 / 2 if abs(x - t) <= 0.6 else 0.6 * (abs(x - t) - 0.3)),
    ),
    "kl_div": (lambda x, t: tl.kl_div(x, t, reduction="sum"), [LOGS, SHARES], lambda x, t: special.rel_entr(t, np.exp(x)).sum()),
    "hinge_loss": (lambda x: tl.hinge_loss(x, SIGNS), [X], lambda x: np.mean([max(0, 1 - s * v) for s, v in zip(SIGNS.flat, x.flat, strict=True)])),
    "cosine_similarity": (
        tl.cosine_similarity, [X, T],
        lambda a, b: np.array([u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in zip(a, b, strict=True)]),
    ),
    "cummax": (tl.cummax, [X], lambda x: np.array([x[: i + 1].max(axis=0) for i in range(4)])),
    "cummax, axis": (lambda x: tl.cummax(x, axis=-1), [X], lambda x: np.maximum.accumulate(x, axis=1)),
    "gather": (
        lambda x: tl.gather(x, 0, [[0, 2], [3, 3]]), [X], lambda x: np.array([[x[0, 0], x[2, 1]], [x[3, 0], x[3, 1]]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_the_formula(name):
    f, arrays, expected = CASES[name]
    np.testing.assert_allclose(f(*map(tl.Tensor, arrays)).numpy(), expected(*arrays), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_differences(name):
    f, arrays, _ = CASES[name]
    assert check.gradients(f, *arrays, order=2).ok


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("cummax")])
def test_values_and_gradients_are_the_same_in_a_traced_function(name):
    f, arrays, expected = CASES[name]
    leaves = [tl.Tensor(x, requires_grad=True) for x in arrays]
    y = tl.jit(f)(*leaves)
    np.testing.assert_allclose(y.numpy(), expected(*arrays), rtol=1e-12, atol=1e-14)
    tl.sum(y).backward()
    for leaf, g in zip(
        leaves, tl.grad(lambda *x: tl.sum(f(*x)), tuple(range(len(leaves))))(*leaves), strict=True
    ):
        np.testing.assert_allclose(leaf.grad.numpy(), g.numpy(), rtol=1e-10, atol=1e-14)


def test_probabilities_of_0_and_1_have_a_loss_where_they_are_right():
    p, t = np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(tl.binary_cross_entropy(p, t, reduction="none").numpy(), [0, 0, np.inf])
    y = tl.binary_cross_entropy(np.array([-800.0, 800.0]), t[:2], logits=True)
    assert y.item() == 0


def test_the_first_of_equal_elements_gets_the_gradient_of_cummax_and_nan_stays():
    x = tl.Tensor([1.0, 1.0, 0.0, 2.0], requires_grad=True)
    tl.sum(tl.cummax(x)).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 0, 0, 1])
    np.testing.assert_array_equal(tl.cummax([1.0, np.nan, 5.0]).numpy(), [1, np.nan, np.nan])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tl.mse_loss(X, T, reduction="men"), AttributeValueError, "reduction is 'men', expected 'mean', 'sum' or 'none'"),
        (lambda: tl.cross_entropy(X, LABELS[:2]), ShapeError, r"target is \(2,\) of int64, expected class numbers, integers of \(4,\)"),
        (lambda: tl.cross_entropy(X, LABELS + 1), AttributeValueError, "target has classes 1 to 3, expected 0 to 2"),
        (lambda: tl.cross_entropy(X, LABELS * 1.0), ShapeError, "of float64, expected class numbers"),
        (lambda: tl.attention(Q, K[..., :2], V), ShapeError, r"attention: key is \(2, 5, 2\)"),
        (lambda: tl.gather(X, 0, [0]), ShapeError, r"gather: index is \(1,\), expected sizes up to \(4, 3\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_class_numbers_may_be_arguments_of_a_traced_function():
    x, y = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 2, 1, 1])
    f = tl.jit(tl.value_and_grad(lambda x, y: tl.cross_entropy(x, y)))
    for target in (y, y[::-1].copy()):
        for a, b in zip(f(x, target), tl.value_and_grad(tl.cross_entropy)(x, target), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    for wrong in (-1, 3):
        assert np.isnan(f(x, np.array([0, wrong, 1, 1]))[0].item())
