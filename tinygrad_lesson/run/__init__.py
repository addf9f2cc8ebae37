"""Runners: loops over a plan. The NumPy runner is its meaning; the tape is the faster one."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import threading
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.arrays import Context
from tinygrad_lesson.engine.errors import LessonError, near
from tinygrad_lesson.plan.plan import Plan
from tinygrad_lesson.run.numpy_ import NumpyRunner

CHOICE = "TINYGRAD_LESSON_RUNNER"  # environment variable that names a runner


@functools.cache
def compiled_parts() -> tuple[Any, ...]:
    """The tape's runner, single ops and their slopes; LLVM is imported when first wanted.

    That is done in a thread of its own, which Ctrl-C does not reach: a module imported by half fails ever after.
    """

    def load() -> tuple[Any, ...]:
        from tinygrad_lesson.run.single import carried_out, slope
        from tinygrad_lesson.run.vm import VMRunner

        return VMRunner, carried_out, slope

    def try_to_load() -> None:
        with contextlib.suppress(Exception):  # whoever asks will meet it again
            load()

    thread = threading.Thread(target=try_to_load)
    thread.start()
    thread.join()
    return load()


def carried_out(op: Any, inputs: Any) -> Any:
    """What an op makes of large arrays, in machine code; None where that does not run, or has no code for it."""
    return compiled_parts()[1](op, inputs) if runner_name() == "vm" else None


def slope(op: Any, *operands: Any, number: int = 0) -> Any:
    """The gradient by one of its inputs, likewise, of a cotangent, a result and the inputs."""
    return compiled_parts()[2](op, operands, number) if runner_name() == "vm" else None


def taped(plan: Plan, arrays: Any, generator: Any, **settings: Any) -> Any:
    """The runner of tapes; that of NumPy where machine code does not run."""
    made = compiled_parts()[0]
    return (made if made.works() else NumpyRunner)(plan, arrays, generator, **settings)


RUNNERS: dict[str, Callable[..., Any]] = {"numpy": NumpyRunner, "vm": taped}


def runner(name: str | None, place: Context = Context()) -> Callable[..., Any]:
    """The runner of that name; without one, what the environment says, else the fastest that is installed.

    On a GPU the one that fits the plan; calls, block and graph are its names.

    Errors
        LessonError naming those that exist, or what to install.
    """
    if not place.on_host:
        module = importlib.import_module("tinygrad_lesson.run.graph")
        kinds = [module.DeviceRunner, module.BlockRunner, module.GraphRunner]
        made = {kind.name: kind for kind in kinds}.get(name, module.fitting if name is None else None)
        if made is None:
            raise LessonError(f"the runner {name!r} works on the processor; leave it out on a GPU")
        return functools.partial(made, place=place)
    name = runner_name(name)
    if name == "vm" and not has_llvm():
        raise LessonError("the runner 'vm' needs llvmlite: pip install 'tinygrad_lesson[fast]'")
    return RUNNERS[name]


def runner_name(name: str | None = None) -> str:
    """The name of the runner that `runner(name)` gives."""
    given = os.environ.get(CHOICE) if name is None else name
    if name is None and not given:
        return "vm" if has_llvm() else "numpy"
    if not isinstance(given, str) or given not in RUNNERS:
        origin = f" ({CHOICE} says so)" if name is None else ""
        raise LessonError(f"there is no runner {given!r}{origin}; {near(str(given), RUNNERS)}")
    return given


def patterns() -> str:
    """What the runners installed here do otherwise than call by call: a line for each, with its name.

    ``Passes(patterns=False)`` switches all of it off; the numbers are the same then, up to rounding.
    """
    known = [NumpyRunner, *([compiled_parts()[0]] if has_llvm() else [])]
    return "\n".join(
        f"{runner.name:6} {name:16} {meaning}"
        for runner in known
        for name, meaning in runner.patterns.items()
    )


@functools.cache
def has_llvm() -> bool:
    """Whether what compiles kernels is installed."""
    return importlib.util.find_spec("llvmlite") is not None


def available_runners() -> list[str]:
    """The names of the runners that can be used here."""
    return [name for name in RUNNERS if name != "vm" or has_llvm()]


__all__ = [
    "RUNNERS",
    "NumpyRunner",
    "available_runners",
    "patterns",
    "runner",
    "runner_name",
]
