"""MXNet's update operators as symbols: the weights and states of its optimizers, ten steps of each."""

import json
import math

import numpy as np
import pytest
from golden import DATA

from tinygrad_lesson import cpu, mx, sym
from tinygrad_lesson.errors import AttributeValueError
from tinygrad_lesson.mxnet.register import OPERATORS
from tinygrad_lesson.run import RUNNERS

OWN = ("rmsprop", "ftrl", "signum", "ftml", "lamb", "nag", "sgd", "adam")  # with operators of their own
OTHER_NAMES = {"learning_rate": "lr"}


def load(pack):
    """The cases of a pack, and its arrays."""
    cases = json.loads((DATA / f"{pack}.json").read_text())["cases"]
    with np.load(DATA / f"{pack}.npz") as file:
        arrays = {key: file[key] for key in file}
    plain = [case for case in cases if case["case"][-3:].lstrip("_").isdigit() and case["optimizer"] in OWN]
    plain = [case for case in plain if not case.get("parameter_name") and not case.get("lr_scheduler")]
    return {case["case"]: (case, arrays) for case in plain}


CASES = load("updates") | load("optimizers")


def operator_of(case):
    """The operator that MXNet's optimizer calls, and its attributes, which hold for every step."""
    name, given = case["optimizer"], dict(case["arguments"])
    given = {OTHER_NAMES.get(key, key): value for key, value in given.items() if value is not None}
    if given.pop("centered", False):
        return "rmspropalex_update", {"gamma1": 0.9, **given}
    if name == "rmsprop":
        return "rmsprop_update", {"gamma1": 0.9, **given}
    if name in ("sgd", "nag"):
        given.pop("multi_precision", None)
        return (f"{name}_mom_update" if given.get("momentum") else "sgd_update"), given
    if name == "signum":
        given = {"momentum": 0.9, **given}
        if not given["momentum"]:
            return "signsgd_update", {key: value for key, value in given.items() if key != "momentum"}
        return "signum_update", given
    if name == "ftml" and "clip_gradient" in given:
        given["clip_grad"] = given.pop("clip_gradient")
    return f"{name}_update", given


def step(name, attributes, arrays, states, runner=None):
    """The first result of an operator for some arrays; `states` change in place."""
    variables = {key: sym.Variable(key) for key in (*arrays, *states)}
    symbol = getattr(sym, name)(**variables, **attributes)
    assert symbol.list_auxiliary_states() == list(states)
    executor = symbol.bind(cpu(), dict(arrays), grad_req="null", aux_states=states, runner=runner)
    return executor.forward()[0].asnumpy()


def states_of(name, like):
    """Zeros under the names of an operator's auxiliary states."""
    weight = sym.Variable("weight")
    needed = {"lr": 1.0, "t": 1}
    more = {key: value for key, value in needed.items() if key in OPERATORS[name].parameters}
    told = getattr(sym, name)(weight, name="op", **more).list_auxiliary_states()
    return {key.removeprefix("op_"): np.zeros_like(like) for key in told}


def trained(name, attributes, weight, gradients, runner=None):
    """The weights after each of some steps, and the states after the last."""
    phases = ("lamb_update_phase1", "lamb_update_phase2") if name == "lamb_update" else (name,)
    states, found = states_of(phases[0], weight), []
    bounds = {key: attributes[key] for key in ("lower_bound", "upper_bound", "lr") if key in attributes}
    own = attributes if len(phases) == 1 else {k: v for k, v in attributes.items() if k not in bounds}
    for number, grad in enumerate(gradients, 1):
        now = dict(own)
        if name in ("lamb_update", "ftml_update"):
            now["t"] = number
        if name == "adam_update":  # as MXNet's Adam does
            beta1, beta2 = own.get("beta1", 0.9), own.get("beta2", 0.999)
            now["lr"] = own["lr"] * math.sqrt(1 - beta2**number) / (1 - beta1**number)
        y = step(phases[0], now, {"weight": weight, "grad": grad}, states, runner)
        if len(phases) == 2:
            norms = {"r1": np.array([np.linalg.norm(weight)]), "r2": np.array([np.linalg.norm(y)])}
            norms = {key: value.astype(weight.dtype) for key, value in norms.items()}
            y = step(phases[1], bounds, {"weight": weight, "g": y, **norms}, {}, runner)
        weight = y.copy()
        found.append(weight)
    return found, list(states.values())


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES)
def test_ten_steps_are_those_of_mxnet(case, runner):
    told, arrays = CASES[case]
    name, attributes = operator_of(told)
    weights, states = trained(name, attributes, arrays["weight0"], arrays["gradients"], runner)
    np.testing.assert_allclose(weights, arrays[case], rtol=2e-5, atol=2e-6)
    for i, state in enumerate(states):
        np.testing.assert_allclose(state, arrays[f"{case}_state{i}"], rtol=2e-5, atol=2e-6)


