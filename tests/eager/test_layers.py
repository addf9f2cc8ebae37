"""`tl.nn`: layers as trees, against NumPy."""

import copy
import dataclasses

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import check, nn
from tinygrad_lesson.errors import GraphError

RNG = np.random.default_rng(2)


def test_a_linear_layer():
    layer = nn.Linear(3, 2)
    x = RNG.normal(size=(5, 4, 3))
    told = x @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(layer(x).numpy(), told, rtol=1e-14)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert abs(layer.weight.numpy()).max() <= 3**-0.5
    assert nn.Linear(3, 2, dtype="float32")(x.astype("float32")).dtype == np.float32


def test_a_convolution():
    layer = nn.Conv(2, 3, 3, stride=2, pad=1)
    x = RNG.normal(size=(1, 2, 5, 5))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    told = np.zeros((1, 3, 3, 3))
    for i in range(3):
        for j in range(3):
            part = padded[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            told[0, :, i, j] = (layer.weight.numpy() * part).sum((1, 2, 3)) + layer.bias.numpy()
    np.testing.assert_allclose(layer(x).numpy(), told, rtol=1e-12)
    assert nn.Conv(2, 3, (5,))(RNG.normal(size=(1, 2, 9))).shape == (1, 3, 5)


def test_batch_normalization_moves_its_means_in_training():
    layer = nn.BatchNorm(2)
    x = RNG.normal(3, 2, size=(50, 2))
    told = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    np.testing.assert_allclose(layer(x).numpy(), told, rtol=1e-10)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean(0), rtol=1e-12)
    before = layer.moving_mean.numpy()
    predicted = (x - before) / np.sqrt(layer.moving_var.numpy() + 1e-5)
    np.testing.assert_allclose(layer(x, is_train=False).numpy(), predicted, rtol=1e-10)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def test_a_derivative_moves_the_means_too_and_leaves_settings_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2), nn.Dropout(0.25))
    found = tl.grad(lambda m: tl.sum(m(RNG.normal(size=(8, 2))) ** 2))(model)
    assert model[1].moving_mean.numpy().any()
    assert found.layers[2].p == 0.25
    assert found.layers[0].weight.shape == (2, 2)
    assert len(list(model.parameters())) == 4


def test_dropout_in_training_alone():
    tl.random.seed(0)
    layer, x = nn.Dropout(0.5), np.ones(1000)
    np.testing.assert_array_equal(layer(x, is_train=False).numpy(), x)
    assert set(layer(x).numpy()) == {0.0, 2.0}


@pytest.mark.parametrize("change", [lambda f: f, tl.jit])
def test_gradients_of_a_model_against_differences(change):
    model = nn.Sequential(nn.Conv(1, 2, 3, pad=1), tl.tanh, tl.flatten, nn.Linear(32, 3))
    x = RNG.normal(size=(2, 1, 4, 4))

    def loss(model):
        return tl.sum(tl.sin(model(x, is_train=False)))

    found = change(tl.grad(loss))(model)
    for i, name in ((0, "weight"), (0, "bias"), (3, "weight"), (3, "bias")):

        def shifted(w, i=i, name=name):
            other = copy.copy(model)
            other.layers = tuple(copy.copy(f) for f in model.layers)
            setattr(other.layers[i], name, w)
            return loss(other)

        w = getattr(model[i], name).numpy()
        check.assert_gradients(shifted, w)
        direction = RNG.normal(size=w.shape)
        slope = (shifted(w + 1e-5 * direction).item() - shifted(w - 1e-5 * direction).item()) / 2e-5
        assert np.vdot(getattr(found[i], name).numpy(), direction) == pytest.approx(slope, rel=1e-7)


def test_a_checkpoint_of_a_layer():
    layer, x = nn.Sequential(nn.Linear(3, 3), tl.tanh, nn.Dropout(0.5)), RNG.normal(size=(4, 3))
    found = []
    for f in (layer, tl.checkpoint(layer)):
        tl.random.seed(1)
        tl.sum(f(x) ** 2).backward()
        found.append([p.grad.numpy().tobytes() for p in layer.parameters()])
        for p in layer.parameters():
            p.zero_grad()
    assert found[0] == found[1]


