"""Loops of a plan: by NumPy step after step, as a tape whose words move on, and as one loop of elements."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import run
from tinygrad_lesson.eager.stepped import derived_body
from tinygrad_lesson.run import NumpyRunner

pytest.importorskip("llvmlite")
rolled = pytest.importorskip("tinygrad_lesson.run.rolled")
rounds = pytest.importorskip("tinygrad_lesson.run.rounds")
RUNNER = run.compiled_parts()[0]


def pendulum(w, q, v, x, y):
    """States q and v, rows x and y; w is what all steps see. Damped, so that roundings die away."""
    v = 0.5 * v - 0.1 * tl.sin(q) * tl.where(x > 0, w, -w) + tl.cos(x * w)
    return 0.9 * q + 0.1 * v, v, q * y, tl.where(v > 0, v, -q)


def network(w, q, v, x, y):
    """The same form, with a product."""
    v = tl.tanh(v @ w + x)
    return 0.5 * q + v.sum(), v * 0.5, v * y, q


def crossed(w, q, v, x, y):
    """States change places, one is a row, and one depends on nothing."""
    return v, q, v, x * 2


def loop(runner, body, arrays, order, carried=2, scanned=2):
    shapes = body.results[carried:]
    rows = [np.full((len(order), *shape), np.nan, dtype) for shape, dtype in shapes]
    return [*runner.loop(order, arrays, carried, scanned, rows), *rows]


def made(f, size, steps, dtype, seed=0):
    draw = np.random.default_rng(seed).normal
    shapes = {pendulum: [(), size, size, size, size], crossed: [(), size, size, size, size]}
    shapes[network] = [(3, 3), (), (3,), (3,), ()]
    examples = [draw(size=shape).astype(dtype) for shape in shapes[f]]
    rows = [draw(size=(steps, *shape)).astype(dtype) for shape in shapes[f][3:]]
    return derived_body("scan", f, examples)[0], [*examples[:3], *rows]


def ways(body, count):
    """A runner for each way."""
    found = {"rounds": body.runner(RUNNER)}
    found["rounds"].loops.clear()
    return body.runner(NumpyRunner), found["rounds"]


@pytest.mark.parametrize("order", [range(1), range(2), range(7), range(7)[::-1], range(8)[::-1], range(9000)])
@pytest.mark.parametrize("f", [pendulum, network, crossed])
@pytest.mark.parametrize(
    ("size", "dtype"),
    [((), np.float64), ((3,), np.float64), ((2, 8), np.float32), ((2, 19), np.float32)],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_all_ways_give_the_same(monkeypatch, order, f, size, dtype, compiled):
    body, arrays = made(f, size, len(order), dtype)
    plain, tape = ways(body, len(order))
    monkeypatch.setattr("tinygrad_lesson.run.vm.MANY", 0 if compiled else 1 << 60)
    expected = loop(plain, body, arrays, order)
    before = [x.copy() for x in arrays]
    for _ in range(2):  # nothing is left of the first time
        found = loop(tape, body, arrays, order)
        for x, y in zip(found, expected, strict=True):
            assert x.dtype == y.dtype == dtype
            np.testing.assert_allclose(
                x, y, rtol=1e-9 if dtype == np.float64 else 2e-3, atol=1e-9 if dtype == np.float64 else 2e-3
            )
    ((way, _),) = tape.loops.values()
    fits = f is not network and np.prod(size) <= 16
    assert type(way) is (rolled.Rolled if compiled and fits else rounds.Rounds)
    for x, y in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_loop_is_carried_out_a_part_at_a_time(monkeypatch):
    """So that Ctrl-C may come between: the states are handed on, and rows go on where they were."""
    monkeypatch.setattr(rounds, "AT_ONCE", 3)
    monkeypatch.setattr(rolled, "AT_ONCE", 9)
    for many in (0, 1 << 60):
        monkeypatch.setattr("tinygrad_lesson.run.vm.MANY", many)
        for order in (range(20), range(20)[::-1]):
            body, arrays = made(pendulum, (3,), 20, np.float64)
            plain, tape = ways(body, 20)
            for x, y in zip(loop(tape, body, arrays, order), loop(plain, body, arrays, order), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-12)


def test_a_step_that_needs_numpy_is_carried_out_by_it():
    def f(s, x):
        return tl.sort(s * 0.9 + x), s[0]

    body, _ = derived_body("scan", f, [np.ones(4), np.ones(4)])
    xs = np.random.default_rng(0).normal(size=(6, 4))
    found = [
        loop(body.runner(name), body, [np.arange(4.0), xs], range(6), 1, 1) for name in (NumpyRunner, RUNNER)
    ]
    assert [way for way, _ in body.runner(RUNNER).loops.values()] == [None]
    s, expected = np.arange(4.0), []
    for x in xs:
        expected.append(s[0])
        s = np.sort(s * 0.9 + x)
    for last, rows in found:
        np.testing.assert_allclose(last, s, rtol=1e-14)
        np.testing.assert_allclose(rows, expected, rtol=1e-14)


@pytest.mark.parametrize("f", [tl.sin, tl.cos, tl.tan])
def test_angles_one_by_one_are_those_of_vectors_bit_for_bit(monkeypatch, f):
    """One at a time they are guessed to lie in the quarter turn of the one before."""
    draw = np.random.default_rng(0)
    xs = [draw.normal(size=3000) * 10.0**k for k in (-9, -1, 0, 1, 2, 6, 20, 300)]
    xs += [
        np.arange(-3000, 3000) * np.pi / 4,
        np.repeat([0.0, -0.0, 1e-320, np.inf, -np.inf, np.nan, 2.0**600], 3),
    ]
    xs = np.concatenate([*xs, draw.permutation(np.concatenate(xs))])
    body, _ = derived_body("scan", lambda s, x: (s * 0.5, f(x)), [np.ones(()), np.ones(())])
    tape = ways(body, 1)[1]
    monkeypatch.setattr("tinygrad_lesson.run.vm.MANY", 0)
    _, one_by_one = loop(tape, body, [np.ones(()), xs], range(len(xs)), 1, 1)
    assert [type(way) for way, _ in tape.loops.values()] == [rolled.Rolled]
    wide, _ = derived_body("scan", lambda s, x: (s * 0.5, f(x)), [np.ones(()), np.ones(len(xs))])
    _, together = loop(wide.runner(RUNNER), wide, [np.ones(()), xs[None]], range(1), 1, 1)
    np.testing.assert_array_equal(one_by_one.view(np.int64), together[0].view(np.int64))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(one_by_one, f(xs).numpy(), rtol=1e-15)
