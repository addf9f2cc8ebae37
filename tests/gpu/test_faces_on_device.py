"""Everything else that takes tensors or arrays, on a device: the numbers of the processor, and where nothing may move, nothing does."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import mx, sym
from tinygrad_lesson.cli import main
from tinygrad_lesson.errors import DeviceError

pytestmark = pytest.mark.strict_arrays
A = np.linspace(-1, 2, 12).reshape(3, 4)
HERE, THERE = tl.cpu(), tl.gpu(0)


def cubes(x):
    return (tl.tanh(x) * x * x).sum()


@tl.custom_vjp
def square(x):
    return x * x


square.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))


@tl.custom_jvp
def sine(x):
    return tl.sin(x)


sine.defjvp(lambda primals, tangents: (tl.sin(primals[0]), tl.cos(primals[0]) * tangents[0]))


def batch_norm(x):
    state = tl.zeros_like(x[0]), tl.ones_like(x[0])
    return tl.batch_norm(x, tl.ones_like(x[0]), tl.zeros_like(x[0]), *state), *state


FUNCTIONS = {
    "grad": tl.grad(cubes),
    "jvp": lambda x: tl.jvp(cubes, (x,), (x * 2,)),
    "hvp": lambda x: tl.hvp(cubes, x, x),
    "jacobian": tl.jacobian(lambda x: tl.tanh(x).sum(axis=0)),
    "jacobian forward": lambda x: tl.jacobian(lambda y: x * y, x[0]),
    "hessian": tl.hessian(cubes),
    "vmap": tl.vmap(lambda x: tl.tanh(x).sum()),
    "vmap of grad": tl.vmap(tl.grad(cubes)),
    "vmap of a loop": tl.vmap(lambda x: tl.sort(x).sum()),
    "scan": lambda x: tl.scan(lambda c, a: (c + a, c * a), tl.zeros_like(x[0]), x),
    "cond": lambda x: tl.cond(x.sum() > 0, lambda a: a * 2, lambda a: a, x),
    "checkpoint": tl.grad(lambda x: tl.checkpoint(cubes)(x)),
    "custom_vjp": tl.grad(lambda x: square(x).sum()),
    "custom_jvp": tl.grad(lambda x: sine(x).sum()),
    "custom_jvp forward": lambda x: tl.jvp(sine, (x,), (x,)),
    "batch_norm": batch_norm,
    "np.sum": lambda x: np.sum(x, axis=0),
    "np.stack": lambda x: np.stack([x, x]),
    "np.exp": np.exp,
    "index": lambda x: x[1:, ::2],
    "number": lambda x: tl.maximum(x, 0.5) + np.float32(2) - tl.Tensor(3.0),
    "clip": lambda x: tl.clip(x, 0, 1),
    "sort": lambda x: tl.sort(x, axis=0),
    "softmax": lambda x: tl.softmax(x, axis=1),
    "convolution": lambda x: tl.convolution(
        x.reshape(1, 1, 3, 4), x[:2, :2].reshape(1, 1, 2, 2), kernel=(2, 2), num_filter=1, no_bias=True
    ),
    "in place": lambda x: in_place(x),
}


def in_place(x):
    x = tl.identity(x)
    x += 1
    x *= x
    return x


def listed(y):
    return [part for one in y for part in listed(one)] if isinstance(y, tuple | list) else [y]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_tensors_moves_nothing(xp, name):
    x = tl.Tensor(A, device=THERE)
    FUNCTIONS[name](x)  # constants of a trace are sent once
    with xp.no_transfers() if name != "cond" else xp.counts.of():  # which looks at its condition
        found = listed(FUNCTIONS[name](x))
    for y, z in zip(found, listed(FUNCTIONS[name](tl.Tensor(A))), strict=True):
        assert y.device == THERE
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-12, atol=1e-14)


def test_a_mask_and_places_index(xp):
    x = tl.Tensor(A, device=THERE)
    np.testing.assert_array_equal(x[x > 0].numpy(), A[A > 0])
    np.testing.assert_array_equal(x[tl.Tensor([2, 0], device=THERE)].numpy(), A[[2, 0]])
    with pytest.raises(DeviceError, match=r"indices0 is on cpu\(0\), x on gpu\(0\)"):
        x[tl.Tensor([2, 0])]


INDEXED = [
    lambda x: x[[2, 0]], lambda x: x[np.array([2, 0]), 1:], lambda x: x[[0, 1], [1, 2]], lambda x: x[[True, False, True]],
    lambda x: tl.take(x, [0, 2], axis=1), lambda x: x.at[0].set(1.0), lambda x: x.at[[0, 2]].add(1.0),
    lambda x: x.at[np.array([0, 0]), 1:3].add([5.0, 6.0]), lambda x: x.at[1:, ::2].multiply(2.0),
    lambda x: x.at[1, 2].set(x[0, 0]), lambda x: x.at[[1, 1]].get(),
]  # fmt: skip


@pytest.mark.parametrize("f", INDEXED)
def test_lists_of_the_host_index_and_places_change(xp, f):
    x = tl.Tensor(A, True, device=THERE)
    found, wanted = f(x), f(tl.Tensor(A))
    assert found.device == THERE
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    again = tl.Tensor(A, True)
    (found * found).sum().backward()
    (f(again) ** 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), again.grad.numpy(), rtol=1e-12)


def test_places_that_lie_on_the_device_are_refused(xp):
    with pytest.raises(DeviceError, match=r"write x.numpy\(\)"):
        tl.Tensor(A, device=THERE).at[tl.Tensor([2, 0], device=THERE)]


def test_copies_lie_where_the_tensor_lay(xp):
    x = tl.Tensor(A, True, device=THERE)
    for again in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (again.device, again.requires_grad) == (THERE, True)
        np.testing.assert_array_equal(again.numpy(), A)


def test_layers_and_optimizers_of_trees(xp):
    found = []
    for place in (HERE, THERE):
        tl.random.seed(0)
        with place:
            layer = tl.nn.Linear(4, 2)
        x = tl.Tensor(A, device=place)
        params, opt = {"w": layer.weight.detach(), "b": layer.bias.detach()}, tl.optim.Adam(0.1)
        state, loss = opt.init(params), tl.grad(lambda p, x=x: (tl.linear(x, p["w"], p["b"]) ** 2).sum())
        params, state = opt.update(params, loss(params), state)
        with xp.no_transfers() if place == THERE else HERE:
            params, state = opt.update(params, loss(params), state)
        assert params["w"].device == place
        found.append(params["w"].numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_arrays_of_mxnet_and_autograd(xp):
    a = mx.nd.array(A, ctx=mx.gpu(0))
    a.attach_grad()
    with xp.no_transfers():
        with mx.autograd.record():
            y = mx.nd.sum(a * a + mx.nd.ones((3, 4), ctx=mx.gpu(0)))
        y.backward()
        a[0:1] = 5
        a += 1
    assert (y.context, a.grad.context) == (mx.gpu(0), mx.gpu(0))
    np.testing.assert_allclose(a.grad.asnumpy(), 2 * A.astype("f"))
    assert a.asnumpy()[0].tolist() == [6.0] * 4
    back = a.as_in_context(mx.cpu())
    assert back.context == mx.cpu()
    assert (back.asnumpy() == a.asnumpy()).all()
    with pytest.raises(DeviceError, match=r"cpu\(0\).*gpu\(0\)"):
        a + back
    with xp.counts.of() as seen:
        a.wait_to_read()
    assert seen.synchronizations == 1


def test_metrics_monitors_and_modules(xp):
    metric = mx.metric.Accuracy()
    metric.update([mx.nd.array([0, 1, 1], ctx=mx.gpu(0))], [mx.nd.array(np.eye(3), ctx=mx.gpu(0))])
    assert metric.get() == ("accuracy", pytest.approx(2 / 3))
    net = sym.SoftmaxOutput(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc"), name="softmax")
    seen = {}
    executor = net.simple_bind(THERE, data=(3, 4))
    executor.set_monitor_callback(lambda name, array: seen.update({name.decode(): array.context}))
    executor.forward(data=A)
    assert seen == {"fc_output": THERE, "softmax_output": THERE}
    answers = []
    for place in (mx.cpu(), mx.gpu(0)):
        module = mx.mod.Module(net, context=place)
        rows = mx.io.NDArrayIter(A.astype("f"), np.array([0.0, 1, 2]), 3)
        module.fit(rows, num_epoch=3, initializer=mx.init.One())
        answers.append(module.predict(rows).asnumpy())
    np.testing.assert_allclose(*answers, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_updater_of_mxnet(xp, optimizer):
    found = []
    for place in (mx.cpu(), mx.gpu(0)):
        updater = mx.optimizer.get_updater(mx.optimizer.create(optimizer))
        weight, gradient = mx.nd.ones((3, 2), ctx=place), mx.nd.array(A[:, :2], ctx=place)
        for _ in range(2):
            updater(0, gradient, weight)
        found.append(weight.asnumpy())
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_gradients_are_checked_where_the_inputs_lie(xp):
    seen = set()

    def f(x):
        seen.add(x.device)
        return tl.tanh(x).sum()

    assert tl.check.gradients(f, tl.Tensor(A, device=THERE))
    assert THERE in seen


def test_the_command_line_trains_on_a_device(xp, tmp_path, capsys):
    tables = []
    for device in ("cpu", "gpu:0"):
        assert (
            main(["run", "mlp4", "--epochs", "3", "--device", device, "--out", str(tmp_path / device[:3])])
            == 0
        )
        tables.append(
            [line for line in capsys.readouterr().out.splitlines() if "setosa" in line or "  " in line]
        )
    assert tables[0] == tables[1]
    assert (tmp_path / "gpu" / "mlp4" / "model-0003.params").exists()


def test_elements_change_where_they_lie(xp):
    with THERE:
        x, y = tl.tensor(A), tl.tensor(A[0])
    expected = A.copy()
    for key, value, plain in (
        (0, 5.0, 5.0),
        ((slice(None), 1), [1, 2, 3], [1, 2, 3]),
        (1, y, A[0]),
        (2, A[1], A[1]),
    ):
        x[key] = value
        expected[key] = plain
    mask = x > 1
    x[mask] = 0.0
    expected[expected > 1] = 0.0
    x.data += 1.0
    x.data[0] = y
    expected += 1
    expected[0] = A[0]
    assert x.device == THERE
    np.testing.assert_array_equal(x.to(HERE).numpy(), expected)
