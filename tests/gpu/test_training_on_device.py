"""Training on a device: executors, optimizers, metrics, the lesson's networks; nothing crosses within a step."""

import re

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import BindError, DeviceError, ShapeError
from tinygrad_lesson.lesson.networks import NETWORKS
from tinygrad_lesson.lesson.run import train
from tinygrad_lesson.mxnet.executor import OUTPUT
from tinygrad_lesson.train import optimizer as optimizers

pytestmark = pytest.mark.strict_arrays
GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(size=(24, 4)).astype(np.float32)
CLASSES = (ROWS[:, 0] > 0).astype(np.float32)


def net():
    data = sym.Variable("data")
    hidden = sym.BatchNorm(sym.FullyConnected(data, num_hidden=5, name="fc1"), name="bn", fix_gamma=False)
    return sym.SoftmaxOutput(sym.FullyConnected(sym.tanh(hidden), num_hidden=2, name="fc2"), name="softmax")


def bound(place, **more):
    return net().simple_bind(place, data=(6, 4), softmax_label=(6,), **more)


def fill(executor):
    """The same numbers on every device."""
    for name, array in sorted({**executor.arg_dict, **executor.aux_dict}.items()):
        array[:] = np.random.default_rng(len(name)).normal(size=array.shape) * 0.3
    executor.aux_dict["bn_moving_var"][:] = 1
    return executor


def test_an_executor_takes_host_values_and_gives_them_back(xp):
    host, device = fill(bound(tl.cpu())), fill(bound(tl.gpu(0)))
    assert device.arg_dict["fc1_weight"].context == tl.gpu(0)
    for executor in (host, device):
        executor.forward(is_train=True, data=ROWS[:6], softmax_label=CLASSES[:6])
        executor.backward()
    for found, wanted in ((device.outputs, host.outputs), (device.grad_arrays, host.grad_arrays)):
        for x, y in zip(found, wanted, strict=True):
            assert x.context == tl.gpu(0)
            np.testing.assert_allclose(x.asnumpy(), y.asnumpy(), rtol=1e-5, atol=1e-6)
    for name, state in device.aux_dict.items():
        np.testing.assert_allclose(state.asnumpy(), host.aux_dict[name].asnumpy(), rtol=1e-6)
    assert "@gpu(0)" in repr(device.outputs[0])


def test_a_step_moves_nothing_and_waits_for_nothing(xp):
    executor = fill(bound(tl.gpu(0)))
    there = {
        "data": tl.mx.nd.array(ROWS[:6], ctx=tl.gpu(0)),
        "softmax_label": tl.mx.nd.array(CLASSES[:6], ctx=tl.gpu(0)),
    }
    executor.forward(is_train=True, **there)
    executor.backward()
    with xp.no_transfers("in a step"):
        executor.forward(is_train=True, **there)
        executor.backward()
        executor.arg_dict["fc1_weight"][:] -= 0.1 * executor.grad_dict["fc1_weight"]


def test_values_from_anywhere_are_checked_before_any_is_copied(xp):
    executor = fill(bound(tl.gpu(0)))
    before = executor.arg_dict["fc1_bias"].asnumpy()
    with pytest.raises(ShapeError, match="fc2_weight"):
        executor.copy_params_from({"fc1_bias": np.ones(5), "fc2_weight": np.ones(3)})
    np.testing.assert_array_equal(executor.arg_dict["fc1_bias"].asnumpy(), before)
    with pytest.raises(BindError):
        executor.forward(dataa=ROWS)
    executor.arg_dict["fc1_bias"] = tl.mx.nd.ones(5)
    executor.grad_dict["fc1_bias"][:] = executor.arg_dict["fc1_bias"] * 2
    assert executor.grad_dict["fc1_bias"].asnumpy().tolist() == [2.0] * 5
    executor.reshape(data=(3, 4), softmax_label=(3,)).forward(data=ROWS[:3])


def test_arrays_of_another_device_are_refused(xp):
    x = sym.exp(sym.Variable("x"))
    with pytest.raises(DeviceError, match=r"'x' is on cpu\(0\), the executor on gpu\(0\)"):
        x.bind(tl.gpu(0), {"x": np.ones(2, np.float32)})
    with pytest.raises(DeviceError, match=r"'x' is on gpu\(0\), the executor on cpu\(0\)"):
        x.bind(tl.cpu(), {"x": tl.mx.nd.ones(2, ctx=tl.gpu(0))})
    (y,) = x.bind(tl.gpu(0), {"x": tl.mx.nd.ones(2, ctx=tl.gpu(0))}).forward()
    np.testing.assert_allclose(y.asnumpy(), np.exp([1, 1]), rtol=1e-6)


