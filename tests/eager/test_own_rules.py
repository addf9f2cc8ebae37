"""`custom_vjp`, `custom_jvp` and `checkpoint`: functions with a derivative of their own."""

import dataclasses
import functools
import gc
import weakref

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.errors import GraphError, ShapeError

X = np.array([0.3, -0.7, 1.9])


def log1pexp():
    """JAX's own example: the derivative of log(1 + exp(x)) without overflow, and a count of the rule's calls."""
    calls = []

    @tl.custom_vjp
    def f(x):
        return tl.log(1 + tl.exp(x))

    def backward(needed, g):
        calls.append(g.shape)
        (x,) = needed
        return (g * tl.sigmoid(x),)

    f.defvjp(lambda x: (f(x), (x,)), backward)
    return f, calls


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_rule_gives_the_gradient():
    f, calls = log1pexp()
    x = tl.Tensor(X, requires_grad=True)
    y = f(x)
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), np.log1p(np.exp(X)), rtol=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), sigmoid(X), rtol=1e-14)
    assert calls == [(3,)]


def test_where_ops_alone_give_nan_the_rule_does_not():
    f, _ = log1pexp()
    with np.errstate(over="ignore"):
        assert tl.grad(f)(1000.0).item() == 1.0


def test_nothing_is_recorded_of_the_function_without_a_gradient():
    f, calls = log1pexp()
    assert f(X).node is None
    with tl.no_grad():
        assert f(tl.Tensor(X, requires_grad=True)).node is None
    assert calls == []


def test_derivatives_of_higher_order_follow_from_the_ops_of_the_rule():
    f, _ = log1pexp()
    s = sigmoid(X)
    first = tl.grad(lambda x: tl.sum(f(x)))
    second = tl.grad(lambda x: tl.sum(first(x)))
    third = tl.grad(lambda x: tl.sum(second(x)))
    np.testing.assert_allclose(second(X).numpy(), s * (1 - s), rtol=1e-13)
    np.testing.assert_allclose(third(X).numpy(), s * (1 - s) * (1 - 2 * s), rtol=1e-12)
    np.testing.assert_allclose(tl.jacobian(f)(X).numpy(), np.diag(s), rtol=1e-14)
    _, tangent = tl.jvp(f, [X], [np.ones(3)])
    np.testing.assert_allclose(tangent.numpy(), s, rtol=1e-14)


@pytest.mark.parametrize("runner", ["numpy", None])
def test_inside_and_outside_of_jit(runner):
    f, _ = log1pexp()
    g = tl.jit(lambda x: tl.sum(f(2 * x)), runner=runner)
    np.testing.assert_allclose(g(X).item(), np.log1p(np.exp(2 * X)).sum(), rtol=1e-14)
    np.testing.assert_allclose(g(X + 1).item(), np.log1p(np.exp(2 * X + 2)).sum(), rtol=1e-14)
    for gradient in (tl.grad(g), tl.jit(tl.grad(g)), tl.jit(tl.grad(lambda x: tl.sum(f(2 * x))))):
        np.testing.assert_allclose(gradient(X).numpy(), 2 * sigmoid(2 * X), rtol=1e-13)
        np.testing.assert_allclose(gradient(X + 1).numpy(), 2 * sigmoid(2 * X + 2), rtol=1e-13)


def test_a_rule_that_differs_from_the_derivative_is_the_one_that_counts():
    @tl.custom_vjp
    def rounded(x):
        return tl.round(x)

    rounded.defvjp(lambda x: (rounded(x), None), lambda needed, g: (g,))
    for f in (rounded, tl.jit(rounded)):
        np.testing.assert_array_equal(tl.grad(lambda x, f=f: tl.sum(f(x) * [1.0, 2.0, 3.0]))(X), [1, 2, 3])


@dataclasses.dataclass
class Layer:
    weight: object
    more: dict


def test_arguments_and_results_nested_in_containers():
    @tl.custom_vjp
    def f(layer, pair, power):
        a, b = pair
        return {"y": layer.weight * a**power, "z": (b, layer.more["bias"] + 1.0)}

    def forward(layer, pair, power):
        return f(layer, pair, power), (layer, pair, power)

    def backward(needed, g):
        layer, (a, _), power = needed
        weight = g["y"] * a**power
        more = {"bias": g["z"][1], "name": None}
        first = g["y"] * layer.weight * power * a ** (power - 1)
        return Layer(weight, more), (first, g["z"][0]), None

    f.defvjp(forward, backward)
    plain = f.__wrapped__

    def loss(of, layer, pair):
        y = of(layer, pair, 3)
        return tl.sum(y["y"] * y["z"][0]) + tl.sum(y["z"][1] ** 2)

    layer = Layer(np.array([1.0, 2.0]), {"bias": np.array(0.5), "name": "one"})
    pair = (np.array([3.0, -1.0]), np.array([0.25, 4.0]))
    for change in (lambda h: h, tl.jit):
        found = change(tl.grad(functools.partial(loss, f), argnums=(0, 1)))(layer, pair)
        told = tl.grad(functools.partial(loss, plain), argnums=(0, 1))(layer, pair)
        for a, b in zip(found[1], told[1], strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-14)
        np.testing.assert_allclose(found[0].weight.numpy(), told[0].weight.numpy(), rtol=1e-14)
        np.testing.assert_allclose(found[0].more["bias"].numpy(), 3.0)


