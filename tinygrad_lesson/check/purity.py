"""How a subject behaves: does it repeat itself, does it write where it must not, are its numbers finite?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.compare import Rows, pulled
from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Arrays, Subject, is_loss, pull_back, repeatable
from tinygrad_lesson.eager.apply import AS_TOLD, AsTold
from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.graph import Node, ancestors

CLOSE = 1e-9  # part of the size by which the same sum, taken in another order, may differ at most


def disturbed(subject: Subject, values: Arrays, report: Report) -> bool:
    """Whether a second run gives other numbers, or a run writes into what it was given."""
    if not alike(values, subject.value(subject.arrays)):
        undetermined(report, "result")
        return True
    tensors, results = subject.recorded(subject.arrays)
    what = written_forward(subject, tensors, results) or written_backward(subject, tensors, results)
    if what:
        report.verdict, report.cause, report.sentence = "wrong", "in place", what
    return bool(what)


def unsteady(subject: Subject, values: Arrays, rows: Rows, rule: Arrays, times: tuple[int, int]) -> str:
    """What differs in so many more runs on the same numbers, forward and backward; empty if nothing does."""
    if not all(alike(values, subject.value(subject.arrays)) for _ in range(times[0])):
        return "result"
    again = (pulled(subject, subject.arrays, rows) for _ in range(times[1]))
    return "" if all(alike(rule, found) for found in again) else "gradient"


def alike(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two lists of arrays are equal, not-a-number included."""
    return all(
        np.array_equal(x, y, equal_nan=np.asarray(x).dtype.kind in "fc") for x, y in zip(a, b, strict=True)
    )


def written_forward(subject: Subject, tensors: Sequence[Any], results: Sequence[Any]) -> str:
    """What the function itself writes to, in words; empty if nothing that it was given."""
    for i, (x, t) in enumerate(zip(subject.arrays, tensors, strict=True)):
        if i not in subject.states and not alike([x], [t.array]):
            return f"the function writes into its input {subject.names[i]!r}"
    if subject.op is not None:
        return ""
    nodes = recorded_nodes(results)
    for node in nodes:
        op = node.op
        assert op is not None
        if op.random or op.states or alike_nearly(arrays_of(node), computed_again(node)):
            continue
        takers = [repr(user.op) for user in nodes if any(edge.node is node for edge in user.inputs)]
        if takers:
            return f"{' or '.join(dict.fromkeys(takers))} writes into its input, the result of {op!r}"
    return ""


def computed_again(node: Node) -> tuple[Any, ...]:
    """What the op of a recorded node makes of copies of its inputs."""
    assert node.op is not None
    with repeatable(), np.errstate(all="ignore"):
        y = node.op.forward(np, *[np.array(t.array) for t in node.inputs])
    return y if isinstance(y, tuple) else (y,)


def alike_nearly(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two lists of arrays are equal up to the order of sums."""
    for x, y in zip(a, b, strict=True):
        size = float(np.max(np.abs(y), where=np.isfinite(y), initial=0))
        if np.shape(x) != np.shape(y) or not np.allclose(x, y, CLOSE, CLOSE * size, equal_nan=True):
            return False
    return True


def written_backward(subject: Subject, tensors: Sequence[Any], results: Sequence[Any]) -> str:
    """What a rule writes to, in words; empty if nothing that belongs to others."""
    cotangents = [np.linspace(0.5, 1.5, y.size).reshape(y.shape) for y in results if not is_loss(y)]
    watching = Watching()
    try:
        pull_back([tensors[i] for i in subject.wanted], results, cotangents, watching.sweep)
    except Exception:  # it is raised again where gradients are looked at
        return ""
    for node, what in watching.found:
        rule = "the rule (vjp)" if node.op is subject.op else f"the rule (vjp) of {node.op!r}"
        return f"{rule} writes into {what}"
    return ""


class Watching(AsTold):
    """What was recorded; after each rule it is compared with copies. `found` is what was written to, and where."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Node, str]] = []
        self.given: list[tuple[Any, str]] = []
        self.kept: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        """An op as a function: that of the world that looks at nothing, which keeps those it has made."""
        return getattr(AS_TOLD, name)

    def operands(self, node: Any, gs: Any) -> Sequence[Any]:
        """What was recorded, and may not be written to; nor may the cotangent."""
        operands = super().operands(node, gs)
        inputs, names = operands[2:], node.op.name_inputs(len(operands) - 2)
        self.given = [(x, f"its input {name!r}") for x, name in zip(inputs, names, strict=True)]
        self.given += [(part, "a result that others still read") for part in arrays_of(node)]
        self.given += [(part, "the incoming gradient, which belongs to others too") for part in gs]
        self.kept = [np.array(x) for x, _ in self.given]
        return operands

    def compare(self, node: Node, operands: Any) -> None:
        """After a rule: what has it written to?"""
        for (x, what), before in zip(self.given, self.kept, strict=True):
            if x is not None and not alike([x], [before]):
                self.found.append((node, what))
                break

    def sweep(self, heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any]) -> list[Any]:
        """A reverse sweep that looks on."""
        return backprop(self, heads, wrt, self.compare)


def recorded_nodes(results: Sequence[Any]) -> list[Node]:
    """The recorded nodes behind results."""
    return [
        node for node in ancestors([y.node for y in results if y.node is not None]) if node.op is not None
    ]


def arrays_of(node: Node) -> tuple[Any, ...]:
    """What a recorded node computed, without new states."""
    values = node.values if isinstance(node.values, tuple) else (node.values,)
    assert node.op is not None
    return values[: len(values) - len(node.op.states)]


def undetermined(report: Report, what: str) -> None:
    """Two runs on the same numbers differ."""
    report.verdict = report.cause = "non-deterministic"
    report.sentence = f"the {what} differs from run to run on the same input"


def non_finite(subject: Subject, report: Report, values: Arrays, rule: Arrays) -> bool:
    """Whether there is a NaN or an infinity in the result, or in the gradient alone."""
    hint = "; check.first_nonfinite names the op"
    for v in values:
        if not np.isfinite(v).all():
            at = tuple(int(a) for a in np.argwhere(~np.isfinite(v))[0])
            report.verdict, report.sentence = "non-finite", f"the result holds {v[at]} at {list(at)}{hint}"
            return True
    for i, part in zip(subject.wanted, rule, strict=True):
        if not np.isfinite(part).all():
            r, c = np.argwhere(~np.isfinite(part))[0]
            element = tuple(int(a) for a in np.unravel_index(c, subject.arrays[i].shape))
            report.worst = [Entry(subject.names[i], element, "result", float(part[r, c]), np.nan, np.nan)]
            report.verdict = "non-finite"
            report.sentence = f"the result is finite, but not the gradient by the rule{hint}"
            return True
    return False
