"""Optimizers by name, and updaters: one optimizer over the arrays of a training, however many layers there are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import assign, host_copy
from tinygrad_lesson.engine.errors import FormatError, OptimizerError, ShapeError
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.mxnet.params import packed_arrays, read_listed
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.run import runner
from tinygrad_lesson.train.adaptive import AdaDelta, AdaGrad, Adamax, Nadam
from tinygrad_lesson.train.descent import DCASGD, LARS, LBSGD, SGLD, Test
from tinygrad_lesson.train.rules import SGD, Adam, Array, Optimizer, State, bound
from tinygrad_lesson.train.steps import FTML, LAMB, NAG, Ftrl, RMSProp, Signum

KINDS: tuple[type[Optimizer], ...] = (
    AdaDelta, AdaGrad, Adam, Adamax, DCASGD, FTML, Ftrl, LAMB, LARS, LBSGD, NAG, Nadam, RMSProp, SGD, SGLD, Signum,
    Test,
)  # fmt: skip
OPTIMIZERS = Optimizer.opt_registry
OPTIMIZERS.update({kind.__name__.lower(): kind for kind in KINDS} | {"ccsgd": SGD})


BY_ELEMENT = SGD, Adam  # rules that need to know of an element nothing but itself


def create(name: str, **settings: Any) -> Optimizer:
    """The optimizer of this name, in any case: ``create("adam", learning_rate=0.01)``.

    Errors
        OptimizerError if there is no such optimizer or no such setting, or a setting is out of its range.
    """
    cls = OPTIMIZERS.get(name.lower(), Optimizer)
    known = [
        *(setting.name for setting in fields(cls)),
        "sym",
        "begin_num_update",
        "lazy_update",
        "param_dict",
    ]
    written = "__init__" in vars(cls) and "__dataclass_params__" not in vars(cls)  # by its user, who knows
    for setting in () if written or cls is Optimizer else settings:
        if setting not in known:
            raise OptimizerError(f"{cls.__name__}: unknown setting {setting!r}; known: {', '.join(known)}")
    return Optimizer.create_optimizer(name, **settings)  # type: ignore[no-any-return]


class Updater:
    """``updater(index, grad, weight)``: an optimizer with a state for every parameter."""

    def __init__(self, optimizer: Optimizer) -> None:
        """Start without states; they are made when first needed."""
        self.optimizer = optimizer
        self.states: dict[Hashable, Any] = {}

    def __call__(self, index: Any, grad: Any, weight: Any) -> None:
        """Change `weight`, an array of any shape, in place; or several, in lists."""
        if isinstance(index, list | tuple):
            for one in zip(index, grad, weight, strict=True):
                self(*one)
            return
        if index not in self.states:
            self.states[index] = self.optimizer.create_state_multi_precision(index, weight)
        self.optimizer.update_multi_precision(index, weight, grad, self.states[index])

    def get_states(self, dump_optimizer: bool = False) -> bytes:
        """What the optimizer remembers of each parameter, as the bytes of a file of arrays."""
        arrays = {}
        for index, state in self.states.items():
            arrays[f"count:{index}"] = np.array([self.optimizer.counts.get(index, 0)], np.int64)
            arrays.update({f"moment{i}:{index}": m for i, m in enumerate(state.moments)})
        return packed_arrays(arrays)

    def set_states(self, states: bytes) -> None:
        """Go on with what `get_states` gave.

        Errors
            FormatError for bytes that are something else, such as a pickle, which is not read.
        """
        names, arrays, _ = read_listed(states)
        found: dict[Hashable, dict[str, Array]] = {}
        for name, array in zip(names, arrays, strict=True):
            kind, _, index = name.partition(":")
            found.setdefault(int(index) if index.isdecimal() else index, {})[kind] = array
        for key, parts in found.items():
            moments = [parts[f"moment{i}"].reshape(-1) for i in range(len(parts) - 1)]
            if "count" not in parts or len(moments) != self.optimizer.moments():
                raise FormatError(f"the states of an optimizer: {len(moments)} moments for parameter {key!r}")
            self.optimizer.counts[key] = int(parts["count"][0])
            name = str(self.optimizer.param_idx2name.get(key, key))
            self.states[key] = State(tuple(moments), moments[0] if moments else np.empty(0, np.float32), name)


def get_updater(optimizer: Optimizer) -> Updater:
    """The function that MXNet asks for at every parameter: ``updater(index, grad, weight)``."""
    return Updater(optimizer)


class FlatUpdater:
    """One optimizer over all parameters at once, which lie side by side in one array.

    `segments` tells which part of the array belongs to which name, `symbol` what the parameters were made with.
    `num_update` counts the steps. A step changes the part `own` of all arrays.
    """

    own = slice(None)

    def __init__(
        self,
        optimizer: Optimizer,
        weight: Array,
        grad: Array,
        segments: Sequence[tuple[str, slice]],
        symbol: Symbol | None = None,
    ) -> None:
        """Make the state, and the multipliers of the rate and the decay."""
        self.optimizer = optimizer
        self.segments = list(segments)
        self.weight = weight
        self.grad = grad
        self.state = optimizer.first_state(weight)
        self.num_update = 0
        self._nodes = () if symbol is None else symbol.nodes
        self._multiply()

    def _multiply(self) -> None:
        """Spread the optimizer's multipliers over the array."""
        optimizer = self.optimizer
        self._times_set = optimizer.times_set
        self._step: Callable[..., None] | None = None  # made when first taken
        rates, decays = all_multipliers(optimizer, [name for name, _ in self.segments], self._nodes)
        parts = [part for _, part in self.segments]
        self._lr, self._lr_mult = _spread(rates, parts, self.weight)
        self._wd, self._wd_mult = _spread(decays, parts, self.weight)

    @property
    def parts(self) -> bool:
        """Whether a step of some elements needs to know nothing of the others."""
        return type(self.optimizer) in BY_ELEMENT and isinstance(self.weight, np.ndarray)

    def move(self, grad: Array, moments: Sequence[Array], own: slice) -> None:
        """Have gradient and moments in other memory, with what is there; from now on a step changes the part `own`."""
        self.grad, self.own, self._step = grad, own, None
        self.state = State(tuple(moments), self.weight)

    def get_state(self) -> dict[str, Array]:
        """Copies of what is remembered of each parameter: ``moment0:fc1_weight`` and so on."""
        return {
            f"moment{i}:{name}": host_copy(moment[part])
            for i, moment in enumerate(self.state.moments)
            for name, part in self.segments
        }

    def set_state(self, arrays: Mapping[str, Array], num_update: int) -> None:
        """Go on after update `num_update` with what `get_state` gave there.

        Errors
            ShapeError naming what does not fit these parameters; then nothing has changed.
        """
        places = {
            f"moment{i}:{name}": moment[part]
            for i, moment in enumerate(self.state.moments)
            for name, part in self.segments
        }
        for name in sorted(places.keys() ^ arrays.keys()):
            what = "is missing" if name in places else "belongs to none of these parameters"
            raise ShapeError(f"the states of the optimizer: {name!r} {what}")
        for name, place in places.items():
            if arrays[name].shape != place.shape or arrays[name].dtype != place.dtype:
                given = f"{arrays[name].shape} of {arrays[name].dtype}"
                raise ShapeError(
                    f"the states of the optimizer: {name!r} is {given}, expected {place.shape} of {place.dtype}"
                )
        for name, place in places.items():
            assign(place, arrays[name])
        self.num_update = num_update

    def _made(self) -> Callable[..., None]:
        """What takes a step of this rate and decay: the plan of the rule."""
        segments = tuple([(part.start, part.stop) for _, part in self.segments])
        weight, grad, *moments = self._parts(self.weight, self.grad, *self.state.moments)
        lr_mult, wd_mult = self._parts(self._lr_mult, self._wd_mult)
        names = tuple([name for name, _ in self.segments])
        arrays = weight, grad, tuple(moments), lr_mult, wd_mult
        return bound(runner(None), self.optimizer, *arrays, segments, names)

    def _parts(self, *arrays: Any) -> list[Any]:
        """What a step changes and reads of these; the arrays themselves where that is all."""
        whole = self.own == slice(None)
        return [x if whole or x is None else x[self.own] for x in arrays]

    def step(self) -> None:
        """Change the weights in place, by the gradients as they are now."""
        if self.optimizer.times_set != self._times_set:
            self._multiply()
        if self._step is None:
            self._step = self._made()
        number = self.num_update + 1
        optimizer = self.optimizer
        self._step(optimizer.rate(number) * self._lr, optimizer.wd * self._wd, *optimizer.numbers(number))
        self.num_update = number

    def made(self) -> Any:
        """What takes a step of given numbers, for a runner that takes many: see `rules.bound`."""
        if self.optimizer.times_set != self._times_set:
            self._multiply()
        self._step = self._step or self._made()
        return self._step

    def numbers(self, steps: int) -> Array:
        """The rate, the decay and the rule's own numbers of the next `steps` steps: (steps, numbers)."""
        optimizer, first = self.optimizer, self.num_update + 1
        found = np.empty((steps, len(self.made().places)), self.weight.dtype)
        found[:, 0] = [rate * self._lr for rate in optimizer.rates(range(first, first + steps))]
        found[:, 1] = optimizer.wd * self._wd
        for i, number in enumerate(range(first, first + steps)) if found.shape[1] > 2 else ():
            found[i, 2:] = optimizer.numbers(number)
        return found


def all_multipliers(
    optimizer: Optimizer, names: Sequence[str], nodes: Sequence[Node] = ()
) -> tuple[list[float], list[float]]:
    """Those that `optimizer` has of rate and decay for parameters with these `names`; 0 where nothing decays.

    `nodes` are those of the graph, whose variables may have multipliers of their own.
    """
    found = optimizer.factors(names, nodes)
    return [lr for lr, _ in found], [wd if optimizer.wd else 0.0 for _, wd in found]


def _spread(values: Sequence[float], parts: Sequence[slice], weight: Array) -> tuple[float, Array | None]:
    """One number for all parts if they have the same, else 1 and an array with that of each element of `weight`."""
    if len(set(values)) <= 1:
        return (values[0] if values else 1.0), None
    spread = np.ones_like(weight)
    for value, part in zip(values, parts, strict=True):
        spread[part] = value
    return 1.0, spread


__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "FlatUpdater",
    "Optimizer",
    "State",
    "Updater",
    "create",
    "get_updater",
]
