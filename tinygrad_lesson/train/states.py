"""What a training knows beside its parameters, so that it goes on from a file bit for bit.

A file of states is MXNet's `.params` format: named arrays, and JSON as an array of bytes. Functions, such as a
`lr_scheduler`, are in no file: they are given again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import BindError, FormatError, LessonError, ShapeError
from tinygrad_lesson.fields import COUNT, FLAG, NUMBER, PARTS, TEXT, Kind, field, is_whole, list_of
from tinygrad_lesson.files import parsed, plain
from tinygrad_lesson.mxnet.functions import load_json
from tinygrad_lesson.mxnet.params import file_of, load_states
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.train.optimizer import OPTIMIZERS, FlatUpdater, Optimizer, create

Arrays = dict[str, np.ndarray]

JSON = "json"
MODEL, ITERATOR = "generator:model", "generator:iterator"
ROWS = "iterator:"  # before what an iterator gives
MOMENT = "moment"
LEFT_OUT = "FeedForward.load(..., states=False) takes the parameters alone"
KEY = Kind("a name or an index", lambda value: isinstance(value, str) or is_whole(value))
PAIR = Kind("a pair", lambda v: isinstance(v, list) and len(v) == 2 and KEY.fits(v[0]))
WHOLE = Kind("a whole number", is_whole)
TEXT_OR_NONE = Kind("text or null", lambda value: value is None or isinstance(value, str))


class States(NamedTuple):
    """Where a training stands: arrays by name, and the rest as JSON has it; `where` they were read.

    The loss is a Symbol until it is written: that takes as long as some steps of a small network.
    """

    arrays: Arrays
    told: dict[str, Any]
    where: str = "the states"

    def to_arrays(self) -> Arrays:
        """All of it as arrays."""
        text = json.dumps(self.told, default=Symbol.tojson).encode()
        return {**self.arrays, JSON: np.frombuffer(text, np.uint8)}

    @classmethod
    def beside(
        cls, prefix: str, epoch: int, arg_params: Arrays, aux_params: Arrays, *, wanted: bool | None
    ) -> States | None:
        """Those saved with the parameters of a checkpoint; None if there are none, or they are not `wanted`."""
        path = file_of(prefix, epoch, "states")
        if wanted is False or (wanted is None and not os.path.exists(path)):
            return None
        arrays = load_states(prefix, epoch, arg_params, aux_params)
        if arrays is None and wanted:
            raise FormatError(f"{plain(path)} is a pickle, which is never read; leave out states=True")
        return None if arrays is None else cls.read(arrays, plain(path))

    @classmethod
    def read(cls, arrays: Arrays, where: str) -> States:
        """The states in a file, which `where` names.

        Errors
            FormatError naming the file and the key that is wrong.
        """
        text = arrays.get(JSON, np.zeros(0))
        if text.dtype != np.uint8 or text.ndim != 1 or not text.size:
            raise FormatError(
                f"{where}: there is no array 'json' of bytes: these are no states of a training"
            )
        try:
            told = parsed(text.tobytes().decode(), f"{where}: 'json'")
        except UnicodeDecodeError:
            raise FormatError(f"{where}: 'json' is no UTF-8") from None
        if not isinstance(told, dict):
            raise FormatError(f"{where}: 'json' holds no object")
        for key, kind in (
            ("optimizer", TEXT), ("settings", PARTS), ("averages", FLAG), ("num_update", COUNT),
            ("numpy_batch_size", COUNT), ("loss", TEXT_OR_NONE), ("seed", WHOLE), ("iterator", PARTS),
        ):  # fmt: skip
            field(told, key, kind, where)
        field({"draws": 0, **told}, "draws", COUNT, where)
        if told["numpy_batch_size"] < 1:
            raise FormatError(f"{where}: 'numpy_batch_size' is 0, expected 1 or more")
        found = cls({name: array for name, array in arrays.items() if name != JSON}, told, where)
        found.check()
        return found

    def check(self) -> None:
        """Refuse what a training could not go on with, whatever its network."""
        try:
            MXNetGenerator().set_state(self.told["seed"], self.arrays.get(MODEL, np.zeros(0)))
            if "seed" in self.told["iterator"]:
                seed = field(self.told["iterator"], "seed", WHOLE, self.where)
                MXNetGenerator().set_state(seed, self.arrays.get(ITERATOR, np.zeros(0)))
            if self.told["optimizer"].lower() in OPTIMIZERS:
                create(self.told["optimizer"], **self.settings())
        except FormatError:
            raise
        except LessonError as error:
            raise FormatError(f"{self.where}: {error}") from None

    def settings(self) -> dict[str, Any]:
        """The settings of the optimizer."""
        known = {part.name: part for part in fields(OPTIMIZERS[self.told["optimizer"].lower()])}
        found = {}
        for key, value in self.told["settings"].items():
            if key not in known:
                raise FormatError(f"{self.where}: {key!r} is no setting of {self.told['optimizer']}")
            optional = known[key].default is None
            found[key] = (
                None if optional and value is None else as_setting(value, known[key].default, key, self.where)
            )
        return found

    def settings_of_model(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords for a `FeedForward` that goes on, where those that are `given` do not say otherwise."""
        kind, optimizer = self.told["optimizer"], given.get("optimizer")
        found: dict[str, Any] = {"numpy_batch_size": self.told["numpy_batch_size"], "seed": self.told["seed"]}
        same = isinstance(optimizer, str) and optimizer.lower() == kind.lower()
        if kind.lower() in OPTIMIZERS and (optimizer is None or same):
            found |= {"optimizer": kind.lower(), **self.settings()}
            found.pop("begin_epoch", None)  # of LBSGD; the model has one of its own
            if self.told["averages"]:
                found.pop("rescale_grad", None)
        return found

    def loss(self) -> Symbol | None:
        """The symbol that was brought down; None where it was the one that gives the answers."""
        text = self.told["loss"]
        return None if text is None else load_json(text, f"{self.where}: 'loss'")


