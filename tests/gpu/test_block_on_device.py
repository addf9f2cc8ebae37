"""Small plans as one launch of one block: every row of its table against NumPy, networks, training, and missing barriers."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.lesson.run import train
from tinygrad_lesson.mxnet.executor import OUTPUT
from tinygrad_lesson.run import block
from tinygrad_lesson.run.cuda import rows_of
from tinygrad_lesson.run.gpu import DeviceRunner
from tinygrad_lesson.run.graph import GraphRunner

pytestmark = pytest.mark.strict_arrays
GENERATOR = np.random.default_rng(1)
HERE, THERE = tl.cpu(), tl.gpu(0)


@pytest.fixture(autouse=True)
def numpy_runner(monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")
    monkeypatch.setattr(block, "THREADS", 24)  # which the stand-in carries out in turn


def carried_out(xp, name, inputs, named, out):
    """One call by the kernel, into an array like `out`."""
    there = xp.asarray(np.full_like(out, 7))
    given = [xp.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
    given = [tuple(map(xp.asarray, x)) if isinstance(x, tuple) else x for x in given]
    tape = block.Tape(rows_of(name, given, named, there))
    words = tape.ready(xp)
    counts = [np.int64(n) for n in (len(tape.rows), 0, 1, 1, 0, 0, 0)]
    block.kernel(xp)((1,), (block.THREADS,), (words, *counts))
    return there.get()


def numbers(*shape, low=-2.0):
    return GENERATOR.uniform(low, 2, shape).astype(np.float32)


def operands(name, kind=np.float32):
    """Numbers for an operation of the table, NaN and equal ones among them."""
    x = numbers(5, 3).astype(kind)
    if name in ("arcsin", "arccos", "arctanh"):
        return (x / 2.5,)
    if name in ("log", "log2", "log10", "log1p", "sqrt", "arccosh", "power"):
        x = abs(x) + (name == "arccosh") + kind(0.1)
    if name == "where":
        return x > 0, x, numbers(3).astype(kind)
    if name == "clip":
        return x, kind(-0.5), numbers(3).astype(kind) + kind(1.5)
    if getattr(np, name).nin == 1:
        return (x,)
    y = numbers(3).astype(kind)
    x[0] = y
    x[1, 0] = np.nan
    return x, y


NAMES = [n for n in block.OPERATIONS if n != "copyto"]


@pytest.mark.parametrize("name", NAMES)
def test_an_elementwise_operation_is_numpys(blocks, name):
    inputs = operands(name)
    with np.errstate(all="ignore"):
        want = getattr(np, name)(*inputs)
        np.testing.assert_allclose(carried_out(blocks, name, inputs, {}, want), want, rtol=4e-7, atol=1e-7)
        if len(inputs) == 2:
            want = getattr(np, name)(inputs[0].T, 0.5)
            found = carried_out(blocks, name, (inputs[0].T, 0.5), {}, want)
            np.testing.assert_allclose(found, want, rtol=4e-7)


@pytest.mark.parametrize("name", ["add.reduce", "maximum.reduce", "minimum.reduce"])
@pytest.mark.parametrize(
    "named",
    [{"axis": 0}, {"axis": 1, "keepdims": True}, {"axis": (-1,)}, {"axis": None}, {"axis": (0, 1, 2)}],
    ids=str,
)
def test_a_reduction_is_numpys(blocks, name, named):
    x = numbers(4, 5, 3)
    want = np.asarray(getattr(np, name.partition(".")[0]).reduce(x, **named))
    np.testing.assert_allclose(carried_out(blocks, name, (x,), named, want), want, rtol=1e-6, atol=1e-6)


def test_products_copies_and_joins_are_numpys(blocks):
    a, b = numbers(7, 5), numbers(4, 5)
    np.testing.assert_allclose(
        carried_out(blocks, "matmul", (a, b.T), {}, a @ b.T), a @ b.T, rtol=1e-5, atol=1e-6
    )
    joined = np.concatenate([a, b[:, :]], axis=0)
    np.testing.assert_array_equal(carried_out(blocks, "concatenate", ((a, b),), {"axis": 0}, joined), joined)
    np.testing.assert_array_equal(carried_out(blocks, "copyto", (None, a.T), {}, a.T.copy()), a.T)
    np.testing.assert_array_equal(
        carried_out(blocks, "full", ((2, 3), 1.5), {}, np.zeros((2, 3), "f")), np.full((2, 3), 1.5)
    )


def bound(name, place, batch=20):
    """An executor of one of the lesson's networks, with the same numbers on every device."""
    symbol = cross_entropy(NETWORKS[name].build())
    requests = {n: "null" if n in ("data", "label") else "write" for n in symbol.list_arguments()}
    executor = symbol.simple_bind(place, requests, data=(batch, 4), label=(batch, 3))
    generator = np.random.default_rng(0)
    for array in executor.arg_dict.values():
        array[:] = generator.normal(size=array.shape) * 0.3
    for array in executor.aux_dict.values():
        array[:] = 1
    return executor


