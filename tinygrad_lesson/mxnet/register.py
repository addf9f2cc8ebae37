"""An MXNet operator: a spelling of one of our ops, with MXNet's names for attributes and inputs."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from tinygrad_lesson.engine.errors import AttributeValueError, near, shown
from tinygrad_lesson.engine.namespace import hashable
from tinygrad_lesson.engine.op import FUNCTIONS, OPS, Op

DTYPE_CODES = (
    "float32",
    "float64",
    "float16",
    "uint8",
    "int32",
    "int8",
    "int64",
    "bool",
)  # by MXNet's number


class Operator(NamedTuple):
    """`build(**attributes)` gives the op; `inputs` are MXNet's names for its inputs, if they differ.

    `ignored` are attributes that its numbers do not hang on: how much memory MXNet may use, how it finds a kernel, on
    which device an array is made. Every other that `build` does not take is refused.
    """

    name: str
    build: Callable[..., Op]
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    ignored: frozenset[str] = frozenset()
    counted: int | Callable[[Mapping[str, str]], int] = (
        0  # outputs as MXNet counts them in its files, if others than here
    )
    order: str = ""  # the attributes as MXNet has them by position, if not as `build` has
    initial: Mapping[str, str] = MappingProxyType({})  # how inputs that are not given are first filled
    required: str = ""  # an attribute that must be given, although `build` has a default for it
    within: bool = False  # nodes of it are read and written; they are made by a function of `sym.contrib`

    def make(self, attributes: dict[str, Any], node: str = "", count: int | None = None) -> Op:
        """The op with these attributes, given as values or as MXNet's texts, for `count` inputs.

        Errors
            AttributeValueError for an unknown, missing or unreadable one.
        """
        takes = self.parameters
        values = {}
        where = f"{shown(node)} ({self.name})" if node else self.name
        for key, value in attributes.items():
            if key in takes:
                values[key] = parse(value, takes[key].annotation, f"{where}: {key}")
            elif self.takes_any and key not in self.ignored:
                values[key] = as_text(value)
            elif key not in self.ignored:
                raise AttributeValueError(f"{where}: unknown attribute {key[:80]!r}; {near(key[:80], takes)}")
        for key, parameter in takes.items():
            if parameter.default is parameter.empty and key not in values:
                kind = describe(parameter.annotation)
                raise AttributeValueError(f"{where}: attribute {key!r} is missing; expected {kind}")
        try:
            op = self.build(**values)
        except AttributeValueError as error:
            head, _, rest = str(error).partition(": ")
            raise AttributeValueError(f"{where}: {rest if head in OPS else error}") from None
        stated = attributes.get("num_args")
        if op.variadic and stated is not None and count and parse(stated, int, f"{where}: num_args") != count:
            raise AttributeValueError(f"{where}: num_args is {stated!s:.80}, but {count} inputs are given")
        return op

    def by_position(
        self, given: Sequence[Any], named: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Inputs and attributes of a call without names: MXNet counts the attributes on behind all inputs.

        Errors
            AttributeValueError for an attribute that is given twice, or one too many.
        """
        known: Any = self.inputs or getattr(self.build, "inputs", ())
        order = self.order.split() or list(self.parameters)
        if getattr(self.build, "variadic", False) or not (known or self.order) or not order:
            return tuple(given), {}
        values = given[len(known) :]
        if len(values) > len(order):
            told = f"{len(given)} inputs and attributes given, it takes {', '.join((*known, *order))}"
            raise AttributeValueError(f"{self.name}: {told}")
        attributes = dict(zip(order, values, strict=False))
        if twice := attributes.keys() & named.keys():
            raise AttributeValueError(f"{self.name}: {twice.pop()} is given twice")
        return tuple(given[: len(known)]), attributes

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The attributes that have an effect, by name."""
        found = named_parameters_of(self.build)
        if self.required:
            found = found | {self.required: found[self.required].replace(default=inspect.Parameter.empty)}
        return found

    def means_none(self, key: str) -> bool:
        """Whether None is a value of this attribute, which MXNet writes down; of `dtype` it is left out."""
        parameter = self.parameters.get(key)
        return (
            key != "dtype" and parameter is not None and type(None) in typing.get_args(parameter.annotation)
        )

    @property
    def takes_any(self) -> bool:
        """Whether it has attributes of any name, as `Custom` does."""
        return len(self.parameters) < len(parameters_of(self.build))

    def takes(self, key: str) -> bool:
        """Whether a file may have this key among the attributes of a node."""
        return key in self.parameters or key in self.ignored or self.takes_any or key.startswith("__")

    def input_names(self, op: Op, given: int) -> tuple[str, ...]:
        """Names of the inputs, as many as `op` has, or as were given where it takes any number."""
        if op.variadic:
            return tuple(f"arg{i}" for i in range(given))
        return (self.inputs or op.input_names)[: len(op.input_names)]

    def arranged(self, op: Op, given: Sequence[Any], back: bool = False) -> tuple[Any, ...]:
        """Inputs in the order of `op`, which may have other places for what it remembers; `back`: in MXNet's.

        Errors
            ShapeError for another number of them.
        """
        if not hasattr(op, "arranged"):
            return tuple(given)
        places = op.arranged(len(given))
        if not back:
            return tuple([given[i] for i in places])
        return tuple([x for _, x in sorted(zip(places, given, strict=True), key=lambda pair: pair[0])])

    def output_names(self, op: Op) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.outputs or op.outputs


@functools.cache
def parameters_of(build: Callable[..., Op]) -> dict[str, inspect.Parameter]:
    """What `build` takes: its parameters, or the fields of an op class."""
    if isinstance(build, type):
        fields = dataclasses.fields(build)
        hints = typing.get_type_hints(build)
        empty = inspect.Parameter.empty
        return {
            f.name: inspect.Parameter(
                f.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=hints[f.name],
                default=empty if f.default is dataclasses.MISSING else f.default,
            )
            for f in fields
        }
    return dict(inspect.signature(build, eval_str=True).parameters)


@functools.cache
def named_parameters_of(build: Callable[..., Op]) -> dict[str, inspect.Parameter]:
    """What `build` takes by name."""
    return {key: p for key, p in parameters_of(build).items() if p.kind is not p.VAR_KEYWORD}


def parse(value: Any, kind: Any, where: str) -> Any:
    """An attribute from MXNet's text for it; a value that is no text must be of the right kind too.

    Only literals are read: nothing is evaluated.

    Errors
        AttributeValueError if the text is not of this kind.
    """
    given = value
    if not isinstance(value, str):
        value = hashable(value)
    elif kind is not str:
        value = float(value) if kind is float and value in INFINITE else read_literal(value)
        value = value if fits(value, kind) or fits((value,), kind) else given
    if isinstance(value, int | float) and not fits(value, kind) and fits((value,), kind):
        value = (value,)  # of a shape with one axis MXNet takes the size
    if fits(value, kind):
        with contextlib.suppress(OverflowError):  # a whole number that is too large for a float
            return bool(value) if kind is bool else float(value) if kind is float else value
    if isinstance(value, int) and value.bit_length() > 1023:
        raise AttributeValueError(
            f"{where} is an integer of {value.bit_length()} bits, expected at most 1023"
        )
    shown = f"{given[:80]!r}" if isinstance(given, str) else f"{given!r:.80}"
    raise AttributeValueError(f"{where} is {shown}, expected {describe(kind)}")


def as_factor(text: str, what: str) -> float:
    """A multiplier from its text.

    Errors
        AttributeValueError for anything but a finite number.
    """
    number = parse(text, float, what)
    if not math.isfinite(number):
        raise AttributeValueError(f"{what} is {text!r}, expected a finite number")
    return float(number)


def as_text(value: Any) -> str:
    """An attribute as MXNet writes it."""
    try:
        return str(hashable(value))
    except ValueError:  # Python refuses to write so many digits
        raise AttributeValueError("a number among the attributes has too many digits") from None


def read_literal(text: str) -> Any:
    """The number, truth value, None or tuple that `text` is; else the text itself.

    Texts that Python 2 wrote, as in `(2L, 3L)`, are read too.
    """
    if len(text) > 1000:
        return text
    plain = {"true": "True", "false": "False"}.get(text) or re.sub(r"(?<=\d)L\b", "", text)
    try:
        return hashable(ast.literal_eval(plain.strip()))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return text


def fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the annotated kind; MXNet takes 0 and 1 for truth values."""
    if kind in (Any, inspect.Parameter.empty):
        return True
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, k) for k in arguments)
    if origin is typing.Literal:
        return isinstance(value, str)  # which of them there are is said by what is built
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(v, arguments[0]) for v in value)
    if kind is bool:
        return isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) if isinstance(kind, type) else value is kind


