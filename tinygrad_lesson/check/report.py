"""What a check says: a verdict, where, by how much, and why most likely."""

import dataclasses
from typing import Any

import numpy as np

from tinygrad_lesson.errors import LessonError

VERDICTS = ("ok", "wrong", "kink", "float noise", "non-deterministic", "non-finite", "cannot tell")
CAUSES = (
    "sign", "factor", "transposed", "broadcast sum", "wrong input", "accumulation", "missing term", "kink",
    "discontinuity", "float noise", "non-deterministic", "in place",
)  # fmt: skip
Element = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One derivative: of which result, for which element of which input, by rule and by differences."""

    input: str
    element: Element | None
    output: str
    analytic: float
    numeric: float
    error_bar: float

    @property
    def relative_error(self) -> float:
        """The difference over the larger of the two."""
        larger = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / larger if larger else 0.0


@dataclasses.dataclass(frozen=True)
class Culprit:
    """The recorded op whose own rule fails at the very inputs it had."""

    label: str
    name: str
    place: str
    position: int
    count: int
    report: "Report"

    def __str__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"{self.label}{named}, op {self.position} of {self.count}, declared in {self.place}"


@dataclasses.dataclass
class Report:
    """What a gradient check found; `str(report)` is the page to read.

    `ok` is whether rule and differences agree everywhere. Otherwise `verdict` says what is the matter
    and `cause` why most likely, by one of the words of `CAUSES`; `input`, `element`, `analytic`,
    `numeric` and `error_bar` are those of the worst derivative.
    """

    title: str
    verdict: str = "ok"
    cause: str = ""
    sentence: str = ""
    factor: float | None = None
    order: int = 1
    compared: int = 0
    worst: list[Entry] = dataclasses.field(default_factory=list)
    sharpest: float = 0.0  # the largest relative error where all is well
    culprit: Culprit | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    reproduce: str = ""

    @property
    def ok(self) -> bool:
        """Whether rule and differences agree."""
        return self.verdict == "ok"

    def __bool__(self) -> bool:
        return self.ok

    def first(self, field: str) -> Any:
        """A field of the worst derivative, None where none was found."""
        return getattr(self.worst[0], field) if self.worst else None

    @property
    def input(self) -> str | None:
        """Name of the input with the worst derivative."""
        return self.first("input")  # type: ignore[no-any-return]

    @property
    def element(self) -> Element | None:
        """Index of the worst element; None where whole directions were compared."""
        return self.first("element")  # type: ignore[no-any-return]

    @property
    def analytic(self) -> float | None:
        """The worst derivative by the rule."""
        return self.first("analytic")  # type: ignore[no-any-return]

    @property
    def numeric(self) -> float | None:
        """The same by differences."""
        return self.first("numeric")  # type: ignore[no-any-return]

    @property
    def error_bar(self) -> float | None:
        """How uncertain the numeric value is."""
        return self.first("error_bar")  # type: ignore[no-any-return]

    @property
    def relative_error(self) -> float | None:
        """The difference of the two over the larger."""
        return self.first("relative_error")  # type: ignore[no-any-return]

    def __str__(self) -> str:
        order = "" if self.order == 1 else f", order {self.order}"
        lines = [f"{self.title}{order}: {self.verdict}"]
        if self.ok:
            lines.append(f"  {self.compared} derivatives agree, relative error at most {self.sharpest:.1e}")
        if self.worst and not self.ok:
            w = self.worst[0]
            at = "" if w.element is None else f", element {list(w.element)}"
            lines.append(
                f"  input {w.input!r}{at}: by the rule {w.analytic:.10g}, by differences {number(w)}"
            )
            lines.append(f"  relative error {w.relative_error:.1e}")
        if self.cause:
            lines.append(f"  likely cause: {self.cause}: {self.sentence}")
        elif self.sentence:
            lines.append(f"  {self.sentence}")
        if self.culprit:
            lines.append(f"  culprit: {self.culprit}")
        if len(self.worst) > 1:
            lines += ["  worst derivatives", *(f"    {row}" for row in rows(self.worst))]
        lines += [f"  note: {note}" for note in self.notes]
        if self.reproduce and not self.ok:
            lines.append(f"  again: {self.reproduce}")
        return "\n".join(lines)


def number(entry: Entry) -> str:
    """A numeric value with its error bar."""
    return f"{entry.numeric:.10g} ± {entry.error_bar:.1g}"


def rows(entries: list[Entry]) -> list[str]:
    """The entries as a table."""
    cells = [("d output", "d input", "rule", "differences", "relative error")]
    for e in entries:
        at = "along a direction" if e.element is None else str(list(e.element))
        cells.append(
            (e.output, f"{e.input}{at}", f"{e.analytic:.6g}", f"{e.numeric:.6g}", f"{e.relative_error:.1e}")
        )
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells]


class GradientError(LessonError, AssertionError):
    """A gradient check that failed; `report` is what it found."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def as_code(array: np.ndarray, limit: int = 60) -> str:
    """An array as Python that makes it again; a large one is shortened in the middle."""
    if array.size > limit:
        return f"np.zeros({array.shape}, {str(array.dtype)!r})  # and the numbers of this run"
    kind = "" if array.dtype == np.float64 else f", dtype={str(array.dtype)!r}"
    return f"np.array({array.tolist()!r}{kind})"
