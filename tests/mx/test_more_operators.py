"""Operators beside MXNet 1.9.1, whose answers to a cotangent of RandomState(1) are in ``tests/data/mx_more.json``.

Two cases of `box_nms` have no gradient there: MXNet hands it on as if both formats of a box were one.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson import mx
from tinygrad_lesson.check import GradientError
from tinygrad_lesson.engine.errors import AttributeValueError, BindError, DTypeError, ShapeError

CASES = json.loads((Path(__file__).parents[1] / "data" / "mx_more.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['op']}-{'-'.join(case['attrs'].values())}")
def test_an_operator_computes_and_differentiates_as_mxnet(case):
    arrays = [
        mx.nd.array(np.array(list(map(float, x))).reshape(shape))
        for x, shape in zip(case["inputs"], case["shapes"], strict=True)
    ]
    for x in arrays:
        x.attach_grad()
    with mx.autograd.record():
        y = getattr(mx.nd._internal, case["op"])(*arrays, **case["attrs"])
    results = y if isinstance(y, list) else [y]
    assert [str(np.dtype(y.dtype)) for y in results] == case["types"]
    for found, expected in zip(results, case["outputs"], strict=True):
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-5, atol=2e-6)
    if case["grads"]:
        draws = np.random.RandomState(1)
        heads = [mx.nd.array(draws.normal(size=y.shape), dtype=y.dtype) for y in results]
        mx.autograd.backward(results, heads)
        for x, expected in zip(arrays, case["grads"], strict=True):
            np.testing.assert_allclose(x.grad.asnumpy(), expected, rtol=1e-5, atol=5e-6)


def test_a_symbol_is_called_as_a_function_of_arrays_and_recorded():
    x = mx.sym.Variable("x")
    op = mx.nd.CachedOp(mx.sym.FullyConnected(x, num_hidden=2, name="fc") + 2)
    arrays = [mx.nd.ones((3, 4)), mx.nd.ones((2, 4)), mx.nd.zeros((2,))]
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        y = op(*arrays)
    y.backward()
    assert y.asnumpy().tolist() == [[6, 6]] * 3
    assert arrays[1].grad.asnumpy().tolist() == [[3] * 4] * 2
    out = mx.nd.zeros((3, 2))
    assert op(*arrays, out=out) is out
    assert (out.asnumpy() == 6).all()
    with pytest.raises(BindError, match="1 arrays given, expected x, fc_weight, fc_bias"):
        op(arrays[0])


def test_histograms_and_parts_of_arrays_and_of_symbols():
    numbers = np.random.RandomState(0).uniform(0, 5, 50).astype("f")
    x = mx.sym.Variable("x")
    counts, edges = mx.nd.histogram(mx.nd.array(numbers), bins=5)
    expected = np.histogram(numbers, 5)
    assert counts.asnumpy().tolist() == expected[0].tolist()
    np.testing.assert_allclose(edges.asnumpy(), expected[1], rtol=1e-5)
    bound = mx.sym.histogram(x, bins=4, range=(0.0, 5.0)).bind(mx.cpu(), {"x": mx.nd.array(numbers)})
    assert bound.forward()[0].asnumpy().tolist() == np.histogram(numbers, 4, (0, 5))[0].tolist()
    data = np.arange(12.0).reshape(3, 4)
    for found in (mx.nd.split_v2(mx.nd.array(data), (1, 3), axis=1),
                  mx.sym.split_v2(x, (1, 3), axis=1).bind(mx.cpu(), {"x": mx.nd.array(data)}).forward()):  # fmt: skip
        assert [y.asnumpy().tolist() for y in found] == [y.tolist() for y in np.split(data, (1, 3), axis=1)]
    assert mx.nd.split_v2(mx.nd.array(data), 3, squeeze_axis=True)[1].asnumpy().tolist() == data[1].tolist()
    rows = mx.nd.array(data)
    rows.attach_grad()
    with mx.autograd.record():
        kept = mx.nd.contrib.boolean_mask(rows, mx.nd.array([0, 1, 1]))
    kept.backward()
    assert kept.asnumpy().tolist() == data[1:].tolist()
    assert rows.grad.asnumpy().tolist() == [[0] * 4, [1] * 4, [1] * 4]


def test_element_types_and_memory():
    half, single = mx.nd.ones(2, dtype="float16"), mx.nd.ones(2)
    assert [x.dtype for x in mx.nd.amp_multicast(half, single, num_outputs=2)] == [np.float32] * 2
    assert [x.dtype for x in mx.nd.amp_multicast(half, single, num_outputs=2, cast_narrow=True)] == [
        np.float16
    ] * 2
    mx.nd.reset_arrays(half, single, num_arrays=2)
    assert single.asnumpy().tolist() == half.asnumpy().tolist() == [0, 0]
    with pytest.raises(ShapeError, match="ascontiguousarray"):
        mx.nd.from_numpy(np.ones((2, 3)).T)
    assert mx.nd.zeros(2, ctx=mx.cpu_pinned()).context == mx.cpu_pinned(0)
    with mx.cpu(1):
        assert mx.current_context() == mx.cpu(1)
    assert mx.current_context() == mx.cpu()
    assert mx.sym.Variable("x", stype="default").attr("__storage_type__") == "0"
    with pytest.raises(DTypeError, match="storage 'csr' is not here"):
        mx.sym.Variable("x", stype="csr")
    with pytest.raises(AttributeValueError, match="sparse arrays are not here"):
        mx.nd.cast_storage(single, stype="csr")


def test_operators_tell_what_they_take():
    assert {"FullyConnected", "_contrib_box_nms"} <= set(mx.operator.get_all_registered_operators())
    told = mx.operator.get_operator_arguments("Activation")
    assert (told.narg, told.names) == (2, ["data", "act_type"])
    assert told.types[0] == "NDArray-or-Symbol"
    with pytest.raises(AttributeValueError, match="there is no operator 'Activatio'"):
        mx.operator.get_operator_arguments("Activatio")


def test_a_request_of_null_leaves_an_input_out_of_a_check():
    x, steps = mx.sym.Variable("x"), mx.sym.Variable("steps")
    symbol = x * mx.sym.floor(steps)
    at = {"x": np.array([1.5, 2.0]), "steps": np.array([1.0, 3.0])}
    mx.test_utils.check_numeric_gradient(symbol, at, grad_nodes={"x": "write", "steps": "null"})
    with pytest.raises(GradientError):  # where its steps lie, there is no derivative
        mx.test_utils.check_numeric_gradient(symbol, at, grad_nodes={"x": "write", "steps": "write"})


def test_casts_to_shorter_floats_are_checked_in_double_precision():
    x = mx.sym.Variable("x")
    symbol = mx.sym.cast(mx.sym.square(mx.sym.cast(x, dtype="float16")), dtype="float32")
    at = np.random.RandomState(0).uniform(-1, 1, (4, 10))
    assert mx.test_utils.check_numeric_gradient(symbol, [at]).ok
