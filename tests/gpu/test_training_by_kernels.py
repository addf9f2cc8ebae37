"""Training by kernels, both ways: tables, what moves in a call, and one allocation for all that it takes."""

import contextlib
import re

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import BindError
from tinygrad_lesson.lesson.networks import NETWORKS
from tinygrad_lesson.lesson.run import train
from tinygrad_lesson.run import block, graph, kernels, steps
from tinygrad_lesson.train import feedforward

pytestmark = pytest.mark.strict_arrays
THERE = tl.gpu(0)
ROWS = np.random.default_rng(0).normal(size=(96, 40)).astype(np.float32)
CLASSES = (ROWS[:, 0] > 0).astype(np.float32)
FITTING = graph.fitting


def net():
    hidden = sym.BatchNorm(sym.FullyConnected(sym.Variable("data"), num_hidden=30, name="fc1"), name="bn")
    return sym.SoftmaxOutput(sym.FullyConnected(sym.tanh(hidden), num_hidden=2, name="fc2"), name="softmax")


def model(**settings):
    return tl.FeedForward(net(), THERE, 3, numpy_batch_size=12, seed=3, **settings)


@pytest.fixture(params=["block", "graph"])
def way(request, blocks, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")
    monkeypatch.setattr(graph, "fitting", FITTING if request.param == "block" else graph.GraphRunner)
    monkeypatch.setattr(kernels, "THREADS", 16)
    monkeypatch.setattr(kernels, "WARP", 4)
    return request.param


@pytest.fixture
def asked(blocks):
    """The sizes of what is allocated inside."""
    sizes = []
    with blocks.cuda.using_allocator(sizes.append):
        yield sizes


def addresses(x):
    return x.data.ptr, x.data.ptr + x.nbytes


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_parameters_gradients_moments_states_batches_and_arena_are_one_allocation(
    way, asked, monkeypatch, optimizer
):
    bound, rooms = [], []
    take = steps.StepRunner.train

    def train(run, batches, count, updater, *given):
        bound.append((run, updater))
        return take(run, batches, count, updater, *given)

    monkeypatch.setattr(steps.StepRunner, "train", train)
    room_for = tl.FeedForward.room_for
    monkeypatch.setattr(tl.FeedForward, "room_for", lambda *given: rooms.append(room_for(*given)) or rooms[0])
    trained = model(optimizer=optimizer, **({"momentum": 0.9} if optimizer == "sgd" else {}))
    trained.fit(ROWS, CLASSES, progress=False)
    (room,), (run, updater) = rooms, bound[-1]
    assert run.name == way
    noted, low = run.steps[0], room.memory.data.ptr
    assert [x for x in asked if x >= room.size] == [room.size]
    arena = [x for x, b in zip(run.buffers, run.plan.buffers, strict=False) if b.offset is not None]
    inside = [*run.arrays.values(), *arena, updater.weight, updater.grad, *updater.state.moments]
    inside += [
        *noted.rings.values(),
        noted.losses,
        noted.magnitudes,
        noted.numbers,
        noted.counts,
        *noted.places,
    ]
    assert len(inside) > 30
    for x in inside:
        first, last = addresses(x)
        assert low <= first
        assert last <= low + room.size
    assert room.size - room.taken < 4096  # no more than for what was counted and is not there
    assert isinstance(trained.room, type(feedforward.contextlib.nullcontext()))


def test_a_training_in_one_allocation_is_that_of_several(way, monkeypatch):
    found = []
    for rooms in (True, False):
        if not rooms:
            monkeypatch.setattr(
                tl.FeedForward, "room_for", lambda *given: feedforward.contextlib.nullcontext()
            )
        trained = model(optimizer="adam")
        trained.fit(ROWS, CLASSES, progress=False)
        found.append((trained.history.loss, *trained.arg_params.values()))
    for x, y in zip(*found, strict=True):
        np.testing.assert_array_equal(x, y)


def test_calls_of_more_steps_keep_the_batches_where_they_are(blocks, monkeypatch):
    monkeypatch.setattr(steps, "LEAST", 2)
    trained = model()
    executor = trained.bind_training({"data": ROWS[:12], "softmax_label": CLASSES[:12]})
    updater, monitor = trained.start(executor)
    batches = {"data": ROWS.reshape(8, 12, 40), "softmax_label": CLASSES.reshape(8, 12)}
    run, rings = executor.runner(True), []
    for count in (1, 30, 3):
        run.train(batches, count, updater, "output 0", monitor.watched)
        rings.append(run.steps[0].rings["data"])
    assert rings[0] is rings[1] is rings[2]


def short_of(size):
    """An allocator of a device that has no room for so much at a time."""

    def allocate(asked):
        if asked > size:
            raise MemoryError(f"Out of memory allocating {asked:,} bytes")

    return allocate


def test_what_there_is_no_room_for_is_one_line(blocks):
    trained = model(optimizer="adam")
    with blocks.cuda.using_allocator(short_of(20_000)), pytest.raises(BindError) as found:
        trained.fit(ROWS, CLASSES, progress=False)
    told = str(found.value)
    assert "\n" not in told
    assert told.startswith("fit: there is no room for the arrays: ")
    for part in (
        "bytes for parameters 5408, gradients 5408, ",
        "moments 10816, ",
        "batches ",
        "an arena ",
        " takes 1440",
    ):
        assert part in told
    total, again = re.search(
        r"arrays: (\d+) bytes for .* on gpu.0.: Out of memory allocating ([\d,]+) bytes$", told
    ).groups()
    assert int(total) == int(again.replace(",", "")) > 2 * 5408 + 10816
    trained.fit(ROWS, CLASSES, progress=False)


@pytest.mark.parametrize("rings", [8, 2], ids=["at once", "in halves"])
def test_a_call_moves_its_batches_and_numbers_and_brings_back_two_arrays(way, blocks, monkeypatch, rings):
    """The number of the step, rates, losses and the monitor's rows lie there; batches are gathered there."""
    trained = model(optimizer="adam")
    batches = {"data": ROWS.reshape(8, 12, 40), "softmax_label": CLASSES.reshape(8, 12)}
    executor = trained.bind_training({name: x[0] for name, x in batches.items()})
    updater, monitor = trained.start(executor)
    each = sum(x[0].nbytes for x in batches.values())
    run = executor.runner(True)
    with free(blocks, 2 * each * rings if rings < 8 else 1 << 33):
        run.train(batches, 3, updater, "output 0", monitor.watched)
    moved = []
    for count in (8, 16):
        with blocks.counts.of() as seen:
            run.train(batches, count, updater, "output 0", monitor.watched)
        moved.append(seen)
    for count, seen in zip((8, 16), moved, strict=True):
        halves = count // (rings // 2) if rings < 8 else 0
        sent = 2 * halves if halves else 2  # arrays of batches
        assert (seen.h2d, seen.d2h) == (sent + 2, 2)  # and the rates of all steps, and where they begin
        assert seen.synchronizations == 2 + max(0, halves - 2)
        assert seen.launches == (max(1, halves) if way == "block" else count)
        assert seen.bytes_d2h == count * 4 * (1 + len(monitor.watched))
        assert seen.allocations == 0


@contextlib.contextmanager
def free(xp, size):
    """A device with so much memory left."""
    xp.FREE.append(size)
    try:
        yield
    finally:
        xp.FREE.pop()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_lessons_tables_are_those_of_the_processor(way, monkeypatch, name):
    """In 12 epochs rounding grows with batch normalization: two runners of the processor are 0.003 apart then."""
    monkeypatch.setattr(block, "THREADS", 24)
    slow = way == "graph" or name.endswith("25")  # the stand-in carries out thread after thread
    epochs = 2 if slow or name.startswith("bn") else 12
    host, device = (train(name, epochs=epochs, device=place, progress=False) for place in (tl.cpu(), THERE))
    np.testing.assert_array_equal(device.confusion, host.confusion)
    np.testing.assert_allclose(device.probabilities, host.probabilities, atol=1e-4)
