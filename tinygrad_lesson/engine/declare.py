"""Declaring an op: the class becomes a frozen dataclass and enters the tables, unless its name is taken."""

from __future__ import annotations

import inspect
import re
import sys
from typing import TypeVar, dataclass_transform

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.namespace import NAMESPACES, Methods, as_method
from tinygrad_lesson.engine.op import FUNCTIONS, OPS, REPLACED, RESERVED, Op, declares

OpClass = TypeVar("OpClass", bound=type["Op"])


@dataclass_transform(frozen_default=True)
def op(cls: OpClass, function: str | None = None) -> OpClass:
    """Declare an op: the class becomes a frozen dataclass and enters the table `OPS`.

    Errors
        LessonError if the declaration lacks a docstring, `forward`, `vjp` or `shape`, or its name is taken.
    """
    if not cls.__dict__.get("__doc__") and sys.flags.optimize < 2:  # `python -OO` takes docstrings away
        raise LessonError(f"op {cls.__name__} has no docstring, which is its page in the reference")
    if inspect.get_annotations(cls):  # without attributes of its own a class inherits all that this makes
        declares(cls)
    cls.__repr__ = cls.label  # type: ignore[method-assign, assignment]
    cls.name = cls.__name__
    cls.function = function or cls.__dict__.get("function") or snake_case(cls.__name__)
    cls.family = cls.__module__.rpartition(".")[2]
    cls.learns = cls.parameters is not Op.parameters
    cls.asks = cls.learns or cls.compiled
    for need in ("forward", "vjp"):
        if not callable(getattr(cls, need, None)):
            raise LessonError(f"op {cls.name} declares no `{need}`")
    code = inspect.unwrap(
        cls.forward
    ).__code__  # which tells at once what `inspect.signature` takes its time for
    count, starred = code.co_argcount, bool(code.co_flags & inspect.CO_VARARGS)
    named = [*code.co_varnames[2:count], *code.co_varnames[count + code.co_kwonlyargcount :][:starred]]
    cls.inputs = tuple(name for name in named if name not in ("out", "generator"))
    cls.variadic = starred
    names = next(vars(base)["outputs"] for base in cls.__mro__ if "outputs" in vars(base))
    if names is Op.__dict__["outputs"] or isinstance(names, tuple):  # they do not depend on attributes
        cls.results = len(names if isinstance(names, tuple) else ("output",)) + len(cls.states)  # type: ignore[assignment, method-assign]
    enter(cls)
    return cls


def enter(cls: type[Op]) -> None:
    """Enter an op into the tables, in the place of an earlier declaration of the same class.

    Errors
        LessonError if something else has its name, or that of its function, or if it declares no shape rule.
    """
    if not cls.ours:
        OPS.filled()  # ours have their names first
    known, called = dict.get(OPS, cls.name), dict.get(FUNCTIONS, cls.function)
    if known is not None and not is_same(known, cls):
        raise LessonError(f"op {cls.name} is declared in {known.__module__} already; choose another name")
    if called is not None and not is_same(called, cls):
        raise LessonError(
            f"op {cls.name} would be called as `{cls.function}`, which is op {called.name} of {called.__module__}; "
            f"choose another name"
        )
    for name in () if cls.ours else (cls.name, cls.function):
        if name in RESERVED:
            raise LessonError(f"op {cls.name}: `{name}` is {RESERVED[name]} already; choose another name")
    if cls.shape is Op.shape:
        raise LessonError(
            f"op {cls.name} declares no shape rule: write `def shape(self, {', '.join(cls.inputs)})`, which returns "
            "the shape of the result; an op that treats each element alike derives from Elementwise, which has one"
        )
    if known is not None and FUNCTIONS.get(known.function) is known:
        del FUNCTIONS[known.function]  # it may have had another function
        REPLACED.append(cls.name)
    OPS[cls.name] = FUNCTIONS[cls.function] = cls
    if cls.method:
        setattr(Methods, cls.function, as_method(cls))
    for namespace in list(NAMESPACES):
        vars(namespace).pop(cls.function, None)


def is_same(known: type[Op], cls: type[Op]) -> bool:
    """Whether two classes are one declaration, made again as when a notebook's cell is run twice."""
    return (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)


def snake_case(name: str) -> str:
    """`FullyConnected` -> `fully_connected`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
