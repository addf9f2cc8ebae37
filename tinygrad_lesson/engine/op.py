"""What an operation is. It is declared once, in one class; everything else is made from that.

The eager function, the symbolic node, gradients of every order, the gradient graph, the reference
page and the property tests all read the same declaration: a frozen dataclass whose fields are the
attributes and whose `forward` names the inputs.
"""

import contextlib
import dataclasses
import functools
import inspect
import math
import re
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, LessonError, ShapeError
from tinygrad_lesson.engine.shapes import Axis, Shape, broadcast, merge, reduced, reduced_axes, show

OPS: dict[str, type["Op"]] = {}
FUNCTIONS: dict[str, type["Op"]] = {}
REPLACED: list[str] = []  # ops that were declared again, for those who keep something that was made of one
RESERVED: dict[str, str] = {}  # names that an op may not take -> what has them
OpClass = TypeVar("OpClass", bound=type["Op"])
DType = np.dtype[Any] | None
NUMBERS = frozenset((bool, int, float, complex))


def floating(dtype: DType) -> DType:
    """`dtype`, or float64 in the place of integers."""
    return dtype if dtype is None or dtype.kind in "fc" else np.dtype(float)


HALF = np.dtype(np.float16)


def has_room(dtype: DType) -> bool:
    """Whether sums in this type keep their digits: in integers they may overflow, in half precision they do both."""
    return dtype is None or (dtype.kind in "fc" and dtype.itemsize > 2)


def roomy(dtype: DType) -> DType:
    """The type in which numbers of `dtype` are added up: float64 for integers, single precision for half."""
    return np.dtype(np.float32) if dtype == HALF else floating(dtype)


def summed(dtype: DType) -> DType:
    """Element type of a sum, which for short integers is a wider one, as in NumPy."""
    return None if dtype is None else np.sum(np.empty(0, dtype)).dtype


def in_type(xp: Any, x: Any, dtype: DType) -> Any:
    """`x` in another element type; itself if it has that one, or is Python's number, which adapts."""
    if type(x) in NUMBERS or x.dtype == dtype:
        return x
    if dtype == np.bool:
        return xp.not_equal(x, 0)
    return xp.positive(x, dtype=dtype, casting="unsafe")


def copied(xp: Any, x: Any, out: Any = None) -> Any:
    """A copy of `x`, by a function that can be replayed; `positive` has none for truth values."""
    return xp.logical_or(x, x, out=out) if x.dtype.kind == "b" else xp.positive(x, out=out)


def with_room(xp: Any, x: Any) -> Any:
    """`x` in a type in which sums and differences of it keep their digits."""
    dtype = getattr(x, "dtype", None)
    return x if dtype is None or dtype.char in "fdgFDG" else in_type(xp, x, roomy(dtype))


def rounded(xp: Any, y: Any, dtype: DType) -> Any:
    """A result that was computed with room, in half precision where that is its type."""
    return in_type(xp, y, dtype) if dtype == HALF else y


