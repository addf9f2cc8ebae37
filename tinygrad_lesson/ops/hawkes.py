"""How likely events in time are that bring further events: `hawkesll`."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.shapes import merge, show


@op
class HawkesLogLikelihood(Composite):
    """The logarithm of how likely sequences of events are, of `k` kinds, each of which brings more of its kind.

    The rate of kind `k` at time t is lda_k + alpha_k * beta_k * (the sum of exp(-beta_k * (t - s)) over its events at
    earlier times s). At time 0 that sum is `state`; what it is at `max_time` is the second result, with which the next
    part of a sequence can begin.

    Shapes
        lda (batch, k), alpha (k,), beta (k,), state (batch, k), lags (batch, events): times since the event before,
        marks (batch, events): kinds, valid_length (batch,): how many events there are, max_time (batch,)
        -> (batch,), (batch, k)

    Source
        Bacry, Mastromatteo and Muzy 2015; MXNet 1.9, `contrib.hawkesll`, where `lda`, `alpha` and `beta` alone have
        gradients.
    """

    function = "hawkesll"
    outputs = ("output0", "output1")
    method = False
    mixes_dtypes = True

    def compose(self, F, lda, alpha, beta, state, lags, marks, valid_length, max_time):
        events, kinds = F.shape(lags)[1], F.shape(lda)[1]
        numbers = F.reshape(F.arange(events, dtype="int64"), shape=(1, events))
        valid = F.less(numbers, F.expand_dims(F.stop_gradient(valid_length), axis=1))
        time = F.cumsum(F.where(valid, lags, 0), axis=1)
        kind = F.one_hot(F.where(valid, F.stop_gradient(marks), -1), depth=kinds, dtype=str(F.dtype(lags)))
        end = F.expand_dims(max_time, axis=1)

        def of_events(x):  # what belongs to the kind of each event
            return F.sum(kind * (x if len(F.shape(x)) == 1 else F.expand_dims(x, axis=1)), axis=2)

        rate, branching, decay = of_events(lda), of_events(alpha), of_events(beta)
        before = F.less(F.reshape(numbers, shape=(1, 1, events)), F.reshape(numbers, shape=(1, events, 1)))
        since = F.where(before, F.expand_dims(time, axis=2) - F.expand_dims(time, axis=1), 0)
        alike = F.where(before, F.matmul(kind, F.transpose(kind, axes=(0, 2, 1))), 0)
        earlier = F.sum(alike * F.exp(F.negative(F.expand_dims(decay, axis=2) * since)), axis=2)
        excited = of_events(state) * F.exp(F.negative(decay * time)) + earlier
        rate = F.where(valid, rate + branching * decay * excited, 1)
        left = F.where(valid, end - time, 0)
        expected = branching * F.negative(F.expm1(F.negative(decay * left)))
        carried = F.negative(beta * end)
        foreseen = lda * end + alpha * state * F.negative(F.expm1(carried))
        likelihood = F.sum(F.log(rate) - expected, axis=1) - F.sum(foreseen, axis=1)
        remaining = F.expand_dims(F.exp(F.negative(decay * left)), axis=2)
        return likelihood, state * F.exp(carried) + F.sum(kind * remaining, axis=1)

    def shape(self, lda, alpha, beta, state, lags, marks, valid_length, max_time):
        if len(lda) != 2 or len(lags) != 2:
            raise ShapeError(
                f"lda is {show(lda)}, lags {show(lags)}; expected (batch, kinds) and (batch, events)"
            )
        batch, events = merge(merge(lags, marks), (lda[0], None)) or ()
        _, kinds = merge(merge(lda, state), (batch, None)) or ()
        for given, size in ((alpha, kinds), (beta, kinds), (valid_length, batch), (max_time, batch)):
            merge(given, (size,))
        merge(lags, (batch, events))
        return (batch,), (batch, kinds)

    def dtype(self, lda, alpha, beta, state, lags, marks, valid_length, max_time):
        kind = floating(lda)
        return kind, kind

    def oracle(self, lda, alpha, beta, state, lags, marks, valid_length, max_time):
        y, state = np.zeros(len(lda)), np.array(state)
        for b, count in enumerate(valid_length):
            for k in range(lda.shape[1]):
                rate, jump, decay = lda[b, k], alpha[k], beta[k]
                now, last, excited = 0.0, 0.0, state[b, k]
                for lag, mark in zip(lags[b, :count], marks[b, :count], strict=True):
                    now += lag
                    if mark == k:
                        faded = excited * math.exp(-decay * (now - last))
                        y[b] += math.log(rate + jump * decay * faded)
                        y[b] -= rate * (now - last) + jump * (excited - faded)
                        last, excited = now, 1 + faded
                state[b, k] = excited * math.exp(-decay * (max_time[b] - last))
                y[b] -= rate * (max_time[b] - last) + jump * (excited - state[b, k])
        return y, state

    @classmethod
    def sample(cls, draw):
        batch, kinds, events = draw.size(1, 2), draw.size(1, 3), draw.size(1, 3)
        marks = np.array([[draw.integer(0, kinds - 1) for _ in range(events)] for _ in range(batch)])
        return cls(), {
            "lda": draw.array((batch, kinds), low=0.5, high=2), "alpha": draw.array((kinds,), low=0.1, high=0.9),
            "beta": draw.array((kinds,), low=0.5, high=2), "state": draw.array((batch, kinds), low=0, high=1),
            "lags": draw.array((batch, events), low=0.1, high=1), "marks": marks,
            "valid_length": np.array([draw.integer(0, events) for _ in range(batch)]),
            "max_time": draw.array((batch,), low=3.0, high=4.0),
        }  # fmt: skip
