"""Random numbers that are a function of a seed and a count: the same on every device, computed where they are used."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
LOW, HALF_WORD = np.uint64(0xFFFFFFFF), np.uint64(32)
TURN = np.float32(2 * math.pi)


def philox(xp: Any, counter: Any, key: tuple[int, int]) -> list[Any]:
    """Four random words of 32 bits for each counter of four, in arrays of uint64.

    Source
        Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3": Philox4x32-10.
    """
    a, b, c, d = counter
    for i in range(ROUNDS):
        first, second = (
            np.uint64((k + i * step) & 0xFFFFFFFF) for k, step in zip(key, KEY_STEPS, strict=True)
        )
        p, q = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (q >> HALF_WORD) ^ b ^ first, q & LOW, (p >> HALF_WORD) ^ d ^ second, p & LOW
    return [a, b, c, d]


class Philox:
    """The generator of a seed. Each draw has a number of its own; each element of it a counter."""

    def __init__(self, seed: int, first: int = 0) -> None:
        """Begin at a draw, which `number` then counts."""
        self.key = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
        self.number = first

    def of(self, xp: Any) -> Draws:
        """Its numbers as arrays of `xp`."""
        return Draws(self, xp)


class Draws:
    """The numbers of a `Philox` as arrays of one module; float32."""

    on_device = True

    def __init__(self, philox: Philox, xp: Any) -> None:
        self.philox, self.xp = philox, xp

    def words(self, size: int) -> Any:
        """`size` random words of 32 bits, in uint64."""
        xp = self.xp
        quarter = xp.arange(-(-size // 4), dtype=np.uint64)
        zeros, draw = xp.zeros_like(quarter), np.uint64(self.philox.number)
        self.philox.number += 1
        counter = quarter & LOW, quarter >> HALF_WORD, zeros + draw, zeros
        return xp.concatenate(philox(xp, counter, self.philox.key))[:size]

    def unit(self, size: int) -> Any:
        """Numbers from 0 up to, but not including, 1: multiples of 2**-24."""
        return (self.words(size) >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: Any = ()) -> Any:
        """Numbers from `low` up to, but not including, `high`."""
        u = self.unit(math.prod(shape)).reshape(shape)
        return np.float32(low) + np.float32(high - low) * u

    def normal(self, loc: float = 0.0, scale: float = 1.0, shape: Any = ()) -> Any:
        """Numbers with mean `loc` and standard deviation `scale`.

        Source
            Box and Muller 1958.
        """
        xp, size = self.xp, math.prod(shape)
        u = self.unit(2 * size)
        z = xp.sqrt(np.float32(-2) * xp.log1p(-u[:size])) * xp.cos(TURN * u[size:])
        return np.float32(loc) + np.float32(scale) * z.reshape(shape)
