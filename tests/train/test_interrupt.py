"""Ctrl-C in `fit`: soon, between two steps, and the model can be used and fitted on."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train.guard import first_batches
from tinygrad_lesson.train.interrupt import Whole

X = np.random.RandomState(0).randn(200, 4).astype(np.float32)
Y = np.random.RandomState(1).randint(0, 3, 200)
SETTINGS = [{}, {"optimizer": "adam"}, {"momentum": 0.9, "wd": 0.01}]


def model(hidden=8, **more):
    x = sym.BatchNorm(sym.FullyConnected(sym.Variable("data"), num_hidden=hidden, name="fc1"), name="bn")
    x = sym.FullyConnected(sym.Activation(x, act_type="tanh"), num_hidden=3, name="fc2")
    more = {"learning_rate": 0.1, "num_epoch": 50, "numpy_batch_size": 20, **more}
    return tl.FeedForward(sym.SoftmaxOutput(x, name="softmax"), seed=0, **more)


def after(steps, **more):
    """The parameters and states after so many steps, one by one."""
    m = model(**more)
    batches = tl.NDArrayIter(X, Y, 20)
    executor = m.bind_training(first_batches(batches)[0])
    updater, _ = m.start(executor)
    batches.reset()
    for _ in range(steps):
        if not batches.iter_next():
            batches.reset()
            batches.iter_next()
        executor.forward(is_train=True, **batches.value())
        executor.backward()
        updater.step()
    return m.parameters(executor)


def interrupted(m, **more):
    with pytest.raises(KeyboardInterrupt):
        m.fit(X, Y, **more)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def check_whole(m, epochs, **more):
    """That a model has what its history says, which knows so many epochs."""
    known, history = after(m.history.steps, **more), m.history
    for name, value in {**m.arg_params, **m.aux_params}.items():
        np.testing.assert_allclose(value, known[name], rtol=1e-4, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(value, history.trained.last[name])
    assert len(history.loss) == history.epochs == epochs
    assert {len(means) for means in history.mean_abs_grad.values()} == {epochs}
    assert m.predict(X).shape == (200, 3)
    m.num_epoch = 2
    assert len(m.fit(X, Y).loss) == 2


@pytest.mark.parametrize("more", SETTINGS, ids=str)
@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize(
    ("where", "calls"), [("forward", 1), ("forward", 13), ("backward", 7), ("backward", 10)]
)
def test_a_step_that_was_begun_is_ended(where, calls, runner, more, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    real, left = getattr(Executor, where), [calls]

    def counted(self, *given, **named):
        result = real(self, *given, **named)
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return result

    m = model(**more)
    with monkeypatch.context() as patch:
        patch.setattr(Executor, where, counted)
        interrupted(m, batch_end_callback=lambda param: None)
    assert m.history.steps == calls
    check_whole(m, (calls - 1) // 10, **more)


@pytest.mark.parametrize("more", SETTINGS[:2], ids=str)
@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5])
@pytest.mark.skipif("vm" not in available_runners(), reason="llvmlite is not installed")
def test_a_call_of_many_steps_is_ended_and_counted(calls, more, monkeypatch):
    real, left = Executor.train, [calls]

    def train(self, *given):
        found = real(self, *given)
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "vm")
    m = model(**more)
    with monkeypatch.context() as patch:
        patch.setattr(Executor, "train", train)
        patch.setattr(Whole, "took", lambda self, steps, seconds: setattr(self, "steps", 7))
        interrupted(m)
    assert m.history.steps == [0, 1, 8, 10, 17][calls - 1]
    check_whole(m, m.history.steps // 10, **more)


@pytest.mark.parametrize("runner", available_runners())
def test_ctrl_c_before_the_first_step_leaves_the_first_parameters(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    real = Executor.make

    def make(self, is_train):
        real(self, is_train)
        for array in self.states.values():
            array += 1  # as a runner does that is being made
        signal.raise_signal(signal.SIGINT)

    m = model()
    with monkeypatch.context() as patch:
        patch.setattr(Executor, "make", make)
        interrupted(m)
    assert m.history.steps == 0
    check_whole(m, 0)


@pytest.mark.parametrize("runner", available_runners())
def test_a_second_ctrl_c_does_not_wait_and_leaves_the_parameters_of_before(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    m = model(num_epoch=1)
    m.fit(X, Y)
    before, real, left = m.arg_params, Executor.backward, [15]

    def backward(self):
        real(self)
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it waits")

    m.num_epoch = 5
    with monkeypatch.context() as patch:
        patch.setattr(Executor, "backward", backward)
        interrupted(m, batch_end_callback=lambda param: None)
    assert len(m.history.loss) == 1
    known = after(20)
    for name, value in m.arg_params.items():
        assert not np.array_equal(value, before[name]) or name == "bn_gamma"
        np.testing.assert_allclose(value, known[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("more", SETTINGS, ids=str)
def test_ctrl_c_is_answered_at_once_in_a_long_epoch(runner, more, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    model(**more, num_epoch=1).fit(X, Y)  # whatever is compiled once
    # Seconds that this process has computed, since a loaded machine does not add to them; Linux tells them to others.
    clock = ~os.getpid() << 3 | 2 if sys.platform == "linux" else time.CLOCK_REALTIME
    read = f"print(time.clock_gettime({clock}), flush=True)"
    code = f"import os, time; time.sleep(0.3); {read}; os.kill({os.getpid()}, {signal.SIGINT:d})"

    class Large(tl.NDArrayIter):
        """An epoch of many steps, with a user who soon has enough of it."""

        other = None

        def reset(self):
            super().reset()
            if self.begun:
                self.other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            self.begun = True

    rows, m = 2_000_000, model(200, **more, num_epoch=2)
    batches = Large(np.resize(X, (rows, 4)), np.resize(Y, rows), 1)
    batches.begun = False
    with pytest.raises(KeyboardInterrupt):
        m.fit(batches)
    now = time.clock_gettime(clock)
    with batches.other:
        sent = float(batches.other.stdout.read())
    assert now - sent < 2.5  # a tenth of a second where nothing else runs; an epoch takes 7 and more
    assert m.history.steps > 0
    assert np.isfinite(m.predict(X)).all()


def test_steps_are_no_more_than_take_a_tenth_of_a_second():
    whole = Whole()
    assert whole.steps == 1
    whole.took(1, 0.001)
    assert whole.steps == 100
    whole.took(100, 0.001)
    assert whole.steps == 10_000
    whole.took(10_000, 30.0)
    assert whole.steps == 33
    whole.took(33, 30.0)
    assert whole.steps == 1


def test_an_own_handler_is_called_after_the_step_and_set_again():
    heard, whole = [], Whole()
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    mine = signal.getsignal(signal.SIGINT)
    try:
        with whole.watching():
            with whole:
                signal.raise_signal(signal.SIGINT)
                assert heard == []
            assert heard == [signal.SIGINT]
            signal.raise_signal(signal.SIGINT)
            assert heard == [signal.SIGINT] * 2
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_model_is_fitted_in_a_thread_that_hears_no_signals():
    m = model(num_epoch=2)
    thread = threading.Thread(target=m.fit, args=(X, Y))
    thread.start()
    thread.join()
    assert len(m.history.loss) == 2
