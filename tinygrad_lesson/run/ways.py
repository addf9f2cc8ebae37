"""How a runner carries out each step of a plan, to be read: by which pattern, by which calls, and why not otherwise."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import shown
from tinygrad_lesson.plan.fusion import Blockwise
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Trace
from tinygrad_lesson.run.calls import copied


def told(runner: Any) -> str:
    """A line for each step of a runner's plan."""
    lines = [f"runner {runner.name}"]
    for part in ("setup", "forward", "backward"):
        steps = getattr(runner.plan, part)
        lines += [f"{part}: {len(steps)} steps"] if steps else []
        for number, step in enumerate(steps):
            lines.append(f"{number:5}  {told_step(runner, step)}")
            if isinstance(step.op, Blockwise) and id(step) not in runner.ways:
                lines += [f"         {told_step(runner, member)}" for member in step.op.steps]
    return "\n".join(lines)


def told_step(runner: Any, step: Step) -> str:
    """What a step is, and how it is carried out."""
    way, reason = runner.ways.get(id(step)), runner.reasons.get(id(step))
    if isinstance(way, Trace):
        way = f"calls: {' '.join([call.name for call in way.calls if not call.view])}"
    elif isinstance(way, list):
        way = f"NumPy: {' '.join(map(name_of, way))}" if way else "a view"
    words = [shown(step.name) or "-", step.op.label(), way or "by blocks", f"({reason})" if reason else ""]
    return "  ".join(filter(None, words))


def name_of(call: partial[Any]) -> str:
    """The NumPy function that is called."""
    function = call.args[1] if call.func is copied else call.func
    ufunc, name = getattr(function, "__self__", None), str(getattr(function, "__name__", "a function"))
    return f"{ufunc.__name__}.{name}" if isinstance(ufunc, np.ufunc) else name