def dtype_of(x: Any) -> DType:
    """Element type of an array; None for Python's number, which adapts."""
    return getattr(x, "dtype", None)


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

    It stands in an op's label if `shown`. A caller may also use `alias`, for a name (`shape`, `dtype`) that a rule has taken.
    """  # noqa: E501
    metadata = {"minimum": minimum, "maximum": maximum, "choices": choices, "alias": alias}
    metadata |= {"shown": shown, "doc": doc}
    return dataclasses.field(default=default, metadata=metadata)


class Classes(NamedTuple):
    """That input number `input` of an op holds class numbers: places along `axis` of input 0, or `ignored`."""

    input: int
    axis: int
    ignored: float | None


@dataclasses.dataclass(frozen=True)
class Op:
    """An operation on arrays: what it computes, and how a cotangent travels back through it.

    `forward(xp, *inputs, out=None)` computes with NumPy or CuPy; an op that names `states` returns
    their new values after its outputs. `vjp(F, g, y, *inputs)` gives one gradient per input: None
    where there is none, or a function without arguments where it costs something. With several
    results `g` and `y` are tuples, and `g` holds None for a result that nobody used.
    """

    name: ClassVar[str] = ""  # CamelCase, as in pictures and errors
    function: ClassVar[str] = ""  # snake_case, as called
    family: ClassVar[str] = ""  # the file it is declared in
    inputs: ClassVar[tuple[str, ...]] = ()
    variadic: ClassVar[bool] = False  # takes any number of inputs
    states: ClassVar[tuple[str, ...]] = ()  # trailing inputs without gradient, updated by training
    broadcasts: ClassVar[int | None] = None  # how many trailing axes do not broadcast, where the others do
    differentiable: ClassVar[bool] = True
    is_loss: ClassVar[bool] = False  # the gradient begins here: `vjp` does not read `g`
    random: ClassVar[bool] = False  # `forward` takes a keyword `generator`
    traceable: ClassVar[bool] = (
        True  # whether what `forward` calls may be noted once and carried out ever after
    )
    learns: ClassVar[bool] = False  # declares `parameters`; set by `op`
    view: ClassVar[bool] = False  # `forward` returns a view of its first input
    mixes_dtypes: ClassVar[bool] = False  # inputs may differ in element type in MXNet too
    whole: ClassVar[bool] = False  # of integers MXNet keeps the whole part of the result
    analytic: ClassVar[bool] = False  # `vjp` holds for complex numbers too
    ours: ClassVar[bool] = False  # its gradients are held to their shapes by tests, not at every call
    fits: ClassVar[bool] = False  # no gradient has to be compared with its input, or summed

    def __init_subclass__(cls) -> None:
        cls.ours = cls.__module__.startswith(("tinygrad_lesson.ops.", "tinygrad_lesson.engine."))
        cls.fits = cls.ours and cls.broadcasts is None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_attribute(self, field, getattr(self, field.name))

    # What a declaration states.

    forward: ClassVar[Callable[..., Any]]
    vjp: ClassVar[Callable[..., Any]]
    sample: ClassVar[Callable[..., Any]]

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

    def keeping(self, dtype: "np.dtype[Any]") -> "Op":
        """This op as MXNet carries it out on integers, whose type it keeps."""
        return self

    def input_dtype(self, i: int, first: np.dtype[Any]) -> "np.dtype[Any]":
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

        `F` emits ops into the new graph; `F.dtypes[x]` is the element type of an input.
        """
        return None

    def at_mode(self, is_train: bool) -> "Op":
        """This op as it acts in training or in prediction."""
        return self

    oracle: ClassVar[Callable[..., Any] | None] = (
        None  # `oracle(self, *arrays)`: what NumPy, SciPy or `math` says `forward` gives
    )

    def pinned(self) -> dict[str, float]:
        """Inputs that the attributes fix at a number, as BatchNorm's `fix_gamma` does."""
        return {}

    def minimized(self, F: Any, *inputs: Any) -> Any:
        """The number that this loss brings down, a mean over rows; None where it is the result."""
        return None

    def averaged(self, rows: int) -> "Op":
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


def check_attribute(op: Op, field: "dataclasses.Field[Any]", value: Any) -> None:
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
    elif low is not None and not value >= low:
        wrong = f"at least {low}"
    elif high is not None and not value <= high:
        wrong = f"at most {high}"
    else:
        return
    raise AttributeValueError(f"{op.name}: {field.name} is {value!r}, expected {wrong}")


