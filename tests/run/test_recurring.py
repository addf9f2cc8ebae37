"""Elementwise steps that recur are one loop each time; nothing that others need is lost, nothing is read too late."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.plan.step import Buffer, Step
from tinygrad_lesson.run.fused import compiled
from tinygrad_lesson.run.operands import Operand
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
