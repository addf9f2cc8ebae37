"""The networks of the benchmarks are machine code from end to end, and the numbers are those of the reference."""

import networks
import numpy as np
import pytest
import workloads as wl

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson.run.segment import Segment

TRAINED = ("mlp4", "bn8", "res25", "dense6", "res1000", "mnist-mlp", "lenet", "vgg", "resnet20", "lstm")


def bound(w, runner, element="float32", batch=None):
    """An executor that trains the network, with its first parameters and `batch` rows of its data."""
    symbol, (x, y) = networks.network(w), wl.data(w)
    x, y = x[:batch], y[:batch]
    types = dict.fromkeys(symbol.list_arguments(), element)
    requests = {name: "null" if name in ("data", "label") else "write" for name in types}
    executor = symbol.simple_bind(
        tl.cpu(), grad_req=requests, runner=runner, type_dict=types, data=x.shape, label=y.shape
    )
    arguments, states = networks.parameters(w)
    for arrays, values in ((executor.arg_dict, arguments), (executor.aux_dict, states)):
        for name, value in values.items():
            arrays[name][:] = value
    executor.arg_dict["data"][:], executor.arg_dict["label"][:] = x, y
    return executor


@pytest.mark.parametrize("w", TRAINED)
def test_no_step_of_the_plan_runs_as_numpy(w):
    runner = bound(w, "vm").runner(True)
    told = str(runner).partition("forward: ")[2]  # what is settled when bound comes before
    assert "NumPy:" not in told
    assert "its own forward" not in told
    calls = [call for part in runner.calls for call in part]
    assert calls
    assert all(isinstance(call, Segment) for call in calls)


@pytest.mark.parametrize("w", ["lenet", "vgg", "resnet20", "lstm"])
def test_a_step_in_double_precision_is_that_of_numpy(w):
    one, other = (bound(w, runner, "float64", 5) for runner in ("vm", "numpy"))
    for executor in (one, other):
        executor.forward(is_train=True)
        executor.backward()
    np.testing.assert_allclose(np.asarray(one.outputs[0]), np.asarray(other.outputs[0]), rtol=1e-12)
    for name, gradient in other.grad_dict.items():
        if gradient is not None:
            scale = np.abs(np.asarray(gradient)).max()
            np.testing.assert_allclose(
                np.asarray(one.grad_dict[name]),
                np.asarray(gradient),
                rtol=0,
                atol=1e-11 * scale,
                err_msg=name,
            )
    for name, state in other.aux_dict.items():
        np.testing.assert_allclose(
            np.asarray(one.aux_dict[name]), np.asarray(state), rtol=1e-12, err_msg=name
        )