@dataclass_transform(frozen_default=True)
def op(cls: OpClass, function: str | None = None) -> OpClass:
    """Declare an op: the class becomes a frozen dataclass and enters the table `OPS`.

    Errors
        LessonError if the declaration lacks a docstring, `forward`, `vjp` or `shape`, or its name is taken.
    """
    if not cls.__dict__.get("__doc__") and sys.flags.optimize < 2:  # `python -OO` takes docstrings away
        raise LessonError(f"op {cls.__name__} has no docstring, which is its page in the reference")
    if inspect.get_annotations(cls):  # without attributes of its own a class inherits all that this makes
        dataclasses.dataclass(frozen=True, repr=False)(cls)
    cls.__repr__ = cls.label  # type: ignore[method-assign, assignment]
    cls.name = cls.__name__
    cls.function = function or cls.__dict__.get("function") or snake_case(cls.__name__)
    cls.family = cls.__module__.rpartition(".")[2]
    cls.learns = cls.parameters is not Op.parameters
    for need in ("forward", "vjp"):
        if not callable(getattr(cls, need, None)):
            raise LessonError(f"op {cls.name} declares no `{need}`")
    parameters = list(inspect.signature(cls.forward).parameters.values())[2:]
    taken = [p for p in parameters if p.kind is not p.KEYWORD_ONLY and p.name not in ("out", "generator")]
    cls.inputs = tuple(p.name for p in taken)
    cls.variadic = any(p.kind is p.VAR_POSITIONAL for p in taken)
    names = inspect.getattr_static(cls, "outputs")
    if names is Op.__dict__["outputs"] or isinstance(names, tuple):  # they do not depend on attributes
        cls.results = len(names if isinstance(names, tuple) else ("output",)) + len(cls.states)  # type: ignore[assignment, method-assign]
    enter(cls)
    return cls


def enter(cls: type[Op]) -> None:
    """Enter an op into the tables, in the place of an earlier declaration of the same class.

    Errors
        LessonError if something else has its name, or that of its function, or if it declares no shape rule.
    """
    known, called = OPS.get(cls.name), FUNCTIONS.get(cls.function)
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
    setattr(Methods, cls.function, as_method(cls))
    for namespace in list(NAMESPACES):
        vars(namespace).pop(cls.function, None)


def is_same(known: type[Op], cls: type[Op]) -> bool:
    """Whether two classes are one declaration, made again as when a notebook's cell is run twice."""
    return (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)


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


def snake_case(name: str) -> str:
    """`FullyConnected` -> `fully_connected`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Elementwise(Op):
    """An op that treats each element alike; its inputs broadcast. `out` may be one of the inputs."""

    broadcasts: ClassVar[int | None] = 0

    def shape(self, *shapes: Shape) -> Shape:
        """The inputs, broadcast."""
        return broadcast(*shapes)

    def complete(self, shapes: Any, results: Any) -> Any:
        """As for every op; a single input has the shape of the result."""
        if len(shapes) == 1:
            shape = merge(shapes[0], results[0])
            return [shape], [shape]
        return super().complete(shapes, results)


def result_dtypes(op: Op, dtypes: Sequence[DType], numbers: Sequence[Any]) -> tuple[DType, ...]:
    """Element type of each result of `op`; `numbers` are those among its inputs, for which `dtypes` holds None.

    By NumPy's rules: a float makes integers and truth values float64, and leaves other types as they are.
    """
    kinds = [type(number)() for number in numbers]
    met = [d if d is None else np.result_type(d, *kinds) for d in dtypes] if kinds else dtypes
    found = op.dtype(*met)
    if found is None and kinds and len(kinds) < len(met) and isinstance(op, Elementwise):
        found = np.result_type(*kinds)  # an array chooses between numbers
    return found if isinstance(found, tuple) else (found,) * op.results


@functools.cache
def attributes(cls: Any) -> tuple[str, ...]:
    """The names of an op's attributes."""
    return tuple(field.name for field in dataclasses.fields(cls))


def exactly(value: Any) -> Any:
    """What tells values apart that are equal: 0.0 and -0.0, 1 and True; for an op, of all its attributes."""
    if isinstance(value, Op):
        cls: Any = type(value)
        return cls, *[exactly(getattr(value, name)) for name in attributes(cls)]
    return tuple(map(exactly, value)) if isinstance(value, tuple) else (type(value), repr(value))


class Comparison(Elementwise):
    """An elementwise question; the answers are booleans and have no gradient."""

    differentiable = False

    def dtype(self, *dtypes: Any) -> np.dtype[Any]:
        """Boolean."""
        return np.dtype(bool)

    def vjp(self, F: "Namespace", g: Any, y: Any, *inputs: Any) -> tuple[None, ...]:
        """No gradient: the answer is constant almost everywhere."""
        return (None,) * len(inputs)


