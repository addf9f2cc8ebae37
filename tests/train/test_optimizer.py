"""Optimizers, bit for bit against MXNet 1.9.1, and as a whole against its updates one parameter at a time.

`optimizers.npz` holds weights after each of ten updates by ``mx.optimizer.get_updater`` of MXNet 1.9.1.
"""

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson import mx, sym
from tinygrad_lesson.errors import DTypeError, OptimizerError, ShapeError
from tinygrad_lesson.plan.fusion import BLOCK, FEWEST
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.initializer import Uniform
from tinygrad_lesson.train.optimizer import SGD, Adam, FlatUpdater, Optimizer, create, get_updater

DATA = Path(__file__).parents[1] / "data"
GOLDEN = np.load(DATA / "optimizers.npz")
CASES = json.loads((DATA / "optimizers.json").read_text())["cases"]
ALL_SETTINGS = {"wd": 0.1, "rescale_grad": 0.5, "clip_gradient": 1.0}


def made(case):
    settings = dict(case["arguments"])
    if case["parameter_name"]:
        settings["param_idx2name"] = {0: case["parameter_name"]}
    if case["scheduler"]:
        start, factor = case["scheduler"]
        settings["lr_scheduler"] = lambda n: start * factor**n
    multipliers = {key: case[key] for key in ("lr_mult", "wd_mult") if case[key]}
    return create(case["optimizer"], **settings, **multipliers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_weights_have_the_bits_of_those_of_mxnet(case):
    updater = get_updater(made(case))
    weight = GOLDEN["weight0"].copy()
    for gradient, expected in zip(GOLDEN["gradients"], GOLDEN[case["case"]], strict=True):
        updater(0, gradient, weight)
        np.testing.assert_array_equal(weight, expected)
    for i, moment in enumerate(updater.states[0].moments):
        if f"{case['case']}_state{i}" in GOLDEN:
            np.testing.assert_array_equal(moment, GOLDEN[f"{case['case']}_state{i}"])


def test_every_kind_of_setting_is_among_the_cases():
    seen = {(c["optimizer"], setting) for c in CASES for setting in c["arguments"]}
    assert seen >= {(name, setting) for name in ("sgd", "adam") for setting in ("wd", "clip_gradient")}


def both_ways(optimizer, sizes, steps=3):
    """Weights after some steps: all at once, and one parameter at a time."""
    rng = np.random.default_rng(len(sizes))
    names = [f"fc{i}_{kind}" for i, kind in enumerate(["weight", "bias", "gamma"] * len(sizes))][: len(sizes)]
    ends = np.cumsum(sizes).tolist()
    segments = [(n, slice(end - size, end)) for n, size, end in zip(names, sizes, ends, strict=True)]
    flat = rng.normal(size=ends[-1])
    single = flat.copy()
    gradient = np.empty_like(flat)
    flat_updater, updater = FlatUpdater(optimizer, flat, gradient, segments), get_updater(optimizer)
    for _ in range(steps):
        gradient[:] = rng.normal(size=ends[-1])
        flat_updater.step()
        for name, part in segments:
            updater(name, gradient[part], single[part])
    return flat, single


@given(
    kind=st.sampled_from([SGD, Adam]),
    momentum=st.sampled_from([0.0, 0.9]),
    settings=st.sampled_from([{}, {"wd": 0.1}, ALL_SETTINGS]),
    lr_mult=st.sampled_from([{}, {"fc1_bias": 0.3, "fc0_weight": 2.0}]),
    wd_mult=st.sampled_from([{}, {"fc1_bias": 1.0}, {"fc0_weight": 0.0, "fc1_bias": 0.5}]),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4),
)
def test_all_parameters_at_once_move_as_they_do_one_by_one(kind, momentum, settings, lr_mult, wd_mult, sizes):
    own = {"momentum": momentum} if kind is SGD else {}
    optimizer = kind(0.1, lr_mult=lr_mult, wd_mult=wd_mult, **settings, **own)
    flat, single = both_ways(optimizer, sizes)
    np.testing.assert_allclose(flat, single, rtol=1e-12)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_an_array_of_several_blocks_moves_as_its_parts_do(kind):
    optimizer = kind(0.1, lr_mult={"fc1_bias": 0.5}, **ALL_SETTINGS)
    flat, single = both_ways(optimizer, [FEWEST * BLOCK + 3, BLOCK // 2, BLOCK])
    np.testing.assert_allclose(flat, single, rtol=1e-12)


def test_float64_weights_follow_the_formula_of_kingma_and_ba():
    weight, gradients = np.array([1.0, -2.0]), np.array([[0.1, -3.0], [0.2, 1.0], [-0.5, 0.0]])
    updater, m, v, expected = get_updater(Adam(0.1, epsilon=1e-16)), 0.0, 0.0, weight.copy()
    for t, g in enumerate(gradients, start=1):
        updater(0, g, weight)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.1 * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.999**t))
    np.testing.assert_allclose(weight, expected, rtol=1e-12)


