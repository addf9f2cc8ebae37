"""What is fetched ahead: what lay untouched for long, in large plans alone, and without a change of numbers."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="the interpreter is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run.interpreter import AHEAD, WIDTH
from tinygrad_lesson.run.operands import Operand, noted
from tinygrad_lesson.run.prefetch import EARLY, FAR, LARGE, LATE, MOST, far_operands, fetch_ahead


def touching(*offsets, size=100):
    """An instruction that touches arrays at these offsets."""
    return noted([[1, 2, 3]], [Operand(at, (size,), (1,)) for at in offsets])[0]


def test_what_was_touched_lately_is_near():
    rows = [touching(0), touching(0, 500), *[[9]] * FAR, touching(0)]
    assert [(r, x.offset) for r, x in far_operands(rows)] == [(0, 0), (1, 500), (FAR + 2, 0)]


def test_an_earlier_instruction_fetches_whole_lines_and_what_lies_right_behind_comes_along():
    rows = [
        touching(0),
        *[touching(7)] * 50,
        touching(1000),
        touching(1100, size=10),
        touching(10**6, size=LARGE),
    ]
    rows = [noted([list(row)], row.touched)[0] for row in rows]
    fetch_ahead(rows)
    found = {r: (row[AHEAD] % (1 << 48), row[AHEAD] >> 48) for r, row in enumerate(rows) if len(row) > AHEAD}
    assert found == {51 - EARLY: (1000, 8), 53 - EARLY: (10**6, MOST)}
    assert all(len(row) <= WIDTH for row in rows)


def test_instructions_whose_words_are_taken_are_left_alone():
    rows = [touching(7) for _ in range(20)]
    rows += [touching(10**6, size=LARGE)]
    for r in range(20 - EARLY, 20 - LATE):
        rows[r] += [0] * (WIDTH - len(rows[r]))
    before = [list(row) for row in rows]
    fetch_ahead(rows)
    assert rows == before


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
    assert one.runner(True).tape[:, AHEAD].any() == expected
    for name, gradient in other.gradients.items():
        np.testing.assert_allclose(one.gradients[name], gradient, rtol=1e-4, atol=1e-7, err_msg=name)


def test_nothing_is_fetched_ahead_where_patterns_are_off():
    executor = residual(300).simple_bind(tl.cpu(), data=(20, 4), runner="vm", passes=Passes(patterns=False))
    executor.forward(is_train=True)
    assert not executor.runner(True).tape[:, AHEAD].any()