@dataclasses.dataclass(frozen=True)
class Reduction(Op):
    """An op that turns the elements along `axis` into one."""

    axis: Axis = attr(None, doc="axis or axes to reduce; None means all")  # noqa: RUF009
    keepdims: bool = attr(False, doc="keep the reduced axes with size 1")
    exclude: bool = attr(False, doc="reduce over all axes but `axis`")
    vector: bool = attr(False, doc="a result without axes gets shape (1,), as in MXNet")

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes that are reduced."""
        return reduced_axes(rank, self.axis, self.exclude)

    def shape(self, x: Shape) -> Shape:  # type: ignore[override]
        """`x` without the reduced axes, or with size 1 there."""
        shape = reduced(x, self.axes(len(x)), self.keepdims)
        return shape or (1,) if self.vector else shape

    def count(self, x: Shape) -> float:
        """How many elements become one."""
        return float(math.prod(x[a] for a in self.axes(len(x))))

    def spread(self, F: Any, y: Any, x: Any) -> Any:
        """The way back: `y`, of the shape of the result, repeated along the axes that `x` lost."""
        shape = F.shape(x)
        kept = reduced(shape, self.axes(len(shape)), keepdims=True)
        return F.broadcast_to(F.reshape(y, shape=kept), shape=shape)

    def reduce(self, reduction: Callable[..., Any], x: Any, out: Any) -> Any:
        """Apply NumPy's or CuPy's `reduction` as the attributes say."""
        axes = self.axes(x.ndim)
        if self.vector and len(axes) == x.ndim and not (self.keepdims and x.ndim):
            return reduction(x.reshape(-1), axis=0, out=out, keepdims=True)
        return reduction(x, axis=axes, out=out, keepdims=self.keepdims)

    def accumulate(self, xp: Any, reduction: Callable[..., Any], x: Any, out: Any) -> Any:
        """As `reduce`, for a reduction that adds or multiplies; half precision is accumulated in single."""
        if x.dtype != HALF:
            return self.reduce(reduction, x, out)
        return in_type(xp, self.reduce(functools.partial(reduction, dtype=roomy(HALF)), x, None), HALF)


NAMESPACES: "weakref.WeakSet[Namespace]" = weakref.WeakSet()  # each keeps the functions that it has made


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
    count = 0 if cls.variadic else len(cls.inputs)
    known: dict[Any, Any] = {}  # attributes as they were called with -> op
    needs = any(field.default is dataclasses.MISSING for field in dataclasses.fields(cls))
    bare = [] if needs or not count else [made for made in [cls()] if len(made.input_names) == count]

    def function(*arguments: Any, **named: Any) -> Any:
        if bare and len(arguments) == count and not named:
            return apply(bare[0], arguments)
        key = None
        if count and len(arguments) >= count:
            rest = arguments[count:]  # 1, 1.0 and True are equal, so types belong to the key
            key = (rest, *named.items(), *map(type, rest), *map(type, named.values()))
            try:
                made = known[key]
                if made.__class__ is dict:  # 0.0 and -0.0 are equal and of one type
                    made = made[repr((rest, named) if named else rest)]
            except (KeyError, TypeError):
                pass
            else:
                return apply(made, arguments[:count])
        given = dict(named)
        inputs, attributes = bind(cls, arguments, named)
        made = cls(**attributes)
        if not cls.variadic and len(inputs) != len(made.input_names):
            expected = ", ".join(made.input_names)
            raise AttributeValueError(f"{cls.function}: {len(inputs)} inputs given, expected {expected}")
        if key is not None and len(inputs) == count and len(known) < 1024:
            with contextlib.suppress(TypeError):  # a list among the attributes is no key
                if is_delicate((rest, *named.values())):
                    known.setdefault(key, {})[repr((rest, given) if given else rest)] = made
                else:
                    known[key] = made
        return apply(made, inputs)

    function.__name__, function.__doc__ = cls.function, cls.__doc__
    return function


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
        listed = len(arguments) == 1 and type(arguments[0]) in (list, tuple)  # an edge is a tuple too
        inputs, extra = list(arguments[0] if listed else arguments), []
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
