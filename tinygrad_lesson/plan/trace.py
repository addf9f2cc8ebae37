"""What an op's `forward` does, as data: a list of NumPy calls.

`forward` is run once on values that are not there: each has a shape, an element type, strides and a place, and
notes what is done with it. No element is looked at. Whatever else wants to know what an op does reads that list: the
runners, the printed program, a plan in a file.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.kinds import result_dtypes
from tinygrad_lesson.engine.op import Op, check_result, exactly
from tinygrad_lesson.philox import Draws, Philox
from tinygrad_lesson.plan.inferred import CREATING, NotTraceableError, blank, inferred
from tinygrad_lesson.plan.step import takes_out

REDUCTIONS = {
    "sum": "add",
    "max": "maximum",
    "min": "minimum",
    "prod": "multiply",
    "all": "logical_and",
    "any": "logical_or",
}
FACTS = {"shape", "ndim", "size", "result_type"}  # what is known without a call
MOST = 4096  # traces that are kept
DRAW = "philox"  # the call that gives the next numbers of a counting generator, from 0 up to, but not including, 1
AS_FUNCTIONS = """
    all any argmax argmin astype clip cumprod cumsum diagonal dot max mean min prod ravel repeat round squeeze std
    sum swapaxes take trace transpose var
""".split()  # noqa: SIM905  (a list of words reads better as words)


class Ref(NamedTuple):
    """Value number `number` of a trace."""

    number: int


class Spec(NamedTuple):
    """What is known of a value: shape, element type, strides in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]


class Call(NamedTuple):
    """The NumPy function `name`, its operands, and the value that it makes or writes.

    Operands are `Ref`s, numbers, and tuples of these. `view` says that nothing is computed: the value lies in the
    memory of an operand. `name` is ``add.reduce`` for a method of a ufunc, ``[]`` for an index, ``copyto`` for what
    is written into a value. Of a function with several results, as ``split``, the value is number `part`.
    """

    name: str
    inputs: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]
    out: int
    view: bool = False
    part: int | None = None


class Trace(NamedTuple):
    """The calls of one `forward`. Values are numbered: inputs, then targets, then what lies between.

    `roots` tell in which value's memory each lies, and how many bytes behind its beginning. `results` are the numbers
    of the results: a target each, or what is to be used in place of one: a view.
    """

    values: tuple[Spec, ...]
    roots: tuple[tuple[int, int], ...]
    results: tuple[int, ...]
    calls: tuple[Call, ...]


