"""`scan` and `cond` against Python's own loop and choice."""

import tracemalloc

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, cond, grad, jit, jvp, scan, vmap
from tinygrad_lesson.errors import DTypeError, ShapeError

X = np.random.default_rng(0).normal(size=(11, 3))


def step(state, x):
    q, v = state["q"], state["v"]
    v = v - 0.1 * tl.sin(q) + 0.01 * x
    return {"q": q + 0.1 * v, "v": v}, (q * x, v.sum())


def by_hand(init, xs):
    state, rows = init, []
    for x in xs:
        state, y = step(state, Tensor(x))
        rows.append(y)
    return state, tuple(np.stack([y[i].numpy() for y in rows]) for i in range(2))


INIT = {"q": Tensor(np.ones(3)), "v": Tensor(np.zeros(3))}


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_it_is_the_loop(checkpoint, reverse):
    xs = X[::-1] if reverse else X
    state, ys = by_hand(INIT, xs)
    found, rows = scan(step, INIT, X, reverse=reverse, checkpoint=checkpoint)
    for name in ("q", "v"):
        np.testing.assert_array_equal(found[name].numpy(), state[name].numpy())
    for y, z in zip(rows, ys, strict=True):
        np.testing.assert_array_equal(y.numpy(), z[::-1] if reverse else z)


def result(q, xs, checkpoint=False, reverse=False):
    state, (ys, _) = scan(step, {"q": q, "v": q * 0}, xs, checkpoint=checkpoint, reverse=reverse)
    return (state["q"] * state["v"]).sum() + (ys * ys).sum()


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_are_those_of_differences_in_both_modes(reverse):
    q, (t, s) = np.ones(3), (np.arange(3.0), np.cos(X))
    h = 1e-5
    slope = (
        result(q + h * t, X + h * s, reverse=reverse) - result(q - h * t, X - h * s, reverse=reverse)
    ).item() / (2 * h)
    for checkpoint in (False, True):
        f = lambda q, xs, c=checkpoint: result(q, xs, c, reverse)  # noqa: E731
        dq, dx = grad(f, (0, 1))(q, X)
        assert (dq.numpy() @ t + np.sum(dx.numpy() * s)) == pytest.approx(slope, rel=1e-8)
        assert jvp(f, [q, X], [t, s])[1].item() == pytest.approx(slope, rel=1e-8)


def test_transformations_of_a_loop():
    f = lambda q: result(q, X)  # noqa: E731
    qs = np.random.default_rng(1).normal(size=(4, 3))
    expected = np.stack([grad(f)(q).numpy() for q in qs])
    np.testing.assert_allclose(vmap(grad(f))(qs).numpy(), expected)
    np.testing.assert_allclose(jit(grad(f))(qs[0]).numpy(), expected[0])
    np.testing.assert_allclose(jit(grad(lambda q: result(q, X, True)))(qs[0]).numpy(), expected[0])
    np.testing.assert_allclose(
        tl.hessian(lambda q: result(q, X, True))(qs[0]).numpy(), tl.hessian(f)(qs[0]).numpy(), rtol=1e-12
    )


def test_steps_without_xs_and_without_results():
    state, ys = scan(lambda s, x: (s * 2, None), 1.0, length=5)
    assert (state.item(), ys) == (32.0, None)
    state, ys = scan(lambda s, x: (s * 2, None), np.float64(1.0), length=5, checkpoint=True)
    assert (state.item(), ys) == (32.0, None)
    state, ys = scan(
        lambda s, x: (s + x["a"] * x["b"], s), 0.0, {"a": np.arange(9.0), "b": np.ones(9)}, checkpoint=True
    )
    assert (state.item(), ys.shape) == (36.0, (9,))


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("count", [5, 40])
def test_a_state_may_be_nothing_or_hold_nothing(count, checkpoint):
    xs = np.arange(float(count))

    def doubled(xs):
        return scan(lambda s, x: (None, x * x), None, xs, checkpoint=checkpoint)[1].sum()

    def added(xs):
        state, ys = scan(lambda s, x: ((s[0] + x, None), s[0]), (0.0, None), xs, checkpoint=checkpoint)
        assert state[1] is None
        return state[0] * state[0] + ys.sum()

    np.testing.assert_array_equal(tl.grad(doubled)(xs).numpy(), 2 * xs)
    np.testing.assert_array_equal(tl.grad(added)(xs).numpy(), 2 * xs.sum() + np.arange(count)[::-1])


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: scan(lambda s, x: (s, s), 0.0), ShapeError, "no length, expected one number of steps"),
        (lambda: scan(lambda s, x: (s, s), 0.0, (np.ones(2), np.ones(3))), ShapeError, r"\(2,\) and \(3,\)"),
        (lambda: scan(lambda s, x: (s, s), 0.0, np.ones(2), 3), ShapeError, r"\(2,\) and \(3,\)"),
        (lambda: scan(lambda s, x: s, 0.0, np.ones(2)), DTypeError, "expected a pair"),
        (lambda: scan(lambda s, x: (x, x), None, X), DTypeError, "after a step, None before"),
        (
            lambda: scan(lambda s, x: (s + x, s), 0.0, X),
            ShapeError,
            r"the state is \(3,\) after a step, \(\) before",
        ),
        (
            lambda: scan(lambda s, x: (s + x, s), np.ones(3, np.float32), X),
            DTypeError,
            "float64 after a step, float32",
        ),
        (lambda: cond(np.ones(2), tl.exp, tl.log, 1.0), ShapeError, r"the condition is \(2,\), expected one"),
    ],
)
def test_an_error_says_what_is_wrong(call, error, told):
    with pytest.raises(error, match=told):
        call()


