"""Traced functions on a device: the same numbers, one plan per device, nothing moved in a call."""

import contextlib

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.errors import DeviceError, LessonError

pytestmark = pytest.mark.strict_arrays
A = np.linspace(-1, 2, 12).reshape(3, 4)


def on_gpu(data=A, **more):
    return tl.Tensor(data, device=tl.gpu(0), **more)


def f(x, w):
    return tl.tanh(x @ w.T + 1).sum(axis=0) / tl.sum(x * x)


def test_a_traced_function_gives_the_numbers_of_the_processor(xp):
    jitted, x, w = tl.jit(f), on_gpu(), on_gpu(A / 2)
    wanted = f(tl.Tensor(A), tl.Tensor(A / 2)).numpy()
    for _ in range(2):
        np.testing.assert_allclose(jitted(x, w).numpy(), wanted, rtol=1e-14)
    with xp.no_transfers("in a call"):
        y = jitted(x, w)
    assert y.device == tl.gpu(0)
    np.testing.assert_allclose(jitted(tl.Tensor(A), tl.Tensor(A / 2)).numpy(), wanted, rtol=1e-14)
    assert jitted(xp.asarray(A), w).device == tl.gpu(0)
    assert len(jitted.programs) == 2  # one for each device


def test_gradients_inside_and_outside(xp):
    loss = tl.jit(lambda x, w: f(x, w).sum())
    inside = tl.jit(tl.grad(lambda x, w: f(x, w).sum()))
    wanted = tl.grad(lambda x, w: f(x, w).sum())(tl.Tensor(A), tl.Tensor(A / 2)).numpy()
    x, w = on_gpu(requires_grad=True), on_gpu(A / 2)
    loss(x, w).backward()
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-12)
    np.testing.assert_allclose(inside(x.detach(), w).numpy(), wanted, rtol=1e-12)
    x.grad = None
    with xp.no_transfers("in a call"):
        loss(x, w).backward()
        inside(x.detach(), w)


def test_constants_from_outside_and_draws(xp):
    table, scale = on_gpu(A), tl.Tensor(3.0)
    jitted = tl.jit(lambda x: tl.dropout(x * table * scale, 0.5) + 1)
    x = on_gpu(np.ones_like(A))
    tl.random.seed(2)
    jitted(x)
    with xp.no_transfers("in a call"):
        first, second = jitted(x), jitted(x)
    assert (first.numpy() != second.numpy()).any()
    kept = first.numpy() != 1
    np.testing.assert_allclose(first.numpy()[kept], (1 + 6 * A)[kept], rtol=1e-6)


def test_two_devices_and_a_runner_of_the_processor_are_refused(xp):
    with pytest.raises(DeviceError, match=r"jit: argument 1 is on cpu\(0\), argument 0 on gpu\(0\)"):
        tl.jit(f)(on_gpu(), tl.Tensor(A))
    with pytest.raises(LessonError, match="runner 'numpy' works on the processor"):
        tl.jit(f, runner="numpy")(on_gpu(), on_gpu())
    with pytest.raises(DeviceError, match="on the processor"):
        tl.jit(tl.linalg.inv)(on_gpu(A[:, :3]))


def test_a_number_of_pythons_goes_along_and_is_traced_once(xp):
    jitted, x = tl.jit(lambda x, s, t: (x * (s + t) + t, s * t)), on_gpu(A.astype(np.float32))
    jitted(x, 2.0, 3.0)
    with xp.no_transfers("in a call"):
        y, product = jitted(x, 0.5, 4.0)
    np.testing.assert_allclose(y.numpy(), A.astype(np.float32) * np.float32(4.5) + 4, rtol=1e-6)
    assert (float(product), product.device, len(jitted.programs)) == (2.0, tl.cpu(), 1)


def test_a_tensor_of_the_processor_without_axes_goes_along(xp):
    jitted, count = tl.jit(lambda x, n: (x * n, n + 1)), tl.Tensor(3)
    for number in (3, 4):
        y, count = jitted(on_gpu(), count)
        np.testing.assert_allclose(y.numpy(), A * number, rtol=1e-15)
        assert (int(count), count.device) == (number + 1, tl.cpu())
    with pytest.raises(DeviceError, match=r"argument 1 is on cpu\(0\), argument 0 on gpu\(0\)"):
        jitted(on_gpu(), tl.Tensor([3.0]))


