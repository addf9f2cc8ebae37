"""A step of an optimizer as ops, so that `jit` has it in the plan of whatever calls ``opt.update``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tinygrad_lesson.eager.apply import TENSORS, apply
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.plan.update import MOMENT, Given, emitted, names_of_numbers
from tinygrad_lesson.train.rules import Optimizer


@declares
class StepNumbers(Op):
    """What a rule is given in the next step: the rate, the decay and its own numbers, a row for each parameter.

    They are functions of the count of steps that are written in Python, schedules of your own too, and the rate may be
    set between two steps. So they are computed anew in each.

    Shapes
        counts () -> (parameters, numbers)
    """

    name: ClassVar[str] = "StepNumbers"
    function: ClassVar[str] = "step_numbers"
    inputs: ClassVar[tuple[str, ...]] = ("counts",)
    variadic: ClassVar[bool] = True
    differentiable: ClassVar[bool] = False
    traceable: ClassVar[bool] = False
    fits: ClassVar[bool] = True
    rule: Any = attr(shown=False, doc="the optimizer")
    names: tuple[str, ...] = attr(shown=False, doc="of the parameters")
    type: Any = attr(doc="the element type of the parameters")

    def shape(self, *counts: Any) -> Any:
        """As the class tells."""
        return len(counts), len(names_of_numbers(self.rule))

    def dtype(self, *counts: Any) -> Any:
        """That of the parameters."""
        return self.type

    def forward(self, xp: Any, *counts: Any) -> Any:
        """As the class tells."""
        rule, rows = self.rule, []
        for count, (lr_mult, wd_mult) in zip(counts, rule.factors(self.names), strict=True):
            number = int(count) + 1
            rows.append((rule.rate(number) * lr_mult, rule.wd * wd_mult, *rule.numbers(number)))
        return xp.array(rows, self.type)

    def vjp(self, F: Any, g: Any, y: Any, *counts: Any) -> Any:
        """There is none."""
        return (None,) * len(counts)


def traced_step(rule: Optimizer, leaves: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The new weights, count and moments of each of the parameters `leaves`, which are of one type."""
    dtype, names = leaves[0].weight.dtype, tuple([leaf.name for leaf in leaves])
    rows = apply(StepNumbers(rule, names, dtype), [leaf.count for leaf in leaves])
    found = []
    for i, leaf in enumerate(leaves):
        rate, decay, *numbers = [rows[i, j] for j in range(rows.shape[1])]
        own = (leaf.name,) if rule.by_name else ()
        gradient = leaf.gradient.astype(dtype)
        given = Given(leaf.weight, gradient, rate, decay, numbers=tuple(numbers), names=own)
        moments = {f"{MOMENT}{k}": moment for k, moment in enumerate(leaf.moments)}
        updates: Any = emitted(TENSORS, rule, given, moments, "weight")
        new = [value.detach() for _, value, _ in updates]
        found.append((new[0], leaf.count + 1, *new[1:]))
    return found