def test_arguments_without_a_gradient_come_first():
    @functools.partial(tl.custom_vjp, nondiff_argnums=(0,))
    def applied(f, x):
        return f(x)

    applied.defvjp(lambda f, x: (f(x), x), lambda f, x, g: (g * 7.0,))
    assert tl.grad(lambda x: applied(tl.sin, x))(1.0).item() == 7.0
    assert tl.grad(lambda x: applied(x=x, f=tl.sin))(1.0).item() == 7.0
    with pytest.raises(GraphError, match=r"custom_vjp\(applied\): argument 0 is in nondiff_argnums"):
        tl.grad(lambda a: applied(a, a))(1.0)


def test_a_function_of_numpy_gets_arrays():
    @tl.custom_vjp
    def cube(x):
        return np.asarray(x) ** 3

    cube.defvjp(lambda x: (cube(x), np.asarray(x)), lambda x, g: (3 * x**2 * np.asarray(g),))
    x = tl.Tensor(X, requires_grad=True)
    cube(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * X**2)
    with pytest.raises(GraphError, match="gradient would end here"):  # of second order there is none
        tl.hessian(lambda x: tl.sum(cube(x)))(X)


@pytest.mark.parametrize(
    ("backward", "error", "told"),
    [
        (lambda x, g: (g[:2],), ShapeError, r"custom_vjp\(same\): .* \(2,\) for argument 0, which is \(3,\)"),
        (lambda x, g: (g, g), GraphError, r"custom_vjp\(same\): backward gives 2, expected a tuple of 1"),
        (lambda x, g: g, GraphError, r"custom_vjp\(same\): backward gives Tensor, expected a tuple of 1"),
    ],
)
def test_a_rule_that_fits_no_argument_is_named(backward, error, told):
    @tl.custom_vjp
    def same(x):
        return x * 1.0

    same.defvjp(lambda x: (same(x), x), backward)
    for change in (lambda f: f, tl.jit):
        with pytest.raises(error, match=told):
            tl.grad(lambda x, change=change: tl.sum(change(same)(x)))(X)


def test_what_would_lose_a_gradient_is_refused():
    w = tl.Tensor(2.0, requires_grad=True)
    f = tl.custom_vjp(lambda x: x * w)
    f.defvjp(lambda x: (f(x), None), lambda needed, g: (g * w,))
    with pytest.raises(GraphError, match="uses a recorded tensor from outside; pass it as an argument"):
        f(tl.Tensor(1.0, requires_grad=True))
    y = tl.checkpoint(lambda x: x * w)(tl.Tensor(1.0, requires_grad=True))
    w.value = 3.0
    with pytest.raises(GraphError, match="has changed since; pass it as an argument"):
        y.backward()
    with pytest.raises(GraphError, match=r"has no rule yet: write sin\.defvjp"):
        tl.custom_vjp(tl.sin)(w)
    with pytest.raises(GraphError, match=r"has no rule yet: write sin\.defjvp"):
        tl.custom_jvp(tl.sin)(w)


def test_a_rule_for_tangents():
    @tl.custom_jvp
    def f(x, y):
        return tl.sin(x) * y

    @f.defjvp
    def rule(inputs, tangents):
        (x, y), (dx, dy) = inputs, tangents
        return f(x, y), tl.cos(x) * y * dx + tl.sin(x) * dy

    y = np.array([2.0, 3.0, -1.0])
    for change in (lambda h: h, tl.jit):
        dx, dy = change(tl.grad(lambda x, y: tl.sum(f(x, y)), argnums=(0, 1)))(X, y)
        np.testing.assert_allclose(dx.numpy(), np.cos(X) * y, rtol=1e-14)
        np.testing.assert_allclose(dy.numpy(), np.sin(X), rtol=1e-14)
    second = tl.grad(lambda x: tl.sum(tl.grad(lambda x: tl.sum(f(x, y)))(x)))
    np.testing.assert_allclose(second(X).numpy(), -np.sin(X) * y, rtol=1e-14)
    _, tangent = tl.jvp(f, [X, y], [np.ones(3), np.zeros(3)])
    np.testing.assert_allclose(tangent.numpy(), np.cos(X) * y, rtol=1e-14)


