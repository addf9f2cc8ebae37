"""Optimizers over any tree of parameters: arrays in lists, tuples, dicts and dataclasses; the rules of `rules.py`.

``opt = Adam(1e-3); state = opt.init(params); params, state = opt.update(params, grads, state)`` makes new parameters;
``opt = Adam(params, lr=1e-3)`` changes tensors in place by ``opt.step()``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import held, placed_at, zeros_at
from tinygrad_lesson.eager.differential import is_float, leaves
from tinygrad_lesson.eager.nested import mapped
from tinygrad_lesson.eager.recording import CUT, RECORDING
from tinygrad_lesson.eager.tensor import Tensor, operand, wrap
from tinygrad_lesson.engine.errors import DTypeError, GraphError, OptimizerError, ShapeError
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.locks import lock
from tinygrad_lesson.train.descent import Test
from tinygrad_lesson.train.optimizer import KINDS, OPTIMIZERS, FlatUpdater, create
from tinygrad_lesson.train.rules import NUMBER, Optimizer
from tinygrad_lesson.train.steps import Nesterov
from tinygrad_lesson.train.traced import traced_step

SPELLED = {
    "lr": ("learning_rate",),
    "weight_decay": ("wd",),
    "eps": ("epsilon",),
    "betas": ("beta1", "beta2"),
}

ELSEWHERE = {  # what PyTorch has: what to write
    "param_groups": "write opt.learning_rate = 0.01",
    "state_dict": "write pickle.dumps(opt.state), which is a tree of tensors",
    "load_state_dict": "write opt.state = pickle.loads(data)",
    "AdamW": "write Adam(params, lr), and `with tl.no_grad(): p *= 1 - lr * decay` before each step",
    "RMSprop": "write RMSProp(params, lr, gamma1=0.99), with MXNet's place for epsilon: inside the root",
    "Adagrad": "write AdaGrad(params, lr), with MXNet's place for epsilon: inside the root",
    "Adadelta": "write AdaDelta(params)",
    "NAdam": "write Nadam(params, lr)",
    "LBFGS": "write scipy.optimize.minimize(tl.value_and_grad(f), x, jac=True)",
    "lr_scheduler": "write opt.learning_rate = rate before each step, or lr_scheduler=tl.train.FactorScheduler(...)",
}


@dataclass
class State:
    """What is remembered from step to step: how often each parameter was changed, and more trees of tensors like it."""

    steps: Any
    moments: tuple[Any, ...] = field(default=())


class TreeOptimizer:
    """A rule, such as ``rules.Adam(0.01)`` or one of your own, over any tree of parameters.

    The rate and the decay are those of the rule; the decay is that of all parameters. A leaf that is no float, or whose
    gradient is None, stays as it is. With `parallel`, which is `tl.parallel.world()`, a step follows the mean of the
    gradients of all ranks; their first parameters must be the same.
    """

    def __init__(self, rule: Optimizer, parallel: Any = None) -> None:
        self.rule, self.parallel = rule, parallel
        self.flat: dict[
            Any, FlatUpdater
        ] = {}  # by which parameters are changed together, their shapes and type
        self.lock = lock()

    @property
    def learning_rate(self) -> float:
        """The rate of the next step; it may be set."""
        return self.rule.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.rule.set_learning_rate(rate)

    def init(self, params: Any) -> State:
        """What is remembered before the first step, zeros for most rules.

        Errors
            GraphError in `jit`.
        """
        if RECORDING.tracing:
            raise GraphError(
                "jit: opt.init is not traced; write state = opt.init(params) outside, and give it the state"
            )

        def moment(x: Any, i: int) -> Any:
            if not is_float(x):
                return None
            array = held(operand(x).array)
            return wrap(self.rule.first_moments(array.reshape(-1))[i].reshape(array.shape))

        moments = [mapped(partial(moment, i=i), params) for i in range(self.rule.moments())]
        return State(mapped(lambda x: counted(0), params), tuple(moments))

    def update(self, params: Any, grads: Any, state: State) -> tuple[Any, State]:
        """New parameters and what is remembered of them, after one step by `grads`, which are built like `params`.

        Errors
            DTypeError or ShapeError if gradients and parameters do not fit; GraphError where a derivative is taken.
        """
        flat: list[Leaf] = []

        def take(x: Any, g: Any, count: Any, *moments: Any) -> Any:
            if not is_float(x) or g is None:
                return x, count, *moments
            flat.append(Leaf(len(flat), operand(x), operand(g), count, moments))
            return flat[-1]

        found = mapped(take, params, grads, state.steps, *state.moments)
        groups: dict[Any, list[Leaf]] = {}
        for leaf in flat:
            groups.setdefault(leaf.key(), []).append(leaf)
        for group in groups.values():
            (self.traced if RECORDING.tracing else self.step)(group)
        parts = iter(leaves_of(found, params))
        each = [leaf.new if isinstance(leaf, Leaf) else leaf for leaf in parts]
        columns = [iter(column) for column in zip(*each, strict=True)] or [iter(())] * (
            2 + len(state.moments)
        )
        trees = [mapped(lambda x, column=column: next(column), params) for column in columns]
        return trees[0], State(trees[1], tuple(trees[2:]))

    def step(self, group: Sequence[Leaf]) -> None:
        """One step of parameters of one type that were changed equally often: side by side in one array."""
        where = placed_at(group[0].weight.array)
        key = tuple((leaf.place, leaf.weight.shape) for leaf in group), group[0].weight.dtype, where
        with self.lock:
            if key not in self.flat:
                sizes = [0, *np.cumsum([leaf.weight.size for leaf in group])]
                parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(sizes)]
                weight, grad = (zeros_at(where, parts[-1].stop, key[1]) for _ in range(2))
                named = list(zip([leaf.name for leaf in group], parts, strict=True))
                self.flat[key] = FlatUpdater(self.rule, weight, grad, named)
            updater = self.flat[key]
            updater.num_update = int(group[0].count)
            moments = updater.state.moments
            for leaf, (_, part) in zip(group, updater.segments, strict=True):
                for whole, x in zip((updater.weight, updater.grad, *moments), leaf.arrays(), strict=True):
                    whole[part] = x
            if self.parallel is not None:
                self.parallel.mean(updater.grad)
            updater.step()
            for leaf, (_, part) in zip(group, updater.segments, strict=True):
                leaf.take(updater.weight[part], [moment[part] for moment in moments])

    def traced(self, group: Sequence[Leaf]) -> None:
        """The same as ops, parameter by parameter."""
        if RECORDING.deriving and RECORDING.on:
            raise GraphError(f"opt.update(params, grads, state): {CUT}")
        if self.parallel is not None:
            raise GraphError(
                "jit: opt.update with `parallel` is not traced, for ranks meet in it; call it outside"
            )
        for leaf, new in zip(group, traced_step(self.rule, group), strict=True):
            leaf.new = new

    def over(self, params: Any) -> InPlace:
        """An object that changes these tensors in place by their `grad`: ``opt.step()``, ``opt.zero_grad()``."""
        return InPlace(self, params)

    def __repr__(self) -> str:
        return f"TreeOptimizer({self.rule!r})"


def counted(count: int) -> Tensor:
    """How often a parameter was changed: a tensor, so that `jit` traces it once, on the host, which reads it."""
    return wrap(np.array(count, np.int64))


class Leaf:
    """One parameter in a step; `new` is what comes of it."""

    def __init__(
        self, place: int, weight: Tensor, gradient: Tensor, count: Any, moments: Sequence[Any]
    ) -> None:
        self.place, self.weight, self.gradient, self.count = place, weight, gradient, operand(count)
        self.name = f"parameter{place}_weight"  # what ends so is decayed
        self.moments = [operand(m) for m in moments]
        self.new: tuple[Any, ...] = ()
        for x in (gradient, *self.moments):
            if x.shape != weight.shape:
                told = f"{show(x.shape)}, expected {show(weight.shape)} as the parameter"
                raise ShapeError(f"parameter {place}: its gradient is {told}")
        if not np.can_cast(gradient.dtype, weight.dtype, "same_kind"):
            raise DTypeError(f"parameter {place} is {weight.dtype}, its gradient {gradient.dtype}")

    def key(self) -> tuple[Any, ...]:
        """What parameters have in common that are changed together."""
        if RECORDING.tracing:
            return (self.weight.dtype,)
        return self.weight.dtype, placed_at(self.weight.array), int(self.count)

    def arrays(self) -> Iterator[Any]:
        """What the rule reads."""
        for x in (self.weight, self.gradient, *self.moments):
            yield held(x.seen("opt.update(params, grads, state)")).reshape(-1)

    def take(self, weight: Any, moments: Sequence[Any]) -> None:
        """Take copies of what the rule gave."""
        shape = self.weight.shape
        tensor = wrap(weight.reshape(shape).copy())
        tensor.requires_grad = self.weight.requires_grad
        self.new = (
            tensor,
            counted(int(self.count) + 1),
            *[wrap(m.reshape(shape).copy()) for m in moments],
        )


def leaves_of(found: Any, params: Any) -> list[Any]:
    """What stands in a tree in the places of the leaves of another."""
    listed: list[Any] = []
    mapped(lambda x, y: listed.append(y), params, found)
    return listed


class InPlace:
    """An optimizer that changes tensors in place, by the gradients that `backward` has put into their `grad`."""

    def __init__(self, optimizer: TreeOptimizer, params: Any) -> None:
        tree = list(params) if isinstance(params, Iterator) or hasattr(params, "mapping") else params
        self.optimizer = optimizer
        self.params = [x for x in leaves(tree) if isinstance(x, Tensor) and x.requires_grad]
        if not self.params:
            raise OptimizerError(
                "none of the parameters asks for a gradient: make them with requires_grad=True"
            )
        if any(x.node is not None and not x.node.is_variable for x in self.params):
            raise GraphError("only leaves are changed in place: a parameter here was computed from others")
        self.state = optimizer.init(self.params)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step; it may be set."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.optimizer.learning_rate = rate

    def __getattr__(self, name: str) -> Any:
        told = f"; {ELSEWHERE[name]}" if name in ELSEWHERE else ""
        raise AttributeError(f"{type(self).__name__} has no {name!r}{told}")

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        grads = [x.grad for x in self.params]
        new, self.state = self.optimizer.update(self.params, grads, self.state)
        for x, g, y in zip(self.params, grads, new, strict=True):
            if g is not None:
                x.value = y.array
                x.kept = x.array  # nobody else has it

    def zero_grad(self) -> None:
        """Forget all gradients, so that the next `backward` does not add to them."""
        for x in self.params:
            x.grad = None


def named(name: str) -> Callable[..., Any]:
    """The optimizer of this name, over trees."""

    def optimizer(*given: Any, **settings: Any) -> Any:
        params, rest = (given[0], given[1:]) if given and not isinstance(given[0], NUMBER) else (None, given)
        if len(rest) > 1:
            raise OptimizerError(f"{cls.__name__}: {len(rest)} settings by position, expected the rate alone")
        for spelled, ours in SPELLED.items():
            if spelled in settings:
                value = settings.pop(spelled)
                settings |= dict(zip(ours, value if len(ours) > 1 else (value,), strict=True))
        if rest:
            settings["learning_rate"] = rest[0]
        parallel = settings.pop("parallel", None)
        nesterov = name == "sgd" and settings.pop("nesterov", False)
        tree = TreeOptimizer(Nesterov(**settings) if nesterov else create(name, **settings), parallel)
        return tree if params is None else tree.over(params)

    cls = OPTIMIZERS[name]
    optimizer.__name__ = cls.__name__
    optimizer.__doc__ = (
        f"`rules.{cls.__name__}` over trees: ``{cls.__name__}(1e-3)``, or ``{cls.__name__}(params, lr=1e-3)``, which "
        f"changes tensors in place.\n\nPyTorch's `lr`, `betas`, `eps`, `weight_decay`, `nesterov` are understood too; "
        "`parallel=tl.parallel.world()` takes the mean of the gradients of all ranks."
    )
    return optimizer


OVER_TREES = {kind.__name__: named(kind.__name__.lower()) for kind in KINDS if kind is not Test}
globals().update(OVER_TREES)
__all__ = ["InPlace", "State", "TreeOptimizer", *OVER_TREES]