def test_parameters_have_states_and_counts_of_their_own():
    updater = get_updater(Adam(0.1))
    first, second = np.ones(2), np.ones((3, 1))
    for _ in range(3):
        updater(0, np.ones(2), first)
    updater(1, np.ones((3, 1)), second)
    assert updater.optimizer.counts == {0: 3, 1: 1}
    np.testing.assert_allclose(second, 0.9, rtol=1e-6)  # the first step of Adam is as long as the rate
    np.testing.assert_allclose(first, 0.7, rtol=1e-6)


def test_weights_that_do_not_lie_together_are_changed_too():
    weight = np.ones((4, 3)).T
    get_updater(SGD(0.5))(0, np.arange(12.0).reshape(3, 4), weight)
    np.testing.assert_array_equal(weight, 1 - 0.5 * np.arange(12).reshape(3, 4))


def test_other_arrays_may_come_under_the_same_index():
    """Step after step the weights may lie elsewhere, in other order or type of gradient; the state goes on."""
    rng = np.random.default_rng(2)
    start, gradients = rng.normal(size=(4, 3)).astype("f"), rng.normal(size=(6, 4, 3)).astype("f")
    for optimizer in (SGD(0.1, 0.9), Adam(0.1)):
        usual, updater, plain = start.copy(), get_updater(optimizer), get_updater(copy.copy(optimizer))
        weight = start.copy()
        for i, gradient in enumerate(gradients):
            plain("w", gradient, usual)
            weight = [weight, weight.copy(), np.asfortranarray(weight), weight.copy()[::1]][i % 4]
            updater("w", np.asfortranarray(gradient) if i % 2 else gradient, weight)
            np.testing.assert_array_equal(weight, usual)


def test_gradients_are_left_as_they_are():
    gradient = np.linspace(-5, 5, 6)
    for optimizer in (SGD(0.1, 0.9, **ALL_SETTINGS), Adam(0.1, **ALL_SETTINGS)):
        get_updater(optimizer)(0, gradient, np.ones(6))
    np.testing.assert_array_equal(gradient, np.linspace(-5, 5, 6))


def test_float32_stays_float32():
    weight = np.ones(3, np.float32)
    updater = FlatUpdater(Adam(wd=0.1), weight, np.ones(3, np.float32), [("fc_weight", slice(0, 3))])
    updater.step()
    assert {array.dtype for array in updater.state.moments} == {weight.dtype}


def test_a_rate_can_be_changed_between_steps():
    optimizer = SGD(0.5)
    weight = np.zeros(1)
    updater = FlatUpdater(optimizer, weight, np.ones(1), [("fc_weight", slice(0, 1))])
    updater.step()
    optimizer.set_learning_rate(0.25)
    updater.step()
    assert weight == -0.75
    with pytest.raises(OptimizerError, match="learning_rate is 0, expected a positive number"):
        optimizer.set_learning_rate(0)
    assert optimizer.learning_rate == 0.25
    with pytest.raises(OptimizerError, match="lr_scheduler tells it"):
        SGD(lr_scheduler=lambda n: 0.1).set_learning_rate(0.5)


@pytest.mark.parametrize("schedule", [None, lambda n: 0.5 / (1 + n)])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamax", "lbsgd"])
def test_the_rates_of_many_steps_are_those_one_by_one(name, schedule):
    optimizer = create(name, lr_scheduler=schedule)
    assert optimizer.rates(range(1, 9)) == [optimizer.rate(n) for n in range(1, 9)]


