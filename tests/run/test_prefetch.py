"""What is fetched ahead: what lay untouched for long, in large plans alone, and without a change of numbers."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run.operands import Operand, noted
from tinygrad_lesson.run.prefetch import EARLY, FAR, LARGE, MOST, far_operands, fetch_ahead
from tinygrad_lesson.run.segment import told
from tinygrad_lesson.run.tape import loops
from tinygrad_lesson.run.tape.machine import address


def touching(*offsets, size=100):
    """An instruction that touches arrays at these offsets."""
    return noted([[1, 2, 3]], [Operand(at, (size,), (4,)) for at in offsets])[0]


def test_what_was_touched_lately_is_near():
    rows = [touching(0), touching(0, 500), *[[9]] * FAR, touching(0)]
    assert [(r, x.offset) for r, x in far_operands(rows)] == [(0, 0), (1, 500), (FAR + 2, 0)]


def test_an_earlier_instruction_fetches_whole_lines_and_what_lies_right_behind_comes_along():
    rows = [
        touching(0),
        *[touching(7)] * 50,
        touching(4000),
        touching(4400, size=10),
        touching(4 * 10**6, size=LARGE // 4),
    ]
    found = fetch_ahead(rows)
    fetches = {i: row for i, row in enumerate(found) if row[0] == address(loops.fetched)}
    assert fetches == {
        51 - EARLY: [address(loops.fetched), 4000, 8],
        53 - EARLY + 1: [address(loops.fetched), 4 * 10**6, MOST],
    }
    assert [row for row in found if row not in fetches.values()] == rows


def residual(layers):
    """A residual network, bound with small random weights, one batch in place, run once forward and backward."""
    x = sym.relu(sym.FullyConnected(sym.Variable("data"), num_hidden=10, name="first"))
    for i in range(layers):
        x = x + sym.relu(sym.FullyConnected(x, num_hidden=10, name=f"fc{i}"))
    return sym.MakeLoss(sym.mean(x * x))


@pytest.mark.parametrize(("layers", "expected"), [(20, False), (300, True)])
def test_large_plans_fetch_ahead_and_give_the_same_numbers(layers, expected):
    symbol, seen = residual(layers), []
    for runner in ("vm", "numpy"):
        executor = symbol.simple_bind(tl.cpu(), data=(20, 4), runner=runner)
        generator = np.random.default_rng(0)
        for array in executor.arguments.values():
            array[...] = generator.normal(size=array.shape, scale=0.3 / layers**0.5)
        executor.forward(is_train=True, data=generator.normal(size=(20, 4)))
        executor.backward()
        seen.append(executor)
    one, other = seen
    assert ("fetched" in told(one.runner(True).tape)) == expected
    for name, gradient in other.gradients.items():
        np.testing.assert_allclose(one.gradients[name], gradient, rtol=1e-4, atol=1e-7, err_msg=name)


def test_nothing_is_fetched_ahead_where_patterns_are_off():
    executor = residual(300).simple_bind(tl.cpu(), data=(20, 4), runner="vm", passes=Passes(patterns=False))
    executor.forward(is_train=True)
    assert "fetched" not in told(executor.runner(True).tape)