def test_every_operator_is_among_the_cases():
    found = {operator_of(case)[0] for case, _ in CASES.values()}
    assert found == {
        "sgd_update", "sgd_mom_update", "nag_mom_update", "adam_update", "rmsprop_update", "rmspropalex_update",
        "ftrl_update", "signum_update", "signsgd_update", "ftml_update", "lamb_update",
    }  # fmt: skip


def test_a_weight_in_half_precision_follows_its_copy_in_single():
    w32 = np.array([1.0001, -2.0003], np.float32)
    arrays = {"weight": w32.astype(np.float16), "grad": np.array([0.5, 1.0], np.float16)}
    states = {"mom": np.zeros(2, np.float32), "weight32": w32.copy()}
    for _ in range(3):
        arrays["weight"] = step("mp_sgd_mom_update", {"lr": 0.001, "momentum": 0.5}, arrays, states)
    moms = [-0.001, -0.0015, -0.00175]
    expected = w32 + np.float32(sum(moms)) * np.array([0.5, 1.0], np.float32)
    np.testing.assert_allclose(states["weight32"], expected, rtol=1e-6)
    assert arrays["weight"].dtype == np.float16
    np.testing.assert_array_equal(arrays["weight"], states["weight32"].astype(np.float16))


def several(name):
    """Inputs of an operator for two weights, in MXNet's order, and its attributes, as `multi_updates` was recorded."""
    half, momentum, given = "_mp_" in name, "_mom_" in name, {"rescale_grad": 0.5, "clip_gradient": 0.4}
    kind, arguments, states = np.float16 if half else np.float32, {}, {}
    names = []
    for i in range(2):
        arguments |= {f"w{i}": RECORDED[f"W{i}"].astype(kind), f"g{i}": RECORDED[f"G{i}"].astype(kind)}
        own = {f"m{i}": RECORDED[f"M{i}"]} if momentum else {}
        own |= {f"c{i}": RECORDED[f"W{i}"]} if half else {}
        states |= {key: x.copy() for key, x in own.items()}
        names += [f"w{i}", f"g{i}", *own]
    if momentum:
        given["momentum"] = 0.9
    if name.startswith("preloaded"):
        arguments |= {"lrs": np.array([0.1, 0.3], np.float32), "wds": np.array([0, 0.05], np.float32)}
        names += ["lrs", "wds"]
    else:
        given |= {"lrs": (0.1, 0.3), "wds": (0.0, 0.05)}
    return names, arguments, states, given | {"num_weights": 2}


with np.load(DATA / "multi_updates.npz") as _file:
    RECORDED = dict(
        _file
    )  # by MXNet 1.9.1, `mx.nd.multi_sgd_mom_update(w0, g0, m0, w1, g1, m1, ...)` and its kin
MULTI = sorted(name for name in OPERATORS if "multi_" in name and "sgd" in name)


@pytest.mark.parametrize("name", MULTI)
def test_steps_of_several_weights_are_those_of_mxnet_in_its_order_and_after_a_file(name):
    names, arguments, states, given = several(name)
    symbol = getattr(sym, name)(*map(sym.Variable, names), **given)
    again = sym.load_json(symbol.tojson())
    inputs = json.loads(symbol.tojson())["nodes"][-1]["inputs"]
    assert [place for place, _, _ in inputs] == [json_places(symbol).index(key) for key in names]
    assert "num_args" not in symbol.attr_dict()[symbol.name]
    for made in (symbol, again):
        assert (made.list_arguments(), made.list_auxiliary_states()) == (list(arguments), list(states))
        left = {key: x.copy() for key, x in states.items()}
        executor = made.bind(cpu(), arguments, grad_req="null", aux_states=left)
        for i, y in enumerate(executor.forward()):
            assert y.dtype == arguments[f"w{i}"].dtype
            np.testing.assert_allclose(y, RECORDED[f"{name}_w{i}"], rtol=2e-6, atol=1e-7)
        for key, x in left.items():
            np.testing.assert_allclose(x, RECORDED[f"{name}_{key}"], rtol=2e-6, atol=1e-7)