def normalized():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), tl.tanh, nn.Linear(4, 1))


def test_batch_normalization_predicts_in_a_plan_by_the_means_as_they_are_now():
    model, x = normalized(), RNG.normal(size=(8, 3))
    plan = tl.jit(lambda model, x: model(x, is_train=False))
    for _ in range(2):
        np.testing.assert_allclose(plan(model, x).numpy(), model(x, is_train=False).numpy(), rtol=1e-12)
        model(3 * x + 1)  # moves them
    slope = tl.grad(lambda model: plan(model, x).sum())(model)
    plain = tl.grad(lambda model: model(x, is_train=False).sum())(model)
    np.testing.assert_allclose(slope.layers[1].gamma.numpy(), plain.layers[1].gamma.numpy(), rtol=1e-12)


def loss(model, x):
    return (model(model(x) * x) ** 2).sum()  # twice, so that the second moves what the first has left


PLANS = {
    "a plan": lambda f: tl.jit(tl.value_and_grad(f)),
    "its derivative": lambda f: tl.value_and_grad(tl.jit(f)),
    "a plan that keeps results alone": lambda f: tl.jit(tl.value_and_grad(tl.checkpoint(f))),
    "a plan in a plan": lambda f: tl.jit(tl.value_and_grad(tl.jit(f))),
    "of tangents": lambda f: tl.jit(
        lambda model, x: (tl.jvp(lambda x: f(model, x), [x], [x])[0], tl.grad(f)(model, x))
    ),
}


@pytest.mark.parametrize("runner", ["numpy", None])
@pytest.mark.parametrize("plan", PLANS)
def test_batch_normalization_trains_in_a_plan(monkeypatch, plan, runner):
    if runner is not None:
        monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    model, step = normalized(), PLANS[plan](loss)
    plain = copy.deepcopy(model)
    for i in range(3):
        x = RNG.normal(i, 2, size=(8, 3))
        (y, slope), (expected, told) = step(model, x), tl.value_and_grad(loss)(plain, x)
        if plan == "of tangents":
            loss(plain, x)
        assert y.item() == pytest.approx(expected.item(), rel=1e-12)
        np.testing.assert_allclose(
            slope.layers[0].weight.numpy(), told.layers[0].weight.numpy(), rtol=1e-9, atol=1e-12
        )
        for name in ("moving_mean", "moving_var"):
            a, b = (getattr(m.layers[1], name).numpy() for m in (model, plain))
            np.testing.assert_allclose(a, b, rtol=1e-12)
        np.testing.assert_allclose(
            model(x, is_train=False).numpy(), plain(x, is_train=False).numpy(), rtol=1e-12
        )


@pytest.mark.parametrize("outside", [True, False])
def test_states_of_a_plan_are_arrays_or_tensors_from_outside_or_arguments(outside):
    one, x = np.ones(3), RNG.normal(size=(5, 3))

    def f(x, mean, var):
        y = tl.batch_norm(x, one, one, mean, var)
        return y + tl.batch_norm(2 * x, one, one, mean, var) * mean

    kinds = [[np.zeros(3), np.ones(3)], [tl.Tensor(np.zeros(3)), tl.Tensor(np.ones(3))]]
    for mine, plain in zip(kinds, copy.deepcopy(kinds), strict=True):
        step = tl.jit((lambda x, mine=mine: f(x, *mine)) if outside else f)
        for k in range(3):
            expected = f(x + k, *plain)
            y = step(x + k) if outside else step(x + k, *mine)
            if isinstance(mine[0], tl.Tensor):
                np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-12)
            for a, b in zip(mine, plain, strict=True):
                np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12)
        assert len(step.programs) == 1


