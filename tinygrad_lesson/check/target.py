"""The modules that a user names to be checked, and the ops that they declare."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.op import OPS
from tinygrad_lesson.files import plain
from tinygrad_lesson.mxnet.operator import REGISTERED

T = TypeVar("T")


def module_called(name: str, folder: Path | None = None) -> Any:
    """The module of that name; what lies in `folder` is found first. LessonError where it cannot be imported."""
    place = str(folder or Path.cwd())
    if place not in sys.path:
        sys.path.insert(0, place)
    return guarded(lambda: importlib.import_module(name), f"cannot import {name!r}")


def guarded(call: Callable[[], T], what: str, hint: str = "") -> T:
    """What `call` gives; it runs code of the user's, which may end in any way, even by leaving the program.

    Errors
        LessonError that says how it ended, after `what` was done; but Ctrl-C stops the program.
    """
    try:
        return call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: `sys.exit(0)` must not look like a check that passed
        line = plain((str(error).splitlines() or [type(error).__name__])[0])
        raise LessonError(f"{what}: {type(error).__name__}: {line}{hint}") from None


def ops_of(package: str, folder: Path | None = None) -> list[Any]:
    """Every op that a module or package declares, in all its modules: with @op, or by its properties.

    Errors
        LessonError where it cannot be imported, or declares none.
    """
    module = module_called(package, folder)
    inner = pkgutil.walk_packages(getattr(module, "__path__", []), f"{package}.", onerror=lambda _: None)
    for found in inner:
        if not found.name.endswith(".__main__"):  # which is a program: to import it is to run it
            module_called(found.name, folder)

    def inside(cls: type) -> bool:
        return cls.__module__ == package or cls.__module__.startswith(f"{package}.")

    ops = [*filter(inside, OPS.values()), *filter(inside, dict.fromkeys(REGISTERED.values()))]
    if not ops:
        hint = "put @tinygrad_lesson.engine.op above a class of Op there"
        raise LessonError(f"{plain(package)} declares no op; {hint}")
    return ops