def json_places(symbol):
    """The names of the nodes of a file, in its order."""
    return [node["name"] for node in json.loads(symbol.tojson())["nodes"]]


def test_the_steps_of_several_weights_were_all_recorded():
    assert len(MULTI) == 8


def test_too_few_inputs_for_several_weights_are_counted():
    w, g = sym.Variable("w"), sym.Variable("g")
    with pytest.raises(AttributeValueError, match="2 inputs given, expected 4 for num_weights 2"):
        sym.multi_sgd_update(w, g, lrs=(0.1, 0.1), wds=(0, 0), num_weights=2)
    with pytest.raises(AttributeValueError, match="lrs has 1 numbers, expected num_weights, 2"):
        sym.multi_sgd_update(w, g, w, g, lrs=0.1, wds=(0, 0), num_weights=2)


def test_lamb_in_half_precision_is_that_of_mxnet_but_keeps_the_copy_as_it_is_documented():
    w, grad = RECORDED["W0"].astype(np.float16), RECORDED["G0"].astype(np.float16)
    moments = {"mean": np.zeros(3, np.float32), "var": np.zeros(3, np.float32)}
    for t in (1, 2):
        w32 = RECORDED["W0"].copy()  # MXNet documents `weight32 = weight32 - lr * g`, and leaves it as it was
        given = {"t": t, "wd": 0.1, "rescale_grad": 0.5, "clip_gradient": 0.4}
        states = moments | {"weight32": w32}
        g = step("mp_lamb_update_phase1", given, {"weight": w, "grad": grad}, states).copy()
        assert g.dtype == np.float32
        np.testing.assert_allclose(g, RECORDED[f"lamb_direction{t}"], rtol=2e-5)
        norms = {key: np.array([np.linalg.norm(x)], np.float32) for key, x in (("r1", w32), ("r2", g))}
        w = step(
            "mp_lamb_update_phase2", {"lr": 0.2}, {"weight": w, "g": g, **norms}, {"weight32": w32}
        ).copy()
        np.testing.assert_array_equal(w, RECORDED[f"lamb_w{t}"])
        np.testing.assert_array_equal(w, w32.astype(np.float16))
    np.testing.assert_allclose(moments["mean"], RECORDED["lamb_mean"], rtol=2e-5)
    np.testing.assert_allclose(moments["var"], RECORDED["lamb_var"], rtol=2e-5)


def test_what_is_remembered_changes_in_every_run_and_once_in_training():
    w, g = sym.Variable("w"), sym.Variable("g")
    made = sym.sgd_mom_update(w, g, lr=1.0, momentum=0.5, name="up").simple_bind(cpu(), w=(2,), g=(2,))
    made.arg_dict["g"][:] = 1
    for is_train, expected in ((False, -1.0), (True, -1.5), (False, -1.75)):
        made.forward(is_train=is_train)
        np.testing.assert_array_equal(made.aux_dict["up_mom"].asnumpy(), [expected] * 2)
    made.forward(is_train=True)
    made.backward([np.ones(2)])
    np.testing.assert_array_equal(made.aux_dict["up_mom"].asnumpy(), [-1.875] * 2)


def test_attributes_by_position_are_in_the_order_of_mxnet():
    w, g, mom = map(sym.Variable, ("w", "g", "mom"))
    assert sym.sgd_mom_update(w, g, mom, 0.1, 0.9, 0.01).list_attr() == {
        "lr": "0.1",
        "momentum": "0.9",
        "wd": "0.01",
    }


def test_a_step_without_a_rate_is_refused():
    with pytest.raises(AttributeValueError, match="sgd_update: attribute 'lr' is missing"):
        sym.sgd_update(sym.Variable("w"))


ADAMW = [  # what MXNet 1.9.1 makes of the arrays below
    ({}, [0.08983091, 0.38355666, 0.2426313, 0.13858232, -0.00238392, 0.25160965]),
    (
        {"wd": 0.3, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3},
        [0.07618414, 0.319884, 0.20624967, 0.12277871, -0.00313039, 0.21022303],
    ),
    (
        {"wd": 0.2, "clip_gradient": 0.25},
        [0.0800682, 0.3413403, 0.22317401, 0.1296057, 0.01365888, 0.22243083],
    ),
]


