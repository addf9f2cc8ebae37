"""Tensors on a device: made there, moved when asked, never moved otherwise; and what is said where it cannot be."""

import sys

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import arrays
from tinygrad_lesson.errors import DeviceError

pytestmark = pytest.mark.strict_arrays
A = np.array([1.0, 2.0, 4.0])


def on_gpu(data=A, **more):
    return tl.Tensor(data, device=tl.gpu(0), **more)


@pytest.mark.parametrize(
    "make",
    [
        lambda xp: on_gpu(),
        lambda xp: tl.Tensor(A).to(tl.gpu(0)),
        lambda xp: tl.Tensor(A).to("gpu:0"),
        lambda xp: tl.Tensor(A).to(device=tl.gpu()),
        lambda xp: tl.Tensor(xp.asarray(A)),  # before the package has seen any device
        lambda xp: tl.Tensor(on_gpu()),
        lambda xp: tl.identity(xp.asarray(A)),
        lambda xp: tl.exp(tl.log(on_gpu())),
    ],
)
def test_a_tensor_lies_where_it_was_made(unknown_xp, make):
    x = make(unknown_xp)
    assert x.device == tl.gpu(0)
    assert type(x.array) is unknown_xp.ndarray
    assert (x.shape, x.dtype, x.ndim, x.size, len(x)) == ((3,), float, 1, 3, 3)
    np.testing.assert_allclose(x.numpy(), A, rtol=1e-15)
    assert tl.Tensor(A).device == tl.cpu()


MADE = {
    "zeros": lambda **more: tl.zeros(3, **more),
    "ones": lambda **more: tl.ones((2, 3), **more),
    "full": lambda **more: tl.full((2,), 7.0, **more),
    "full of integers": lambda **more: tl.full((2,), 7, **more),
    "arange": lambda **more: tl.arange(1, 9, 2, **more),
    "eye": lambda **more: tl.eye(3, **more),
    "linspace": lambda **more: tl.linspace(0, 1, 5, **more),
    "tensor": lambda **more: tl.Tensor(A, **more),
    "array": lambda **more: tl.array(A, **more),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_numbers_takes_a_device_or_that_of_the_block(xp, name):
    wanted = MADE[name]()
    with tl.gpu(0):
        inside = MADE[name]()
        with tl.cpu():
            assert MADE[name]().device == tl.cpu()
    for x in (inside,) if name == "eye" else (inside, MADE[name](device=tl.gpu(0))):
        assert x.device == tl.gpu(0)
        assert x.dtype == wanted.dtype
        np.testing.assert_array_equal(x.numpy(), wanted.numpy())
    assert MADE[name]().device == wanted.device == tl.cpu()


def test_ops_and_gradients_stay_on_the_device(xp):
    x, w = on_gpu(requires_grad=True), on_gpu(A.reshape(3, 1), requires_grad=True)
    host = [tl.Tensor(t.numpy(), requires_grad=True) for t in (x, w)]

    def f(x, w):
        return ((x * x + 1) / x - 2 * x).reshape(1, 3) @ w

    with xp.no_transfers():
        y = f(x, w).sum()
        y.backward()
        second = tl.grad(lambda x: tl.grad(lambda x: (x**3).sum())(x).sum())(x.detach())
    f(*host).sum().backward()
    for found, wanted in zip((x.grad, w.grad), (t.grad for t in host), strict=True):
        assert found.device == tl.gpu(0)
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-14)
    np.testing.assert_allclose(second.numpy(), 6 * A, rtol=1e-14)


def test_a_gradient_comes_back_over_the_devices_that_a_tensor_was_moved_over(xp):
    x = tl.Tensor(A, requires_grad=True)
    there = (x * x).to(tl.gpu(0))
    y = (there.exp().to(tl.cpu()) * x).sum()
    y.backward()
    assert x.grad.device == tl.cpu()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(A**2) * (1 + 2 * A**2), rtol=1e-13)


def test_a_move_to_where_a_tensor_lies_is_none(xp):
    x = on_gpu()
    with xp.no_transfers():
        assert x.to(tl.gpu(0)) is x
        assert x.to("float32").dtype == np.float32
    host = tl.Tensor(A)
    assert host.to(tl.cpu()) is host


@pytest.mark.parametrize(
    ("f", "op", "name"),
    [
        (lambda x, h: x + h, r"Add\(\)", "b"),
        (lambda x, h: h * x, r"Multiply\(\)", "b"),
        (lambda x, h: x - [1.0, 2.0, 3.0], r"Subtract\(\)", "b"),
        (lambda x, h: np.ones(3) * x, r"Multiply\(\)", "b"),
        (lambda x, h: tl.concat(x, x, h, dim=0), "Concat", "2"),
        (lambda x, h: tl.linear(x.reshape(1, 3), h.reshape(1, 3)), "FullyConnected", "weight"),
        (lambda x, h: x.exp().backward(h), "backward", "the gradient"),
    ],
)
def test_two_devices_are_refused_with_the_op_the_input_and_both(xp, f, op, name):
    x = on_gpu(requires_grad=True)
    with (
        xp.no_transfers(),
        pytest.raises(DeviceError, match=rf"{op}.*{name}.* is on [cg]pu\(0\), .* on [cg]pu\(0\)") as told,
    ):
        f(x, tl.Tensor(A))
    assert "gpu(0)" in str(told.value)
    assert "cpu(0)" in str(told.value)


