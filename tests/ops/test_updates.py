"""MXNet's update operators as symbols: the weights and states of its optimizers, ten steps of each."""

import json
import math

import numpy as np
import pytest
from golden import DATA

from tinygrad_lesson import cpu, sym
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