def trained(optimizer, place, watched=contextlib.nullcontext):
    """Parameters after four steps of a jitted function, the last three of them `watched`."""
    params = {"w": tl.Tensor(A.astype(np.float32), device=place), "b": tl.ones(3, device=place)}
    opt, x = optimizer(), tl.Tensor(np.cos(A.astype(np.float32)), device=place)
    loss = tl.grad(lambda p: (tl.linear(x, p["w"], p["b"]) ** 2).sum())
    step = tl.jit(lambda params, state: opt.update(params, loss(params), state))
    params, state = step(params, opt.init(params))
    with watched():
        for _ in range(3):
            params, state = step(params, state)
    assert ([int(n) for n in state.steps.values()], len(step.programs)) == ([4, 4], 1)
    return [x.numpy() for x in params.values()]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: tl.optim.Adam(0.1),
        lambda: tl.optim.SGD(lr_scheduler=lambda n: 0.1 / n, momentum=0.9, weight_decay=0.1),
        lambda: tl.optim.LARS(0.1, momentum=0.5),
    ],
    ids=["Adam", "a schedule", "LARS"],
)
def test_steps_of_an_optimizer_are_those_of_the_processor(xp, optimizer):
    there = trained(optimizer, tl.gpu(0), lambda: xp.no_transfers("in a step"))
    for found, wanted in zip(there, trained(optimizer, tl.cpu()), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_steps_of_an_optimizer_as_kernels_are_those_of_the_processor(blocks):
    there = trained(lambda: tl.optim.Adam(0.1), tl.gpu(0), lambda: blocks.no_transfers("in a step"))
    for found, wanted in zip(there, trained(lambda: tl.optim.Adam(0.1), tl.cpu()), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_rate_that_is_set_between_two_steps_is_that_of_the_next(xp):
    params, opt = on_gpu(np.zeros(2)), tl.optim.SGD(1.0)
    step, state = tl.jit(opt.update), opt.init(params)
    params, state = step(params, on_gpu(np.ones(2)), state)
    opt.learning_rate = 0.25
    params, state = step(params, on_gpu(np.ones(2)), state)
    np.testing.assert_array_equal(params.numpy(), [-1.25, -1.25])


def test_the_gradient_of_a_plan_with_a_number_of_the_processor(xp):
    jitted, x = tl.jit(lambda x, n: (x**2 * n).sum()), on_gpu(requires_grad=True)
    jitted(x, tl.Tensor(3)).backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * A, rtol=1e-14)


def test_numbers_that_meet_nothing_of_the_device_and_the_other_way_round(xp):
    x, n = on_gpu(), tl.Tensor(3)
    assert int(tl.jit(lambda x, n: n + 1)(x, n)) == 4
    np.testing.assert_array_equal(tl.jit(lambda x, n: x * 2)(x, n).numpy(), A * 2)
    inner = tl.jit(lambda x, n: (x * n, n + 1))
    y, m = tl.jit(lambda x, n: inner(x, n + 1))(x, n)
    np.testing.assert_allclose(y.numpy(), 4 * A, rtol=1e-15)
    assert int(m) == 5


def test_what_is_made_of_numbers_of_the_processor_stays_there_with_axes_draws_and_constants(xp):
    two = tl.Tensor(2.0)
    jitted = tl.jit(lambda x, n: (x * (n * two), n * two, n * tl.Tensor([1.0, 2.0]), tl.dropout(n, 0.5)))
    for number in (3.0, 5.0):
        y, doubled, row, drawn = jitted(on_gpu(), tl.Tensor(number))
        np.testing.assert_allclose(y.numpy(), A * 2 * number, rtol=1e-15)
        assert (float(doubled), row.numpy().tolist()) == (2 * number, [number, 2 * number])
        assert float(drawn) in (0.0, 2 * number)
        assert [t.device for t in (doubled, row, drawn)] == [tl.cpu()] * 3
