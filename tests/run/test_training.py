"""Many steps of training in one go, again and again, against the steps one by one."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.run.training import Training
from tinygrad_lesson.train.monitor import GradientMonitor
from tinygrad_lesson.train.optimizer import FlatUpdater, create

R = np.random.RandomState(0)
BATCHES = [{"data": R.randn(n, 4, 3).astype("f"), "label": R.randn(n, 4, 2).astype("f")} for n in (2, 3, 1)]


class Trained:
    """A layer with its first weights, ready to be trained by either runner."""

    def __init__(self, runner):
        y = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc")
        loss = sym.MakeLoss(sym.mean(sym.square(y - sym.Variable("label"))))
        requests = {n: "null" if n in ("data", "label") else "write" for n in loss.list_arguments()}
        self.executor = loss.simple_bind(tl.cpu(), grad_req=requests, data=(4, 3), label=(4, 2))
        self.executor.runner_name = runner
        self.executor.arguments["fc_weight"][...] = np.arange(6).reshape(2, 3) / 10
        flat, gradients = (f.buffers[np.dtype("f")] for f in
                           (self.executor.flat_parameters, self.executor.flat_gradients))  # fmt: skip
        segments = self.executor.flat_parameters.segments
        rule = create("sgd", learning_rate=0.1, momentum=0.5)
        self.updater = FlatUpdater(rule, flat, gradients, list(segments.items()))
        self.monitor = GradientMonitor(gradients, segments)

    def train(self, batches, steps):
        """The losses of some steps."""
        return self.executor.train(batches, steps, self.updater, self.monitor)

    def same_as(self, other):
        """Whether weights and noted gradients agree with those of another."""
        mine, theirs = self.updater.weight, other.updater.weight
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(*[np.concatenate(x.monitor.batches) for x in (self, other)], rtol=1e-5)


@pytest.fixture
def made(monkeypatch):
    """How many tapes of training have been made."""
    found, make = [], Training.__init__
    monkeypatch.setattr(Training, "__init__", lambda self, *given: found.append(self) or make(self, *given))
    return found


@pytest.fixture
def pair(monkeypatch):
    """One that takes many steps in one go, and one that takes them one by one."""
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "vm")
    return Trained("vm"), Trained("numpy")


def one_by_one(trained, batches, steps):
    """The losses of some steps, each a call of its own."""
    losses = []
    for i in range(steps):
        trained.executor.forward(is_train=True, **{name: x[i % len(x)] for name, x in batches.items()})
        trained.executor.backward()
        losses.append(trained.executor.outputs_now[0].mean())
        trained.updater.step()
        trained.monitor.batch()
    return losses


def test_one_tape_serves_batches_that_lie_elsewhere_in_another_number(pair, made):
    fast, slow = pair
    fast.train(BATCHES[0], 0)
    found = [(fast.train(b, n), one_by_one(slow, b, n)) for b, n in zip(BATCHES, (3, 7, 2), strict=True)]
    for losses, expected in found:  # what the first call gave stays when others follow
        np.testing.assert_allclose(losses, expected, rtol=1e-5)
    fast.same_as(slow)
    assert len(made) == 1


def test_batches_of_another_type_or_order_are_made_to_fit(pair, made):
    fast, slow = pair
    fast.train(BATCHES[0], 1), one_by_one(slow, BATCHES[0], 1)
    other = {"data": np.asfortranarray(BATCHES[1]["data"]), "label": BATCHES[1]["label"].astype(float)}
    np.testing.assert_allclose(fast.train(other, 5), one_by_one(slow, other, 5), rtol=1e-5)
    fast.same_as(slow)
    assert len(made) == 1


def test_multipliers_that_are_set_between_two_calls_hold_from_then_on(pair, made):
    fast, slow = pair
    for trained, take in ((fast, Trained.train), (slow, one_by_one)):
        take(trained, BATCHES[1], 3)
        trained.updater.optimizer.set_lr_mult({"fc_weight": 0.25})
        take(trained, BATCHES[1], 3)
    fast.same_as(slow)
    assert len(made) == 2


def test_another_monitor_or_optimizer_gets_its_own(pair, made):
    fast, slow = pair
    for trained, take in ((fast, Trained.train), (slow, one_by_one)):
        take(trained, BATCHES[0], 2)
        grad, segments = trained.updater.grad, trained.executor.flat_parameters.segments
        trained.monitor = GradientMonitor(grad, segments, only="bias")
        take(trained, BATCHES[0], 2)
        rule = create("adam", learning_rate=0.01)
        trained.updater = FlatUpdater(rule, trained.updater.weight, grad, list(segments.items()))
        take(trained, BATCHES[0], 2)
    fast.same_as(slow)
    assert len(made) == 3
