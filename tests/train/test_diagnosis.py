"""The diagnosis against facts: the lesson's networks, networks spoilt on purpose, and Jacobians multiplied by hand."""

import json

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import DTypeError, NonFiniteError
from tinygrad_lesson.lesson import run
from tinygrad_lesson.lesson.data import load
from tinygrad_lesson.lesson.networks import ADAM, SGD, bn, cross_entropy, leaky, mlp, res
from tinygrad_lesson.train import diagnosis, marks
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.initializer import Uniform, Xavier

ROWS = load()
HEALTHY = ("mlp4", "bn8", "res6", "res25", "dense6", "leaky3")
LEARN = [(name, seed) for name in HEALTHY for seed in (0, 1) if (name, seed) != ("leaky3", 1)]


@pytest.fixture(scope="module")
def histories():
    return {(name, seed): run.train(name, seed=seed, progress=False).history for name in ("mlp8", *HEALTHY) for seed in (0, 1)}  # fmt: skip


def regression(depth, hidden=10, act_type="relu"):
    """Plain layers with a squared error, so that no softmax holds the gradient within bounds."""
    x = sym.Variable("data")
    for i in range(1, depth):
        x = sym.FullyConnected(x, num_hidden=hidden, name=f"fc{i}")
        x = sym.Activation(x, act_type=act_type, name=f"act{i}")
    x = sym.FullyConnected(x, num_hidden=3, name=f"fc{depth}")
    return sym.MakeLoss(sym.mean(sym.square(x - sym.Variable("label")))), x


def trained(loss, prediction, *, epochs=6, rate=1e-6, scale=0.01, **more):
    model = FeedForward(
        loss, prediction=prediction, num_epoch=epochs, numpy_batch_size=20, optimizer="sgd", learning_rate=rate,
        initializer=Uniform(scale), seed=0, **more,
    )  # fmt: skip
    model.fit(ROWS.train_data, ROWS.train_label, progress=False)
    return model


def weights_of(symbol, seed=0, scale=0.5):
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(20, 4))[0], strict=True))
    draw = np.random.default_rng(seed)
    return {
        name: draw.normal(scale=scale, size=shape).astype(np.float32)
        for name, shape in shapes.items()
        if name not in ("data", "label")
    }


# The lesson's networks.


@pytest.mark.parametrize(("name", "seed"), LEARN)
def test_no_wolf_is_cried_over_the_networks_that_learn(histories, name, seed):
    told = tl.diagnose(histories[name, seed])
    assert told.healthy, str(told)
    assert not told.vanishing
    assert not told.exploding
    assert not told.remedies
    around = [f.layer for f in told.findings]  # blocks that get none, to the end
    assert all(not any(histories[name, seed].mean_abs_grad[f"{layer}_weight"][-3:]) for layer in around)
    how = f"goes around {len(around)} of" if around else "reaches all"
    assert str(told).startswith(
        f"The gradient neither vanishes nor explodes: it {how} {len(told.layers)} layers"
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_mlp8_is_told_to_vanish_from_the_first_epoch_in_its_first_five_layers(histories, seed):
    told = tl.diagnose(histories["mlp8", seed])
    assert not told.healthy
    assert set(told.vanishing) >= {"fc1", "fc2", "fc3", "fc4", "fc5"}
    assert not {"fc7", "fc8"} & set(told.vanishing)
    for finding in told.findings:
        if finding.kind == "vanishing":
            assert finding.since == 1
            assert finding.against == "below fc8"
    for layer in told.layers[:5]:  # with seed 1 they end at zero
        assert max(f.until for f in told.findings if f.layer == layer) == 100
    text = str(told)
    assert "vanishes in" in text
    assert "structure: residual or dense" in text
    assert "batch normalization" in text
    assert "not the optimizer" in text  # it is Adam, whose epsilon is larger than these gradients
    assert "It has learnt nothing: the loss went from 0.36622 to 0.36598 in 100 epochs." in text
    assert "may help" in text


def test_the_orders_of_magnitude_are_those_of_the_gradients(histories):
    history = histories["mlp8", 0]
    (fc1,) = [f for f in tl.diagnose(history).findings if f.layer == "fc1"]
    ratio = np.array(history.mean_abs_grad["fc8_weight"]) / history.mean_abs_grad["fc1_weight"]
    assert fc1.orders == pytest.approx(np.median(np.log10(ratio)))
    assert 7 < fc1.orders < 11


def test_bn25_fails_and_is_told_to():
    told = tl.diagnose(run.train("bn25", epochs=20, progress=False).history)
    assert told.vanishing == [f"fc{i}" for i in range(1, 26)]
    assert any("structure" in remedy for remedy in told.remedies)
    assert not any("batch norm" in remedy for remedy in told.remedies)  # it is there already


@pytest.mark.parametrize(("build", "reached"), [(lambda: mlp(12), False), (lambda: mlp(3), True), (lambda: bn(5, "last"), True), (lambda: res(12, 6), True)])  # fmt: skip
def test_other_depths_than_the_lessons(build, reached):
    prediction = build()
    told = tl.diagnose(trained(cross_entropy(prediction), prediction, epochs=30, rate=0.02, momentum=0.9))
    assert told.reached == reached, str(told)


# Networks that learn nothing, and what is advised, tried.


def fitted(prediction, settings, *, seed=0, scale=None):
    first = Xavier() if scale is None else Uniform(scale)
    model = FeedForward(
        cross_entropy(prediction), prediction=prediction, num_epoch=100, numpy_batch_size=20, seed=seed,
        initializer=first, **settings,
    )  # fmt: skip
    model.fit(ROWS.train_data, ROWS.train_label, progress=False)
    return model


def falls_to(model):
    """What is left of the first loss."""
    return model.history.loss[-1] / model.history.loss[0]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("build", "settings"),
    [(lambda: mlp(4), SGD), (lambda: mlp(3), {**SGD, "learning_rate": 1e-4}), (lambda: leaky(4), SGD)],
)
def test_a_network_whose_loss_stands_still_is_not_healthy(build, settings, seed):
    model = fitted(build(), settings, seed=seed, scale=0.01)
    assert falls_to(model) > 0.99
    assert model.score(ROWS.test_data, np.asarray(ROWS.test_label).argmax(axis=1)) < 0.5
    told = tl.diagnose(model)
    assert not told.healthy
    assert told.stuck
    assert told.remedies
    assert str(told).startswith("The network has learnt nothing: the loss went from 0.36")
    assert "overcome" not in str(told)
    assert "had learnt before" in str(told)  # the doubt