class Course:
    """A training under way: what `States` says at any time, and where it is taken up from.

    Once it is at `rest`, it holds no data any more.
    """

    def __init__(self, model: Any, updater: FlatUpdater, iterator: Any) -> None:
        self.updater, self.iterator, self.model = updater, iterator, model
        self.rested: States | None = None

    def take_up(self, states: States) -> None:
        """Go on where `states` were saved.

        Errors
            BindError where this is another training: another optimizer, other parameters, no schedule.
        """
        told, optimizer = states.told, self.updater.optimizer
        if type(optimizer).__name__.lower() != told["optimizer"].lower():
            raise BindError(
                f"fit: the states are those of {told['optimizer']}, the optimizer is {type(optimizer).__name__}; "
                f"give the same one to go on. {LEFT_OUT}"
            )
        if told.get("scheduled") and optimizer.lr_scheduler is None:
            raise BindError(
                "fit: the rate followed a lr_scheduler, a function, which is in no file; "
                f"give it again, FeedForward.load(..., lr_scheduler=...): it goes on at update "
                f"{told['num_update'] + 1}. {LEFT_OUT}"
            )
        arrays = states.arrays
        moments = {name: array for name, array in arrays.items() if name.startswith(MOMENT)}
        try:
            self.take_up_iterator(states)
            self.updater.set_state(moments, told["num_update"])
        except ShapeError as error:
            raise BindError(f"fit: {error}. {LEFT_OUT}") from None
        self.model.generator.set_state(told["seed"], arrays[MODEL])
        if told.get("draws"):
            self.model.generator.count_from(told["draws"])

    def take_up_iterator(self, states: States) -> None:
        """The order of rows, and what begins the next epoch."""
        told, iterator = states.told["iterator"], self.iterator
        if told.get("shared"):
            iterator.generator = self.model.generator
        elif "seed" in told:
            iterator.generator = MXNetGenerator()
            iterator.generator.set_state(told["seed"], states.arrays[ITERATOR])
        rows = {
            name.removeprefix(ROWS): array for name, array in states.arrays.items() if name.startswith(ROWS)
        }
        if rows and not hasattr(iterator, "set_state"):
            kind = type(iterator).__name__
            raise BindError(
                f"fit: the states tell how the rows go on, but {kind} has no set_state. {LEFT_OUT}"
            )
        if rows:
            iterator.set_state(rows)

    def states(self) -> States:
        """Where it stands now."""
        if self.rested is not None:
            return self.rested
        model, optimizer, iterator = self.model, self.updater.optimizer, self.iterator
        arrays = {**self.updater.get_state(), MODEL: model.generator.get_state()}
        order: dict[str, Any] = {}
        generator = getattr(iterator, "generator", None)
        if generator is model.generator:
            order["shared"] = True
        elif isinstance(generator, MXNetGenerator):
            order["seed"], arrays[ITERATOR] = generator.seed, generator.get_state()
        if hasattr(iterator, "get_state") and hasattr(iterator, "set_state"):
            arrays |= {f"{ROWS}{name}": np.asarray(array) for name, array in iterator.get_state().items()}
        told = {
            "optimizer": type(optimizer).__name__,
            "settings": told_settings(optimizer),
            "scheduled": optimizer.lr_scheduler is not None,
            "averages": model.averages,
            "num_update": self.updater.num_update,
            "numpy_batch_size": int(model.numpy_batch_size),
            "loss": None if model.symbol is model.prediction else model.symbol,
            "seed": model.generator.seed,
            "iterator": order,
        }
        if model.generator.draws_on_devices:
            told["draws"] = model.generator.draws_on_devices
        return States(arrays, told)

    def rest(self, parameters: Mapping[str, np.ndarray] | None) -> Course | None:
        """Keep where it stands and let go of the rest; None if the steps went on beyond `parameters`."""
        weight = self.updater.weight
        whole = parameters is not None and all(
            name in parameters and np.asarray(parameters[name]).tobytes() == weight[part].tobytes()
            for name, part in self.updater.segments
        )
        if not whole:
            return None
        self.rested = self.states()
        self.updater = self.iterator = self.model = None  # type: ignore[assignment]
        return self


