"""Tensors with other elements at some places: `x.at[i].set(value)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import brought, known, numbers_of, tensor
from tinygrad_lesson.eager.tensor import Tensor


class At:
    """The places of a tensor: an index of any kind makes `Places` of them."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __getitem__(self, key: Any) -> Places:
        return Places(self.x, key)


class Places:
    """Some places of a tensor, by an index of any kind that NumPy knows. `x` stays as it is: the results are new."""

    def __init__(self, x: Tensor, key: Any) -> None:
        parts = key if isinstance(key, tuple) else (key,)
        plain = tuple(known(p) if isinstance(p, Tensor) else p for p in parts)
        self.x, self.key = x, key
        self.numbers = np.asarray(numbers_of(x)[plain])

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"x.at[i] has no {name!r}, but get, set, add and multiply; write x.at[i].set(f(x[i]))"
        )

    def get(self) -> Any:
        """The elements there: ``x[i]``."""
        return self.x[self.key]

    def flat(self, values: Any) -> Any:
        """A value for each place, in the type of `x`."""
        values = F.broadcast_to(tensor(brought(self.x, values)), shape=self.numbers.shape)
        values = F.cast(values, dtype=str(self.x.dtype))
        return F.reshape(values, shape=(-1,))

    def whole(self, values: Any, otherwise: float) -> Any:
        """An array of the shape of `x` with values there; of several at one place the last one counts."""
        last = np.zeros(self.x.size, int)
        there = np.zeros(self.x.size, bool)
        last[self.numbers.reshape(-1)] = np.arange(self.numbers.size)
        there[self.numbers.reshape(-1)] = True
        if not self.numbers.size:
            return np.full(self.x.shape, otherwise, self.x.dtype), there.reshape(self.x.shape)
        flat = F.take(self.flat(values), brought(self.x, last), axis=0)
        return F.reshape(flat, shape=self.x.shape), brought(self.x, there.reshape(self.x.shape))

    def set(self, values: Any) -> Any:
        """`x` with `values` there; of several at one place the last one counts, and has the gradient."""
        values, there = self.whole(values, 0.0)
        return F.where(there, values, self.x)

    def multiply(self, values: Any) -> Any:
        """`x` with the elements there multiplied, once each."""
        values, there = self.whole(values, 1.0)
        return F.where(there, self.x * values, self.x)

    def add(self, values: Any) -> Any:
        """`x` with `values` added there; several at one place all count."""
        if not self.numbers.size:
            return F.identity(self.x)
        numbers = brought(self.x, self.numbers.reshape(-1))
        flat = F.add_at(self.flat(values), numbers, shape=(self.x.size,))
        return self.x + F.reshape(flat, shape=self.x.shape)