def test_a_known_network_of_the_lesson_that_learns_nothing_with_other_first_weights(histories):
    told = tl.diagnose(histories["leaky3", 1])
    assert told.stuck
    assert told.loss == pytest.approx((0.366, 0.366), abs=1e-3)


@pytest.mark.parametrize(("loss", "stuck"), [([1.0, 1.0, 0.995], True), ([1.0, 0.9, 0.98], False), ([-1.0, -1.0, -1.5], False), ([-1.0, -1.0, -0.9], True), ([1.0, 1.0], False), ([], False), ([None, 1.0, 1.0], False)])  # fmt: skip
def test_stuck_is_a_loss_that_falls_by_less_than_a_hundredth_in_three_epochs(loss, stuck):
    told = tl.diagnose({"loss": loss, "mean_abs_grad": {"a": [0.1] * len(loss), "b": [0.1] * len(loss)}})
    assert told.stuck == stuck == (not told.healthy)


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_advised_for_mlp8_helps_and_what_is_not_does_not(histories, seed):
    advice = [line.split(":")[0] for line in tl.diagnose(histories["mlp8", seed]).remedies]
    helps = {
        "structure": fitted(res(7, 10), ADAM, seed=seed, scale=0.01),
        "batch normalization between layer and activation": fitted(bn(7, "fc8"), ADAM, seed=seed, scale=0.01),
        "first weights": fitted(mlp(8), ADAM, seed=seed),
    }
    does_not = {
        "not the activation alone": fitted(leaky(8), ADAM, seed=seed, scale=0.01),
        "not the optimizer": fitted(mlp(8), SGD, seed=seed, scale=0.01),
    }
    assert advice == [*helps, *does_not]
    assert max(map(falls_to, helps.values())) < 0.3
    assert min(map(falls_to, does_not.values())) > 0.99


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_advised_for_four_layers_with_sgd_helps(seed):
    told = tl.diagnose(fitted(mlp(4), SGD, seed=seed, scale=0.01))
    advice = [line.split(":")[0] for line in told.remedies if not line.startswith("not")]
    helps = {
        "batch normalization between layer and activation": fitted(bn(3, "fc4"), SGD, seed=seed, scale=0.01),
        "first weights": fitted(mlp(4), SGD, seed=seed),
        "optimizer": fitted(mlp(4), ADAM, seed=seed, scale=0.01),
    }
    assert advice == list(helps)
    assert max(map(falls_to, helps.values())) < 0.5


# The product of the Jacobians, by hand.


