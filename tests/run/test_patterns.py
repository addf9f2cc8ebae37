"""What runners do otherwise than call by call: it is listed, it can be switched off, and it changes no number."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import available_runners, patterns


def test_every_pattern_is_listed_by_runner_name_and_meaning():
    lines = patterns().splitlines()
    assert {line.split()[0] for line in lines} == set(available_runners())
    assert all(len(line.split()) > 4 for line in lines)
    assert any(line.split()[:2] == ["numpy", "column_sum"] for line in lines)
    if "vm" in available_runners():
        assert any(line.startswith("vm     product_and_sum  MatMul and Add: ") for line in lines)


def trained(name, runner, passes):
    """A network of the lesson after one forward and one backward run."""
    symbol = cross_entropy(NETWORKS[name].build())
    executor = symbol.simple_bind(tl.cpu(), runner=runner, passes=passes, data=(20, 4), label=(20, 3))
    generator = np.random.default_rng(0)
    for array in [*executor.arg_dict.values(), *executor.aux_dict.values()]:
        array[...] = generator.uniform(0.1, 0.5, array.shape)
    executor.forward(is_train=True, data=generator.normal(size=(20, 4)))
    executor.backward()
    return executor


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("name", NETWORKS)
def test_without_patterns_the_numbers_are_the_same_up_to_rounding(name, runner):
    one, other = (trained(name, runner, passes) for passes in (Passes(), Passes(patterns=False)))
    np.testing.assert_allclose(one.outputs[0], other.outputs[0], rtol=1e-5)
    tolerance = 1e-3 if name == "bn25" else 1e-5  # 25 normalizations magnify rounding
    scale = max(np.abs(g).max() for g in other.gradients.values())
    for key, gradient in other.gradients.items():
        np.testing.assert_allclose(
            one.gradients[key], gradient, rtol=tolerance, atol=tolerance * scale, err_msg=key
        )
    for key, state in other.states.items():
        np.testing.assert_allclose(one.states[key], state, rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_runner_says_which_pattern_matched_and_none_where_they_are_off():
    pytest.importorskip("llvmlite")
    on, off = (
        str(trained("bn8", "vm", passes).runner(True)) for passes in (Passes(), Passes(patterns=False))
    )
    for name in ("fully_connected", "batch_norm", "pass_sign"):
        assert f"  pattern {name}" in on
    assert "pattern" not in off
    assert "BatchNorm(is_train=True)  calls: add.reduce divide subtract square" in off
    assert "Softmax(axis=1)  calls: maximum.reduce subtract exp add.reduce divide" in off


@pytest.mark.parametrize(("n", "whole"), [(3, False), (16, True), (40, False), (64, True), (300, True)])
def test_a_softmax_is_one_instruction_if_its_rows_are_long_or_of_whole_vectors(n, whole):
    pytest.importorskip("llvmlite")
    f = tl.jit(tl.softmax, runner="vm")
    x = np.linspace(-3, 3, 5 * n, dtype=np.float32).reshape(5, n)
    e = np.exp(x.astype(float))
    np.testing.assert_allclose(f(x), e / e.sum(1, keepdims=True), rtol=1e-5)
    (program,) = f.programs.values()
    assert ("pattern softmax" in str(program.runner)) == whole


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("axis", "whole"), [(None, True), (2, True), ((1, 2), True), ((0, 2), True), (0, False)]
)
def test_a_norm_squares_as_it_sums_unless_it_goes_down_columns(axis, whole, order):
    pytest.importorskip("llvmlite")
    x = np.random.default_rng(0).normal(size=(5, 7, 70)).astype(np.float32)
    f = tl.jit(lambda x: tl.norm(x, ord=order, axis=axis), runner="vm")
    size = np.abs(x.astype(float)) ** order
    np.testing.assert_allclose(f(x), size.sum(axis) ** (1 / order), rtol=1e-6)
    (program,) = f.programs.values()
    assert ("pattern norm" in str(program.runner)) == whole


@pytest.mark.parametrize("runner", available_runners())
def test_without_patterns_nothing_is_joined_and_numpy_is_called_as_it_was_written(runner):
    seen = []
    for passes in (Passes(), Passes(patterns=False)):
        f = tl.jit(
            lambda x: (tl.exp(x @ x * 2) + x, tl.sum(x[:99] * 2, axis=0)), runner=runner, passes=passes
        )
        f(np.full((300, 300), 0.01, np.float32))
        (program,) = f.programs.values()
        seen.append(str(program.runner))
    on, off = seen
    assert "Blockwise" in on
    assert "Blockwise" not in off
    assert ("NumPy: dot" in on) == (runner == "numpy")
    assert ("NumPy: matmul" in off) == (runner == "numpy")
    assert ("NumPy: add.reduce" in off) == (runner == "numpy")
    assert "NumPy: add.reduce" not in on