def test_states_move_sample_by_sample_around_a_plan_and_are_refused_inside():
    model, xs = normalized(), RNG.normal(size=(3, 8, 3))
    plain = copy.deepcopy(model)
    each = [plain(x).numpy() for x in xs]
    np.testing.assert_allclose(tl.vmap(tl.jit(model))(xs).numpy(), each, rtol=1e-12)
    moved = model.layers[1].moving_mean.numpy()
    np.testing.assert_allclose(moved, plain.layers[1].moving_mean.numpy(), rtol=1e-12)
    with pytest.raises(GraphError, match="sample by sample.* call it with is_train=False"):
        tl.jit(lambda model, xs: tl.vmap(model)(xs))(model, xs)
    assert model.layers[1].moving_mean.numpy().tobytes() == moved.tobytes()


def test_a_state_that_is_read_before_it_moves_is_what_it_was():
    mean, var, one = tl.Tensor(np.zeros(3)), tl.Tensor(np.ones(3)), np.ones(3)

    def f(x):
        before = mean * 1
        return before + 0 * tl.batch_norm(x, one, one, mean, var)

    step = tl.jit(f)
    x = RNG.normal(1, 1, size=(4, 3))
    for k in range(3):
        told = mean.numpy()
        np.testing.assert_allclose(step(x)[0].numpy(), told, rtol=1e-12)
        np.testing.assert_allclose(mean.numpy(), x.mean(0) * (1 - 0.9 ** (k + 1)), rtol=1e-9)


def test_a_plan_of_a_layer_takes_its_parameters_as_arguments():
    model, x = normalized(), RNG.normal(size=(8, 3))
    plan = tl.jit(model)
    for _ in range(2):
        y = plan(x, is_train=False)
        np.testing.assert_allclose(y.numpy(), model(x, is_train=False).numpy(), rtol=1e-12)
        y.sum().backward()
        weight = model.layers[3].weight
        np.testing.assert_allclose(weight.grad.numpy()[0], model.layers[2](hidden(model, x)).numpy().sum(0))
        weight.grad = None
        with tl.no_grad():
            weight *= 2.0
    assert len(plan.programs) == 1
    again = copy.copy(plan)
    np.testing.assert_allclose(again(x, is_train=False).numpy(), plan(x, is_train=False).numpy())


def test_a_plan_of_a_layer_may_look_at_a_float():
    @dataclasses.dataclass
    class Power:
        weight: tl.Tensor

        def __call__(self, x, by):
            return self.weight * x**by if by > 1 else self.weight * x

    layer = Power(tl.Tensor([2.0]))
    plan = tl.jit(layer)
    assert [plan(3.0 * np.ones(1), by).item() for by in (0.5, 2.0, 3.0)] == [6.0, 18.0, 54.0]


def hidden(model, x):
    return model.layers[1](model.layers[0](x), is_train=False)


def test_the_hessian_of_a_model_times_a_vector_is_built_like_the_model():
    model, x = nn.Sequential(nn.Linear(3, 2), tl.tanh, nn.Linear(2, 1)), RNG.normal(size=(8, 3))
    slope = tl.grad(lambda model: (model(x) ** 2).sum())
    along = tl.jvp(slope, (model,), (model,))[1]
    assert along.layers[1] is None
    h, w = 1e-6, model.layers[0].weight.numpy()

    def moved(step):
        new = copy.deepcopy(model)
        for p in new.parameters():
            p.value = p.value * (1 + step)
        return slope(new).layers[0].weight.numpy()

    assert w.shape == (2, 3)
    np.testing.assert_allclose(along.layers[0].weight.numpy(), (moved(h) - moved(-h)) / (2 * h), rtol=1e-6)


def test_parameters_are_found_in_whatever_a_layer_holds():
    @dataclasses.dataclass
    class Scale:
        by: tl.Tensor

        def __call__(self, x):
            return self.by * x

    parts = {"a": nn.Linear(2, 2, bias=False), "b": [nn.Linear(2, 1)]}
    model = nn.Sequential(Scale(tl.Tensor([2.0], requires_grad=True)), tl.relu, nn.Sequential(parts))
    assert [x.shape for x in model.parameters()] == [(1,), (2, 2), (1, 2), (1,)]
