"""Compiling a graph: passes, memory, plan."""

from tinygrad_lesson.plan.passes import Builder, Passes
from tinygrad_lesson.plan.plan import Buffer, Compiler, Plan, Step, Task

__all__ = ["Buffer", "Builder", "Compiler", "Passes", "Plan", "Step", "Task"]