def test_adams_rates_are_those_of_mxnet():
    """``lr *= math.sqrt(1. - beta2**t) / (1. - beta1**t)`` in its python/mxnet/optimizer/optimizer.py."""
    expected = [0.01 * (math.sqrt(1 - 0.999**t) / (1 - 0.9**t)) for t in range(1, 9)]
    assert create("adam", learning_rate=0.01).rates(range(1, 9)) == expected


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adan", {}, "unknown optimizer 'adan'; known: adadelta, adagrad, adam"),
        ("sgd", {"beta1": 0.5}, "SGD: unknown setting 'beta1'; known: learning_rate"),
        ("SGD", {"learning_rate": 0}, "SGD: learning_rate is 0, expected a positive number"),
        ("sgd", {"momentum": 1}, r"momentum is 1, expected a number in \[0, 1\)"),
        ("adam", {"beta1": 1.0}, "beta1 is 1.0"),
        ("adam", {"beta2": -0.1}, "beta2 is -0.1"),
        ("Adam", {"epsilon": 0}, "epsilon is 0"),
        ("adam", {"wd": -1}, "wd is -1, expected 0 or more"),
        ("adam", {"clip_gradient": -1}, "clip_gradient is -1"),
        ("adam", {"rescale_grad": float("nan")}, "rescale_grad is nan, expected a finite number"),
    ],
)
def test_a_wrong_setting_is_named(name, settings, message):
    with pytest.raises(OptimizerError, match=message):
        create(name, **settings)


def test_weights_of_another_kind_are_refused():
    with pytest.raises(DTypeError, match="weights are int64"):
        SGD().first_state(np.arange(3))
    with pytest.raises(ShapeError, match=r"weights are \(2, 2\)"):
        SGD().first_state(np.ones((2, 2)))
    with pytest.raises(ShapeError, match=r"gradients are \(2,\), weights \(3,\)"):
        get_updater(SGD())(0, np.ones(2), np.ones(3))


# A rule of one's own.


@dataclass(frozen=True, eq=False)
class Lars(Optimizer):
    """Each parameter moves by a share of its own length: ``w - rate * |w| / |g| * g``."""

    def rule(self, F, given, *moments):
        def share(w, g):
            return F.sqrt(F.sum(w * w) / F.sum(g * g))

        shares = given.per_parameter(F, share, given.weight, given.gradient)
        return given.weight - given.rate * shares * given.gradient


def lars_in_numpy(weight, gradient, rate, segments):
    for _, part in segments:
        w, g = weight[part], gradient[part]
        w -= rate * np.linalg.norm(w) / np.linalg.norm(g) * g


@pytest.mark.parametrize("runner", available_runners())
def test_a_rule_that_needs_norms_gets_those_of_each_parameter(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    rng = np.random.default_rng(0)
    segments = [("a", slice(0, 40)), ("b", slice(40, 41)), ("c", slice(41, 100))]
    weight, gradient = rng.normal(size=100).astype("f"), np.empty(100, np.float32)
    updater, expected = FlatUpdater(Lars(0.1), weight, gradient, segments), weight.astype(float)
    for _ in range(3):
        gradient[:] = rng.normal(size=100)
        updater.step()
        lars_in_numpy(expected, gradient.astype(float), 0.1, segments)
    np.testing.assert_allclose(weight, expected, rtol=1e-5)


@pytest.mark.parametrize("runner", available_runners())
def test_a_network_is_fitted_by_a_rule_of_ones_own(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    data, label = sym.Variable("data"), sym.Variable("label")
    hidden = sym.FullyConnected(data, num_hidden=4, no_bias=True, name="fc1")
    answer = sym.FullyConnected(hidden, num_hidden=1, no_bias=True, name="fc2")
    loss = sym.MakeLoss(sym.mean(sym.square(answer - label)))
    x = np.random.default_rng(1).normal(size=(40, 3)).astype("f")
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32)
    settings = {"num_epoch": 60, "numpy_batch_size": 40, "initializer": Uniform(1), "seed": 0}
    model = FeedForward(loss, optimizer=Lars(0.05), prediction=answer, **settings)
    history = model.fit(x, y)
    assert history.loss[-1] < 0.1 * history.loss[0]
    weights = {name: history.trained.first[name].astype(float) for name in ("fc1_weight", "fc2_weight")}
    one, two = weights.values()
    for _ in range(60):
        error = 2 * (x @ one.T @ two.T - y) / len(x)
        gradients = two.T @ error.T @ x, error.T @ (x @ one.T)
        for w, g in zip((one, two), gradients, strict=True):
            w -= 0.05 * np.linalg.norm(w) / np.linalg.norm(g) * g
    for name, w in weights.items():
        np.testing.assert_allclose(model.arg_params[name], w, rtol=5e-3, atol=1e-3)


def test_updates_may_be_counted_from_a_number_on():
    optimizer = create("adam", begin_num_update=4, lazy_update=False)
    optimizer.update(0, np.ones(2), np.ones(2), optimizer.create_state(0, np.ones(2)))
    assert (optimizer.counts, optimizer.num_update, create("sgd", begin_num_update=4).num_update) == (
        {0: 5},
        5,
        4,
    )


@pytest.mark.parametrize("name", ["sgd", "adam", "nag", "signum", "adamax", "nadam", "dcasgd", "ftml"])
def test_weights_of_half_precision_follow_those_in_single(name):
    """As far as their digits go."""
    rng = np.random.default_rng(1)
    half, gradients = (
        rng.uniform(-1, 1, 12).astype(np.float16),
        rng.uniform(0.2, 1, (5, 12)).astype(np.float16),
    )
    single, found = half.astype(np.float32), get_updater(create(name))
    exact = get_updater(create(name))
    for g in gradients:
        found(0, g, half)
        exact(0, g.astype(np.float32), single)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, single, atol=4e-3)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "lamb"])
