"""An optimizer's rule in a plan: steps that bring parameters and what is remembered of them to their next values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import DTypeError, GraphError, OptimizerError
from tinygrad_lesson.engine.graph import Edge, Label, Node
from tinygrad_lesson.engine.shapes import Shape, show
from tinygrad_lesson.ops.index import freeze
from tinygrad_lesson.plan.passes import Builder, Passes
from tinygrad_lesson.plan.plan import Compiler, Plan, Task, Update

Segments = tuple[tuple[int, int], ...]
RATE, DECAY, MOMENT, NUMBER = (
    "rate",
    "decay",
    "moment",
    "number",
)  # what a plan calls the arrays that a rule reads


class Given(NamedTuple):
    """What a rule reads beside what it remembers.

    `rate` and `decay` are the numbers of this step, arrays without axes in the type of the weights. A multiplier of
    them is a number, or an array like the weights; None is 1. `segments` are the (start, stop) of each parameter where
    several lie side by side in one array; empty where the weights are those of one parameter. `numbers` are what the
    optimizer's method of this name gives for the step, arrays without axes; `names` those of the parameters, for a
    rule that is `by_name`.
    """

    weight: Any
    gradient: Any
    rate: Any
    decay: Any
    lr_mult: Any = None
    wd_mult: Any = None
    segments: Segments = ()
    numbers: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()

    def per_parameter(self, F: Any, function: Callable[..., Any], *arrays: Any) -> Any:
        """What `function` gives for the parts of `arrays` that are one parameter's: a number, repeated over that part.

        ``given.per_parameter(F, lambda w: F.sum(w * w), given.weight)`` is a square of a norm for each parameter.
        Where there are `names`, the function is told that of the parameter first. An array may be a number or None,
        as a multiplier may: it is handed on as it is.
        """
        told: list[tuple[str, ...]] = [(name,) for name in self.names] or [()] * max(1, len(self.segments))
        if not self.segments:
            return function(*told[0], *[part_of(F, x, None) for x in arrays])
        spread = []
        for (start, stop), name in zip(self.segments, told, strict=True):
            number = function(*name, *[part_of(F, x, slice(start, stop)) for x in arrays])
            spread.append(F.broadcast_to(number, shape=(stop - start,)))
        return F.concat(*spread, dim=0)


def part_of(F: Any, x: Any, part: slice | None) -> Any:
    """A part of an array, all of it in one axis if None; a number as it is."""
    if x is None or isinstance(x, int | float) or F.shape(x) == ():
        return x
    return F.reshape(x, shape=(-1,)) if part is None else F.slice(x, key=freeze(part))


def emitted(F: Any, optimizer: Any, given: Given, moments: Mapping[str, Any], name: str) -> list[Update]:
    """The updates of the weights, called `name`, and of `moments`.

    Errors
        OptimizerError where the rule does not give a new value of the right shape for each.
    """
    new = optimizer.rule(F, given, *moments.values())
    new = new if isinstance(new, tuple) and not isinstance(new, Edge) else (new,)
    old = {name: given.weight, **moments}
    shapes = [F.shape(x) for x in new]
    if shapes != [F.shape(x) for x in old.values()]:
        told = ", ".join(show(F.shape(x)) for x in old.values())
        raise OptimizerError(
            f"{type(optimizer).__name__}: the rule gives {', '.join(map(show, shapes))}, expected {told}"
        )
    return [(of, edge, False) for of, edge in zip(old, new, strict=True)]


def names_of_numbers(optimizer: Any) -> list[str]:
    """What a plan calls the numbers that each step of this optimizer is given."""
    return [RATE, DECAY, *[f"{NUMBER}{i}" for i in range(len(optimizer.numbers(1)))]]


def leaf(F: Builder, name: str, shape: Shape, dtype: Any) -> Edge:
    """An array from outside."""
    return F.variable(Node(None, label=Label(name)), shape, dtype)


PLANS: weakref.WeakKeyDictionary[Any, dict[Any, Plan]] = weakref.WeakKeyDictionary()  # by optimizer


def update_plan(
    optimizer: Any,
    size: int,
    dtype: Any,
    scaled: tuple[bool, bool],
    segments: Segments = (),
    names: tuple[str, ...] = (),
) -> Plan:
    """A plan whose update part changes the arrays ``weight``, ``moment0``, ... by ``gradient`` and ``rate``.

    `scaled` says whether there are arrays ``lr_mult`` and ``wd_mult``. An optimizer has one for all arrays that are
    alike, and alike named if its rule is `by_name`.
    """
    names = names if optimizer.by_name else ()
    known, key = PLANS.setdefault(optimizer, {}), (size, dtype, scaled, segments, names)
    if key not in known:
        known[key] = compiled(optimizer, *key)
    return known[key]


def compiled(
    optimizer: Any,
    size: int,
    dtype: Any,
    scaled: tuple[bool, bool],
    segments: Segments = (),
    names: tuple[str, ...] = (),
) -> Plan:
    """As `update_plan`, anew."""
    F = Builder(Passes())
    lr_mult, wd_mult = (
        leaf(F, name, (size,), dtype) if there else None
        for name, there in zip(("lr_mult", "wd_mult"), scaled, strict=True)
    )
    weight, gradient = leaf(F, "weight", (size,), dtype), leaf(F, "gradient", (size,), dtype)
    rate, decay, *numbers = [leaf(F, name, (), dtype) for name in names_of_numbers(optimizer)]
    given = Given(weight, gradient, rate, decay, lr_mult, wd_mult, segments, tuple(numbers), names)
    moments = {f"{MOMENT}{i}": leaf(F, f"{MOMENT}{i}", (size,), dtype) for i in range(optimizer.moments())}
    updates = emitted(F, optimizer, given, moments, "weight")
    plan = Compiler(F, F.passes).compile(Task([], [], {}, updates))
    F.forget()
    return plan


def parameter_updates(
    F: Builder, optimizer: Any, gradients: Mapping[str, str], factors: Sequence[tuple[float, float]]
) -> list[Update]:
    """The updates of the leaves of `F` that `gradients` names, each with the name of its gradient.

    `factors` are the multipliers of each. What is remembered of ``fc1_weight`` is called ``moment0:fc1_weight``.

    Errors
        DTypeError for parameters of several types; GraphError where a leaf has a name that the rule takes.
    """
    leaves = {edge.node.name: edge for edge in F.shapes if edge.node.is_variable}
    dtypes = {F.dtype(leaves[name]) for name in gradients}
    if len(dtypes) > 1:
        raise DTypeError(
            f"plan: parameters of several types, {', '.join(sorted(map(str, dtypes)))}; expected one"
        )
    for name in names_of_numbers(optimizer):
        if name in leaves:
            raise GraphError(
                f"{name!r}: a plan with an optimizer calls an array so; give the argument another name"
            )
    (dtype,) = dtypes or {np.dtype(np.float32)}
    rate, decay, *numbers = [leaf(F, name, (), dtype) for name in names_of_numbers(optimizer)]
    updates: list[Update] = []
    for (name, gradient), own in zip(gradients.items(), factors, strict=True):
        weight = leaves[name]
        shape = F.shape(weight)
        moments = {
            f"{MOMENT}{i}:{name}": leaf(F, f"{MOMENT}{i}:{name}", shape, dtype)
            for i in range(optimizer.moments())
        }
        lr_mult, wd_mult = (None if factor == 1 else float(factor) for factor in own)
        names = (name,) if optimizer.by_name else ()
        given = Given(
            weight,
            leaf(F, gradient, shape, dtype),
            rate,
            decay,
            lr_mult,
            wd_mult,
            numbers=tuple(numbers),
            names=names,
        )
        updates += emitted(F, optimizer, given, moments, name)
    return updates
