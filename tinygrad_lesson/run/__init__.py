"""Runners: loops over a plan. The NumPy runner is its meaning; the interpreter is the faster one."""

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.plan.plan import Plan
from tinygrad_lesson.run.numpy_ import NumpyRunner

CHOICE = "TINYGRAD_LESSON_RUNNER"  # environment variable that names a runner


def interpreted(plan: Plan, arrays: Any, generator: Any, **settings: Any) -> Any:
    """The interpreter's runner; numba is imported when it is first wanted."""
    from tinygrad_lesson.run.vm import VMRunner

    return VMRunner(plan, arrays, generator, **settings)


def compiled_update(update: Any) -> Callable[[float], None] | None:
    """A function of the rate that takes an optimizer's step in one pass; None where nothing is compiled."""
    if runner_name() != "vm":
        return None
    from tinygrad_lesson.run.vm import Update

    return Update(update)


RUNNERS: dict[str, Callable[..., Any]] = {"numpy": NumpyRunner, "vm": interpreted}


def runner(name: str | None) -> Callable[..., Any]:
    """The runner of that name; without one, what the environment says, else the fastest that is installed.

    Errors
        LessonError naming those that exist, or what to install.
    """
    name = runner_name(name)
    if name == "vm" and not has_numba():
        raise LessonError("the runner 'vm' needs numba: pip install 'tinygrad_lesson[fast]'")
    return RUNNERS[name]


def runner_name(name: str | None = None) -> str:
    """The name of the runner that `runner(name)` gives."""
    name = name or os.environ.get(CHOICE) or ("vm" if has_numba() else "numpy")
    if name not in RUNNERS:
        raise LessonError(f"there is no runner {name!r}; available: {', '.join(RUNNERS)}")
    return name


@functools.cache
def has_numba() -> bool:
    """Whether what the interpreter is compiled by is installed."""
    return importlib.util.find_spec("numba") is not None


def available_runners() -> list[str]:
    """The names of the runners that can be used here."""
    return [name for name in RUNNERS if name != "vm" or has_numba()]


__all__ = ["RUNNERS", "NumpyRunner", "available_runners", "compiled_update", "runner", "runner_name"]