def test_what_is_set_later_holds_from_the_next_step(name):
    """As scripts of MXNet do it: `opt.lr *= 0.5`, `opt.rescale_grad = 1 / batch_size`."""
    changed = {"learning_rate": 0.25, "wd": 0.5, "rescale_grad": 2.0, "clip_gradient": 0.75}
    slope, weight = np.array([3.0, -0.2]), np.array([1.0, -2.0])
    for setting, value in changed.items():
        one, other = create(name, learning_rate=0.125), create(name, learning_rate=0.125)
        updaters, weights = [get_updater(x) for x in (one, other)], [weight.copy(), weight.copy()]
        for updater, w in zip(updaters, weights, strict=True):
            updater("w_weight", slope, w)
        setattr(one, "lr" if setting == "learning_rate" else setting, value)
        assert getattr(one, setting) == value
        again = get_updater(create(name, **{"learning_rate": 0.125, setting: value}))
        again.set_states(updaters[1].get_states())
        updaters[0]("w_weight", slope, weights[0])
        again("w_weight", slope, weights[1])
        np.testing.assert_array_equal(weights[0], weights[1])
        assert (weights[0] != weight).all()


def test_what_is_set_later_holds_in_a_model_too():
    net = sym.LinearRegressionOutput(
        sym.FullyConnected(sym.Variable("data"), num_hidden=1, no_bias=True, name="f"), name="loss"
    )
    optimizer = create("sgd", learning_rate=0.5)
    module = mx.mod.Module(net, label_names=["loss_label"])
    module.bind([("data", (1, 1))], [("loss_label", (1, 1))])
    module.init_params(mx.init.One())
    module.init_optimizer(optimizer=optimizer)
    seen = []
    for rate in (0.5, 0.0625):
        optimizer.lr = rate
        module.forward_backward(mx.io.DataBatch([mx.nd.ones((1, 1))], [mx.nd.zeros((1, 1))]))
        module.update()
        seen.append(module.get_params()[0]["f_weight"].asscalar())
    assert seen == [0.5, 0.5 - 0.0625 * 0.5]


def test_what_states_are_made_from_is_fixed():
    optimizer = create("sgd", momentum=0.5, lr_scheduler=mx.lr_scheduler.FactorScheduler(5, base_lr=0.25))
    with pytest.raises(OptimizerError, match="SGD: momentum is fixed .* set one of learning_rate, wd"):
        optimizer.momentum = 0.9
    with pytest.raises(OptimizerError, match="SGD: wd is -1, expected 0 or more"):
        optimizer.wd = -1
    optimizer.wd, optimizer.note = 0.5, "mine"
    assert (optimizer.wd, optimizer.note, optimizer.lr_scheduler.base_lr) == (0.5, "mine", 0.25)
    with pytest.raises(UserWarning, match="lr_scheduler tells it"):
        optimizer.lr = 1
