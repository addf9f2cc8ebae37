"""What operations that are a few others have in common."""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.dtypes import floating


class FloatComposite(Composite):
    """A composite whose results are no integers, even for integers."""

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))


def with_number(dtype, number):
    """The type of an array beside a number."""
    return dtype if dtype is None else np.result_type(dtype, type(number)())


def slices(F, x, axis, start, size):
    """A part of `x` along an axis; all where the size is unknown."""
    if size is None:
        return x
    return F.slice(x, key=(*[("slice", None, None, None)] * axis, ("slice", start, start + size, None)))
