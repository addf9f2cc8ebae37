"""The interpreter against the NumPy runner, which is the meaning of a plan."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="the interpreter is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.lesson.data import load
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.run import interpreter, kernels
from tinygrad_lesson.run.segment import Segment
from tinygrad_lesson.run.vm import VMRunner
from tinygrad_lesson.train.initializer import Uniform
from tinygrad_lesson.train.monitor import GradientMonitor
from tinygrad_lesson.train.optimizer import FlatUpdater, create


def over(kernel, x):
    """A function of the interpreter over an array: one row, and rows of five whose elements lie two apart."""
    size = len(x) // 10 * 10
    A, u = np.concatenate([x, np.zeros_like(x)]), np.uint64
    kernel(A, u(len(x)), u(0), u(0), u(0), u(1), u(1), u(len(x)))
    whole = A[len(x) :].copy()
    A[len(x) :] = 0
    kernel(A, u(len(x)), u(5), u(0), u(10), u(2), u(size // 10), u(5))
    np.testing.assert_array_equal(A[len(x) : len(x) + size // 2], whole[:size:2])
    A[: len(x)] = x
    kernel(A, u(0), u(0), u(0), u(0), u(1), u(1), u(len(x)))  # in place
    np.testing.assert_array_equal(A[: len(x)], whole)
    return whole


def exactly(name, x):
    """The function in float64, which is exact enough to be the judge."""
    with np.errstate(all="ignore"):
        if name == "logistic":
            return np.where(x >= 0, 1, np.exp(np.minimum(x, 0))) / (1 + np.exp(-np.abs(x)))
        return {
            "exponential": np.exp,
            "logarithm": np.log,
            "hyperbolic_tangent": np.tanh,
            "log_1_plus": np.log1p,
        }[name](x)


@pytest.mark.parametrize("name", ["exponential", "logarithm", "hyperbolic_tangent", "logistic", "log_1_plus"])
def test_transcendentals_err_by_two_ulp_at_most_over_all_of_float32(name):
    bits = np.arange(0, 1 << 32, 4093, dtype=np.uint64).astype(np.uint32)
    special = np.array(
        [0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, 88.7, -87.4, -103.9], np.float32
    )
    x = np.concatenate([bits.view(np.float32), special])
    with np.errstate(all="ignore"):
        found, exact = over(getattr(kernels, name), x), exactly(name, x.astype(np.float64))
        rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded)
    ulps = np.abs(found[finite].astype(float) - exact[finite]) / np.spacing(np.abs(rounded[finite])).astype(
        float
    )
    assert ulps.max() <= 2
    np.testing.assert_array_equal(found[~finite], rounded[~finite])


def bound(name, runner, rows=20):
    """A network of the lesson, bound with the first weights of seed 0, one batch in place."""
    symbol = cross_entropy(NETWORKS[name].build())
    requests = {n: "null" if n in ("data", "label") else "write" for n in symbol.list_arguments()}
    executor = symbol.simple_bind(tl.cpu(), grad_req=requests, data=(rows, 4), label=(rows, 3))
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
    ],
)
def test_many_steps_in_one_call_are_the_steps_one_by_one(name, optimizer, settings):
    data = load()
    batches = {"data": data.train_data.reshape(5, 20, 4), "label": data.train_label.reshape(5, 20, 3)}
    executors = [bound(name, "vm") for _ in range(2)]
    updaters, monitors = [], []
    for executor in executors:
        weight = executor.flat_parameters.buffers[np.dtype("float32")]
        grad = executor.flat_gradients.buffers[np.dtype("float32")]
        segments = executor.flat_parameters.segments
        updaters.append(FlatUpdater(create(optimizer, **settings), weight, grad, list(segments.items())))
        monitors.append(GradientMonitor(grad, segments))
    at_once = executors[0].train(batches, 12, updaters[0], monitors[0])
    one_by_one = []
    for step in range(12):
        executors[1].forward(is_train=True, data=batches["data"][step % 5], label=batches["label"][step % 5])
        executors[1].backward()
        one_by_one.append(executors[1].outputs[0][0])
        updaters[1].step()
        monitors[1].batch()
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-5)
    np.testing.assert_allclose(updaters[0].weight, updaters[1].weight, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        np.array(monitors[0].batches), np.array(monitors[1].batches), rtol=1e-3, atol=1e-8
    )
    assert updaters[0].num_update == updaters[1].num_update == 12


def test_settings_that_the_interpreter_does_not_know_are_left_to_the_optimizer():
    executor = bound("mlp4", "vm")
    weight, grad = (
        next(iter(f.buffers.values())) for f in (executor.flat_parameters, executor.flat_gradients)
    )
    segments = executor.flat_parameters.segments
    updater = FlatUpdater(create("sgd", wd=0.1), weight, grad, list(segments.items()))
    batch = {"data": np.zeros((1, 20, 4), np.float32), "label": np.zeros((1, 20, 3), np.float32)}
    assert executor.train(batch, 3, updater, GradientMonitor(grad, segments)) is None
    assert updater.num_update == 0


def test_a_plan_in_float64_runs_in_numpy_at_full_precision():
    net = sym.MakeLoss(sym.sum(sym.tanh(sym.Variable("a")) * sym.Variable("b")))
    executor = net.simple_bind(tl.cpu(), type_dict={"a": np.float64, "b": np.float64}, a=(3, 4), b=(3, 4))
    executor.runner_name = "vm"
    a, b = np.random.RandomState(0).randn(2, 3, 4)
    executor.forward(is_train=True, a=a, b=b)
    executor.backward()
    np.testing.assert_allclose(executor.grad_dict["a"], b * (1 - np.tanh(a) ** 2), rtol=1e-14)


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


def test_the_cache_goes_by_the_code_of_all_kernels(monkeypatch, tmp_path):
    assert interpreter.fingerprint() == interpreter.fingerprint()
    for name in ("simd.py", "transcendental.py", "expressions.py", "microkernels.py", "kernels.py"):
        (tmp_path / name).write_text("# other code")
    monkeypatch.setattr(interpreter, "__file__", str(tmp_path / "interpreter.py"))
    changed = interpreter.fingerprint()
    monkeypatch.undo()
    assert changed != interpreter.fingerprint()


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
@pytest.mark.parametrize("shape", [(1, 10), (3, 10), (4, 10), (7, 1), (9, 15), (20, 16), (6, 17)])
def test_rows_and_columns_are_repeated_in_place_too(name, shape):
    m, n = shape
    generator = np.random.default_rng(m * n)
    a, u = generator.normal(size=shape).astype(np.float32), np.uint64
    for other, strides in (((n,), (0, 1)), ((m, 1), (1, 0)), (shape, (n, 1)), ((1,), (0, 0))):
        b = generator.uniform(0.5, 2, size=other).astype(np.float32)
        for at in (0, 2 * m * n):  # where the result goes: in place, or apart
            A = np.full(4 * m * n, 7, np.float32)
            A[: m * n], A[m * n : m * n + b.size] = a.ravel(), b.ravel()
            expected = A.copy()
            expected[at : at + m * n] = getattr(np, name)(a, b).ravel()
            row = (at, n, 0, n, 1, m * n, *strides, m, n)
            getattr(kernels, name)(A, *map(u, row))
            np.testing.assert_allclose(A, expected, rtol=3e-7)


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
