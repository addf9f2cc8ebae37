"""Elementwise steps that recur are one loop each time; nothing that others need is lost, nothing is read too late."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops.index import Concat
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.plan.step import Buffer, Step
from tinygrad_lesson.run.fused import compiled
from tinygrad_lesson.run.operands import Operand
from tinygrad_lesson.run.pieces import Pieces
from tinygrad_lesson.run.recurring import OFTEN, made
from tinygrad_lesson.run.segment import told

W = np.random.default_rng(0).normal(scale=0.2, size=(25, 25)).astype(np.float32)
OPS = [
    lambda a, b: a * b,
    lambda a, b: (a + b) * 0.5,
    lambda a, b: tl.tanh(a) - b,
    lambda a, b: tl.sigmoid(a - b),
    lambda a, b: tl.tanh(a * b + a),
]


def written_out(seed, times=OFTEN + 4, steps=5):
    """A random function that does the same elementwise steps, then a product, so many times, and shows some values."""
    draw = np.random.default_rng(seed)
    plan = [(draw.integers(len(OPS)), -1, draw.integers(-3, 0)) for _ in range(steps)]
    shown = set(draw.integers(0, times * steps, draw.integers(0, 4)).tolist())

    def f(x, w):
        h, results = x, []
        for i in range(times):
            values = [x, x * 0.25, h]
            for number, (op, a, b) in enumerate(plan):
                values.append(OPS[op](values[a], values[b]))
                if i * steps + number in shown:
                    results.append(values[-1])
            h = values[-1] @ w
        return [tl.sum(h * h), *results]

    return f


def outcome(f, runner, kind, **settings):
    """All results and the gradients of the first, and the runners."""
    x = np.linspace(-1, 1, 600).reshape(24, 25).astype(kind)
    one = tl.jit(f, runner=runner, **settings)
    slope = tl.jit(tl.grad(lambda x, w: f(x, w)[0], argnums=(0, 1)), runner=runner, **settings)
    found = [*one(x, W.astype(kind)), *slope(x, W.astype(kind))]
    runners = [program.runner for g in (one, slope) for program in g.programs.values()]
    return [np.asarray(y.numpy()) for y in found], runners


@pytest.mark.parametrize(
    ("seed", "kind"), [*[(seed, "float32") for seed in range(8)], (8, "float64"), (9, "float64")]
)
def test_steps_that_recur_give_the_numbers_of_numpy(seed, kind):
    f = written_out(seed)
    found, runners = outcome(f, "vm", kind)
    wanted, _ = outcome(f, "numpy", kind)
    assert any("pattern recurring_loop" in str(runner) for runner in runners)
    near = 1e-5 if kind == "float32" else 1e-13
    for y, exact in zip(found, wanted, strict=True):
        np.testing.assert_allclose(y, exact, rtol=near, atol=near * np.abs(exact).max())


def with_gates(seed, times=OFTEN + 4, steps=5):
    """As `written_out`, but the product is taken apart each time, and some values are put together before the next."""
    draw = np.random.default_rng(seed)
    plan = [(draw.integers(len(OPS)), *draw.integers(-4, 0, 2)) for _ in range(steps)]
    axis, extra = int(draw.integers(2)), int(draw.integers(-3, 0))
    shown = set(draw.integers(0, times * 3, draw.integers(0, 3)).tolist())

    def f(x, w):
        w = tl.concat(w, w * 0.5, w - 0.1, dim=1)
        h, results, kept = x, [], []
        for i in range(times):
            gates = h @ w if axis else tl.concat(h @ w[:, :25], h @ w[:, 25:50], h @ w[:, 50:], dim=0)
            values = [h, *tl.split(gates, 3, axis=axis)]
            kept.append(gates)
            results += [value for number, value in enumerate(values[1:]) if 3 * i + number in shown]
            for op, a, b in plan:
                values.append(OPS[op](values[a], values[b]))
            h = tl.concat(values[-1][:, :10], values[extra][:, 10:], dim=1) if seed % 3 == 0 else values[-1]
        results += [tl.concat(*kept, dim=0) * 2.0] if seed % 2 else []
        return [tl.sum(h * h), *results]

    return f


@pytest.mark.parametrize(
    ("seed", "kind"), [*[(seed, "float32") for seed in range(12)], (12, "float64"), (13, "float64")]
)
def test_what_is_taken_apart_and_put_together_around_them_is_too(seed, kind):
    f = with_gates(seed)
    found, runners = outcome(f, "vm", kind)
    wanted, _ = outcome(f, "numpy", kind)
    assert any("pattern recurring_loop" in str(runner) for runner in runners)
    near = 1e-5 if kind == "float32" else 1e-13
    for y, exact in zip(found, wanted, strict=True):
        np.testing.assert_allclose(y, exact, rtol=near, atol=near * np.abs(exact).max())


def recurrent(units=25, steps=OFTEN + 3):
    """A recurrent network with gates, each of its steps written out."""
    names = "weight0", "weight1", "bias0", "bias1"
    (w0, w1, b0, b1), size = [sym.Variable(name) for name in names], 4 * units
    h = c = None
    for x in sym.SliceChannel(sym.Variable("data"), num_outputs=steps, axis=1, squeeze_axis=True):
        gates = sym.FullyConnected(x, w0, b0, num_hidden=size)
        gates = gates if h is None else gates + sym.FullyConnected(h, w1, b1, num_hidden=size)
        i, f, g, o = sym.SliceChannel(gates, num_outputs=4, axis=1)
        new = sym.sigmoid(i) * sym.tanh(g)
        c = new if c is None else sym.sigmoid(f) * c + new
        h = sym.sigmoid(o) * sym.tanh(c)
    return sym.MakeLoss(sym.sum(h * h))


@pytest.mark.parametrize(("kind", "near"), [("float32", 1e-4), ("float64", 1e-11)])
def test_gates_are_read_and_their_gradients_written_where_they_lie(kind, near):
    found, draw = [], np.random.default_rng(0)
    for runner in ("vm", "numpy"):
        made = recurrent().simple_bind(
            tl.cpu(), runner=runner, data=(24, OFTEN + 3, 25), type_dict={"data": kind}
        )
        for name, array in made.arguments.items():
            array[...] = found[0].arguments[name] if found else draw.normal(scale=0.3, size=array.shape)
        made.forward(is_train=True)
        made.backward()
        found.append(made)
    for name, gradient in found[0].gradients.items():
        exact = found[1].gradients[name]
        np.testing.assert_allclose(gradient, exact, rtol=near, atol=near * np.abs(exact).max())
    lines = str(found[0].runner(True)).splitlines()
    for op in ("Split", "Concat"):
        assert sum(op in line and "recurring_loop" in line for line in lines) >= OFTEN


def test_runs_that_are_alike_share_a_loop_and_take_an_instruction_each():
    compiled.cache_clear()
    f = written_out(3)
    _, (forward, _) = outcome(f, "vm", "float32")
    (segment,) = forward.calls[0]
    assert told(segment.tape).count("loop") >= OFTEN
    assert compiled.cache_info().misses < 8
    _, (forward, _) = outcome(f, "vm", "float32", passes=Passes(patterns=False))
    (segment,) = forward.calls[0]
    assert "loop" not in told(segment.tape)


def test_what_recurs_seldom_is_not_compiled():
    _, runners = outcome(written_out(3, times=OFTEN - 1), "vm", "float32")
    assert "recurring_loop" not in str(runners[0])


@pytest.mark.parametrize(
    ("place", "joins"), [(0, True), (4, False), (8000, True), (8004, False), (12_000, True), (16_000, False)]
)
def test_what_is_stored_where_others_are_yet_to_be_read_is_not_joined(place, joins):
    """Arrays of 1,000 numbers: x lies at 0, w at 8,000, exp(x) at 16,000; their sum at `place`. Both are wanted."""
    operands = [Operand(at, (1000,), (4,)) for at in (0, 8000, 16_000, place)]
    buffers = [Buffer((1000,), np.dtype("float32"), owner=v) for v in range(4)]
    readers = Counter({0: 1, 1: 1, 2: 2, 3: 1})
    runner = SimpleNamespace(
        operand=operands.__getitem__, plan=SimpleNamespace(buffers=buffers), readers=readers
    )
    steps = [Step(e.Exp(), (0,), (2,)), Step(e.Add(), (2, 1), (3,))]
    assert (made(runner, steps) is not None) == joins


@pytest.mark.parametrize(("place", "joins"), [(0, False), (4000, False), (7600, False), (8000, True)])
def test_arrays_are_put_together_at_once_only_where_nobody_reads(place, joins):
    """Arrays of 10 x 100 numbers: x lies at 0, w at 4,000; exp(x) and exp(x) + w become halves of what is at `place`."""
    operands = [Operand(at, (10, 100), (400, 4)) for at in (0, 4000, 24_000, 28_000)]
    whole = Operand(place, (10, 200), (800, 4))
    buffers = [Buffer((10, 100), np.dtype("float32"), owner=v) for v in range(4)]
    runner = SimpleNamespace(
        operand=operands.__getitem__,
        plan=SimpleNamespace(buffers=buffers),
        readers=Counter({0: 1, 1: 1, 2: 2, 3: 1}),
    )
    steps = [Step(e.Exp(), (0,), (2,)), Step(e.Add(), (2, 1), (3,))]
    parts = {v: Operand(place + 400 * i, (10, 100), (800, 4)) for i, v in enumerate((2, 3))}
    around = [Pieces(Step(Concat(dim=1), (2, 3), (4,)), whole, parts)]
    assert (made(runner, steps, around) is not None) == joins
    runner.readers[3] += 1  # of what is put together something is wanted alone too
    assert made(runner, steps, around) is None
