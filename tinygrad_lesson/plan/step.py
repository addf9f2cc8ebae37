"""What a plan consists of: steps over numbered buffers."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Shape


class Buffer(NamedTuple):
    """A numbered array: an argument, a target bound by the executor, a number, or a place in the arena."""

    shape: Shape
    dtype: np.dtype[Any]
    argument: str = ""  # the name of the variable that is bound here
    output: str = ""  # the name under which the executor binds or reads it
    value: float | None = None  # of a number
    offset: int | None = None  # in the arena, in bytes
    owner: int = -1  # the buffer that this is a view of, itself if it is none
    block: int = 0  # if not 0, but so many elements are there at a time

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Bytes of the elements that are there at a time."""
        return (self.block or self.size) * self.dtype.itemsize

    @property
    def placed(self) -> bool:
        """Whether it needs a place in the arena, or is a view of one that does."""
        return not self.argument and not self.output and self.value is None


class Step(NamedTuple):
    """Apply `op` to the buffers `sources`, leave the results in `targets`."""

    op: Op
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    name: str = ""


@functools.cache
def takes_out(cls: Any) -> bool:
    """Whether `forward` can write into a given array."""
    return "out" in inspect.signature(cls.forward).parameters