@pytest.mark.parametrize("f", [np.asarray, np.array, lambda x: tl.repeat(tl.Tensor(A), x.astype(int))])
def test_elements_do_not_come_to_the_processor_by_the_way(xp, f):
    x = on_gpu()
    with xp.no_transfers(), pytest.raises(DeviceError, match="on the processor"):
        f(x)


def test_elements_come_to_the_processor_for_who_asks(xp):
    x = on_gpu([3.0])
    with xp.counts.of() as seen:
        assert float(x) == x.item() == 3
        assert bool(x)
        assert x.tolist() == [3]
        assert f"{x:.1f}" == "3.0"
        assert repr(x) == "Tensor([3.], dtype=float64, device=gpu(0))"
    assert seen.d2h == 6


def test_what_a_graph_recorded_stays_as_it_was(xp):
    x = on_gpu(requires_grad=True)
    y = (x * x).sum()
    x.value[...] = 0
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * A)
    np.testing.assert_array_equal(x.numpy(), 0)
    lent = arrays.MODULES and xp.asarray(A)
    z = (x * lent).sum()
    lent[...] = 5
    z.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 3 * A)
    with tl.no_grad():
        x += 1
    np.testing.assert_array_equal(x.numpy(), 1)
    square = x * x
    square.value[...] = 9
    np.testing.assert_array_equal(square.numpy(), 1)


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (
            lambda patch, xp: patch.delitem(sys.modules, "cupy"),
            r"gpu\(0\): CuPy is not installed; pip install",
        ),
        (
            lambda patch, xp: patch.setattr(
                xp.cuda.runtime, "getDeviceCount", fails("cudaErrorNoDevice: no CUDA-capable")
            ),
            r"gpu\(0\): no GPU can be used here: cudaErrorNoDevice",
        ),
        (
            lambda patch, xp: patch.setattr(
                xp.cuda.runtime,
                "getDeviceCount",
                fails("cudaErrorInsufficientDriver: CUDA driver version is insufficient"),
            ),
            r"cudaErrorInsufficientDriver: CUDA driver version is insufficient; update the driver, or pip install",
        ),
        (
            lambda patch, xp: patch.setattr(xp.cuda.runtime, "getDeviceCount", lambda: 0),
            "those here are none",
        ),
    ],
)
def test_a_device_that_is_not_there_is_one_clear_line(xp, monkeypatch, prepare, told):
    prepare(monkeypatch, xp)
    for use in (lambda: on_gpu(), lambda: tl.Tensor(A).to(tl.gpu(0)), lambda: tl.gpu(0).__enter__()):
        with pytest.raises(DeviceError, match=told) as found:
            use()
        assert "\n" not in str(found.value)


def fails(told):
    def count():
        raise RuntimeError(told)

    return count


def test_a_number_that_is_none_of_the_devices_is_refused(xp):
    with pytest.raises(DeviceError, match=r"gpu\(3\): there is no such device; those here are gpu\(0\)"):
        tl.Tensor(A, device=tl.gpu(3))
    with pytest.raises(DeviceError, match="there is no such device"):
        tl.Tensor(A, device="cuda:3")
    with pytest.raises(DeviceError, match="device 'tpu:0' is not known; expected cpu, gpu or gpu:0"):
        tl.Tensor(A, device="tpu:0")


DRAWN = {
    "uniform": lambda **more: tl.random.uniform(-1, 2, (50,), **more),
    "normal": lambda **more: tl.random.normal(1.0, 2.0, size=(50,), **more),
    "rand": lambda **more: tl.rand(5, 3, **more),
    "randn": lambda **more: tl.randn(5, 3, **more),
    "poisson": lambda **more: tl.random.poisson(3.0, 50, **more),
    "randint": lambda **more: tl.random.randint(0, 9, 50, **more),
    "permutation": lambda **more: tl.random.permutation(9, **more),
}


@pytest.mark.parametrize("name", DRAWN)
def test_random_numbers_on_a_device_are_those_of_the_seed(xp, name):
    found = []
    for more in ({}, {"device": tl.gpu(0)}, {"device": tl.gpu(0)}):
        tl.random.seed(3)
        found.append(DRAWN[name](**more))
    assert [x.device.device_type for x in found] == ["cpu", "gpu", "gpu"]
    np.testing.assert_array_equal(found[1].numpy(), found[0].numpy())
    np.testing.assert_array_equal(found[1].numpy(), found[2].numpy())


def test_dropout_draws_on_the_device(xp):
    x = tl.ones((400, 50), device=tl.gpu(0))
    tl.random.seed(5)
    with xp.no_transfers():
        first, second = tl.dropout(x, 0.3), tl.dropout(x, 0.3)
    tl.random.seed(5)
    np.testing.assert_array_equal(tl.dropout(x, 0.3).numpy(), first.numpy())
    kept = first.numpy() != 0
    assert abs(kept.mean() - 0.7) < 4 * (0.7 * 0.3 / kept.size) ** 0.5
    np.testing.assert_allclose(first.numpy()[kept], 1 / 0.7, rtol=1e-6)
    assert abs((kept & (second.numpy() != 0)).mean() - 0.49) < 0.02  # the draws are independent
