"""Softmax over vectors of different lengths, and the loss of sequences without an alignment."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show
from tinygrad_lesson.ops.composing import slices

NEVER = -math.inf  # the logarithm of no probability


@op
class MaskedSoftmax(Composite):
    """The softmax of the first `length` numbers of each vector along `axis`; behind them it is 0.

    Shapes
        x (..., n, ...), length (..., ...) without that axis -> as x

    Source
        MXNet 1.9, `softmax` with use_length or dtype.
    """

    mixes_dtypes = True
    axis: int = attr(-1, doc="the axis of the vectors")
    temperature: float = attr(1.0, doc="divides `x` first")
    use_length: bool = attr(True, doc="whether lengths are given; else vectors are taken whole")
    log: bool = attr(False, doc="the logarithm of the softmax instead, of whole vectors")
    type: str | None = attr(None, alias="dtype", doc="element type of the result; None for that of `x`")

    @property
    def input_names(self):
        """Lengths may be left out."""
        return self.inputs if self.use_length else self.inputs[:1]

    def compose(self, F, x, length=None):
        shape = F.shape(x)
        axis = normalize_axis(self.axis, len(shape))
        x = x if self.type is None else F.cast(x, dtype=self.type)
        if length is None or None in shape:
            function = F.log_softmax if self.log else F.softmax
            return function(x, axis=axis, temperature=self.temperature)
        merge(F.shape(length), (*shape[:axis], *shape[axis + 1 :]))
        behind = [1] * (len(shape) - 1 - axis)
        numbers = F.reshape(F.arange(shape[axis], dtype=str(F.dtype(length))), shape=(-1, *behind))
        inside = F.less(numbers, F.expand_dims(length, axis=axis))
        x = x / self.temperature
        top = F.stop_gradient(F.max(F.where(inside, x, NEVER), axis=axis, keepdims=True))
        top = F.where(F.equal(top, NEVER), 0, top)  # of a vector of length 0
        e = F.where(inside, F.exp(F.where(inside, x - top, 0)), 0)
        total = F.sum(e, axis=axis, keepdims=True)
        return e / F.where(F.equal(total, 0), 1, total)

    def dtype(self, x, *length):
        return floating(x if self.type is None else np.dtype(self.type))

    def oracle(self, x, length=None):
        x, y = np.moveaxis(x, self.axis, -1), np.zeros_like(np.moveaxis(x, self.axis, -1))
        for i in np.ndindex(x.shape[:-1]):
            size = x.shape[-1] if length is None else length[i]
            e = np.exp(x[i][:size] / self.temperature)
            y[i][:size] = e / e.sum() if len(e) else 0
        return np.moveaxis(np.log(y) if self.log else y, -1, self.axis)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape))
        made = cls(axis=axis, temperature=draw.choice((1.0, 2.5)), use_length=draw.boolean())
        if not made.use_length:
            return dataclasses.replace(made, log=draw.boolean()), {"x": draw.array(shape)}
        rest = tuple(n for a, n in enumerate(shape) if a != axis % len(shape))
        length = np.floor(draw.array(rest, low=0, high=shape[axis] + 0.99)).astype(np.int64)
        return made, {"x": draw.array(shape), "length": length}


@op
class CTCLoss(Composite):
    """Minus the logarithm of the probability of each label sequence, over all ways to spread it in time.

    Between labels, and before and behind them, the blank may stand; it must between equal ones. `label` ends where a
    number is 0, or negative with the blank last, unless lengths are given.

    Shapes
        data (time, batch, classes), before the softmax; label (batch, longest), data_lengths and label_lengths (batch,)
        -> (batch,)

    Source
        Graves et al. 2006, section 4.1; MXNet 1.9, `CTCLoss`.
    """

    function = "ctc_loss"
    mixes_dtypes = True
    use_data_lengths: bool = attr(False, doc="whether the lengths of `data` are given")
    use_label_lengths: bool = attr(False, doc="whether the lengths of `label` are given")
    blank_label: str = attr("first", choices=("first", "last"), doc="which class is the blank")

    @property
    def input_names(self):
        """Lengths may be left out."""
        wanted = (True, True, self.use_data_lengths, self.use_label_lengths)
        return tuple(itertools.compress(("data", "label", "data_lengths", "label_lengths"), wanted))

    def told(self, inputs):
        """The inputs, None for lengths that are not given."""
        data, label, *lengths = inputs
        of_data = lengths[0] if self.use_data_lengths else None
        return data, label, of_data, lengths[-1] if self.use_label_lengths else None

    def shape(self, data, label, data_lengths=None, label_lengths=None):
        if len(data) != 3 or len(label) != 2:
            raise ShapeError(
                f"data is {show(data)}, label {show(label)}; expected (time, batch, classes) and (batch, longest)"
            )
        return merge(data[1:2], label[:1])

    def compose(self, F, data, label, data_lengths=None, label_lengths=None):
        lengths = [x for x in (data_lengths, label_lengths) if x is not None]
        data, label, data_lengths, label_lengths = self.told((data, label, *lengths))
        time, batch, kinds = F.shape(data)
        if data_lengths is not None:  # behind its end a row may hold anything
            steps = F.reshape(F.arange(time, dtype="float64"), shape=(time, 1, 1))
            data = F.where(F.less(steps, F.reshape(data_lengths, shape=(1, batch, 1))), data, 0)
        longest, kind, first = F.shape(label)[1], str(F.dtype(label)), self.blank_label == "first"
        blank = 0 if first else kinds - 1
        if label_lengths is None:
            ended = F.less(label, 1 if first else 0)
            label_lengths = longest - F.sum(F.greater(F.cumsum(F.cast(ended, dtype=kind), axis=1), 0), axis=1)
        states = 2 * longest + 1
        between = F.broadcast_to(
            F.cast(F.full(shape=(1, 1), value=float(blank)), dtype=kind), shape=(batch, longest)
        )
        known = F.clip(label, 0, kinds - 1)
        pairs = F.reshape(F.stack(between, known, axis=2), shape=(batch, 2 * longest))
        path = F.concat(pairs, slices(F, between, 1, 0, 1), dim=1)
        odd = F.reshape(F.equal(F.remainder(F.arange(states, dtype=kind), 2), 1), shape=(1, states))
        leap = F.logical_and(odd, F.not_equal(path, shifted(F, path, 2, -1)))
        log = F.log_softmax(data, axis=2)
        where_at = F.broadcast_to(F.expand_dims(path, axis=0), shape=(time, batch, states))
        log = F.take_along_axis(log, where_at, axis=2)
        number = F.reshape(F.arange(states, dtype=kind), shape=(1, states))
        alpha = F.where(F.less(number, 2), slices(F, log, 0, 0, 1), NEVER)
        alpha = F.reshape(alpha, shape=(batch, states))
        for t in range(1, time):
            step = F.logaddexp(alpha, shifted(F, alpha, 1, NEVER))
            step = F.logaddexp(step, F.where(leap, shifted(F, alpha, 2, NEVER), NEVER))
            step = step + F.reshape(slices(F, log, 0, t, 1), shape=(batch, states))
            on = True if data_lengths is None else F.reshape(F.greater(data_lengths, t), shape=(-1, 1))
            alpha = F.where(on, step, alpha)
        end = F.reshape(2 * label_lengths, shape=(-1, 1))
        last = F.logical_or(F.equal(number, end), F.equal(number, end - 1))
        return F.negative(F.logsumexp(F.where(last, alpha, NEVER), axis=1))

    def dtype(self, data, *others):
        return floating(data)

    def oracle(self, data, label, *lengths):
        data, label, data_lengths, label_lengths = self.told((data, label, *lengths))
        found = []
        for b, row in enumerate(label):
            least = 1 if self.blank_label == "first" else 0
            size = next((i for i, k in enumerate(row) if k < least), len(row))
            size = size if label_lengths is None else int(label_lengths[b])
            time = len(data) if data_lengths is None else int(data_lengths[b])
            p = np.exp(data[:time, b]) / np.exp(data[:time, b]).sum(axis=1, keepdims=True)
            blank = 0 if self.blank_label == "first" else data.shape[2] - 1
            wanted = tuple(map(int, row[:size]))
            ways: dict[Any, float] = {((), blank): 1.0}  # by labels so far and last class
            for step in p:
                longer: dict[Any, float] = collections.defaultdict(float)
                for (kept, last), chance in ways.items():
                    for k in range(len(step)):
                        told = kept if k in (last, blank) else (*kept, k)
                        if told == wanted[: len(told)]:
                            longer[told, k] += chance * step[k]
                ways = longer
            found.append(-math.log(sum(chance for (kept, _), chance in ways.items() if kept == wanted)))
        return np.array(found)

    @classmethod
    def sample(cls, draw):
        first = draw.boolean()
        made = cls(draw.boolean(), draw.boolean(), "first" if first else "last")
        batch, kinds, longest = draw.size(1, 2), draw.size(2, 3), draw.size(1, 2)
        time = 2 * longest
        data = draw.array((time, batch, kinds))
        label = np.floor(draw.array((batch, longest), low=0, high=kinds - 1.01)).astype(np.int64) + first
        inputs = {"data": data, "label": label}
        if made.use_data_lengths:
            inputs["data_lengths"] = np.array(
                [draw.integer(time - 1, time) if longest == 1 else time] * batch
            )
        if made.use_label_lengths:
            inputs["label_lengths"] = np.array([draw.integer(0, longest) for _ in range(batch)])
        return made, inputs


def shifted(F, x, by, fill):
    """Rows moved `by` places to the right, `fill` before them."""
    size = F.shape(x)[1]
    if by >= size:
        return F.full_like(x, value=float(fill))
    return F.pad(slices(F, x, 1, 0, size - by), ((0, 0), (by, 0)), constant_values=float(fill))
