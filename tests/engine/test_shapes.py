"""Shape algebra against NumPy's own rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson.engine.shapes import (
    broadcast,
    is_complete,
    merge,
    normalize_axis,
    reduced,
    reduced_axes,
    reshaped,
    show,
    size_of,
)
from tinygrad_lesson.errors import ShapeError

SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@given(SHAPES, SHAPES, SHAPES)
def test_known_shapes_broadcast_as_in_numpy(a, b, c):
    try:
        expected = np.broadcast_shapes(a, b, c)
    except ValueError:
        with pytest.raises(ShapeError, match="do not broadcast together"):
            broadcast(a, b, c)
    else:
        assert broadcast(a, b, c) == expected


def test_an_unknown_size_gives_way_to_a_size_above_1_only():
    assert broadcast((None, 3), (2, 1)) == (2, 3)
    assert broadcast((None,), (1,)) == (None,)
    assert broadcast((None, 2), ()) == (None, 2)
    assert broadcast((None,), (0,)) == (0,)


@given(SHAPES, st.data())
def test_a_reduced_shape_is_that_of_numpys_sum(shape, data):
    axes = (
        data.draw(st.lists(st.integers(-len(shape), len(shape) - 1), unique_by=lambda a: a % len(shape)))
        if shape
        else []
    )
    keepdims = data.draw(st.booleans())
    expected = np.zeros(shape).sum(axis=tuple(axes), keepdims=keepdims).shape
    assert reduced(shape, reduced_axes(len(shape), tuple(axes)), keepdims) == expected


def test_axes_may_be_none_one_several_or_all_others():
    assert reduced_axes(3, None) == (0, 1, 2)
    assert reduced_axes(3, -1) == (2,)
    assert reduced_axes(3, (2, 0)) == (0, 2)
    for twice in ((0, 0), (0, -3), (2, 1, -1)):
        with pytest.raises(ShapeError, match=r"name one twice in 3 dimensions; expected each once"):
            reduced_axes(3, twice)
    assert reduced_axes(3, 1, exclude=True) == (0, 2)
    assert reduced_axes(3, None, exclude=True) == ()


@pytest.mark.parametrize(("axis", "rank"), [(2, 2), (-3, 2), (0, 0)])
def test_an_axis_that_is_not_there_is_named(axis, rank):
    with pytest.raises(ShapeError, match=f"there is no axis {axis} in {rank} dimensions"):
        normalize_axis(axis, rank)


@given(SHAPES, st.lists(st.integers(-1, 6), max_size=4).map(tuple))
def test_a_reshape_is_possible_where_it_is_in_numpy(shape, wanted):
    try:
        expected = np.zeros(shape).reshape(wanted).shape
    except ValueError:
        with pytest.raises(ShapeError):
            reshaped(shape, wanted)
    else:
        assert reshaped(shape, wanted) == expected


def test_an_open_size_stays_open_while_the_number_of_elements_is_unknown():
    assert reshaped((None, 4), (2, -1)) == (2, None)
    assert reshaped((3, 4), (None, 4)) == (None, 4)


def test_partial_descriptions_of_one_shape_are_merged():
    assert merge((2, None), (None, 3)) == (2, 3)
    assert merge(None, (1,)) == merge((1,), None) == (1,)
    assert merge(None, None) is None
    for a, b, message in (
        ((2,), (3,), r"\(2,\) is not \(3,\)"),
        ((2, None), (2,), r"\(2, \?\) is not \(2,\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            merge(a, b)


def test_sizes_and_completeness_know_what_is_unknown():
    assert size_of((2, 3)) == 6
    assert size_of(()) == 1
    assert size_of((2, None)) is None
    assert [is_complete(shape) for shape in ((2,), (), (None,), None)] == [True, True, False, False]


def test_shapes_are_shown_as_python_shows_tuples():
    assert [show(shape) for shape in ((2, 3), (2,), (), (None, 3), None)] == [
        "(2, 3)",
        "(2,)",
        "()",
        "(?, 3)",
        "unknown",
    ]
