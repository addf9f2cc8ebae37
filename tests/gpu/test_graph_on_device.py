"""Large plans as few kernels and products, captured in one graph: launches, numbers, order, missing barriers."""

import functools
import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from nvidia import NVCC, compiled
from test_block_on_device import NAMES, operands

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import DeviceError
from tinygrad_lesson.mxnet.executor import OUTPUT
from tinygrad_lesson.run import block, cublas, graph, groups, kernels
from tinygrad_lesson.run.cuda import rows_of
from tinygrad_lesson.run.groups import grouped, launches, mark_stored

pytestmark = pytest.mark.strict_arrays
HERE, THERE = tl.cpu(), tl.gpu(0)
FITTING, LIBRARY = graph.fitting, cublas.library
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def graphs(blocks, monkeypatch):
    """Every plan takes this way; few threads, since each barrier costs the stand-in two system calls a thread."""
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")
    monkeypatch.setattr(graph, "fitting", graph.GraphRunner)
    monkeypatch.setattr(kernels, "THREADS", 16)
    monkeypatch.setattr(kernels, "WARP", 4)


def carried_out(xp, calls):
    """Arrays that calls (name, inputs, named, like what comes out) make, all of them by one program."""
    items, made = [], []
    for name, inputs, named, out in calls:
        made.append(xp.asarray(np.full_like(out, 7)))
        given = [xp.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        items += rows_of(name, given, named, made[-1])
    found = grouped(items)
    mark_stored(found, [graph.extent(x) for x in made])
    program = graph.Program(xp, 0, launches(found), xp.asarray(np.array([0, 1])))
    program.go()
    return [x.get() for x in made], program


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_elementwise_operation_is_numpys(blocks, kind):
    calls = []
    with np.errstate(all="ignore"):
        for name in NAMES:
            inputs = operands(name, kind)
            calls.append((name, inputs, {}, getattr(np, name)(*inputs)))
            if len(inputs) == 2:
                calls.append((name, (inputs[0].T, 0.5), {}, getattr(np, name)(inputs[0].T, 0.5)))
    found, program = carried_out(blocks, calls)
    compiled(program.text)
    for x, (name, _, _, want) in zip(found, calls, strict=True):
        rounding = 4e-7 if kind == np.float32 else 1e-15
        np.testing.assert_allclose(x, want, rtol=rounding, atol=rounding / 4, err_msg=name)


AXES = [{"axis": 0}, {"axis": 1, "keepdims": True}, {"axis": (-1,)}, {"axis": None}, {"axis": (0, 2)}]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_reduction_is_numpys(blocks, kind):
    generator, calls = np.random.default_rng(0), []
    for name in ("add", "multiply", "maximum", "minimum", "logical_and", "logical_or"):
        for named in AXES:
            for shape in ((4, 5, 3), (2, 40, 33), (70, 2, 2)):
                x = generator.uniform(0.9, 1.1, shape).astype(kind)  # whose product is a number still
                x = x > 0.905 if name.startswith("logical") else x
                calls.append(
                    (f"{name}.reduce", (x,), named, np.asarray(getattr(np, name).reduce(x, **named)))
                )
    found, program = carried_out(blocks, calls)
    compiled(program.text)
    for x, (name, (given,), _, want) in zip(found, calls, strict=True):
        rounding = np.finfo(kind).eps * given.size  # as each order of adding up keeps to
        np.testing.assert_allclose(x, want, rtol=rounding, err_msg=name)


def test_numbers_of_other_types_are_numpys(blocks):
    i, f, b = np.arange(6) - 2, np.linspace(-1, 2, 6, dtype="f"), np.arange(6) % 2 == 0
    pairs = [("add", (i, f)), ("multiply", (b, b)), ("add", (b, b)), ("divide", (i, i)), ("greater", (i, 0)),
             ("where", (i, f, 2.0)), ("equal", (f, i)), ("maximum", (i.astype("i4"), i))]  # fmt: skip
    with np.errstate(all="ignore"):
        calls = [(name, inputs, {}, getattr(np, name)(*inputs)) for name, inputs in pairs]
    calls.append(("astype", (f * 3,), {}, (f * 3).astype("i4")))
    for x, (name, _, _, want) in zip(carried_out(blocks, calls)[0], calls, strict=True):
        np.testing.assert_allclose(x, want, rtol=1e-15, err_msg=name)


PRODUCTS = [((7, 5), (5, 4)), ((3, 7, 5), (3, 5, 4)), ((1, 5), (5, 1)), ((3, 1, 5), (3, 5, 4)), ((1, 7, 5), (1, 5, 4)),
            ((2, 3, 7, 5), (5, 4))]  # fmt: skip
OTHERS = [((5,), (5, 4)), ((7, 5), (5,)), ((3, 7, 5), (5,)), ((4,), (4,))]


def lying(x, turned):
    """The same matrices, with their columns one behind the other if `turned`."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) if turned and x.ndim > 1 else x


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shapes", [*PRODUCTS, *OTHERS], ids=str)
def test_products_are_numpys(blocks, kind, shapes):
    generator, calls = np.random.default_rng(0), []
    for turned in range(8):
        a, b = (lying(generator.normal(size=s).astype(kind), turned >> i & 1) for i, s in enumerate(shapes))
        out = lying(a @ b, turned >> 2)
        given, target = [blocks.asarray(x) for x in (a, b)], blocks.asarray(np.full_like(out, 7))
        (row,) = rows_of("matmul", given, {}, target)
        gemm = cublas.gemm_of(row)
        assert (gemm is not None) == (shapes in PRODUCTS)
        if gemm is not None:
            cublas.products(blocks, 0).carry_out(row, gemm)
            np.testing.assert_allclose(target.get(), a @ b, rtol=1e-5, atol=1e-6)
        calls.append(("matmul", (a, b), {}, out))
    for x, (_, (a, b), _, _) in zip(carried_out(blocks, calls)[0], calls, strict=True):  # by our own kernel
        np.testing.assert_allclose(x, a @ b, rtol=1e-5, atol=1e-6)


def test_sizes_beyond_32_bits_are_not_for_cublas(blocks, monkeypatch):
    a, b, out = (blocks.ones(shape, "f") for shape in ((7, 5), (5, 4), (7, 4)))
    (row,) = rows_of("matmul", (a, b), {}, out)
    for most, fits in ((8, True), (7, False)):  # in the place of 1 << 31
        monkeypatch.setattr(cublas, "MOST", most)
        assert (cublas.gemm_of(row) is not None) == fits


def products_of_ones(xp):
    """A product in a captured graph."""
    a, out = xp.ones((4, 4), "f"), xp.zeros((4, 4), "f")
    (row,) = rows_of("matmul", (a, a), {}, out)
    run = functools.partial(cublas.products(xp, 0).carry_out, row, cublas.gemm_of(row))
    program = graph.Program(xp, 0, [groups.Plain(run, [], [], True, "matmul")], xp.zeros(2, np.int64))
    program.go(2)
    return out.get()


def test_a_handle_of_our_own_is_captured(blocks, monkeypatch):
    np.testing.assert_array_equal(products_of_ones(blocks), 4)
    assert [x["mode"] for x in blocks.cublas.handles.values()][-1] == cublas.DEFAULT
    monkeypatch.setenv("CUPY_TF32", "1")
    cublas.products.cache_clear()
    products_of_ones(blocks)
    assert [x["mode"] for x in blocks.cublas.handles.values()][-1] == cublas.TF32
    monkeypatch.setattr(blocks.cublas, "cublasSetWorkspace_v2", lambda *given: 0)
    with pytest.raises(DeviceError, match="cuBLAS: cublasSgemmStridedBatched gives status 13"):
        products_of_ones(blocks)


def test_a_library_that_is_not_there_is_one_clear_line(unknown_xp):
    if importlib.util.find_spec("cuda") is not None:
        pytest.skip("cuda-pathfinder is here")
    with pytest.raises(DeviceError, match="cuBLAS cannot be loaded: No module named 'cuda'; pip install"):
        LIBRARY()


def softmax(xp):
    """A softmax along rows by one kernel with two reductions in it."""
    x, e, y = (np.random.default_rng(k).normal(size=(3, 40)).astype("f") for k in range(3))
    items, top, total = [], *(xp.zeros((3, 1), "f") for _ in range(2))
    x, e, y = map(xp.asarray, (x, e, y))
    for name, inputs, named, out in [
        ("maximum.reduce", (x,), {"axis": 1, "keepdims": True}, top), ("subtract", (x, top), {}, e), ("exp", (e,), {}, e),
        ("add.reduce", (e,), {"axis": 1, "keepdims": True}, total), ("divide", (e, total), {}, y),
    ]:  # fmt: skip
        items += rows_of(name, inputs, named, out)
    found = grouped(items)
    assert len(found) == 1
    mark_stored(found, [graph.extent(y)])
    graph.Program(xp, 0, launches(found), xp.zeros(2, np.int64)).go()
    return y.get(), np.exp(x.get()) / np.exp(x.get()).sum(axis=1, keepdims=True)


def test_a_softmax_is_one_kernel(blocks):
    np.testing.assert_allclose(*softmax(blocks), rtol=1e-6)


@pytest.mark.parametrize("number", range(kernels.TOGETHER.count("__syncthreads();")))
def test_a_missing_barrier_is_seen(blocks, monkeypatch, number):
    parts = kernels.TOGETHER.split("__syncthreads();")
    halves = ["__syncthreads();".join(part) for part in (parts[: number + 1], parts[number + 1 :])]
    monkeypatch.setattr(kernels, "TOGETHER", "".join(halves))
    with pytest.raises(blocks.RaceError, match="order of the threads"):
        softmax(blocks)


def turned_round(xp):
    """What reads the results of other threads: two kernels, whose arrays last but for the first."""
    x = np.arange(40, dtype="f")
    first, second = xp.zeros(40, "f"), xp.zeros(40, "f")
    items = rows_of("add", (xp.asarray(x), 1.0), {}, first) + rows_of(
        "multiply", (first[::-1], 2.0), {}, second
    )
    found = grouped(items)
    mark_stored(found, [graph.extent(second)])
    graph.Program(xp, 0, launches(found), xp.zeros(2, np.int64)).go()
    return second.get(), (x + 1)[::-1] * 2


def test_what_another_thread_has_written_is_read_by_the_next_launch(blocks, monkeypatch):
    np.testing.assert_array_equal(*turned_round(blocks))
    monkeypatch.setattr(groups.Extent, "meets", lambda *both: False)
    with pytest.raises((AssertionError, blocks.RaceError)):
        np.testing.assert_array_equal(*turned_round(blocks))


def test_what_is_read_later_is_stored(blocks, monkeypatch):
    monkeypatch.setattr(groups, "read_later", lambda *both: False)
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(*turned_round(blocks))


def perceptron():
    h = sym.Variable("data")
    for i in range(2):
        h = sym.relu(sym.FullyConnected(h, num_hidden=17, name=f"fc{i}"))
    return sym.FullyConnected(h, num_hidden=10, name="fc2")


def convolutions():
    h = sym.Variable("data")
    for i, filters in enumerate((3, 4)):
        h = sym.Convolution(h, kernel=(3, 3), num_filter=filters, pad=(i, i), name=f"conv{i}")
        h = sym.Pooling(sym.relu(h), kernel=(2, 2), stride=(2, 2), pool_type="max")
    return sym.FullyConnected(sym.Flatten(h), num_hidden=10, name="fc")


def normalized():
    h = sym.Convolution(
        sym.Variable("data"), kernel=(3, 3), num_filter=4, stride=(2, 2), pad=(1, 1), name="conv"
    )
    h = sym.relu(sym.BatchNorm(h, fix_gamma=False, name="bn"))
    h = sym.Pooling(h, kernel=(1, 1), global_pool=True, pool_type="avg")
    return sym.FullyConnected(sym.Flatten(h), num_hidden=10, name="fc")


NETWORKS = {
    "perceptron": (perceptron, (12,)),
    "convolutions": (convolutions, (1, 14, 14)),
    "normalized": (normalized, (2, 6, 6)),
}


def of_training(symbol, shape, place, batch=6, **settings):
    """An executor, three batches, and what `train` takes besides, with the same numbers on every device."""
    loss = sym.MakeLoss(-sym.mean(sym.log(sym.softmax(symbol) + 1e-8) * sym.Variable("label")))
    model = tl.FeedForward(loss, place, 1, seed=0, initializer=tl.mx.init.Uniform(0.4), **settings)
    generator = np.random.default_rng(2)
    label = np.eye(10, dtype=np.float32)[generator.integers(0, 10, (3, batch))]
    batches = {"data": generator.normal(size=(3, batch, *shape)).astype(np.float32), "label": label}
    executor = model.bind_training({name: x[0] for name, x in batches.items()})
    updater, monitor = model.start(executor)
    return executor, batches, updater, monitor.watched


def one_by_one(executor, batches, updater, watched, steps):
    """The same steps on the processor."""
    run, losses, magnitudes = executor.runner(True), [], []
    for i in range(steps):
        for name, rows in batches.items():
            executor.arguments[name][...] = rows[i % 3]
        run.forward()
        run.backward()
        losses.append(run.result(OUTPUT + "0").mean())
        magnitudes.append([abs(updater.grad[a : a + n]).mean() for a, n in watched.tolist()])
        updater.step()
    return np.array(losses), np.array(magnitudes)


@pytest.mark.parametrize("long", [1 << 14, 40], ids=["whole", "in parts"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_learn_as_on_the_processor(blocks, monkeypatch, name, long):
    monkeypatch.setattr(graph, "LONG", long)
    monkeypatch.setattr(graph, "CHUNK", 16)
    made, shape = NETWORKS[name]
    host, device = (of_training(made(), shape, place, optimizer="adam") for place in (HERE, THERE))
    wanted, run = one_by_one(*host, 7), device[0].runner(True)
    found = run.train(device[1], 7, *device[2:3], OUTPUT + "0", device[3])
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
    program = run.steps[1]
    with blocks.counts.of() as seen, blocks.no_transfers("in a step"):
        program.go()
    assert (seen.graph_launches, seen.allocations, seen.allocated_in_capture) == (1, 0, 0)
    assert len(program.graph.calls) == len(program)
    for key, x in host[0].gradients.items():
        np.testing.assert_allclose(device[0].gradients[key].get().shape, x.shape)


def test_parts_one_after_the_other_are_those_of_the_processor(blocks):
    host, device = (of_training(convolutions(), (1, 14, 14), place)[:2] for place in (HERE, THERE))
    for executor, batches in (host, device):
        for _ in range(3):  # launched, captured, replayed
            executor.forward(is_train=True, **{name: x[0] for name, x in batches.items()})
            executor.backward()
    for key, x in host[0].gradients.items():
        np.testing.assert_allclose(device[0].gradients[key].get(), x, rtol=2e-5, atol=1e-8)


def test_data_larger_than_the_device_come_in_halves(blocks, monkeypatch):
    made, shape = NETWORKS["perceptron"]
    host, device = (of_training(made(), shape, place) for place in (HERE, THERE))
    each = sum(x[0].nbytes for x in device[1].values())
    monkeypatch.setattr(blocks, "FREE", blocks.FREE)
    blocks.FREE.append(2 * each * 2 + each)  # of which half: two batches, so that a half holds one
    try:
        run, given = device[0].runner(True), (device[2], OUTPUT + "0", device[3])
        with blocks.counts.of() as seen:
            run.train(device[1], 0, *given)  # as `fit` does first
        assert seen.bytes_h2d < each
        ready = run.steps
        found = run.train(device[1], 7, *given)
        assert run.steps is ready
    finally:
        blocks.FREE.pop()
    assert device[0].runner(True).steps[0].rows == 2
    for x, y in zip(found, one_by_one(*host, 7), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


SIZES = {"mnist-mlp": (128, (784,), 10), "lenet": (64, (1, 28, 28), 10)}


def of_benchmark(name, monkeypatch):
    """What a training of a network of the benchmark takes, in its size."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    networks, workloads = map(importlib.import_module, ("networks", "workloads"))
    batch, shape, classes = SIZES.get(name, (20, (4,), 3))
    rule = {"optimizer": "adam"} if name in workloads.ADAM else {"momentum": 0.9}
    model = tl.FeedForward(networks.network(name), THERE, 1, initializer=tl.mx.init.Uniform(0.1), **rule)
    rows = {"data": np.zeros((1, batch, *shape), "f"), "label": np.zeros((1, batch, classes), "f")}
    executor = model.bind_training({key: x[0] for key, x in rows.items()})
    updater, monitor = model.start(executor)
    return executor.runner(True), (rows, 64, updater, OUTPUT + "0", monitor.watched)


@pytest.mark.parametrize(("name", "most"), [("mnist-mlp", 25), ("lenet", 45)])
def test_launches_of_a_step(blocks, monkeypatch, name, most):
    run, given = of_benchmark(name, monkeypatch)
    program = run.step_of(run.steps_of(*given), given[2].made().run)
    assert not program.why
    assert len(program) <= most
    compiled(program.text)


@pytest.mark.parametrize("name", ["mlp4", "bn8", "res25", "dense6", "res1000"])
def test_all_steps_of_a_small_network_are_one_launch(blocks, monkeypatch, name):
    monkeypatch.setattr(graph, "fitting", FITTING)
    launched = []
    monkeypatch.setattr(block.BlockRunner, "launch", lambda run, *given: launched.append(given[2:]))
    run, given = of_benchmark(name, monkeypatch)
    run.train(*given)
    assert launched == [(0, 64, 1)]


@pytest.mark.skipif(NVCC is None, reason="nvcc, NVIDIA's compiler, is not here")
def test_the_kernel_of_a_block_is_what_nvcc_takes(blocks):
    compiled(block.source())


def test_a_function_of_cupys_in_a_graph_works_in_place(blocks):
    """CuPy copies an input that shares memory with the target, unless it is the same object; a graph must not allocate."""
    run = sym.exp(sym.tanh(sym.Variable("x") * 3)).simple_bind(THERE, type_dict={"x": "float16"}, x=(5, 3))
    x = np.linspace(0, 4, 15, dtype="f2").reshape(5, 3)  # for which no kernel of ours is written
    for _ in range(3):
        run.forward(x=x)
        np.testing.assert_allclose(run.outputs[0].asnumpy(), np.exp(np.tanh(x * np.float16(3))), rtol=2e-3)
    with blocks.counts.of() as seen:
        run.runner(False).forward()
    assert (seen.graph_launches, seen.allocations) == (1, 0)
