"""NumPy's names with derivatives: `import tinygrad_lesson.numpy as np` makes a script differentiable.

A function of NumPy that has a rule here gives a `Tensor` where it is given one; everything else is NumPy's own. Arrays
are NumPy's until a derivative is asked for: `tl.grad(f)(x)` gives `f` tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy

from tinygrad_lesson.eager.functions import TABLE, creation
from tinygrad_lesson.eager.functions.joins import joined
from tinygrad_lesson.eager.functions.table import holds_tensors


class Names:
    """The names of one of NumPy's modules, such as `np.linalg`."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        found = of_numpy(self.module, name)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return dir(self.module)


def of_numpy(module: Any, name: str) -> Any:
    """What a name of NumPy's stands for: its own, but for tensors ours."""
    own = getattr(module, name)
    ours = TABLE.get(f"{module.__name__.replace('numpy', 'np', 1)}.{name}")
    if ours is not None:
        return chosen(own, ours)
    return Names(own) if name in ("linalg", "fft") else own


def chosen(own: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is `ours` where a tensor is among what it is given, else NumPy's own."""

    @functools.wraps(own)
    def function(*inputs: Any, **named: Any) -> Any:
        if any(map(holds_tensors, inputs)) or any(map(holds_tensors, named.values())):
            return ours(*inputs, **named)
        return own(*inputs, **named)

    if isinstance(own, numpy.ufunc):  # whose methods ask tensors themselves
        vars(function).update(
            {name: getattr(own, name) for name in ("accumulate", "at", "outer", "reduce", "reduceat")}
        )
    return function


class Joined:
    """`np.r_` or `np.c_`: what stands in the brackets, joined along an axis."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        return joined(self.own, parts) if any(map(holds_tensors, parts)) else self.own[key]


NUMPY = Names(numpy)  # not this module's own names: `any` and `sum` are Python's here


def __getattr__(name: str) -> Any:
    return getattr(NUMPY, name)


def __dir__() -> list[str]:
    return dir(numpy)


array = chosen(numpy.array, creation.array)
asarray = chosen(numpy.asarray, creation.asarray)
full = chosen(numpy.full, creation.full)
r_, c_ = Joined(numpy.r_), Joined(numpy.c_)
