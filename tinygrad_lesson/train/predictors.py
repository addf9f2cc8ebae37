"""Executors that answer: one for each shape of a batch, over the model's own parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import MODULES, read_only
from tinygrad_lesson.locks import lock
from tinygrad_lesson.mxnet.bound import assign_all, check_shape
from tinygrad_lesson.mxnet.executor import Executor

KEPT = 4  # executors: for whole batches, for the last one, for a single row; the tape's repack the weights


class Predictor(NamedTuple):
    """An executor, the values that it was made for, and where it has copies: (array, dict of the value, its name)."""

    executor: Executor
    values: list[Any]
    copies: list[tuple[np.ndarray, Mapping[str, Any], str]]
    sent: dict[str, np.ndarray]  # what a device was sent last, by name

    def refresh(self) -> None:
        """Copy what is to be copied; to a device only what has changed.

        Errors
            ShapeError for another shape, DTypeError for what is no number.
        """
        changed = [
            (own, given[name], name)
            for own, given, name in self.copies
            if self.has_changed(own, given[name], name)
        ]
        assign_all((own, value, f"predict: {name!r}") for own, value, name in changed)
        self.sent.update(
            {
                name: value.copy()
                for own, value, name in changed
                if own.__class__ in MODULES and isinstance(value, np.ndarray)
            }
        )

    def has_changed(self, own: Any, value: Any, name: str) -> bool:
        """Whether a device holds something else; the processor is sent all."""
        return (
            own.__class__ not in MODULES
            or name not in self.sent
            or not np.array_equal(self.sent[name], value)
        )


class Predictors:
    """Those that were used last, for a model that several threads may ask: whoever uses one holds the lock."""

    def __init__(self) -> None:
        self.lock = lock()
        self.known: OrderedDict[Any, Predictor] = OrderedDict()

    def __reduce__(self) -> Any:  # a copy of a model begins without
        return Predictors, ()

    def clear(self) -> None:
        """Forget all."""
        with self.lock:
            self.known.clear()

    def find(self, key: Any, arguments: Mapping[str, Any], states: Mapping[str, Any]) -> Executor | None:
        """The executor for a key, if there is one and it was made for these values; it has them as they are now."""
        found = self.known.get(key)
        try:  # what is identical is not compared, and different arrays of several numbers have no truth value
            if found is None or found.values != [*arguments.values(), *states.values()]:
                return None
        except ValueError:
            return None
        self.known.move_to_end(key)
        if found.copies:
            found.refresh()
        return found.executor

    def add(
        self, key: Any, executor: Executor, arguments: Mapping[str, Any], states: Mapping[str, Any]
    ) -> Executor:
        """Keep a new executor, which from now on works on the model's own arrays where they are as it needs them.

        Errors
            ShapeError for another shape, DTypeError for what is no number.
        """
        copies = []
        for given, own in ((arguments, executor.arguments), (states, executor.states)):
            for name, value in given.items():
                if name not in own or name in executor.pinned:  # which is held at a number of its own
                    continue
                check_shape(own[name], value, f"predict: {name!r}")
                alike = isinstance(value, np.ndarray) and isinstance(own[name], np.ndarray)
                fits = alike and value.dtype == own[name].dtype
                if fits and value.flags.c_contiguous and value.flags.aligned:
                    own[name] = read_only(value.view(np.ndarray))
                else:
                    copies.append((own[name], given, name))
        new = Predictor(executor, [*arguments.values(), *states.values()], copies, {})
        new.refresh()
        self.known[key] = new
        while len(self.known) > KEPT:
            self.known.popitem(last=False)
        return executor
