"""Compiling a graph: passes, memory, plan."""

from __future__ import annotations

from tinygrad_lesson.plan.passes import Builder, Passes
from tinygrad_lesson.plan.plan import Compiler, Plan, Task
from tinygrad_lesson.plan.rematerialize import rematerialized
from tinygrad_lesson.plan.step import Buffer, Step
from tinygrad_lesson.plan.update import Given, parameter_updates, update_plan

__all__ = ["Buffer", "Builder", "Compiler", "Given", "Passes", "Plan", "Step", "Task",
           "parameter_updates", "rematerialized", "update_plan"]  # fmt: skip
