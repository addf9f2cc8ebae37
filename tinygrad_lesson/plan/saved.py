"""A plan as JSON: numbered arrays, and calls of NumPy functions on them, for programs in any language to carry out.

The text is one object. ``arrays`` lists the arrays; each has ``shape`` and ``dtype``, and one of ``name`` (it is bound
from outside), ``value`` (a number), ``offset`` (bytes, in an arena of ``arena`` bytes), or ``of`` with ``start`` and
``strides`` (a view, in elements). ``setup``, ``forward``, ``backward`` and ``update`` (an optimizer's step; it may be
missing) list steps; each has the ``op`` that it comes from, and ``calls``: the function ``call``, its operands ``in``
and ``named``, and the number ``out`` of the array that takes the result. An operand is a number, a list of operands,
or an object: ``{"array": 3}``, ``{"dtype": "<f4"}``, ``{"slice": [0, 2, null]}``, ``{"float": "nan"}``,
``{"ellipsis": true}``. ``outputs`` tells where results, gradients and what is updated are.

A step that is a loop or a choice has ``nested`` instead of calls: ``kind`` is "scan" or "cond", ``programs`` are
objects as the whole is one, of which the forward part is carried out; `Nested` in `plan/calls.py` says how. ``held``
has for each the arrays that are always the same, by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import FormatError, GraphError
from tinygrad_lesson.files import parsed
from tinygrad_lesson.plan.calls import Array, Line, Nested, Program
from tinygrad_lesson.plan.inferred import is_known
from tinygrad_lesson.plan.trace import Call, Ref, numbers_in

FORMAT = "tinygrad_lesson plan 1"
PARTS = ("setup", "forward", "backward", "update")


def as_text(program: Program) -> str:
    """A program as JSON.

    Errors
        GraphError naming a step that is no list of NumPy calls.
    """
    import json

    return json.dumps({"format": FORMAT, **told_program(program)}, allow_nan=False)


def told_program(program: Program) -> dict[str, Any]:
    """A program."""
    parts = {part: [told_line(line) for line in getattr(program, part)] for part in PARTS}
    whole = {"arena": program.arena, "arrays": list(map(told_array, program.arrays))}
    return {**whole, **parts, "outputs": program.outputs}


def told_array(array: Array) -> dict[str, Any]:
    """An array without what is as usual."""
    told: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.str}
    if array.value is not None:
        told["value"] = told_operand(array.value)
    usual = Array._field_defaults
    for key in ("name", "offset", "of", "start", "strides"):
        if getattr(array, key) != usual[key]:
            told[key] = getattr(array, key)
    return told


def told_line(line: Line) -> dict[str, Any]:
    """A step."""
    if line.untraced:
        name = line.name or "a step"
        raise GraphError(f"plan.save: {name} ({line.op}) {line.untraced}; a file holds calls of NumPy alone")
    told = {"op": line.op, "name": line.name}
    if line.nested is not None:  # without calls, so that who does not know it does not pass over it
        return {**told, "nested": told_nested(line.nested)}
    return {**told, "calls": list(map(told_call, line.calls))}


def told_nested(nested: Nested) -> dict[str, Any]:
    """A loop or a choice."""
    held = [{name: told_operand((x.tolist(), x.dtype)) for name, x in h.items()} for h in nested.held]
    told = {"programs": list(map(told_program, nested.programs)), "held": held}
    return {**nested._asdict(), **told, "inputs": told_operand(nested.inputs)}


def told_call(call: Call) -> dict[str, Any]:
    """A call."""
    told = {"call": call.name, "in": told_operand(call.inputs), "out": call.out}
    if call.named:
        told["named"] = {key: told_operand(x) for key, x in call.named}
    return told if call.part is None else {**told, "part": call.part}


def told_operand(x: Any) -> Any:
    """An operand, so that JSON can hold it and nothing is lost."""
    match x:
        case Ref():
            return {"array": x.number}
        case tuple() | list():
            return [told_operand(part) for part in x]
        case slice():
            return {"slice": [x.start, x.stop, x.step]}
        case EllipsisType():
            return {"ellipsis": True}
        case np.dtype() | type():
            return {"dtype": np.dtype(x).str}
        case np.generic():
            return {x.dtype.name: told_operand(x.item())}
        case float() if not math.isfinite(x):
            return {"float": str(x)}
        case None | bool() | int() | float() | str():
            return x
    raise GraphError(f"plan.save: {x!r} cannot be written")


READ: dict[str, Callable[[Any], Any]] = {
    "array": lambda x: Ref(int(x)),
    "slice": lambda x: slice(*x),
    "ellipsis": lambda x: ...,
    "dtype": np.dtype,
    "float": float,
}


def operand(x: Any) -> Any:
    """An operand that `told_operand` wrote."""
    if isinstance(x, list):
        return tuple(map(operand, x))
    if isinstance(x, Mapping):
        ((kind, value),) = x.items()
        return READ[kind](value) if kind in READ else np.dtype(kind).type(operand(value))
    return x


def from_text(text: str, path: str) -> Program:
    """The program that a text holds.

    Errors
        FormatError naming the file and what is wrong in it.
    """
    whole = parsed(text, path)
    try:
        if not isinstance(whole, dict) or whole.get("format") != FORMAT:
            raise FormatError(f"{path}: this is no plan; expected JSON with format {FORMAT!r}")
        made = program_of(whole)
    except FormatError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(f"{path}: this plan is damaged: {type(error).__name__} {error}") from None
    return made


def program_of(told: Mapping[str, Any]) -> Program:
    """A program that `told_program` wrote."""
    arrays = list(map(array_of, told["arrays"]))
    parts = [list(map(line_of, {"update": [], **told}[part])) for part in PARTS]
    outputs = {str(name): int(v) for name, v in told["outputs"].items()}
    made = Program(arrays, parts[0], parts[1], parts[2], parts[3], outputs, int(told["arena"]))
    check(made)
    return made


def array_of(told: Mapping[str, Any]) -> Array:
    """An array that `told_array` wrote."""
    fields = {key: told[key] for key in ("name", "offset", "of", "start") if key in told}
    if "strides" in told:
        fields["strides"] = tuple(map(int, told["strides"]))
    if "value" in told:
        fields["value"] = operand(told["value"])
    return Array(tuple(map(int, told["shape"])), np.dtype(told["dtype"]), **fields)


def line_of(told: Mapping[str, Any]) -> Line:
    """A step that `told_line` wrote."""
    calls = []
    for call in () if "nested" in told else told["calls"]:
        if not is_known(call["call"]):
            raise ValueError(f"there is no call {call['call']!r}")
        named = tuple((str(key), operand(x)) for key, x in call.get("named", {}).items())
        calls.append(Call(call["call"], operand(call["in"]), named, int(call["out"]), part=call.get("part")))
    nested = nested_of(told["nested"]) if "nested" in told else None
    return Line(str(told["op"]), str(told["name"]), tuple(calls), nested=nested)


def nested_of(told: Mapping[str, Any]) -> Nested:
    """A loop or a choice that `told_nested` wrote."""
    pairs = [{str(name): operand(x) for name, x in h.items()} for h in told["held"]]
    held = tuple([{name: np.array(*pair) for name, pair in h.items()} for h in pairs])
    programs = tuple(map(program_of, told["programs"]))
    counts = [int(told[key]) for key in ("length", "carried", "scanned")]
    places = operand(told["inputs"]), tuple(map(int, told["outputs"]))
    if told["kind"] not in ("scan", "cond") or len(programs) != (1 if told["kind"] == "scan" else 2):
        raise ValueError(f"there is no step of kind {told['kind']!r} with {len(programs)} programs")
    length, carried, scanned = counts
    return Nested(told["kind"], programs, held, *places, length, carried, scanned, bool(told["reverse"]))


def check(program: Program) -> None:
    """Refuse arrays that lie outside of what they lie in: nothing in a file is to reach other memory.

    Errors
        ValueError saying which.
    """
    for v, a in enumerate(program.arrays):
        if any(n < 0 for n in a.shape) or a.dtype.hasobject:
            raise ValueError(f"array {v} is {a.shape} {a.dtype}")
        strides = a.strides or (0,) * len(a.shape)
        size = a.dtype.itemsize
        ends = [(n - 1) * s for n, s in zip(a.shape, strides, strict=True)] if 0 not in a.shape else []
        low, high = sum(min(0, e) for e in ends), sum(max(0, e) for e in ends)
        if a.of is not None and not 0 <= a.of < len(program.arrays):
            inside = False
        elif a.of is not None:
            room = math.prod(program.arrays[a.of].shape)
            inside = program.arrays[a.of].of is None and a.start + low >= 0 and a.start + high < max(1, room)
        elif a.offset is not None:
            span = high + 1 if a.strides else math.prod(a.shape)
            inside = low == 0 and a.offset >= 0 and a.offset + span * size <= program.arena
        else:
            inside = True
        if not inside:
            raise ValueError(f"array {v} reaches beyond its memory")
    lines = [line for part in PARTS for line in getattr(program, part)]
    calls = [call for line in lines for call in line.calls]
    numbers = [n for call in calls for n in (call.out, *numbers_in((call.inputs, call.named)))]
    nested = [line.nested for line in lines if line.nested is not None]
    numbers += [n for step in nested for n in (*step.outputs, *numbers_in(step.inputs))]
    if any(not 0 <= n < len(program.arrays) for n in [*numbers, *program.outputs.values()]):
        raise ValueError("a call names an array that is not there")