def test_a_rule_for_each_argument():
    f = tl.custom_jvp(lambda x, y: x * y)
    f.defjvps(lambda t, answer, x, y: 10 * t * y, None)
    assert [g.item() for g in tl.grad(f, argnums=(0, 1))(2.0, 3.0)] == [30.0, 0.0]
    f = tl.custom_jvp(tl.exp)
    f.defjvps(lambda t, answer, x: t * answer)
    np.testing.assert_allclose(tl.hessian(f)(0.5).item(), np.exp(0.5))
    f.defjvp(lambda inputs, tangents: (f(*inputs), tl.stack([tangents[0], tangents[0]])))
    with pytest.raises(ShapeError, match=r"tangent of shape \(2,\), expected \(\) as its result"):
        tl.grad(f)(1.0)


def block(x, ws):
    for w in ws:
        x = tl.tanh(x @ w)
    return x


def deep(f, x, ws):
    for _ in range(5):
        x = f(x, ws)
    return tl.sum(x * x)


def test_a_checkpoint_gives_the_same_bits():
    rng = np.random.default_rng(0)
    x, ws = rng.normal(size=(8, 5)), [rng.normal(size=(5, 5)) for _ in range(4)]
    value, told = tl.value_and_grad(functools.partial(deep, block), (0, 1))(x, ws)
    for f in (tl.checkpoint(block), tl.checkpoint(tl.checkpoint(block))):
        again, found = tl.value_and_grad(functools.partial(deep, f), (0, 1))(x, ws)
        for a, b in zip((again, found[0], *found[1]), (value, told[0], *told[1]), strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()
    inside = tl.jit(tl.grad(functools.partial(deep, tl.checkpoint(block))))(x, ws)
    np.testing.assert_allclose(inside.numpy(), told[0].numpy(), rtol=1e-10)


@pytest.mark.parametrize("f", [np.sin, tl.numpy.sin, tl.sin])
def test_a_checkpoint_of_a_function_of_numpys(f):
    x = np.array([0.3, 1.0])
    g = tl.grad(lambda x: tl.sum(tl.checkpoint(f)(x)))
    np.testing.assert_allclose(g(x).numpy(), np.cos(x), rtol=1e-15)


def test_a_checkpoint_has_derivatives_of_second_order():
    x, w = np.linspace(-1, 1, 10).reshape(2, 5), np.cos(np.arange(25.0)).reshape(5, 5)
    plain = tl.hvp(lambda x, w: deep(block, x, [w, w]), (x, w), (x, w))
    checked = tl.hvp(lambda x, w: deep(tl.checkpoint(block), x, [w, w]), (x, w), (x, w))
    for a, b in zip(plain, checked, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11)


def alive(f):
    """How many of the arrays that `f` makes inside are alive after the forward pass."""
    made = []

    def watched(x, ws):
        for w in ws:
            x = tl.tanh(x @ w)
            made.append(weakref.ref(x.array))
        return x

    x = tl.Tensor(np.ones((8, 5)), requires_grad=True)
    loss = deep(f(watched), x, [tl.Tensor(np.eye(5), requires_grad=True)] * 4)
    gc.collect()
    count = sum(there() is not None for there in made)
    loss.backward()
    assert x.grad is not None
    return count


def test_a_checkpoint_keeps_results_alone():
    assert alive(lambda f: f) == 20
    assert alive(tl.checkpoint) == 5


def test_a_checkpoint_draws_once():
    def noisy(x):
        return tl.dropout(x * x, 0.5) * tl.random.normal(size=(100,))

    found = []
    for f in (noisy, tl.checkpoint(noisy)):
        tl.random.seed(3)
        x = tl.Tensor(np.linspace(1, 2, 100), requires_grad=True)
        y = f(x)
        after = tl.random.uniform(size=3)
        y.sum().backward()
        again = tl.random.uniform(size=3)
        found.append([t.numpy().tobytes() for t in (y, x.grad, after, again)])
    assert found[0] == found[1]


def states_of(x):
    return x


@pytest.mark.parametrize("given", [True, False], ids=["arguments", "seen from outside"])
def test_a_checkpoint_moves_states_once(given):
    states = []
    for change in (lambda f: f, tl.checkpoint):
        both = tl.Tensor(np.zeros(2)), tl.Tensor(np.ones(2))
        inside = functools.partial(states_of, both)
        f = change(
            lambda x, *more, inside=inside: tl.batch_norm(x, np.ones(2), np.zeros(2), *more or inside())
        )
        x = tl.Tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
        (f(x, *both * given) ** 3).sum().backward()
        states.append([both[0].numpy(), both[1].numpy(), x.grad.numpy()])
    for plain, checked in zip(*states, strict=True):
        np.testing.assert_array_equal(plain, checked)
    assert states[0][0].any()


@dataclasses.dataclass
class Affine:
    weight: tl.Tensor
    bias: tl.Tensor

    def __call__(self, x, scale=1.0):
        return tl.tanh(x @ self.weight) * scale + self.bias


def test_a_layer_is_an_argument_of_its_checkpoint():
    layer = Affine(tl.Tensor(np.eye(3), requires_grad=True), tl.Tensor(np.ones(3), requires_grad=True))
    tl.sum(tl.checkpoint(layer)(X, scale=2.0)).backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.outer(X, 2 / np.cosh(X) ** 2), rtol=1e-14)
    np.testing.assert_allclose(layer.bias.grad.numpy(), np.ones(3))