@pytest.mark.parametrize(
    "name", ["mlp4", "mlp8", "bn8", "res6", "dense6", "leaky3"]
)  # rounding grows in the deeper ones
def test_the_gradients_of_a_network_are_those_of_the_processor(blocks, name):
    host, device = bound(name, HERE), bound(name, THERE)
    for executor in (host, device):
        executor.forward(is_train=True)
        executor.backward()
    run = device.runner(True)
    assert isinstance(run, block.BlockRunner)
    assert "one launch of one block" in str(run)
    with blocks.counts.of() as seen, blocks.no_transfers("in a step"):
        run.forward()
        run.backward()
    assert (seen.launches, seen.allocations) == (2, 0)
    largest = max(np.abs(g).max() for g in host.gradients.values())
    for key, g in host.gradients.items():
        np.testing.assert_allclose(device.gradients[key].get(), g, atol=2e-6 * largest, rtol=0)


@pytest.mark.parametrize("name", ["mlp4", "res6", "dense6", "leaky3"])
def test_networks_learn_as_on_the_processor(blocks, name):
    host, device = (train(name, epochs=3, device=place, progress=False) for place in (HERE, THERE))
    np.testing.assert_array_equal(device.confusion, host.confusion)
    np.testing.assert_allclose(device.probabilities, host.probabilities, atol=1e-4)
    np.testing.assert_allclose(device.history.loss, host.history.loss, rtol=1e-5)
    for key, rows in host.history.mean_abs_grad.items():
        np.testing.assert_allclose(device.history.mean_abs_grad[key], rows, rtol=1e-3, atol=1e-7)


def of_training(name, **settings):
    """A runner, and what its `train` takes."""
    symbol = cross_entropy(NETWORKS[name].build())
    model = tl.FeedForward(symbol, THERE, 1, seed=0, initializer=tl.mx.init.Uniform(0.3), **settings)
    rows = np.random.default_rng(2).normal(size=(3, 20, 4)).astype(np.float32)
    batches = {"data": rows, "label": np.eye(3, dtype=np.float32)[np.arange(60).reshape(3, 20) % 3]}
    executor = model.bind_training({key: x[0] for key, x in batches.items()})
    updater, monitor = model.start(executor)
    return executor.runner(True), (batches, updater, monitor.watched)


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.9, "wd": 0.01}, {"optimizer": "adam"}, {"optimizer": "nag", "momentum": 0.5}],
    ids=str,
)
def test_many_steps_are_one_launch(blocks, settings):
    found = []
    for one_by_one in (False, True):
        run, (batches, updater, watched) = of_training("mlp4", **settings)
        if one_by_one:
            found.append(DeviceRunner.train(run, batches, 7, updater, OUTPUT + "0", watched))
            continue
        updater.made()  # the plan of the rule, made once
        with blocks.counts.of() as seen:
            found.append(run.train(batches, 7, updater, OUTPUT + "0", watched))
        assert (seen.launches, seen.d2h) == (1, 2)
        assert updater.num_update == 7
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["add", "exp", "maximum", "maximum.reduce", "copyto", "multiply"])
def test_a_missing_barrier_is_seen(blocks, name, monkeypatch):
    code = block.source().replace("__syncthreads();", f"if (code != {block.CODES[name]}) __syncthreads();")
    assert code != block.source()
    monkeypatch.setattr(block, "kernel", lambda xp: xp.RawKernel(code, "carry_out"))
    run, (batches, updater, watched) = of_training("mlp4")
    with pytest.raises(blocks.RaceError, match="order of the threads"):
        run.train(batches, 2, updater, OUTPUT + "0", watched)


def test_what_the_kernel_does_not_know_runs_as_graphs(blocks):
    wide = tl.sym.exp(tl.sym.Variable("x")).simple_bind(THERE, x=(block.FEW + 1,)).runner(False)
    gammas = tl.sym.gamma(tl.sym.Variable("x")).simple_bind(THERE, x=(3,)).runner(False)
    for run in (wide, gammas):
        assert type(run) is GraphRunner
    assert "no graph: Gamma" in str(gammas)