def head_gradient(z, label, eps=1e-8):
    """The gradient of the lesson's loss by the last layer's result."""
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    g = -label / (p + eps) / label.size
    return p * (g - (p * g).sum(axis=1, keepdims=True))


def product_by_hand(weights, x, label, residual):
    """What arrives at each layer of a length of 1 at the last, in double precision."""
    depth = len(weights) // 2
    w = {i: weights[f"fc{i}_weight"].astype(float) for i in range(1, depth + 1)}
    h, open_ = x.astype(float), {}
    for i in range(1, depth):
        z = h @ w[i].T + weights[f"fc{i}_bias"]
        open_[i] = z > 0
        h = np.maximum(z, 0) + (h if residual and i > 1 else 0)
    delta = head_gradient(h @ w[depth].T + weights[f"fc{depth}_bias"], label)
    lengths, g = {depth: np.linalg.norm(delta)}, delta @ w[depth]
    for i in range(depth - 1, 0, -1):
        delta = g * open_[i]
        lengths[i] = np.linalg.norm(delta)
        g = delta @ w[i] + (g if residual and i > 1 else 0)
    return {f"fc{i}": lengths[i] / lengths[depth] for i in range(1, depth + 1)}


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("scale", [0.01, 0.3])
def test_what_arrives_is_the_product_of_the_jacobians_at_the_first_weights(residual, scale):
    prediction = res(5, 6) if residual else mlp(6)
    weights = weights_of(prediction, scale=scale)
    model = trained(cross_entropy(prediction), prediction, epochs=2, arg_params=weights)
    expected = product_by_hand(weights, ROWS.train_data[:20], ROWS.train_label[:20], residual)
    told = tl.diagnose(model)
    assert list(told.arrives) == list(expected)
    np.testing.assert_allclose(list(told.arrives.values()), list(expected.values()), rtol=1e-3)
    assert told.predicted == told.arrives["fc1"]


def test_the_first_weights_of_mlp8_predict_and_those_of_res6_do_not(histories):
    assert tl.diagnose(histories["mlp8", 0]).predicted < 1e-12
    assert "first weights predicted it: from fc8 back to fc1" in str(tl.diagnose(histories["mlp8", 0]))
    assert tl.diagnose(histories["res6", 0]).predicted > 1e-3
    assert "first weights let it through" in str(tl.diagnose(histories["res6", 0]))
    assert "which the training has overcome" in str(tl.diagnose(histories["mlp4", 0]))


# Networks spoilt on purpose.


def test_units_that_are_shut_for_every_row_are_dead_and_no_others():
    prediction = mlp(3)
    weights = weights_of(prediction)
    weights["fc1_bias"][[1, 4]] = -100
    weights["fc2_bias"][:] = 1
    told = tl.diagnose(trained(cross_entropy(prediction), prediction, epochs=1, arg_params=weights))
    h1 = np.maximum(ROWS.train_data @ weights["fc1_weight"].T + weights["fc1_bias"], 0)
    h2 = np.maximum(h1 @ weights["fc2_weight"].T + weights["fc2_bias"], 0)
    expected = {f"fc{i}": np.flatnonzero(~h.any(axis=0)).tolist() for i, h in ((1, h1), (2, h2))}
    assert {1, 4} <= set(expected["fc1"])
    assert told.dead_units == {name: units for name, units in expected.items() if units}
    assert told.units == {"fc1": 10, "fc2": 10, "fc3": 3}
    assert told.healthy  # the others carry on
    assert "Dead units, 0 for every row after training: fc1" in str(told)


def test_the_units_of_a_convolution_are_its_channels():
    draw = np.random.default_rng(0)
    x = sym.Convolution(sym.Variable("data"), num_filter=4, kernel=(3, 3), name="conv1")
    x = sym.Pooling(sym.Activation(x, act_type="relu"), kernel=(2, 2), stride=(2, 2), pool_type="max")
    prediction = sym.FullyConnected(sym.Dropout(sym.Flatten(x), p=0.5), num_hidden=3, name="fc1")
    loss = sym.MakeLoss(sym.mean(sym.square(prediction - sym.Variable("label"))))
    first = {
        "conv1_weight": draw.normal(size=(4, 1, 3, 3)), "conv1_bias": np.array([1, -100, 1, 1]),
        "fc1_weight": draw.normal(size=(3, 36)), "fc1_bias": np.zeros(3),
    }  # fmt: skip
    first = {name: array.astype(np.float32) for name, array in first.items()}
    model = FeedForward(
        loss, prediction=prediction, num_epoch=1, learning_rate=1e-3, seed=0, arg_params=first
    )
    model.fit(draw.normal(size=(20, 1, 8, 8)), draw.normal(size=(20, 3)), progress=False)
    told = tl.diagnose(model)
    assert told.dead_units == {"conv1": [1]}
    assert told.units == {"conv1": 4, "fc1": 3}
    assert [layer.ops for layer in model.history.layers["last"]] == [["Relu"], []]


