"""`tl.optim`: the rules of `train/rules.py` over trees, held to those over one array, and to their formulas."""

import dataclasses

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import nn, optim
from tinygrad_lesson.errors import GraphError, OptimizerError, ShapeError
from tinygrad_lesson.train import optimizer as flat
from tinygrad_lesson.train.optim import OVER_TREES
from tinygrad_lesson.train.rules import Optimizer

RNG = np.random.default_rng(1)


@dataclasses.dataclass
class Model:
    weight: object
    more: dict


def tree(dtype):
    more = {"bias": RNG.normal(size=2).astype(dtype), "list": [RNG.normal(size=()).astype(dtype), "name"]}
    return Model(RNG.normal(size=(2, 3)).astype(dtype), more | {"count": np.array([1, 2])})


def floats(model):
    return [np.asarray(x) for x in (model.weight, model.more["bias"], model.more["list"][0])]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {}) for name in sorted(set(OVER_TREES) - {"SGLD"})]  # which draws
    + [("SGD", {"momentum": 0.9, "wd": 0.1}), ("DCASGD", {"momentum": 0.9})],
)
def test_a_step_over_a_tree_is_that_of_the_rule_bit_for_bit(name, settings, dtype, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")  # machine code may contract a product and a sum
    opt = getattr(optim, name)(0.1, **settings)
    params, rule = tree(dtype), flat.create(name, learning_rate=0.1, **settings)
    own = [x.reshape(-1).copy() for x in floats(params)]
    states, state = [rule.first_state(x) for x in own], opt.init(params)
    for step in (1, 2, 3):
        grads = tree(dtype)
        before = [x.copy() for x in floats(params)]
        old, params_before = state, params
        params, state = opt.update(params, grads, state)
        for x, g, s in zip(own, floats(grads), states, strict=True):
            rule.step(x, g.reshape(-1), s, step)
        for x, y in zip(floats(params), own, strict=True):
            assert x.dtype == dtype
            assert x.tobytes() == y.tobytes()
        again, _ = opt.update(params_before, grads, old)  # nothing that was given has changed
        for x, y, z in zip(floats(again), own, floats(params_before), strict=True):
            assert x.tobytes() == y.tobytes()
            assert z.tobytes() == before.pop(0).tobytes()
    assert params.more["list"][1] == "name"
    np.testing.assert_array_equal(params.more["count"], [1, 2])


@pytest.mark.parametrize(
    "make", [lambda w: optim.Adam(w, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)]
)
def test_in_place_as_in_pytorch(make):
    w = tl.tensor([1.0, -2.0], requires_grad=True)
    opt = make([w])
    moments = np.zeros((2, 2))
    told = w.numpy()
    for t in (1, 2, 3):
        y = (w**3).sum()
        opt.zero_grad()
        y.backward()
        opt.step()
        g = 3 * told**2 + 0.1 * told
        moments[0] = 0.8 * moments[0] + 0.2 * g
        moments[1] = 0.99 * moments[1] + 0.01 * g * g
        told = told - 0.01 * np.sqrt(1 - 0.99**t) / (1 - 0.8**t) * moments[0] / (np.sqrt(moments[1]) + 1e-6)
        np.testing.assert_allclose(w.numpy(), told, rtol=1e-12)
    opt.zero_grad()
    assert w.grad is None


def test_a_graph_keeps_what_it_was_made_of():
    w = tl.tensor([2.0], requires_grad=True)
    y = (w * w).sum()
    w.grad = tl.tensor([1.0])
    optim.SGD([w], lr=1.0).step()
    w.grad = None
    y.backward()
    assert (w.item(), w.grad.item()) == (1.0, 4.0)


def test_what_has_no_gradient_is_not_counted():
    a, b = (tl.tensor([1.0], requires_grad=True) for _ in "ab")
    opt = optim.Adam({"a": a, "b": b}.values(), lr=0.1)
    for used in ([a], [a, b]):
        opt.zero_grad()
        sum((x * 2.0).sum() for x in used).backward()
        opt.step()
    assert opt.state.steps == [2, 1]
    np.testing.assert_allclose([a.item(), b.item()], [0.8, 0.9], rtol=1e-6)


def test_a_rule_of_ones_own_that_needs_norms():
    class Normed(Optimizer):
        def rule(self, F, given, *moments):
            norm = given.per_parameter(F, lambda g: F.sqrt(F.sum(g * g)), given.gradient)
            return given.weight - given.rate * given.gradient / norm

    opt = optim.TreeOptimizer(Normed(1.0))
    params, grads = [np.zeros(2), np.zeros(1)], [np.array([3.0, 4.0]), np.array([7.0])]
    new, _ = opt.update(params, grads, opt.init(params))
    np.testing.assert_allclose(new[0].numpy(), [-0.6, -0.8])
    np.testing.assert_allclose(new[1].numpy(), [-1.0])


def test_the_rate_can_be_changed():
    opt = optim.SGD(1.0)
    opt.learning_rate = 0.5
    new, _ = opt.update(1.0, 1.0, opt.init(1.0))
    assert new.item() == 0.5
    assert opt.learning_rate == 0.5


def test_what_does_not_fit_is_refused():
    opt = optim.SGD(0.1)
    with pytest.raises(ShapeError, match=r"parameter 0: its gradient is \(2,\), expected \(3,\)"):
        opt.update(np.ones(3), np.ones(2), opt.init(np.ones(3)))
    with pytest.raises(OptimizerError, match="none of the parameters asks for a gradient"):
        optim.Adam([tl.tensor([1.0])], lr=0.1)
    with pytest.raises(OptimizerError, match="unknown setting 'beta'"):
        optim.Adam(1e-3, beta=0.9)
    with pytest.raises(GraphError, match="opt.init is not traced; write state = opt.init"):
        tl.jit(lambda p: opt.update(p, p, opt.init(p))[0])(np.ones(2))
    state = opt.init(np.ones(2))
    with pytest.raises(GraphError, match="gradient would end here"):
        tl.jit(tl.grad(lambda p: opt.update(p, p, state)[0].sum()))(np.ones(2))
    with pytest.raises(GraphError, match="gradient would end here"):
        tl.grad(lambda p: opt.update(p, p, opt.init(p))[0].sum())(np.ones(2))


@pytest.mark.parametrize("runner", ["numpy", "vm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {}) for name in sorted(set(OVER_TREES) - {"SGLD"})]
    + [("SGD", {"momentum": 0.9, "wd": 0.1}), ("LARS", {"momentum": 0.9}), ("Adam", {"clip_gradient": 0.5})],
)
def test_a_traced_step_is_that_of_the_rule_and_is_traced_once(name, settings, dtype, runner):
    opt, traces = getattr(optim, name)(0.1, **settings), []

    def step(params, grads, state):
        traces.append(1)
        return opt.update(params, grads, state)

    params = {"w": RNG.normal(size=(2, 3)).astype(dtype), "b": [RNG.normal(size=2).astype(dtype)]}
    state, step = opt.init(params), tl.jit(step, runner=runner)
    own, own_state = params, state
    for i in (1, 2, 3):
        grads = {"w": RNG.normal(size=(2, 3)).astype(dtype), "b": [RNG.normal(size=2).astype(dtype)]}
        params, state = step(params, grads, state)
        own, own_state = opt.update(own, grads, own_state)
        for x, y in zip((params["w"], *params["b"]), (own["w"], *own["b"]), strict=True):
            assert x.dtype == dtype
            precision = 30 * np.finfo(dtype).eps
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=precision, atol=precision)
        assert (int(state.steps["w"]), int(own_state.steps["w"])) == (i, i)
    assert len(traces) == 1


def test_a_traced_step_follows_a_schedule_and_a_rate_that_is_set():
    grads = np.ones(2)
    opt = optim.SGD(lr_scheduler=lambda step: 1.0 if step < 3 else 10.0)
    step, params, state = tl.jit(opt.update), np.zeros(2), opt.init(np.zeros(2))
    seen = []
    for _ in range(4):
        params, state = step(params, grads, state)
        seen.append(params.numpy()[0])
    assert seen == [-1.0, -2.0, -12.0, -22.0]
    opt = optim.SGD(1.0)
    step, params, state = tl.jit(opt.update), np.zeros(2), opt.init(np.zeros(2))
    for rate, now in ((1.0, -1.0), (0.5, -1.5)):
        opt.learning_rate = rate
        params, state = step(params, grads, state)
        np.testing.assert_array_equal(params.numpy(), [now, now])


def test_traced_steps_of_a_network_keep_no_history():
    model = nn.Sequential(nn.Linear(2, 3), tl.tanh, nn.Linear(3, 1))
    opt = optim.Adam(0.1)
    step = tl.jit(lambda m, s: opt.update(m, tl.grad(lambda m: (m(np.ones((4, 2))) ** 2).sum())(m), s))
    new, state = step(model, opt.init(model))
    for layer in (new.layers[0], new.layers[2]):
        assert layer.weight.node is None
        assert layer.bias.node is None
    assert state.moments[0].layers[0].weight.node is None


def spirals(n=40):
    t = np.linspace(0.2, 1, n)[:, None] * [[1.0, -1.0]]
    x = np.stack([t * np.cos(4 * abs(t)), t * np.sin(4 * abs(t))], -1).reshape(-1, 2)
    return x, np.tile([0, 1], n)


@pytest.mark.parametrize("how", ["in place", "functional", "jit", "jit of a step"])
def test_a_network_of_layers_learns(how):
    tl.random.seed(0)
    x, y = spirals()
    model = nn.Sequential(nn.Linear(2, 16), tl.tanh, nn.Linear(16, 2))
    opt = optim.Adam(model, lr=0.05) if how == "in place" else optim.Adam(0.05)

    def loss(model):
        return tl.cross_entropy(model(x), y)

    first = loss(model).item()
    if how == "in place":
        for _ in range(100):
            opt.zero_grad()
            loss(model).backward()
            opt.step()
    elif how == "jit of a step":
        step, state = (
            tl.jit(lambda model, state: opt.update(model, tl.grad(loss)(model), state)),
            opt.init(model),
        )
        for _ in range(100):
            model, state = step(model, state)
    else:
        gradient, state = (tl.jit(tl.grad(loss)) if how == "jit" else tl.grad(loss)), opt.init(model)
        for _ in range(100):
            model, state = opt.update(model, gradient(model), state)
    assert loss(model).item() < first / 5
    assert how == "jit of a step" or len(list(model.parameters())) == 4
