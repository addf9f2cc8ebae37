"""Optimizers: how weights follow their gradients, each a rule that is written once, in NumPy's words.

A rule is carried out as a plan (`plan/update.py`). Settings that states are made from are fixed when an optimizer is
made; the rate, the decay, and how a gradient is scaled and clipped can be changed later. The arithmetic is MXNet's,
operation by operation, so that float32 results are its bits.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.arrays import module_of, placed_at, zeros_at
from tinygrad_lesson.engine.errors import DTypeError, OptimizerError, ShapeError
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.plan.update import MOMENT, Given, Segments, names_of_numbers, update_plan
from tinygrad_lesson.random import default_generator
from tinygrad_lesson.run import NumpyRunner
from tinygrad_lesson.run import runner as find_runner
from tinygrad_lesson.train.indexed import Indexed, settled
from tinygrad_lesson.train.multipliers import Stated, check_factors, is_real
from tinygrad_lesson.train.rate import Rate, ScheduledError, Unasked
from tinygrad_lesson.train.schedule import LRScheduler

Array = npt.NDArray[Any]
NUMBER = (int, float, np.floating)

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
    "eps": ((lambda x: 0 <= x < math.inf), "0 or more"),
    "gamma1": _FRACTION,
    "gamma2": _FRACTION,
    "rho": _FRACTION,
    "wd_lh": ((lambda x: 0 <= x < math.inf), "0 or more"),
    "lamda1": ((lambda x: 0 <= x < math.inf), "0 or more"),
    "clip_weights": ((lambda x: x > 0), "a positive number or None"),
}


class State:
    """What an optimizer keeps for one array of weights. Only `moments` is worth saving."""

    def __init__(self, moments: tuple[Array, ...], weight: Array, name: str = "") -> None:
        self.moments = moments
        self.name = name
        self.grad: Array = np.empty(0, weight.dtype)  # a copy of the gradient, where `step` reads it
        self.arrays: tuple[Any, ...] = ()  # those that `step` works on: weights and multipliers
        self.whole: Any = None  # the weights that `update` was given last, and a view of them with one axis
        self.flat: Array = self.grad
        self.step: Callable[..., None] | None = None

    def asnumpy(self) -> Array:
        """The one moment, as a copy: what MXNet has as the state of plain momentum."""
        return np.array(self.moments[0])


@settled
class Optimizer(Indexed):
    """What all optimizers share: the rate, the decay of weights, and how a gradient is prepared.

    One of your own is a class with a `rule`, and `moments` if it remembers something.

    `wd` is the coefficient of weight decay: as in MXNet, it does not apply to parameters whose names end in
    neither ``_weight`` nor ``_gamma``. `lr_mult` and `wd_mult` multiply the rate and the decay of the
    parameters they name, or number; of others the variables of `sym` tell what they were made with
    (``Variable("w", lr_mult=0)``), as those of a model do when it is fitted. `lr_scheduler` tells the rate
    from the number of the update, counted from 1. `param_idx2name` gives names to the indices of
    `get_updater`. With `multi_precision` weights of half precision are kept in single too, in MXNet's form. There
    updates are counted from `begin_num_update`; `lazy_update`, of sparse gradients, says nothing here.

    Units
        `learning_rate` is in units of the weights per step; the others are pure numbers, but for
        `clip_gradient`, which is in units of the gradient times `rescale_grad`.
    Errors
        OptimizerError if a setting is out of its range.

    Example
        >>> class SignSGD(Optimizer):
        ...     def rule(self, F, given, *moments):
        ...         return given.weight - given.rate * F.sign(given.gradient)
        >>> weight, optimizer = np.ones(2), SignSGD(0.5)
        >>> optimizer.update(0, weight, np.array([3.0, -4.0]), optimizer.create_state(0, weight))
        >>> weight
        array([0.5, 1.5])
    """

    learning_rate: float = Rate(Unasked(0.01))  # type: ignore[assignment]
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
    begin_num_update: InitVar[int] = 0
    lazy_update: InitVar[bool] = True
    param_dict: InitVar[Any] = None

    def __init_subclass__(cls) -> None:
        """One that is written in MXNet's form sets what it likes on itself."""
        if "__init__" in vars(cls):
            cls.__setattr__ = object.__setattr__  # type: ignore[method-assign,assignment]

    def __post_init__(
        self, sym: Symbol | None, begin_num_update: int, lazy_update: bool, param_dict: Any
    ) -> None:
        """Refuse settings out of their range."""
        object.__setattr__(self, "begun", begin_num_update)
        if sym is not None:
            object.__setattr__(self, "stated", Stated.by(sym.nodes))
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
        self._state_factors()
        given = vars(self).get("_rate", type(self).learning_rate)
        if (
            self.tells_schedule
            and isinstance(self.lr_scheduler, LRScheduler)
            and not isinstance(given, Unasked)
        ):
            self.lr_scheduler.base_lr = given
        for part in fields(self):
            value = given if part.name == "learning_rate" else getattr(self, part.name)
            if part.name not in _RANGES or (value is None and part.default is None):
                continue
            fits, expected = _RANGES[part.name]
            if not is_real(value) or not fits(value):
                raise OptimizerError(f"{self._name}: {part.name} is {value!r:.80}, expected {expected}")

    def set_learning_rate(self, lr: float) -> None:
        """Go on with another rate.

        Errors
            OptimizerError if the rate is not positive, or a schedule tells it.
        """
        if self.lr_scheduler is not None:
            raise ScheduledError(f"{self._name}: learning_rate cannot be set, for lr_scheduler tells it")
        replace(self, learning_rate=lr, sym=None)  # refuses a wrong one
        object.__setattr__(self, "learning_rate", lr)

    # The rule, carried out.

    def first_state(self, weight: Array, name: str = "") -> State:
        """What `step` needs for `weight`, which has one axis and holds floats."""
        if weight.dtype not in (np.float16, np.float32, np.float64):
            raise DTypeError(f"{self._name}: weights are {weight.dtype}, expected float32 or another float")
        if weight.ndim != 1:
            raise ShapeError(f"{self._name}: weights are {weight.shape}, expected one axis")
        return State(self.first_moments(weight), weight, name)

    def step(
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
        rate, wd = self.rate(num_update), self.wd
        if isinstance(lr_mult, NUMBER):
            rate, lr_mult = rate * float(lr_mult), None
        if isinstance(wd_mult, NUMBER):
            wd, wd_mult = wd * float(wd_mult), None
        arrays = weight, lr_mult, wd_mult, self.times_set
        if state.step is None or not all(map(operator.is_, arrays, state.arrays)):
            state.grad, state.arrays = np.empty_like(weight), arrays
            names = (state.name,)
            state.step = bound(
                NumpyRunner, self, weight, state.grad, state.moments, lr_mult, wd_mult, names=names
            )
        module_of(weight).copyto(state.grad, grad, casting="same_kind")
        state.step(rate, wd, *self.numbers(num_update))

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """The new weights, then the new value of each of `moments`, in the words of a world `F` (`engine/world.py`).

        It is what an optimizer is: `F` has NumPy's functions, and what it is given knows arithmetic.
        """
        raise NotImplementedError

    by_name: ClassVar[bool] = False  # whether the rule asks for `given.names`
    tells_schedule: ClassVar[bool] = True  # whether a rate of its own becomes the schedule's `base_lr`

    def moments(self) -> int:
        """How many arrays like the weights the rule remembers from step to step; they are zero at first."""
        return 0

    def first_moments(self, weight: Array) -> tuple[Array, ...]:
        """What is remembered before the first step."""
        place = placed_at(weight)
        return tuple([zeros_at(place, weight.shape, weight.dtype) for _ in range(self.moments())])

    def numbers(self, num_update: int) -> tuple[float, ...]:
        """What else the rule is given in this step, as many numbers in every step: `given.numbers`."""
        return ()

    def rate(self, num_update: int) -> float:
        """The rate that the rule is given in this step, before multipliers; the first step is number 1."""
        return self.scheduled((num_update,))[0]

    def rates(self, numbers: Sequence[int]) -> list[float]:
        """`rate` for each of several steps."""
        return [self.rate(number) for number in numbers]

    def scheduled(self, numbers: Sequence[int]) -> list[float]:
        """What was given as the rate, or what the schedule says, for each of several steps."""
        if self.lr_scheduler is None:
            return [vars(self)["_rate"]] * len(numbers)
        found = [self.lr_scheduler(number) for number in numbers]
        for number, rate in zip(numbers, found, strict=True):
            if not is_real(rate) or not math.isfinite(rate):
                raise OptimizerError(
                    f"{self._name}: lr_scheduler gives {rate!r:.80} for update {number}, expected a finite number"
                )
        return found

    @property
    def _name(self) -> str:
        return type(self).__name__


@settled
class SGD(Optimizer):
    """Gradient descent: ``m = momentum * m - rate * (g + wd * w)``, then ``w = w + m``.

    The gradient ``g`` is rescaled, then clipped; the decay is added after that.

    Source
        MXNet 1.9, ``sgd_mom_update``; without momentum it gives the bits of ``sgd_update`` too.
    """

    copy_last: ClassVar[bool] = True
    momentum: float = 0.0
    rates = Optimizer.scheduled  # all in one go, for the rate of a step is the one that was given

    def moments(self) -> int:
        """One, if there is momentum."""
        return 1 if self.momentum else 0

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        return descended(F, self, given, self.momentum, *moments)


@settled
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

    learning_rate: float = Rate(0.001)  # type: ignore[assignment]
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def rate(self, num_update: int) -> float:
        """The rate with the corrections of both means."""
        return self.rates((num_update,))[0]

    def rates(self, numbers: Sequence[int]) -> list[float]:
        """Those of several steps, which in one go take less than half of the time."""
        root, beta1, beta2 = math.sqrt, self.beta1, self.beta2
        given = zip(numbers, self.scheduled(numbers), strict=True)
        return [rate * (root(1 - beta2**t) / (1 - beta1**t)) for t, rate in given]

    def moments(self) -> int:
        """The two means."""
        return 2

    def shares(self, real: Callable[[float], Any]) -> tuple[float, ...]:
        """`beta1`, what is left of 1, `beta2`, what is left of 1; `real` rounds to the type of the weights."""
        beta1, beta2 = real(self.beta1), real(self.beta2)
        return tuple(map(float, (beta1, real(1) - beta1, beta2, real(1) - beta2)))

    def rule(self, F: Any, given: Given, *moments: Any) -> Any:
        """As the class tells."""
        weight, grad, rate, decay, lr_mult, wd_mult, *_ = given
        beta1, rest1, beta2, rest2 = self.shares(F.dtype(weight).type)
        grad = grad * self.rescale_grad
        if self.wd:
            grad = grad + multiplied(weight * decay, wd_mult)
        if self.clip_gradient:
            grad = clipped(F, grad, self.clip_gradient)
        mean = moments[0] * beta1 + grad * rest1
        square = moments[1] * beta2 + grad * rest2 * grad
        down = multiplied(mean * rate, lr_mult) / (F.sqrt(square) + self.epsilon)
        return weight - down, mean, square


def descended(F: Any, optimizer: Any, given: Given, momentum: Any, *moments: Any) -> Any:
    """A step of gradient descent with the settings of `optimizer`, where there is momentum with this one."""
    weight, grad, rate, decay, lr_mult, wd_mult, *_ = given
    if optimizer.clip_gradient:
        down = clipped(F, grad * optimizer.rescale_grad, optimizer.clip_gradient) * rate
    else:
        down = grad * (rate * optimizer.rescale_grad)
    down = multiplied(down, lr_mult)
    decayed = multiplied(weight * (rate * decay), lr_mult, wd_mult) if optimizer.wd else None
    if not optimizer.momentum:
        return weight - (down if decayed is None else down + decayed)
    moment = moments[0] * momentum
    moment = (moment if decayed is None else moment - decayed) - down
    return weight + moment, moment


def multiplied(x: Any, *factors: Any) -> Any:
    """`x` times what there is of `factors`."""
    return functools.reduce(operator.mul, [f for f in factors if f is not None], x)


def clipped(F: Any, x: Any, bound: float) -> Any:
    """`x` brought into [-bound, bound]."""
    return F.maximum(F.minimum(x, bound), -bound)


def bound(
    runner: Callable[..., Any],
    optimizer: Optimizer,
    weight: Array,
    grad: Array,
    moments: tuple[Array, ...],
    lr_mult: Array | None,
    wd_mult: Array | None,
    segments: Segments = (),
    names: tuple[str, ...] = (),
) -> Callable[..., None]:
    """A function of the rate, the decay and the rule's own numbers that takes one step over these arrays, in place.

    It tells its `run`, and where the plan reads these `numbers`: one array, of which each of the `places` is one.
    """
    scaled = lr_mult is not None, wd_mult is not None
    plan = update_plan(optimizer, weight.size, weight.dtype, scaled, segments, names)
    place = placed_at(weight)
    if not place.on_host:
        runner = find_runner(None, place)
    names_there = names_of_numbers(optimizer)
    numbers = zeros_at(place, len(names_there), weight.dtype)
    places = [numbers[i : i + 1].reshape(()) for i in range(len(names_there))]
    arrays = {f"{MOMENT}{i}": moment for i, moment in enumerate(moments)}
    arrays |= {"weight": weight, "gradient": grad, **dict(zip(names_there, places, strict=True))}
    arrays |= {name: x for name, x in (("lr_mult", lr_mult), ("wd_mult", wd_mult)) if x is not None}
    run = runner(plan, arrays, default_generator())
    update = run.update

    def step(*now: float) -> None:
        for i, number in enumerate(now):
            numbers[i] = number
        update()

    step.run, step.numbers, step.places = run, numbers, places  # type: ignore[attr-defined]
    return step