RULES = [(name, {}) for name in optimizers.OPTIMIZERS if name != "sgld"] + [  # whose draws differ by device
    ("sgd", {"momentum": 0.9, "wd": 0.1, "clip_gradient": 0.5}),
    ("adam", {"wd": 0.1}),
    ("nag", {"momentum": 0.9}),
    ("rmsprop", {"centered": True}),
]


@pytest.mark.parametrize(("name", "settings"), RULES, ids=lambda x: str(x))
def test_every_optimizer_takes_the_steps_of_the_processor(xp, name, settings):
    made = [optimizers.create(name, **settings) for _ in range(2)]
    segments = [("a_weight", slice(0, 6)), ("a_bias", slice(6, 10))]
    arrays = [GENERATOR.normal(size=10).astype(np.float32) for _ in range(2)]
    host = [x.copy() for x in arrays]
    there = [xp.asarray(x) for x in arrays]
    updaters = [optimizers.FlatUpdater(o, *w, segments) for o, w in zip(made, (host, there), strict=True)]
    for updater in updaters:
        updater.step()
    with xp.no_transfers("in a step"):
        updaters[1].step()
    updaters[0].step()
    np.testing.assert_allclose(there[0].get(), host[0], rtol=2e-6, atol=1e-7)
    states = [updater.get_state() for updater in updaters]
    for key, moment in states[0].items():
        np.testing.assert_allclose(states[1][key], moment, rtol=2e-6, atol=1e-7)
    updaters[1].set_state(states[0], 2)


def test_langevin_draws_on_the_device(xp):
    weight, grad = xp.zeros(4000, "f"), xp.zeros(4000, "f")
    updater = optimizers.FlatUpdater(
        optimizers.create("sgld", learning_rate=0.25), weight, grad, [("w", slice(0, 4000))]
    )
    updater.step()
    with xp.no_transfers("in a step"):
        updater.step()
    noise = weight.get()
    assert abs(noise.std() - 0.5 * 2**0.5) < 0.04


@pytest.fixture(autouse=True)
def numpy_runner(monkeypatch):
    """The processor's numbers are those of the runner that makes the same calls; others round otherwise."""
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")


def model(place, epochs, **more):
    return tl.FeedForward(net(), place, epochs, numpy_batch_size=6, seed=3, **{"learning_rate": 0.2, **more})


