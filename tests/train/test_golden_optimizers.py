"""All optimizers and schedules of MXNet 1.9.1 against what it computed."""

import json

import numpy as np
import pytest
from golden import DATA

from tinygrad_lesson import sym
from tinygrad_lesson.errors import OptimizerError
from tinygrad_lesson.random import seed
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train import schedule
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.optimizer import (
    DCASGD,
    KINDS,
    LBSGD,
    SGLD,
    FlatUpdater,
    Nadam,
    create,
    get_updater,
)

GOLDEN = np.load(DATA / "golden_optimizers.npz")
CASES = json.loads((DATA / "golden_optimizers.json").read_text())["cases"]
SEVERAL = json.loads((DATA / "several_parameters.json").read_text())
SCHEDULES = json.loads((DATA / "golden_schedules.json").read_text())["cases"]
NORMS = ("lamb", "lars")  # sums of 20 squares, whose order is not MXNet's


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_weights_and_states_have_the_bits_of_those_of_mxnet(case):
    named = {"param_idx2name": {0: case["parameter_name"]}} if case["parameter_name"] else {}
    updater = get_updater(create(case["optimizer"], **case["arguments"], **named))
    weight = GOLDEN["weight0"].copy()
    found = [weight.copy() for g in GOLDEN["gradients"] if updater(0, g.copy(), weight) is None]
    moments = updater.states[0].moments
    assert len(moments) == case["num_states"]
    pairs = [(np.stack(found), GOLDEN[case["case"]])]
    pairs += [(m, GOLDEN[f"{case['case']}_state{i}"].reshape(-1)) for i, m in enumerate(moments)]
    for ours, theirs in pairs:
        if case["optimizer"] in NORMS:
            np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(ours, theirs)


def test_every_optimizer_of_mxnet_is_here():
    names = {case["optimizer"] for case in CASES} | {"sgld"}
    assert names == {kind.__name__.lower() for kind in KINDS}


