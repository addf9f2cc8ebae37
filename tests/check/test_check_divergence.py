"""Where runners, dtypes and ways of computing part: the op is named, and rounding is not blamed."""

import numpy as np
import pytest
from planted import computing, network, planted

import tinygrad_lesson as tl
from tinygrad_lesson import check, sym
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.run import RUNNERS, NumpyRunner

WAYS = ["numpy", "vm", "eager", "float32", {"runner": "vm", "dtype": "float32"}]


@pytest.mark.parametrize("name", ["bn8", "res25", "dense6"])
def test_runners_and_dtypes_agree(name):
    pytest.importorskip("llvmlite")
    symbol, inputs = network(name)
    found = check.where_parted(symbol, WAYS, inputs)
    assert found.ok, str(found)
    assert "none of" in str(found)


@pytest.mark.parametrize("name", ["bn8", "dense6"])
def test_an_op_that_is_wrong_in_single_precision_alone_is_named_at_every_node(name):
    symbol, inputs = network(name)
    for node in computing(symbol):
        cls = type(node.op)

        def forward(self, xp, *inputs, out=None, old=cls.forward):
            y = old(self, xp, *inputs)
            first = y[0] if isinstance(y, tuple) else y
            first = first * first.dtype.type(1.001) if first.dtype == np.float32 else first
            return (first, *y[1:]) if isinstance(y, tuple) else first

        forward.__wrapped__ = cls.forward  # its signature names the inputs
        broken = planted(symbol, node, forward=forward, traceable=False)
        found = check.where_parted(broken, ["numpy", "float32"], inputs)
        assert (found.name, found.op) == (node.name, f"Broken{cls.__name__}")
        assert found.way.startswith("numpy float32")


def test_a_runner_that_is_wrong_at_one_op_is_named(monkeypatch):
    class Forgetful(NumpyRunner):
        """Forgets what it was told about tanh."""

        def forward(self):
            super().forward()
            for step in self.plan.forward:
                if step.op.name == "Tanh":
                    self.buffers[step.targets[0]][...] = 0.5

    monkeypatch.setitem(RUNNERS, "forgetful", Forgetful)
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc1")
    x = sym.Activation(x, act_type="tanh", name="act")
    found = check.where_parted(x, ["numpy", "forgetful"], np.ones((2, 3)))
    assert (found.name, found.op) == ("act", "Tanh")
    assert "forgetful" in found.way
    assert list(found.others) == ["numpy float64 cpu(0)"]
    assert "act = Tanh()" in str(found)


def test_overflow_of_a_short_dtype_is_named():
    x = sym.exp(sym.exp(sym.Variable("x"), name="inner"), name="outer")
    found = check.where_parted(x, ["float64", "float32"], np.array([1.0, 5.0]))
    assert found.name == "outer"
    assert found.found == np.inf


def test_an_unknown_runner_says_which_there_are():
    with pytest.raises(LessonError, match="'fast' is no runner .*numpy.*eager"):
        check.where_parted(sym.Variable("x") + 1, ["fast"], np.ones(2))


@pytest.mark.parametrize(
    ("f", "inputs", "op"),
    [
        (lambda x: tl.sin(tl.exp(x * 3.0)) * 2.0, [np.array([5.1, 5.3])], "Sin"),
        (lambda x: tl.tanh((x + 1e5) - 1e5), [np.array([0.3, -0.2])], "Subtract"),
        (lambda a, b: tl.log(tl.exp(a) - b) * 1.5, [np.array([0.5]), np.exp([0.5]) - 1e-6], "Subtract"),
        (lambda x: tl.sum(tl.cos(x * x)), [np.array([2000.3, 911.7])], "Cos"),
        (lambda x: tl.mean(x * 1.1) * 2.0, [np.array([100000.3, -99999.9, 0.01])], "Mean"),
    ],
)
def test_a_function_is_looked_at_and_the_op_that_magnifies_rounding_named(f, inputs, op):
    found = check.where_parted(f, ["numpy", "float32"], *inputs)
    assert found.title.startswith("<lambda> on")
    assert found.ok, str(found)
    assert any(f"{op}(" in note and "magnifies" in note for note in found.notes), str(found)


def test_nothing_is_said_to_magnify_where_the_results_agree():
    found = check.where_parted(tl.tanh, ["numpy", "eager", "float32"], np.array([0.3, 2.0]))
    assert found.ok
    assert "magnifies" not in str(found)


def test_a_function_that_records_nothing_is_refused():
    with pytest.raises(LessonError, match="records no op"):
        check.where_parted(lambda x: tl.floor(x), ["numpy", "float32"], np.array([0.3]))