@pytest.mark.parametrize(
    "settings", [{}, {"optimizer": "adam"}, {"optimizer": "rmsprop"}, {"momentum": 0.9}], ids=str
)
def test_fit_gives_the_history_of_the_processor(xp, settings):
    host, device = (model(place, 6, **settings) for place in (tl.cpu(), tl.gpu(0)))
    for m in (host, device):
        m.fit(ROWS, CLASSES, progress=False)
    np.testing.assert_allclose(device.history.loss, host.history.loss, rtol=1e-4)
    for name, rows in host.history.mean_abs_grad.items():
        np.testing.assert_allclose(device.history.mean_abs_grad[name], rows, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(device.predict(ROWS), host.predict(ROWS), atol=1e-4)
    assert device.score(ROWS, CLASSES) == host.score(ROWS, CLASSES)


def test_a_checkpoint_is_the_same_file(xp, tmp_path):
    trained = model(tl.gpu(0), 2)
    trained.fit(ROWS, CLASSES, progress=False)
    trained.save(str(tmp_path / "m"), 2)
    there, here = (tl.FeedForward.load(str(tmp_path / "m"), 2, ctx=place) for place in (tl.gpu(0), tl.cpu()))
    np.testing.assert_allclose(there.predict(ROWS), here.predict(ROWS), atol=1e-6)
    np.testing.assert_array_equal(there.arg_params["fc1_weight"], trained.arg_params["fc1_weight"])


def test_a_predictor_keeps_its_parameters_there(xp):
    trained = model(tl.gpu(0), 1)
    trained.fit(ROWS, CLASSES, progress=False)
    before = trained.predict(ROWS[:6])
    with xp.counts.of() as seen:
        np.testing.assert_array_equal(trained.predict(ROWS[:6]), before)
    assert (seen.h2d, seen.d2h) == (1, 1)  # the rows, and the answers
    trained.arg_params["fc2_bias"][0] += 1
    with xp.counts.of() as seen:
        assert (trained.predict(ROWS[:6])[:, 0] > before[:, 0]).all()
    assert (seen.h2d, seen.d2h) == (2, 1)


def test_a_training_with_draws_on_the_device_goes_on_from_a_file(xp, tmp_path):
    def fresh(epochs):
        hidden = sym.Dropout(sym.FullyConnected(sym.Variable("data"), num_hidden=9, name="fc1"), p=0.5)
        net = sym.SoftmaxOutput(sym.FullyConnected(hidden, num_hidden=2, name="fc2"), name="softmax")
        return tl.FeedForward(net, tl.gpu(0), epochs, numpy_batch_size=6, seed=3)

    whole, broken = fresh(4), fresh(2)
    for m in (whole, broken):
        m.fit(ROWS, CLASSES, progress=False)
    assert broken.generator.draws_on_devices == 8
    broken.save(str(tmp_path / "m"), states=True)
    later = tl.FeedForward.load(str(tmp_path / "m"), 2, ctx=tl.gpu(0), num_epoch=4)
    later.fit(ROWS, CLASSES, progress=False)
    for name, x in whole.arg_params.items():
        np.testing.assert_array_equal(later.arg_params[name], x)


def short_of(size):
    """An allocator of a device that has no room for so much at a time."""

    def allocate(asked):
        if asked > size:
            raise MemoryError(f"Out of memory allocating {asked:,} bytes")

    return allocate


def test_what_there_is_no_room_for_is_one_clear_line(xp):
    wide = sym.FullyConnected(sym.tanh(sym.Variable("data"), name="th"), num_hidden=2, name="fc")
    with xp.cuda.using_allocator(short_of(3000)), pytest.raises(BindError) as found:
        wide.simple_bind(tl.gpu(0), data=(6, 200))
    assert str(found.value).endswith(
        "1602 numbers of float32 on gpu(0): Out of memory allocating 6,408 bytes"
    )
    executor = wide.simple_bind(tl.gpu(0), data=(6, 200))
    with xp.cuda.using_allocator(short_of(3000)), pytest.raises(BindError) as found:
        executor.forward(is_train=True)
    told = "an arena of .* bytes, of which th takes 4800, .* on gpu.0.: Out of memory allocating"
    assert re.search(told, str(found.value))
    assert "\n" not in str(found.value)


def test_callbacks_see_each_batch(xp):
    seen = []
    trained = model(tl.gpu(0), 2)
    trained.fit(ROWS, CLASSES, batch_end_callback=lambda told: seen.append(told.nbatch), progress=False)
    assert seen == [1, 2, 3, 4] * 2
    at_once = model(tl.gpu(0), 2)
    at_once.fit(ROWS, CLASSES, progress=False)
    np.testing.assert_allclose(trained.history.loss, at_once.history.loss, rtol=1e-6)
    for name, rows in at_once.history.mean_abs_grad.items():
        np.testing.assert_allclose(trained.history.mean_abs_grad[name], rows, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "ftrl"])
def test_many_steps_move_no_more_than_one(xp, optimizer):
    def moved(steps):
        m = model(tl.gpu(0), 1, optimizer=optimizer)
        batch = {"data": ROWS[:6], "softmax_label": CLASSES[:6]}
        executor = m.bind_training(batch)
        updater, monitor = m.start(executor)
        batches = {name: np.stack([x] * 3) for name, x in batch.items()}
        executor.runner(True).train(batches, 1, updater, OUTPUT + "0", monitor.watched)
        with xp.counts.of() as seen:
            executor.runner(True).train(batches, steps, updater, OUTPUT + "0", monitor.watched)
        return seen.h2d, seen.d2h, seen.synchronizations

    assert moved(1) == moved(20) == (2, 2, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_lessons_networks_learn_as_on_the_processor(xp, name):
    epochs = 60 if name in ("mlp4", "mlp8", "leaky3") else 12
    host, device = (
        train(name, epochs=epochs, device=place, progress=False) for place in (tl.cpu(), tl.gpu(0))
    )
    np.testing.assert_array_equal(device.confusion, host.confusion)
    np.testing.assert_allclose(device.probabilities, host.probabilities, atol=1e-4)
