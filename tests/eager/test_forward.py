"""Forward mode: tangents on top of everything else, against calculus, differences and the way back."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad, hessian, hvp, jacobian, jit, jvp, vjp
from tinygrad_lesson.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.op import OPS, Elementwise, op

X = np.array([0.3, -1.2, 2.0])
V = np.array([1.0, -2.0, 0.5])


def test_value_and_tangent_are_those_of_calculus():
    y, t = jvp(lambda x: tl.sin(x) * x, [X], [V])
    np.testing.assert_allclose(y.numpy(), np.sin(X) * X)
    np.testing.assert_allclose(t.numpy(), (np.cos(X) * X + np.sin(X)) * V)
    assert not y.requires_grad
    assert not t.requires_grad


def test_perturbations_of_nested_derivatives_are_told_apart():
    """Siskind and Pearlmutter 2005: d/dx (x d/dy (x + y)) at 1 is 1, not 2."""
    assert jvp(lambda x: x * jvp(lambda y: x + y, [1.0], [1.0])[1], [1.0], [1.0])[1].item() == 1
    assert jvp(lambda x: x * jvp(lambda y: x * y, [1.0], [1.0])[1], [3.0], [1.0])[1].item() == 6
    assert grad(lambda x: x * jvp(lambda y: x * y, [1.0], [1.0])[1])(3.0).item() == 6
    assert jvp(lambda x: x * grad(lambda y: x * y)(1.0), [3.0], [1.0])[1].item() == 6


@pytest.mark.parametrize("ways", ["fff", "ffr", "frf", "rff", "frr", "rfr", "rrf", "rrr"])
def test_third_derivatives_by_any_mixture_are_those_of_calculus(ways):
    f = lambda x: tl.exp(2 * x) * x  # noqa: E731
    for way in ways:
        f = grad(f) if way == "r" else lambda x, f=f: jvp(f, [x], [1.0])[1]
    assert f(0.4).item() == pytest.approx((8 * 0.4 + 12) * np.exp(0.8))


def test_a_leaf_from_outside_is_recorded_through_a_tangent():
    w = Tensor(V, requires_grad=True)
    y, t = jvp(lambda x: x * x * w, [X], [np.ones(3)])
    t.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * X)
    assert y.requires_grad


def test_trees_and_what_has_no_derivative():
    def f(given, power, scale):
        return {"y": [given["a"] ** power * scale, given["n"] + 1]}, power

    y, t, more = jvp(
        f, [{"a": X, "n": np.arange(3)}, 2, 3.0], [{"a": V, "n": np.zeros(3)}, 0, 0.0], has_aux=True
    )
    np.testing.assert_allclose(t["y"][0].numpy(), 6 * X * V)
    assert t["y"][1].numpy().tolist() == [0, 0, 0]
    assert t["y"][1].dtype == y["y"][1].dtype == np.int64
    assert more == 2


def test_tangents_stay_in_float32():
    y, t = jvp(lambda x: tl.tanh(x) * 2.0, [X.astype(np.float32)], [V])
    assert (y.dtype, t.dtype) == (np.float32, np.float32)


def test_complex_numbers_inside_have_tangents():
    f = lambda x: tl.abs(tl.exp(1j * x) + x)  # noqa: E731
    step = 1e-6
    expected = [
        (abs(np.exp(1j * a) + a) - abs(np.exp(1j * b) + b)) for a, b in zip(X + step, X - step, strict=True)
    ]
    np.testing.assert_allclose(
        jvp(f, [X], [np.ones(3)])[1].numpy(), np.array(expected) / (2 * step), rtol=1e-8
    )
    y, t = jvp(lambda x: x * 1j * x, [X], [V])
    np.testing.assert_allclose((y.numpy(), t.numpy()), (1j * X**2, 2j * X * V))
    with pytest.raises(DTypeError, match="no gradient for complex numbers"):
        jvp(lambda x: tl.arcsinh(x * 1j), [X], [V])


def test_nothing_is_recorded_and_nothing_kept():
    x = Tensor(np.ones(10_000))

    def chain(x):
        for _ in range(200):
            x = tl.sin(x) * 1.01
        return x

    def peak(f):
        f()
        tracemalloc.start()
        f()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(lambda: jvp(chain, [x], [x])) < 2.2 * peak(lambda: chain(x))


def count_calls(monkeypatch, cls, f):
    calls = []
    original = cls.forward
    monkeypatch.setattr(
        cls, "forward", lambda self, xp, *xs, **more: calls.append(1) or original(self, xp, *xs, **more)
    )
    f()
    return len(calls)


def test_a_jacobian_goes_the_shorter_way(monkeypatch):
    wide, tall = np.ones((2, 50)), np.ones((50, 2))
    for a in (wide, tall):
        f = lambda x, a=a: tl.tanh(a @ x)  # noqa: E731
        x = np.linspace(-1, 1, a.shape[1])
        expected = (1 - np.tanh(a @ x) ** 2)[:, None] * a
        np.testing.assert_allclose(jacobian(f, x).numpy(), expected)
        assert count_calls(monkeypatch, OPS["Tanh"], lambda f=f, x=x: jacobian(f, x)) <= 3
    dx, dy = jacobian(lambda x, y: tl.stack([x * y] * 9), 2.0, 3.0)
    assert (dx.numpy().tolist(), dy.numpy().tolist()) == ([3.0] * 9, [2.0] * 9)


def test_a_pullback_takes_a_tangent():
    back = vjp(lambda x: x * x, X)[1]
    np.testing.assert_allclose(jvp(lambda g: back(g)[0], [V], [np.ones(3)])[1].numpy(), 2 * X)


def test_states_move_once_and_draws_are_drawn_once():
    mean, var = Tensor(np.zeros(3)), Tensor(np.ones(3))
    ones = np.ones(3)
    x = np.random.default_rng(0).normal(size=(8, 3))
    f = lambda x: tl.batch_norm(x, ones, ones, mean, var)  # noqa: E731
    y, t = jvp(f, [x], [x])
    assert np.any(mean.numpy())
    step = 1e-6
    far, near = (f(x * (1 + s)).numpy() for s in (step, -step))
    np.testing.assert_allclose(t.numpy(), (far - near) / (2 * step), atol=1e-7)
    y, t = jvp(lambda x: tl.dropout(x, 0.5), [np.ones(100)], [np.ones(100)])
    np.testing.assert_array_equal(y.numpy(), t.numpy())
    assert 0 < np.count_nonzero(y.numpy()) < 100


def test_own_rules_are_honoured():
    f = tl.custom_jvp(lambda x: x * x)
    f.defjvps(lambda t, y, x: 10 * x * t)
    assert jvp(f, [3.0], [1.0])[1].item() == 30
    assert jvp(grad(f), [3.0], [1.0])[1].item() == 10
    assert jvp(lambda x: jvp(f, [x], [1.0])[1], [3.0], [1.0])[1].item() == 10
    h = tl.custom_vjp(lambda x: x * x)
    h.defvjp(lambda x: (x * x, x), lambda x, g: (10 * x * g,))
    assert jvp(h, [3.0], [1.0])[1].item() == 30
    assert jvp(grad(h), [3.0], [1.0])[1].item() == 10
    clipped = tl.custom_vjp(lambda x: x)
    clipped.defvjp(lambda x: (x, None), lambda _, g: (tl.clip(g, -1, 1),))
    assert jvp(grad(lambda x: clipped(x * x)), [0.2], [1.0])[1].item() == 2
    assert jvp(grad(lambda x: 5 * clipped(x * x)), [0.2], [1.0])[1].item() == 2


def test_an_op_may_declare_its_tangent():
    class Cubed(Elementwise):
        """The cube, whose tangent is declared: ``y = x**3``."""

        def forward(self, xp, x, out=None):
            return xp.multiply(x * x, x, out=out)

        def vjp(self, F, g, y, x):
            raise AssertionError

        def jvp(self, F, tangents, y, x):
            return 3 * x * x * tangents[0]

    op(Cubed)
    assert jvp(tl.cubed, [2.0], [1.0])[1].item() == 12


def test_a_rule_of_a_users_that_sums_is_transposed_all_the_same():
    class Product(Elementwise):
        """A product that sums its gradients itself: ``y = a * b``."""

        def forward(self, xp, a, b, out=None):
            return xp.multiply(a, b, out=out)

        def vjp(self, F, g, y, a, b):
            return F.sum_like(g * b, a), F.sum_like(g * a, b)

    op(Product)
    a, b = np.arange(3.0), np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(jvp(lambda a: tl.product(a, b), [a], [V])[1].numpy(), V * b)


@pytest.mark.parametrize("runner", ["numpy", None])
def test_inside_and_outside_of_jit(runner):
    w = np.random.default_rng(1).normal(size=(3, 4))
    f = lambda x, w: tl.tanh(x @ w).sum()  # noqa: E731
    expected = hvp(f, (X, w), (V, w))
    outside = hvp(jit(f, runner=runner), (X, w), (V, w))
    inside = jit(lambda x, w: tuple(hvp(f, (x, w), (V, w))), runner=runner)(X, w)
    for a, b, c in zip(expected, outside, inside, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy())
        np.testing.assert_allclose(c.numpy(), a.numpy())
    _, t = jvp(jit(lambda x, n: (x * n, n + 1), runner=runner), [X, np.arange(3)], [V, np.zeros(3)])
    np.testing.assert_allclose(t[0].numpy(), V * np.arange(3))
    assert t[1].dtype == np.int64


def test_the_tangent_of_a_random_plan_is_that_of_its_draw():
    f = jit(lambda x: tl.dropout(x, 0.5))
    y, t = jvp(f, [np.ones(100)], [np.ones(100)])
    np.testing.assert_array_equal(y.numpy(), t.numpy())


def test_a_tensor_that_leaves_its_function_is_refused():
    kept = []
    jvp(lambda x: kept.append(x) or x, [X], [V])
    with pytest.raises(GraphError, match="used outside of it"):
        kept[0] * 2
    with pytest.raises(GraphError, match="used outside of it"):
        jvp(lambda x: kept[0] * x, [X], [V])
    with pytest.raises(GraphError, match="used outside of it"):
        jvp(lambda x: jit(lambda y: x * y)(V), [X], [V])


def test_a_value_is_looked_at_and_not_let_out():
    assert jvp(lambda x: x * 2 if x.sum() > 0 else x, [X], [V])[1].numpy().tolist() == (2 * V).tolist()
    with pytest.raises(GraphError, match="gradient would end here"):
        jvp(lambda x: float(x.sum()) * x, [X], [V])
    assert jvp(lambda x: float(x.detach().sum()) * x, [X], [V])[1].numpy() == pytest.approx(X.sum() * V)


def test_importing_the_package_brings_none_of_it():
    code = "import sys, tinygrad_lesson; print([m for m in sys.modules if 'forward' in m or 'tracer' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]


PULL = vjp(lambda x: 3.0 * x, np.zeros(3))[1]


@pytest.mark.parametrize(
    ("f", "by_x", "by_v"),
    [(lambda x: PULL(x)[0] * 2, 0 * V, 6 + 0 * X), (lambda x: PULL(x)[0] * x, 6 * V, 6 * X)],
    ids=["6 x", "3 x x"],
)
def test_a_pullback_from_outside_is_differentiated_through_tangents(f, by_x, by_v):
    dx, dv = vjp(lambda x, v: jvp(f, [x], [v])[1], X, V)[1](np.ones(3))
    np.testing.assert_allclose(dx.numpy(), by_x)
    np.testing.assert_allclose(dv.numpy(), by_v)


def test_tangents_of_several_inputs_may_be_plain_numbers():
    x, y = Tensor(2.0), Tensor(3.0)
    assert jvp(lambda pair: pair[0] * pair[1], [(x, y)], [(1.0, 10.0)])[1].item() == 23
    with pytest.raises(ShapeError, match="1 tangents are given for 2 inputs"):
        jvp(lambda a, b: a * b, [x, y], [1.0])


def test_places_have_no_tangent():
    places, along = np.array([2.0, 1.0, 0.0]), np.ones(3)
    assert jvp(tl.take, [X, places], [V, along])[1].numpy().tolist() == V[::-1].tolist()
    assert jvp(lambda i: tl.take(X, i), [places], [along])[1].numpy().tolist() == [0, 0, 0]


@pytest.mark.parametrize("f", [lambda x: x + 1.0, lambda x: x.reshape((3, 1)), lambda x: tl.concat(x, dim=0)])
def test_a_graph_keeps_a_tangent_that_its_owner_changes(f):
    given, p = V.copy(), Tensor(2.0, requires_grad=True)
    y = (p * jvp(f, [X], [given])[1]).sum()
    given[:] = 7.0
    y.backward()
    assert p.grad.item() == V.sum()


@pytest.mark.parametrize("of", [dict, list], ids=["a dict", "several arguments"])
def test_derivatives_of_trees_are_built_like_them(of):
    tree = {"a": X, "b": [V, np.float64(2.0)]}

    def f(p):
        return p["a"] ** 2 * p["b"][0] * p["b"][1]

    if of is dict:
        by = jacobian(f)(tree)
        rows = hessian(lambda p: f(p).sum())(tree)
    else:
        by, _ = jacobian(lambda p, q: f(p) + q, tree, X)
        both = hessian(lambda p, q: (f(p) + q * q).sum(), tree, X)[0]
        rows = {"a": both["a"][0], "b": [part[0] for part in both["b"]]}
    np.testing.assert_allclose(by["a"].numpy(), np.diag(4 * X * V))
    np.testing.assert_allclose(by["b"][0].numpy(), np.diag(2 * X**2))
    np.testing.assert_allclose(by["b"][1].numpy(), X**2 * V)
    np.testing.assert_allclose(rows["a"]["b"][0].numpy(), np.diag(4 * X))
    np.testing.assert_allclose(rows["b"][1]["a"].numpy(), 2 * X * V)
    np.testing.assert_allclose(rows["b"][0]["b"][0].numpy(), np.zeros((3, 3)))
