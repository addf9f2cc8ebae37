"""Loops that threads share give what one thread gives."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.run import elements
from tinygrad_lesson.run.fused import LEAST
from tinygrad_lesson.run.operands import Memory
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.tape import sharing
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.threads import OTHERS, THREADS
from tinygrad_lesson.run.threads import threads as number_of_threads

SIZE = 4 * LEAST + 77
X = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)


def chain(x):
    return (tl.tanh(x) * tl.exp(-x * x) + tl.log(1 + x * x)).sum()


def parts(calls):
    """How many parts each instruction has that threads share."""
    found = []
    for segment in calls:
        assert isinstance(segment, Segment)
        at = 0
        while at < len(segment.tape):
            kernel, length, _, count = segment.tape[at : at + 4]
            found += [int(count)] if kernel == address(sharing.shared) else []
            at += int(length)
    return found


@pytest.mark.parametrize("threads", [2, 3, 9])
def test_a_function_gives_the_same_whatever_shares_its_loop(threads, monkeypatch):
    monkeypatch.setenv(THREADS, "1")
    alone = tl.jit(tl.value_and_grad(chain), runner="vm")(tl.Tensor(X))
    monkeypatch.setenv(THREADS, str(threads))
    shared = tl.jit(tl.value_and_grad(chain), runner="vm")
    for scale in (1, 2, 1):  # inputs and results may lie elsewhere each time
        value, gradient = shared(tl.Tensor(X * np.float32(scale)))
    (program,) = shared.programs.values()
    assert parts(program.runner.calls[0]) == [4]  # of a sum, however many threads there are
    assert float(value) == float(alone[0])
    np.testing.assert_array_equal(gradient.numpy(), alone[1].numpy())


def test_an_executor_and_fit_share_loops_too(monkeypatch):
    monkeypatch.setenv(THREADS, "2")
    x = sym.Variable("x")
    symbol = sym.MakeLoss(sym.sum(sym.tanh(x) * sym.exp(-x * x) + sym.log(1 + x * x)))
    executor = symbol.simple_bind(tl.cpu(), x=X.shape, runner="vm")
    executor.forward(is_train=True, x=X)
    executor.backward()
    assert executor.runner(True).tape is not None  # so that `fit` takes many steps in one call
    assert parts([*executor.runner(True).calls[0], *executor.runner(True).calls[1]]) == [4, 2]  # 4 of the sum
    exact = X.astype(float)
    slope = (1 - np.tanh(exact) ** 2) * np.exp(-(exact**2)) - 2 * exact * np.tanh(exact) * np.exp(-(exact**2))
    np.testing.assert_allclose(
        executor.gradients["x"], slope + 2 * exact / (1 + exact**2), rtol=1e-4, atol=1e-6
    )
    weighted = sym.MakeLoss(sym.mean(sym.square(sym.tanh(x) * sym.Variable("w") - 1)))
    losses = []
    for threads in "12":
        monkeypatch.setenv(THREADS, threads)
        model = tl.FeedForward(
            weighted,
            arg_params={"w": np.full((1, SIZE), 0.5)},
            num_epoch=3,
            numpy_batch_size=1,
            learning_rate=0.1,
        )
        model.fit(tl.NDArrayIter({"x": X[None]}, batch_size=1))
        losses.append(model.history.loss)
    assert losses[0] == losses[1]


def test_no_more_threads_are_asked_than_there_are_parts(monkeypatch):
    monkeypatch.setenv(THREADS, "40")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(30), raising=False)
    for count in (1, 2, 5):
        memory, x = Memory(), np.zeros(count * elements.ENOUGH, np.float32)
        rows = elements.elementwise("exp")(memory, None, [memory.operand(x)], memory.operand(x))
        assert Segment(as_tape(rows), memory).helpers == count - 1


def test_all_cores_share_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(7), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    for ours, others, wanted in (
        ("", "", 7), ("", "3", 3), ("4", "3", 4), ("", "0", 7), ("", "5,2", 7), ("9", "", 9),
    ):  # fmt: skip
        monkeypatch.setenv(THREADS, ours)
        monkeypatch.setenv(OTHERS, others)
        assert number_of_threads() == wanted


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_what_is_no_number_of_threads_is_refused(text, monkeypatch):
    monkeypatch.setenv(THREADS, text)
    with pytest.raises(
        tl.LessonError, match=f"{THREADS} is '{text}', expected a number of threads, 1 or more"
    ):
        tl.jit(chain, runner="vm")(tl.Tensor(X))
