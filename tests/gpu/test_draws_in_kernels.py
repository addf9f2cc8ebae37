"""Draws inside of kernels: NumPy's Philox, number for number; replayed steps draw new ones; the host counts along."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import random, sym
from tinygrad_lesson.mxnet.executor import OUTPUT
from tinygrad_lesson.philox import Philox
from tinygrad_lesson.run import block, counted, graph, kernels
from tinygrad_lesson.run.gpu import DeviceRunner
from tinygrad_lesson.run.graph import GraphRunner

pytestmark = pytest.mark.strict_arrays
THERE, FITTING = tl.gpu(0), graph.fitting


@pytest.fixture(params=["block", "graph"], autouse=True)
def way(request, blocks, monkeypatch):
    """Both ways, with few threads, since each barrier costs the stand-in two system calls a thread."""
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")
    monkeypatch.setattr(graph, "fitting", FITTING if request.param == "block" else GraphRunner)
    monkeypatch.setattr(kernels, "THREADS", 16)
    monkeypatch.setattr(kernels, "WARP", 4)
    monkeypatch.setattr(block, "THREADS", 24)
    return request.param


def bound(symbol, generator, **shapes):
    """An executor with this generator."""
    executor = symbol.simple_bind(THERE, **shapes)
    executor.generator = generator
    return executor


def dropped(generator, shape=(5, 7)):
    """An executor that gives the masks that it draws, of three ones one behind the other."""
    x = sym.Variable("x")
    for p in (0.3, 0.5, 0.9):
        x = sym.Dropout(x, p=p)
    return bound(x, generator, x=shape)


def by_numpy(seed, draw, shape=(5, 7)):
    """The same by NumPy, from a draw on."""
    draws, y = Philox(seed, draw).of(np), np.ones(shape, np.float32)
    for p in (0.3, 0.5, 0.9):
        y *= (draws.uniform(0, 1, shape) < 1 - p) / np.float32(1 - p)
    return y


SEED = (5 << 32) + 3  # both words of the key
LATE = (1 << 24) + 1  # a draw whose number is no float32


@pytest.mark.parametrize("shape", [(5, 7), (1,), (33,)], ids=str)
def test_each_run_draws_the_next_numbers_of_numpys_philox(blocks, way, shape):
    generator = random.MXNetGenerator(SEED)
    generator.count_from(LATE)
    executor = dropped(generator, shape)
    executor.arguments["x"][...] = 1
    run = executor.runner(True)
    assert run.name == way
    for i in range(4):  # launched, captured, replayed
        with blocks.no_transfers("in a step"):
            run.forward()
        np.testing.assert_allclose(
            run.result(OUTPUT + "0").get(), by_numpy(SEED, LATE + 3 * i, shape), rtol=1e-6
        )
    assert generator.draws_on_devices == LATE + 12
    assert "no graph" not in str(run)


def test_other_draws_of_the_generator_are_counted_too(blocks):
    generator = random.MXNetGenerator(3)
    first, second = dropped(generator), dropped(generator)
    number, seed = 0, 3
    for executor, reseed in ((first, False), (second, False), (first, False), (second, True), (first, False)):
        if reseed:
            number, seed = 0, 4
            generator.reseed(4)
        executor.forward(is_train=True, x=np.ones((5, 7)))
        np.testing.assert_allclose(executor.outputs[0].asnumpy(), by_numpy(seed, number), rtol=1e-6)
        generator.on(blocks).unit(3)
        number += 4


def test_normal_numbers_are_numpys_up_to_rounding(blocks):
    generator = random.MXNetGenerator(6)
    executor = bound(sym.random.normal(1.0, 2.0, shape=(40, 3)), generator)
    draws = Philox(6).of(np)
    for _ in range(3):
        executor.forward(is_train=True)
        want = draws.normal(1.0, 2.0, (40, 3))
        np.testing.assert_allclose(executor.outputs[0].asnumpy(), want, rtol=2e-6, atol=2e-6)


def of_training(**settings):
    """A runner of a network with dropout, and what its `train` takes."""
    hidden = sym.Dropout(sym.tanh(sym.FullyConnected(sym.Variable("data"), num_hidden=6, name="fc0")), p=0.4)
    net = sym.SoftmaxOutput(sym.FullyConnected(hidden, num_hidden=3, name="fc1"), name="softmax")
    model = tl.FeedForward(net, THERE, 1, seed=2, initializer=tl.mx.init.Uniform(0.5), **settings)
    generator = np.random.default_rng(2)
    batches = {
        "data": generator.normal(size=(3, 5, 4)).astype("f"),
        "softmax_label": generator.integers(0, 3, (3, 5)).astype("f"),
    }
    executor = model.bind_training({name: x[0] for name, x in batches.items()})
    updater, monitor = model.start(executor)
    return executor, (batches, 7, updater, OUTPUT + "0", monitor.watched)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sgld"])
def test_steps_of_training_draw_as_those_call_by_call(blocks, monkeypatch, optimizer):
    found = []
    for fitting in (graph.fitting, DeviceRunner):
        monkeypatch.setattr(graph, "fitting", fitting)
        tl.random.seed(9)
        executor, given = of_training(optimizer=optimizer)
        run = executor.runner(True)
        given[2].made()
        for _ in range(2):
            with blocks.counts.of() as seen:
                losses = run.train(*given)
        weights = {name: x.get() for name, x in executor.arguments.items()}
        found.append((*losses, weights["fc0_weight"], executor.generator.draws_on_devices))
        if fitting is not DeviceRunner and optimizer != "sgld":
            assert seen.d2h == 2
            assert seen.launches == (1 if run.name == "block" else 7)
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-5, atol=1e-6)


def test_a_wrong_count_is_seen(blocks, monkeypatch):
    """What is planted: the count on the device stays as it was, in kernels and in what the launch is told."""
    monkeypatch.setattr(counted.Count, "took", lambda count, draws, there: None)
    monkeypatch.setattr(graph, "counters", lambda draws: [])
    executor, found = dropped(random.MXNetGenerator(3)), []
    for _ in range(2):
        executor.forward(is_train=True, x=np.ones((5, 7)))
        found.append(executor.outputs[0].asnumpy())
    np.testing.assert_array_equal(*found)
