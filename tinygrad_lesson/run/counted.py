"""Draws of a counting generator in kernels: the number of the next one lies on the device, and goes on there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_lesson.philox import KEY_STEPS, MULTIPLIERS, ROUNDS
from tinygrad_lesson.plan.trace import DRAW
from tinygrad_lesson.run.cuda import Part, Row, UnsuitedError, substituted

DRAWN = "draws.add"  # the row that counts draws
EXPRESSIONS = {DRAW: "philox(at, size, x + z, y)", DRAWN: "x + y"}  # as of `cuda.OPERATIONS`
PHILOX = """
#ifndef PHILOX
#define PHILOX
__device__ float philox(long long i, long long size, long long draw, long long seed) {
  typedef unsigned long long word;
  const long long each = (size + 3) / 4;
  const word at = i % each, low = 0xFFFFFFFFull, first = seed & low, second = (word)seed >> 32;
  word a = at & low, b = at >> 32, c = draw, d = 0;
  for (word n = 0; n < ROUNDS; n++) {
    const word p = a * TIMES0, q = c * TIMES1;
    a = (q >> 32) ^ b ^ ((first + n * STEP0) & low); b = q & low;
    c = (p >> 32) ^ d ^ ((second + n * STEP1) & low); d = p & low;
  }
  const long long part = i / each;
  return (float)((part == 0 ? a : part == 1 ? b : part == 2 ? c : d) >> 8) * 5.9604644775390625e-8f;
}
#endif
"""  # element `i` of a draw of `size` numbers, as `Draws.unit` has it
PHILOX = substituted(
    PHILOX,
    {"ROUNDS": f"{ROUNDS}ull"}
    | {f"TIMES{i}": f"{int(n)}ull" for i, n in enumerate(MULTIPLIERS)}
    | {f"STEP{i}": f"{n}ull" for i, n in enumerate(KEY_STEPS)},
)


class Count:
    """The number of the next draw of a generator, and its seed, on a device.

    The generator on the host counts the same draws, without looking. Where the two differ, since others drew too or it
    was seeded anew, the words are sent before the next launch.
    """

    def __init__(self, xp: Any, generator: Any) -> None:
        self.xp, self.generator = xp, generator
        self.known = 0, 0

    @cached_property
    def words(self) -> Any:
        """Both, made when a kernel is written that reads them."""
        return self.xp.zeros(2, np.int64)

    @property
    def now(self) -> tuple[int, int]:
        """The number of the next draw and the seed, as the host knows them."""
        philox = self.generator.on(self.xp).philox
        low, high = philox.key
        return philox.number, low | high << 32

    def settle(self) -> None:
        """Send the words if others are there."""
        now = self.now
        if now != self.known:
            self.words.set(np.array(now, np.uint64).view(np.int64))
            self.known = now

    def took(self, draws: int, *, there: bool) -> None:
        """Let the host count what kernels have drawn; `there` says that they have counted it on the device."""
        self.generator.on(self.xp).philox.number += draws
        self.known = self.known[0] + draws * there, self.known[1]

    # As rows.

    def draw(self, out: Any, later: int) -> Row:
        """A draw: so many after the next one.

        Errors
            UnsuitedError for an array whose elements do not lie row by row.
        """
        if not out.flags.c_contiguous:
            raise UnsuitedError(DRAW)
        words = [Part(self.words[i:], (0,) * out.ndim) for i in range(2)]
        return Row(DRAW, tuple(out.shape), (), (Part(out, out.strides), *words, later), out.dtype)

    def drawn(self, draws: int) -> list[Row]:
        """What counts them."""
        place = Part(self.words, ())
        return [Row(DRAWN, (), (), (place, place, draws), self.words.dtype)] if draws else []

    def draws_of(self, rows: Sequence[Any]) -> int:
        """How many of its draws rows make."""
        mine = [x for x in rows if isinstance(x, Row) and x.name == DRAWN]
        return sum(row.operands[2] for row in mine if row.operands[0].array is self.words)
