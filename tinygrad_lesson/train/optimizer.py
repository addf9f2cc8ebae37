"""Optimizers: how weights follow their gradients, over one flat array whatever the number of layers.

The settings are fixed when an optimizer is made, for its states are made from them; only the rate can
be changed later. The arithmetic is MXNet's, operation by operation, so that float32 results are its bits.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy import add, divide, maximum, minimum, multiply, sqrt, subtract

from tinygrad_lesson.engine.errors import DTypeError, OptimizerError, ShapeError
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.run import compiled_update
from tinygrad_lesson.train.multipliers import Stated, check_factors, is_real

Array = npt.NDArray[Any]

BLOCK = 65536  # elements; the arrays of one block stay in the L2 cache

_POSITIVE = (lambda x: 0 < x < math.inf), "a positive number"
_FRACTION = (lambda x: 0 <= x < 1), "a number in [0, 1)"
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "learning_rate": _POSITIVE,
    "wd": ((lambda x: 0 <= x < math.inf), "0 or more"),
    "rescale_grad": (math.isfinite, "a finite number"),
    "clip_gradient": ((lambda x: x > 0), "a positive number or None"),
    "momentum": _FRACTION,
    "beta1": _FRACTION,
    "beta2": _FRACTION,
    "epsilon": _POSITIVE,
}


class State(NamedTuple):
    """What an optimizer keeps for one array of weights. Only `moments` is worth saving.

    The numbers of a step are arrays of no axes: NumPy takes those faster than Python's numbers.
    """

    moments: tuple[Array, ...]
    scratch: Array
    rate: Array
    decay: Array
    constants: tuple[Array, ...]


class FusedUpdate(NamedTuple):
    """What a runner needs to take several steps of an optimizer by itself.

    `kind` is 1 for SGD and 2 for Adam; `constants` are what `_constants` gives; one of `rates` per step.
    """

    kind: int
    weight: Array
    grad: Array
    moments: tuple[Array, ...]
    constants: tuple[float, ...]
    rates: tuple[float, ...]


class Block(NamedTuple):
    """The part of all arrays that one pass works on; a multiplier of None is 1."""

    weight: Array
    grad: Array
    moments: tuple[Array, ...]
    scratch: Array
    lr_mult: Array | None
    wd_mult: Array | None


@dataclass(frozen=True, eq=False)
class Optimizer:
    """What all optimizers share: the rate, the decay of weights, and how a gradient is prepared.

    `wd` is the coefficient of weight decay: as in MXNet, it does not apply to parameters whose names end in
    neither ``_weight`` nor ``_gamma``. `lr_mult` and `wd_mult` multiply the rate and the decay of the
    parameters they name, or number; of others the variables of `sym` tell what they were made with
    (``Variable("w", lr_mult=0)``), as those of a model do when it is fitted. `lr_scheduler` tells the rate
    from the number of the update, counted from 1. `param_idx2name` gives names to the indices of
    `get_updater`. `multi_precision` is there for MXNet's sake: float32 and float64 weights need no second copy.

    Units
        `learning_rate` is in units of the weights per step; the others are pure numbers, but for
        `clip_gradient`, which is in units of the gradient times `rescale_grad`.
    Errors
        OptimizerError if a setting is out of its range.
    """

    learning_rate: float = 0.01
    _: KW_ONLY
    wd: float = 0.0
    rescale_grad: float = 1.0
    clip_gradient: float | None = None
    lr_scheduler: Callable[[int], float] | None = None
    lr_mult: Mapping[Hashable, float] = field(default_factory=dict)
    wd_mult: Mapping[Hashable, float] = field(default_factory=dict)
    param_idx2name: Mapping[Hashable, str] = field(default_factory=dict)
    multi_precision: bool = False
    sym: InitVar[Symbol | None] = None

    stated: ClassVar[Stated] = Stated()  # by `sym`
    times_set: ClassVar[int] = 0  # how often multipliers were set since it was made

    def __post_init__(self, sym: Symbol | None) -> None:
        """Refuse settings out of their range."""
        if sym is not None:
            object.__setattr__(self, "stated", Stated.by(sym))
        for setting in ("lr_mult", "wd_mult"):
            check_factors(getattr(self, setting), f"{self._name}: {setting}")
        if self.lr_scheduler is not None and not callable(self.lr_scheduler):
            raise OptimizerError(
                f"{self._name}: lr_scheduler is {self.lr_scheduler!r:.80}, expected a function of the update's number"
            )
        if not isinstance(self.param_idx2name, Mapping):
            raise OptimizerError(
                f"{self._name}: param_idx2name is {self.param_idx2name!r:.80}, expected names by index"
            )
        for part in fields(self):
            value = getattr(self, part.name)
            if part.name not in _RANGES or (value is None and part.default is None):
                continue
            fits, expected = _RANGES[part.name]
            if not is_real(value) or not fits(value):
                raise OptimizerError(f"{self._name}: {part.name} is {value!r:.80}, expected {expected}")

    def set_learning_rate(self, learning_rate: float) -> None:
        """Go on with another rate.

        Errors
            OptimizerError if the rate is not positive, or a schedule tells it.
        """
        if self.lr_scheduler is not None:
            raise OptimizerError(f"{self._name}: learning_rate cannot be set, for lr_scheduler tells it")
        replace(self, learning_rate=learning_rate, sym=None)  # refuses a wrong one
        object.__setattr__(self, "learning_rate", learning_rate)

    def set_lr_mult(self, args_lr_mult: Mapping[Hashable, float]) -> None:
        """Go on with other multipliers of the rate, by name or index; those of `sym` stay."""
        self._set_factors("lr_mult", args_lr_mult)

    def set_wd_mult(self, args_wd_mult: Mapping[Hashable, float]) -> None:
        """Go on with other multipliers of the decay, by name or index; those of `sym` stay."""
        self._set_factors("wd_mult", args_wd_mult)

    def _set_factors(self, setting: str, factors: Mapping[Hashable, float]) -> None:
        check_factors(factors, f"{self._name}: {setting}")
        object.__setattr__(self, setting, dict(factors))
        object.__setattr__(self, "times_set", self.times_set + 1)

    def multipliers(self, key: Hashable, stated: Stated | None = None) -> tuple[float, float]:
        """Those of the rate and of the decay, for a parameter's name, or for an index without one.

        `stated` is what the symbol says that is trained, in the place of `sym`.
        """
        name = self.param_idx2name.get(key, key)
        own = self.stated if stated is None else stated
        lr, wd = self.lr_mult, self.wd_mult
        rate = lr[key] if key in lr else lr[name] if name in lr else own.lr_mult.get(name, 1.0)
        if name in own.held:
            return rate, 0.0
        if key in wd or name in wd:
            return rate, wd[key if key in wd else name]
        decays = not isinstance(name, str) or name.endswith(("_weight", "_gamma"))
        return rate, own.wd_mult.get(name, float(decays))

    def create_state(self, weight: Array) -> State:
        """What `update` needs for `weight`, which has one axis and holds float32 or float64."""
        if weight.dtype not in (np.float32, np.float64):
            raise DTypeError(f"{self._name}: weights are {weight.dtype}, expected float32 or float64")
        if weight.ndim != 1:
            raise ShapeError(f"{self._name}: weights are {weight.shape}, expected one axis")

        def scalar(number: float) -> Array:
            return np.array(number, weight.dtype)

        return State(
            moments=tuple(np.zeros_like(weight) for _ in range(self._moments())),
            scratch=np.empty((2, min(weight.size, BLOCK)), weight.dtype),
            rate=scalar(0),
            decay=scalar(0),
            constants=tuple(scalar(number) for number in self._constants(weight.dtype.type)),
        )

    def update(
        self,
        weight: Array,
        grad: Array,
        state: State,
        num_update: int,
        lr_mult: float | Array | None = 1.0,
        wd_mult: float | Array | None = 1.0,
    ) -> None:
        """Change `weight` and `state` in place by step number `num_update`, the first being 1.

        A multiplier is one number, or an array with one for every weight; None is 1.
        """
        if grad.shape != weight.shape:
            raise ShapeError(f"{self._name}: gradients are {grad.shape}, weights {weight.shape}")
        rate, wd = self._rate(num_update), self.wd
        if isinstance(lr_mult, int | float):
            rate, lr_mult = rate * lr_mult, None
        if isinstance(wd_mult, int | float):
            wd, wd_mult = wd * wd_mult, None
        self._set(state, rate, wd)
        if weight.size <= BLOCK:
            self._step(Block(weight, grad, state.moments, state.scratch, lr_mult, wd_mult), state)
            return
        for start in range(0, weight.size, BLOCK):
            part = slice(start, start + BLOCK)
            block = Block(
                weight[part],
                grad[part],
                tuple(moment[part] for moment in state.moments),
                state.scratch[:, : weight.size - start],
                None if lr_mult is None else lr_mult[part],
                None if wd_mult is None else wd_mult[part],
            )
            self._step(block, state)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _rate(self, num_update: int) -> float:
        """The rate of this step, before multipliers."""
        if self.lr_scheduler is None:
            return self.learning_rate
        rate = self.lr_scheduler(num_update)
        if not is_real(rate) or not math.isfinite(rate):
            raise OptimizerError(
                f"{self._name}: lr_scheduler gives {rate!r:.80} for update {num_update}, expected a finite number"
            )
        return rate

    def _moments(self) -> int:
        """How many arrays a state remembers from step to step."""
        raise NotImplementedError

    @property
    def _is_plain(self) -> bool:
        """Whether the gradient is used as it is."""
        return not self.wd and not self.clip_gradient and self.rescale_grad == 1

    def _constants(self, real: Callable[[float], Any]) -> Sequence[float]:
        """The numbers that `_step` uses in every step; `real` rounds to the weights' type."""
        raise NotImplementedError

    def _set(self, state: State, rate: float, wd: float) -> None:
        """Write the numbers that `_step` uses in this step."""
        raise NotImplementedError

    def _step(self, block: Block, state: State) -> None:
        """Change one block in place."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class SGD(Optimizer):
    """Gradient descent: ``m = momentum * m - rate * (g + wd * w)``, then ``w = w + m``.

    The gradient ``g`` is rescaled, then clipped; the decay is added after that.

    Source
        MXNet 1.9, ``sgd_mom_update``; without momentum it gives the bits of ``sgd_update`` too.
    """

    momentum: float = 0.0

    def _moments(self) -> int:
        return 1 if self.momentum else 0

    def _constants(self, real: Callable[[float], Any]) -> Sequence[float]:
        return self.momentum, self.rescale_grad, self.clip_gradient or 0.0

    def _set(self, state: State, rate: float, wd: float) -> None:
        state.rate.fill(rate)
        if self.wd:
            multiply(state.rate, wd, state.decay)
        if self.rescale_grad != 1 and not self.clip_gradient:
            multiply(state.rate, self.rescale_grad, state.rate)

    def _step(self, block: Block, state: State) -> None:
        weight, grad, moments, (down, decay), lr_mult, wd_mult = block
        momentum, rescale, bound = state.constants
        if self.clip_gradient:
            multiply(grad, rescale, down)
            _clip(down, bound)
            multiply(down, state.rate, down)
        else:
            multiply(grad, state.rate, down)
        _scale(down, lr_mult)
        if self.wd:
            multiply(weight, state.decay, decay)
            _scale(decay, lr_mult)
            _scale(decay, wd_mult)
        if self.momentum:
            (moment,) = moments
            multiply(moment, momentum, moment)
            if self.wd:
                subtract(moment, decay, moment)
            subtract(moment, down, moment)
            add(weight, moment, weight)
        else:
            if self.wd:
                add(down, decay, down)
            subtract(weight, down, weight)


@dataclass(frozen=True, eq=False)
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    ``m = beta1 * m + (1 - beta1) * g``, ``v = beta2 * v + (1 - beta2) * g * g``,
    ``w = w - rate * m / (sqrt(v) + epsilon)``, where in step t
    ``rate = learning_rate * sqrt(1 - beta2**t) / (1 - beta1**t)``.
    The gradient ``g`` is rescaled, the decay is added, and the sum is clipped.

    Source
        Kingma and Ba 2015, end of section 2, as in MXNet 1.9: the bias corrections are part of the rate,
        so `epsilon` is added to the uncorrected root.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def _rate(self, num_update: int) -> float:
        correction = math.sqrt(1 - self.beta2**num_update) / (1 - self.beta1**num_update)
        return super()._rate(num_update) * correction

    def _moments(self) -> int:
        return 2

    def _constants(self, real: Callable[[float], Any]) -> Sequence[float]:
        beta1, beta2 = real(self.beta1), real(self.beta2)
        means = beta1, real(1) - beta1, beta2, real(1) - beta2
        return *means, self.epsilon, self.rescale_grad, self.clip_gradient or 0.0

    def _set(self, state: State, rate: float, wd: float) -> None:
        state.rate.fill(rate)
        state.decay.fill(wd)

    def _step(self, block: Block, state: State) -> None:
        weight, grad, (mean, square), (a, b), lr_mult, wd_mult = block
        beta1, rest1, beta2, rest2, epsilon, rescale, bound = state.constants
        if self.wd or self.clip_gradient or self.rescale_grad != 1:
            grad = multiply(grad, rescale, b)
            if self.wd:
                multiply(weight, state.decay, a)
                _scale(a, wd_mult)
                add(grad, a, grad)
            if self.clip_gradient:
                _clip(grad, bound)
        multiply(mean, beta1, mean)
        multiply(grad, rest1, a)
        add(mean, a, mean)
        multiply(square, beta2, square)
        multiply(grad, rest2, a)
        multiply(a, grad, a)
        add(square, a, square)
        sqrt(square, a)
        add(a, epsilon, a)
        multiply(mean, state.rate, b)
        _scale(b, lr_mult)
        divide(b, a, b)
        subtract(weight, b, weight)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "sgd": SGD}
KINDS = {SGD: 1, Adam: 2}  # those that runners know


def create(name: str, **settings: Any) -> Optimizer:
    """The optimizer of this name, in any case: ``create("adam", learning_rate=0.01)``.

    Errors
        OptimizerError if there is no such optimizer or no such setting, or a setting is out of its range.
    """
    if name.lower() not in OPTIMIZERS:
        raise OptimizerError(f"unknown optimizer {name!r}; known: {', '.join(sorted(OPTIMIZERS))}")
    cls = OPTIMIZERS[name.lower()]
    known = [*(setting.name for setting in fields(cls)), "sym"]
    for setting in settings:
        if setting not in known:
            raise OptimizerError(f"{cls.__name__}: unknown setting {setting!r}; known: {', '.join(known)}")
    return cls(**settings)


class Updater:
    """``updater(index, grad, weight)``: an optimizer with a state and a count for every parameter."""

    def __init__(self, optimizer: Optimizer) -> None:
        """Start without states; they are made when first needed."""
        self.optimizer = optimizer
        self.states: dict[Hashable, State] = {}
        self.counts: dict[Hashable, int] = {}

    def __call__(self, index: Hashable, grad: Array, weight: Array) -> None:
        """Change `weight`, an array of any shape, in place."""
        flat = weight.reshape(-1)
        if index not in self.states:
            self.states[index] = self.optimizer.create_state(flat)
        count = self.counts[index] = self.counts.get(index, 0) + 1
        multipliers = self.optimizer.multipliers(index)
        self.optimizer.update(flat, grad.reshape(-1), self.states[index], count, *multipliers)
        if not np.may_share_memory(flat, weight):
            weight[...] = flat.reshape(weight.shape)


def get_updater(optimizer: Optimizer) -> Updater:
    """The function that MXNet asks for at every parameter: ``updater(index, grad, weight)``."""
    return Updater(optimizer)


class FlatUpdater:
    """One optimizer over all parameters at once, which lie side by side in one array.

    `segments` tells which part of the array belongs to which name, `symbol` what the parameters were made with.
    `num_update` counts the steps.
    """

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
        self.state = optimizer.create_state(weight)
        self.num_update = 0
        self._stated = optimizer.stated if symbol is None else Stated.by(symbol).under(optimizer.stated)
        self._multiply()

    def _multiply(self) -> None:
        """Spread the optimizer's multipliers over the array."""
        optimizer = self.optimizer
        self._times_set = optimizer.times_set
        self._compiled: Any = None  # a function, or False; made at the first step
        multipliers = [optimizer.multipliers(name, self._stated) for name, _ in self.segments]
        parts = [part for _, part in self.segments]
        self._lr_mult = _spread([lr for lr, _ in multipliers], parts, self.weight)
        self._wd_mult = _spread([wd for _, wd in multipliers], parts, self.weight) if optimizer.wd else 1.0

    def get_state(self) -> dict[str, Array]:
        """Copies of what is remembered of each parameter: ``moment0:fc1_weight`` and so on."""
        return {
            f"moment{i}:{name}": np.array(moment[part])
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
            place[...] = arrays[name]
        self.num_update = num_update

    def take(self, steps: int) -> FusedUpdate | None:
        """Leave the next `steps` steps to a runner; None, and nothing taken, where only `step` will do."""
        if self.optimizer.times_set != self._times_set:
            self._multiply()
        numbers = range(self.num_update + 1, self.num_update + steps + 1)
        update = self._fused(numbers)
        self.num_update += steps if update else 0
        return update

    def _fused(self, numbers: Iterable[int]) -> FusedUpdate | None:
        """The steps with these numbers as data; None where the optimizer does more than the plain rule."""
        kind = KINDS.get(type(self.optimizer))
        optimizer, multiplier = self.optimizer, self._lr_mult
        if kind is None or not optimizer._is_plain or not isinstance(multiplier, int | float):
            return None
        if self.weight.dtype != np.float32 or not self.weight.flags.c_contiguous:
            return None
        rates = tuple(optimizer._rate(number) * multiplier for number in numbers)
        constants = tuple(float(c) for c in optimizer._constants(np.float32))
        moments = self.state.moments or (np.zeros_like(self.weight),)
        return FusedUpdate(kind, self.weight, self.grad, moments, constants, rates)

    def step(self) -> None:
        """Change the weights in place, by the gradients as they are now."""
        if self.optimizer.times_set != self._times_set:
            self._multiply()
        if self._compiled is None:
            update = self._fused(())
            self._compiled = (update and compiled_update(update)) or False
        number = self.num_update + 1
        if self._compiled:
            self._compiled(self.optimizer._rate(number) * self._lr_mult)
        else:
            self.optimizer.update(self.weight, self.grad, self.state, number, self._lr_mult, self._wd_mult)
        self.num_update = number


def _spread(values: Sequence[float], parts: Sequence[slice], weight: Array) -> float | Array:
    """One value per element of `weight`; a number if all parts have the same."""
    if len(set(values)) <= 1:
        return values[0] if values else 1.0
    spread = np.ones_like(weight)
    for value, part in zip(values, parts, strict=True):
        spread[part] = value
    return spread


def _scale(x: Array, factor: Array | None) -> None:
    """Multiply `x` in place, if there is a factor."""
    if factor is not None:
        multiply(x, factor, x)


def _clip(x: Array, bound: Array) -> None:
    """Bring `x` into [-bound, bound] in place."""
    minimum(x, bound, out=x)
    maximum(x, -bound, out=x)
