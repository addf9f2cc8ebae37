"""Every operator of the catalog against the numbers of MXNet 1.9.1: outputs, gradients, states."""

import numpy as np
import pytest
from golden import load_cases

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.errors import AttributeValueError
from tinygrad_lesson.mxnet.register import OPERATORS

CASES = load_cases("golden_ops")
TOLERANCE = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}  # relative to the largest number of an array
WHOLE = {
    "FullyConnected", "Activation", "BatchNorm", "log_softmax", "log", "exp", "mean", "sum", "Concat", "concat",
    "MakeLoss", "make_loss", "BlockGrad", "stop_gradient", "broadcast_add", "broadcast_plus", "broadcast_sub",
    "broadcast_minus", "broadcast_mul", "broadcast_div", "max", "min", "prod", "relu", "tanh", "sigmoid",
    "transpose", "expand_dims", "where", "clip", "Flatten", "Convolution", "Pooling", "SoftmaxOutput",
}  # fmt: skip


def symbol_of(case):
    """The symbol of a case, as it was made in MXNet."""
    attributes = {key: tuple(v) if isinstance(v, list) else v for key, v in case["attrs"].items()}
    variables = [sym.Variable(name) for name, _, _ in case["inputs"]]
    return getattr(sym, case["op"])(*variables, name="op", **attributes)


def is_in_catalog(case):
    """Whether the operator is there, with the attributes that the case gives it."""
    try:
        return case["op"] in OPERATORS and symbol_of(case) is not None
    except AttributeValueError:
        return False


COVERED = [name for name, case in CASES.items() if is_in_catalog(case)]


def carry_out(case):
    """All that MXNet recorded of a case, from our executor, under MXNet's names for it."""
    arrays, names = case["arrays"], {kind: [] for kind in ("arg", "aux")}
    for name, kind, _ in case["inputs"]:
        names[kind].append(name)
    arguments = {name: arrays[f"in_{name}"].copy() for name in names["arg"]}
    states = {name: arrays[f"aux_before_{name}"].copy() for name in names["aux"]}
    gradients = {name: np.full_like(arguments[name], 7) for name, _, wanted in case["inputs"] if wanted}
    executor = symbol_of(case).bind(cpu(), arguments, args_grad=gradients, aux_states=states)
    found = {f"infer_out{i}": y.asnumpy() for i, y in enumerate(executor.forward())}
    assert all(np.array_equal(states[name], arrays[f"aux_before_{name}"]) for name in states)
    found |= {f"out{i}": y.asnumpy() for i, y in enumerate(executor.forward(is_train=True))}
    found |= {f"aux_after_forward_{name}": states[name].copy() for name in states}
    if any(key.startswith(("grad_", "aux_after_backward_")) for key in arrays):
        heads = [arrays[f"head_grad{i}"] for i in range(len(case["outputs"]))] if case["head_grad"] else None
        executor.backward(heads)
        found |= {f"grad_{name}": gradients[name] for name in gradients}
        found |= {f"aux_after_backward_{name}": states[name] for name in states}
    return found


def assert_close(found, expected, what):
    """Equal up to the element type's rounding, infinities and NaN included."""
    assert found.dtype == expected.dtype, what
    assert found.shape == expected.shape, what
    finite = expected[np.isfinite(expected)].astype(np.float64)
    tolerance = TOLERANCE.get(expected.dtype.name, 0)
    scale = np.abs(finite).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def batch_norm_37():
    """The gradient of `BatchNorm__37` with the head gradients that MXNet ignores, by central differences."""
    arrays = {key: a.astype(np.float64) for key, a in CASES["BatchNorm__37"]["arrays"].items()}
    data, spread = arrays["in_data"], (1, -1, *[1] * (arrays["in_data"].ndim - 2))
    axes = tuple(a for a in range(data.ndim) if a != 1)

    def total(x):
        mean, inverse = x.mean(axes), 1 / np.sqrt(x.var(axes) + 1e-3)
        y = (x - mean.reshape(spread)) * (inverse * arrays["in_gamma"]).reshape(spread)
        results = y + arrays["in_beta"].reshape(spread), mean, inverse
        return sum((r * arrays[f"head_grad{i}"]).sum() for i, r in enumerate(results))

    gradient = np.empty_like(data)
    for i in np.ndindex(data.shape):
        step = np.zeros_like(data)
        step[i] = 1e-5
        gradient[i] = (total(data + step) - total(data - step)) / 2e-5
    return gradient.astype(np.float32)


def right_where_mxnet_is_not():
    """What stands in the place of arrays that MXNet gets wrong, or leaves open with NaN and infinity."""
    power, scalar = (CASES[name]["arrays"] for name in ("broadcast_power__09_edge", "_rpower_scalar__05"))
    zero = power["in_lhs"] == 0
    softmax = CASES["SoftmaxOutput__25_with_head_grad"]["arrays"]
    classes = np.eye(3, dtype=np.float32)[softmax["in_label"].astype(int)]
    return {
        # MXNet multiplies with its own output where its documentation says the head gradient.
        ("SoftmaxOutput__25_with_head_grad", "grad_data"): (softmax["out0"] - classes)
        * softmax["head_grad0"],
        ("BatchNorm__37", "grad_data"): batch_norm_37(),
        # d(a**0)/da is 0 for every a; MXNet has 0 * 0**-1 = NaN at a = 0.
        ("broadcast_power__09_edge", "grad_lhs"): np.where(power["in_rhs"] == 0, 0, power["grad_lhs"]),
        # 0**b is constant wherever it has a derivative; MXNet has 0 * log(0) = NaN there.
        ("broadcast_power__09_edge", "grad_rhs"): np.where(zero, np.float32(0), power["grad_rhs"]),
        ("_rpower_scalar__05", "grad_data"): np.zeros_like(scalar["grad_data"]),
    }


RIGHT = right_where_mxnet_is_not()


@pytest.mark.parametrize("name", COVERED)
def test_outputs_gradients_and_states_are_those_of_mxnet(name):
    case = CASES[name]
    found = carry_out(case)
    for key, expected in case["arrays"].items():
        if not key.startswith(("in_", "aux_before_", "head_grad")):
            assert_close(found[key], RIGHT.get((name, key), expected), f"{name} {key}")


@pytest.mark.parametrize("name", [name for name in COVERED if CASES[name]["train_equals_inference"]])
def test_training_and_inference_agree_where_they_do_in_mxnet(name):
    found = carry_out(CASES[name])
    for i in range(len(CASES[name]["outputs"])):
        np.testing.assert_array_equal(found[f"infer_out{i}"], found[f"out{i}"])


@pytest.mark.parametrize("name", COVERED)
def test_attributes_and_output_names_are_those_of_mxnet(name):
    symbol = symbol_of(CASES[name])
    assert symbol.list_attr() == CASES[name]["attr_strings"]
    assert symbol.list_outputs() == CASES[name]["outputs"]


def test_no_case_of_these_operators_is_left_out():
    left_out = {name for name, case in CASES.items() if case["op"] in WHOLE} - set(COVERED)
    left_out |= {
        name
        for name, case in CASES.items()
        if (case["op"] == "LeakyReLU" and case["attrs"].get("act_type", "leaky") == "leaky")
        or (case["op"] == "softmax" and not case["attrs"].get("use_length"))
    } - set(COVERED)
    assert not left_out


@pytest.mark.parametrize("mark", ["edge", "ties", "wide", "float64", "float16", "int32"])
def test_corners_are_among_the_cases(mark):
    assert any(name.endswith(f"_{mark}") for name in COVERED)