def test_a_layer_of_dead_units_cuts_off_all_before_it():
    prediction = mlp(4)
    weights = weights_of(prediction)
    weights["fc2_bias"][:] = -100
    told = tl.diagnose(trained(cross_entropy(prediction), prediction, rate=0.05, arg_params=weights))
    assert not told.healthy
    assert told.of_kind("dead") == ["fc1", "fc2", "fc3"]
    assert told.dead_units["fc2"] == list(range(10))
    assert told.predicted == 0
    assert "fc2 all 10" in str(told)
    assert "fc1 to fc3: exactly zero in every epoch" in str(told)
    assert any("leaky" in remedy for remedy in told.remedies)


def test_a_dead_block_with_a_way_around_is_named_and_no_alarm():
    prediction = res(5, 6)
    weights = weights_of(prediction)
    weights["fc3_bias"][:] = -100
    told = tl.diagnose(trained(cross_entropy(prediction), prediction, rate=0.05, arg_params=weights))
    assert told.healthy
    assert [(f.layer, f.kind, f.bypassed) for f in told.findings] == [("fc3", "dead", True)]
    assert "fc3: exactly zero in every epoch; the layers before are reached around it" in str(told)


@pytest.mark.parametrize("depth", [6, 10])
def test_large_first_weights_explode(depth):
    told = tl.diagnose(trained(*regression(depth), rate=1e-30, scale=5))
    assert told.exploding == list(told.layers)
    assert not told.vanishing
    assert told.predicted > 1e3
    assert min(f.orders for f in told.findings) > 3
    text = str(told)
    assert "explodes in" in text
    assert "The first weights predicted it" in text
    assert "a smaller learning rate; and smaller first weights" in text


def test_saturated_layers_let_nothing_through():
    prediction = regression(9, act_type="sigmoid")
    told = tl.diagnose(trained(*prediction, rate=0.01, scale=0.2))
    assert told.vanishing[:4] == ["fc1", "fc2", "fc3", "fc4"]
    assert any("relu has slope 1" in remedy for remedy in told.remedies)


@pytest.mark.parametrize("callback", [None, lambda batch: None], ids=["whole epochs", "step by step"])
def test_a_training_that_ended_in_an_error_can_be_asked_too(callback):
    loss, prediction = regression(8)
    model = FeedForward(loss, prediction=prediction, num_epoch=5, learning_rate=0.05, initializer=Uniform(1), seed=0, numpy_batch_size=20)  # fmt: skip
    with pytest.raises(NonFiniteError):
        model.fit(ROWS.train_data, ROWS.train_label, batch_end_callback=callback, progress=False)
    told = tl.diagnose(model)
    assert told.exploding or told.of_kind("not finite")
    assert not told.healthy


def test_a_loss_that_falls_from_the_sky_is_no_excuse_where_it_was_foretold():
    model = trained(*regression(8), rate=1e-9, scale=3)
    assert model.history.loss[-1] < 1e-3 * model.history.loss[0]
    told = tl.diagnose(model)
    assert len(told.exploding) >= 4
    assert "fc1" in told.exploding


# Histories made by hand.


def test_a_gradient_that_grows_a_thousandfold_while_nothing_is_learned_explodes():
    grows = [1e-2, 1e-2, 1e-2, 1.0, 1e3, 1e5, 1e7, 1e8]
    told = tl.diagnose({"loss": [1.0] * 8, "mean_abs_grad": {"fc1_weight": grows, "fc2_weight": [1e-2] * 8}})
    (finding,) = told.findings
    assert (finding.layer, finding.kind, finding.since, finding.until) == ("fc1", "exploding", 5, 8)
    assert str(told).startswith("The gradient explodes in 1 of 2 layers")


def test_a_gradient_that_grows_because_learning_begins_does_not():
    grows = np.geomspace(1e-8, 5, 10).tolist()
    told = tl.diagnose({"loss": np.geomspace(1, 0.1, 10).tolist(), "mean_abs_grad": {"a": grows, "b": grows}})
    assert told.healthy


