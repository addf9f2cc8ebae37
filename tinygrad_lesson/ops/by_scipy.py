"""Functions that SciPy computes: those of Bessel of any order here, the gamma function and others in `gamma`.

SciPy is an extra, ``pip install 'tinygrad_lesson[special]'``; on a GPU CuPy has its own.
"""

from __future__ import annotations

import importlib
from typing import ClassVar

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import dtype_of, in_type, roomy
from tinygrad_lesson.engine.errors import GraphError, LessonError
from tinygrad_lesson.engine.namespace import Methods, as_method
from tinygrad_lesson.engine.op import FUNCTIONS
from tinygrad_lesson.ops.elementwise import FloatUnary
from tinygrad_lesson.ops.functions import FloatBinary


def library(xp, function):
    """SciPy's or CuPy's special functions.

    Errors
        LessonError if they are not installed.
    """
    try:
        return importlib.import_module("scipy.special" if xp.__name__ == "numpy" else "cupyx.scipy.special")
    except ImportError:
        raise LessonError(
            f"{function} is computed by SciPy, which is not installed: pip install 'tinygrad_lesson[special]'"
        ) from None


def called(op, xp, *inputs):
    """What the library's function of the name of an op makes of its inputs, in the type that the op says."""
    wide = [in_type(xp, x, roomy(x.dtype)) if hasattr(x, "dtype") else x for x in inputs]
    y = getattr(library(xp, op.function), op.function)(*wide)
    dtype = op.dtype(*map(dtype_of, inputs))
    return y if dtype is None else in_type(xp, y, dtype)


class ByScipy(FloatUnary):
    """A function of one number, by a library call."""

    traceable = False

    def forward(self, xp, x):
        return called(self, xp, x)


def of_floats(*dtypes):
    """The type of a result: that of the floats among its inputs, beside which integers adapt."""
    known = [d for d in dtypes if d is not None]
    return np.result_type(*[d for d in known if d.kind == "f"] or known, np.float16) if known else None


def without_gradient(F, op, name, x):
    """The gradient by a parameter that is taken as a constant: an error if one is asked for, but of integers."""
    dtype = F.dtype(x)
    if dtype is None or dtype.kind not in "fc":
        return None

    def refused():
        raise GraphError(f"{op.label()} has no derivative by {name} here; give {name}.detach()")

    return refused


class OfOrder(FloatBinary):
    """A function of Bessel's of any order, whose slope is a sum of its neighbours, each times a number."""

    traceable = False
    host_only = "SciPy computes it on the processor"
    below: ClassVar[float] = 0.5
    above: ClassVar[float] = -0.5

    def forward(self, xp, v, x):
        return called(self, xp, v, x)

    def vjp(self, F, g, y, v, x):
        def slope():
            return g * (F.apply(self, (v - 1, x)) * self.below + F.apply(self, (v + 1, x)) * self.above)

        return without_gradient(F, self, "v", v), slope

    def dtype(self, v, x):
        return of_floats(v, x)

    @classmethod
    def sample(cls, draw):
        v, x = draw.broadcasting(2)
        return cls(), {
            "v": np.rint(draw.array(v, low=0, high=3)).astype(int),
            "x": draw.array(x, low=0.5, high=4),
        }


@op
class Jv(OfOrder):
    """The Bessel function of order `v` at `x`; it has no derivative by `v` here."""


@op
class Yv(OfOrder):
    """The Bessel function of the second kind of order `v` at `x`, which is positive; no derivative by `v` here."""


@op
class Iv(OfOrder):
    """The modified Bessel function of order `v` at `x`; it has no derivative by `v` here."""

    above = 0.5


@op
class Kv(OfOrder):
    """The modified Bessel function of the second kind of order `v` at `x`, positive; no derivative by `v` here."""

    below = -0.5


# Their names for whole orders.
FUNCTIONS.update(jn=Jv, yn=Yv, kn=Kv)
for _name in ("jn", "yn", "kn"):
    setattr(Methods, _name, as_method(FUNCTIONS[_name]))
