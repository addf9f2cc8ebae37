"""One plan for networks of any depth and width: the calls that repeat, written once, with sizes as formulas.

The plans of networks that differ only in their sizes differ only in whole numbers, and in how often a stretch of calls
is repeated. `family` finds both in the plans of a few sizes; `calls_at` gives the calls for sizes that were not among
them. So a program in another language, which has no compiler of plans, carries out the engine's plan for any depth.

An array is what it is called, or the number of the call that first writes to it; an operand is the part of one that it
reads: ``["array", array, shape, strides, start]``, in elements. A name has its number taken out, ``["fc#_weight", 3]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import GraphError
from tinygrad_lesson.plan.calls import Array, Program
from tinygrad_lesson.plan.saved import PARTS, told_line, told_operand
from tinygrad_lesson.plan.trace import Call, Ref

LONGEST = 120  # calls of a stretch that repeats
NUMBER = re.compile(r"\d+(?=_)")  # in a name


class Sizes(NamedTuple):
    """The sizes of a network: its hidden layers, their width, and the features of a row."""

    depth: int
    width: int
    features: int


class Whole(NamedTuple):
    """The place of a whole number in a call: it is number `n` of those that may depend on the sizes."""

    n: int


class Flat(NamedTuple):
    """A call without its whole numbers, and these."""

    part: str
    pattern: Any
    numbers: tuple[int, ...]


class Stretch(NamedTuple):
    """Calls that stand once, or once for each hidden layer but one, with a formula for each whole number."""

    repeated: bool
    calls: list[Flat]
    formulas: list[list[tuple[int, ...]]]


def terms(sizes: Sizes, repetition: int) -> list[int]:
    """What a formula multiplies: its coefficients stand in this order."""
    depth, width, features = sizes
    return [1, repetition, depth, width, width * repetition, width * depth, features]


def flattened(program: Program) -> list[Flat]:
    """The calls of a program, in order.

    Errors
        GraphError for a step that is no list of calls.
    """
    lines = [(part, line) for part in PARTS for line in getattr(program, part)]
    for _, line in lines:
        told_line(line)  # which refuses what is no call
    written: dict[int, int] = {}
    flat: list[Flat] = []
    for part, call in [(part, call) for part, line in lines for call in line.calls]:
        written.setdefault(root_of(program.arrays, call.out), len(flat))
        numbers: list[int] = []
        pattern = told_call(program.arrays, call, written, numbers)
        flat.append(Flat(part, pattern, tuple(numbers)))
    return flat


def root_of(arrays: list[Array], v: int) -> int:
    """The array in whose memory array `v` lies."""
    of = arrays[v].of
    return v if of is None else of


def told_call(arrays: list[Array], call: Call, written: Mapping[int, int], numbers: list[int]) -> Any:
    """A call as nested tuples; its whole numbers go into `numbers`."""

    def whole(n: int) -> Whole:
        numbers.append(int(n))
        return Whole(len(numbers) - 1)

    def place(v: int) -> Any:
        root, a = root_of(arrays, v), arrays[v]
        name = arrays[root].name
        found = NUMBER.search(name)
        at: Any = name or whole(written[root])
        if found:
            at = (f"{name[: found.start()]}#{name[found.end() :]}", whole(int(found[0])))
        strides = None if a.strides is None else tuple(map(whole, a.strides))
        return ("array", at, tuple(map(whole, a.shape)), strides, whole(a.start))

    def operand(x: Any) -> Any:
        if isinstance(x, Ref):
            return place(x.number)
        if type(x) is int:
            return whole(x)
        return ("list", *map(operand, x)) if isinstance(x, tuple) else told_operand(x)

    if call.part is not None:
        raise GraphError(f"family: {call.name} has several results; only calls with one are known here")
    inputs = tuple(map(operand, call.inputs))
    return (call.name, place(call.out), inputs, tuple([(key, operand(x)) for key, x in call.named]))


def family(program_of: Callable[[Sizes], Program], samples: list[Sizes], tried: Sizes) -> list[Stretch]:
    """What the programs of all sizes have in common, from those of some `samples`, the deepest first.

    The samples differ in depth, width and features, each by itself and the first two together; `tried` is none of
    them.

    Errors
        GraphError where the calls for the sizes `tried` are not those that `program_of` makes.
    """
    flat = {sizes: flattened(program_of(sizes)) for sizes in samples}
    stretches: list[Stretch] = []
    at = dict.fromkeys(samples, 0)
    deepest = samples[0]
    while at[deepest] < len(flat[deepest]):
        found = period(flat[deepest], at[deepest], deepest.depth - 1)
        times, length = {sizes: sizes.depth - 1 if found else 1 for sizes in samples}, found or 1
        rows, seen = [], []
        for sizes in samples:
            for repetition in range(times[sizes]):
                rows.append(terms(sizes, repetition))
                seen.append(flat[sizes][at[sizes] : at[sizes] + length])
                at[sizes] += length
        given = [[n for call in calls for n in call.numbers] for calls in seen]
        formulas = iter(formulas_of(rows, given))
        each = [[next(formulas) for _ in call.numbers] for call in seen[0]]
        stretches.append(Stretch(found > 0, seen[0], each))
    if calls_at(stretches, tried) != flattened(program_of(tried)):
        raise GraphError(f"family: the calls for {tried} are not those of its plan")
    return stretches


def period(calls: list[Flat], start: int, times: int) -> int:
    """The length of the stretch at `start` that is repeated so many times, 0 where none is.

    From one repetition to the next each whole number grows by the same.
    """
    for length in range(1, min(LONGEST, (len(calls) - start) // max(times, 1)) + 1 if times > 1 else 0):
        columns = (calls[start + k : start + k + times * length : length] for k in range(length))
        if all(map(grows_evenly, columns)):
            return length
    return 0


def grows_evenly(column: list[Flat]) -> bool:
    """Whether these calls are alike, and their whole numbers grow by the same from one to the next."""
    first, second, *rest = column
    if any(call.part != first.part or call.pattern != first.pattern for call in column):
        return False
    growth = [b - a for a, b in zip(first.numbers, second.numbers, strict=True)]
    for before, after in zip([second, *rest], rest, strict=False):
        if [b - a for a, b in zip(before.numbers, after.numbers, strict=True)] != growth:
            return False
    return True


def formulas_of(rows: list[list[int]], numbers: list[list[int]]) -> list[tuple[int, ...]]:
    """For each column of `numbers` its coefficients: what they give for the `rows` of terms."""
    known = np.array(rows, float)
    used: list[int] = []  # terms that the samples tell apart
    for column in range(known.shape[1]):
        if np.linalg.matrix_rank(known[:, [*used, column]]) > len(used):
            used.append(column)
    found = np.zeros((known.shape[1], len(numbers[0])))
    found[used] = np.linalg.lstsq(known[:, used], np.array(numbers, float), rcond=None)[0]
    return [tuple(map(int, column)) for column in np.rint(found).T]


def calls_at(stretches: list[Stretch], sizes: Sizes) -> list[Flat]:
    """The calls for a network of these sizes."""
    made = []
    for stretch in stretches:
        for repetition in range(sizes.depth - 1 if stretch.repeated else 1):
            row = terms(sizes, repetition)
            for call, formulas in zip(stretch.calls, stretch.formulas, strict=True):
                numbers = [sum(a * b for a, b in zip(row, formula, strict=True)) for formula in formulas]
                made.append(call._replace(numbers=tuple(numbers)))
    return made


def as_data(stretches: list[Stretch]) -> list[dict[str, Any]]:
    """The stretches for JSON: a whole number is itself, or ``{"#": coefficients}``."""
    return [
        {
            "repeated": stretch.repeated,
            "calls": [
                {"part": call.part, "call": filled(call.pattern, list(map(told_formula, formulas)))}
                for call, formulas in zip(stretch.calls, stretch.formulas, strict=True)
            ],
        }
        for stretch in stretches
    ]


def told_formula(coefficients: tuple[int, ...]) -> Any:
    """A number where nothing depends on the sizes."""
    if any(coefficients[1:]):
        return {"#": list(coefficients)}
    return coefficients[0]


def filled(pattern: Any, numbers: list[Any]) -> Any:
    """A pattern with whole numbers in their places."""
    if isinstance(pattern, Whole):
        return numbers[pattern.n]
    return [filled(part, numbers) for part in pattern] if isinstance(pattern, tuple) else pattern
