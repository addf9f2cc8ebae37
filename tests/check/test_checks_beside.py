"""The comparison with other libraries' checks: its own parts, without any of them installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lesson as tl

SPEC = importlib.util.spec_from_file_location(
    "checks", Path(__file__).parents[1] / "benchmarks" / "checks.py"
)
checks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(checks)

A, B = np.random.default_rng(0).normal(size=(2, 3, 3))


def test_a_case_is_handed_on_as_values_and_the_way_back():
    pair = checks.Pair(lambda x, n, y: (tl.matmul(x, y), tl.sum(x * n)), [A, np.arange(3), B])
    assert len(pair.inputs) == 2
    y, back = pair.run(A, B)
    np.testing.assert_allclose(y, [*(A @ B).ravel(), np.sum(A * np.arange(3))])
    g = np.random.default_rng(1).normal(size=10)
    of_a, of_b = back(g)
    np.testing.assert_allclose(of_a, g[:9].reshape(3, 3) @ B.T + g[9] * np.arange(3))
    np.testing.assert_allclose(of_b, A.T @ g[:9].reshape(3, 3))


def test_a_rule_reads_what_its_own_forward_left_behind():
    pair = checks.Pair(tl.sin, [A])
    _, back = pair.run(A)
    pair.run(2 * A)
    np.testing.assert_allclose(back(np.ones((3, 3)))[0], np.cos(A))


@pytest.mark.parametrize(
    ("check", "verdict"), [(lambda: True, "ok"), (lambda: "kink", "kink"), (lambda: {}["x"], "wrong")]
)
def test_what_raises_is_a_refusal(check, verdict):
    assert checks.spoken(check) == verdict


def test_cases_are_those_of_the_tests():
    found = [(heading, kind) for heading, kind, _, _ in checks.cases()]
    assert sum(heading == "broken" for heading, _ in found) > 150
    assert {kind for heading, kind in found if heading == "open"} == {"at a kink", "equal numbers", "chaos"}


def test_the_table_counts_refusals_and_in_doubt_mistakes_alone():
    told = {
        "broken|sign": ["wrong", "ok", "kink"],
        "right|waves": ["ok", "cannot tell"],
        "open|chaos": ["kink", "wrong"],
    }
    results = {"ours": {"told": told, "times": {"a": 0.001, "b": 0.002, "c": 0.003}}}
    lines = checks.table(results).splitlines()
    assert lines[0] == "| broken rules that are caught, by mistake | cases | check.gradients |"
    assert "| sign | 3 | 2 |" in lines
    assert "| waves | 2 | 1 |" in lines
    assert "| chaos | 2 | 1 |" in lines
    assert lines[-1].endswith("|  | 2 |")
    assert len({line.count("|") for line in lines}) == 1
