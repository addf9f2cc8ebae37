"""Two steps as one instruction: only where nobody else needs what lies between, and never over their own operands."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.run.operands import WORD, Memory, Operand
from tinygrad_lesson.run.peephole import apart, passed_sign, product_and_sum
from tinygrad_lesson.run.segment import told

GENERATOR = np.random.default_rng(1)
A, B, C = (GENERATOR.normal(size=(6, 6)).astype(np.float32) for _ in range(3))
ROW = C[:1]


def run(f, *arrays):
    """The plan of a function and the names of its instructions, once both runners have given the same."""
    one, other = (tl.jit(f, runner=runner) for runner in ("vm", "numpy"))
    for y, z in zip(one(*arrays), other(*arrays), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-6)
    (program,) = one.programs.values()
    (stretch,) = program.runner.calls[0]
    return program.plan, told(stretch.tape)


@pytest.mark.parametrize("f", [lambda a, b, c: (a @ b + c,), lambda a, b, c: (c + a @ b,)])
def test_a_product_begins_with_what_is_added(f):
    assert run(f, A, B, C)[1] == ["product float32"]


def twice(a, b, c):
    product = a @ b
    return ((product + c) * product,)


@pytest.mark.parametrize(
    ("f", "third"),
    [
        (lambda a, b, c: (a @ b, a @ b + c), C),
        (twice, C),
        (lambda a, b, c: (a @ b + a @ b + c,), C),
        (lambda a, b, c: (a @ b + c,), ROW),
        (lambda a, b, c: (a @ b - c,), C),
    ],
    ids=["also an output", "read again", "added to itself", "a row is added", "another op"],
)
def test_where_the_product_is_needed_elsewhere_or_the_sum_is_another_there_are_two(f, third):
    assert len(run(f, A, B, third)[1]) > 1


@pytest.mark.parametrize(
    ("place", "shared"), [(0, False), (100, True), (110, False), (200, False), (36, True)]
)
def test_a_result_lies_apart_from_the_factors_or_on_what_is_added(place, shared):
    """The factors lie at 0 and 200, what is added at 100; each has 36 elements of four bytes."""
    memory = Memory()
    x, w, other, target = (Operand(4 * at, (6, 6), (24, 4)) for at in (0, 200, 100, place))
    assert (product_and_sum(memory, None, [x, w], [other], [target]) is not None) == shared
    assert (passed_sign(memory, None, [x], [other], [target]) is not None) == (shared or place in (0, 200))


def test_the_gradient_of_relu_is_one_instruction():
    a, b = sym.Variable("a"), sym.Variable("b")
    symbol = sym.MakeLoss(sym.sum(sym.relu(a) * b))
    executor = symbol.simple_bind(tl.cpu(), runner="vm", a=A.shape, b=B.shape)
    executor.forward(is_train=True, a=A, b=B)
    executor.backward()
    names = told(executor.runner(True).tape)
    assert "elementwise pass_sign" in names
    assert "elementwise sign" not in names
    np.testing.assert_array_equal(executor.gradients["a"], np.where(A > 0, B, 0))


def test_operands_share_memory_or_do_not():
    one = Operand(400, (3, 4), (16, 4))  # 400 to 448
    for offset, expected in ((448, True), (447, False), (352, True), (353, False), (400, False)):
        assert apart(one, Operand(offset, (12,), (4,))) == expected
    backwards = Operand(444, (3, 4), (WORD - 16, WORD - 4))
    assert not apart(one, backwards)
    assert apart(Operand(448, (12,), (4,)), backwards)
    assert apart(Operand(WORD - 48, (12,), (4,)), Operand(0, (12,), (4,)))
    assert not apart(Operand(WORD - 47, (12,), (4,)), Operand(0, (12,), (4,)))
    assert not apart(Operand(WORD - 49, (7,), (8,), "float64"), Operand(0, (12,), (4,)))
