"""What an operation is. It is declared once, in one class; everything else is made from that.

The eager function, the symbolic node, gradients of every order, the gradient graph, the reference
page and the property tests all read the same declaration: a frozen dataclass whose fields are the
attributes and whose `forward` names the inputs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

import numpy as np

from tinygrad_lesson.engine.dtypes import DType
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import Shape, merge, show

Value = TypeVar("Value")


class Table(dict[str, Value]):
    """What there is, by name."""

    fill: Callable[[], None] | None = None  # put there by the package itself

    def filled(self) -> Table[Value]:
        """All of it."""
        return self


class Unread(Table[Value]):
    """A table that is filled when somebody first reads it, and is a plain one from then on."""

    def filled(self) -> Table[Value]:
        """All of it."""
        self.__class__ = Table  # type: ignore[assignment]
        try:
            if self.fill is not None:
                self.fill()
        except BaseException:
            self.__class__ = Unread
            raise
        return self

    def __getitem__(self, name: str) -> Value:
        return self.filled()[name]

    def __contains__(self, name: object) -> bool:
        return name in self.filled()

    def __iter__(self) -> Iterator[str]:
        return iter(self.filled())

    def __len__(self) -> int:
        return len(self.filled())

    def get(self, name: str, default: Any = None) -> Any:
        """What has this name."""
        return self.filled().get(name, default)

    def keys(self) -> Any:
        """The names."""
        return self.filled().keys()

    def values(self) -> Any:
        """What has them."""
        return self.filled().values()

    def items(self) -> Any:
        """Both."""
        return self.filled().items()


OPS: Table[type[Op]] = Unread()  # by name; `engine/declare.py` enters them
FUNCTIONS: Table[type[Op]] = Unread()  # by the name of the function
REPLACED: list[str] = []  # names of ops that were declared again, for caches of what was made of one
RESERVED: Table[str] = Unread()  # names that an op may not take -> what has them


def attr(
    default: Any = dataclasses.MISSING,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
    alias: str = "",
    shown: bool = True,
    doc: str = "",
) -> Any:
    """An attribute of an op: a dataclass field that knows its range and what it means.

    It stands in an op's label if `shown`. `alias` is a second name for callers, where a rule (`shape`, `dtype`) has the
    first.
    """
    metadata = {"minimum": minimum, "maximum": maximum, "choices": choices, "alias": alias}
    metadata |= {"shown": shown, "doc": doc}
    return dataclasses.field(default=default, metadata=metadata)


class Classes(NamedTuple):
    """That input number `input` of an op holds class numbers: places along `axis` of input 0, or `ignored`."""

    input: int
    axis: int
    ignored: float | None


Class = TypeVar("Class", bound=type)


@dataclass_transform(frozen_default=True)
def declares(cls: Class) -> Class:
    """A class of ops with attributes of its own, as a dataclass.

    What `dataclasses` would write anew for each class, `Op` has once for all: that would take a third of the import.
    """
    dataclasses.dataclass(init=False, eq=False, repr=False)(cls)
    return cls


@declares
class Op:
    """An operation on arrays: what it computes, and how a cotangent travels back through it.

    `forward(xp, *inputs, out=None)` computes with NumPy or CuPy; an op that names `states` returns
    their new values after its outputs. `vjp(F, g, y, *inputs)` gives one gradient per input, given
    the cotangent `g` of its result `y`: None where there is none, or a function without arguments
    where it costs something. With several results `g` and `y` are tuples, and `g` holds None for a
    result that nobody used. `F` is a `Namespace`: every op as a function, of arrays, of tensors or
    of edges of a graph, whatever the gradient is wanted for.
    """

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    name: ClassVar[str] = ""  # CamelCase, as in pictures and errors
    function: ClassVar[str] = ""  # snake_case, as called
    family: ClassVar[str] = ""  # the file it is declared in
    inputs: ClassVar[tuple[str, ...]] = ()
    variadic: ClassVar[bool] = False  # takes any number of inputs
    states: ClassVar[tuple[str, ...]] = ()  # trailing inputs without gradient, updated by training
    method: ClassVar[bool] = True  # its function is a method of its first input too
    immediate: ClassVar[bool] = False  # states change in every forward run, not by the gradients of training
    broadcasts: ClassVar[int | None] = None  # how many trailing axes do not broadcast, where the others do
    differentiable: ClassVar[bool] = True
    is_loss: ClassVar[bool] = False  # the gradient begins here: `vjp` does not read `g`
    random: ClassVar[bool] = False  # `forward` takes a keyword `generator`
    nested: ClassVar[bool] = False  # holds a plan of its own: `forward` takes a keyword `runner`
    traceable: ClassVar[bool] = True  # what `forward` calls may be noted once and carried out ever after
    learns: ClassVar[bool] = False  # declares `parameters`; set by `op`
    compiled: ClassVar[bool] = False  # of large arrays: machine code is several times as fast as NumPy
    moves: ClassVar[bool] = False  # it computes nothing: elements of its inputs in other places
    contracts: ClassVar[bool] = False  # there a product and the sum it goes into may be rounded at once
    asks: ClassVar[bool] = False  # something comes before `forward` in the eager face; set by `op`
    host_only: ClassVar[str] = ""  # why `forward` computes with NumPy's arrays alone, where it does
    view: ClassVar[bool] = False  # `forward` returns a view of its first input
    mixes_dtypes: ClassVar[bool] = False  # inputs may differ in element type in MXNet too
    whole: ClassVar[bool] = False  # of integers MXNet keeps the whole part of the result
    analytic: ClassVar[bool] = False  # `vjp` holds for complex numbers too
    multilinear: ClassVar[int] = 0  # linear in each of so many first inputs; the others have no derivative
    ours: ClassVar[bool] = False  # its gradients are held to their shapes by tests, not at every call
    fits: ClassVar[bool] = False  # no gradient has to be compared with its input, or summed

    def __init_subclass__(cls) -> None:
        cls.ours = cls.__module__.startswith(("tinygrad_lesson.ops.", "tinygrad_lesson.engine."))
        cls.fits = cls.ours and cls.broadcasts is None

    def __init__(self, *given: Any, **named: Any) -> None:
        cls: Any = type(self)
        known = defaults(cls)
        values = {**known, **dict(zip(known, given, strict=False)), **named}
        missing = [name for name, value in values.items() if value is dataclasses.MISSING]
        if missing or len(given) > len(known) or len(values) > len(known):
            expected = ", ".join(known) or "no attributes"
            raise TypeError(f"{cls.__name__} takes {expected}; given {given}, {named}")
        vars(self).update(values)
        self.__post_init__()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_attribute(self, field, getattr(self, field.name))

    def __setattr__(self, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def __hash__(self) -> int:
        return hash((type(self), values(self)))

    # What a declaration states.

    forward: ClassVar[Callable[..., Any]]
    vjp: ClassVar[Callable[..., Any]]
    jvp: ClassVar[Callable[..., Any] | None] = (
        None  # `jvp(F, tangents, y, *inputs)`, if it is not `vjp` transposed
    )
    vmap: ClassVar[Callable[..., Any] | None] = (
        None  # `vmap(level, inputs, flags)`: results for a batch, if not by rule
    )
    sample: ClassVar[Callable[..., Any]]  # `sample(cls, draw)`: an op and inputs at which it is smooth
    oracle: ClassVar[Callable[..., Any] | None] = None  # what NumPy or SciPy say: `oracle(self, *arrays)`

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, new values of states not counted."""
        return ("output",)

    @property
    def visible(self) -> int:
        """How many of the outputs the user is given."""
        return len(self.outputs)

    @property
    def results(self) -> int:
        """How many arrays `forward` returns."""
        return len(self.outputs) + len(self.states)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs under these attributes."""
        return self.inputs

    def parameters(self, data: Shape) -> dict[str, Shape]:
        """Shapes that the learnable inputs and states must have, given that of the first input."""
        return {}

    def shape(self, *shapes: Shape) -> Any:
        """Shape of the result (a tuple of shapes where there are several), given those of the inputs."""
        raise NotImplementedError

    def dtype(self, *dtypes: DType) -> Any:
        """Element type of the results (a tuple where they differ); a number has None and adapts."""
        known = [d for d in dtypes if d is not None]
        if not known or known.count(known[0]) == len(known):
            return known[0] if known else None
        return np.result_type(*known)

    def keeping(self, dtype: np.dtype[Any]) -> Op:
        """This op as MXNet carries it out on integers, whose type it keeps."""
        return self

    def input_dtype(self, i: int, first: np.dtype[Any]) -> np.dtype[Any]:
        """Element type of input number `i` if nothing else decides it, given that of the first input."""
        return first

    def complete(
        self, shapes: Sequence[Shape | None], results: Sequence[Shape | None]
    ) -> tuple[list[Shape | None], list[Shape | None]]:
        """Whatever more is known about the shapes of inputs and results, from both sides.

        Errors
            ShapeError if an input contradicts `parameters` or the shape rule.
        """
        shapes, names = list(shapes), self.name_inputs(len(shapes))
        if shapes and shapes[0] is not None:
            for name, wanted in self.parameters(shapes[0]).items():
                i = names.index(name)
                try:
                    shapes[i] = merge(shapes[i], wanted)
                except ShapeError:
                    message = f"{name} is {show(shapes[i])}, expected {show(wanted)}"
                    raise ShapeError(message) from None
        if None in shapes:
            return shapes, list(results)
        inferred = self.shape(*shapes)  # type: ignore[arg-type]
        inferred = [inferred] if self.results == 1 else inferred
        return shapes, [merge(known, new) for known, new in zip(results, inferred, strict=True)]

    def rewrite(self, F: Any, shapes: Sequence[Shape], *inputs: Any) -> Any:
        """An equal and simpler expression now that the shapes of the inputs are known, or None.

        `F` emits ops into the new graph (`plan/passes.py`); `F.dtypes[x]` is the element type of an input.
        """
        return None

    def sized(self, results: Sequence[Shape]) -> Op:
        """This op where the shapes of its results are known, if its attributes left some of their sizes open."""
        return self

    def at_mode(self, is_train: bool) -> Op:
        """This op as it acts in training or in prediction."""
        return self

    def apart(self, rank: int) -> bool:
        """Whether each part of its arrays along axis 0, of so many axes, is treated by itself and alike."""
        return False

    def pinned(self) -> dict[str, float]:
        """Inputs that the attributes fix at a number, as BatchNorm's `fix_gamma` does."""
        return {}

    def minimized(self, F: Any, *inputs: Any) -> Any:
        """The number that this loss brings down, a mean over rows; None where it is the result."""
        return None

    def averaged(self, rows: int) -> Op:
        """This loss with the gradient of that mean, where its own is that of a sum over `rows`."""
        return self

    def classes(self, *shapes: Any) -> Classes | None:
        """Which input holds class numbers when the inputs have these shapes; None if none does."""
        return None

    # What follows from it.

    def name_inputs(self, count: int) -> tuple[str, ...]:
        """A name for each of `count` inputs."""
        names = self.input_names
        if not self.variadic:
            return names
        fixed = names[:-1]
        return fixed + tuple(f"{names[-1]}{i}" for i in range(count - len(fixed)))

    def label(self) -> str:
        """The op with those attributes that differ from their defaults; it begins with its name and a bracket."""
        fields = [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        fields = [f for f in fields if f.metadata.get("shown", True)]
        return f"{self.name}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in fields)})"


def check_attribute(op: Op, field: dataclasses.Field[Any], value: Any) -> None:
    """Refuse a value outside the range that its declaration states; lists become tuples."""
    if isinstance(value, list):
        object.__setattr__(op, field.name, tuple(value))
    range_ = field.metadata
    largest = 63 if isinstance(value, list | tuple) else 1023  # bits of a size, and of what a float can hold
    for number in value if isinstance(value, list | tuple) else (value,):
        if isinstance(number, int) and number.bit_length() > largest:
            told = f"an integer of {number.bit_length()} bits, expected at most {largest}"
            raise AttributeValueError(f"{op.name}: {range_.get('alias') or field.name} is {told}")
    low, high, choices = range_.get("minimum"), range_.get("maximum"), range_.get("choices")
    if choices is not None and value not in choices:
        wrong = f"one of {', '.join(map(repr, choices))}"
    elif low is not None and not at_least(value, low):
        wrong = f"at least {low}"
    elif high is not None and not at_least(high, value):
        wrong = f"at most {high}"
    else:
        return
    raise AttributeValueError(f"{op.name}: {field.name} is {value!r:.80}, expected {wrong}")


def at_least(a: Any, b: Any) -> bool:
    """Whether `a` is at least `b`; not if they are nothing to compare."""
    try:
        return bool(a >= b)
    except (TypeError, ValueError):  # of a text, or of an array
        return False


@functools.cache
def attributes(cls: Any) -> tuple[str, ...]:
    """The names of an op's attributes."""
    return tuple(field.name for field in dataclasses.fields(cls))


def values(op: Any) -> tuple[Any, ...]:
    """The attributes of an op, in that order; no method, since a declaration may have one of that name."""
    cls: Any = type(op)
    return tuple([getattr(op, name) for name in attributes(cls)])


@functools.cache
def defaults(cls: Any) -> dict[str, Any]:
    """What each attribute of an op is if nothing is given."""
    return {field.name: field.default for field in dataclasses.fields(cls)}


def check_result(op: Op, result: Any, shape: Shape | None) -> None:
    """Compare what the `forward` of a user's op gives with what its shape rule says, if that knows it.

    Errors
        ShapeError that names the op and both shapes.
    """
    found = getattr(result, "shape", ())
    if found != shape and not op.ours and shape is not None and None not in shape:
        raise ShapeError(
            f"{op.label()}: forward returns the shape {show(found)}, its shape rule says {show(shape)}"
        )


def exactly(value: Any) -> Any:
    """What tells values apart that are equal: 0.0 and -0.0, 1 and True; for an op, of all its attributes."""
    if isinstance(value, Op):
        cls: Any = type(value)
        return cls, *[exactly(getattr(value, name)) for name in attributes(cls)]
    return tuple(map(exactly, value)) if isinstance(value, tuple) else (type(value), repr(value))
