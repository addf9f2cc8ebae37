"""`vmap` against the loop that it stands for."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad, hessian, jit, jvp, vmap
from tinygrad_lesson.eager.batched import LOOPED
from tinygrad_lesson.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.op import OPS, Op, op

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(5, 3))
W = GENERATOR.normal(size=(3, 4))


def loss(x, w):
    return tl.sum(tl.tanh(x @ w) ** 2)


def stacked(f, *columns):
    return np.stack([f(*row).numpy() for row in zip(*columns, strict=True)])


def test_arguments_are_taken_apart_and_results_put_together_along_any_axis():
    f = vmap(lambda a, b: a * b, in_axes=(1, None), out_axes=-1)
    np.testing.assert_array_equal(f(X, np.arange(5.0)).numpy(), (X.T * np.arange(5.0)).T)
    outer = vmap(vmap(lambda a, b: a * b, (0, None)), (None, 0))
    np.testing.assert_array_equal(
        outer(np.arange(3.0), np.arange(2.0)).numpy(), np.outer(np.arange(2), np.arange(3))
    )
    y = vmap(
        lambda given, k: {"a": given["x"] + k, "b": (given["y"],)},
        ({"x": 0, "y": None}, None),
        {"a": 1, "b": 0},
    )
    found = y({"x": X, "y": Tensor(2.0)}, 1.0)
    np.testing.assert_array_equal(found["a"].numpy(), (X + 1).T)
    np.testing.assert_array_equal(found["b"][0].numpy(), np.full(5, 2.0))
    np.testing.assert_array_equal(
        vmap(lambda x, scale: x * scale)(X, scale=np.arange(5.0)).numpy().T, X.T * np.arange(5)
    )
    assert vmap(lambda x: 1.0, out_axes=None)(X) == 1.0
    assert vmap(lambda: Tensor(2.0), axis_size=4)().shape == (4,)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: vmap(tl.add)(X, np.ones(4)), ShapeError, "sizes 4, 5 along them, expected one size"),
        (lambda: vmap(tl.add)(X, 1.0), ShapeError, "no axis 0 in an argument of shape .*in_axes=None"),
        (lambda: vmap(tl.add, None)(X, X), ShapeError, "no axis to map"),
        (lambda: vmap(tl.add, (0,))(X, X), ShapeError, "in_axes has 1 entries, and 2 arguments"),
        (lambda: vmap(tl.exp, out_axes=None)(X), ShapeError, "out_axes None differs from sample to sample"),
        (lambda: vmap(3), DTypeError, "expected a function, not 3"),
        (
            lambda: vmap(lambda x: x if x[0] > 0 else -x)(X),
            GraphError,
            "one for each sample; choose with tl.where",
        ),
        (lambda: vmap(lambda x: x * float(x[0]))(X), GraphError, "one for each sample"),
        (lambda: vmap(lambda x: np.asarray(x))(X), GraphError, "one for each sample"),
    ],
)
def test_an_error_says_what_is_wrong(call, error, told):
    with pytest.raises(error, match=told):
        call()


def test_derivatives_of_each_sample():
    x, w = X, W
    np.testing.assert_allclose(
        vmap(grad(loss, 1), (0, None))(x, w).numpy(), stacked(lambda x: grad(loss, 1)(x, w), x)
    )
    np.testing.assert_allclose(
        vmap(hessian(lambda x: loss(x, w)))(x).numpy(), stacked(hessian(lambda x: loss(x, w)), x)
    )
    along = lambda x, t: jvp(lambda x: loss(x, w), [x], [t])[1]  # noqa: E731
    np.testing.assert_allclose(vmap(along)(x, x[::-1]).numpy(), stacked(along, x, x[::-1]))
    several = vmap(grad(lambda p, x: loss(x, p["w"]) + p["b"] * x[0]), ({"w": None, "b": None}, 0))
    found = several({"w": w, "b": 1.0}, x)
    np.testing.assert_allclose(found["b"].numpy(), x[:, 0])
    assert found["w"].shape == (5, 3, 4)


def test_derivatives_through_a_batch():
    total = lambda x, w: vmap(loss, (0, None))(x, w).sum()  # noqa: E731
    plain = lambda x, w: tl.sum(tl.tanh(x @ w) ** 2)  # noqa: E731
    for a, b in zip(grad(total, (0, 1))(X, W), grad(plain, (0, 1))(X, W), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy())
    np.testing.assert_allclose(jvp(total, [X, W], [X, W])[1].item(), jvp(plain, [X, W], [X, W])[1].item())
    w = Tensor(W, requires_grad=True)
    vmap(lambda x: loss(x, w))(X).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), grad(plain, 1)(X, W).numpy())


@pytest.mark.parametrize("runner", ["numpy", None])
def test_inside_and_outside_of_jit(runner):
    f = lambda x: loss(x, W)  # noqa: E731
    expected = stacked(grad(f), X)
    for g in (
        jit(vmap(grad(f)), runner=runner),
        vmap(jit(grad(f), runner=runner)),
        vmap(grad(jit(f, runner=runner))),
    ):
        np.testing.assert_allclose(g(X).numpy(), expected)
    y, n = vmap(jit(lambda x, n: (x * n, n + 1), runner=runner), (0, None))(X, np.arange(3))
    np.testing.assert_array_equal(y.numpy(), X * np.arange(3))
    assert n.shape == (5, 3)


def test_each_op_is_carried_out_once(monkeypatch):
    calls = []
    tanh = OPS["Tanh"]
    original = tanh.forward
    monkeypatch.setattr(
        tanh, "forward", lambda self, xp, x, **more: calls.append(1) or original(self, xp, x, **more)
    )
    vmap(grad(lambda x: loss(x, W)))(X)
    assert len(calls) == 1


def test_an_op_without_a_rule_is_looped_over_and_said_once():
    class Reversed(Op):
        """All elements, the last first."""

        def shape(self, x):
            return x

        def forward(self, xp, x):
            return xp.flip(x)

        def vjp(self, F, g, y, x):
            return (F.reversed(g),)

        @classmethod
        def sample(cls, draw):
            return cls(), {"x": draw.array(draw.shape())}

    op(Reversed)
    with pytest.warns(UserWarning, match="vmap: Reversed has no rule for a batch"):
        found = vmap(tl.reversed)(X)
    np.testing.assert_array_equal(found.numpy(), X[:, ::-1])
    vmap(tl.reversed)(X)
    assert vmap.loops is LOOPED
    assert LOOPED["Reversed"] == 2
    np.testing.assert_array_equal(
        vmap(grad(lambda x: tl.sum(tl.reversed(x) * np.arange(3.0))))(X).numpy()[0], [2, 1, 0]
    )


def test_draws_differ_from_sample_to_sample():
    tl.manual_seed(0)
    y = vmap(lambda x: tl.dropout(x, 0.5))(np.ones((4, 50))).numpy()
    assert len({row.tobytes() for row in y}) == 4
    tl.manual_seed(0)
    np.testing.assert_array_equal(y, np.stack([tl.dropout(np.ones(50), 0.5).numpy() for _ in range(4)]))


def test_own_rules_of_each_sample():
    f = tl.custom_jvp(lambda x: x * x)
    f.defjvps(lambda t, y, x: 10 * x * t)
    h = tl.custom_vjp(lambda x: x * x)
    h.defvjp(lambda x: (x * x, x), lambda x, g: (10 * x * g,))
    for rule in (f, h):
        np.testing.assert_allclose(vmap(rule)(X).numpy(), X * X)
        np.testing.assert_allclose(vmap(grad(lambda x, rule=rule: rule(x).sum()))(X).numpy(), 10 * X)
        np.testing.assert_allclose(vmap(lambda x, rule=rule: jvp(rule, [x], [x])[1])(X).numpy(), 10 * X * X)
    np.testing.assert_allclose(
        vmap(grad(tl.checkpoint(lambda x: loss(x, W))))(X).numpy(), stacked(grad(lambda x: loss(x, W)), X)
    )


@pytest.mark.filterwarnings("ignore:vmap:UserWarning")
def test_gradients_through_a_batch_of_own_rules_are_those_of_the_rule():
    f = tl.custom_vjp(lambda x: x * x)
    f.defvjp(lambda x: (x * x, x), lambda x, g: (10 * x * g,))
    np.testing.assert_allclose(grad(lambda x: vmap(f)(x).sum())(X).numpy(), 10 * X)
    np.testing.assert_allclose(jvp(vmap(f), [X], [X])[1].numpy(), 10 * X * X)


def test_numpy_functions_and_indexing_of_a_sample():
    f = lambda x: np.sort(x)[::-1].reshape(3, 1) + np.concatenate([x[1:], x[:1]]).mean()  # noqa: E731
    np.testing.assert_allclose(vmap(f)(X).numpy(), stacked(lambda x: Tensor(f(x)), X))
    index = np.array([0, 2, 1, 1, 0])
    np.testing.assert_array_equal(vmap(lambda x, i: x[i])(X, index).numpy(), X[range(5), index])
    np.testing.assert_array_equal(vmap(lambda i: Tensor(W)[i])(index % 3).numpy(), W[index % 3])
    logits, labels = vmap(lambda x, i: tl.cross_entropy(x[None], i[None]), (0, 0)), index % 3
    expected = [tl.cross_entropy(X[i : i + 1], labels[i : i + 1]).item() for i in range(5)]
    np.testing.assert_allclose(logits(X, labels).numpy(), expected)


def test_functions_of_each_sample_that_are_no_loop():
    before = dict(LOOPED)
    for f in (
        lambda x: np.convolve(x, W[0], "same"), lambda x: np.convolve(x, x * x), np.median, np.gradient,
        lambda x: np.quantile(x, 0.3), lambda x: tl.grad(lambda x: np.convolve(W[0], x).sum())(x),
    ):  # fmt: skip
        np.testing.assert_allclose(vmap(f)(X).numpy(), stacked(lambda x, f=f: f(Tensor(x)), X), rtol=1e-12)
    assert before == LOOPED


def test_a_place_beyond_the_end_is_an_error_and_no_part_of_the_next_sample():
    tables, places = np.arange(12.0).reshape(2, 3, 2), np.array([[0, -1], [2, 3]])
    for take in (
        lambda x, i: tl.take(x, i, axis=0),
        lambda x, i: x[i],
        lambda x, i: tl.gather_nd(x, i[None]),
    ):
        np.testing.assert_array_equal(vmap(take)(tables, places - [[0], [1]]).numpy()[1], tables[1][[1, 2]])
        with pytest.raises(ShapeError, match="out of bounds"):
            vmap(take)(tables, places)
    with pytest.raises(ShapeError, match="out of bounds"):
        vmap(lambda x, i: tl.add_at(x, i, shape=(3, 2)))(tables[:, :2], places)
    found = vmap(lambda w, i: tl.embedding(i, w, input_dim=3, output_dim=2))(tables, places)
    np.testing.assert_array_equal(found.numpy()[1], tables[1][[2, 2]])


@pytest.mark.parametrize("axes", [(0, None), (0, 0)])
def test_samples_move_the_statistics_of_a_batch_normalization_one_after_the_other(axes):
    x = GENERATOR.normal(size=(2, 3, 4, 5))
    kept = [[np.zeros(5), np.ones(5)] for _ in range(2)]

    def layer(x, gamma, states):
        return tl.batch_norm(x, gamma, np.zeros(5), *states, fix_gamma=False, is_train=True)

    gammas = np.ones(5) if axes[1] is None else 1 + x[0, :, 0]
    states = [[Tensor(s) for s in each] for each in kept]
    expected = [
        [layer(x[i, k], gammas if axes[1] is None else gammas[k], states[0]).numpy() for k in range(3)]
        for i in range(2)
    ]
    before = dict(LOOPED)
    inner = vmap(lambda x, gamma: layer(x, gamma, states[1]), axes)
    for i in range(2):
        np.testing.assert_allclose(inner(x[i], gammas).numpy(), expected[i], rtol=1e-12)
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    nested = [Tensor(s) for s in kept[0]]
    found = vmap(vmap(lambda x, gamma: layer(x, gamma, nested), axes), (0, None))(x, gammas)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert before == LOOPED
    order = [Tensor(s) for s in kept[0]]
    for k in range(3):  # the inner samples first
        for i in range(2):
            layer(x[i, k], np.ones(5), order)
    np.testing.assert_allclose(nested[1].numpy(), order[1].numpy(), rtol=1e-12)


@pytest.mark.parametrize("normalization", ["null", "batch"])
def test_losses_begin_their_gradient_for_each_sample(normalization):
    labels, before = np.array([[0, 1], [2, 2], [1, 0], [0, 0], [1, 2]]), dict(LOOPED)
    x = GENERATOR.normal(size=(5, 2, 3))
    for f in (
        lambda x, t: tl.softmax_output(x, t, normalization=normalization, use_ignore=True, ignore_label=0),
        lambda x, t: tl.linear_regression_output(x[:, 0], t),
        lambda x, t: tl.make_loss(x[:, 0] * t, normalization=normalization),
        lambda x, t: tl.svm_output(x, t),
    ):
        slope = grad(lambda x, t, f=f: f(x, t).sum())
        np.testing.assert_allclose(vmap(slope)(x, labels).numpy(), stacked(slope, x, labels))
        whole = grad(lambda x, f=f: vmap(f)(x, labels).sum())(x)
        np.testing.assert_allclose(whole.numpy(), stacked(slope, x, labels))
    assert before == LOOPED


@pytest.mark.parametrize(
    "index",
    [
        lambda i, j: (slice(None), i),
        lambda i, j: (..., i),
        lambda i, j: (..., i, slice(None)),
        lambda i, j: (None, slice(None, None, -1), i, j),
        lambda i, j: (i, slice(None), j),
        lambda i, j: (slice(None), i, slice(None), j),
        lambda i, j: (1, slice(None), i),
        lambda i, j: (slice(None), 1, i),
    ],
    ids=[
        "second",
        "last",
        "before the last",
        "third and fourth",
        "apart",
        "apart, later",
        "an integer",
        "beside",
    ],
)
@pytest.mark.parametrize("axes", [(0, 0, 0), (None, 0, 0), (0, None, None), (0, 0, None)], ids=str)
def test_each_sample_has_places_of_its_own_wherever_they_stand(index, axes):
    draw = np.random.default_rng(3)
    x, i, j = (
        draw.normal(size=(5, 2, 3, 4, 2)),
        draw.integers(2, size=(5, 2, 3)),
        draw.integers(2, size=(5, 3)),
    )
    given = [tl.Tensor(a if axis == 0 else a[0]) for a, axis in zip((x, i, j), axes, strict=True)]
    samples = [
        [a[k] if axis == 0 else a[0] for a, axis in zip((x, i, j), axes, strict=True)] for k in range(5)
    ]
    before = dict(LOOPED)
    found = vmap(lambda x, i, j: x[index(i, j)], axes)(*given)
    slopes = vmap(grad(lambda x, i, j: (x[index(i, j)] ** 3).sum()), axes)(*given)
    assert before == LOOPED
    for k, (x, i, j) in enumerate(samples):
        expected, slope = x[index(i, j)], np.zeros(x.shape)
        np.add.at(slope, index(i, j), 3 * expected**2)
        np.testing.assert_array_equal(found[k].numpy(), expected)
        np.testing.assert_allclose(slopes[k].numpy(), slope)