@pytest.mark.parametrize(("attributes", "expected"), ADAMW)
def test_a_step_of_adamw_is_that_of_mxnet_and_is_left_out_for_a_factor_that_is_no_number(
    attributes, expected
):
    rng = np.random.RandomState(0)
    w, g, m, v = (rng.uniform(-1, 1, (2, 3)).astype("f") for _ in range(4))
    for factor in (0.5, mx.nd.array([0.5])):
        arrays = [mx.nd.array(x) for x in (w, g, m, np.abs(v))]
        y = mx.nd.contrib.adamw_update(*arrays, factor, lr=0.1, eta=0.5, **attributes)
        np.testing.assert_allclose(y.asnumpy().ravel(), expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(arrays[0].asnumpy(), w)
        assert (arrays[2].asnumpy() != m).all()
    for factor in (0.0, np.inf, np.nan):
        arrays = [mx.nd.array(x) for x in (w, g, m, np.abs(v))]
        mx.nd.contrib.adamw_update(*arrays, factor, 0.1, 0.5, out=arrays[0], **attributes)
        for x, before in zip(arrays, (w, g, m, np.abs(v)), strict=True):
            np.testing.assert_array_equal(x.asnumpy(), before)


def test_adamw_in_a_graph_has_its_inputs_in_mxnets_order_and_by_name():
    rng = np.random.RandomState(0)
    values = [rng.uniform(0.5, 1, (2, 3)).astype("f") for _ in range(4)]
    expected = mx.nd.contrib.adamw_update(*map(mx.nd.array, values), 0.5, lr=0.1, eta=0.5).asnumpy()
    names = ("weight", "grad", "mean", "var")
    variables = {name: sym.Variable(name) for name in (*names, "rescale_grad")}
    for net in (
        sym._internal._adamw_update(*variables.values(), lr=0.1, eta=0.5),
        sym._internal._adamw_update(**dict(reversed(variables.items())), lr=0.1, eta=0.5),
    ):
        assert net.list_arguments() == ["weight", "grad", "rescale_grad"]
        states = {name: x.copy() for name, x in zip(names[2:], values[2:], strict=True)}
        given = {"weight": values[0], "grad": values[1], "rescale_grad": np.array([0.5], "f")}
        (y,) = net.bind(cpu(), given, grad_req="null", aux_states=states).forward()
        np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-6)


def test_several_steps_of_adamw_in_one_call_and_in_half_precision():
    rng = np.random.RandomState(1)
    one = [[mx.nd.array(rng.uniform(0.5, 1, (2, 3))) for _ in range(4)] for _ in range(2)]
    other = [[x.copy() for x in arrays] for arrays in one]
    rates = ((0.1, 0.2), (0.3, 0.0), (0.5, 1.0))
    for arrays, lr, wd, eta in zip(one, *rates, strict=True):
        mx.nd.contrib.adamw_update(*arrays, 0.5, lr=lr, eta=eta, wd=wd, out=arrays[0])
    weights, grads, means, variances = zip(*other, strict=True)
    mx.nd.contrib.multi_adamw_update(weights, grads, means, variances, 0.5, *rates, out=weights)
    for x, y in zip(one[0] + one[1], other[0] + other[1], strict=True):
        np.testing.assert_array_equal(x.asnumpy(), y.asnumpy())
    w, g, m, v = one[0]
    halves = [
        w.astype("float16"),
        g.astype("float16"),
        m.copy(),
        v.copy(),
        w.astype("float16").astype("float32"),
    ]
    single = [halves[4].copy(), halves[1].astype("float32"), m.copy(), v.copy()]
    y = mx.nd.contrib.adamw_update(*single, 0.5, 0.1, 0.5)
    mx.nd.contrib.multi_mp_adamw_update(*[[x] for x in halves], 0.5, [0.1], [0.0], [0.5], out=[halves[0]])
    np.testing.assert_array_equal(halves[4].asnumpy(), y.asnumpy())
    np.testing.assert_array_equal(halves[0].asnumpy(), y.asnumpy().astype(np.float16))
