"""Boxes and arrows, before they become text for Graphviz: folded, framed, coloured by kind, with a legend."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import graphviz

from tinygrad_lesson.viz.column import CLEAR, PLAIN, frame
from tinygrad_lesson.viz.dot import ARROW, BOX, FAST, as_label, as_name, as_tooltip, shortened
from tinygrad_lesson.viz.fold import Repeat, repeats
from tinygrad_lesson.viz.render import Drawing

# Okabe and Ito 2008, lightened: black text stands out, and colour-blind readers tell them apart.
LAYER = ("#f4b183", "layer: product of matrices, convolution")
PART = ("#e3c4e0", "elements moved or chosen")
TOTAL = ("#c9e7b4", "sum, mean, pooling")
KINDS = {
    "linear": LAYER, "conv": LAYER, "elementwise": ("#9bd0f5", "element by element"),
    "nn": ("#f7e38b", "normalization, softmax"), "reduce": TOTAL, "pool": TOTAL,
    "index": PART, "movement": PART,
    "loss": ("#f2a6a6", "loss"), "random": ("#d9d9d9", "random"),
}  # fmt: skip
OTHER = ("#ffffff", "other op")
LEAVES = {
    "input": "input",
    "parameter": "parameter",
    "state": "state",
    "constant": "constant",
    "result": "result",
}
GRADIENT = "#d55e00"  # Okabe and Ito's vermilion
LARGE = 100  # boxes above which blocks that repeat are folded


class Arrow(NamedTuple):
    """Where a value comes from: the place of a box, what is told about the value, and the arrow's kind.

    Kinds are `value`, and in a backward part `gradient`, `number`, and `used`: a value that it reads again.
    """

    source: int
    label: str = ""
    kind: str = "value"


@dataclasses.dataclass
class Box:
    """An op or a leaf: `lines` are shown below its name; `kind` is an op's family or one of `LEAVES`."""

    name: str
    lines: list[str]
    kind: str
    arrows: list[Arrow] = dataclasses.field(default_factory=list)
    path: tuple[str, ...] = ()  # words that its name shares with others, which get a frame
    part: str = ""  # of a picture in several parts: forward, backward
    structure: tuple[object, ...] = ()  # equal for boxes that may be folded into one

    @property
    def is_leaf(self) -> bool:
        """Whether it is no op."""
        return self.kind in LEAVES


class Layout(NamedTuple):
    """How boxes are drawn: the blocks that are folded, and the frames around each box, outermost first."""

    folds: list[Repeat]
    frames: list[tuple[str, ...]]

    def block(self, i: int) -> Repeat | None:
        """The folded blocks that box `i` belongs to."""
        return next((fold for fold in self.folds if fold.start <= i < fold.stop), None)

    def shown_for(self, i: int) -> int:
        """The box that is drawn for box `i`."""
        fold = self.block(i)
        return i if fold is None else fold.start + (i - fold.start) % fold.period


def draw_boxes(
    boxes: Sequence[Box],
    title: str,
    *,
    expand: bool | None,
    legend: bool,
    direction: str = "TB",
    form: str = "svg",
) -> graphviz.Digraph:
    """The picture as Graphviz' text; `expand` as in `viz.draw`."""
    fold = len(boxes) > LARGE if expand is None else not expand
    layout = lay_out(boxes, folds_of(boxes) if fold else [])
    drawing = Drawing(name=as_name(title), format=form, node_attr=BOX, edge_attr=ARROW)
    drawing.attr(
        "graph", rankdir=direction, fontname="Helvetica", fontsize="12", bgcolor="#ffffff", pad="0.1"
    )
    drawing.attr("graph", **(FAST if len(boxes) > LARGE else {}))
    shown = [i for i in range(len(boxes)) if layout.shown_for(i) == i]
    add_boxes(drawing, boxes, layout, shown)
    arrows: dict[tuple[int, int, str], list[Arrow]] = {}
    for i in shown:
        for arrow in boxes[i].arrows:
            key = layout.shown_for(arrow.source), i, arrow.kind
            arrows.setdefault(key, []).append(arrow)
    for (source, target, kind), parallel in arrows.items():
        for arrow in parallel:
            apart = layout.frames[source] != layout.frames[target] and not boxes[source].is_leaf
            add_arrow(drawing, source, target, kind, arrow.label, "2" if apart else "1")
    if legend:
        add_legend(drawing, [boxes[i] for i in shown], layout, {kind for _, _, kind in arrows})
    return drawing


