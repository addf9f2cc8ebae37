"""What a training leaves behind: numbers per epoch, and what is needed to look into the network again."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.errors import DTypeError
from tinygrad_lesson.symbol.symbol import Symbol
from tinygrad_lesson.train.probe import Layer, probe

Arrays = dict[str, np.ndarray]


class Trained(NamedTuple):
    """A loss with its first and last parameters (states among them), and some batches it was trained on."""

    symbol: Symbol
    batches: list[Arrays]
    first: Arrays
    last: Arrays


@dataclasses.dataclass
class History:
    """What a training leaves behind, one entry per epoch.

    `trained` is there after a `fit`; `layers` looks into it when first asked.
    """

    loss: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)  # on the evaluation data, if any
    mean_abs_grad: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of training alone
    steps: int = 0
    optimizer: str = ""
    trained: Trained | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def steps_per_second(self) -> float:
        """Batches per second of training."""
        return self.steps / self.seconds if self.seconds else 0.0

    @cached_property
    def layers(self) -> dict[str, list[Layer]]:
        """What `probe` finds in each layer, with the ``first`` and with the ``last`` parameters."""
        if self.trained is None:
            return {"first": [], "last": []}
        symbol, batches, *settings = self.trained
        first, last = probe(symbol, settings, batches)
        return {"first": first, "last": last}

    def as_json(self) -> dict[str, Any]:
        """All of it but `trained`, as `History.read` takes it."""
        layers = {when: [layer.as_json() for layer in found] for when, found in self.layers.items()}
        return {
            "loss": self.loss,
            "mean_abs_grad": self.mean_abs_grad,
            "seconds": self.seconds,
            "steps_per_second": self.steps_per_second,
            "optimizer": self.optimizer,
            "layers": layers,
        }

    @classmethod
    def read(cls, told: Any) -> "History":
        """A history from one, from a model that has one, or from what a `history.json` holds.

        Errors
            DTypeError for anything else.
        """
        told = getattr(told, "history", told)
        if isinstance(told, cls):
            return told
        if not isinstance(told, Mapping) or not isinstance(told.get("mean_abs_grad"), Mapping):
            raise DTypeError(
                f"expected a History, a fitted FeedForward or what a history.json holds, not {told!r:.80}"
            )
        history = cls(list(told.get("loss", [])), mean_abs_grad=dict(told["mean_abs_grad"]))
        history.optimizer = str(told.get("optimizer", ""))
        history.seconds = float(told.get("seconds", 0.0))
        layers = told.get("layers", {})
        history.layers = {w: [Layer.read(one) for one in layers.get(w, [])] for w in ("first", "last")}
        return history
