"""What the simplification of a graph does, seen in the plan; and that the numbers stay the same without it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import RUNNERS

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def plan_of(f, *inputs, passes=Passes()):
    """The steps of a function's plan, after checking its value against the function itself."""
    jitted = tl.jit(f, runner="numpy", passes=passes)
    np.testing.assert_allclose(
        jitted(*inputs).numpy(), np.asarray(f(*map(tl.Tensor, inputs)).value), rtol=1e-6
    )
    (program,) = jitted.programs.values()
    return [step.op.name for step in program.plan.forward]


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
        (lambda x: tl.sum(tl.reshape(tl.exp(x), (1, 3, 4)), axis=0), ["Exp"]),
        (lambda x: tl.sum(tl.transpose(tl.exp(x)), axis=0), ["Exp", "Sum"]),
        (
            lambda x: tl.sum(tl.transpose(tl.exp(x)), axis=0, keepdims=True),
            ["Exp", "Sum", "Reshape", "Identity"],
        ),
        (lambda x: tl.sum(tl.transpose(tl.exp(x))), ["Exp", "Sum"]),
        (lambda x: tl.exp(x) * np.ones((), np.float32), ["Exp"]),
    ],
)
def test_what_changes_nothing_is_left_out(f, left):
    assert plan_of(f, X) == left


def test_a_sum_along_axes_that_are_turned_around_keeps_their_order():
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    assert plan_of(lambda x: tl.sum(tl.transpose(x), axis=1), x) == ["Transpose", "Sum"]
    assert plan_of(lambda x: tl.sum(tl.transpose(x), axis=(0, 1)), x) == ["Sum"]
    assert plan_of(lambda x: tl.sum(tl.transpose(x, (1, 2, 0)), axis=2), x) == ["Sum"]


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_a_traced_gradient_turns_images_where_they_become_rows_and_nowhere_else(kind):
    draw = np.random.default_rng(2).normal
    x, v, w, u = (draw(size=size) for size in ((5, 2, 8, 8), (3, 2, 3, 3), (4, 3, 3, 3), (16, 10)))

    def loss(v, w):
        y = tl.relu(tl.convolution(x, v, kernel=(3, 3), pad=(1, 1), num_filter=3, no_bias=True))
        y = tl.pooling(y, kernel=(2, 2), stride=(2, 2), pool_type=kind)
        y = tl.relu(tl.convolution(y, w, kernel=(3, 3), num_filter=4, no_bias=True))
        return (tl.flatten(y) @ u).sum() ** 2

    slopes, plan = tl.grad(loss, (0, 1)), tl.jit(tl.grad(loss, (0, 1)), runner="numpy")
    for a, b in zip(plan(v, w), slopes(v, w), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10)
    (program,) = plan.programs.values()
    steps = program.plan.forward
    turns = [
        s for s in steps if s.op.name == "Transpose" and len(program.plan.buffers[s.targets[0]].shape) == 4
    ]
    assert len(turns) == 3  # the data, before the rows and after them
    assert all(s.op.batch_last for s in steps if s.op.name in ("Pooling", "PlaceMax", "SpreadWindows"))


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


# What a plan may not change: signs of zero, types that numbers give, NaN and infinities.

CORNERS = {
    "float64": [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan],
    "float32": [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan],
    "float16": [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan],
    "int64": [0, 1, -3, 7, 2**53 + 1],
    "int8": [0, 1, -3, 100, -128],
    "uint8": [0, 1, 3, 200, 255],
    "bool": [True, False],
}
NUMBERS = [0.0, -0.0, 0, 1, 1.0, True, False, -1.0, 2.5, 3]
BINARY = [tl.add, tl.subtract, tl.multiply, tl.divide, tl.maximum, tl.minimum, tl.greater, tl.equal]


def assert_as_eager(f, *inputs, runner, signs=True):
    """The plan of `f` gives what `f` gives: type, numbers, with `signs` those of zeros too."""
    with np.errstate(all="ignore"):
        try:
            expected = f(*map(tl.Tensor, inputs))
        except LessonError:  # NumPy has no such function, as the negative of truth values
            return
        found = tl.jit(f, runner=runner)(*inputs)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    assert found.dtype == expected.dtype
    if signs and found.dtype.kind == "f":
        whole = ~np.isnan(expected.numpy())
        np.testing.assert_array_equal(np.signbit(found.numpy())[whole], np.signbit(expected.numpy())[whole])


