"""What the command line finds to be checked: what a name stands for, and inputs for it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.gradients import gradients
from tinygrad_lesson.check.property import declared
from tinygrad_lesson.check.report import Report
from tinygrad_lesson.check.subject import name_of
from tinygrad_lesson.check.target import guarded, module_called
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.draw import Draw, completed
from tinygrad_lesson.engine.errors import LessonError, near
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Shape, show
from tinygrad_lesson.files import plain
from tinygrad_lesson.mxnet import Symbol
from tinygrad_lesson.mxnet.custom import Custom
from tinygrad_lesson.mxnet.operator import CustomOpProp, registered_as

LOW, HIGH = -2.0, 2.0  # numbers, unless others are asked for
SHAPE = (2, 3)  # of an input about which nothing is said
LARGEST = 10**7  # numbers in an input; a check takes many copies of it


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
    hint = "" if shapes else "; say others: --shape 3,4 --shape 4"
    given = f"inputs of shapes {', '.join(map(show, chosen))}"
    if not chosen:
        given, hint = "inputs that were guessed", "; declare `sample`, or say --shape 3,4 --shape 4"

    def run() -> Report:
        made = f() if isinstance(f, type) and chosen else f
        if isinstance(made, Op):
            inputs = draw.of_shapes(made, chosen, low, high)
        else:
            inputs = [draw.array(shape, low, high) for shape in chosen]
        return gradients(made, *inputs, order=order, seed=seed)

    return guarded(run, f"{name_of(f)} with {given}", hint)


def default_shapes(f: Any, bounded: bool = False) -> list[Shape]:
    """A shape for each input that must be given; an op class draws its own, unless its numbers are `bounded`.

    Errors
        LessonError for what is nothing to be checked.
    """
    if isinstance(f, type) and issubclass(f, Op):
        return completed(f(), SHAPE) if bounded else []
    if isinstance(f, Op):
        return completed(f, SHAPE)
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
