"""Compiling a graph: passes, memory, plan."""

from tinygrad_lesson.plan.passes import Builder, Passes
from tinygrad_lesson.plan.plan import Compiler, Plan, Task
from tinygrad_lesson.plan.rematerialize import rematerialized
from tinygrad_lesson.plan.step import Buffer, Step

__all__ = ["Buffer", "Builder", "Compiler", "Passes", "Plan", "Step", "Task", "rematerialized"]