def test_random_numbers_in_a_rule_of_second_order_are_those_of_the_call():
    @tl.custom_vjp
    def noisy(x):
        return x * x * x * tl.random.normal(size=(3,))

    def forward(x):
        noise = tl.random.normal(size=(3,))
        return x * x * x * noise, (x, noise)

    noisy.defvjp(forward, lambda needed, g: (3 * needed[0] * needed[0] * needed[1] * g,))
    x = tl.Tensor(X, requires_grad=True)
    y = noisy(x)
    noise = y.detach() / X**3
    (first,) = tl.grad(y.sum(), [x], create_graph=True)
    (second,) = tl.grad(first.sum(), [x])
    np.testing.assert_allclose(second.numpy(), 6 * X * noise.numpy(), rtol=1e-12)
    with pytest.raises(GraphError, match=r"jit: custom_vjp\(noisy\) draws random numbers"):
        tl.jit(lambda x: noisy(x))(X)


def test_the_gradient_check_sees_a_wrong_rule():
    @tl.custom_vjp
    def sine(x):
        return tl.sin(x)

    sine.defvjp(lambda x: (sine(x), x), lambda x, g: (g * tl.cos(x),))
    check.assert_gradients(sine, X, order=2)
    sine.defvjp(lambda x: (sine(x), x), lambda x, g: (g * tl.sin(x),))
    with pytest.raises(AssertionError, match=r"culprit: custom_vjp\(sine\)"):
        check.assert_gradients(sine, X)


def test_a_rule_for_tangents_may_give_a_plain_number():
    @tl.custom_jvp
    def f(a, b):
        return a * b, a + b

    f.defjvp(lambda at, along: (f(*at), (along[0] * at[1] + at[0] * along[1], 1.0)))
    assert [float(t) for t in tl.jvp(f, [2.0, 3.0], [1.0, 0.0])[1]] == [3, 1]
    f.defjvp(lambda at, along: (f(*at), (2.0, 1.0)))
    assert [float(t) for t in tl.jvp(f, [2.0, 3.0], [1.0, 0.0])[1]] == [2, 1]


def seen_outside(block):
    """Blocks that find recorded tensors outside, of which one was computed from another."""

    def f(w, x):
        u = tl.sin(w) * 1.2
        s = x * w
        for _ in range(3):
            s = block(lambda s: tl.tanh(s * w) + u * s * x[0])(s)
        return s.sum() + block(lambda s: u)(s) * 2

    return f


def test_tensors_from_outside_that_depend_on_each_other_are_counted_once():
    w, x = np.array(1.1), np.array([0.3, -0.7])
    plain, blocks = seen_outside(lambda f: f), seen_outside(tl.checkpoint)
    h = 1e-6
    slope = (plain(w + h, x) - plain(w - h, x)).item() / (2 * h)
    assert tl.grad(blocks)(w, x).item() == pytest.approx(slope, rel=1e-8)
    for order in range(1, 4):
        np.testing.assert_allclose(
            tl.grad(blocks)(w, x).numpy(), tl.grad(plain)(w, x).numpy(), rtol=1e-13, err_msg=str(order)
        )
        np.testing.assert_allclose(
            tl.grad(blocks, 1)(w, x).numpy(), tl.grad(plain, 1)(w, x).numpy(), rtol=1e-13
        )
        plain, blocks = (lambda w, x, f=f: tl.grad(f)(w, x) for f in (plain, blocks))
    leaf = tl.Tensor(1.1, requires_grad=True)
    seen_outside(tl.checkpoint)(leaf, x).backward()
    assert leaf.grad.item() == pytest.approx(slope, rel=1e-8)
