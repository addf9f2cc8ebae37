"""One plan for all sizes: the calls it gives are those of the engine's plan, call by call."""

import itertools

import numpy as np
import pytest

from tinygrad_lesson.errors import GraphError
from tinygrad_lesson.lesson import lab
from tinygrad_lesson.lesson.remedies import ACTIVATIONS, STRUCTURES, network
from tinygrad_lesson.plan.calls import program
from tinygrad_lesson.plan.family import Sizes, Whole, as_data, calls_at, family, flattened
from tinygrad_lesson.plan.update import update_plan
from tinygrad_lesson.symbol import NameManager

OTHERS = [Sizes(1, 10, 4), Sizes(2, 3, 2)]


def maker(make, **variant):
    def program_of(sizes):
        with NameManager():
            return make(network(**variant, depth=sizes.depth, hidden=sizes.width), sizes.features)

    return program_of


@pytest.mark.parametrize("make", [lab.training, lab.prediction])
@pytest.mark.parametrize(
    ("structure", "activation", "normalized"), list(itertools.product(STRUCTURES, ACTIVATIONS, (False, True)))
)
def test_the_calls_for_sizes_that_were_not_seen_are_those_of_the_plan(
    make, structure, activation, normalized
):
    program_of = maker(make, structure=structure, activation=activation, normalized=normalized)
    found = family(program_of, lab.SAMPLES, lab.TRIED)
    deep = [Sizes(30, 16, 4)] if activation == "relu" else []
    for sizes in OTHERS + deep:
        assert calls_at(found, sizes) == flattened(program_of(sizes))


@pytest.mark.parametrize("optimizer", lab.OPTIMIZERS.values(), ids=lab.OPTIMIZERS)
def test_the_update_of_a_plan_is_that_of_one_parameter_for_each(optimizer):
    """The page has no update part for a network: it takes the optimizer's own plan, parameter by parameter."""

    def shape_of_update(calls):
        """What is done with what, without sizes: names of arrays, and numbers of calls from the first of a parameter."""
        return [(call.pattern[0], [told(x) for x in (call.pattern[1], *call.pattern[2])]) for call in calls]

    def told(x):
        if not isinstance(x, tuple):
            return x
        at = "made here" if isinstance(x[1], Whole) else x[1] if isinstance(x[1], str) else x[1][0]
        return (
            at.replace("fc#_weight", "weight").replace("gradient weight", "gradient").replace(":weight", "")
        )

    with NameManager():
        whole = flattened(lab.training(network(depth=2, hidden=3), 4, optimizer))
    update = [call for call in whole if call.part == "update"]
    own = flattened(program(update_plan(optimizer, 12, np.dtype(np.float32), (False, False))))
    assert len(update) == 6 * len(own)  # three layers, each with weight and bias
    assert shape_of_update(update[: len(own)]) == shape_of_update(own)


def test_sizes_that_no_formula_gives_are_refused():
    program_of = maker(lab.training)

    def odd(sizes):  # one unit more where it is tried
        return program_of(sizes._replace(width=sizes.width + 1) if sizes == lab.TRIED else sizes)

    with pytest.raises(GraphError, match=r"the calls for Sizes\(depth=3, width=6, features=3\) are not"):
        family(odd, lab.SAMPLES, lab.TRIED)


def test_what_repeats_is_written_once():
    found = family(maker(lab.training), lab.SAMPLES, lab.TRIED)
    repeated = [stretch for stretch in as_data(found) if stretch["repeated"]]
    assert [len(stretch["calls"]) for stretch in repeated] == [3, 5]  # forward: product, bias, relu; backward
    assert {call["part"] for call in repeated[1]["calls"]} == {"backward"}
    weight = ["array", ["fc#_weight", {"#": [2, 1, 0, 0, 0, 0, 0]}], [{"#": [0, 0, 0, 1, 0, 0, 0]}] * 2]
    turned = repeated[0]["calls"][2]["call"][2][
        1
    ]  # as the product reads it: of the next layer, columns first
    assert turned == [*weight, [1, {"#": [0, 0, 0, 1, 0, 0, 0]}], 0]
