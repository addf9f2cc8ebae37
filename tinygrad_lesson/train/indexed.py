"""The form in which MXNet asks an optimizer: parameter by parameter, each known by an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from tinygrad_lesson.engine.errors import OptimizerError
from tinygrad_lesson.mxnet.bound import in_place
from tinygrad_lesson.plan.update import PLANS
from tinygrad_lesson.train.multipliers import Multiplied

CHANGEABLE = ("wd", "rescale_grad", "clip_gradient")  # what is remembered does not hang on them
Kind = TypeVar("Kind", bound=type[Any])


@dataclass_transform(frozen_default=True, eq_default=False)
def settled(cls: Kind) -> Kind:
    """A class of optimizers whose fields are settings; the rate and some others can be changed by assignment."""
    made: Any = dataclasses.dataclass(frozen=True, eq=False)(cls)
    made.__setattr__ = Indexed.change
    return made  # type: ignore[no-any-return]


class Indexed(Multiplied):
    """An optimizer that counts the updates of each parameter; one of your own may be written so, without a rule."""

    opt_registry: ClassVar[dict[str, type[Any]]] = {}  # by name in small letters
    copy_last: ClassVar[bool] = False  # where a copy in single precision stands beside what is remembered
    begun: ClassVar[int] = 0  # how many updates there were before
    learning_rate: float
    wd: float
    multi_precision: bool
    scheduled: Callable[[Sequence[int]], list[float]]  # the rates of several steps
    first_state: Callable[..., Any]
    set_learning_rate: Callable[[float], None]
    step: Callable[..., None]

    def change(self, name: str, value: Any) -> None:
        """What ``optimizer.name = value`` does.

        Errors
            OptimizerError for a value out of its range, and for a setting that states are made from.
        """
        if name in ("lr", "learning_rate"):
            self.set_learning_rate(value)
            return
        if name in CHANGEABLE:
            dataclasses.replace(self, sym=None, lr_scheduler=None, **{name: value})  # type: ignore[type-var]  # refuses a wrong one
            object.__setattr__(self, "times_set", self.times_set + 1)
            PLANS.pop(self, None)  # which hold the old value
        elif any(setting.name == name for setting in dataclasses.fields(self)):  # type: ignore[arg-type]
            told = f"{type(self).__name__}: {name} is fixed when an optimizer is made; make another one"
            raise OptimizerError(f"{told}, or set one of learning_rate, {', '.join(CHANGEABLE)}")
        object.__setattr__(self, name, value)

    def create_state(self, index: Hashable, weight: Any) -> Any:
        """What `update` needs for parameter `index`, whose array is `weight`."""
        name = str(self.param_idx2name.get(index, index))
        return self.first_state(in_place(weight).reshape(-1), name)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Change `weight`, an array of any shape, and `state` in place; or those of several parameters, in lists."""
        if isinstance(index, list | tuple):
            for one in zip(index, weight, grad, state, strict=True):
                self.update(*one)
            return
        self._update_count(index)
        grad, weight = in_place(grad), in_place(weight)
        if state.whole is not weight:
            state.whole, state.flat = weight, weight.reshape(-1)
        number = self.counts[index]
        self.step(state.flat, grad.reshape(-1), state, number, *self.multipliers(index))
        if not weight.flags.c_contiguous:  # it may be a copy
            weight[...] = state.flat.reshape(weight.shape)
            state.whole = None

    def name_parameters(self, names: Mapping[Hashable, str]) -> None:
        """Give names to the indices."""
        object.__setattr__(self, "param_idx2name", dict(names))

    def create_state_multi_precision(self, index: Hashable, weight: Any) -> Any:
        """As `create_state`; with `multi_precision` half precision weights get a copy in single, which comes first."""
        if self.multi_precision and weight.dtype == np.float16:
            single = in_place(weight).astype(np.float32)
            made = single, self.create_state(index, single)
            return made[::-1] if self.copy_last else made
        return self.create_state(index, weight)

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """As `update`; where there is a copy in single precision, that is changed first."""
        if isinstance(state, tuple) and self.multi_precision and weight.dtype == np.float16:
            single, own = state[::-1] if self.copy_last else state
            self.update(index, single, in_place(grad).astype(np.float32), own)
            in_place(weight)[...] = in_place(single)
        else:
            self.update(index, weight, grad, state)

    @staticmethod
    def register(klass: type[Any]) -> type[Any]:
        """Make an optimizer of one's own known by the name of its class."""
        Indexed.opt_registry[klass.__name__.lower()] = klass
        return klass

    @staticmethod
    def create_optimizer(name: str, **settings: Any) -> Any:
        """The optimizer of this name, in any case.

        Errors
            OptimizerError if there is none.
        """
        known = Indexed.opt_registry
        if name.lower() not in known:
            raise OptimizerError(f"unknown optimizer {name!r}; known: {', '.join(sorted(known))}")
        return known[name.lower()](**settings)

    @property
    def idx2name(self) -> Mapping[Hashable, str]:
        """`param_idx2name`, as MXNet calls it."""
        return self.param_idx2name

    @property
    def _index_update_count(self) -> dict[Hashable, int]:
        return self.counts

    @property
    def lr(self) -> float:
        """The rate, as MXNet calls it."""
        return self.learning_rate

    @property
    def counts(self) -> dict[Hashable, int]:
        """How often each parameter was changed by `update`."""
        counts: dict[Hashable, int] = self.__dict__.setdefault("_counts", {})
        return counts

    @property
    def num_update(self) -> int:
        """How often the parameter that was changed most often was changed."""
        return max(self.counts.values(), default=self.begun)

    def _update_count(self, index: Any) -> None:
        for one in index if isinstance(index, list | tuple) else [index]:
            self.counts[one] = self.counts.get(one, self.begun) + 1

    def _get_lr(self, index: Hashable) -> float:
        return self.scheduled((self.num_update,))[0] * self.multipliers(index)[0]

    def _get_wd(self, index: Hashable) -> float:
        return self.wd * self.multipliers(index)[1]
