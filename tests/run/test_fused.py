"""Loops in machine code against NumPy: every expression, every remainder, sums that lose nothing."""

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.engine.kinds import Comparison, Elementwise
from tinygrad_lesson.engine.op import OPS
from tinygrad_lesson.ops.elementwise import Add, Exp, Multiply, Square
from tinygrad_lesson.ops.reduce import Sum
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.fused import CHUNK, MOST, Loop, compiles, given_and_made, vector_code
from tinygrad_lesson.run.tape.vector import lanes_of

KIND = "float32"
LANES = lanes_of(KIND)
SIZES = (1, 15, 16, 17, 31, 32, 40, 2 * CHUNK * LANES - 1, 2 * CHUNK * LANES, 6 * CHUNK * LANES + 21)


def has_vector_code(cls):
    """Whether an op can be part of a loop, whatever its attributes."""
    try:
        for size in SIZES:
            op, inputs = Draw(size).sample(cls)
            vector_code(Step(op, tuple(range(len(inputs))), (len(inputs),)), KIND)
    except NotTraceableError:
        return False
    return True


VECTOR_OPS = [
    cls
    for cls in OPS.values()
    if issubclass(cls, Elementwise) and not issubclass(cls, Comparison) and has_vector_code(cls)
]


def run(steps, values, size):
    """Carry out a loop; `values` holds an array, or an array of one number, for every place."""
    given, made = given_and_made(steps)
    outside = [v for v in values if v in given or v in made]
    loop = Loop(
        steps,
        [v for v in outside if values[v].size > 1 or size == 1],
        [v for v in outside if values[v].size == 1 < size],
        next(iter(values.values())).dtype.name,
    )
    words = [size, *[values[v].ctypes.data for v in loop.places]]
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(loop.address)
    function(0, np.array(words, np.int64).ctypes.data, 0)
    return loop


@pytest.mark.parametrize("cls", VECTOR_OPS, ids=lambda cls: cls.name)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "ulps"), [("float32", 5e-7), ("float64", 1e-15)])
def test_an_expression_gives_what_forward_gives_and_writes_nothing_beyond(cls, size, kind, ulps):
    op, inputs = Draw(size).sample(cls)
    sources = [np.resize(x, size).astype(kind) for x in inputs.values()]
    target = np.full(size + 16, 7, kind)
    values = dict(enumerate([*sources, target[:size]]))
    run([Step(op, tuple(range(len(sources))), (len(sources),), "")], values, size)
    exact = np.asarray(op.forward(np, *[x.astype(np.longdouble) for x in sources]), np.longdouble)
    allowed = np.maximum(
        ulps * np.abs(exact), 2 * np.abs(op.forward(np, *sources) - exact)
    )  # NumPy's error, at most
    assert (np.abs(target[:size] - exact) <= allowed).all()
    assert (target[size:] == 7).all()


@pytest.mark.parametrize("size", SIZES)
def test_steps_hand_on_in_registers_and_what_is_asked_for_is_stored(size):
    x = np.linspace(-2, 2, size, dtype=np.float32)
    total, kept, two = np.zeros(1, np.float32), np.zeros(size, np.float32), np.array([2], np.float32)
    steps = [
        Step(Square(), (0,), (1,), ""), Step(Multiply(), (1, 2), (3,), ""), Step(Exp(), (3,), (4,), ""),
        Step(Sum(), (4,), (5,), ""), Step(Add(), (4, 0), (6,), ""),
    ]  # fmt: skip
    values = {0: x, 2: two, 5: total, 6: kept}
    if size > 1:  # of one element everything is one number
        run(steps, values, size)
        exact = np.exp(2 * x.astype(float) ** 2)
        np.testing.assert_allclose(total, exact.sum(), rtol=1e-6)
        np.testing.assert_allclose(kept, exact + x, rtol=2e-6)


def test_a_result_may_take_the_place_of_what_it_is_made_of():
    x = np.arange(100, dtype=np.float32)
    run([Step(Add(), (0, 1), (0,), "")], {0: x, 1: np.ones(100, np.float32)}, 100)
    np.testing.assert_array_equal(x, np.arange(1, 101))


def test_a_sum_of_ten_million_tenths_is_a_million():
    x, total = np.full(10_000_000, 0.1, np.float32), np.zeros(1, np.float32)
    run([Step(Sum(), (0,), (1,), "")], {0: x, 1: total}, x.size)
    assert total[0] == pytest.approx(x.sum(dtype=float), rel=2e-7)  # one after the other: 1,087,937


def test_equal_loops_are_compiled_once_and_their_code_can_be_read():
    x, y = np.ones(20, np.float32), np.zeros(20, np.float32)
    one, two = (run([Step(Exp(), (a,), (b,), "")], {a: x, b: y}, 20) for a, b in ((0, 1), (7, 9)))
    assert one.address == two.address
    assert one.text.startswith('; ModuleID = "loop"')
    np.testing.assert_allclose(y, np.exp(x), rtol=1e-6)


def test_what_would_compile_for_long_is_left_to_numpy():
    steps = [Step(Exp(), (i,), (i + 1,), "") for i in range(MOST + 1)]
    compiles(steps[:-1], KIND)
    with pytest.raises(NotTraceableError, match="would compile for long"):
        compiles(steps, KIND)


@pytest.mark.parametrize("name", ["erf", "erfc", "gelu", "elu", "smooth_l1"])
def test_an_op_that_makes_several_arrays_on_the_way_is_a_loop_by_itself(name):
    x = np.random.default_rng(4).uniform(-4, 4, 70_000).astype(np.float32)
    f = tl.jit(getattr(tl, name), runner="vm")
    np.testing.assert_allclose(f(x).numpy(), getattr(tl, name)(x).numpy(), rtol=2e-6, atol=1e-37)
    (program,) = f.programs.values()
    assert "joined_loop" in str(program.runner)