@pytest.mark.parametrize(("last", "healthy"), [(1e3, True), (9e5, False)])
def test_large_gradients_are_well_where_the_loss_falls(last, healthy):
    """As of data and labels in the thousands, which nobody has scaled."""
    values = {name: [1e5] * 10 for name in "abc"}
    told = tl.diagnose({"loss": np.geomspace(1e6, last, 10).tolist(), "mean_abs_grad": values})
    assert told.healthy == healthy == (told.exploding == [])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e2])
def test_layers_of_like_gradients_are_healthy_at_any_size(scale):
    draw = np.random.default_rng(0)
    values = {f"w{i}": (scale * 10 ** draw.uniform(-1, 1, 20)).tolist() for i in range(6)}
    assert tl.diagnose({"loss": np.geomspace(1, 0.3, 20).tolist(), "mean_abs_grad": values}).healthy


def test_since_and_until_are_the_epochs_of_the_longest_stretch():
    fc1 = [1e-3] * 4 + [1e-9] * 5 + [1e-3] * 3
    (finding,) = tl.diagnose({"mean_abs_grad": {"fc1": fc1, "fc2": [1e-3] * 12}}).findings
    assert (finding.since, finding.until, round(finding.orders)) == (5, 9, 6)
    assert tl.diagnose(
        {"mean_abs_grad": {"fc1": [1e-3] * 9 + [1e-9] * 2 + [1e-3], "fc2": [1e-3] * 12}}
    ).healthy


def test_numbers_that_are_none_are_told():
    told = tl.diagnose({"mean_abs_grad": {"fc1": [0.1, float("nan"), None], "fc2": [0.1, 0.1, float("inf")]}})
    assert told.of_kind("not finite") == ["fc1", "fc2"]
    assert "not finite since epoch 2" in str(told)
    assert told.marks == {"fc1": ".nn", "fc2": "..n"}


def test_branches_are_followed_along_the_graph_and_not_along_the_list():
    """Two towers: the first is well, the second vanishes; in the list its layers come after."""
    x, towers = sym.Variable("data"), []
    for tower, count in (("good", 1), ("bad", 7)):
        h = x
        for i in range(1, count + 1):
            h = sym.Activation(sym.FullyConnected(h, num_hidden=8, name=f"{tower}{i}"), act_type="relu")
        towers.append(h)
    prediction = sym.softmax(
        sym.FullyConnected(sym.concat(*towers, dim=1), num_hidden=3, name="last"), axis=1
    )
    told = tl.diagnose(trained(cross_entropy(prediction), prediction, epochs=10, rate=0.05))
    assert {"bad1", "bad2", "bad3"} <= set(told.vanishing)
    assert "good1" not in told.vanishing


# What can be asked.


def test_a_history_a_model_and_what_is_in_the_file_get_the_same_answer(histories):
    history = histories["mlp8", 0]
    told = json.loads(json.dumps(history.as_json(), allow_nan=False))
    assert str(tl.diagnose(told)) == str(tl.diagnose(history))
    model = trained(cross_entropy(mlp(4)), mlp(4), epochs=2)
    assert str(tl.diagnose(model)) == str(tl.diagnose(model.history))


@pytest.mark.parametrize("given", [None, 3, "history.json", {"loss": [1.0]}])
def test_anything_else_is_refused(given):
    with pytest.raises(DTypeError, match="expected a History"):
        tl.diagnose(given)


def test_an_empty_history_has_nothing_wrong():
    told = tl.diagnose({"loss": [], "mean_abs_grad": {}})
    assert told.healthy
    assert str(told).startswith("The gradient neither vanishes nor explodes")


def test_the_limits_stand_clear_of_the_lessons_networks(histories):
    """Between what is called healthy and what is called vanishing lies a decade and more on both sides."""
    for (name, _), history in histories.items():
        gradients = marks.as_matrix(history.mean_abs_grad)
        share = marks.reached(gradients, []) / gradients.max(axis=0)
        if name == "mlp8":
            assert np.median(share[:5], axis=1).max() < marks.VANISHED / 5
        else:
            assert np.median(share, axis=1).min() > marks.VANISHED * 10


def test_names_of_neighbours_are_drawn_together():
    layers = [f"fc{i}" for i in range(1, 9)]
    assert (
        diagnosis.told_names(["fc1", "fc2", "fc3", "fc5", "fc7", "fc8"], layers)
        == "fc1 to fc3, fc5, fc7, fc8"
    )


def test_a_prompt_shows_the_text():
    told = tl.diagnose({"loss": [1.0, 0.5], "mean_abs_grad": {"fc1": [0.1] * 2, "fc2": [0.1] * 2}})
    assert repr(told) == str(told) == "The gradient neither vanishes nor explodes: it reaches all 2 layers."
