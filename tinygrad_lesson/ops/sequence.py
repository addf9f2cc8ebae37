"""Sequences, which lie along one axis, one for each place along the other of the first two."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import summed
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show
from tinygrad_lesson.ops.composing import slices, with_number


@declares
class Sequence(Composite):
    """An op on sequences of different lengths."""

    mixes_dtypes = True
    use_sequence_length: bool = attr(False, doc="whether lengths are given; else all are as long as the axis")
    axis: int = attr(0, choices=(0, 1), doc="the axis along which sequences lie")

    @property
    def input_names(self):
        """Lengths may be left out."""
        return self.inputs if self.use_sequence_length else self.inputs[:1]

    def dtype(self, data, *lengths):
        return data

    def steps(self, F, data, lengths):
        """The number of each step, and the lengths, in shapes that broadcast with the data."""
        shape = F.shape(data)
        if len(shape) < 2:
            raise ShapeError(f"data is {show(shape)}, expected at least (steps, batch)")
        merge(F.shape(lengths), (shape[1 - self.axis],))
        rest = [1] * (len(shape) - 1)
        kind = str(F.dtype(lengths))
        numbers = F.reshape(F.arange(shape[self.axis] or 1, dtype=kind), shape=(-1, *rest[self.axis :]))
        along = (*[1] * (1 - self.axis), -1, *rest[1 - self.axis :])
        return numbers, F.reshape(lengths, shape=along)

    @classmethod
    def drawn(cls, draw, **more):
        """Data, and lengths if they are used."""
        shape = draw.shape(min_rank=2)
        made = cls(use_sequence_length=draw.boolean(), axis=draw.choice((0, 1)), **more)
        inputs = {"data": draw.array(shape)}
        if made.use_sequence_length:
            size = shape[made.axis]
            lengths = np.floor(draw.array((shape[1 - made.axis],), low=1, high=size + 0.99)).astype(np.int64)
            inputs["sequence_length"] = lengths
        return made, inputs


@op
class SequenceMask(Sequence):
    """`value` in the place of everything behind the end of its sequence.

    Source
        MXNet 1.9, `SequenceMask`.
    """

    use_sequence_length: bool = attr(False, doc="whether lengths are given; else nothing is masked")
    value: float = attr(0.0, doc="what stands behind the ends")
    axis: int = attr(0, choices=(0, 1), doc="the axis along which sequences lie")

    def compose(self, F, data, sequence_length=None):
        if sequence_length is None:
            return F.identity(data)
        numbers, lengths = self.steps(F, data, sequence_length)
        dtype = F.dtype(data)
        value = self.value if dtype is None else dtype.type(self.value).item()  # of integers the whole part
        return F.where(F.less(numbers, lengths), data, value)

    def dtype(self, data, *lengths):
        return data

    def oracle(self, data, sequence_length=None):
        y = np.moveaxis(np.array(data), self.axis, 0)
        for b in range(y.shape[1] if sequence_length is not None else 0):
            y[int(sequence_length[b]) :, b] = self.value
        return np.moveaxis(y, 0, self.axis)

    @classmethod
    def sample(cls, draw):
        return cls.drawn(draw, value=1.5)


@op
class SequenceLast(Sequence):
    """The last step of each sequence.

    Source
        MXNet 1.9, `SequenceLast`.
    """

    use_sequence_length: bool = attr(False, doc="whether lengths are given; else all are as long as the axis")
    axis: int = attr(0, choices=(0, 1), doc="the axis along which sequences lie")

    def compose(self, F, data, sequence_length=None):
        size: Any = F.shape(data)[self.axis]
        if sequence_length is None:
            last = slices(F, data, self.axis, (size or 1) - 1, None if size is None else 1)
            return (
                F.reshape(last, shape=without(F.shape(data), self.axis))
                if size is not None
                else F.sum(data, axis=self.axis)
            )
        numbers, lengths = self.steps(F, data, sequence_length)
        return F.sum(F.where(F.equal(numbers + 1, lengths), data, 0), axis=self.axis)

    def dtype(self, data, *lengths):
        return summed(with_number(data, 0)) if lengths else data

    def oracle(self, data, sequence_length=None):
        y = np.moveaxis(data, self.axis, 0)
        lengths = [len(y)] * y.shape[1] if sequence_length is None else sequence_length
        return np.stack([y[int(n) - 1, b] for b, n in enumerate(lengths)])

    @classmethod
    def sample(cls, draw):
        return cls.drawn(draw)


def without(shape, axis):
    """A shape without one axis."""
    axis = normalize_axis(axis, len(shape))
    return (*shape[:axis], *shape[axis + 1 :])


@op
class SequenceReverse(Sequence):
    """Each sequence the other way round; what lies behind its end stays.

    Source
        MXNet 1.9, `SequenceReverse`.
    """

    use_sequence_length: bool = attr(False, doc="whether lengths are given; else all are as long as the axis")
    axis: int = attr(0, choices=(0,), doc="the axis along which sequences lie")

    def compose(self, F, data, sequence_length=None):
        if sequence_length is None:
            return F.flip(data, axis=0)
        numbers, lengths = self.steps(F, data, sequence_length)
        at = F.where(F.less(numbers, lengths), lengths - 1 - numbers, numbers)
        shape = F.shape(data)
        return F.take_along_axis(data, F.broadcast_to(at, shape=shape) if None not in shape else data, axis=0)

    def oracle(self, data, sequence_length=None):
        y = np.array(data)
        lengths = [len(y)] * y.shape[1] if sequence_length is None else sequence_length
        for b, n in enumerate(lengths):
            y[: int(n), b] = y[: int(n), b][::-1]
        return y

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=2)
        made = cls(use_sequence_length=draw.boolean())
        lengths = np.floor(draw.array(shape[1:2], low=1, high=shape[0] + 0.99)).astype(np.int64)
        more = {"sequence_length": lengths} if made.use_sequence_length else {}
        return made, {"data": draw.array(shape), **more}
