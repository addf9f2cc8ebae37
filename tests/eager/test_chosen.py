"""A choice as one op against Python's, in every transformation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import cond, custom_vjp, grad, jit, jvp, scan, vmap

W = np.random.default_rng(0).normal(size=(3, 3))


def true(w, x):
    return {"a": tl.tanh(w @ x), "b": (x * x).sum()}


def false(w, x):
    return {"a": x * 2, "b": tl.sqrt(tl.exp(x[0]) + (w @ w).sum() ** 2)}


def by_op(w, x):
    y = cond(x.sum() > 0, true, false, w, x)
    return (y["a"] * y["a"]).sum() + y["b"] * 3


CHANGES = {
    "itself": lambda f: f,
    "grad": lambda f: grad(f, (0, 1)),
    "jvp": lambda f: lambda w, x: jvp(f, [w, x], [np.cos(W), np.ones(3)])[1],
    "jvp of grad": lambda f: lambda w, x: jvp(grad(f, (0, 1)), [w, x], [np.cos(W), np.ones(3)])[1],
    "grad of grad": lambda f: grad(lambda *xs: sum((g * g).sum() for g in grad(f, (0, 1))(*xs)), (0, 1)),
}


def expected(change, w, x):
    """By Python's choice: `x.sum()` can be looked at where no trace is taken."""
    taken = true if x.sum() > 0 else false

    def f(w, x):
        y = taken(w, x)
        return (y["a"] * y["a"]).sum() + y["b"] * 3

    return CHANGES[change](f)(w, x)


def close(found, wanted):
    found, wanted = (y if isinstance(y, list | tuple) else [y] for y in (found, wanted))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)


X = np.array([[0.3, 0.4, 0.2], [-0.5, 0.2, -0.1]])


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_the_choice_of_python(change):
    f = jit(CHANGES[change](by_op))
    for x in X:
        close(f(W, x), expected(change, W, x))


PARTS = {
    "tanh": lambda w, x: tl.tanh(w @ x),
    "exp": lambda w, x: tl.exp(-x * x) * w[0],
    "square": lambda w, x: tl.square(x) - 0.5,
    "root": lambda w, x: tl.sqrt(x * x + 1),
    "sort": lambda w, x: tl.sort(x),
}


def composed(names):
    """What one of both does: some of them one after the other, of few ops or many."""

    def f(w, x):
        for name in names:
            x = PARTS[name](w, x)
        return {"a": x, "b": tl.sum(x * w)}

    return f


SOME = st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=4)


@given(
    SOME, SOME, st.sampled_from(sorted(CHANGES)), st.sampled_from([(None, None), (None, 0), (0, 0), (0, None)]),
    st.floats(-1, 1), st.integers(0, 1 << 30),
)  # fmt: skip
def test_any_choice_in_any_transformation(first, second, change, axes, limit, seed):
    """Alone in a plan, or for samples that choose each or together."""
    draw = np.random.default_rng(seed).normal
    both, rows = [composed(first), composed(second)], [(draw(size=(3, 3)), draw(size=3)) for _ in range(3)]
    rows = [[row[i] if axis == 0 else rows[0][i] for i, axis in enumerate(axes)] for row in rows]

    def by_op(w, x):
        y = cond(x.sum() > limit, *both, w, x)
        return (y["a"] * y["a"]).sum() + y["b"] * 3

    def plain(x):
        taken = both[0] if x.sum() > limit else both[1]
        return lambda w, x: (taken(w, x)["a"] ** 2).sum() + taken(w, x)["b"] * 3

    f = CHANGES[change](by_op)
    wanted = [CHANGES[change](plain(x))(w, x) for w, x in rows]
    if axes == (None, None):
        close(jit(f)(*rows[0]), wanted[0])
        return
    given = [np.stack([row[i] for row in rows]) if axis == 0 else rows[0][i] for i, axis in enumerate(axes)]
    columns = zip(*[y if isinstance(y, list | tuple) else [y] for y in wanted], strict=True)
    expected = [tl.stack(list(column)) for column in columns]
    for batch in (vmap(f, axes), jit(vmap(f, axes))):
        close(batch(*given), expected)


def test_inside_of_a_loop():
    def by_cond(s, x):
        y = cond(s["a"].sum() + x > 0, true, false, W * 0.3, s["a"])
        return {"a": y["a"] * 0.9, "b": y["b"] + s["b"]}

    def plain(s, x):
        y = (true if s["a"].detach().sum().item() + x > 0 else false)(W * 0.3, s["a"])
        return {"a": y["a"] * 0.9, "b": y["b"] + s["b"]}

    xs = np.sin(np.arange(20.0))

    def by_scan(a):
        state, ys = scan(lambda s, x: (by_cond(s, x), s["a"].sum()), {"a": a, "b": tl.tensor(0.0)}, xs)
        return state["b"] + (ys * ys).sum()

    a = tl.tensor(X[0], requires_grad=True)
    s, total, choices = {"a": a, "b": tl.tensor(0.0)}, 0.0, set()
    for x in xs:
        choices.add(bool(s["a"].detach().sum().item() + x > 0))
        total = total + s["a"].sum() ** 2
        s = plain(s, x)
    (s["b"] + total).backward()
    assert choices == {True, False}
    close(by_scan(X[0]), (s["b"] + total).detach())
    close(grad(by_scan)(X[0]), a.grad)
    close(jit(grad(by_scan))(X[0]), a.grad)


def test_one_of_both_is_carried_out():
    calls = []

    def counted(name):
        def forward(x):
            calls.append(name)
            return x * 2, None

        f = custom_vjp(lambda x: x * 2)
        f.defvjp(forward, lambda needed, g: (g * 2,))
        return f

    one, other = counted("one"), counted("other")
    f = jit(lambda x: cond(x.sum() > 0, one, other, x))
    f(np.ones(2))
    del calls[:]
    close(f(np.ones(2)), tl.tensor([2.0, 2.0]))
    assert set(calls) == {"one"}
    del calls[:]
    f(-np.ones(2))
    assert set(calls) == {"other"}


def test_what_is_not_taken_makes_no_nan():
    f = jit(grad(lambda x: cond(x.sum() > 0, lambda x: tl.sqrt(x @ x), lambda x: (x @ x) * 2, x)))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(f(np.zeros(3)).numpy(), 0)
        np.testing.assert_allclose(f(np.ones(3)).numpy(), 1 / np.sqrt(3))
        np.testing.assert_allclose(vmap(f)(np.stack([np.zeros(3), np.ones(3)])).numpy()[0], 0)


def test_a_plan_has_one_step_for_a_choice():
    f = jit(grad(by_op))
    f(W, X[0])
    (program,) = f.programs.values()
    names = [step.op.name for step in program.plan.forward]
    assert names.count("Cond") == 2
    assert "where" not in str(program.plan)
