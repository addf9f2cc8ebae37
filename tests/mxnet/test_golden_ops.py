"""Every operator of the catalog against the numbers of MXNet 1.9.1: outputs, gradients, states."""

import numpy as np
import pytest
from golden import load_cases

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.errors import AttributeValueError
from tinygrad_lesson.mxnet.register import OPERATORS

CASES = load_cases("golden_ops") | load_cases("golden_vision")
TOLERANCE = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}  # relative to the largest number of an array


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


def by_differences(total, data):
    """The gradient of a number by central differences."""
    gradient = np.empty_like(data)
    for i in np.ndindex(data.shape):
        step = np.zeros_like(data)
        step[i] = 1e-5
        gradient[i] = (total(data + step) - total(data - step)) / 2e-5
    return gradient.astype(np.float32)


def normalized(case, axes, along, eps, third):
    """The gradient of a normalization with the head gradients of mean and variance, which MXNet ignores."""
    arrays = {key: a.astype(np.float64) for key, a in CASES[case]["arrays"].items()}

    def total(x):
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        y = (x - mean) / np.sqrt(var + eps) * arrays["in_gamma"].reshape(along) + arrays["in_beta"].reshape(
            along
        )
        parts = y, mean, third(var + eps)
        return sum(
            (r.reshape(arrays[f"head_grad{i}"].shape) * arrays[f"head_grad{i}"]).sum()
            for i, r in enumerate(parts)
        )

    return by_differences(total, arrays["in_data"])


def batch_norm_37():
    """The gradient of `BatchNorm__37`."""
    rank = CASES["BatchNorm__37"]["arrays"]["in_data"].ndim
    axes = tuple(a for a in range(rank) if a != 1)
    return normalized("BatchNorm__37", axes, (1, -1, *[1] * (rank - 2)), 1e-3, lambda var: 1 / np.sqrt(var))


def selu(case):
    """The gradient of SELU, Klambauer et al. 2017, equation 2."""
    arrays = CASES[case]["arrays"]
    alpha, scale, x = 1.6732632423543772, 1.0507009873554805, arrays["in_data"].astype(np.float64)
    slope = scale * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))
    return (arrays["head_grad0"] * slope).astype(np.float32)


def softmax_along_the_last_axis(case):
    """The gradient of a softmax, from its result."""
    g, y = (CASES[case]["arrays"][key].astype(np.float64) for key in ("head_grad0", "out0"))
    return ((g - (g * y).sum(-1, keepdims=True)) * y).astype(np.float32)


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
        ("LayerNorm__09", "grad_data"): normalized("LayerNorm__09", (-1,), (-1,), 1e-5, np.sqrt),
        # MXNet has scale * (alpha + output), where output holds scale already.
        **{(name, "grad_data"): selu(name) for name in ("LeakyReLU__12", "LeakyReLU__13_edge")},
        # MXNet's forward is along the last axis, its gradient along axis 1.
        ("SoftmaxActivation__02", "grad_data"): softmax_along_the_last_axis("SoftmaxActivation__02"),
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


def test_no_case_is_left_out():
    assert set(CASES) == set(COVERED)


@pytest.mark.parametrize("mark", ["edge", "ties", "wide", "float64", "float16", "int32"])
def test_corners_are_among_the_cases(mark):
    assert any(name.endswith(f"_{mark}") for name in COVERED)
