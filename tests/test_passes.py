"""What the simplification of a graph does, seen in the plan; and that the numbers stay the same without it."""

import itertools

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.plan import Passes

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def plan_of(f, *inputs, passes=Passes()):
    """The steps of a function's plan, after checking its value against the function itself."""
    jitted = tl.jit(f, runner="numpy", passes=passes)
    np.testing.assert_allclose(
        jitted(*inputs).numpy(), np.asarray(f(*map(tl.Tensor, inputs)).value), rtol=1e-6
    )
    (program,) = jitted.programs.values()
    return [step.op.name for step in program.plan.backward]


@pytest.mark.parametrize(
    ("f", "left"),
    [
        (lambda x: tl.exp(x) + -0.0, ["Exp"]),
        (lambda x: -0.0 + tl.exp(x), ["Exp"]),
        (lambda x: tl.exp(x) - 0, ["Exp"]),
        (lambda x: 1 * tl.exp(x) * 1, ["Exp"]),
        (lambda x: tl.exp(x) / 1, ["Exp"]),
        (lambda x: tl.transpose(tl.transpose(tl.exp(x))), ["Exp"]),
        (lambda x: tl.reshape(tl.reshape(tl.exp(x), (2, 6)), (3, 4)), ["Exp"]),
        (lambda x: tl.negative(tl.negative(tl.exp(x))), ["Exp"]),
        (lambda x: tl.exp(x) + -tl.square(x), ["Exp", "Square", "Subtract"]),
        (lambda x: tl.exp(x) - -tl.square(x), ["Exp", "Square", "Add"]),
        (lambda x: -tl.exp(x) * -tl.square(x), ["Exp", "Square", "Multiply"]),
        (lambda x: -tl.exp(x) / tl.square(x), ["Exp", "Square", "Divide", "Negative"]),
        (lambda x: tl.exp(x) * tl.exp(x), ["Exp", "Multiply"]),
        (lambda x: tl.sum_like(tl.exp(x), x), ["Exp"]),
        (lambda x: tl.exp(x) * np.ones((), np.float32), ["Exp"]),
    ],
)
def test_what_changes_nothing_is_left_out(f, left):
    assert plan_of(f, X) == left


def test_zeros_and_ones_that_change_the_shape_or_the_type_are_kept():
    assert plan_of(lambda x: x + np.zeros((3, 1), np.float32), X[:1]) == ["Add"]
    doubled = tl.jit(lambda x: x * np.ones((), np.float64), runner="numpy")
    assert doubled(X).dtype == (tl.Tensor(X) * tl.Tensor(np.ones((), np.float64))).dtype


def test_the_cotangent_of_a_loss_is_no_array_but_a_number():
    loss = sym.MakeLoss(sym.mean(sym.exp(sym.Variable("x"))))
    executor = loss.simple_bind(tl.cpu(), x=(3, 4))
    executor.forward(is_train=True, x=X)
    executor.backward()
    np.testing.assert_allclose(executor.grad_dict["x"], np.exp(X) / 12, rtol=1e-6)
    plan = executor.plan()
    assert [step.op.name for step in plan.backward] == ["Multiply"]
    numbers = [plan.buffers[v].value for v in plan.backward[0].sources]
    assert pytest.approx(1 / 12) in numbers


def test_a_sum_of_numbers_alone_is_no_step():
    with_numbers = sym.Variable("x") * (sym.ones(shape=(3, 4)) + 1) * 2
    executor = with_numbers.simple_bind(tl.cpu(), grad_req="null", x=(3, 4))
    np.testing.assert_allclose(executor.forward(x=X)[0], 4 * X)
    assert [step.op.name for step in executor.plan(False).forward] == ["Multiply", "Multiply"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("switches", list(itertools.product((True, False), repeat=3)), ids=str)
def test_every_network_gives_the_same_numbers_with_each_pass_on_and_off(name, switches):
    loss = cross_entropy(NETWORKS[name].build())

    def results(passes):
        executor = loss.simple_bind(tl.cpu(), passes=passes, runner="numpy", data=(20, 4), label=(20, 3))
        generator = np.random.default_rng(0)
        for array in executor.arg_dict.values():
            array[:] = generator.normal(size=array.shape, scale=0.3)
        value = executor.forward(is_train=True)[0].asnumpy()
        executor.backward()
        return value, {key: g.asnumpy() for key, g in executor.grad_dict.items()}

    (value, gradients), (expected, others) = (
        results(Passes(*switches)),
        results(Passes(False, False, False, False)),
    )
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    rough = 1e-3 if name == "bn25" else 1e-5  # 25 normalizations magnify rounding
    for key, g in others.items():
        np.testing.assert_allclose(
            gradients[key], g, rtol=0, atol=rough * max(np.abs(g).max(), 1e-6), err_msg=key
        )
