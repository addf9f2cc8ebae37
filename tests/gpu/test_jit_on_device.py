"""Traced functions on a device: the same numbers, one plan per device, nothing moved in a call."""

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
