"""Comparisons, and one of several values, element by element: the larger, the smaller, what a condition says."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinygrad_lesson.engine.blocks import at_least, at_most, choose
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.kinds import Comparison, Elementwise
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import broadcast, show
from tinygrad_lesson.ops.elementwise import Binary, Paired


class Extremum(Binary):
    """One of two arrays, element by element."""

    ties = "first"

    def shares(self, F, y, a, b):
        """Where the gradient goes to `a` on a tie, and where to `b`."""
        raise NotImplementedError

    def vjp(self, F, g, y, a, b):
        to_a, to_b = self.shares(F, y, a, b)
        if self.ties == "first":
            return lambda: F.where(to_a, g, 0), lambda: F.where(to_b, g, 0)
        half = F.where(F.equal(a, b), g * 0.5, g)
        return lambda: F.where(to_a, half, 0), lambda: F.where(F.logical_or(to_b, F.equal(a, b)), half, 0)

    @classmethod
    def sample(cls, draw):
        return dataclasses.replace(cls(), **{"ties": draw.choice(("first", "share"))}), draw.apart("a", "b")


@op
class Maximum(Extremum):
    """The larger of two arrays; on a tie the gradient goes to `a`, or half of it to each.

    Source
        MXNet 1.9, `broadcast_maximum`, where it goes to `a`.
    """

    ties: str = attr(
        "first", choices=("first", "share"), shown=False, doc="which of two that tie get the gradient"
    )

    def forward(self, xp, a, b, out=None):
        return at_least(xp, a, b, out=out) if type(b) in NUMBERS else xp.maximum(a, b, out=out)

    def shares(self, F, y, a, b):
        return F.greater_equal(a, b), F.less(a, b)


@op
class Minimum(Extremum):
    """The smaller of two arrays; on a tie the gradient goes to `a`, or half of it to each.

    Source
        MXNet 1.9, `broadcast_minimum`, where it goes to `a`.
    """

    ties: str = attr(
        "first", choices=("first", "share"), shown=False, doc="which of two that tie get the gradient"
    )

    def forward(self, xp, a, b, out=None):
        return at_most(xp, a, b, out=out) if type(b) in NUMBERS else xp.minimum(a, b, out=out)

    def shares(self, F, y, a, b):
        return F.less_equal(a, b), F.greater(a, b)


class BinaryComparison(Paired, Comparison):
    """A comparison of two arrays."""

    @classmethod
    def sample(cls, draw):
        return cls(), draw.apart("a", "b")


@op
class Equal(BinaryComparison):
    """Whether two arrays are equal, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.equal(a, b, out=out)


@op
class NotEqual(BinaryComparison):
    """Whether two arrays differ, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.not_equal(a, b, out=out)


@op
class Greater(BinaryComparison):
    """Whether `a` is larger than `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.greater(a, b, out=out)


@op
class GreaterEqual(BinaryComparison):
    """Whether `a` is at least `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.greater_equal(a, b, out=out)


@op
class Less(BinaryComparison):
    """Whether `a` is smaller than `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.less(a, b, out=out)


@op
class LessEqual(BinaryComparison):
    """Whether `a` is at most `b`, element by element."""

    def forward(self, xp, a, b, out=None):
        return xp.less_equal(a, b, out=out)


@op
class Where(Elementwise):
    """`a` where `condition` holds, else `b`.

    Source
        For `rows`: MXNet 1.9, `where`.
    """

    analytic = True
    mixes_dtypes = True
    rows: bool = attr(False, doc="a condition of one axis chooses rows, one for each, as in MXNet")

    def row_shape(self, shapes):
        """The shape in which a condition that chooses rows broadcasts with them; None if it chooses elements.

        Errors
            ShapeError where it has neither one axis nor as many as what it chooses from.
        """
        condition, rank = shapes[0], max(map(len, shapes[1:]), default=0)
        if not self.rows or len(condition) == rank or 0 in (len(condition), rank):
            return None
        if len(condition) > 1:
            raise ShapeError(
                f"condition is {show(condition)}, expected {rank} axes, as what it chooses from, or one"
            )
        return (*condition, *[1] * (rank - 1))

    def shape(self, condition, *values):
        by_row = self.row_shape((condition, *values))
        if by_row is None:
            return super().shape(condition, *values)
        y = broadcast(*values)
        if None not in (by_row[0], y[0]) and by_row[0] != y[0]:
            raise ShapeError(
                f"condition is {show(condition)}, expected {show(y[:1])}, one for each row of {show(y)}"
            )
        return broadcast(by_row, y)

    def forward(self, xp, condition, a, b):
        if self.rows:
            by_row = self.row_shape([np.shape(x) for x in (condition, a, b)])
            condition = condition if by_row is None else xp.reshape(condition, by_row)
        return choose(xp, condition, a, b)

    def vjp(self, F, g, y, condition, a, b):
        return (
            None,
            lambda: F.where(condition, g, 0, rows=self.rows),
            lambda: F.where(condition, 0, g, rows=self.rows),
        )

    def dtype(self, condition, a, b):
        return super().dtype(a, b)

    def rewrite(self, F, shapes, condition, a, b):
        if self.rows:
            by_row = self.row_shape(shapes)
            return F.where(condition if by_row is None else F.reshape(condition, by_row), a, b)
        known = F.number(condition)
        chosen = None if known is None else 1 if known else 2
        return (condition, a, b)[chosen] if chosen and shapes[chosen] == self.shape(*shapes) else None

    @classmethod
    def sample(cls, draw):
        condition, a, b = draw.broadcasting(3)
        rows = draw.boolean()
        if rows:
            a = b = (2, *draw.shape(min_rank=1))
            condition = a[:1] if draw.boolean() else a
        return cls(rows=rows), {
            "condition": draw.array(condition) > 0,
            "a": draw.array(a),
            "b": draw.array(b),
        }


@op
class Clip(Elementwise):
    """`x` kept between `low` and `high`; the gradient passes at both bounds, as in MXNet 1.9."""

    low: float | None = attr(None, doc="least result; None for no bound")
    high: float | None = attr(None, doc="largest result; None for no bound")

    def forward(self, xp, x, out=None):
        return xp.clip(x, self.low, self.high, out=out)

    def vjp(self, F, g, y, x):
        return (F.where(F.equal(x, y), g, 0),)

    def dtype(self, x):
        bounds = [type(bound)() for bound in (self.low, self.high) if bound is not None]
        return None if x is None else np.result_type(x, *bounds)

    def keeping(self, dtype):
        """With the bounds cut off to integers of this type."""
        if dtype.kind == "b":
            return self
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        bounds = [b if b is None else int(min(max(b, least), most)) for b in (self.low, self.high)]
        return dataclasses.replace(self, low=bounds[0], high=bounds[1])

    @classmethod
    def sample(cls, draw):
        low, high = draw.choice(((-1.0, 1.0), (None, 0.5), (-0.5, None)))
        kinks = tuple(k for k in (low, high) if k is not None)
        return cls(low=low, high=high), {"x": draw.array(draw.shape(), away_from=kinks)}