class Value(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that is not there: what is done with it is noted.

    `shadow` is an array of that shape in memory that is never read; `root` the value whose memory it lies in.
    """

    def __init__(self, tracer: Tracer, shadow: np.ndarray, root: Value | None = None) -> None:
        self.tracer, self.shadow, self.root = tracer, shadow, self if root is None else root
        self.number = len(tracer.values)
        tracer.values.append(self)

    shape = property(lambda self: self.shadow.shape)
    ndim = property(lambda self: self.shadow.ndim)
    size = property(lambda self: self.shadow.size)
    dtype = property(lambda self: self.shadow.dtype)
    flags = property(lambda self: self.shadow.flags)
    strides = property(lambda self: self.shadow.strides)
    itemsize = property(lambda self: self.shadow.itemsize)
    T = property(lambda self: np.transpose(self))  # type: ignore[call-overload]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        if method == "__call__":
            return self.tracer.note(ufunc.__name__, ufunc, inputs, named)
        return self.tracer.note(f"{ufunc.__name__}.{method}", getattr(ufunc, method), inputs, named)

    def __array_function__(self, function: Any, types: Any, inputs: Any, named: Any) -> Any:
        name = function.__name__
        if name in REDUCTIONS:
            named.setdefault("axis", None) if len(inputs) < 2 else None
            method = getattr(np, REDUCTIONS[name]).reduce
            return self.tracer.note(f"{REDUCTIONS[name]}.reduce", method, inputs, named)
        return self.tracer.note(name, function, inputs, named)

    def __getitem__(self, key: Any) -> Any:
        parts = tuple(
            [np.asarray(k) if isinstance(k, list) else k for k in (key if isinstance(key, tuple) else (key,))]
        )
        if any(isinstance(k, Value | np.ndarray) and k.dtype == bool for k in parts):
            raise NotTraceableError(
                "takes those elements for which something holds; np.where keeps the shape"
            )
        return self.tracer.note(
            "[]", operator.getitem, (self, parts if isinstance(key, tuple) else parts[0]), {}
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        key = key if isinstance(key, tuple) else (key,)
        part = self[key if ... in key else (*key, ...)]  # a place of one element is a place too
        if part.size and part.root is not self.root:
            raise NotTraceableError("writes to an index that is no slice")
        self.tracer.write(part, "copyto", (part, value), {})

    def __len__(self) -> int:
        return len(self.shadow)

    def reshape(self, *shape: Any, **named: Any) -> Any:
        """As a function."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **named)  # type: ignore[call-overload]

    def copy(self, order: str = "C") -> Any:
        """As a function; where what is copied lies is settled by whoever carries it out."""
        return np.copy(self)  # type: ignore[call-overload]

    def __getattr__(self, name: str) -> Any:
        if name in AS_FUNCTIONS:
            return functools.partial(getattr(np, name), self)
        raise NotTraceableError(f"calls array.{name}, which cannot be followed; as a function of xp it can")

    def __bool__(self) -> bool:
        raise NotTraceableError("looks at a value to decide what to do")

    __int__ = __float__ = __index__ = __complex__ = __bool__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise NotTraceableError("takes the bare array, so that what it does cannot be followed")


class Module:
    """NumPy as an op sees it while it is traced: what has no operand that could note it is noted here."""

    def __init__(self, tracer: Tracer) -> None:
        self.__tracer = tracer

    def __getattr__(self, name: str) -> Any:
        found, note = getattr(np, name), self.__tracer.note
        return (lambda *inputs, **named: note(name, found, inputs, named)) if name in CREATING else found


class Tracer:
    """Notes what is called."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.calls: list[Call] = []

    def given(self, spec: Spec) -> Value:
        """A value from outside."""
        return Value(self, shadow_of(spec))

    def note(
        self, name: str, function: Callable[..., Any], inputs: Sequence[Any], named: dict[str, Any]
    ) -> Any:
        """The value of a call; of a call that gives several, as several."""
        out = named.pop("out", None)
        out = out[0] if isinstance(out, tuple) else out
        if name == "mean" and inputs[0].dtype.kind in "fc" and inputs[0].dtype.itemsize > 2:
            return self.mean(*inputs, **named, out=out)
        with np.errstate(all="ignore"):
            made = inferred(name, function, bare(tuple(inputs)), {k: bare(x) for k, x in named.items()})
        if name in FACTS:
            return made
        if isinstance(made, list | tuple):
            return type(made)(self.make(name, inputs, named, part, i) for i, part in enumerate(made))
        return self.make(name, inputs, named, made) if out is None else self.write(out, name, inputs, named)

    def mean(self, x: Value, axis: Any = None, *, keepdims: bool = False, out: Any = None) -> Any:
        """A mean is a sum and a division, as in NumPy itself."""
        total = np.sum(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]
        return np.divide(total, float(x.size // max(1, total.size)), out=out)

    def make(self, name: str, inputs: Any, named: Any, made: Any, part: int | None = None) -> Value:
        """A new value: a view, or memory of its own."""
        inputs = self.as_values(tuple(inputs))
        roots = [x.root for x in values_in((*inputs, *named.values()))]
        root = next((r for r in roots if np.may_share_memory(made, r.shadow)), None)
        if root is None and not (name.startswith("empty") or made.flags.c_contiguous):
            made = blank(made.shape, made.dtype)
        value = Value(self, np.asarray(made), root)
        if root is not None or not name.startswith("empty"):
            self.append(name, inputs, named, value, root is not None, part)
        return value

    def write(self, out: Value, name: str, inputs: Any, named: Any) -> Value:
        """What is called writes into a value that is there."""
        self.append(name, self.as_values(tuple(inputs)), named, out, False, None)
        return out

    def append(self, name: str, inputs: Any, named: Any, out: Value, view: bool, part: int | None) -> None:
        """One more call."""
        named = tuple([(key, referred(self.as_values(x))) for key, x in named.items()])
        self.calls.append(Call(name, referred(inputs), named, out.number, view, part))

    def as_values(self, x: Any) -> Any:
        """`x` with arrays that the op has made by itself as values."""
        if isinstance(x, list | tuple):
            return type(x)([self.as_values(part) for part in x])
        if isinstance(x, np.ndarray):
            value = Value(self, np.zeros(x.shape, x.dtype))
            self.append("array", (x.tolist(),), {"dtype": x.dtype}, value, False, None)
            return value
        return x


class NotedDraws(Draws):
    """A counting generator of which each draw is noted as a call, whose number is known when it is carried out."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__(Philox(0), Module(tracer))
        self.tracer = tracer

    def unit(self, size: int) -> Any:
        """One call, which gives float32."""
        return self.tracer.make(DRAW, (), {}, blank((size,), np.dtype(np.float32)))


def shadow_of(spec: Spec) -> np.ndarray:
    """An array like `spec`."""
    shape, dtype, strides = spec
    whole = blank(shape, dtype)
    if whole.strides == strides or not whole.size:
        return whole
    span = sum((n - 1) * abs(s) for n, s in zip(shape, strides, strict=True)) + dtype.itemsize
    start = sum((n - 1) * -s for n, s in zip(shape, strides, strict=True) if s < 0)
    return np.ndarray(shape, dtype, blank((span,), np.dtype(np.uint8)).data, start, strides)


def spec_of(x: Any) -> Spec:
    """What a trace has to know of an array."""
    return Spec(x.shape, x.dtype, x.strides)


def bare(x: Any) -> Any:
    """Shadows in the place of values, through and through."""
    if isinstance(x, list | tuple):
        return type(x)([bare(part) for part in x])
    if isinstance(x, slice):
        return slice(bare(x.start), bare(x.stop), bare(x.step))
    return x.shadow if isinstance(x, Value) else x


def referred(x: Any) -> Any:
    """References in the place of values; lists as tuples."""
    if isinstance(x, list | tuple):
        return tuple([referred(part) for part in x])
    return Ref(x.number) if isinstance(x, Value) else x


def values_in(x: Any) -> list[Value]:
    """All values among nested operands."""
    if isinstance(x, list | tuple):
        return [value for part in x for value in values_in(part)]
    return [x] if isinstance(x, Value) else []


def numbers_in(x: Any) -> list[int]:
    """The numbers of all values among nested operands."""
    if isinstance(x, Ref):
        return [x.number]
    return [number for part in x for number in numbers_in(part)] if isinstance(x, tuple) else []


def trace(
    op: Op, sources: Sequence[Any], targets: Sequence[Spec | None], writes: bool, counted: bool = False
) -> Trace:
    """The calls of `forward` for sources like these, each a `Spec` or a number.

    A result without a target stays where it is. With `writes`, `forward` is given its target to write to; with
    `counted`, a generator whose draws are calls.

    Errors
        NotTraceableError where what it does is no fixed list of calls.
    """
    tracer = Tracer()
    inputs = [tracer.given(x) if isinstance(x, Spec) else x for x in sources]
    places = [None if spec is None else tracer.given(spec) for spec in targets]
    first = len(tracer.values)
    extra: dict[str, Any] = {"out": places[0]} if writes else {}
    extra |= {"generator": NotedDraws(tracer)} if counted else {}
    results = op.forward(Module(tracer), *inputs, **extra)
    results = list(results) if isinstance(results, tuple) else [results]
    moved: dict[int, int] = {}
    for i, (place, result) in enumerate(zip(places, results, strict=True)):
        if place is None:
            (results[i],) = tracer.as_values(
                (np.asarray(result) if not isinstance(result, Value) else result,)
            )
        elif result is not place:
            check_result(op, result, place.shape)
            own = isinstance(result, Value) and result.root is result and result.number >= first
            alike = own and (result.shape, result.dtype) == (place.shape, place.dtype)
            if alike and result.number not in moved and not writes:
                moved[result.number] = place.number
            else:
                tracer.write(place, "copyto", (place, result), {"casting": "unsafe"})
            results[i] = place
    calls = [renumbered(call, lambda n: moved.get(n, n)) for call in tracer.calls] if moved else tracer.calls
    specs = tuple([spec_of(v.shadow) for v in tracer.values])
    starts = [address(v.shadow) - address(v.root.shadow) for v in tracer.values]
    roots = [moved.get(v.root.number, v.root.number) for v in tracer.values]
    return Trace(
        specs, tuple(zip(roots, starts, strict=True)), tuple([r.number for r in results]), tuple(calls)
    )


def writes_to(op: Op, sources: Sequence[Any], dtype: Any) -> bool:
    """Whether `forward` can write its result where it is wanted: in that type, which its own must be."""
    known = [x.dtype if isinstance(x, Spec) else None for x in sources]
    natural = result_dtypes(op, known, [x for x in sources if not isinstance(x, Spec)])[0]
    return takes_out(type(op)) and natural == dtype  # type: ignore[arg-type]


KNOWN: dict[Any, Trace] = {}  # traces are made once for all layers that are alike


def traced(
    op: Op,
    sources: tuple[Any, ...],
    targets: tuple[Spec | None, ...],
    *,
    may_draw: bool = False,
    counted: bool = False,
) -> Trace:
    """As `trace`, which is asked once; with `counted` a random op draws from a counting generator, in calls.

    Errors
        As `trace`; and of what runs code that is not NumPy's, or draws random numbers unless it `may_draw`.
    """
    counted = counted and op.random
    if (op.random and not (may_draw or counted)) or not op.traceable:
        raise NotTraceableError("draws random numbers" if op.random else "runs code of its own")
    key = exactly(op), tuple([x if isinstance(x, Spec) else exactly(x) for x in sources]), targets, counted
    found = KNOWN.get(key)
    if found is None:
        if len(KNOWN) >= MOST:
            KNOWN.clear()
        writes = targets[0] is not None and writes_to(op, sources, targets[0].dtype)
        found = trace(op, sources, targets, writes, counted)
        if not op.ours and trace(op, sources, targets, writes, counted) != found:
            raise NotTraceableError("makes other calls the second time")
        KNOWN[key] = found
    return found


def address(x: np.ndarray) -> int:
    """Where the elements begin."""
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]


def renumbered(call: Call, number: Callable[[int], int]) -> Call:
    """A call with other numbers for its values."""

    def told(x: Any) -> Any:
        if isinstance(x, Ref):
            return Ref(number(x.number))
        return tuple([told(part) for part in x]) if isinstance(x, tuple) else x

    named = tuple([(key, told(x)) for key, x in call.named])
    return call._replace(inputs=told(call.inputs), named=named, out=number(call.out))
