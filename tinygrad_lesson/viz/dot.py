"""Text for Graphviz: whatever a user calls a thing is written as text, never as markup, a link or a file."""

from __future__ import annotations

from collections.abc import Sequence

import graphviz

LONGEST = 60  # characters of a line that are shown; the whole of it stands in the tooltip
SHAPE = {"shape": "box", "style": "filled,rounded", "fillcolor": "#ffffff", "color": "#555555"}
TEXT = {"fontname": "Helvetica", "fontsize": "12", "margin": "0.22,0.05", "height": "0.3"}
BOX = {**SHAPE, **TEXT}
ARROW = {
    "fontname": "Helvetica",
    "fontsize": "10",
    "color": "#555555",
    "fontcolor": "#555555",
    "arrowsize": "0.7",
}
FAST = {"nslimit": "1", "nslimit1": "1"}  # a layout of many clusters takes a tenth of the time


def as_label(*lines: str | Sequence[str]) -> str:
    """Lines that Graphviz shows as they are: no markup, no escapes, no entities.

    A line may come in pieces, each of which is cut by itself: a long name leaves the number beside it whole.
    """
    pieces = [[line] if isinstance(line, str) else line for line in lines]
    told = [printable("".join(map(shortened, line))) for line in pieces]
    escaped = [graphviz.escape(line).replace("&", "&amp;") for line in told]
    label: str = graphviz.nohtml(r"\n".join(escaped))
    return label


def as_tooltip(*lines: str) -> str:
    """The same lines whole, to be read where the mouse rests; Graphviz reads escapes in them twice."""
    escaped = [printable(line).replace("&", "&amp;").replace("\\", r"\\") for line in lines]
    tooltip: str = graphviz.nohtml(graphviz.escape("&#10;".join(escaped)))
    return tooltip


def shortened(text: str) -> str:
    """A text cut to a length that fits a box."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 20]} ... ({len(text)} characters)"


def printable(text: str) -> str:
    """A text without characters that do not print or turn it around."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def as_name(text: str) -> str:
    """A title as the name of a graph, which becomes a file name."""
    return "".join(c if c.isalnum() or c in "-_ " else "_" for c in text)[:80] or "plot"
