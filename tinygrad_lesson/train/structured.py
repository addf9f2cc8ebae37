"""First values that are no plain distribution, and initializers that choose by name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError, near
from tinygrad_lesson.mxnet.params import load_params
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.train.initializer import Array, Initializer, register


@register("orthogonal")
@dataclass(frozen=True, eq=False)
class Orthogonal(Initializer):
    """Rows, or columns if there are fewer, of length `scale` that are orthogonal to each other.

    They come from the singular vectors of a matrix of random numbers, ``"uniform"`` in [-1, 1) or ``"normal"``.

    Source
        Saxe et al. 2013, as in MXNet 1.9.
    """

    scale: float = 1.414
    rand_type: str = "uniform"

    def __post_init__(self) -> None:
        """Refuse another kind of random numbers."""
        super().__post_init__()
        if self.rand_type not in ("uniform", "normal"):
            self._refuse("rand_type", "uniform or normal")

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        flat = (shape[0], math.prod(shape[1:]))
        uniform = self.rand_type == "uniform"
        drawn = generator.uniform(-1.0, 1.0, flat) if uniform else generator.normal(0.0, 1.0, flat)
        left, _, right = np.linalg.svd(drawn, full_matrices=False)
        return self.scale * (left if left.shape == drawn.shape else right).reshape(shape)


@register("bilinear")
@dataclass(frozen=True, eq=False)
class Bilinear(Initializer):
    """Weights with which a deconvolution makes images larger by linear interpolation.

    Shapes
        (..., height, width): each filter is the same
    """

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        if len(shape) != 4:
            raise ShapeError(f"{name} (Bilinear): shape is {tuple(shape)}, expected four axes")
        half = math.ceil(shape[3] / 2)
        middle = (2 * half - 1 - half % 2) / (2 * half)
        y, x = (1 - np.abs(np.arange(n) / half - middle) for n in shape[2:])
        return np.broadcast_to(np.outer(y, x).astype(np.float32), shape)


@register("lstmbias")
@dataclass(frozen=True, eq=False)
class LSTMBias(Initializer):
    """Zeros, but `forget_bias` for the forget gates, which are the second quarter."""

    forget_bias: float = 1.0

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        found = np.zeros(shape, np.float32)
        found[shape[0] // 4 : shape[0] // 4 * 2] = self.forget_bias
        return found


class Load:
    """First values from arrays by name, or from a file of them; `default_init` serves the other names.

    ``arg:`` and ``aux:`` before a name in the file are left away.
    """

    def __init__(self, param: Any, default_init: Any = None, verbose: bool = False) -> None:
        named = load_params(param) if isinstance(param, str | os.PathLike) else param
        self.param = {re.sub("^(arg|aux):", "", name): array for name, array in named.items()}
        self.default_init, self.verbose = default_init, verbose

    def __call__(self, name: str, shape: Any, *more: Any, **named: Any) -> Any:
        """As `Initializer`, both ways.

        Errors
            ShapeError for an array of another shape; AttributeValueError for a name that is not there, without default.
        """
        filled = not isinstance(shape, Sequence)
        wanted = tuple(shape.shape if filled else shape)
        if name not in self.param:
            if self.default_init is None:
                known = near(name, self.param)
                raise AttributeValueError(f"Load: no array {str(name)!r} and no default_init; {known}")
            return self.default_init(name, shape, *more, **named)
        found = self.param[name]
        if tuple(found.shape) != wanted:
            raise ShapeError(f"Load: {name} is {tuple(found.shape)} where it was saved, expected {wanted}")
        if filled:
            shape[:] = found
            return None
        return np.array(found, named.get("dtype", np.float32))


class Mixed:
    """An initializer by name: the first of `patterns`, regular expressions, that fits the beginning of it."""

    def __init__(self, patterns: Sequence[str], initializers: Sequence[Any]) -> None:
        if len(patterns) != len(initializers):
            raise AttributeValueError(
                f"Mixed: {len(patterns)} patterns, but {len(initializers)} initializers"
            )
        self.map = [(re.compile(p), init) for p, init in zip(patterns, initializers, strict=True)]

    def __call__(self, name: str, shape: Any, *more: Any, **named: Any) -> Any:
        """As `Initializer`, both ways.

        Errors
            AttributeValueError for a name that no pattern fits.
        """
        for pattern, init in self.map:
            if pattern.match(name):
                return init(name, shape, *more, **named)
        raise AttributeValueError(
            f'Mixed: no pattern fits {str(name)!r}; add ".*" with an initializer at the end'
        )
