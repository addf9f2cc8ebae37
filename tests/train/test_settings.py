"""What `FeedForward`, `fit` and `predict` are given beside the rows: each is refused by its name."""

import logging

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import (
    DeviceError,
    DTypeError,
    LessonError,
    NonFiniteError,
    OptimizerError,
    ShapeError,
)
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train.optimizer import SGD

ROWS, CLASSES = np.random.default_rng(0).normal(size=(12, 4)).astype("f"), np.arange(12) % 3


def model(**settings):
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc1")
    kept = {"num_epoch": 2, "numpy_batch_size": 4, "seed": 0}
    return tl.FeedForward(sym.SoftmaxOutput(net, name="softmax"), **{**kept, **settings})


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("seed", "x", DTypeError),
        ("seed", 1.5, DTypeError),
        ("prediction", 3, DTypeError),
        ("optimizer", 3, DTypeError),
        ("optimizer", SGD, DTypeError),
        ("initializer", 3, DTypeError),
        ("initializer", "xavier", DTypeError),
        ("ctx", "cpu", DeviceError),
        ("ctx", [tl.cpu(), tl.cpu(1)], DeviceError),
        ("ctx", [], DeviceError),
        ("arg_params", [1], DTypeError),
        ("aux_params", 3, DTypeError),
        ("learning_rate", "0.1", OptimizerError),
        ("learning_rate", None, OptimizerError),
        ("momentum", None, OptimizerError),
        ("wd", np.zeros(2), OptimizerError),
        ("wd", True, OptimizerError),
        ("clip_gradient", "5", OptimizerError),
        ("learning_rate", float("inf"), OptimizerError),
        ("lr_scheduler", 3, OptimizerError),
        ("lr_mult", 3, OptimizerError),
        ("wd_mult", ["fc1_weight"], OptimizerError),
        ("param_idx2name", 3, OptimizerError),
    ],
)
def test_a_setting_of_a_wrong_kind_is_refused_by_its_name(name, value, error):
    with pytest.raises(error, match="device" if name == "ctx" else name):
        model(**{name: value}).fit(ROWS, CLASSES)


@pytest.mark.parametrize("value", ["abc", [[1.0], [1.0, 2.0]], np.ones(3) * 1j, [None] * 3, object()])
@pytest.mark.parametrize("kind", ["arg_params", "aux_params"])
def test_parameters_that_are_no_real_numbers_are_refused_by_their_name(kind, value):
    with pytest.raises((DTypeError, ShapeError), match=rf"{kind}\['fc1_bias'\]"):
        model(**{kind: {"fc1_bias": value}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch_end_callback", 3),
        ("epoch_end_callback", "abc"),
        ("batch_end_callback", [3]),
        ("log", 3),
        ("logger", 3),
    ],
)
def test_what_fit_shall_call_must_be_a_function(name, value):
    asked = model()
    with pytest.raises(DTypeError, match=f"fit: {name} is "):
        asked.fit(ROWS, CLASSES, **{name: value})
    assert asked.arg_params is None


def test_the_logging_module_is_a_logger():
    assert len(model().fit(ROWS, CLASSES, logger=logging).loss) == 2


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("rate", [None, "1", float("nan"), float("inf"), np.ones(2)])
def test_a_rate_of_a_schedule_that_is_no_number_is_named(rate, runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    asked = model(lr_scheduler=lambda number: 0.1 if number < 3 else rate)
    with pytest.raises(OptimizerError, match="lr_scheduler gives .* for update 3"):
        asked.fit(ROWS, CLASSES)
    assert asked.arg_params is None or all(np.isfinite(a).all() for a in asked.arg_params.values())


@pytest.mark.parametrize("count", ["x", 1.5])
def test_the_number_of_batches_to_predict_is_a_whole_number(count):
    asked = model()
    asked.fit(ROWS, CLASSES)
    with pytest.raises(DTypeError, match="predict: num_batch is "):
        asked.predict(ROWS, count)


def test_create_takes_what_fit_takes():
    seen = []
    made = tl.FeedForward.create(
        model().symbol, ROWS, CLASSES, num_epoch=2, seed=3, shuffle=True, keep=[1], log=seen.append
    )
    alike = model(seed=3, numpy_batch_size=128)
    alike.fit(ROWS, CLASSES, shuffle=True)
    np.testing.assert_array_equal(made.arg_params["fc1_weight"], alike.arg_params["fc1_weight"])
    assert len(seen) == 2


@pytest.mark.parametrize("prefix", [None, 3, ["a"]])
def test_a_prefix_that_is_no_path_is_refused(prefix):
    asked = model()
    asked.fit(ROWS, CLASSES)
    with pytest.raises(LessonError, match="path"):
        asked.save(prefix)
    with pytest.raises(LessonError, match="path"):
        tl.FeedForward.load(prefix, 1)


def test_a_device_may_stand_in_a_list_and_create_takes_it_where_mxnet_does():
    there = model(ctx=[tl.cpu()])
    there.fit(ROWS, CLASSES)
    made = tl.FeedForward.create(model().symbol, ROWS, CLASSES, tl.cpu(), 2, seed=0, numpy_batch_size=4)
    for name, array in there.arg_params.items():
        np.testing.assert_array_equal(made.arg_params[name], array)


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
def test_parameters_that_are_not_finite_before_the_first_step_are_named(wrong, runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    with pytest.raises(NonFiniteError, match=f"fit: 'fc1_bias' holds {wrong} before the first step"):
        model(arg_params={"fc1_bias": [0.0, wrong, 0.0]}).fit(ROWS, CLASSES)
