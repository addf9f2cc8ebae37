"""The ops as functions, as methods and as Python's operators, for whatever a world computes with."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.dtypes import NUMBERS, DType, dtype_of
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.op import FUNCTIONS, Op


class Methods:
    """Every op as a method, for whatever the namespace `F` takes: `x.tanh()`, `x.sum(axis=0)`.

    They stand in the class, since a `__getattr__` would slow down every look at `x.value`.
    """

    __slots__ = ()
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def as_method(cls: type[Op]) -> Callable[..., Any]:
    """The op as a method of its first input."""

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return getattr(self.F, cls.function)(self, *arguments, **named)

    method.__name__, method.__doc__ = cls.function, cls.__doc__
    return method


NAMESPACES: weakref.WeakSet[Any] = (
    weakref.WeakSet()
)  # each keeps the functions that it has made, as `tl` does


class Namespace:
    """The ops as functions: `F.tanh(x)` is `apply(Tanh(), (x,))`, whatever `x` stands for."""

    def __init__(self, apply: Callable[[Op, Sequence[Any]], Any]) -> None:
        """`apply(op, inputs)` gives the result, or a tuple of results, in this namespace's world."""
        self.apply = apply
        NAMESPACES.add(self)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The op called `name` as a function: inputs first, then attributes."""
        cls = FUNCTIONS.get(name)
        if cls is None:
            raise AttributeError(f"there is no op called {name!r}")
        function = as_function(cls, self.apply)
        setattr(self, name, function)
        return function


def as_function(cls: type[Op], apply: Callable[[Op, Sequence[Any]], Any]) -> Callable[..., Any]:
    """`cls` as a function of its inputs and attributes that hands both to `apply`."""
    count, known, bare, doc, told = calling(cls)
    variadic = cls.variadic

    def function(*arguments: Any, **named: Any) -> Any:
        if bare and len(arguments) == count and not named:
            return apply(bare[0], arguments)
        key, these = None, count
        if variadic and type(arguments[0] if arguments else ()) not in (list, tuple):
            these = len(arguments)  # as `bind` has it, all of them are inputs
        if these and len(arguments) >= these:
            rest = arguments[these:]  # 1, 1.0 and True are equal, so types belong to the key
            key = (rest, *named.items(), *map(type, rest), *map(type, named.values()))
            try:
                made = known[key]
                if made.__class__ is dict:  # 0.0 and -0.0 are equal and of one type
                    made = made[repr((rest, named) if named else rest)]
            except (KeyError, TypeError):
                pass
            else:
                return apply(made, arguments[:these])
        given = dict(named)
        inputs, attributes = bind(cls, arguments, named)
        made = cls(**attributes)
        if not cls.variadic and len(inputs) != len(made.input_names):
            expected = ", ".join(made.input_names)
            raise AttributeValueError(f"{cls.function}: {len(inputs)} inputs given, expected {expected}")
        if key is not None and len(inputs) == these and len(known) < 1024:
            with contextlib.suppress(TypeError):  # a list among the attributes is no key
                if is_delicate((rest, *named.values())):
                    known.setdefault(key, {})[repr((rest, given) if given else rest)] = made
                else:
                    known[key] = made
        return apply(made, inputs)

    function.__name__, function.__doc__ = cls.function, doc
    function.__signature__, function.op = told, cls  # type: ignore[attr-defined]
    return function


def calling(cls: type[Op]) -> tuple[int, dict[Any, Any], list[Op], str | None, inspect.Signature]:
    """What the functions of an op share in all worlds.

    That is: how many inputs there are (0 where it varies), ops by the attributes as they were given, the op that needs
    none, if it is one, the docstring, and the signature.
    """
    found = cls.__dict__.get("_calling")
    if found is None:
        count = 0 if cls.variadic else len(cls.inputs)
        needs = any(field.default is dataclasses.MISSING for field in dataclasses.fields(cls))
        bare = [] if needs or not count else [made for made in [cls()] if len(made.input_names) == count]
        found = cls._calling = count, {}, bare, documentation(cls), signature(cls)  # type: ignore[attr-defined]
    return found  # type: ignore[no-any-return]


def signature(cls: type[Op]) -> inspect.Signature:
    """How an op is called: inputs first, then attributes with their defaults, by the names that callers use."""
    kind, empty = inspect.Parameter, inspect.Parameter.empty
    inputs = [kind(name, kind.POSITIONAL_OR_KEYWORD) for name in cls.inputs]
    if cls.variadic:
        inputs[-1] = inputs[-1].replace(kind=kind.VAR_POSITIONAL)
    how = kind.KEYWORD_ONLY if cls.variadic else kind.POSITIONAL_OR_KEYWORD
    fields = [(f.metadata.get("alias") or f.name, f.default) for f in dataclasses.fields(cls)]
    missing = dataclasses.MISSING
    found = [kind(name, how, default=empty if value is missing else value) for name, value in fields]
    found.sort(key=lambda p: p.default is not empty and how is kind.POSITIONAL_OR_KEYWORD)
    return inspect.Signature(inputs + found)


ENDS = {"minimum": "least", "maximum": "most"}


def documentation(cls: type[Op]) -> str | None:
    """What an op is, with the meaning and the range of each attribute."""
    if not cls.__doc__:  # `python -OO`
        return cls.__doc__
    lines = [f"{f.metadata.get('alias') or f.name}: {meaning(f)}" for f in dataclasses.fields(cls)]
    return section(cls.__doc__, "Attributes", lines)


def section(doc: str, title: str, lines: Sequence[str]) -> str:
    """A docstring, and one more section, if there is something in it."""
    doc = inspect.cleandoc(doc)
    return "\n".join([doc, "", title, *[f"    {line}" for line in lines]]) if lines else doc


def meaning(field: dataclasses.Field[Any]) -> str:
    """What an attribute means, and its range."""
    told: Mapping[str, Any] = field.metadata
    ends = [f"at {word} {told[e]}" for e, word in ENDS.items() if told.get(e) is not None]
    if told.get("choices"):
        ends = [f"one of {', '.join(map(repr, told['choices']))}"]
    return str(told.get("doc", "")) + (f" ({', '.join(ends)})" if ends else "")


def is_delicate(value: Any) -> bool:
    """Whether a value is a zero with a sign, or holds one: its type does not tell it from what is equal to it."""
    if isinstance(value, tuple):
        return any(map(is_delicate, value))
    return isinstance(value, float) and value == 0


def bind(cls: type[Op], arguments: Sequence[Any], named: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Tell the inputs from the attributes in a call.

    Errors
        AttributeValueError for an unknown or missing one.
    """
    fields = [field.name for field in dataclasses.fields(cls)]
    if cls.variadic:
        first, rest = arguments[:1], arguments[1:]  # `concat([a, b], 1)`, or `concat(a, b, dim=1)`
        listed = any(type(x) in (list, tuple) for x in first) and all(type(x) in (int, str) for x in rest)
        inputs, extra = (
            (list(first[0]), list(rest)) if listed else (list(arguments), [])
        )  # an edge is a tuple too
    else:
        inputs, extra = list(arguments[: len(cls.inputs)]), list(arguments[len(cls.inputs) :])
        for name in cls.inputs[len(inputs) :]:
            if name in named:
                inputs.append(named.pop(name))
        while len(inputs) > 1 and inputs[-1] is None:  # an optional input left out
            inputs.pop()
    aliases = {field.metadata["alias"]: field.name for field in dataclasses.fields(cls)}
    named = {aliases.get(key, key): value for key, value in named.items()}
    attributes = {key: hashable(v) for key, v in {**dict(zip(fields, extra, strict=False)), **named}.items()}
    unknown = set(attributes) - set(fields)
    if unknown or len(extra) > len(fields):
        raise AttributeValueError(
            f"{cls.function}: unknown attribute {', '.join(sorted(unknown)) or repr(extra[-1])}; "
            f"it takes {', '.join((*cls.inputs, *fields))}"
        )
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING and field.name not in attributes:
            raise AttributeValueError(f"{cls.function}: {field.name} is missing ({field.metadata['doc']})")
    return inputs, attributes