def folds_of(boxes: Sequence[Box]) -> list[Repeat]:
    """Blocks that repeat, each within one part; what reads folded blocks of another part reads the first."""
    found: list[Repeat] = []
    begin = 0
    while begin < len(boxes):
        end = next((i for i in range(begin, len(boxes)) if boxes[i].part != boxes[begin].part), len(boxes))
        seen = Layout(found, [])
        inputs = [
            [a.source - begin if a.source >= begin else -1 - seen.shown_for(a.source) for a in box.arrows]
            for box in boxes[begin:end]
        ]
        kinds = [(box.kind, *box.structure) for box in boxes[begin:end]]
        starts = [box.is_leaf for box in boxes[begin:end]]
        found = found + [r._replace(start=r.start + begin) for r in repeats(kinds, inputs, starts)]
        begin = end
    return found


def lay_out(boxes: Sequence[Box], folds: list[Repeat]) -> Layout:
    """Frames around parts, around boxes whose names begin alike, and around folded blocks."""
    layout = Layout(folds, [])
    named = [box.path for box in boxes]
    users: dict[int, list[int]] = {}
    for i, box in enumerate(boxes):
        for arrow in box.arrows:
            users.setdefault(arrow.source, []).append(i)
    for i, box in enumerate(boxes):  # a leaf stands beside the only op that reads it
        if box.is_leaf and len(users.get(i, ())) == 1:
            named[i] = named[users[i][0]]
    count: dict[tuple[str, ...], int] = {}
    for box, path in zip(boxes, named, strict=True):
        for depth in range(1, len(path) + 1):
            count[path[:depth]] = count.get(path[:depth], 0) + (not box.is_leaf)
    around: dict[Repeat, tuple[str, ...]] = {}
    for fold in folds:
        words = zip(*named[fold.start : fold.stop], strict=False)
        around[fold] = tuple(word[0] for word in words if len(set(word)) == 1)
    for i, box in enumerate(boxes):
        path = named[i]
        path = path[: sum(count[path[: depth + 1]] > 1 for depth in range(len(path)))]
        block = layout.block(i)
        if block is not None:
            path = (*around[block], f"\N{MULTIPLICATION SIGN} {block.times} {block.start}")
        layout.frames.append((box.part, *path) if box.part else path)
    return layout


def add_boxes(drawing: graphviz.Digraph, boxes: Sequence[Box], layout: Layout, shown: Sequence[int]) -> None:
    """The boxes that are shown, each in its frames."""
    frames: dict[tuple[str, ...], graphviz.Digraph] = {(): drawing}
    for i in shown:
        path = layout.frames[i]
        for depth in range(1, len(path) + 1):
            if path[:depth] not in frames:
                frames[path[:depth]] = frame_of(len(frames), path[depth - 1], layout.block(i))
        frames[path].node(f"n{i}", **look_of(boxes, layout, i))
    for path in sorted(frames, key=len, reverse=True):
        if path:
            frames[path[:-1]].subgraph(frames[path])


def frame_of(number: int, text: str, block: Repeat | None) -> graphviz.Digraph:
    """A frame around boxes: with the word that their names share, or how often a block repeats."""
    if block is not None and text == f"\N{MULTIPLICATION SIGN} {block.times} {block.start}":
        return frame(str(number), block.times)
    look = {
        "style": "rounded",
        "color": "#999999",
        "labeljust": "l",
        "class": "block",
        "fontcolor": "#555555",
    }
    return graphviz.Digraph(name=f"cluster_{number}", graph_attr={**look, **CLEAR, "label": as_label(text)})


