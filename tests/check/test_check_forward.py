"""The check compares forward with reverse: an op with a wrong `jvp` is told, and one with a right one passes."""

import numpy as np
import pytest
from broken_rules import declared, numbers

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.op import OPS, Op
from tinygrad_lesson.tensor import apply


def scaled_by(rule):
    """An op that multiplies two arrays that broadcast, with this forward rule."""

    class ProductOfTwo(Op):
        """``a * b`` for a (n, m) and b (m,)."""

        def shape(self, a, b):
            return a

        def forward(self, xp, a, b):
            return a * b

        def vjp(self, F, g, y, a, b):
            return g * b, F.sum(g * a, axis=0)

        def jvp(self, F, tangents, y, a, b):
            return rule(F, *tangents, a, b)

    return declared(ProductOfTwo)()


def sum_of(*parts):
    known = [part for part in parts if part is not None]
    return known[0] + known[1] if len(known) > 1 else known[0]


def times(t, x):
    return None if t is None else t * x


RULES = {
    "right": (lambda F, t, s, a, b: sum_of(times(t, b), times(s, a)), ""),
    "the other way": (lambda F, t, s, a, b: -sum_of(times(t, b), times(s, a)), "sign"),
    "twice": (lambda F, t, s, a, b: 2 * sum_of(times(t, b), times(s, a)), "factor"),
    "one term": (
        lambda F, t, s, a, b: F.full(shape=F.shape(a), value=0.0) if t is None else t * b,
        "missing term",
    ),
    "one sign": (lambda F, t, s, a, b: sum_of(times(t, b), times(s, -a)), "missing term"),
    "wrong input": (lambda F, t, s, a, b: sum_of(times(t, a), times(s, a)), "missing term"),
    "not linear": (
        lambda F, t, s, a, b: sum_of(times(t, b), times(s, a)) + sum_of(t, s) ** 2,
        "missing term",
    ),
    "a constant": (lambda F, t, s, a, b: sum_of(times(t, b), times(s, a)) + 1.0, "missing term"),
    "nothing": (lambda F, t, s, a, b: None, "missing term"),
    "summed": (lambda F, t, s, a, b: F.sum(sum_of(times(t, b), times(s, a)), axis=0), "missing term"),
    "no None": (lambda F, t, s, a, b: t * b + s * a, "TypeError"),
    "shape": (
        lambda F, t, s, a, b: F.transpose(sum_of(times(t, b), times(s, a)), axes=(1, 0)),
        r"(2, 3) as the result",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_forward_rule_is_told_with_the_op_and_the_cause(name):
    rule, cause = RULES[name]
    op, inputs = scaled_by(rule), [numbers(2, 3), numbers(3, seed=4)]
    report = check.gradients(op, *inputs)
    assert report.ok == (not cause), str(report)
    if cause:
        assert (report.verdict, report.sides) == ("wrong", ("jvp", "vjp"))
        assert cause == report.cause or cause in report.sentence
        assert "ProductOfTwo" in report.sentence
    among = check.gradients(lambda a, b: tl.sin(apply(op, (tl.exp(a), b))), *inputs)
    assert among.ok == (not cause), str(among)
    if cause:
        assert among.culprit is not None
        assert among.culprit.op == "ProductOfTwo"


@pytest.mark.parametrize(
    ("rule", "right"),
    [
        (lambda xs, ts: (xs[0] ** 2, 2 * xs[0] * ts[0]), True),
        (lambda xs, ts: (xs[0] ** 2, xs[0] * ts[0]), False),
        (lambda xs, ts: (xs[0] ** 2, 2 * xs[0] * ts[0] + ts[0] ** 2), False),
        (lambda xs, ts: (xs[0] ** 2, 2 * xs[0] * ts[0] + 1), False),
    ],
)
def test_a_rule_of_custom_jvp_is_compared_too(rule, right):
    f = tl.custom_jvp(lambda x: x * x)
    f.defjvp(rule)
    report = check.gradients(lambda x: tl.sin(f(x)), [0.5, 2.0])
    assert report.ok == right, str(report)
    assert right or report.culprit.op == "custom_jvp"


def test_functions_with_right_rules_pass():
    clipped = tl.custom_vjp(lambda x: x * x)
    clipped.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
    for f in (clipped, tl.checkpoint(lambda x: tl.sin(x) * x), tl.jit(lambda x: tl.sin(x) * x), tl.expm):
        x = np.array([[0.5, 2.0], [0.1, 0.7]])
        report = check.gradients(f, x)
        assert report.ok, str(report)


def test_the_forward_rule_of_an_op_of_ours_is_held_to_it_too(monkeypatch):
    cls = OPS["Expm"]
    right = cls.jvp
    monkeypatch.setattr(cls, "jvp", lambda self, F, tangents, y, x: right(self, F, tangents, y, x) * 1.0001)
    monkeypatch.setattr(
        cls, "vjp", lambda self, F, g, y, x: (right(self, F, (g,), y, F.swapaxes(x, -1, -2)),)
    )
    report = check.gradients("Expm")
    assert report.cause == "factor"
    assert report.factor == pytest.approx(1.0001)


def test_products_below_the_normal_range_of_floats_are_no_mistake_of_a_forward_rule():
    report = check.gradients("Expm", np.array([[[-723.0452694028173]]]), seed=1004)
    assert report.verdict != "wrong", str(report)
