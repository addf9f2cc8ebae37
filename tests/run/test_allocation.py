"""After the first step no array is allocated any more."""

import tracemalloc

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train.optimizer import FlatUpdater, create

ROWS = 20_000  # so that one array of any layer would be seen: the smallest has 240,000 bytes
ALLOWED = 100_000  # bytes; NumPy's loops over operands that broadcast take a buffer of 8192 elements each


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("name", ["mlp4", "bn8", "res25", "dense6"])
def test_a_training_step_allocates_no_array(name, runner):
    loss = cross_entropy(NETWORKS[name].build())
    executor = loss.simple_bind(tl.cpu(), runner=runner, data=(ROWS, 4), label=(ROWS, 3))
    for array in executor.arg_dict.values():
        array[:] = 0.1
    weight, gradient = (
        next(iter(f.buffers.values())) for f in (executor.flat_parameters, executor.flat_gradients)
    )
    updater = FlatUpdater(create("adam"), weight, gradient, list(executor.flat_parameters.segments.items()))
    before = np.array(weight)

    def step():
        executor.forward(is_train=True)
        executor.backward()
        updater.step()

    step()
    step()
    assert most_allocated_by(step) < ALLOWED
    assert not np.array_equal(weight, before)


@pytest.mark.parametrize("runner", available_runners())
def test_a_jitted_function_allocates_its_results_alone(runner):
    f = tl.jit(lambda x: tl.exp(tl.tanh(x) * 2 + x) / (1 + x * x), runner=runner)
    x = np.linspace(-1, 1, 200_000, dtype=np.float32)
    f(x)
    assert most_allocated_by(lambda: f(x)) < 1.2 * x.nbytes


def most_allocated_by(action, times=3):
    """Bytes that were in use at most during some runs, beyond those before."""
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        for _ in range(times):
            action()
        return tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()