def describe(kind: Any) -> str:
    """A kind of attribute in words."""
    if typing.get_origin(kind) is typing.Literal:
        return f"{{{', '.join(map(repr, typing.get_args(kind)))}}}"
    words = {int: "an integer", float: "a number", bool: "True or False", str: "a text"}
    return words.get(kind) or str(kind).replace("typing.", "")


INFINITE = ("inf", "-inf")  # numbers that Python writes, and does not read as literals
OPERATORS: dict[str, Operator] = {}
COUNTED = frozenset({"num_args"})  # what MXNet writes where an operator takes any number of inputs


def operator(
    name: str, build: Callable[..., Op], *aliases: str, inputs: Sequence[str] = (), **more: Any
) -> None:
    """Enter an operator into the catalog under MXNet's name for it and other names it goes by."""
    made = Operator(name, build, tuple(inputs) or None, **more)
    OPERATORS.update(dict.fromkeys((name, *aliases), made))


def find(name: str) -> Operator | None:
    """The operator of that name: MXNet's, or any op that has been declared."""
    if name in OPERATORS:
        return OPERATORS[name]
    cls = OPS.get(name) or FUNCTIONS.get(name)
    return None if cls is None else Operator(cls.name, cls, ignored=COUNTED if cls.variadic else frozenset())


def offered(name: str) -> Operator | None:
    """The operator of that name in `sym`: MXNet's, or an op that a user declared; the other ops here have none."""
    known = find(name)
    if known is not None and known.within:
        return None
    if known is None or name in OPERATORS or not known.build.__module__.startswith("tinygrad_lesson."):
        return known
    return None


def offered_names() -> set[str]:
    """The names of all of these."""
    return {name for name in (*OPERATORS, *OPS, *FUNCTIONS) if offered(name) is not None}
