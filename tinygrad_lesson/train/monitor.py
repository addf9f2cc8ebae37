"""Statistics of gradients while a network trains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import module_of, on_host


class GradientMonitor:
    """Keeps mean |gradient| of every weight, per batch and per epoch.

    The gradients lie side by side in one buffer, so one `abs` and one `add.reduceat` serve all layers.

    Units
        Those of the loss per unit of the weight.
    """

    def __init__(self, gradients: np.ndarray, segments: Mapping[str, slice], only: str = "weight") -> None:
        """Watch the parts of `gradients` whose name contains `only`."""
        self.gradients = gradients
        self.there: Any = None  # starts, sizes and what is wanted, where the gradients lie
        self.starts = np.array([part.start for part in segments.values()], np.intp)
        self.sizes = np.array([part.stop - part.start for part in segments.values()], float)
        self.wanted = np.array([i for i, name in enumerate(segments) if only in name], np.intp)
        self.names = [name for name in segments if only in name]
        self.batches: list[Any] = []  # of the present epoch, (batches, weights) each
        self.per_batch: list[np.ndarray] = []  # of past epochs (batches, weights)
        self.epochs: list[np.ndarray] = []

    @cached_property
    def scratch(self) -> np.ndarray:
        """Memory like that of the gradients, made when the host looks at a batch."""
        return np.empty_like(self.gradients)

    def batch(self) -> None:
        """Note the gradients as they are now."""
        if len(self.starts):
            if self.there is None:
                asarray = module_of(self.gradients).asarray
                self.there = asarray(self.starts), asarray(self.sizes), asarray(self.wanted)
            starts, sizes, wanted = self.there
            np.abs(self.gradients, self.scratch)
            sums = np.add.reduceat(self.scratch, starts, dtype=float)
            self.batches.append((sums / sizes)[wanted][None])

    @cached_property
    def watched(self) -> np.ndarray:
        """Start and size of each part that is watched, (parts, 2), for a runner that notes them itself."""
        return np.stack([self.starts[self.wanted], self.sizes[self.wanted].astype(np.intp)], axis=1)

    def add_batches(self, magnitudes: np.ndarray) -> None:
        """Take what a runner has noted: a row per batch."""
        self.batches.append(magnitudes.astype(float))

    def epoch(self, count: int = 1) -> None:
        """End one epoch, or `count` of equal length: the mean over the batches of each."""
        if self.batches:
            batches = on_host(module_of(self.batches[0]).concatenate(self.batches))
            parts = batches.reshape(count, len(batches) // count, batches.shape[1])
            self.per_batch.extend(parts)
            self.epochs.extend(parts.mean(axis=1))
            self.batches = []

    @property
    def mean_abs_grad(self) -> dict[str, list[float]]:
        """For each weight, one number per epoch."""
        return {name: [float(row[i]) for row in self.epochs] for i, name in enumerate(self.names)}