def hashable(value: Any) -> Any:
    """Lists and arrays of numbers as tuples, so that an op can be compared and cached."""
    if isinstance(value, np.generic | np.ndarray) and not value.ndim:
        return value.item()
    return tuple(map(hashable, value)) if isinstance(value, list | tuple | np.ndarray) else value


class ArrayNamespace(Namespace):
    """The ops on whatever has a shape and an element type."""

    def shape(self, x: Any) -> Any:
        """The shape of a value."""
        return np.shape(x)

    def dtype(self, x: Any) -> DType:
        """The element type of a value; None for a number, which adapts."""
        return dtype_of(x)

    def holds(self, x: Any) -> bool:
        """Whether `x` is a value here, and no stray text or list."""
        return isinstance(x, np.ndarray | np.generic)


@functools.cache
def array_namespace(xp: Any) -> Namespace:
    """The ops on bare arrays of `xp`: nothing is recorded."""

    def apply(op: Op, inputs: Sequence[Any]) -> Any:
        y = op.forward(xp, *inputs)
        return y.item() if inputs and type(inputs[0]) in NUMBERS and numbers_only(inputs) else y

    return ArrayNamespace(apply)


def numbers_only(values: Sequence[Any]) -> bool:
    """Whether all are Python's numbers. What comes of these is one too: it adapts to arrays that it meets."""
    return all(type(x) in NUMBERS for x in values)


class Arithmetic:
    """Python's operators, for whatever the namespace `F` takes."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy's arrays leave `array * x` to us
    F: ClassVar[Namespace]

    def __add__(self, other: Any) -> Any:
        return self.F.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return self.F.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return self.F.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.F.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return self.F.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.F.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.F.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.F.divide(other, self)

    def __pow__(self, other: Any) -> Any:
        return self.F.power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.F.power(other, self)

    def __neg__(self) -> Any:
        return self.F.negative(self)

    def __pos__(self) -> Any:
        return self