@pytest.mark.parametrize("runner", RUNNERS)
@given(st.data())
def test_numbers_give_arrays_in_a_plan_the_types_values_and_signs_that_numpy_gives(runner, data):
    kind = data.draw(st.sampled_from(sorted(CORNERS)))
    x = np.array(CORNERS[kind], kind)
    inner, outer = data.draw(st.sampled_from(BINARY)), data.draw(st.sampled_from(BINARY))
    a, b = data.draw(st.sampled_from(NUMBERS)), data.draw(st.sampled_from(NUMBERS))
    left, negative, masked = (data.draw(st.booleans()) for _ in range(3))

    def f(x):
        y = inner(a, x) if left else inner(x, a)
        y = -y if negative else y
        y = tl.where(x > 1, y, b) if masked else y
        return outer(y, b)

    signs = not {inner, outer} & {tl.maximum, tl.minimum}  # which of 0.0 and -0.0 is larger is left open
    assert_as_eager(f, x, runner=runner, signs=signs)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x * 0.5, [1, 2]),
        (lambda x: (x > 1) * 2.0, [1, 2]),
        (lambda x: 1.0 - (x > 1), [1, 2]),
        (lambda x: 1 - (x > 1), [1, 2]),
        (lambda x: x**0.5, [1, 2]),
        (lambda x: tl.maximum(x, 0.5), [0, 2]),
        (lambda x: tl.where(x > 1, x, 0.5), [3, 1]),
        (lambda x: tl.where(x > 1, 1.0, 0.1), [3, 1]),
        (lambda x: tl.where(x > 1, 1, 2), [3, 1]),
        (lambda x: x + tl.full_like(x, 2), [3, 1]),
        (lambda x: x * tl.exp(0.1), [3.0, 1.0]),
        (lambda x: tl.reshape(x, (1, 2)) * 0.5, [3, 1]),
    ],
)
def test_an_integer_that_meets_a_float_becomes_one_in_a_plan(f, x, runner):
    assert_as_eager(f, np.array(x), runner=runner)


@pytest.mark.parametrize("runner", RUNNERS)
def test_results_for_zeros_of_both_signs_are_told_apart(runner):
    v = sym.Variable("v")
    executor = sym.Group([v / 0.0, v / -0.0]).simple_bind(tl.cpu(), runner=runner, v=(2,))
    up, down = executor.forward(v=np.array([1, -1]))
    assert up.tolist() == [np.inf, -np.inf]
    assert down.tolist() == [-np.inf, np.inf]
    assert_as_eager(lambda x: tl.full_like(x, 0.0) * x + tl.full_like(x, -0.0), np.ones(2), runner=runner)
    assert_as_eager(
        lambda x: tl.stack([tl.full_like(x, 0.0), tl.full_like(x, -0.0)]), np.ones(2), runner=runner
    )
    assert_as_eager(
        lambda x: x / (tl.full_like(x, -0.0) * 1) + x / tl.full_like(x, 0.0), np.ones(2), runner=runner
    )


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("zero", [0.0, -0.0, 0])
def test_adding_and_subtracting_a_zero_is_left_out_only_where_it_changes_no_sign(zero, runner):
    for f in (lambda x: x + zero, lambda x: zero + x, lambda x: x - zero, lambda x: zero - x):
        assert_as_eager(f, np.array([-0.0, 0.0, 2.0]), runner=runner)
        assert_as_eager(f, np.array([0, -5, 2]), runner=runner)


def test_an_array_of_one_number_keeps_all_its_digits():
    large = 2**53 + 1
    assert_as_eager(lambda x: x + tl.full_like(x, 1) * large, np.array([0, 1]), runner="numpy")
    assert_as_eager(lambda x: x + tl.full_like(x, large), np.array([0, 1]), runner="numpy")


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_a_negative_that_wraps_around_is_not_moved(kind):
    x, wide = np.array([-128 if kind == "int8" else 1], kind), np.array([1000])
    for f in (lambda a, b: -a * b, lambda a, b: b + -a, lambda a, b: b - -a, lambda a, b: -a / b):
        assert_as_eager(f, x, wide, runner="numpy")


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_mean_of_large_integers_does_not_overflow_in_a_plan(runner):
    assert_as_eager(tl.mean, np.full(4, 2**62), runner=runner)
    assert_as_eager(tl.var, np.array([2**62, -(2**62)]), runner=runner)
