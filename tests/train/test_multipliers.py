"""Multipliers that variables were made with: weights after some steps against MXNet's formula, written in NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.errors import AttributeValueError, OptimizerError
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.symbol import AttrScope
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.optimizer import SGD, Adam, FlatUpdater, create, get_updater

ROWS = np.array([[1.0, -2.0, 0.5], [3.0, 1.0, -0.25]], np.float32)
START = {"a_weight": [[1.0, 2.0, -3.0]], "b_weight": [[0.5, -1.0, 4.0]]}

SAID = {
    "keyword": lambda name, lr, wd: sym.Variable(name, shape=(1, 3), lr_mult=lr, wd_mult=wd),
    "attr": lambda name, lr, wd: sym.Variable(
        name, shape=(1, 3), attr={"__lr_mult__": str(lr), "__wd_mult__": str(wd)}
    ),
    "plain attr": lambda name, lr, wd: sym.Variable(
        name, shape=(1, 3), attr={"lr_mult": str(lr), "wd_mult": str(wd)}
    ),
    "own keywords": lambda name, lr, wd: sym.Variable(
        name, shape=(1, 3), __lr_mult__=str(lr), __wd_mult__=str(wd)
    ),
    "scope": lambda name, lr, wd: inside(AttrScope(lr_mult=str(lr), wd_mult=str(wd)), name),
    "wrapped scope": lambda name, lr, wd: inside(AttrScope(__lr_mult__=str(lr), __wd_mult__=str(wd)), name),
}
MULTIPLIERS = st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0])


def inside(scope, name):
    """A variable that is made inside a scope."""
    with scope:
        return sym.Variable(name, shape=(1, 3))


def loss_of(a):
    """The sum of `data * a + data * b`: its gradient is the sum of the rows, whatever the weights."""
    data, b = sym.Variable("data"), sym.Variable("b_weight", shape=(1, 3))
    return sym.MakeLoss(sym.sum(sym.broadcast_mul(data, a) + sym.broadcast_mul(data, b)))


def by_hand(start, lr_mult, wd_mult, momentum, wd, steps):
    """Weights after some steps of ``m = momentum * m - rate * (g + wd * w)``, in double precision."""
    w, m, g = np.array(start), 0.0, ROWS.astype(float).sum(axis=0)
    for _ in range(steps):
        m = momentum * m - 0.1 * lr_mult * (g + wd * wd_mult * w)
        w = w + m
    return w


def fitted(loss, watched=False, **settings):
    """The parameters after five epochs of one step."""
    initial = {name: np.array(value, np.float32) for name, value in START.items()}
    settings = {"learning_rate": 0.1, "rescale_grad": 1.0, **settings}
    model = FeedForward(loss, num_epoch=5, numpy_batch_size=2, arg_params=initial, **settings)
    model.fit(ROWS, batch_end_callback=(lambda _: None) if watched else None)
    return model.arg_params


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("said", SAID)
@given(
    lr=MULTIPLIERS,
    wd_mult=MULTIPLIERS,
    momentum=st.sampled_from([0.0, 0.9]),
    wd=st.sampled_from([0.0, 0.1]),
    watched=st.booleans(),
    loaded=st.booleans(),
)
def test_a_fitted_parameter_moves_by_its_own_multipliers(
    runner, said, lr, wd_mult, momentum, wd, watched, loaded
):
    loss = loss_of(SAID[said]("a_weight", lr, wd_mult))
    loss = sym.load_json(loss.tojson()) if loaded else loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_LESSON_RUNNER", runner)
        found = fitted(loss, watched, momentum=momentum, wd=wd)
    for name, own in (("a_weight", (lr, wd_mult)), ("b_weight", (1.0, 1.0))):
        expected = by_hand(START[name], *own, momentum, wd, 5)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9, "wd": 0.1}, {"optimizer": "adam", "wd": 0.1}])
def test_a_frozen_layer_keeps_every_bit(settings):
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=4, name="one", lr_mult=0)
    with AttrScope(lr_mult="0"):
        x = sym.BatchNorm(x, fix_gamma=False, name="two")
    x = sym.FullyConnected(x, num_hidden=3, name="three")
    model = FeedForward(sym.SoftmaxOutput(x, name="softmax"), num_epoch=4, seed=3, **settings)
    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    first = model.fit(rows, np.arange(12) % 3).trained.first
    moved = {n for n, array in model.arg_params.items() if not np.array_equal(array, first[n])}
    assert moved == {"three_weight", "three_bias"}


def test_what_the_optimizer_says_goes_before_what_a_variable_says():
    loss = loss_of(SAID["keyword"]("a_weight", 0.0, 1.0))
    for optimizer in (
        SGD(0.1, lr_mult={"a_weight": 2.0, "b_weight": 0}),
        create("sgd", learning_rate=0.1, sym=loss, lr_mult={"a_weight": 2.0, "b_weight": 0}),
    ):
        initial = {name: np.array(value, np.float32) for name, value in START.items()}
        model = FeedForward(loss, num_epoch=5, numpy_batch_size=2, optimizer=optimizer, arg_params=initial)
        model.fit(ROWS)
        expected = by_hand(START["a_weight"], 2.0, 1.0, 0.0, 0.0, 5)
        np.testing.assert_allclose(model.arg_params["a_weight"], expected, rtol=1e-5)
        np.testing.assert_array_equal(model.arg_params["b_weight"], initial["b_weight"])


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_an_optimizer_that_knows_the_symbol_heeds_it_parameter_by_parameter(kind):
    frozen = sym.Variable("w", lr_mult=0)
    net = sym.BatchNorm(sym.FullyConnected(sym.Variable("x"), frozen, num_hidden=2, name="f"), name="bn")
    names = dict(enumerate(net.list_arguments()))
    updater = get_updater(kind(0.1, wd=0.5, sym=net, param_idx2name=names))
    moved = set()
    for i, name in names.items():
        weight = np.ones(2, np.float32)
        gradient = np.zeros(2) if name.endswith("gamma") else np.ones(2)
        updater(i, gradient.astype(np.float32), weight)
        moved |= {name} if (weight != 1).any() else set()
    assert moved == {"x", "f_bias", "bn_beta", "bn_gamma"}  # which decays, until the next run makes it 1


def test_multipliers_may_be_given_by_index():
    optimizer = SGD(0.1, param_idx2name={0: "fc_weight"}, lr_mult={0: 0.25})
    assert optimizer.multipliers(0) == (0.25, 1.0)


def test_multipliers_can_be_set_later_and_those_of_the_symbol_stay():
    net = loss_of(SAID["keyword"]("a_weight", 0.5, 0.25))
    optimizer = SGD(1.0, wd=0.5, sym=net, lr_mult={"b_weight": 3.0})
    weight = np.zeros(2, np.float32)
    parts = [("a_weight", slice(0, 1)), ("b_weight", slice(1, 2))]
    updater = FlatUpdater(optimizer, weight, np.ones(2, np.float32), parts)
    updater.step()
    np.testing.assert_array_equal(weight, [-0.5, -3.0])
    optimizer.set_lr_mult({"b_weight": 0.0})
    optimizer.set_wd_mult({"a_weight": 0.0})
    updater.step()
    np.testing.assert_array_equal(weight, [-1.0, -3.0])
    assert optimizer.multipliers("a_weight") == (0.5, 0.0)
    optimizer.set_wd_mult({})
    assert optimizer.multipliers("a_weight") == (0.5, 0.25)


@pytest.mark.parametrize("text", ["fast", "", "nan", "inf", "1e999", "(1,)", "None"])
def test_a_multiplier_that_is_no_finite_number_is_refused_where_it_is_given(text):
    with pytest.raises(
        AttributeValueError, match=r"Variable 'w': lr_mult is .*, expected a (finite )?number"
    ):
        sym.Variable("w", lr_mult=text)
    with pytest.raises(AttributeValueError, match="Variable 'w': wd_mult is"):
        sym.Variable("w", attr={"__wd_mult__": text})
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="f", lr_mult=text)
    with pytest.raises(AttributeValueError, match="variable 'f_weight': lr_mult is"):
        FeedForward(sym.MakeLoss(net)).fit(ROWS)


def test_a_multiplier_of_what_is_no_parameter_is_refused_with_the_nearest_name():
    loss = loss_of(sym.Variable("a_weight", shape=(1, 3)))
    for what in ("lr_mult", "wd_mult"):
        with pytest.raises(OptimizerError, match=f"fit: {what} of 'a_wieght'.*did you mean 'a_weight'"):
            fitted(loss, **{what: {"a_wieght": 0}})


@pytest.mark.parametrize("factor", ["0", None, np.nan, np.inf])
def test_a_multiplier_of_an_optimizer_that_is_no_finite_number_is_refused(factor):
    with pytest.raises(OptimizerError, match="SGD: lr_mult of 'w' is .*, expected a finite number"):
        SGD(0.1, lr_mult={"w": factor})
    with pytest.raises(OptimizerError, match="Adam: wd_mult of 'w' is .*, expected a finite number"):
        Adam(0.1).set_wd_mult({"w": factor})


def test_an_initializer_of_a_variable_counts_beside_a_layer_of_its_name():
    x = sym.FullyConnected(sym.Variable("data"), sym.Variable("f", init="one"), num_hidden=2, name="f")
    model = FeedForward(sym.MakeLoss(x), num_epoch=1, learning_rate=0.1, lr_mult={"f": 0})
    model.fit(ROWS)
    np.testing.assert_array_equal(model.arg_params["f"], np.ones((2, 3)))


# What an op holds at a number.


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize(
    "settings",
    [
        {"wd": 0.5},
        {"wd": 0.5, "momentum": 0.9},
        {"wd": 0.5, "optimizer": "adam"},
        {"wd": 0.5, "wd_mult": {"bn_gamma": 4.0}},
        {"wd": 0.5, "clip_gradient": 0.1, "momentum": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("watched", [False, True])
def test_a_fixed_gamma_leaves_training_at_one_by_every_way_out(
    runner, settings, watched, monkeypatch, tmp_path
):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    x = sym.BatchNorm(sym.FullyConnected(sym.Variable("data"), num_hidden=4, name="fc"), name="bn")
    net = sym.SoftmaxOutput(sym.FullyConnected(x, num_hidden=3, name="last"), name="softmax")
    seen = []

    def note(event):
        seen.append(event.locals["executor"].arguments["bn_gamma"].copy())

    model = FeedForward(net, num_epoch=3, learning_rate=0.1, seed=1, numpy_batch_size=4, **settings)
    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    history = model.fit(rows, np.arange(12) % 3, batch_end_callback=note if watched else None)
    model.save(str(tmp_path / "net"), 3)
    loaded = FeedForward.load(str(tmp_path / "net"), 3)
    for array in (model.arg_params["bn_gamma"], loaded.arg_params["bn_gamma"], *seen):
        np.testing.assert_array_equal(array, np.ones(4, np.float32))
    np.testing.assert_array_equal(history.trained.last["bn_gamma"], 1)
    assert (model.arg_params["fc_weight"] != history.trained.first["fc_weight"]).all()


def test_a_fixed_gamma_decays_in_an_update_of_ones_own_and_is_one_again_after_the_next_run():  # as in MXNet 1.9.1
    net = sym.MakeLoss(sym.BatchNorm(sym.Variable("data"), name="bn"))
    executor = net.simple_bind(cpu(), data=(4, 3))
    updater = get_updater(create("sgd", learning_rate=1.0, wd=0.5))
    executor.forward(is_train=True, data=np.random.default_rng(0).normal(size=(4, 3)))
    executor.backward()
    for name, weight in executor.arg_dict.items():
        updater(name, executor.grad_dict[name], weight)
    np.testing.assert_array_equal(executor.arg_dict["bn_gamma"].asnumpy(), np.full(3, 0.5))
    executor.forward()
    np.testing.assert_array_equal(executor.arg_dict["bn_gamma"].asnumpy(), np.ones(3))


def test_a_gamma_that_another_layer_uses_too_leaves_training_at_one():
    gamma = sym.Variable("gamma", shape=(3,))
    x = sym.BatchNorm(sym.Variable("data"), gamma, name="bn")
    loss = sym.MakeLoss(sym.sum(sym.broadcast_mul(x, gamma) + x))
    model = FeedForward(loss, num_epoch=3, learning_rate=0.1)
    model.fit(ROWS + np.array([[0.0], [5.0]], np.float32))
    np.testing.assert_array_equal(model.arg_params["gamma"], np.ones(3))


def test_a_gamma_that_is_not_fixed_decays():
    x = sym.BatchNorm(sym.Variable("data"), fix_gamma=False, name="bn")
    model = FeedForward(
        sym.MakeLoss(sym.sum(x) * 0), num_epoch=1, numpy_batch_size=2, learning_rate=0.1, wd=0.5
    )
    model.fit(ROWS)
    np.testing.assert_allclose(model.arg_params["bn_gamma"], 0.95, rtol=1e-6)
