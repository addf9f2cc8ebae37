"""Multipliers of the rate and of the decay that parameters were made with: ``Variable("w", lr_mult=0)``."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, NamedTuple

from tinygrad_lesson.engine.errors import OptimizerError, near
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.mxnet.leaves import pinned
from tinygrad_lesson.mxnet.register import as_factor


class Stated(NamedTuple):
    """What the variables of a graph say of how they are trained."""

    lr_mult: Mapping[Hashable, float] = {}
    wd_mult: Mapping[Hashable, float] = {}
    held: frozenset[Hashable] = (
        frozenset()
    )  # at a number by an op, as by BatchNorm's `fix_gamma`: they do not decay in `fit`

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


class Multiplied:
    """An optimizer whose rate and decay are multiplied for some parameters, by their names or indices."""

    stated: ClassVar[Stated] = Stated()  # by `sym`
    times_set: ClassVar[int] = 0  # how often multipliers were set since it was made
    lr_mult: Mapping[Hashable, float]
    wd_mult: Mapping[Hashable, float]
    param_idx2name: Mapping[Hashable, str]

    def set_lr_mult(self, args_lr_mult: Mapping[Hashable, float]) -> None:
        """Go on with other multipliers of the rate, by name or index; those of `sym` stay."""
        self._set_factors("lr_mult", args_lr_mult)

    def set_wd_mult(self, args_wd_mult: Mapping[Hashable, float]) -> None:
        """Go on with other multipliers of the decay, by name or index; those of `sym` stay."""
        self._set_factors("wd_mult", args_wd_mult)

    def _set_factors(self, setting: str, factors: Mapping[Hashable, float]) -> None:
        check_factors(factors, f"{type(self).__name__}: {setting}")
        object.__setattr__(self, setting, dict(factors))
        self._state_factors()
        object.__setattr__(self, "times_set", self.times_set + 1)

    @staticmethod
    def decays(name: Any) -> bool:
        """Whether a parameter of this name has decay if nothing else is said, as in MXNet: a weight, not a bias."""
        return not isinstance(name, str) or name.endswith(("_weight", "_gamma"))

    def _state_factors(self) -> None:
        """Put what `sym` says of the named parameters beside what was set, as MXNet shows it."""
        own = self.stated
        fixed = (
            [name for name in self.param_idx2name.values() if not self.decays(name)]
            if self.param_idx2name
            else []
        )
        object.__setattr__(self, "lr_mult", {**own.lr_mult, **self.lr_mult})
        object.__setattr__(self, "wd_mult", {**dict.fromkeys(fixed, 0.0), **own.wd_mult, **self.wd_mult})

    def multipliers(self, key: Hashable, stated: Stated | None = None) -> tuple[float, float]:
        """Those of the rate and of the decay, for a parameter's name, or for an index without one.

        `stated` is what the symbol says that is trained, in the place of `sym`.
        """
        name = self.param_idx2name.get(key, key)
        own = self.stated if stated is None else stated
        lr, wd = self.lr_mult, self.wd_mult
        rate = lr[key] if key in lr else lr[name] if name in lr else own.lr_mult.get(name, 1.0)
        if key in wd or name in wd:
            return rate, wd[key if key in wd else name]
        return rate, own.wd_mult.get(name, float(self.decays(name)))

    def factors(self, names: Iterable[Hashable], nodes: Sequence[Node] = ()) -> list[tuple[float, float]]:
        """The multipliers of each parameter, of which `nodes` are the graph that is trained."""
        stated = Stated.by(nodes).under(self.stated)
        found = [(name, self.multipliers(name, stated)) for name in names]
        return [(rate, 0.0 if name in stated.held else decay) for name, (rate, decay) in found]
