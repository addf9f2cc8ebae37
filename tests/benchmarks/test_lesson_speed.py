"""How long an epoch takes, for every network of the lesson: five batches forward, backward and update.

`make bench` prints a table; nothing is asserted about time, for it says more about the machine.
"""

import importlib.util

import numpy as np
import pytest

from tinygrad_lesson.lesson.data import load
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.run import CHOICE
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.guard import first_batches
from tinygrad_lesson.train.history import History
from tinygrad_lesson.train.initializer import Uniform

NEEDS_LLVM = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed"
)


@pytest.mark.parametrize("runner", ["numpy", pytest.param("vm", marks=NEEDS_LLVM)])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_epoch_of_training(name, runner, benchmark, monkeypatch):
    monkeypatch.setenv(CHOICE, runner)
    rows, network = load(), NETWORKS[name]
    batches = NDArrayIter(rows.train_data, rows.train_label, 20, label_name="label")
    model = FeedForward(cross_entropy(network.build()), seed=0, initializer=Uniform(0.01), **network.training)
    executor = model.bind_training(first_batches(batches)[0])
    updater, monitor = model.start(executor)
    benchmark.group = name
    loss = benchmark(model.run_epoch, executor, updater, monitor, batches, 1, [], History())
    assert np.isfinite(loss)
