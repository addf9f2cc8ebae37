"""Functions that SciPy computes: those of Bessel here, the gamma function and others in `gamma`.

SciPy is an extra, ``pip install 'tinygrad_lesson[special]'``; on a GPU CuPy has its own.
"""

from __future__ import annotations

import importlib
import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import in_type, roomy
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.ops.elementwise import FloatUnary


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


class ByScipy(FloatUnary):
    """A function of one number, by a library call."""

    traceable = False

    def forward(self, xp, x):
        found = getattr(library(xp, self.function), self.function)(wide(xp, x))
        return narrow(xp, found, x, dtype=self.dtype(getattr(x, "dtype", None)))


def wide(xp, x):
    """`x` in single precision at least, in which SciPy computes."""
    return in_type(xp, x, roomy(x.dtype)) if hasattr(x, "dtype") else x


def narrow(xp, y, *inputs, dtype):
    """A result in its type; beside numbers alone as it is."""
    return in_type(xp, y, dtype) if any(hasattr(x, "dtype") for x in inputs) else y


def bessel(n, x, sign):
    """The integral of Bessel's over half a turn, by the midpoint rule: `sign` 1 for I, -1 for J."""
    t = (np.arange(64) + 0.5) * (math.pi / 64)
    x = np.asarray(x)[..., None]
    if sign > 0:
        return np.mean(np.exp(x * np.cos(t)) * np.cos(n * t), axis=-1)
    return np.mean(np.cos(n * t - x * np.sin(t)), axis=-1)


def over(F, y, x, limit):
    """``y / x``, and its limit at 0."""
    zero = F.equal(x, 0)
    return F.where(zero, limit, y / F.where(zero, 1, x))


@op
class I0(ByScipy):
    """The modified Bessel function of order 0."""

    def vjp(self, F, g, y, x):
        return (g * F.i1(x),)

    def oracle(self, x):
        return bessel(0, x, 1)


@op
class I1(ByScipy):
    """The modified Bessel function of order 1."""

    def vjp(self, F, g, y, x):
        return (g * (F.i0(x) - over(F, y, x, 0.5)),)

    def oracle(self, x):
        return bessel(1, x, 1)


@op
class J0(ByScipy):
    """The Bessel function of order 0."""

    def vjp(self, F, g, y, x):
        return (-g * F.j1(x),)

    def oracle(self, x):
        return bessel(0, x, -1)


@op
class J1(ByScipy):
    """The Bessel function of order 1."""

    def vjp(self, F, g, y, x):
        return (g * (F.j0(x) - over(F, y, x, 0.5)),)

    def oracle(self, x):
        return bessel(1, x, -1)
