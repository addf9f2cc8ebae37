"""The first NaN or infinity: planted at every node, forward and backward, and found there."""

import contextlib
import functools
import io

import numpy as np
import pytest
from planted import computing, network, planted

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.op import OPS


def spoiled(value):
    """A change of results or gradients that puts `value` into the last element."""

    def change(x):
        y = np.array(x)
        if y.dtype.kind == "f" and y.size:
            y[(-1,) * y.ndim] = value
        return y

    return change


def forward_with(cls, change):
    @functools.wraps(cls.forward)  # its signature names the inputs
    def forward(self, xp, *inputs, **named):
        named.pop("out", None)
        y = cls.forward(self, xp, *inputs, **named)
        return (change(y[0]), *y[1:]) if isinstance(y, tuple) else change(y)

    return forward


def vjp_with(cls, change):
    def vjp(self, F, g, y, *inputs):
        found = [d() if callable(d) else d for d in cls.vjp(self, F, g, y, *inputs)]
        return (change(found[0]), *found[1:])

    return vjp


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_planted_at_each_node_of_bn8_it_is_found_there(direction, value):
    symbol, inputs = network("bn8")
    for node in computing(symbol):
        cls, change = type(node.op), spoiled(value)
        rules = (
            {"forward": forward_with(cls, change)}
            if direction == "forward"
            else {"vjp": vjp_with(cls, change)}
        )
        if node.op.is_loss and direction == "backward":
            continue
        found = check.first_nonfinite(planted(symbol, node, **rules), inputs)
        assert (found.direction, found.name, found.op) == (direction, node.name, f"Broken{cls.__name__}")
        np.testing.assert_equal(found.value, value)
        assert node.name in str(found)


def test_all_finite_says_so():
    found = check.first_nonfinite(*network("bn8"))
    assert found.ok
    assert "all finite" in str(found)


def test_an_input_that_is_spoiled_is_named_with_the_op_that_takes_it():
    symbol, inputs = network("bn8")
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(8, 4), label=(8, 3))[0], strict=True))
    for name in shapes:
        if not name.startswith("fc"):
            continue
        found = check.first_nonfinite(symbol, {**inputs, name: np.full(shapes[name], np.inf)})
        assert found.source == name
        assert found.name == name.split("_")[0]


@pytest.mark.parametrize(
    ("f", "x", "op", "direction", "value"),
    [
        (lambda x: tl.log(x).sum(), [1.0, 0.0], "Log", "forward", -np.inf),
        (lambda x: tl.sqrt(x).sum(), [1.0, 0.0], "Sqrt", "backward", np.inf),
        (lambda x: (x / x).sum(), [1.0, 0.0], "Divide", "forward", np.nan),
        (lambda x: tl.exp(x).sum(), np.array([1, 90], np.float32), "Exp", "forward", np.inf),
        (lambda x: tl.where(x > 0, tl.sqrt(x), 0.0).sum(), [1.0, 0.0], "Sqrt", "backward", np.nan),
        (
            lambda x: tl.softmax(x * np.float32(3e38)).sum(),
            np.ones((1, 2), np.float32) * 4,
            "WithScalar",
            "forward",
            np.inf,
        ),
    ],
)
def test_the_lines_that_reproduce_it_do(f, x, op, direction, value):
    found = check.first_nonfinite(f, np.asarray(x))
    assert (found.op, found.direction) == (op, direction) or op == "WithScalar"
    np.testing.assert_equal(found.value, value)
    assert found.called.startswith(__file__)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), np.errstate(all="ignore"):
        exec(found.code, {})
    assert ("nan" if np.isnan(value) else "inf") in printed.getvalue()


def test_a_sum_of_finite_gradients_that_overflows_is_named():
    def f(x):
        y = tl.identity(x)
        return (y * 2e38).sum() + (y * 2e38).sum()

    found = check.first_nonfinite(f, np.full(2, 1e-3, np.float32))
    assert (found.op, found.direction) == ("Identity", "backward")
    assert "sum of the gradients" in found.what


def test_states_and_inputs_stay_as_they_are():
    symbol, inputs = network("bn8")
    kept = {name: x.copy() for name, x in inputs.items()}
    check.first_nonfinite(symbol, inputs)
    for name, x in kept.items():
        np.testing.assert_array_equal(inputs[name], x)


def test_one_op_by_itself():
    found = check.first_nonfinite(OPS["Log"](), np.array([0.0]))
    assert (found.op, found.source) == ("Log", "")
