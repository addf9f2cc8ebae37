"""Writes down, as lines of NumPy, what an op's `forward` does.

`forward` is run on values that note what is done to them. A value that is used once stands where it is
used; one that is used again, or that is too long, gets a line of its own. An op that writes into a value
is run again, with a line for each step.
"""

import keyword
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.errors import GraphError

WIDTH = 80  # characters above which the parts of an expression get lines of their own
SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**",
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
CREATING = re.compile("arange|asarray|empty|eye|full|ones|zeros")


class WritesError(Exception):
    """An op writes into a value, so that the order of its steps matters."""


class Value(np.lib.mixins.NDArrayOperatorsMixin):
    """An array, and how the program speaks of it: by name, or by the call that gives it."""

    def __init__(self, pen: "Pen", array: Any, name: str = "", call: tuple[Any, ...] = ()) -> None:
        self.pen, self.array, self.name, self.call = pen, array, name, call
        self.uses = 0

    shape = property(lambda self: np.shape(self.array))
    ndim = property(lambda self: np.ndim(self.array))
    size = property(lambda self: np.size(self.array))
    dtype = property(lambda self: self.array.dtype)
    flags = property(lambda self: self.array.flags)
    strides = property(lambda self: self.array.strides)
    T = property(lambda self: self.pen.note(self.array.T, ".T", (self,), {}))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        if method == "__call__":
            return self.pen.carry_out(ufunc.__name__, ufunc, inputs, named)
        return self.pen.carry_out(f"{ufunc.__name__}.{method}", getattr(ufunc, method), inputs, named)

    def __array_function__(self, function: Any, types: Any, inputs: Any, named: Any) -> Any:
        return self.pen.carry_out(function.__name__, function, inputs, named)

    def __getitem__(self, key: Any) -> Any:
        return self.pen.note(self.array[bare(key)], "[]", (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.pen.step_by_step:
            raise WritesError
        self.array[bare(key)] = bare(value)
        self.pen.lines.append(f"{self.pen.word(self)}[{self.pen.index(key)}] = {self.pen.word(value)}")

    def __len__(self) -> int:
        return len(self.array)

    def reshape(self, *shape: Any) -> Any:
        """As a function."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore[call-overload]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"calls array.{name}, which cannot be followed; as a function of xp it can")

    def __bool__(self) -> bool:
        raise GraphError("looks at a value to decide what to do, which no straight line can")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise GraphError("takes the bare array, so that what it does cannot be followed")


class Pen:
    """NumPy, as far as ops use it: what is called is written down. `lines` are the program so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.taken = {"np", "given", "draw"}
        self.step_by_step = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found):
            return found
        return lambda *inputs, **named: self.carry_out(name, found, inputs, named)

    def free_name(self, wanted: str) -> str:
        """A Python name like `wanted` that nothing else has."""
        stem = re.sub(r"\W", "_", wanted, flags=re.ASCII)[:60] or "value"
        stem = f"_{stem}" if stem[0].isdigit() or keyword.iskeyword(stem) else stem
        number, name = 1, stem
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name

    def write(
        self, forward: Callable[..., Any], inputs: Sequence[Value], names: Sequence[str]
    ) -> list[Value]:
        """The lines of one op, whose results get these names."""
        start, taken = len(self.lines), set(self.taken)
        arrays = [np.copy(x.array) for x in inputs]
        try:
            results = forward(self, *inputs)
        except WritesError:
            del self.lines[start:]
            self.taken, self.step_by_step = taken, True
            for x, array in zip(inputs, arrays, strict=True):
                x.array = array
            results = forward(self, *inputs)
        self.step_by_step = False
        results = results if isinstance(results, tuple) else (results,)
        if not names:
            return [x if isinstance(x, Value) else Value(self, x, self.literal(x)) for x in results]
        named = []
        for result, wanted in zip(results, names, strict=False):
            name = self.free_name(wanted)
            self.lines.append(f"{name} = {self.expression(result) if is_open(result) else self.word(result)}")
            if is_open(result):
                result.name = name
            named.append(Value(self, bare(result), name))
        return named

    def carry_out(self, name: str, function: Any, inputs: Sequence[Any], named: dict[str, Any]) -> Any:
        """Call `function`, and note it."""
        out = named.pop("out", None)
        out = out[0] if isinstance(out, tuple) else out
        result = function(*map(bare, inputs), **{key: bare(x) for key, x in named.items()})
        if not any(isinstance(x, Value) for x in flat([*inputs, *named.values()])) and not CREATING.match(
            name
        ):
            return result
        if out is None:
            return self.note(result, name, tuple(inputs), named)
        if not self.step_by_step:
            raise WritesError
        out.array[...] = result
        self.lines.append(
            f"{self.word(out)}[...] = {self.expression(Value(self, result, '', (name, inputs, named)))}"
        )
        return out

    def note(self, result: Any, name: str, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The result of a call, as a value; of a call that gives several, as several."""
        for x in flat([*inputs, *named.values()]):
            if isinstance(x, Value):
                x.uses += 1
        made = Value(self, result, "", (name, inputs, named))
        if isinstance(result, list | tuple):
            made.uses = len(result)
            return type(result)(Value(self, part, "", ("[]", (made, i), {})) for i, part in enumerate(result))
        if self.step_by_step:
            self.word(made, own_line=True)
        return made

    def word(self, x: Any, *, own_line: bool = False, inside: bool = False) -> str:
        """How the program speaks of `x`: a name, a number, or an expression, in brackets unless `inside`."""
        if not isinstance(x, Value):
            return self.literal(x)
        if x.name:
            return x.name
        text = self.expression(x)
        if own_line or x.uses > 1 or len(text) > WIDTH // 2:
            x.name = self.free_name("t")
            self.lines.append(f"{x.name} = {text}")
            return x.name
        return text if inside or not self.has_sign(x) else f"({text})"

    def has_sign(self, x: Value) -> bool:
        """Whether a value is given by an operator, and not by a function."""
        name, inputs, named = x.call
        return not named and (name == "negative" or (name in SIGNS and len(inputs) == 2))

    def expression(self, x: Value) -> str:
        """The call that gives a value."""
        name, inputs, named = x.call
        if name in (".T", "[]"):
            of = self.word(inputs[0])
            return f"{of}.T" if name == ".T" else f"{of}[{self.index(inputs[1])}]"
        signed = self.has_sign(x)
        words = [self.word(i, inside=not signed) for i in inputs]
        if signed:
            return f"-{words[0]}" if name == "negative" else f"{words[0]} {SIGNS[name]} {words[1]}"
        words += [f"{key}={self.word(value, inside=True)}" for key, value in named.items()]
        return f"np.{name}({', '.join(words)})"

    def index(self, key: Any) -> str:
        """What stands between the brackets of an index."""
        if isinstance(key, tuple):
            return ", ".join(map(self.index, key)) + ("," if len(key) == 1 else "") if key else "()"
        if isinstance(key, slice):
            ends = ["" if end is None else self.word(end) for end in (key.start, key.stop)]
            return ":".join([*ends, *([self.word(key.step)] if key.step is not None else [])])
        return self.word(key)

    def literal(self, x: Any) -> str:
        """A value that is no array of the program, as Python writes it."""
        if isinstance(x, list | tuple):
            words = [self.word(part) for part in x]
            ends = "[]" if isinstance(x, list) else "()"
            comma = "," if len(x) == 1 and ends == "()" else ""
            return f"{ends[0]}{', '.join(words)}{comma}{ends[1]}"
        if x is ...:
            return "..."
        if isinstance(x, np.ndarray):
            listed = [self.literal(part) for part in x.tolist()] if x.ndim else [self.literal(x.item())]
            inner = f"[{', '.join(listed)}]" if x.ndim else listed[0]
            return f"np.array({inner}, np.{x.dtype})"
        if isinstance(x, type) and issubclass(x, np.generic):
            return f"np.{x.__name__}"
        if isinstance(x, np.dtype):
            return f"np.{x.name}"
        if isinstance(x, float | np.floating) and not np.isfinite(x):
            return "np.nan" if np.isnan(x) else "np.inf" if x > 0 else "-np.inf"
        if isinstance(x, np.generic):
            return f"np.{x.dtype}({self.literal(x.item())})"
        if x is None or isinstance(x, bool | int | float | complex | str):
            return repr(x)
        raise GraphError(f"{x!r:.60} cannot be written as a line of NumPy")


def is_open(x: Any) -> bool:
    """Whether a value has no name yet."""
    return isinstance(x, Value) and not x.name


def bare(x: Any) -> Any:
    """Arrays in the place of values, through and through."""
    if isinstance(x, list | tuple):
        return type(x)(map(bare, x))
    if isinstance(x, slice):
        return slice(bare(x.start), bare(x.stop), bare(x.step))
    return x.array if isinstance(x, Value) else x


def flat(values: Any) -> list[Any]:
    """All that nested lists and tuples hold."""
    return [x for v in values for x in (flat(v) if isinstance(v, list | tuple) else [v])]
