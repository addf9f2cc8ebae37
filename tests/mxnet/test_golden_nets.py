"""The lesson's eight networks against MXNet 1.9.1: names, inner values, gradients, training, prediction."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from golden import DATA, load_cases

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train.optimizer import SGD, Adam, get_updater

NETS = load_cases("golden_nets")
DATA_AND_LABEL = ("data", "label")
BATCHES = {key: NETS["mlp4"]["arrays"][key] for key in DATA_AND_LABEL}
ROUGH = ("bn25",)  # its 25 normalizations magnify rounding
EVERY_SWITCH = [Passes(*switches) for switches in itertools.product((True, False), repeat=3)]

pytestmark = pytest.mark.parametrize("name", NETS)


def load(name):
    """The network as MXNet saved it."""
    return sym.load(str(Path(DATA) / "nets" / f"{name}-symbol.json"))


def bound(name, symbol=None, passes=Passes(), dtype="float32"):
    """An executor with the recorded initial state and the first batch."""
    arrays = NETS[name]["arrays"]
    symbol = load(name) if symbol is None else symbol
    given = {key: BATCHES[key][0].shape for key in DATA_AND_LABEL if key in symbol.list_arguments()}
    requests = {key: "write" for key in symbol.list_arguments() if key not in DATA_AND_LABEL}
    types = dict.fromkeys(symbol.list_arguments(), dtype)
    executor = symbol.simple_bind(cpu(), grad_req=requests, type_dict=types, **given)
    executor.passes = passes
    if name.startswith("bn"):
        executor.runner_name = "numpy"  # it rounds as MXNet does; how well others do is tested below
    for key, array in executor.arg_dict.items():
        array[:] = BATCHES[key][0] if key in DATA_AND_LABEL else arrays[f"arg_{key}"]
    for key, array in executor.aux_dict.items():
        array[:] = arrays[f"aux_{key}"]
    return executor


def assert_all_close(found, name, prefix, rtol=0.0, atol=0.0, noise=0.0):
    """Every array against the one recorded under `prefix`; `rtol` is relative to its largest number.

    `noise` is the absolute tolerance for what rounding alone decides: a bias before batch normalization
    has no effect, so its gradient is 0 but for rounding, and Adam makes whole steps of that.
    """
    for key, array in found.items():
        expected = NETS[name]["arrays"][prefix + key]
        absolute = noise if noise and is_idle(name, key) else max(atol, rtol * np.abs(expected).max())
        np.testing.assert_allclose(array, expected, rtol=rtol, atol=absolute, err_msg=prefix + key)


def is_idle(name, key):
    """Whether rounding alone decides how this array moves: a bias before normalization, the mean after it."""
    number = key.partition("_")[0][2:]
    return f"aux_bn{number}_moving_mean" in NETS[name]["arrays"] and key.endswith(("bias", "moving_mean"))


def without_inputs(arrays):
    """The arrays of parameters: neither data nor label."""
    return {key: array for key, array in arrays.items() if key not in DATA_AND_LABEL and array is not None}


def test_names_and_shapes_are_those_of_mxnet(name):
    net, facts = load(name), NETS[name]
    assert net.list_arguments() == facts["arguments"]
    assert net.list_auxiliary_states() == facts["auxiliary_states"]
    assert net.list_outputs() == facts["outputs"]
    assert net.get_internals().list_outputs() == facts["all_internals"]
    shapes, _, states = net.infer_shape(data=(20, 4), label=(20, 3))
    assert dict(zip(net.list_arguments(), map(list, shapes), strict=True)) == facts["shapes"]
    state_shapes = [facts["arrays"][f"aux_{key}"].shape for key in net.list_auxiliary_states()]
    assert states == state_shapes


def test_every_inner_output_is_that_of_mxnet(name):
    inner = load(name).get_internals()
    executor = bound(name, inner)
    executor.forward(is_train=True)
    keys = [key.removeprefix("internal_") for key in NETS[name]["arrays"] if key.startswith("internal_")]
    assert set(keys) == set(NETS[name]["internals"])
    rtol = 1e-4 if name in ROUGH else 1e-5
    assert_all_close({key: executor.output_dict[key] for key in keys}, name, "internal_", rtol)


@pytest.mark.parametrize("passes", EVERY_SWITCH, ids=str)
def test_loss_gradients_and_states_are_those_of_mxnet(name, passes):
    executor, arrays = bound(name, passes=passes), NETS[name]["arrays"]
    np.testing.assert_allclose(executor.forward()[0], arrays["infer_out0"], rtol=1e-5)
    np.testing.assert_allclose(executor.forward(is_train=True)[0], arrays["train_out0"], rtol=1e-5)
    assert_all_close(executor.aux_dict, name, "aux_after_forward_", rtol=0)
    executor.backward()
    rtol = 1e-4 if name in ROUGH else 1e-5
    assert_all_close(executor.aux_dict, name, "aux_after_backward_", rtol)
    assert_all_close(without_inputs(executor.grad_dict), name, "grad_", rtol, noise=1e-5)


@pytest.mark.parametrize("runner", available_runners())
def test_gradients_are_as_near_to_those_in_double_precision_as_mxnet_s_own(name, runner):
    symbol, arrays = load(name), NETS[name]["arrays"]

    def gradients(dtype, runner):
        executor = bound(name, symbol, dtype=dtype)
        executor.runner_name = runner
        executor.forward(is_train=True)
        executor.backward()
        return {key: g.asnumpy() for key, g in without_inputs(executor.grad_dict).items()}

    def worst(found):
        keys = [key for key in exact if exact[key].any() and not is_idle(name, key)]
        errors = [np.abs(found[key] - exact[key]).max() / np.abs(exact[key]).max() for key in keys]
        return max(errors, default=0.0)  # the first batch leaves res25 without a gradient

    exact = gradients("float64", "numpy")
    mxnet = worst({key: arrays["grad_" + key] for key in exact})
    assert worst(gradients("float32", runner)) < 2 * mxnet + 1e-6


def test_twenty_updates_follow_mxnet(name):
    executor, predictor, losses = train(name, 20)
    arrays, chaotic = NETS[name]["arrays"], name == "bn25"
    steady = 5 if chaotic else 20  # losses before rounding takes over
    np.testing.assert_allclose(
        losses[:steady], arrays["mean_output_per_step"][:steady], rtol=1e-3 if chaotic else 2e-6
    )
    weights = without_inputs(executor.arg_dict)
    assert_all_close(weights, name, "arg_after20_", atol=0.02 if chaotic else 1e-6, noise=0.02)
    assert_all_close(executor.aux_dict, name, "aux_after20_", rtol=0.3 if chaotic else 1e-5, noise=0.02)
    predicted = predictor.forward(data=BATCHES["data"][0])[0]
    noise = {"bn8": 2e-3, "bn25": 0.05}.get(name, 1e-6)  # the moving means follow the idle biases
    np.testing.assert_allclose(predicted, arrays["predict_after20"], atol=noise)


def test_one_update_and_the_first_prediction_are_those_of_mxnet(name):
    predictor = bound(name, load(name).get_internals()["softmax_output"])
    np.testing.assert_allclose(
        predictor.forward()[0], NETS[name]["arrays"]["predict_initial"], rtol=1e-5, atol=1e-7
    )
    executor = train(name, 1)[0]
    assert_all_close(without_inputs(executor.arg_dict), name, "arg_after1_", atol=1e-6, noise=0.002)
    assert_all_close(executor.aux_dict, name, "aux_after1_", rtol=1e-4 if name in ROUGH else 1e-5)


def train(name, updates):
    """An executor and a predictor after some updates, and the loss of each."""
    settings = dict(NETS[name]["optimizer"])
    updater = get_updater({"adam": Adam, "sgd": SGD}[settings.pop("type")](**settings))
    executor, predictor = bound(name), bound(name, load(name).get_internals()["softmax_output"])
    weights, gradients, losses = without_inputs(executor.arg_dict), executor.grad_dict, []
    for t in range(updates):
        batch = {key: BATCHES[key][t % 5] for key in DATA_AND_LABEL}
        losses.append(executor.forward(is_train=True, **batch)[0].asscalar())
        executor.backward()
        for i, key in enumerate(weights):
            updater(i, gradients[key], weights[key])
    predictor.copy_params_from(weights, executor.aux_dict)
    return executor, predictor, losses
