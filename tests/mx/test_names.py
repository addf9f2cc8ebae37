"""`mx`: MXNet's names, of which `mxnet_names.json` lists those that MXNet 1.9.1 has."""

import importlib
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from golden import DATA

from tinygrad_lesson import mx
from tinygrad_lesson.train.callback import BatchEndParam

NAMES = json.loads((DATA / "mxnet_names.json").read_text())
ABSENT = {  # what is not here yet, or only imported there from another module
    "attribute": ["classproperty", "with_metaclass"],
    "callback": ["save_checkpoint"],
    "context": ["check_call", "classproperty", "gpu_memory_info", "with_metaclass"],
    "initializer": ["NDArray", "is_np_array", "load"],
    "io": [
        "ImageDetRecordIter", "ImageRecordInt8Iter", "ImageRecordIter", "ImageRecordIter_v1", "ImageRecordUInt8Iter",
        "ImageRecordUInt8Iter_v1", "LibSVMIter", "MXDataIter",
    ],
    "lr_scheduler": [],
    "metric": [],
    "model": [
        "Context", "DataDesc", "DataParallelExecutorManager", "LogValidationMetricsCallback", "Uniform", "cpu",
        "get_updater",
    ],
    "name": ["classproperty", "with_metaclass"],
    "optimizer": [],
    "random": [
        "Context", "check_call",
    ],
    "visualization": ["Symbol"],
}  # fmt: skip


@pytest.mark.parametrize("room", NAMES)
def test_names_are_those_of_mxnet(room):
    there = importlib.import_module(f"tinygrad_lesson.{'viz' if room == 'visualization' else f'mx.{room}'}")
    assert sorted(set(NAMES[room]) - set(there.__all__)) == ABSENT[room]
    if room != "visualization":
        assert sorted(set(there.__all__) - set(NAMES[room])) == []
    assert all(hasattr(there, name) for name in there.__all__)
    assert getattr(mx, room) is there


def test_short_names_are_the_same_modules():
    assert (mx.sym, mx.init, mx.opt, mx.viz) == (mx.symbol, mx.initializer, mx.optimizer, mx.visualization)
    assert mx.nd is mx.ndarray
    with pytest.raises(AttributeError, match="dlpack"):
        _ = mx.dlpack


def test_it_costs_nothing_until_it_is_imported():
    code = "import sys, tinygrad_lesson as tl; a = 'tinygrad_lesson.mx' in sys.modules; tl.mx; print(a, tl.mx.cpu())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "cpu(0)"]


def test_a_script_of_mxnet_trains_a_network():
    mx.random.seed(1)
    x = mx.random.uniform(-1, 1, (60, 2))
    y = (x[:, 0] > x[:, 1]).astype(np.float32)
    with mx.name.Prefix("net_"):
        hidden = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=8), act_type="tanh")
        net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(hidden, num_hidden=2), mx.sym.var("softmax_label"))
    schedule = mx.lr_scheduler.FactorScheduler(step=30, factor=0.9)
    model = mx.model.FeedForward(
        net,
        ctx=mx.cpu(),
        num_epoch=30,
        optimizer="nag",
        learning_rate=0.5,
        momentum=0.9,
        initializer=mx.init.Mixed([".*bias", ".*"], [mx.init.Zero(), mx.init.Xavier()]),
        lr_scheduler=schedule,
    )
    model.fit(mx.io.NDArrayIter(x, y, batch_size=20))
    assert model.score(mx.io.NDArrayIter(x, y, batch_size=20), eval_metric="acc") > 0.9
    assert schedule.base_lr == 0.5 * 0.9**2


def test_ones_own_are_known_by_name():
    @mx.init.register
    class Sevens(mx.init.Initializer):
        def _init_weight(self, name, array):
            array[:] = 7

    @mx.metric.register
    class Largest(mx.metric.EvalMetric):
        def __init__(self):
            super().__init__("largest")

        def score(self, label, pred):
            return pred.max(), 1

    @mx.optimizer.register
    class Back(mx.optimizer.Optimizer):
        def rule(self, F, given, *moments):
            return given.weight - given.gradient

    assert mx.init.create("sevens")("a_weight", (1,)) == 7
    metric = mx.metric.create("largest")
    metric.update([np.ones(1)], [np.array([1.0, 3.0])])
    assert metric.get() == ("largest", 3.0)
    weight = np.ones(2)
    mx.optimizer.get_updater(mx.optimizer.create("back"))(0, np.ones(2), weight)
    assert weight.tolist() == [0, 0]


def test_numbers_are_drawn_as_mxnet_draws_them():
    drawn = np.load(DATA / "initializers.npz")
    mx.random.seed(7)
    np.testing.assert_array_equal(
        mx.random.uniform(-0.07, 0.07, shape=(10, 4)).asnumpy(), drawn["draw_uniform_seed7_10x4"]
    )
    for into in (mx.nd.zeros((10, 4)), np.zeros((10, 4), np.float32)):  # the latter is what initializers get
        mx.random.seed(7)
        assert mx.random.normal(0, 1, out=into) is into
        np.testing.assert_array_equal(np.asarray(into), drawn["draw_normal_seed7_10x4"])


def test_callbacks_log_what_those_of_mxnet_log(caplog):
    caplog.set_level(logging.INFO)
    metric = mx.metric.create("mae")
    metric.update([np.zeros(2)], [np.ones(2)])
    mx.callback.log_train_metric(2, auto_reset=True)(BatchEndParam(1, 4, metric, {}))
    assert np.isnan(metric.get()[1])
    assert metric.get_global()[1] == 1
    mx.callback.ProgressBar(total=8, length=10)(BatchEndParam(1, 4, None, {}))
    metric.update([np.zeros(2)], [np.ones(2)])
    mx.callback.LogValidationMetricsCallback()(BatchEndParam(1, 4, metric, {}))
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "Iter[1] Batch[4] Train-mae=1.000000",
        "[=====-----] 50%",
        "Epoch[1] Validation-mae=1.000000",
    ]
