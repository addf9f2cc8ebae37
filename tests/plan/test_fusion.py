"""Elementwise steps over large arrays, joined: the same numbers, fewer bytes, nothing lost."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.plan.fusion import BLOCK, FEWEST, Blockwise
from tinygrad_lesson.run import available_runners

SIZE = FEWEST * BLOCK + 1234  # the last block is not whole
WHOLE = Passes(block=False)
X = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)

pytestmark = pytest.mark.parametrize("runner", available_runners())


def chain(x):
    return (tl.tanh(x) * tl.exp(-x * x) + tl.log(1 + x * x)).sum()


def exactly(x):
    """Value and gradient of the chain in double precision, by hand."""
    x = x.astype(np.float64)
    t, e, q = np.tanh(x), np.exp(-x * x), 1 + x * x
    return (t * e + np.log(q)).sum(), (1 - t * t) * e - 2 * x * t * e + 2 * x / q


def joined(plan):
    """The steps of a plan that stand for several."""
    return [s for part in (plan.forward, plan.backward) for s in part if isinstance(s.op, Blockwise)]


def plan_of(function):
    (program,) = function.programs.values()
    return program.plan


@pytest.mark.parametrize("shape", [(SIZE,), (2, SIZE // 2), (1, SIZE, 1)])
def test_a_chain_and_its_gradient_are_one_joined_step(runner, shape):
    x = X[: np.prod(shape)].reshape(shape)
    f = tl.jit(tl.value_and_grad(chain), runner=runner)
    value, gradient = f(tl.Tensor(x))
    expected, slope = exactly(x)
    assert float(value) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient.numpy(), slope, rtol=2e-5, atol=1e-6)
    plan = plan_of(f)
    assert len(joined(plan)) == 1
    assert len(plan.forward) == 1
    assert not plan.backward  # what a traced function computes is no way back, even where it is a gradient


def test_what_lies_between_takes_the_place_of_a_block(runner):
    blocked, whole = (tl.jit(tl.value_and_grad(chain), runner=runner, passes=p) for p in (Passes(), WHOLE))
    x = tl.Tensor(X)
    np.testing.assert_allclose(blocked(x)[1].numpy(), whole(x)[1].numpy(), rtol=1e-6, atol=1e-7)
    assert plan_of(blocked).arena < plan_of(whole).arena / 2
    assert joined(plan_of(whole)) == []


def test_results_given_out_stay_what_they_were(runner):
    f = tl.jit(lambda x: tl.exp(x) * x, runner=runner)
    first = f(tl.Tensor(X))
    part = f(tl.Tensor(X)).reshape(2, -1)  # a view of a result that nobody else holds
    before, seen = first.numpy(), part.numpy()
    for _ in range(3):
        f(tl.Tensor(2 * X))
    np.testing.assert_array_equal(first.numpy(), before)
    np.testing.assert_array_equal(part.numpy(), seen)


def test_inputs_may_lie_anywhere_and_be_of_any_kind(runner):
    f = tl.jit(lambda x, y: tl.exp(x) + y, runner=runner)
    y = np.arange(SIZE, dtype=np.float32)
    for x in (X, X[::-1], np.repeat(X, 2)[::2], np.asfortranarray(X)):
        np.testing.assert_allclose(f(x, y).numpy(), np.exp(x) + y, rtol=1e-6)


def test_a_small_step_between_two_blocks_is_done_after_them(runner):
    f = tl.jit(lambda x: (tl.square(x) - tl.mean(x)) * tl.mean(tl.exp(x)), runner=runner)
    x = X.astype(np.float64)
    np.testing.assert_allclose(f(x).numpy(), (x**2 - x.mean()) * np.exp(x).mean(), rtol=1e-9)


def test_a_value_that_others_read_has_its_own_place(runner):
    x = sym.Variable("x")
    a = sym.exp(x)
    outputs = sym.Group([sym.sum(a * 2 + 1), a, sym.reshape(a + 3, shape=(-1, 2))])
    executor = outputs.simple_bind(tl.cpu(), grad_req="null", x=(SIZE,))
    executor.runner_name = runner
    total, same, paired = executor.forward(x=X)
    np.testing.assert_allclose(total, [(np.exp(X.astype(float)) * 2 + 1).sum()], rtol=1e-6)
    np.testing.assert_allclose(same, np.exp(X), rtol=1e-6)
    np.testing.assert_allclose(paired, (np.exp(X) + 3).reshape(-1, 2), rtol=1e-6)


def test_arrays_of_the_user_that_do_not_lie_in_one_row_serve_too(runner):
    x = sym.Variable("x")
    loss = sym.MakeLoss(sym.sum(sym.exp(x) * x))
    values, gradient = np.zeros((SIZE, 2), np.float32).T, np.zeros((SIZE, 2), np.float32).T
    values[...] = [X, 2 * X]
    executor = loss.bind(tl.cpu(), {"x": values}, args_grad={"x": gradient})
    executor.runner_name = runner
    executor.forward(is_train=True)
    executor.backward()
    np.testing.assert_allclose(gradient, np.exp(values) * (1 + values), rtol=1e-5, atol=1e-6)


def test_a_gradient_is_added_where_that_is_asked_for(runner):
    x = sym.Variable("x")
    executor = sym.MakeLoss(sym.sum(sym.exp(x) * x)).simple_bind(tl.cpu(), grad_req="add", x=(SIZE,))
    executor.runner_name = runner
    executor.forward(is_train=True, x=X)
    for times in (1, 2):
        executor.backward()
        np.testing.assert_allclose(executor.grad_dict["x"], times * np.exp(X) * (1 + X), rtol=1e-5, atol=1e-6)


def test_a_listing_shows_the_steps_inside(runner):
    f = tl.jit(chain, runner=runner)
    f(tl.Tensor(X))
    text = str(plan_of(f))
    assert f"Blockwise(9 steps, 5 blocks of {BLOCK})" in text
    assert "Tanh()  input 0 -> " in text
    assert "one block" in text


@pytest.mark.parametrize(
    "passes", [Passes(), Passes(rewrite=False), Passes(rewrite=False, share=False, fold=False)]
)
def test_thousands_of_reshapes_need_no_recursion(runner, passes):
    def reshaped(x):
        for i in range(1500):
            x = tl.reshape(x, (2, -1) if i % 2 else (-1,))
        return tl.exp(x).sum()

    x = X[: SIZE // 2 * 2]
    f = tl.jit(tl.value_and_grad(reshaped), runner=runner, passes=passes)
    value, gradient = f(tl.Tensor(x))
    assert float(value) == pytest.approx(np.exp(x.astype(float)).sum(), rel=1e-6)
    np.testing.assert_allclose(gradient.numpy(), np.exp(x), rtol=1e-5)


def test_what_was_reshaped_twice_is_joined(runner):
    def f(x):
        return tl.sum(tl.tanh(tl.reshape(tl.reshape(tl.exp(x), (2, -1)), (-1, 2))) * 2.0)

    x = X[: SIZE // 2 * 2]
    jitted = tl.jit(f, runner=runner, passes=Passes(rewrite=False))
    assert float(jitted(tl.Tensor(x))) == pytest.approx(2 * np.tanh(np.exp(x.astype(float))).sum(), rel=1e-5)
    (step,) = joined(plan_of(jitted))
    assert [inner.op.name for inner in step.op.steps] == ["Tanh", "Multiply", "Sum"]