def told_settings(optimizer: Optimizer) -> dict[str, Any]:
    """The settings of an optimizer, as JSON has them."""
    values = {part.name: getattr(optimizer, part.name) for part in fields(optimizer)}
    return {key: told_setting(value) for key, value in values.items() if key != "lr_scheduler"}


def told_setting(value: Any) -> Any:
    """A setting for JSON: a NumPy number by its type, for that counts when it is multiplied."""
    if isinstance(value, Mapping):
        return [[key, told_setting(number)] for key, number in value.items()]
    if isinstance(value, np.floating):
        return {value.dtype.name: float(value)}
    return value.item() if isinstance(value, np.generic) else value


def as_setting(told: Any, default: Any, key: str, where: str) -> Any:
    """A setting as it was; its kind is that of its `default`.

    Errors
        FormatError naming the key if it is of another kind.
    """
    if isinstance(default, bool):
        return field({key: told}, key, FLAG, where)
    if isinstance(default, str):
        return field({key: told}, key, TEXT, where)
    if default is MISSING:  # those by name have none that could be shared
        field({key: told}, key, list_of(PAIR), where)
        text = key == "param_idx2name"
        return {
            name: field({key: value}, key, TEXT, where) if text else as_setting(value, 1.0, key, where)
            for name, value in told
        }
    if isinstance(told, dict) and len(told) == 1 and told.keys() <= {"float16", "float32", "float64"}:
        ((name, value),) = told.items()
        with np.errstate(over="ignore"):
            return np.dtype(name).type(field({key: value}, key, NUMBER, where))
    return field({key: told}, key, NUMBER, where)
