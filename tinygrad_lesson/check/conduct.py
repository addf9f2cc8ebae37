"""How a subject behaves: does it repeat itself, does it write where it must not, are its numbers finite?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.report import Entry, Report
from tinygrad_lesson.check.subject import Arrays, Subject, is_loss, pull_back
from tinygrad_lesson.graph import Node, ancestors


def disturbed(subject: Subject, values: Arrays, report: Report) -> bool:
    """Whether a second run gives other numbers, or a run writes into what it was given."""
    if not alike(values, subject.value(subject.arrays)):
        undetermined(report, "result")
        return True
    what = written_forward(subject) or written_backward(subject)
    if what:
        report.verdict, report.cause, report.sentence = "wrong", "in place", what
    return bool(what)


def alike(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two lists of arrays are equal, not-a-number included."""
    return all(
        np.array_equal(x, y, equal_nan=np.asarray(x).dtype.kind in "fc") for x, y in zip(a, b, strict=True)
    )


def written_forward(subject: Subject) -> str:
    """Which input the function itself writes to, in words; empty if none."""
    return written(subject, [t.value for t in subject.recorded(subject.arrays)[0]], "the function writes")


def written_backward(subject: Subject) -> str:
    """What a rule writes to, in words; empty if nothing that others read."""
    tensors, results = subject.recorded(subject.arrays)
    nodes = recorded_nodes(results)
    before = [np.array(v) for node in nodes for v in arrays_of(node)]
    cotangents = [np.linspace(0.5, 1.5, y.size).reshape(y.shape) for y in results if not is_loss(y)]
    kept = [c.copy() for c in cotangents]
    try:
        pull_back([tensors[i] for i in subject.wanted], results, cotangents)
    except Exception:  # it is raised again where gradients are looked at
        return ""
    what = written(subject, [t.value for t in tensors], "the rule (vjp) writes")
    if what:
        return what
    if not alike(before, [v for node in nodes for v in arrays_of(node)]):
        return "a rule (vjp) writes into a result that others still read"
    if not alike(kept, cotangents):
        return "the rule (vjp) writes into the incoming gradient, which belongs to others too"
    return ""


def written(subject: Subject, now: Sequence[Any], who: str) -> str:
    """Which input was written to, in words."""
    for i, (x, y) in enumerate(zip(subject.arrays, now, strict=True)):
        if i not in subject.states and not alike([x], [y]):
            return f"{who} into its input {subject.names[i]!r}"
    return ""


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
