"""What a training leaves behind: numbers per epoch, and what is needed to look into the network again."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, FormatError
from tinygrad_lesson.fields import NUMBER, PARTS, TEXT, Kind, field, is_number, list_of
from tinygrad_lesson.files import parsed, plain, read_text
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train.probe import Layer, probe

Arrays = dict[str, np.ndarray]
LAYERS = Kind("a list of layers", lambda value: isinstance(value, list | tuple))
LOSS = Kind("a number or null", lambda value: value is None or is_number(value))
SIZE = Kind(
    "a number from 0 on, or null", lambda value: value is None or (is_number(value) and not value < 0)
)


class Trained(NamedTuple):
    """A loss with its first and last parameters (states among them), and some batches it was trained on.

    `kept` holds the parameters after some epochs between, counted from 1.
    """

    symbol: Symbol
    batches: list[Arrays]
    first: Arrays
    last: Arrays
    kept: Mapping[int, Arrays] = {}


class Updates(NamedTuple):
    """For each weight the ratio of what an epoch changes in it to its size, from epoch `since` to `until`."""

    ratios: dict[str, float]
    since: int
    until: int


@dataclasses.dataclass(repr=False)
class History:
    """What a training leaves behind, one entry per epoch.

    `trained` is there after a `fit`; `layers` looks into it when first asked.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.sym.FullyConnected(tl.sym.Variable("data"), num_hidden=2)
        >>> model = tl.FeedForward(tl.sym.SoftmaxOutput(x, name="softmax"), num_epoch=3)
        >>> len(model.fit([[0.0], [1.0]], [0, 1]).loss)
        3
    """

    loss: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)  # on the evaluation data, if any
    mean_abs_grad: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of training alone
    steps: int = 0
    optimizer: str = ""
    trained: Trained | None = dataclasses.field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        count = self.epochs
        told = [f"{count} epoch{'s' * (count != 1)}", f"{len(self.mean_abs_grad)} weights"]
        ends = [value for value in (*self.loss[:1], *self.loss[-1:]) if value is not None]
        told += [f"loss {ends[0]:.5g} to {ends[1]:.5g}"] if len(ends) == 2 else []
        return f"<History: {', '.join(told)}{', ' * bool(self.optimizer)}{self.optimizer}>"

    @property
    def steps_per_second(self) -> float:
        """Batches per second of training."""
        return self.steps / self.seconds if self.seconds else 0.0

    @cached_property
    def layers(self) -> dict[str, list[Layer]]:
        """What `probe` finds in each layer, with the ``first`` and with the ``last`` parameters."""
        if self.trained is None:
            return {"first": [], "last": []}
        symbol, batches, *ends, _ = self.trained
        first, last = probe(symbol, ends, batches)
        return {"first": first, "last": last}

    @property
    def epochs(self) -> int:
        """How many there were."""
        return max(map(len, self.mean_abs_grad.values()), default=len(self.loss))

    @property
    def parameters(self) -> dict[int, Arrays]:
        """The parameters that are known, by the number of epochs trained: 0, some between, and all."""
        if self.trained is None:
            return {}
        return {0: self.trained.first, **self.trained.kept, max(1, self.epochs): self.trained.last}

    def layers_after(self, epochs: Sequence[int]) -> list[list[Layer]]:
        """What `probe` finds in each layer with the parameters after each of these epochs, which are known."""
        if self.trained is None or not epochs:
            return [[] for _ in epochs]
        known = self.parameters
        return probe(self.trained.symbol, [known[epoch] for epoch in epochs], self.trained.batches)

    def updates(self, epoch: int = 1) -> Updates:
        """For each weight the ratio `mean |change by an epoch| / mean |weight before|`.

        `epoch` counts from 1, or from the last with -1. The change is that between the nearest parameters known
        before and after it, divided by the epochs between: exactly that of the epoch after `fit`
        for the first, and wherever `keep` holds the epoch and the one before.

        Errors
            AttributeValueError if there was no such epoch, or no parameters are known.
        """
        known, count = self.parameters, self.epochs
        if not known:
            raise AttributeValueError(
                "updates: this history knows no parameters; it has to come from a fit, not from a file"
            )
        at = epoch if epoch > 0 else count + 1 + epoch
        if not 1 <= at <= count:
            raise AttributeValueError(f"updates: epoch is {epoch}, but there were {count} epochs")
        before = max(n for n in known if n < at)
        after = min(n for n in known if n >= at)
        ratios = {}
        for name in self.mean_abs_grad:
            old, new = (known[n][name].astype(float) for n in (before, after))
            change, size = np.abs(new - old).mean() / (after - before), np.abs(old).mean()
            ratios[name] = float(change / size) if size else math.inf if change else 0.0
        return Updates(ratios, before + 1, after)

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
    def read(cls, told: Any) -> History:
        """A history from one, from a model that has one, from a `history.json` or from what it holds.

        Errors
            FormatError naming the file and the key that is wrong; DTypeError for anything else.
        """
        told = getattr(told, "history", told)
        if isinstance(told, cls):
            return told
        where = "the history"
        if isinstance(told, os.PathLike) or (isinstance(told, str) and os.path.lexists(told)):
            where = plain(os.fspath(told))
            told = parsed(read_text(told), where)
            if not isinstance(told, Mapping):
                raise FormatError(f"{where}: byte 0: this is no history, expected values by name")
        elif not isinstance(told, Mapping) or "mean_abs_grad" not in told:
            more = ", and there is no file of this name" if isinstance(told, str) else ""
            raise DTypeError(
                f"expected a History, a fitted FeedForward or what a history.json holds, not {told!r:.80}{more}"
            )
        history = cls(read_numbers(told, "loss", LOSS, where) if "loss" in told else [])
        gradients = field(told, "mean_abs_grad", PARTS, where)
        history.mean_abs_grad = {
            str(name): read_numbers(gradients, name, SIZE, f"{where}: 'mean_abs_grad'") for name in gradients
        }
        history.optimizer = field(told, "optimizer", TEXT, where) if "optimizer" in told else ""
        history.seconds = float(field(told, "seconds", NUMBER, where)) if "seconds" in told else 0.0
        layers = field(told, "layers", PARTS, where) if "layers" in told else {}
        history.layers = {
            when: [Layer.read(one, f"{where}: layer {i} in {when!r}") for i, one in enumerate(found)]
            for when in ("first", "last")
            for found in [field(layers, when, LAYERS, f"{where}: 'layers'") if when in layers else []]
        }
        return history


def read_numbers(told: Mapping[str, Any], key: str, kind: Kind, where: str) -> list[Any]:
    """The numbers, one for each epoch, that a history holds at `key`; None stands for what is none."""
    if isinstance(told[key], np.ndarray):
        told = {key: told[key].tolist()}
    return [None if value is None else float(value) for value in field(told, key, list_of(kind), where)]
