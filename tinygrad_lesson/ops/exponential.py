"""The exponential of a matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import rounded, with_room
from tinygrad_lesson.ops.decompositions import turned
from tinygrad_lesson.ops.linalg import OfMatrices

PADE = [
    math.factorial(26 - k) * math.factorial(13) // (math.factorial(13 - k) * math.factorial(k))
    for k in range(14)
]


@op
class Expm(OfMatrices):
    """The exponential of matrices: ``1 + x + x @ x / 2 + ...``.

    Shapes
        x (..., n, n) -> as x

    Source
        Higham 2005, "The scaling and squaring method for the matrix exponential revisited", algorithm 2.3. Its
        gradient is a block of the exponential of a matrix of twice the size: Najfeld and Havel 1995, equation 106.
    """

    def shape(self, x):
        self.check(x)
        return x

    def forward(self, xp, x):
        self.check(x.shape)
        wide = with_room(xp, x)
        y = np.empty_like(wide)
        for i in np.ndindex(x.shape[:-2]):
            y[i] = exponential(wide[i])
        return rounded(xp, y, x.dtype)

    def vjp(self, F, g, y, x):
        return (self.jvp(F, (g,), y, turned(F, x)),)

    def jvp(self, F, tangents, y, x):
        (t,), n = tangents, F.shape(x)[-1]
        top = F.concat(x, t, dim=-1)
        bottom = F.concat(t * 0.0, x, dim=-1)
        whole = F.expm(F.concat(top, bottom, dim=-2))
        corner = (..., ("slice", 0, n, None), ("slice", n, None, None))
        return F.slice(whole, key=corner)

    def oracle(self, x):
        total = term = np.broadcast_to(np.eye(x.shape[-1]), x.shape)
        for k in range(1, 60):
            term = term @ x / k
            total = total + term
        return total

    @classmethod
    def sample(cls, draw):
        shape, n = draw.shape(max_rank=1), draw.size()
        return cls(), {"x": draw.array((*shape, n, n), low=-1, high=1)}


def exponential(a: Any) -> Any:
    """The exponential of one matrix."""
    norm = np.abs(a).sum(axis=0).max(initial=0.0)
    if not np.isfinite(norm):
        return np.full_like(a, np.nan)
    squarings = max(0, math.ceil(math.log2(norm / 5.37))) if norm else 0
    a = a / 2.0**squarings
    square, one = a @ a, np.eye(len(a), dtype=a.dtype)
    odd, even, power = PADE[1] * one, PADE[0] * one, one
    for k in range(2, 14, 2):
        power = power @ square
        even = even + float(PADE[k]) * power
        odd = odd + float(PADE[k + 1]) * power
    odd = a @ odd
    y = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        y = y @ y
    return y
