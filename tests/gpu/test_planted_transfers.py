"""Twelve hidden transfers, waits and mixed arrays, each planted once in an op: the check of that op fails."""

import numpy as np
import pytest
from on_device import check_forward, samples

from tinygrad_lesson.engine.op import OPS

pytestmark = pytest.mark.strict_arrays
PLANTED = {
    "Tanh": lambda f, m, x: f(m, x) if float(m.sum(x)) == float(m.sum(x)) else x,
    "Exp": lambda f, m, x: f(m, m.asarray(x.get())),
    "Add": lambda f, m, a, b: f(m, a, b + np.zeros(np.shape(b))),
    "Multiply": lambda f, m, a, b: f(m, a, m.asarray(np.array(b.tolist(), b.dtype).reshape(b.shape))),
    "Sum": lambda f, m, x: f(m, x) * m.asarray(np.ones((), x.dtype)),
    "Relu": lambda f, m, x: f(m, x) if bool(m.any(x > 9)) or True else x,
    "Softmax": lambda f, m, x: f(m, x - max(x.reshape(-1).tolist())),
    "MatMul": lambda f, m, a, b: m.asarray(np.matmul(a.get(), b.get())),
    "Max": lambda f, m, x: f(m, m.where(m.isfinite(x), x, np.zeros(x.shape, x.dtype))),
    "Log": lambda f, m, x: np.log(np.asarray(x)),
    "Clip": lambda f, m, x: f(m, x) * int(m.sum(x) * 0 + 1),
    "Square": lambda f, m, x: np.multiply(x, x, out=np.zeros(x.shape, x.dtype)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_transfer_is_seen(xp, name, monkeypatch):
    cls = OPS[name]
    cases = [(op, arrays) for op, arrays in samples(cls) if arrays[0].size > 1]
    for op, arrays in cases:
        check_forward(op, arrays)  # right as it is
    forward = cls.forward

    def planted(self, m, *inputs):
        if m is np:
            return forward(self, m, *inputs)
        return PLANTED[name](lambda module, *arrays: forward(self, module, *arrays), m, *inputs)

    monkeypatch.setattr(cls, "forward", planted)
    for op, arrays in cases:
        with pytest.raises((AssertionError, TypeError, ValueError)):
            check_forward(op, arrays)
