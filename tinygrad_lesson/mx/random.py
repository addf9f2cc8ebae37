"""`mx.random`: numbers as MXNet draws them on the processor, bit for bit after the same `seed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, as_ndarray, cpu, require_device
from tinygrad_lesson.random import default_generator
from tinygrad_lesson.random import seed as reseed


def seed(seed_state: int, ctx: Any = "all") -> None:
    """Begin anew, on every device."""
    reseed(seed_state)


def uniform(
    low: float = 0.0,
    high: float = 1.0,
    shape: int | Sequence[int] = (1,),
    dtype: Any = np.float32,
    ctx: Context | None = None,
    out: Any = None,
) -> Any:
    """Numbers from `low` up to `high`, in a new array or in `out`, whose shape then counts."""
    require_device(ctx or cpu())
    return placed(default_generator().uniform(low, high, shape if out is None else out.shape, dtype), out)


def normal(
    loc: float = 0.0,
    scale: float = 1.0,
    shape: int | Sequence[int] = (1,),
    dtype: Any = np.float32,
    ctx: Context | None = None,
    out: Any = None,
) -> Any:
    """Numbers with mean `loc` and standard deviation `scale`, in a new array or in `out`, whose shape then counts."""
    require_device(ctx or cpu())
    return placed(default_generator().normal(loc, scale, shape if out is None else out.shape, dtype), out)


def placed(drawn: Any, out: Any) -> Any:
    """The numbers, in `out` if it is given."""
    if out is None:
        return as_ndarray(np.asarray(drawn))
    out[:] = drawn
    return out


__all__ = ["normal", "seed", "uniform"]