def look_of(boxes: Sequence[Box], layout: Layout, i: int) -> dict[str, str]:
    """Lines, colour and outline of one box, or of those that it stands for."""
    box, fold = boxes[i], layout.block(i)
    name = box.name
    if fold is not None and name:
        last = boxes[i + fold.period * (fold.times - 1)].name
        name = name if last == name else f"{shortened(name)} \N{HORIZONTAL ELLIPSIS} {shortened(last)}"
    lines = [line for line in (name, *box.lines) if line]
    look = {
        "label": as_label(*lines),
        "tooltip": as_tooltip(*(line for line in (box.name, *box.lines) if line)),
    }
    if not box.is_leaf:
        return {**look, "fillcolor": KINDS.get(box.kind, OTHER)[0], "class": "op"}
    return look | look_of_leaf(box.kind, has_values(boxes))


def has_values(boxes: Sequence[Box]) -> bool:
    """Whether leaves hold more than their names."""
    return any(box.is_leaf and box.lines for box in boxes)


def look_of_leaf(kind: str, wide: bool) -> dict[str, str]:
    """Outline of a leaf: what is given is white, and round unless `wide`; the others have their own."""
    shapes = {"parameter": "box", "state": "box", "constant": "plaintext", "result": "house"}
    look = {"shape": shapes.get(kind, "box" if wide else "ellipse"), "class": kind, "style": "filled"}
    if kind in ("parameter", "state"):
        look["fillcolor"] = "#e6e6e6"
    if kind == "constant":
        look |= {"style": "", "class": "plain", "margin": "0.03"}
    return look | ({"style": "filled,dashed"} if kind == "state" else {})


def add_arrow(drawing: graphviz.Digraph, source: int, target: int, kind: str, label: str, rows: str) -> None:
    """One arrow, over so many `rows`; a backward part is drawn upwards, beside the forward part."""
    text = as_label(f" {label}" if label else "")
    if kind == "gradient":
        look = {"color": GRADIENT, "fontcolor": GRADIENT, "class": "own", "dir": "back"}
        drawing.edge(f"n{target}", f"n{source}", label=text, minlen=rows, **look)
    elif kind == "number":
        drawing.edge(f"n{target}", f"n{source}", dir="back")
    elif kind == "used":
        look = {"style": "dashed", "color": "#999999", "constraint": "false", "arrowsize": "0.5"}
        drawing.edge(f"n{source}", f"n{target}", **look)
    else:
        drawing.edge(f"n{source}", f"n{target}", label=text, minlen=rows)


def add_legend(drawing: graphviz.Digraph, boxes: Sequence[Box], layout: Layout, arrows: set[str]) -> None:
    """What the colours, outlines and arrows mean that occur in the picture."""
    colours = dict.fromkeys(KINDS.get(box.kind, OTHER) for box in boxes if not box.is_leaf)
    rows: list[tuple[str, dict[str, str]]] = [(words, {"fillcolor": colour}) for colour, words in colours]
    kinds = {box.kind for box in boxes if box.is_leaf}
    rows += [(kind, look_of_leaf(kind, has_values(boxes))) for kind in LEAVES if kind in kinds]
    if layout.folds:
        rows.append(("\N{MULTIPLICATION SIGN} 24: a block, 24 times", PLAIN))
    if "gradient" in arrows:
        rows.append(("orange arrow: gradient", {**PLAIN, "fontcolor": GRADIENT, "class": "own"}))
    if "used" in arrows:
        rows.append(("dashed: a value used again", PLAIN))
    legend = graphviz.Digraph(name="cluster_legend", graph_attr={"peripheries": "0", "label": "", **CLEAR})
    for i, (words, look) in enumerate(rows):
        legend.node(f"legend{i}", label=as_label(words), **{"fontsize": "10", "height": "0.25", **look})
        if i:
            legend.edge(f"legend{i - 1}", f"legend{i}", style="invis", minlen="1")
    drawing.subgraph(legend)
