"""On a card, with CuPy itself: every op against float64 on the host, then training. `make test-gpu` runs this file."""

import importlib.util
from unittest import mock

import numpy as np
import pytest
from test_own_kernel_on_device import FUNCTIONS, cube

import tinygrad_lesson as tl
from tinygrad_lesson.arrays import require_device
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.operators import sweep
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.engine.op import OPS
from tinygrad_lesson.errors import DeviceError
from tinygrad_lesson.lesson.networks import NETWORKS
from tinygrad_lesson.lesson.run import train
from tinygrad_lesson.philox import Philox

ON_GPU = [cls for cls in OPS.values() if cls.ours and not cls.host_only and not cls.random]
TOLERANCE = {np.float32: 2e-4, np.float64: 1e-9}


def missing():
    """Why there is no card to test on; nothing where there is one. CuPy is not imported where it is not installed."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    try:
        require_device(tl.gpu(0))
    except DeviceError as error:
        return str(error)
    return ""


WHY = missing()
pytestmark = [pytest.mark.card, pytest.mark.skipif(bool(WHY), reason=WHY or "there is a card")]


def carried_out(op, arrays, place):
    """Results, and gradients of the learnable inputs, on one device, as NumPy arrays."""
    count = len(arrays) - len(op.states)
    tensors = [tl.Tensor(x, i < count and x.dtype.kind == "f", device=place) for i, x in enumerate(arrays)]
    with place:
        y = apply(op, tensors)
    y = y if isinstance(y, tuple) else (y,)
    generator = np.random.default_rng(0)
    gs = [tl.Tensor(generator.normal(size=t.shape).astype(t.dtype), device=place) for t in y]
    heads = [(t, g.array) for t, g in zip(y, gs, strict=True) if t.requires_grad]
    wrt = [t for t in tensors if t.requires_grad]
    gradients = sweep(heads, wrt) if heads else []
    return [t.numpy() for t in y], [None if g is None else tl.Tensor(g).numpy() for g in gradients]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("cls", ON_GPU, ids=lambda cls: cls.name)
def test_an_op_and_its_gradients_equal_those_in_float64_on_the_host(cls, kind):
    for seed in range(3):
        op, inputs = Draw(seed).sample(cls)
        arrays = [x.astype(kind) if x.dtype == np.float64 else x for x in inputs.values()]
        wide = [x.astype(np.float64) if x.dtype == kind else x for x in arrays]
        for found, wanted in zip(
            carried_out(op, arrays, tl.gpu(0)), carried_out(op, wide, tl.cpu()), strict=True
        ):
            for y, z in zip(found, wanted, strict=True):
                assert (y is None) == (z is None)
                if y is not None:
                    np.testing.assert_allclose(y, z, rtol=TOLERANCE[kind], atol=TOLERANCE[kind])


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if not name.startswith("bn")]
)  # whose rounding grows
def test_the_lessons_networks_learn_as_on_the_processor(name):
    host, device = (train(name, epochs=12, device=place, progress=False) for place in (tl.cpu(), tl.gpu(0)))
    np.testing.assert_array_equal(device.confusion, host.confusion)
    np.testing.assert_allclose(device.probabilities, host.probabilities, atol=1e-4)


def perceptron():
    """Large enough for graphs."""
    h = tl.sym.relu(tl.sym.FullyConnected(tl.sym.Variable("data"), num_hidden=300, name="fc0"))
    return tl.sym.SoftmaxOutput(tl.sym.FullyConnected(h, num_hidden=10, name="fc1"), name="softmax")


def convolutions():
    """With pooling."""
    h = tl.sym.Convolution(tl.sym.Variable("data"), kernel=(5, 5), num_filter=20, name="conv")
    h = tl.sym.Pooling(tl.sym.relu(h), kernel=(2, 2), stride=(2, 2), pool_type="max")
    h = tl.sym.FullyConnected(tl.sym.Flatten(h), num_hidden=10, name="fc")
    return tl.sym.SoftmaxOutput(h, name="softmax")


@pytest.mark.parametrize(
    ("made", "shape"), [(perceptron, (200,)), (convolutions, (1, 28, 28))], ids=["perceptron", "convolutions"]
)
def test_large_networks_learn_by_graphs_twice_alike(made, shape):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(256, *shape)).astype(np.float32)
    classes = generator.integers(0, 10, 256).astype(np.float32)

    def fitted(place):
        model = tl.FeedForward(made(), place, 4, numpy_batch_size=64, seed=0, optimizer="adam")
        model.fit(rows, classes, progress=False)
        return model

    host, first, second = (fitted(place) for place in (tl.cpu(), tl.gpu(0), tl.gpu(0)))
    np.testing.assert_allclose(first.history.loss, host.history.loss, rtol=1e-4)
    for name, x in first.arg_params.items():
        np.testing.assert_allclose(x, host.arg_params[name], atol=2e-3)
        np.testing.assert_array_equal(x, second.arg_params[name])


def test_traced_functions_and_random_numbers():
    x = tl.Tensor(np.linspace(-1, 1, 1000), device=tl.gpu(0))
    np.testing.assert_allclose(tl.jit(tl.tanh)(x).numpy(), np.tanh(x.numpy()), rtol=1e-12)
    tl.random.seed(1)
    first = tl.dropout(x, 0.5).numpy()
    tl.random.seed(1)
    np.testing.assert_array_equal(tl.dropout(x, 0.5).numpy(), first)


@pytest.mark.parametrize("rows", [7, 4000], ids=["block", "graph"])
def test_draws_in_kernels_are_those_of_numpys_philox(rows):
    net = tl.sym.Dropout(tl.sym.Variable("x"), p=0.4)
    tl.random.seed(11)
    executor, ones = net.simple_bind(tl.gpu(0), x=(rows, 9)), np.ones((rows, 9), np.float32)
    draws = Philox(11).of(np)
    for _ in range(3):  # launched, captured, replayed
        executor.forward(is_train=True, x=ones)
        want = (draws.uniform(0, 1, (rows, 9)) < 1 - 0.4) / np.float32(1 - 0.4)
        np.testing.assert_allclose(executor.outputs[0].asnumpy(), want, rtol=1e-6)
    normal = tl.sym.random.normal(1.0, 2.0, shape=(rows, 9)).simple_bind(tl.gpu(0)).forward(is_train=True)[0]
    np.testing.assert_allclose(normal.asnumpy(), draws.normal(1.0, 2.0, (rows, 9)), rtol=1e-5, atol=1e-5)


def test_an_op_that_is_a_kernel_of_its_users_runs_and_is_checked():
    x = tl.Tensor(np.linspace(-2, 2, 40).reshape(5, 8), device=tl.gpu(0))
    for slope, right in ((3.0, True), (2.0, False)):
        with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
            cube(slope)
            np.testing.assert_allclose(tl.own_cube(x).numpy(), x.numpy() ** 3, rtol=1e-12)
            assert bool(tl.check.gradients(tl.own_cube, x)) is right


def test_steps_of_an_optimizer_in_jit_are_those_of_the_processor():
    def trained(place):
        params, opt = tl.Tensor(np.linspace(-1, 2, 12, dtype=np.float32), device=place), tl.optim.Adam(0.1)
        step = tl.jit(lambda p, state: opt.update(p, tl.grad(lambda p: (tl.sin(p) ** 2).sum())(p), state))
        state = opt.init(params)
        for _ in range(4):
            params, state = step(params, state)
        return params.numpy()

    np.testing.assert_allclose(trained(tl.gpu(0)), trained(tl.cpu()), rtol=1e-4)
