"""What a user names to be checked: a package of ops, or a function in a module."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tinygrad_lesson.check.gradients import gradients
from tinygrad_lesson.check.property import declared
from tinygrad_lesson.check.report import Report
from tinygrad_lesson.check.subject import name_of
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.engine.errors import LessonError, near
from tinygrad_lesson.engine.op import OPS, Op
from tinygrad_lesson.engine.shapes import Shape, show
from tinygrad_lesson.files import plain
from tinygrad_lesson.mxnet import Symbol
from tinygrad_lesson.mxnet.custom import Custom
from tinygrad_lesson.mxnet.operator import REGISTERED, CustomOpProp, registered_as

LOW, HIGH = -2.0, 2.0  # numbers, unless others are asked for
SHAPE = (2, 3)  # of an input about which nothing is said
LARGEST = 10**7  # numbers in an input; a check takes many copies of it
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


def named(target: str) -> Any:
    """What `module:name` stands for. LessonError where there is no such thing."""
    place, _, name = target.partition(":")
    found = module_called(place)
    for part in name.split("."):
        if not guarded(lambda: hasattr(found, part), f"cannot look up {target!r}"):  # noqa: B023
            known = [key for key in getattr(found, "__dict__", ()) if not key.startswith("_")]
            meant = near(part, known).replace("it takes", "it has")
            raise LessonError(f"{plain(place)} has no {part!r}; {meant}")
        found = getattr(found, part)
    return declared(found)


def check_at(
    f: Any, shapes: Sequence[Shape], order: int = 1, seed: int = 0, low: float = LOW, high: float = HIGH
) -> Report:
    """Check `f` at inputs of these shapes, or such as its declaration says, numbers from `low` to `high`.

    Errors
        LessonError where it cannot be run on such inputs.
    """
    if not low < high or not math.isfinite(high - low):
        expected = "--low must be below --high, both finite"
        raise LessonError(f"there are no numbers from {low:g} to {high:g}; {expected}")
    for shape in shapes:
        if math.prod(shape) > LARGEST:
            size = f"{math.prod(shape):.3g} numbers, expected {LARGEST} at most"
            raise LessonError(f"an input of shape {plain(show(shape), 80)} has {size}")
    if isinstance(f, type) and issubclass(f, CustomOpProp):
        f = Custom(registered_as(f))
    bounded = (low, high) != (LOW, HIGH)
    draw, chosen = Draw(seed), list(shapes) or default_shapes(f, bounded)
    inputs = [draw.array(shape, low, high) for shape in chosen]
    if isinstance(f, Custom):  # whole numbers may be indices
        types = [f.input_dtype(i, np.dtype(float)) for i in range(len(inputs))]
        inputs = [x if t.kind == "f" else np.zeros(x.shape, t) for x, t in zip(inputs, types, strict=True)]
    hint = "" if shapes else "; say others: --shape 3,4 --shape 4"
    given = f"inputs of shapes {', '.join(map(show, chosen))}"
    if not chosen:
        given, hint = "inputs that were guessed", "; declare `sample`, or say --shape 3,4 --shape 4"

    def run() -> Report:
        return gradients(f() if isinstance(f, type) and chosen else f, *inputs, order=order, seed=seed)

    return guarded(run, f"{name_of(f)} with {given}", hint)


def default_shapes(f: Any, bounded: bool = False) -> list[Shape]:
    """A shape for each input that must be given; an op class draws its own, unless its numbers are `bounded`.

    Errors
        LessonError for what is nothing to be checked.
    """
    if isinstance(f, type) and issubclass(f, Op):
        return complete(f()) if bounded else []
    if isinstance(f, Op):
        return complete(f)
    if isinstance(f, Symbol):
        return [SHAPE]
    if not callable(f) or isinstance(f, type):
        raise LessonError(f"{name_of(f)} is {type(f).__name__}, expected a function, an op or a Symbol")
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return [SHAPE]
    asked = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in asked if p.default is p.empty]
    more = [np.shape(p.default) for p in asked if isinstance(p.default, np.ndarray | Tensor)]
    return [SHAPE] * len(needed) + more


def complete(op: Op) -> list[Shape]:
    """Shapes for all inputs of an op that follow from that of the first, or are like it."""
    names = op.name_inputs(2 if op.variadic else len(op.input_names))
    found: Any = op.complete([SHAPE, *[None] * (len(names) - 1)], [None] * op.results)[0]
    return [shape or SHAPE for shape in found]
