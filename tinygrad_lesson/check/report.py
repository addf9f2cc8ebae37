"""What a check says: a verdict, where, by how much, and why most likely."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.shapes import show

VERDICTS = ("ok", "wrong", "kink", "float noise", "non-deterministic", "non-finite", "cannot tell")
CAUSES = (
    "sign", "factor", "transposed", "broadcast sum", "wrong input", "accumulation", "missing term", "kink",
    "discontinuity", "float noise", "non-deterministic", "in place", "cotangent", "stale state",
)  # fmt: skip
SPELLED = 20  # numbers up to which an array is written out
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

    @property
    def place(self) -> str:
        """Input and element as one writes them."""
        return f"{self.input}{'' if self.element is None else list(self.element) or ''}"


@dataclasses.dataclass
class OneOp:
    """An op among those of a function: name, label and number, its node in a symbol, where it was called.

    `ok` is whether none was found.
    """

    title: str
    count: int = 0
    op: str = ""
    label: str = ""
    name: str = ""
    position: int = 0
    called: str = ""

    @property
    def ok(self) -> bool:
        """Whether none was found."""
        return not self.op

    @property
    def which(self) -> str:
        """The op in words."""
        named = f"{self.name} = " if self.name else ""
        called = f", called at {self.called}" if self.called else ""
        return f"{named}{self.label}, op {self.position} of {self.count}{called}"


@dataclasses.dataclass
class Culprit(OneOp):
    """The recorded op whose own rule fails at the very inputs it had; `place` is the source line of the rule."""

    place: str = ""
    report: Report | None = None

    def __str__(self) -> str:
        return f"{self.which}; its rule: {self.place}"


def of_worst(name: str, doc: str) -> Any:
    """A property of a report: that of its worst derivative, None where none was found."""
    return property(lambda report: getattr(report.worst[0], name) if report.worst else None, doc=doc)


@dataclasses.dataclass(repr=False)
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
    failed: int = 0  # of the derivatives that were compared
    directions: int = 0  # of each input, along which all were compared at once; 0 where one by one
    worst: list[Entry] = dataclasses.field(default_factory=list)
    sharpest: float = 0.0  # the largest relative error where all is well
    culprit: Culprit | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    reproduce: str = ""
    sides: tuple[str, str] = ("rule", "differences")  # what was compared
    drawn: Sequence[Any] = dataclasses.field(default=(), repr=False)  # the blocks that `plot` shows, by input

    @property
    def ok(self) -> bool:
        """Whether rule and differences agree."""
        return self.verdict == "ok"

    def __bool__(self) -> bool:
        return self.ok

    def refuse(self, verdict: str, cause: str, sentence: str, worst: Any = (), **more: Any) -> None:
        """Take down what is the matter, and the derivatives that show it."""
        self.verdict, self.cause, self.sentence = verdict, cause, sentence
        vars(self).update(worst=list(worst), failed=len(worst), **more)

    input = of_worst("input", "Name of the input with the worst derivative.")
    element = of_worst("element", "Index of the worst element; None where whole directions were compared.")
    analytic = of_worst("analytic", "The worst derivative by the rule.")
    numeric = of_worst("numeric", "The same by differences.")
    error_bar = of_worst("error_bar", "How uncertain the numeric value is.")
    relative_error = of_worst("relative_error", "The difference of the two over the larger.")

    def __str__(self) -> str:
        order = "" if self.order == 1 else f", order {self.order}"
        lines = [f"{self.title}{order}: {self.verdict}"]
        shown = [] if self.ok else self.worst
        if self.ok and self.compared:
            several = "direction" if self.directions == 1 else "directions"
            along = f" along {self.directions} random {several} of each input" if self.directions else ""
            most = "" if np.isnan(self.sharpest) else f", relative error at most {self.sharpest:.1e}"
            lines.append(f"  {self.compared} derivatives agree{most}{along}")
        if shown:
            at = "" if self.element is None else f", element {list(self.element)}"
            lines.append(f"  worst at input {self.input!r}{at}")
        if self.cause and self.cause != self.verdict:
            lines.append(f"  likely cause: {self.cause}: {self.sentence}")
        elif self.sentence:
            named = not self.sentence.startswith(("the ", "some ", "what "))  # a name keeps its spelling
            first = self.sentence[:1]
            lines.append(f"  {first if named else first.upper()}{self.sentence[1:]}")
        if self.culprit:
            lines.append(f"  culprit: {self.culprit}")
        cells = table(shown, self.sides)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells if shown else ():
            padded = "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True))
            lines.append(f"  {padded}".rstrip())
        if self.failed > len(self.worst) > 0:
            lines.append(f"  ... {self.failed} of {self.compared} derivatives in all")
        lines += [f"  note: {note}" for note in self.notes]
        if self.reproduce and not self.ok:
            lines.append(f"  again: {self.reproduce}")
        return "\n".join(lines)

    @np.errstate(all="ignore")
    def plot(self) -> Any:
        """Two pictures: rule against differences, and how the worst derivative comes out by length of step.

        On the left right derivatives lie on the diagonal. On the right rounding makes the curve rise to the left,
        curvature to the right; if the rule is right there is a valley. Needs matplotlib. The two axes.

        Errors
            LessonError where nothing was compared.
        """
        if not self.drawn:
            raise LessonError(f"{self.title}: nothing was compared, so there is nothing to draw")
        from matplotlib import pyplot

        axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")[1]
        for block in self.drawn:
            bars = np.where(np.isfinite(block.error), block.error, 0.0)
            known = (field.ravel() for field in (block.analytic, block.numeric, bars))
            axes[0].errorbar(*known, fmt="o", label=block.name)
        ends = axes[0].get_xlim()
        axes[0].plot(ends, ends, ":", color="gray")
        axes[0].set(xlabel=f"by {self.sides[0]}", ylabel=f"by {self.sides[1]}", title=self.title)
        axes[0].legend()
        block = max(self.drawn, key=lambda block: np.nan_to_num(block.gap).max())
        r, k = np.unravel_index(np.argmax(np.nan_to_num(block.gap)), block.gap.shape)
        steps = (10.0 ** np.arange(-13, 0, 0.25)).tolist()
        found = [(block.along(k, h) - block.along(k, -h))[r] / (2 * h) for h in steps]
        axes[1].loglog(steps, np.abs(found - block.analytic[r, k]), ".-")
        title = f"worst derivative, {block.name}"
        axes[1].set(xlabel="step h", ylabel="central difference less rule", title=title)
        return axes

    __repr__ = __str__  # what a prompt shows

    def _repr_html_(self) -> str:
        """The page, for a notebook: the table of derivatives as one."""
        text = str(dataclasses.replace(self, worst=[], failed=0))
        head = f"<pre>{html.escape(text)}</pre>"
        if self.ok or not self.worst:
            return head
        made = ""
        for tag, row in zip(["th", *["td"] * len(self.worst)], table(self.worst, self.sides), strict=True):
            made += "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in row) + "</tr>"
        return f"{head}<table>{made}</table>"


def element_at(number: Any, shape: Sequence[int]) -> Element:
    """The index of an element by its number."""
    return tuple(int(n) for n in np.unravel_index(int(number), shape))


def table(entries: Sequence[Entry], sides: tuple[str, str]) -> list[tuple[str, ...]]:
    """The cells of a table of entries, titles first."""
    cells: list[tuple[str, ...]] = []
    cells.append(("d result", "d input", *(f"by {side}" for side in sides), "relative error"))
    for e in entries:
        bar = "" if np.isnan(e.error_bar) else f" ± {e.error_bar:.0e}"
        place = e.place + (" (all, in a random direction)" if e.element is None else "")
        found = f"{e.numeric:.8g}{bar}"
        cells.append((e.output, place, f"{e.analytic:.8g}", found, f"{e.relative_error:.1e}"))
    return cells


class GradientError(LessonError, AssertionError):
    """A gradient check that failed; `report` is what it found."""

    def __init__(self, report: Any) -> None:
        super().__init__(str(report))
        self.report = report


def as_code(array: np.ndarray, name: str = "") -> str:
    """An array as Python that makes it again; instead of a large one its name and shape, if it has a name."""
    if name and array.size > SPELLED:
        return f"{name}{show(array.shape)}"
    same = array.size > 3 and np.all(array == array.flat[0])
    kind = "" if array.dtype == np.float64 else f", dtype={str(array.dtype)!r}"
    text = repr((array.flat[0] if same else array).tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    return f"np.full({array.shape}, {text}{kind})" if same else f"np.array({text}{kind})"
