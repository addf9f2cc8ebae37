"""Who is to blame: the first recorded op whose own check fails at the very inputs it had."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lesson.check.explain import unrecorded
from tinygrad_lesson.check.report import Culprit, Report
from tinygrad_lesson.check.subject import Subject, SymbolSubject, differentiable, of_op, second
from tinygrad_lesson.check.verdict import Options, check, raised
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.op import Op

PACKAGE = str(Path(__file__).parents[1])


def blame(subject: Subject, report: Report, options: Options, order: int) -> None:
    """Name the culprit in `report`, and take over what its own check says; nothing happens where all pass.

    Each op is checked up to `order`.
    """
    nodes = [node for node in subject.graph() if node.op is not None]
    kinked: list[str] = []
    single = report.verdict == "float noise"
    quick, close = (Options(options.generator, full, single) for full in (False, None))
    for position, node in enumerate(nodes, 1):
        arrays = [t.array for t in node.inputs]
        if not any(np.asarray(x).dtype.kind == "f" and np.size(x) for x in arrays):
            continue
        assert node.op is not None
        found = check_alone(node.op, arrays, quick, order)
        if found.ok:
            continue
        if report.verdict not in ("ok", found.verdict):
            kinked += [repr(node.op)] if found.verdict == "kink" else []
            report.notes.append(f"op {position}, {node.op!r}: {found.verdict}")
            continue
        closer = check_alone(node.op, arrays, close, order)
        found = found if closer.ok else closer
        own = subject.op is not None or isinstance(subject, SymbolSubject)  # then nobody's code has called it
        called = "" if own else called_at(subject.graph, position - 1)
        report.culprit = Culprit(
            repr(node.op), node.name, place_of(type(node.op)), called, position,
            len(nodes), found,
        )  # fmt: skip
        report.verdict, report.cause, report.factor = found.verdict, found.cause, found.factor
        report.sentence, report.worst = found.sentence, report.worst or found.worst
        if found.verdict == "non-finite":
            report.sentence = f"in {node.op!r} {found.sentence}"
        return
    of_rules = report.cause not in ("in place", "cotangent", "stale state")
    if (
        kinked
        and of_rules
        and report.verdict == "wrong"
        and not any(unrecorded(subject, i)[0] for i in subject.wanted)
    ):
        report.verdict = report.cause = "kink"
        report.sentence = (
            f"every rule is right, but {kinked[0]} is at its kink here, and the slopes chosen there do not add up "
            "to that of the function; move the point away"
        )


def check_alone(op: Op, arrays: list[Any], options: Options, order: int) -> Report:
    """The check of one op; a rule that raises is wrong."""
    alone = of_op(op, arrays)
    try:
        found = check(alone, options)
        if found.ok and order > 1 and differentiable(alone):
            found = check(second(alone, options.generator), options)
    except Exception as error:
        return Report(repr(op), "wrong", sentence=f"the rule raises {raised(error)}")
    return found


def place_of(cls: type[Op]) -> str:
    """File and line of an op's rule."""
    rule = inspect.unwrap(cls.vjp)
    code = getattr(rule, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else f"{cls.__module__}.{cls.__qualname__}.vjp"


def called_at(graph: Callable[[], list[Node]], number: int) -> str:
    """Where the caller's code made op `number` of those that `graph` records, empty if it did not.

    It is recorded once more, and watched by Python's own means of profiling.
    """
    places: dict[Node, str] = {}

    def watch(frame: Any, event: str, _: Any) -> None:
        if event != "call" or frame.f_code is not Node.__init__.__code__:
            return
        node = frame.f_locals["self"]
        while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        if frame is not None:
            places[node] = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        nodes = [node for node in graph() if node.op is not None]
    finally:
        sys.setprofile(before)
    return places.get(nodes[number], "") if number < len(nodes) else ""
