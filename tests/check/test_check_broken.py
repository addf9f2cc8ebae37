"""Rules that are wrong on purpose: each is caught, and the cause named is the right one."""

import numpy as np
import pytest
from broken_more import MORE
from broken_rules import BROKEN
from broken_strange import STRANGE

import tinygrad_lesson as tl
from tinygrad_lesson import check

ALL = BROKEN + MORE


@pytest.mark.parametrize(("name", "cause", "f", "inputs"), ALL, ids=[case[0] for case in ALL])
def test_broken_rule_is_caught_and_its_cause_named(name, cause, f, inputs):
    report = check.gradients(f, *inputs)
    assert not report.ok, str(report)
    assert report.cause == cause, str(report)
    assert report.sentence
    assert report.cause in str(report)


@pytest.mark.parametrize(
    ("name", "causes", "f", "inputs", "order"), STRANGE, ids=[case[0] for case in STRANGE]
)
def test_a_stranger_s_mistake_is_caught_and_its_cause_named(name, causes, f, inputs, order):
    report = check.gradients(f, *map(np.array, inputs), order=order)
    assert not report.ok, str(report)
    assert report.cause in causes, str(report)
    assert report.order == order


def test_list_covers_every_cause():
    assert {cause for _, cause, _, _ in BROKEN} == set(check.CAUSES)
    assert len(BROKEN) >= 30
    names = [name for name, *_ in [*ALL, *STRANGE]]
    assert len(set(names)) == len(names)


def test_inputs_are_not_written_by_the_check():
    for _, _, f, inputs in ALL:
        kept = [np.array(x) for x in inputs]
        check.gradients(f, *inputs)
        for x, y in zip(inputs, kept, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("factor", [1.1, 2.0, -1.0, 0.0])
@pytest.mark.parametrize(("large", "small"), [(1e6, 1e-3), (1e5, 1e-4), (1e6, 1e-2), (1e3, 1.0)])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_wrong_slope_beside_a_far_larger_one_is_caught(shape, large, small, factor):
    @tl.custom_vjp
    def f(a, c):
        return a * large + c * c * small

    f.defvjp(lambda a, c: (f.__wrapped__(a, c), c), lambda c, g: (g * large, g * 2 * factor * small * c))
    for seed in range(5):
        a, c = np.random.default_rng(seed).normal(size=(2, *shape))
        assert check.gradients(f, a, c, seed=seed).verdict == "wrong"