@pytest.mark.parametrize("recorded", [False, True])
def test_tensors_that_a_step_finds_outside_get_their_gradients(recorded):
    def slopes(checkpoint):
        w, q = Tensor(1.1, requires_grad=True), Tensor(1.0, requires_grad=recorded)
        u = tl.sin(w) * 1.2
        scan(lambda s, x: (s * u + x, s), q, np.arange(9.0), checkpoint=checkpoint)[0].backward()
        return w.grad.item(), q.grad.item() if recorded else 0.0

    assert slopes(True) == pytest.approx(slopes(False), rel=1e-13)


def test_a_checkpoint_has_second_derivatives_by_what_it_finds_outside():
    f = lambda w: scan(lambda s, x: (s * w, None), w, length=9, checkpoint=True)[0]  # noqa: E731
    for second in (grad(grad(f)), tl.hessian(f)):
        assert second(1.1).item() == pytest.approx(90 * 1.1**8)
    assert grad(grad(grad(f)))(1.1).item() == pytest.approx(720 * 1.1**7)


@pytest.mark.parametrize("change", [jit, lambda f: lambda x: vmap(f)(np.stack([x]))[0]])
def test_the_choice_that_is_not_taken_makes_no_nan(change):
    f = change(lambda x: cond(x > 0, tl.sqrt, lambda x: x * 2, x))
    with np.errstate(all="ignore"):  # the root is taken all the same
        assert [grad(f)(np.array(x)).item() for x in (-1.0, 4.0, 0.0)] == [2.0, 0.25, 2.0]


def peak(f):
    f()
    tracemalloc.start()
    f()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_of_checkpoints_grows_as_the_root_of_the_steps():
    def f(count, checkpoint):
        last = lambda q: scan(lambda s, x: (tl.sin(s) * 1.1, None), q, length=count, checkpoint=checkpoint)[0]  # noqa: E731
        return lambda: grad(lambda q: last(q).sum())(np.ones(10_000))

    few, many = (peak(f(count, True)) for count in (64, 1024))
    assert many < 5 * few  # the root of 16 is 4
    assert peak(f(1024, False)) > 8 * many


def test_a_split_loop_costs_in_proportion_to_its_steps():
    """Each slice of its own would give back a whole array of zeros: 16 MB for each step here."""
    xs = np.ones((2000, 1000))
    assert (
        peak(lambda: grad(lambda xs: scan(lambda s, x: (s + x.sum(), None), 0.0, xs)[0])(xs)) < 8 * xs.nbytes
    )


def test_a_choice():
    assert cond(True, lambda x: x + 1, lambda x: 1 / 0, 1.0) == 2.0
    f = lambda x: cond(x.sum() > 0, lambda x: x * 2, tl.exp, x)  # noqa: E731
    np.testing.assert_allclose(f(Tensor(X[0])).numpy(), X[0] * 2 if X[0].sum() > 0 else np.exp(X[0]))
    expected = np.stack([f(Tensor(x)).numpy() for x in X])
    assert {X[i].sum() > 0 for i in range(11)} == {True, False}
    np.testing.assert_allclose(vmap(f)(X).numpy(), expected)
    np.testing.assert_allclose(np.stack([jit(f)(x).numpy() for x in X]), expected)
    slopes = np.where(X.sum(axis=1, keepdims=True) > 0, 2, np.exp(X))
    for derivative in (grad(lambda x: f(x).sum()), lambda x: jvp(f, [x], [np.ones(3)])[1]):
        np.testing.assert_allclose(vmap(derivative)(X).numpy(), slopes)
        np.testing.assert_allclose(np.stack([derivative(x).numpy() for x in X]), slopes)
    tree = cond(np.array(0), lambda: {"a": (1.0, None)}, lambda: {"a": (2.0, None)})
    assert tree == {"a": (2.0, None)}
