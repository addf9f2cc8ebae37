"""Multipliers of the rate and of the decay that parameters were made with: ``Variable("w", lr_mult=0)``."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

from tinygrad_lesson.engine.errors import OptimizerError, near
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.mxnet.bound import pinned
from tinygrad_lesson.mxnet.register import as_factor


class Stated(NamedTuple):
    """What the variables of a graph say of how they are trained."""

    lr_mult: Mapping[Hashable, float] = {}
    wd_mult: Mapping[Hashable, float] = {}
    held: frozenset[Hashable] = (
        frozenset()
    )  # at a number by an op, as by BatchNorm's `fix_gamma`: they never decay

    @classmethod
    def by(cls, nodes: Sequence[Node]) -> Stated:
        """What they were made with."""

        def stated(key: str) -> dict[Hashable, float]:
            texts = {n.name: n.label.attributes.get(f"__{key}__") for n in nodes if n.is_variable}
            told = {name: text for name, text in texts.items() if text is not None}
            return {name: as_factor(text, f"variable {name!r}: {key}") for name, text in told.items()}

        return cls(stated("lr_mult"), stated("wd_mult"), frozenset(pinned(nodes)))

    def under(self, other: Stated) -> Stated:
        """Both; where they differ, what `other` says."""
        return Stated(
            {**self.lr_mult, **other.lr_mult}, {**self.wd_mult, **other.wd_mult}, self.held | other.held
        )


def is_real(value: Any) -> bool:
    """Whether this is a real number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_factors(factors: Any, what: str) -> None:
    """Refuse multipliers that are no numbers by name.

    Errors
        OptimizerError naming the parameter.
    """
    if not isinstance(factors, Mapping):
        raise OptimizerError(f"{what} is {factors!r:.80}, expected numbers by name")
    for key, factor in factors.items():
        if not isinstance(factor, Real) or not math.isfinite(factor):
            raise OptimizerError(f"{what} of {key!r} is {factor!r}, expected a finite number")


def refuse_unknown(optimizer: Any, known: Collection[str]) -> None:
    """Refuse multipliers of what is no parameter: it would be trained as if they were not there.

    Errors
        OptimizerError naming the nearest parameter.
    """
    for what in ("lr_mult", "wd_mult"):
        unknown = [key for key in getattr(optimizer, what) if key not in known]
        if unknown:
            raise OptimizerError(
                f"fit: {what} of {unknown[0]!r}, which is no argument; {near(str(unknown[0]), sorted(known))}"
            )
