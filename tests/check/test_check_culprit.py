"""The culprit: a whole model fails, and the op whose rule is wrong is named."""

import inspect
import os

import numpy as np
import pytest
from planted import changed, computing, network, planted, with_gradients

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.op import OPS

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
CHANGES = {"percent": lambda d: d * 1.01, "sign": lambda d: -d, "nothing": lambda d: d * 0}


@pytest.mark.parametrize("name", ["bn8", "res25", "dense6"])
def test_every_op_broken_in_turn_is_named(name):
    symbol, inputs = network(name)
    assert check.gradients(symbol, inputs, full=False).ok
    missed = []
    every = 4 if name == "res25" and not NIGHTLY else 1  # its 78 ops are of 8 kinds
    for i, node in enumerate(computing(symbol)):
        if node.op.is_loss or i % every:
            continue
        change = list(CHANGES.values())[i % len(CHANGES)]
        broken = planted(symbol, node, vjp=with_gradients(type(node.op), change))
        report = check.gradients(broken, inputs, full=False)
        if report.verdict != "wrong" or report.culprit is None or report.culprit.name != node.name:
            missed.append((node.name, str(report)))
    assert missed == []


@pytest.mark.parametrize("name", ["bn8", "res25", "dense6"])
def test_a_class_of_ops_broken_everywhere_is_named_at_its_first_use(name, monkeypatch):
    symbol, inputs = network(name)
    for cls in {type(node.op) for node in computing(symbol) if not node.op.is_loss}:
        first = next(node for node in computing(symbol) if type(node.op) is cls)
        with monkeypatch.context() as patch:
            patch.setattr(cls, "vjp", with_gradients_of_now(cls))
            report = check.gradients(symbol, inputs, full=False)
        assert report.culprit is not None, f"{cls} {report}"
        assert (report.culprit.op, report.culprit.name) == (cls.name, first.name)
        assert report.cause == "factor"


@pytest.mark.parametrize("full", [False, None])
def test_a_wrong_op_within_is_seen_without_asking_for_the_culprit(full):
    symbol, inputs = network("dense6")
    node = next(node for node in computing(symbol)[8:] if node.op.name == "FullyConnected")
    broken = planted(symbol, node, vjp=with_gradients(type(node.op), CHANGES["percent"]))
    report = check.gradients(broken, inputs, full=full, culprit=False)
    assert report.verdict == "wrong", str(report)
    assert report.worst


def with_gradients_of_now(cls):
    """As `with_gradients`, of a rule that is about to be replaced."""
    old = cls.vjp
    fake = type("Old", (), {"vjp": old})
    return with_gradients(fake, lambda d: d * 1.01)


def test_culprit_names_the_line_of_the_rule_and_of_the_call():
    broken = changed(OPS["Tanh"], vjp=lambda self, F, g, y, x: (g * y,))

    def model(x):
        h = tl.exp(x * 0.1)
        h = tl.Tensor.F.apply(broken(), (h,))
        return tl.sum(h * h)

    report = check.gradients(model, np.linspace(0.1, 1, 4))
    assert report.culprit.label == "BrokenTanh()"
    assert report.culprit.place == f"{__file__}:{broken.vjp.__code__.co_firstlineno}"
    lines, start = inspect.getsourcelines(model)
    call = next(start + i for i, line in enumerate(lines) if "apply" in line)
    assert report.culprit.called == f"{__file__}:{call}"
    assert report.culprit.place in str(report)


def test_second_order_culprit_is_named():
    def vjp(self, F, g, y, x):
        return (g * tl.Tensor(np.cos(x.value)) if isinstance(x, tl.Tensor) else g * np.cos(x),)

    sine = changed(OPS["Tanh"], forward=lambda self, xp, x, out=None: xp.sin(x, out=out), vjp=vjp)

    def model(x):
        return tl.sum(tl.exp(tl.Tensor.F.apply(sine(), (x,))))

    x = np.linspace(0.1, 1, 4)
    assert check.gradients(model, x).ok
    report = check.gradients(model, x, order=2)
    assert report.verdict == "wrong"
    assert report.culprit.op == "BrokenTanh"


@pytest.mark.parametrize(
    ("verdict", "rules"),
    [
        (
            "float noise",
            {"vjp": lambda self, F, g, y, x: (g * (1 - y * y) * (1.01 if x.dtype == np.float32 else 1),)},
        ),
        ("wrong", {"vjp": lambda self, F, g, y, x: (np.multiply(g, 1 - y * y, out=y),)}),
        ("wrong", {"vjp": lambda self, F, g, y, x: (g[1:],)}),
        ("wrong", {"vjp": lambda self, F, g, y, x: (g @ y @ x.missing,)}),
        (
            "kink",
            {
                "forward": lambda self, xp, x, out=None: xp.abs(x, out=out),
                "vjp": lambda self, F, g, y, x: (g * F.sign(x),),
            },
        ),
    ],
)
def test_other_verdicts_name_their_op_too(verdict, rules):
    broken = changed(OPS["Tanh"], **rules)

    def model(x):
        return tl.sum(tl.exp(tl.Tensor.F.apply(broken(), (x * 2.0,))))

    report = check.gradients(model, np.array([0.0, 0.5, 1.0]))
    assert report.verdict == verdict
    assert report.culprit.op == "BrokenTanh"
