"""What `help` shows of a function: its parameters, shapes, where it is not smooth, and an example.

It is put together when a function is first looked up in `tl`, so that the import pays nothing for it. What an op
takes stands in its declaration; what NumPy's parameters mean is said here once for all functions that have them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lesson.eager.tensor import wrap
from tinygrad_lesson.engine.draw import MARGIN, Draw
from tinygrad_lesson.engine.kinds import Elementwise, Reduction
from tinygrad_lesson.engine.namespace import section
from tinygrad_lesson.engine.op import Op

SHORT = 12  # elements up to which an example shows them


class Told(Draw):
    """Samples of few digits that remember what they keep away from; without NumPy's generators, slow to import."""

    def __init__(self, seed: int = 1) -> None:
        self.source = random.Random(seed)
        self.integer = self.source.randint
        self.elements = self.numbers
        self.rough: dict[int, str] = {}
        self.kept: list[np.ndarray] = []  # so that no two have one id

    def numbers(self, shape: tuple[int, ...], low: float, high: float, kinks: Any) -> np.ndarray:
        """Numbers with one decimal."""
        places = np.ravel(np.asarray(kinks, float)).tolist()
        steps = range(math.ceil(low * 10), math.floor(high * 10) + 1)
        free = [k / 10 for k in steps if all(abs(k / 10 - at) >= MARGIN for at in places)] or [
            (low + high) / 2
        ]
        x = np.array([self.source.choice(free) for _ in range(math.prod(shape))], float).reshape(shape)
        return self.note(x, "at " + ", ".join(f"{at:g}" for at in places)) if places else x

    def note(self, x: np.ndarray, where: str) -> np.ndarray:
        """Remember what holds of an array."""
        self.kept.append(x)
        self.rough[id(x)] = where
        return x

    def on_grid(self, shape: Any, spacing: float, shift: float) -> np.ndarray:
        """Numbers of which no two are alike."""
        count = math.prod(shape)
        points = self.source.sample(range(count), count)
        x = np.array([round((k - count // 2) * spacing + shift, 2) for k in points], float)
        return self.note(x.reshape(tuple(shape)), "where elements tie")

    def apart(self, *names: str) -> dict[str, np.ndarray]:
        """Arrays that have no element in common."""
        return {name: self.note(x, "where both are equal") for name, x in super().apart(*names).items()}


def complete(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, whose docstring now says all; `name` is where `tl` has it."""
    doc, cls = getattr(function, "__doc__", None), getattr(function, "op", None)
    if not doc or not function.__module__.startswith("tinygrad_lesson.") or (cls and not cls.ours):
        return function  # `python -OO` has none; some are NumPy's, some ops a user's
    function.__doc__ = of_op(cls, doc, name) if cls else of_function(function, doc, name)
    return function


def of_op(cls: type[Op], doc: str, name: str) -> str:
    """The docstring of an op: shapes, where it is not smooth and an example by its sample."""
    doc, made, inputs = facts(cls, doc)
    return section(doc, "Example", alone(example_of(made, inputs, name)))


def facts(cls: type[Op], doc: str) -> tuple[str, Op, dict[str, np.ndarray]]:
    """The docstring with shapes and with where the op is not smooth; the sample that says so."""
    draw = Told()
    made, inputs = draw.sample(cls)
    doc = inspect.cleandoc(doc)
    if "Shapes\n" not in doc:
        doc = before(doc, "Source\n", section("", "Shapes", [shapes(cls, made, inputs)]).lstrip())
    rough = [f"{key} {draw.rough[id(x)]}" for key, x in inputs.items() if id(x) in draw.rough]
    if not made.differentiable:
        rough = ["it has no gradient"]
    if rough:
        doc = section(doc, "Not smooth, or not defined", ["; ".join(dict.fromkeys(rough))])
    return doc, made, inputs


def before(doc: str, mark: str, text: str) -> str:
    """`text` in front of the section that begins with `mark`, or at the end."""
    at = doc.find(f"\n{mark}")
    return f"{doc.rstrip()}\n\n{text}" if at < 0 else f"{doc[: at + 1]}{text}\n\n{doc[at + 1 :]}"


def shapes(cls: type[Op], made: Op, inputs: Mapping[str, np.ndarray]) -> str:
    """What shapes an op takes and gives."""
    names = ", ".join(cls.inputs) + ("..." if cls.variadic else "")
    if issubclass(cls, Elementwise):
        return f"{names} (...){', which broadcast' if len(cls.inputs) > 1 else ''} -> (...)"
    if issubclass(cls, Reduction):
        return f"{names} (...) -> those of the axes that are left"
    given = ", ".join(f"{name} {x.shape}" for name, x in inputs.items())
    return f"for example {given} -> {made.shape(*[x.shape for x in inputs.values()])}"


def example_of(made: Op, inputs: Mapping[str, np.ndarray], name: str) -> list[str]:
    """An example that runs, by the sample of an op; of random numbers and of several results it shows the shape."""
    lines = [f">>> {key} = {typed(x)}" for key, x in inputs.items()]
    options = [f"{key}={setting(value)}" for key, value in chosen(made).items()]
    call = f"tl.{name}({', '.join([*inputs, *options])})"
    shapes = made.shape(*[x.shape for x in inputs.values()])
    if made.visible > 1:
        return [*lines, f">>> len({call})", str(made.visible)]
    if made.results == 1 and not made.random and not made.states:
        with contextlib.suppress(Exception), np.errstate(all="ignore"):  # as where SciPy is missing
            shown = repr(wrap(np.asarray(made.forward(np, *inputs.values()))))
            if math.prod(shapes) <= SHORT and "\n\n" not in shown:
                return [*lines, f">>> {call}", *shown.split("\n")]
    return [*lines, f">>> {call}.shape", repr(shapes if made.results == 1 else shapes[0])]


def chosen(made: Op) -> dict[str, Any]:
    """The attributes of an op that differ from their defaults, by the names that callers use."""
    fields = [field for field in dataclasses.fields(made) if getattr(made, field.name) != field.default]
    return {field.metadata.get("alias") or field.name: getattr(made, field.name) for field in fields}


def setting(value: Any) -> str:
    """An attribute as one types it."""
    return f"tl.OPS[{value.name!r}]{repr(value)[len(value.name) :]}" if isinstance(value, Op) else repr(value)


def typed(x: np.ndarray) -> str:
    """An array as one types it."""
    kind = "" if x.dtype == float and x.size else f", dtype={str(x.dtype)!r}"
    return f"tl.Tensor({x.tolist()!r}{kind})".replace("Infinity", "np.inf")


def of_function(function: Callable[..., Any], doc: str, name: str) -> str:
    """The docstring of a function that is written in ops: its parameters, where it is not smooth and an example."""
    meanings, own, rough = tables()
    lines = []
    for key, parameter in inspect.signature(function).parameters.items():
        default = "" if parameter.default is parameter.empty else f" ({parameter.default!r} by default)"
        lines.append(f"{key}: {own.get(f'{name}.{key}') or meanings[key]}{default}")
    doc = section(doc, "Parameters", lines)
    doc = section(doc, "Not smooth", [rough[name]] if name in rough else [])
    return section(doc, "Example", alone(examples()[name]))


def alone(example: Sequence[str]) -> list[str]:
    """An example with the imports that it needs."""
    imports = {"np.": ">>> import numpy as np", "tl.": ">>> import tinygrad_lesson as tl"}
    return [*[line for name, line in imports.items() if any(name in told for told in example)], *example]


def table(text: str) -> dict[str, str]:
    """What lines `name name: meaning` say of each name."""
    found = (line.split(": ", 1) for line in text.replace("\n    ", " ").splitlines() if ": " in line)
    return {name: meaning for names, meaning in found for name in names.split()}


@functools.cache
def tables() -> tuple[dict[str, str], ...]:
    """What parameters mean, what they mean in one function, and where functions are not smooth."""
    text = Path(__file__).with_name("parameters.txt").read_text(encoding="utf-8")
    return tuple(table(part) for part in re.split(r"^# .*$", text.partition("\n\n")[2], flags=re.M))


@functools.cache
def examples() -> dict[str, list[str]]:
    """The examples of all functions, by name."""
    text = Path(__file__).with_name("examples.txt").read_text(encoding="utf-8")
    parts = re.findall(r"^(>>> tl\.([\w.]+)\(.*\n(?:(?!>>>).*\n)*)", text, re.M)
    return {name: part.rstrip().split("\n") for part, name in parts}
