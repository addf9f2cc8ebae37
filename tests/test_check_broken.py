"""Rules that are wrong on purpose: each is caught, and the cause named is the right one."""

import numpy as np
import pytest
from broken_more import MORE
from broken_rules import BROKEN

from tinygrad_lesson import check

ALL = BROKEN + MORE


@pytest.mark.parametrize(("name", "cause", "f", "inputs"), ALL, ids=[case[0] for case in ALL])
def test_broken_rule_is_caught_and_its_cause_named(name, cause, f, inputs):
    report = check.gradients(f, *inputs)
    assert not report.ok, str(report)
    assert report.cause == cause, str(report)
    assert report.sentence
    assert report.cause in str(report)


def test_list_covers_every_cause():
    assert {cause for _, cause, _, _ in BROKEN} == set(check.CAUSES)
    assert len(BROKEN) >= 30
    assert len({name for name, *_ in ALL}) == len(ALL)


def test_inputs_are_not_written_by_the_check():
    for _, _, f, inputs in ALL:
        kept = [np.array(x) for x in inputs]
        check.gradients(f, *inputs)
        for x, y in zip(inputs, kept, strict=True):
            np.testing.assert_array_equal(x, y)
