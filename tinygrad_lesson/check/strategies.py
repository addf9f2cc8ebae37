"""Samples of ops as a strategy of hypothesis, which makes a failing one as small as it can."""

from hypothesis import strategies as st

from tinygrad_lesson.check.draw import Draw


@st.composite
def samples(draw: st.DrawFn) -> Draw:
    """A `Draw` whose shapes, axes and attributes hypothesis chooses and shrinks.

    Example
        A test of every op begins with ``@given(draw=samples())`` and ``op, inputs = draw.sample(cls)``.
    """
    return Draw(draw(st.integers(0, 999)), integer=lambda low, high: draw(st.integers(low, high)))