SETTINGS = {"wd": 0.1, "rescale_grad": 0.5, "clip_gradient": 1.0}
MORE = {"centered": True}, {"momentum": 0.9}, {"momentum": 0.9, "batch_scale": 3}, {"warmup_strategy": "lars"}
ALL = [(kind, {}) for kind in KINDS if kind not in (SGLD, Nadam)]  # noise; momenta that all parameters share
ALL += [
    (kind, more) for kind in KINDS for more in MORE if all(key in kind.__dataclass_fields__ for key in more)
]


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize(("kind", "more"), ALL)
def test_all_parameters_at_once_move_as_they_do_one_by_one(kind, more, runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    rng = np.random.default_rng(3)
    optimizer = kind(0.05, lr_mult={"fc1_bias": 0.3}, wd_mult={"fc0_weight": 0.5}, **SETTINGS, **more)
    again = kind(0.05, lr_mult={"fc1_bias": 0.3}, wd_mult={"fc0_weight": 0.5}, **SETTINGS, **more)
    segments = [("fc0_weight", slice(0, 12)), ("fc1_bias", slice(12, 17)), ("bn_gamma", slice(17, 40))]
    flat = rng.normal(size=40)
    single, gradient, updater = flat.copy(), np.empty_like(flat), get_updater(again)
    whole = FlatUpdater(optimizer, flat, gradient, segments)
    for _ in range(7):
        gradient[:] = rng.normal(size=40)
        whole.step()
        for name, part in segments:
            updater(name, gradient[part], single[part])
    np.testing.assert_allclose(flat, single, rtol=1e-9)


@pytest.mark.parametrize(
    "case", SEVERAL["cases"], ids=lambda case: f"{case['optimizer']}-{case['arguments']}"
)
def test_several_parameters_share_what_they_share_in_mxnet(case):
    """The count of updates, the schedule, and what some optimizers remember from one call to the next."""
    more = {
        "lr_scheduler": schedule.FactorScheduler(2, 0.5, base_lr=0.08, warmup_steps=2, warmup_begin_lr=0.02)
    }
    names = dict(enumerate(SEVERAL["names"]))
    optimizer = create(
        case["optimizer"], param_idx2name=names, **case["arguments"], **(more if case["factor"] else {})
    )
    updater, dtype = get_updater(optimizer), "float16" if optimizer.multi_precision else "float32"
    weights = [np.array(weight, dtype) for weight in SEVERAL["weights"]]
    for gradients in SEVERAL["gradients"]:
        for i, gradient in enumerate(gradients):
            updater(i, np.array(gradient, dtype), weights[i])
    for weight, expected in zip(weights, case["weights"], strict=True):
        np.testing.assert_allclose(weight, expected, rtol=2e-6, atol=1e-7)


def descent(kind, steps, **settings):
    """The square of the distance to a target, from step to step."""
    weight, target = np.zeros(4), np.array([1.0, -2.0, 3.0, 0.5])
    updater = get_updater(kind(**settings))
    found = []
    for _ in range(steps):
        updater("w", weight - target, weight)
        found.append(float(np.sum((weight - target) ** 2)))
    return found


def test_dcasgd_with_momentum_follows_its_formula():  # MXNet 1.9.1 ends in an error
    rng = np.random.default_rng(0)
    weight, m = rng.normal(size=5), np.zeros(5)
    expected, before = weight.copy(), weight.copy()
    updater = get_updater(DCASGD(0.1, momentum=0.9, wd=0.01, lamda=0.5))
    for _ in range(4):
        g = rng.normal(size=5)
        updater("w_weight", g, weight)
        m = 0.9 * m - 0.1 * (g + 0.01 * expected + 0.5 * g * g * (expected - before))
        before, expected = expected, expected + m
    np.testing.assert_allclose(weight, expected, rtol=1e-12)


def test_sgld_walks_with_the_noise_it_should_have():
    seed(3)
    weight = np.zeros(20_000, np.float32)
    get_updater(SGLD(0.04))("w", np.full(20_000, 2.0, np.float32), weight)
    np.testing.assert_allclose([weight.mean(), weight.std()], [-0.04, 0.2], atol=0.005)
    seed(3)
    same = np.zeros(20_000, np.float32)
    get_updater(SGLD(0.04))("w", np.full(20_000, 2.0, np.float32), same)
    np.testing.assert_array_equal(same, weight)


def test_lbsgd_takes_one_step_for_several_gradients():
    rng = np.random.default_rng(0)
    weight, gradients = np.ones(3), rng.normal(size=(6, 3))
    updater = get_updater(LBSGD(0.1, batch_scale=3, warmup_epochs=0))
    seen = [weight.copy() for g in gradients if updater("w", g, weight) is None]
    np.testing.assert_array_equal(seen[1], np.ones(3))
    expected = 1 - 0.3 * gradients[:3].mean(axis=0)  # the rate grows with the batch
    np.testing.assert_allclose(seen[2], expected, rtol=1e-12)
    np.testing.assert_allclose(seen[5], expected - 0.3 * gradients[3:].mean(axis=0), rtol=1e-12)


def test_nadam_goes_on_where_the_product_of_momenta_is_0():
    optimizer = Nadam()
    assert optimizer.numbers(10_000)[:2] == (1.0, 1.0)
    assert len(optimizer.products) < 2_000
    assert descent(Nadam, 300, learning_rate=0.1)[-1] < 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_fitted_saved_and_goes_on(kind, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("f")
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32)

    def model(epochs):
        data, label = sym.Variable("data"), sym.Variable("label")
        answer = sym.FullyConnected(data, num_hidden=1, name="fc1")
        loss = sym.MakeLoss(sym.mean(sym.square(answer - label)))
        settings = {"num_epoch": epochs, "numpy_batch_size": 20, "seed": 0, "learning_rate": 0.01}
        return FeedForward(loss, optimizer=kind.__name__, prediction=answer, **settings)

    seed(1)
    whole = model(4)
    whole.fit(x, y)
    seed(1)
    half = model(2)
    half.fit(x, y)
    half.save(str(tmp_path / "half"), 2, states=True)
    rest = FeedForward.load(str(tmp_path / "half"), 2, num_epoch=4)
    rest.fit(x, y)
    if kind is SGLD:  # its noise comes from the generator of the package
        assert np.isfinite(rest.arg_params["fc1_weight"]).all()
        return
    for name, array in whole.arg_params.items():
        np.testing.assert_array_equal(rest.arg_params[name], array)


# Schedules.


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda case: str(case["scheduler"]))
def test_rates_are_those_of_mxnet(case):
    settings = dict(case["scheduler"])
    made = getattr(schedule, settings.pop("kind"))(**settings)
    assert [made(n) for n in range(101)] == case["lr"]


def test_an_optimizer_sets_the_first_rate_of_its_schedule():
    optimizer = create("sgd", learning_rate=0.5, lr_scheduler=schedule.FactorScheduler(2, 0.5))
    assert [optimizer.rate(n) for n in range(1, 6)] == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert create("sgd", lr_scheduler=schedule.FactorScheduler(2)).rate(1) == 0.01


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("FactorScheduler", {"step": 0}, "step is 0, expected 1 or more"),
        ("FactorScheduler", {"step": 1, "factor": 2}, "factor is 2, expected at most 1"),
        ("MultiFactorScheduler", {"step": [3, 3]}, "expected rising numbers"),
        ("MultiFactorScheduler", {"step": []}, "expected rising numbers"),
        ("PolyScheduler", {"max_update": 0}, "max_update is 0"),
        (
            "CosineScheduler",
            {"max_update": 5, "warmup_mode": "slow"},
            "warmup_mode is 'slow', expected linear",
        ),
        ("CosineScheduler", {"max_update": 5, "warmup_steps": -1}, "warmup_steps is -1"),
        (
            "CosineScheduler",
            {"max_update": 5, "warmup_begin_lr": 1},
            "warmup_begin_lr is 1, expected at most",
        ),
    ],
)
def test_a_wrong_setting_of_a_schedule_is_named(kind, settings, message):
    with pytest.raises(OptimizerError, match=message):
        getattr(schedule, kind)(**settings)
