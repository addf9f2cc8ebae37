"""A loop as one op against the loop written out, in every transformation, by both runners."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad, jit, jvp, run, scan, vmap

COUNT = 23  # by parts of 5 some are left over


def written_out(f, init, xs, count, reverse):
    """The loop in Python."""
    state, ys = init, []
    for i in range(count)[:: -1 if reverse else 1]:
        state, y = f(state, {name: x[i] for name, x in xs.items()})
        ys.append(y)
    ys = ys[:: -1 if reverse else 1]
    return state, {name: tl.stack([y[name] for y in ys]) for name in ys[0]}


def body(w, kind):
    """Steps of several kinds: of elements, of products, with a choice, with a state of integers."""

    def step(state, x):
        a, b, k = state["a"], state["b"], state["k"]
        if kind == "elements":
            b = 0.9 * b - 0.1 * tl.sin(a) * w[0, 0] + x["u"] * x["v"]
        elif kind == "products":
            b = tl.tanh(w @ b + x["u"]) + 0.1 * a * x["v"]
        else:
            b = tl.where(b > 0, 0.5 * b * w[0], tl.exp(b) - 1 + x["v"] * w[1]) + tl.where(
                k % 3 > 0, tl.sin(x["u"]), x["u"]
            )
        return {"a": a + 0.1 * b, "b": b, "k": k + 1}, {"sum": (a * b).sum(), "all": a * x["v"]}

    return step


def energy(loop, kind, reverse=False):
    """A number that depends on all results of a loop, as a function of all it sees."""

    def f(w, a, b, u, v):
        init = {"a": a, "b": b, "k": Tensor(np.array(2))}
        state, ys = loop(body(w, kind), init, {"u": u, "v": v}, u.shape[0], reverse)
        place = np.linspace(0.5, 1.5, u.shape[0]).astype(u.dtype)  # so that the order of rows counts
        told = (ys["sum"] ** 2 * place).sum() + tl.cos(ys["all"] * place[:, None]).sum()
        return (state["a"] * state["b"]).sum() + told + state["k"]

    return f


def as_op(f, init, xs, count, reverse):
    return scan(f, init, xs, reverse=reverse)


def in_parts(f, init, xs, count, reverse):
    return scan(f, init, xs, reverse=reverse, checkpoint=True)


def arguments(seed=0, count=COUNT, size=3):
    draw = np.random.default_rng(seed).normal
    return [
        0.5 * draw(size=(size, size)), draw(size=size), draw(size=size),
        0.3 * draw(size=(count, size)), draw(size=(count, size)),
    ]  # fmt: skip


KINDS = ["elements", "products", "choices"]
LOOPS = {"op": as_op, "parts": in_parts}
CHANGES = {
    "itself": lambda f: f,
    "grad": lambda f: grad(f, (0, 1, 2, 3, 4)),
    "jvp": lambda f: lambda *xs: jvp(f, xs, [np.cos(x) for x in xs])[1],
    "grad of grad": lambda f: grad(
        lambda *xs: sum((g * g).sum() for g in grad(f, (0, 2, 4))(*xs)), (0, 1, 3)
    ),
    "jvp of grad": lambda f: lambda *xs: jvp(grad(f, (0, 1, 3)), xs, [np.sin(x) for x in xs])[1],
    "grad of jvp": lambda f: grad(
        lambda *xs: jvp(f, xs, [np.cos(np.arange(x.size)).reshape(x.shape) for x in xs])[1], (0, 4)
    ),
    "jvp of jvp": lambda f: lambda *xs: jvp(
        lambda *xs: jvp(f, xs, [np.cos(np.arange(x.size)).reshape(x.shape) for x in xs])[1], xs,
        [np.ones(x.shape) for x in xs],
    )[1],
}  # fmt: skip


def as_list(found):
    return list(found) if isinstance(found, list | tuple) else [found]


def close(found, expected):
    for a, b in zip(as_list(found), as_list(expected), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_it_is_the_loop_written_out(kind, change):
    xs, reverse = arguments(), (KINDS.index(kind) + len(change)) % 2 == 0
    expected = CHANGES[change](energy(written_out, kind, reverse))(*xs)
    for loop in LOOPS.values():
        f = CHANGES[change](energy(loop, kind, reverse))
        close(f(*xs), expected)
        close(jit(f)(*xs), expected)


@pytest.mark.parametrize(
    ("kind", "change", "axes"),
    [
        ("choices", "itself", (0, 0, 0, 1, 0)),
        ("products", "grad", (None, 0, None, None, None)),
        ("elements", "grad", (None, None, None, 1, None)),
        ("products", "jvp of grad", (0, None, None, None, None)),
    ],
)
def test_a_batch_of_loops_is_a_loop_of_a_batch(kind, axes, change):
    many = [arguments(seed) for seed in range(4)]
    xs = [np.stack([row[i] for row in many], axis) if axis is not None else many[0][i]
          for i, axis in enumerate(axes)]  # fmt: skip
    rows = [[row[i] if axis is not None else many[0][i] for i, axis in enumerate(axes)] for row in many]
    expected = [CHANGES[change](energy(written_out, kind))(*row) for row in rows]
    for loop in LOOPS.values():
        f = CHANGES[change](energy(loop, kind))
        found = vmap(f, axes)(*xs)
        close(jit(vmap(f, axes))(*xs), found)
        if change == "itself":
            close(found, tl.stack(expected))
        else:
            close(found, [tl.stack(list(parts)) for parts in zip(*expected, strict=True)])


@given(
    st.integers(1, 40),
    st.integers(2, 9),
    st.sampled_from(KINDS),
    st.booleans(),
    st.sampled_from(sorted(CHANGES)),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.integers(0, 1 << 30),
)
def test_any_loop_in_any_transformation(count, size, kind, reverse, change, flags, seed):
    """Two samples, in which those arguments differ that have a flag; without any of them it is no batch."""
    many = [arguments(seed + k, count, size) for k in range(2 if any(flags) else 1)]
    rows = [[row[i] if flag else many[0][i] for i, flag in enumerate(flags)] for row in many]
    expected = [as_list(CHANGES[change](energy(written_out, kind, reverse))(*row)) for row in rows]
    expected = [tl.stack(list(parts)) for parts in zip(*expected, strict=True)]
    xs = [np.stack([row[i] for row in many]) if flag else many[0][i] for i, flag in enumerate(flags)]
    for loop in LOOPS.values():
        f = CHANGES[change](energy(loop, kind, reverse))
        batch = vmap(f, tuple([0 if flag else None for flag in flags]))
        found = as_list(batch(*xs) if any(flags) else f(*xs))
        close(found if any(flags) else [x[None] for x in found], expected)


@pytest.mark.parametrize("runner", run.available_runners())
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_runner_carries_it_out(monkeypatch, runner, kind, dtype):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    xs = [x.astype(dtype) for x in arguments()]
    expected = grad(energy(written_out, kind), (0, 1, 2, 3, 4))(*xs)
    for f in (grad(energy(as_op, kind), (0, 1, 2, 3, 4)), jit(grad(energy(as_op, kind), (0, 1, 2, 3, 4)))):
        for g, e in zip(f(*xs), expected, strict=True):
            assert g.dtype == e.dtype == dtype
            np.testing.assert_allclose(
                g.numpy(), e.numpy(), rtol=1e-9 if dtype == np.float64 else 2e-4, atol=1e-4
            )


def test_a_body_sees_tensors_of_every_transformation_around_it():
    x = np.linspace(0.1, 1.0, 20)

    def f(w, u):
        inner = lambda q: scan(lambda s, v: (tl.sin(s * w) + v * u, None), q, x)[0]  # noqa: E731
        return grad(inner)(u) + jvp(inner, [w], [u])[1]

    def plain(w, u):
        def inner(q):
            for v in x:
                q = tl.sin(q * w) + v * u
            return q

        return grad(inner)(u) + jvp(inner, [w], [u])[1]

    ws, us = np.linspace(0.3, 0.9, 4), np.linspace(0.5, 0.8, 4)
    close(vmap(f)(ws, us), tl.stack([plain(w, u) for w, u in zip(ws, us, strict=True)]))
    close(tl.hessian(f)(ws[0], us[0]), tl.hessian(plain)(ws[0], us[0]))
    close(grad(grad(f))(ws[0], us[0]), grad(grad(plain))(ws[0], us[0]))


def test_loops_inside_of_loops():
    def f(loop):
        def outer(s, x):
            inner, _ = loop(lambda t, y: (tl.sin(t) * s["w"] + y * x["u"], {"n": t}), s["q"], x["v"])
            return {"q": inner, "w": s["w"]}, {"q": inner}

        def value(w, q, u, v):
            xs = {"u": u, "v": v}
            return (
                loop(outer, {"q": q, "w": w}, xs)[0]["q"]
                if loop is not plain
                else plain(outer, {"q": q, "w": w}, xs)[0]["q"]
            )

        return value

    def plain(f, init, xs):
        count = len(xs["u"]) if isinstance(xs, dict) else len(xs)
        for i in range(count):
            init, y = f(init, {name: x[i] for name, x in xs.items()} if isinstance(xs, dict) else xs[i])
        return init, y

    draw = np.random.default_rng(3).normal
    xs = [np.array(0.7), np.array(0.2), draw(size=17), draw(size=(17, 18))]
    close(grad(f(scan), (0, 1, 2, 3))(*xs), grad(f(plain), (0, 1, 2, 3))(*xs))


def test_a_body_is_called_once_where_a_graph_can_stand_for_it():
    calls = []

    def step(s, x):
        calls.append(1)
        return s * x, s

    scan(step, 1.0, np.ones(50))
    assert len(calls) == 1


def test_a_body_that_looks_at_values_or_draws_is_called_in_each_step():
    state, ys = scan(lambda s, x: (s - 1 if s > 5 else s + x, s), 0.0, np.ones(50))
    s, expected = 0.0, []
    for _ in range(50):
        expected.append(s)
        s = s - 1 if s > 5 else s + 1
    assert state.item() == s
    assert ys.numpy().tolist() == expected
    tl.manual_seed(0)
    _, ys = scan(lambda s, x: (s, tl.random.normal(size=())), 0.0, np.ones(50))
    tl.manual_seed(0)
    assert ys.numpy().tolist() == [tl.random.normal(size=()).item() for _ in range(50)]


def test_a_plan_has_one_step_for_a_loop_which_computes_what_is_asked_for_alone():
    f = jit(grad(energy(as_op, "elements"), 1))
    xs = arguments()
    f(*xs)
    (program,) = f.programs.values()
    forward, back = [step for step in program.plan.forward if step.op.name == "Scan"]
    assert forward.op.length == back.op.length == COUNT
    assert (forward.op.carried, back.op.carried) == (
        2,
        2,
    )  # k is no part of it, nor is a sum of gradients by w
    assert len(back.op.body.results) == 2  # none by u and v either
    assert len(program.plan.forward) < 20


@pytest.mark.parametrize("steps", [1, 2, 5, 999, 1000, 1001, 5000])
def test_every_number_of_steps_by_machine_code(monkeypatch, steps):
    monkeypatch.setattr("tinygrad_lesson.eager.loops.LEAST", 1)
    xs = np.random.default_rng(0).normal(size=(steps, 2))
    found = {}
    for name in run.available_runners():
        monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", name)
        (last, rows), slope = tl.vjp(lambda s: scan(gated, s, xs), np.array([0.2, -0.4]))
        gs = tl.tensor([1.0, 2.0]), tl.tensor(np.cos(np.arange(2.0 * steps)).reshape(steps, 2))
        found[name] = [last.numpy(), rows.numpy(), slope(gs)[0].numpy()]
    for parts in zip(*found.values(), strict=True):
        for part in parts[1:]:
            np.testing.assert_allclose(part, parts[0], rtol=1e-10, atol=1e-12)


def gated(s, x):
    return tl.where(s > 0.5, s * 0.5, s + tl.exp(-s * s) * 0.1 + x * 0.01), s * x
