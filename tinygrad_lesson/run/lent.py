"""Arrays that are handed out, and whose memory comes back when the last who knew it has let it go.

New memory costs more than most results take to compute: the system clears it page by page.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import aligned_zeros


class Lender:
    """Hands out arrays of one shape and type; what is in them is not defined.

    It looks whether an array is still known when it is asked for another: were it told, by a finalizer, Ctrl-C could
    raise in there, where Python only prints what is raised.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        # Two are enough where each result takes the place of the one before the last.
        self.out: deque[tuple[weakref.ref[Lent], np.ndarray]] = deque(maxlen=2)

    def array(self) -> np.ndarray:
        """An array that nobody else has."""
        block = self.returned()
        if block is None:
            block = aligned_zeros(math.prod(self.shape), self.dtype).reshape(self.shape).view(Block)
        root = block.view(Lent)
        self.out.append((weakref.ref(root), block))
        return root.view(np.ndarray)

    def returned(self) -> np.ndarray | None:
        """Memory that was handed out and that nobody knows any more; None if there is none."""
        for _ in range(len(self.out)):
            try:  # threads may ask at once: what one has taken, no other sees
                known, block = self.out.popleft()
            except IndexError:
                break
            if known() is None:
                return block
            self.out.append((known, block))
        return None


class Block(np.ndarray):
    """Memory that is handed out. NumPy would leave out the root of a view if both were of the type of the view."""

    __slots__ = ()


class Lent(np.ndarray):
    """The root of all views of what was handed out: they keep it alive, so it goes after the last of them."""

    __slots__ = ()
