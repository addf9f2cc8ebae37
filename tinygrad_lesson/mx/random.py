"""`mx.random`: numbers as MXNet draws them on the processor; after `seed` uniform and normal ones bit for bit."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.mx.ndarray import random
from tinygrad_lesson.random import seed as reseed


def seed(seed_state: int, ctx: Any = "all") -> None:
    """Begin anew, on every device."""
    reseed(seed_state)


uniform, normal, randn, randint = random.uniform, random.normal, random.randn, random.randint
exponential, gamma, poisson = random.exponential, random.gamma, random.poisson
negative_binomial = random.negative_binomial
generalized_negative_binomial = random.generalized_negative_binomial
multinomial, shuffle = random.multinomial, random.shuffle

__all__ = [
    "exponential", "gamma", "generalized_negative_binomial", "multinomial", "negative_binomial", "normal", "poisson",
    "randint", "randn", "seed", "shuffle", "uniform",
]  # fmt: skip
