"""Operators beside MXNet 1.9.1, whose answers to a cotangent of RandomState(1) are in ``tests/data/mx_more.json``.

Two cases of `box_nms` have no gradient there: MXNet hands it on as if both formats of a box were one.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson import mx

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
