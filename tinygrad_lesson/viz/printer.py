"""Writes down the calls of a trace as lines of NumPy.

A value that is used once stands where it is used; one that is used again, or that is too long, gets a line of its
own. Where a call writes into a value that is there, every call has its line.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import GraphError
from tinygrad_lesson.plan.trace import REDUCTIONS, Call, Ref, Trace, numbers_in

WIDTH = 80  # characters above which the parts of an expression get lines of their own
SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**",
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
NAMES = {f"{ufunc}.reduce": name for name, ufunc in REDUCTIONS.items()}


class Word(NamedTuple):
    """How the program speaks of a value: a name, a number or an expression; `signed`, if by an operator."""

    text: str
    signed: bool = False


class Printer:
    """Writes a program. `lines` is what stands there so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.taken = {"np", "given", "draw"}

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

    def write(self, trace: Trace, inputs: Sequence[Word], names: Sequence[str]) -> list[Word]:
        """The lines of one op on `inputs`, the values that its trace begins with; results get these names, if any."""
        words = dict(enumerate(inputs))
        uses = Counter(number for call in trace.calls for number in numbers_in((call.inputs, call.named)))
        made = Counter(call.out for call in trace.calls)
        line_by_line = any(
            call.out < len(inputs) or made[call.out] > 1 or call.name == "copyto" for call in trace.calls
        )
        for number, spec in enumerate(trace.values):
            if number >= len(inputs) and not made[number]:
                words[number] = self.line("t", f"np.empty({spec.shape}, np.{spec.dtype})")
        for call in trace.calls:
            word = self.expression(call, words)
            if call.out in words:  # it is written to
                place = words[call.out].text
                if call.name == "copyto":
                    place, word = self.word(call.inputs[0], words), Word(self.word(call.inputs[1], words))
                anew = (
                    not trace.values[call.out].shape and call.name != "copyto"
                )  # NumPy makes a number of it
                self.lines.append(f"{place} = {word.text}" if anew else f"{place}[...] = {word.text}")
            elif line_by_line or uses[call.out] > 1 or (uses[call.out] and len(word.text) > WIDTH // 2):
                words[call.out] = self.line("t", word.text)
            else:
                words[call.out] = word
        results = [words[number] for number in trace.results]
        return (
            [self.line(name, word.text) for name, word in zip(names, results, strict=False)]
            if names
            else results
        )

    def line(self, wanted: str, text: str) -> Word:
        """A line that gives a value a name."""
        name = self.free_name(wanted)
        self.lines.append(f"{name} = {text}")
        return Word(name)

    def word(self, x: Any, words: dict[int, Word], *, inside: bool = False) -> str:
        """An operand as it stands in an expression: in brackets, if by an operator, unless `inside` of such."""
        if isinstance(x, Ref):
            word = words[x.number]
            return f"({word.text})" if word.signed and not inside else word.text
        if isinstance(x, tuple):
            comma = "," if len(x) == 1 else ""
            return f"({', '.join([self.word(part, words, inside=True) for part in x])}{comma})"
        return literal(x)

    def expression(self, call: Call, words: dict[int, Word]) -> Word:
        """The call that gives a value."""
        name, inputs, named = NAMES.get(call.name, call.name), call.inputs, dict(call.named)
        if name == "[]":
            return Word(f"{self.word(inputs[0], words)}[{self.index(inputs[1], words)}]")
        if name == "transpose" and len(inputs) == 1 and not named:
            return Word(f"{self.word(inputs[0], words)}.T")
        if name == "array":
            return Word(literal(np.array(*inputs, **named)))
        if not named and name in SIGNS and len(inputs) == 2:
            left, right = (self.word(x, words) for x in inputs)
            return Word(f"{left} {SIGNS[name]} {right}", True)
        if not named and name == "negative":
            return Word(f"-{self.word(inputs[0], words)}", True)
        listed = [self.word(x, words, inside=True) for x in inputs]
        listed += [f"{key}={self.word(x, words, inside=True)}" for key, x in named.items()]
        part = "" if call.part is None else f"[{call.part}]"
        return Word(f"np.{name}({', '.join(listed)}){part}")

    def index(self, key: Any, words: dict[int, Word]) -> str:
        """What stands between the brackets of an index."""
        if isinstance(key, tuple) and not isinstance(key, Ref):
            return (
                ", ".join([self.index(k, words) for k in key]) + ("," if len(key) == 1 else "")
                if key
                else "()"
            )
        if isinstance(key, slice):
            ends = ["" if end is None else self.word(end, words) for end in (key.start, key.stop)]
            return ":".join([*ends, *([self.word(key.step, words)] if key.step is not None else [])])
        return self.word(key, words)


def literal(x: Any) -> str:
    """A value that is no array of the program, as Python writes it."""
    if x is ...:
        return "..."
    if isinstance(x, np.ndarray):
        listed = [literal(part) for part in x.tolist()] if x.ndim else [literal(x.item())]
        inner = f"[{', '.join(listed)}]" if x.ndim else listed[0]
        return f"np.array({inner}, np.{x.dtype})"
    if isinstance(x, list):
        return f"[{', '.join(map(literal, x))}]"
    if isinstance(x, type) and issubclass(x, np.generic):
        return f"np.{x.__name__}"
    if isinstance(x, np.dtype):
        return f"np.{x.name}"
    if isinstance(x, float | np.floating) and not np.isfinite(x):
        return "np.nan" if np.isnan(x) else "np.inf" if x > 0 else "-np.inf"
    if isinstance(x, np.generic):
        return f"np.{x.dtype}({literal(x.item())})"
    if x is None or isinstance(x, bool | int | float | complex | str):
        return repr(x)
    raise GraphError(f"{x!r:.60} cannot be written as a line of NumPy")
