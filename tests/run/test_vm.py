"""The interpreter against the NumPy runner, which is the meaning of a plan."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.lesson.data import load
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.run.segment import Segment, told
from tinygrad_lesson.run.training import Training
from tinygrad_lesson.run.vm import VMRunner
from tinygrad_lesson.train.initializer import Uniform
from tinygrad_lesson.train.monitor import GradientMonitor
from tinygrad_lesson.train.optimizer import FlatUpdater, create


def bound(name, runner, rows=20, kind="float32"):
    """A network of the lesson, bound with the first weights of seed 0, one batch in place."""
    symbol = cross_entropy(NETWORKS[name].build())
    requests = {n: "null" if n in ("data", "label") else "write" for n in symbol.list_arguments()}
    types = dict.fromkeys(symbol.list_arguments(), kind)
    executor = symbol.simple_bind(
        tl.cpu(), grad_req=requests, type_dict=types, data=(rows, 4), label=(rows, 3)
    )
    executor.runner_name = runner
    generator = MXNetGenerator(0)
    for n, array in [*executor.arguments.items(), *executor.states.items()]:
        if n not in ("data", "label"):
            array[...] = Uniform(0.5)(n, array.shape, generator)
    data = load()
    executor.arguments["data"][...] = data.train_data[:rows]
    executor.arguments["label"][...] = data.train_label[:rows]
    return executor


@pytest.mark.parametrize(
    ("name", "rows"),
    [(n, 20) for n in NETWORKS] + [(n, rows) for n in NETWORKS if n != "bn25" for rows in (1, 7)],
)  # 25 normalizations of 7 rows magnify rounding without bound
def test_every_network_gives_what_the_numpy_runner_gives(name, rows):
    one, other = bound(name, "vm", rows), bound(name, "numpy", rows)
    for executor in (one, other):
        executor.forward(is_train=True)
        executor.backward()
    np.testing.assert_allclose(one.outputs[0], other.outputs[0], rtol=2e-5)
    scale = max(np.abs(g).max() for g in other.gradients.values())
    tolerance = 1e-3 if name == "bn25" else 1e-4  # 25 normalizations magnify rounding
    for key, gradient in other.gradients.items():
        np.testing.assert_allclose(
            one.gradients[key], gradient, rtol=tolerance, atol=tolerance * scale, err_msg=key
        )
    for key, state in other.states.items():
        np.testing.assert_allclose(one.states[key], state, rtol=1e-4, atol=1e-5, err_msg=key)
    np.testing.assert_allclose(one.forward()[0], other.forward()[0], rtol=1e-3)


@pytest.mark.parametrize("name", ["mlp4", "bn8", "res25", "dense6"])
def test_these_networks_run_without_a_step_in_numpy(name):
    run = bound(name, "vm").runner(True)
    assert isinstance(run, VMRunner)
    assert all(isinstance(call, Segment) for part in run.calls for call in part)


@pytest.mark.parametrize(
    ("name", "optimizer", "settings"),
    [
        ("mlp4", "adam", {"learning_rate": 0.01}),
        ("mlp8", "adam", {"lr_scheduler": lambda n: 0.01 / (1 + n)}),
        ("bn8", "sgd", {"learning_rate": 0.01, "momentum": 0.5}),
        ("res6", "sgd", {"learning_rate": 0.05, "momentum": 0.9}),
        ("dense6", "sgd", {"learning_rate": 0.05}),
        ("mlp4", "sgd", {"wd": 0.1, "clip_gradient": 1e-3, "lr_mult": {"fc1_weight": 0.5}, "momentum": 0.9}),
        ("mlp4", "lamb", {"learning_rate": 0.01}),
        ("mlp4", "nadam", {"learning_rate": 0.01}),
    ],
)
@pytest.mark.parametrize(("kind", "tolerance"), [("float32", 1), ("float64", 1e-6)])
def test_many_steps_in_one_call_are_the_steps_one_by_one(
    name, optimizer, settings, kind, tolerance, monkeypatch
):
    calls, carry_out = [], Training.__call__
    monkeypatch.setattr(Training, "__call__", lambda *given: calls.append(given[-1]) or carry_out(*given))
    data = load()
    batches = {"data": data.train_data.reshape(5, 20, 4), "label": data.train_label.reshape(5, 20, 3)}
    executors = [bound(name, "vm", kind=kind) for _ in range(2)]
    updaters, monitors = [], []
    for executor in executors:
        weight = executor.flat_parameters.buffers[np.dtype(kind)]
        grad = executor.flat_gradients.buffers[np.dtype(kind)]
        segments = executor.flat_parameters.segments
        updaters.append(FlatUpdater(create(optimizer, **settings), weight, grad, list(segments.items())))
        monitors.append(GradientMonitor(grad, segments))
    at_once = executors[0].train(batches, 12, updaters[0], monitors[0])
    assert calls == [12]
    one_by_one = []
    for step in range(12):
        executors[1].forward(is_train=True, data=batches["data"][step % 5], label=batches["label"][step % 5])
        executors[1].backward()
        one_by_one.append(executors[1].outputs[0].asscalar())
        updaters[1].step()
        monitors[1].batch()
    assert np.asarray(at_once).dtype == kind
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-5 * tolerance)
    np.testing.assert_allclose(
        updaters[0].weight, updaters[1].weight, rtol=1e-3 * tolerance, atol=1e-5 * tolerance
    )
    np.testing.assert_allclose(
        np.concatenate(monitors[0].batches),
        np.concatenate(monitors[1].batches),
        rtol=1e-3 * tolerance,
        atol=1e-8 * tolerance,
    )
    assert updaters[0].num_update == updaters[1].num_update == 12


def test_the_step_of_an_optimizer_is_one_loop(monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "vm")
    weight, grad = np.zeros((2, 300), np.float32)
    updater = FlatUpdater(create("adam"), weight, grad, [("a", slice(0, 300))])
    (stretch,) = updater.made().run.calls[2]
    assert told(stretch.tape) == ["loop"]


def test_an_optimizer_with_a_step_of_numpy_takes_its_steps_one_by_one():
    executor = bound("mlp4", "vm")
    weight, grad = (
        next(iter(f.buffers.values())) for f in (executor.flat_parameters, executor.flat_gradients)
    )
    segments, before = executor.flat_parameters.segments, weight.copy()
    updater = FlatUpdater(create("sgld", learning_rate=0.01), weight, grad, list(segments.items()))
    batch = {"data": np.zeros((1, 20, 4), np.float32), "label": np.zeros((1, 20, 3), np.float32)}
    assert len(executor.train(batch, 3, updater, GradientMonitor(grad, segments))) == 3
    assert updater.num_update == 3
    assert (weight != before).all()


@pytest.mark.parametrize("name", ["mlp4", "bn8", "res6"])
def test_a_network_in_float64_runs_without_a_step_in_numpy_at_full_precision(name):
    symbol, seen = cross_entropy(NETWORKS[name].build()), []
    for runner in ("vm", "numpy"):
        types = dict.fromkeys(symbol.list_arguments(), np.float64)
        executor = symbol.simple_bind(tl.cpu(), type_dict=types, runner=runner, data=(20, 4), label=(20, 3))
        generator = np.random.default_rng(0)
        for array in [*executor.arg_dict.values(), *executor.aux_dict.values()]:
            array[...] = generator.uniform(0.1, 0.5, array.shape)
        executor.forward(is_train=True, data=generator.normal(size=(20, 4)))
        executor.backward()
        seen.append(executor)
    one, other = seen
    assert one.runner(True).tape is not None
    np.testing.assert_allclose(one.outputs[0], other.outputs[0], rtol=1e-13)
    scale = max(np.abs(g).max() for g in other.gradients.values())
    for key, gradient in other.gradients.items():
        assert one.gradients[key].dtype == np.float64
        np.testing.assert_allclose(one.gradients[key], gradient, rtol=1e-11, atol=1e-13 * scale, err_msg=key)


def test_a_long_sum_keeps_its_digits_whatever_lies_between_its_elements():
    x = np.random.default_rng(0).uniform(0.5, 1, (500_000, 2)).astype("f4")
    found = tl.jit(lambda x: tl.sum(tl.transpose(x), axis=1), runner="vm")(x).numpy()
    np.testing.assert_allclose(found, x.sum(axis=0, dtype=float), rtol=4e-7)


def test_nan_and_infinity_pass_through_relu_and_maximum():
    net = sym.relu(sym.Variable("a"))
    executor = net.simple_bind(tl.cpu(), grad_req="null", a=(5,))
    executor.runner_name = "vm"
    values = np.array([np.nan, np.inf, -np.inf, -1, 2], np.float32)
    np.testing.assert_array_equal(executor.forward(a=values)[0], np.maximum(values, 0))


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("fixed", [True, False])
def test_any_number_of_columns_is_normalized(columns, fixed):
    generator = np.random.default_rng(columns)
    x = generator.normal(2, 3, size=(7, columns))
    symbol = sym.BatchNorm(sym.Variable("x"), fix_gamma=fixed, name="bn")
    seen = []
    for runner in ("vm", "numpy"):
        executor = symbol.simple_bind(tl.cpu(), x=x.shape, runner=runner)
        executor.copy_params_from(
            {"bn_gamma": np.linspace(1, 2, columns), "bn_beta": np.arange(columns)},
            {"bn_moving_var": np.ones(columns)},
        )
        executor.forward(is_train=True, x=x)
        executor.backward(x * x)
        trained = [
            executor.outputs[0].asnumpy(),
            *(g.asnumpy() for g in executor.grad_arrays),
            *(s.asnumpy() for s in executor.aux_arrays),
        ]
        seen.append([*trained, executor.forward(is_train=False)[0].asnumpy()])
    for one, other in zip(*seen, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5 * np.abs(other).max())
