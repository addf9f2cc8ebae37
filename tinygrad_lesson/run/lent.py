"""Arrays that are handed out, and whose memory comes back when the last who knew it has let it go.

New memory costs more than most results take to compute: the system clears it page by page.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import aligned_zeros


class Lender:
    """Hands out arrays of one shape and type; what is in them is not defined."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        self.back: deque[Block] = deque(
            maxlen=1
        )  # one is enough where each result takes the place of the last

    def array(self) -> np.ndarray:
        """An array that nobody else has."""
        try:
            block = self.back.pop()
        except IndexError:
            block = aligned_zeros(math.prod(self.shape), self.dtype).reshape(self.shape).view(Block)
        block.back = self.back
        return block.view(Lent).view(np.ndarray)


class Block(np.ndarray):
    """Memory that knows where it goes when it comes back."""

    back: deque[Block]


class Lent(np.ndarray):
    """The root of all views of what was handed out: they keep it alive, so it goes after the last of them.

    The collector of cycles does not look through arrays, so it never takes this for garbage that a finalizer may yet
    save.
    """

    __slots__ = ()

    def __del__(self) -> None:
        if isinstance(self.base, Block):
            back = self.base.back
            del self.base.back  # no circle, which the collector would have to find
            back.append(self.base)
