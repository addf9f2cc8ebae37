"""Boxes and arrows, before they become text for Graphviz: folded, framed, coloured by kind, with a legend."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import graphviz

from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op
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
MANY = 16  # values read again above which they are named, for so many arrows would hide the picture
CLOSE = {"ranksep": "0.2", "nodesep": "0.15"}  # inches between boxes, where several parts stand side by side
LARGE = 100  # boxes above which blocks that repeat are folded


def kind_of(op: Op) -> str:
    """The kind of an op's box: its family, or that it treats each element alike if the family has no colour."""
    return "elementwise" if op.family not in KINDS and isinstance(op, Elementwise) else op.family


class Arrow(NamedTuple):
    """Where a value comes from: the place of a box, what is told about the value, and the arrow's kind.

    Kinds are `value`, and in a backward part `gradient`, `factor` of one, `number`, and `used`: a value that it
    reads again; in that of a plan, which does not tell them apart, `backward`.
    """

    source: int
    label: str = ""
    kind: str = "value"


@dataclasses.dataclass
class Box:
    """An op or a leaf: `lines` are shown below its name; `kind` is that of an op or one of `LEAVES`."""

    name: str
    lines: list[str]
    kind: str
    arrows: list[Arrow] = dataclasses.field(default_factory=list)
    path: tuple[str, ...] = ()  # words that its name shares with others, which get a frame
    part: str = ""  # of a picture in several parts: forward, backward
    gives: str = "value"  # the kind of the arrows that leave it for a backward part
    structure: tuple[object, ...] = ()  # equal for boxes that may be folded into one

    @property
    def is_leaf(self) -> bool:
        """Whether it is no op."""
        return self.kind in LEAVES


class Layout(NamedTuple):
    """How boxes are drawn: the blocks that are folded, and the frames around each box, outermost first."""

    folds: list[Repeat]
    frames: list[tuple[str, ...]]
    wide: bool  # whether leaves hold more than their names
    read: dict[int, list[str]]  # for each box what it reads, where arrows would be too many

    def block(self, i: int) -> Repeat | None:
        """The folded blocks that box `i` belongs to."""
        return next((fold for fold in self.folds if fold.start <= i < fold.stop), None)

    def shown_for(self, i: int) -> int:
        """The box that is drawn for box `i`."""
        fold = self.block(i)
        return i if fold is None else fold.start + (i - fold.start) % fold.period

    def last_for(self, i: int) -> int:
        """The last of the boxes that are drawn as one with box `i`, which is the first."""
        fold = self.block(i)
        return i if fold is None else i + fold.period * (fold.times - 1)


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
    shown = [i for i in range(len(boxes)) if layout.shown_for(i) == i]
    drawing.attr(
        "graph", **(FAST if len(shown) > LARGE else {}), **(CLOSE if boxes and boxes[-1].part else {})
    )
    arrows = [(layout.shown_for(arrow.source), i, arrow) for i in shown for arrow in boxes[i].arrows]
    used = {(source, i): arrow for source, i, arrow in arrows if arrow.kind == "used"}
    arrows = [a for a in arrows if a[2].kind != "used"]
    if len(used) > MANY:
        layout.read.update({i: read_again(boxes, layout, i) for _, i in used})
    else:
        arrows += [(source, i, arrow) for (source, i), arrow in used.items()]
    add_boxes(drawing, boxes, layout, shown)
    for source, target, arrow in arrows:
        apart = layout.frames[source] != layout.frames[target] and not boxes[source].is_leaf
        add_arrow(drawing, source, target, arrow.kind, arrow.label, "2" if apart else "1")
    if legend:
        add_legend(drawing, [boxes[i] for i in shown], layout, {arrow.kind for *_, arrow in arrows})
    return drawing


def folds_of(boxes: Sequence[Box]) -> list[Repeat]:
    """Blocks that repeat, each within one part; what reads folded blocks of another part reads the first."""
    found: list[Repeat] = []
    layers = [box for box in boxes if KINDS.get(box.kind) == LAYER] or boxes
    first = {arrow.source for box in layers for arrow in box.arrows if boxes[arrow.source].is_leaf}
    begin = 0
    while begin < len(boxes):
        end = next((i for i in range(begin, len(boxes)) if boxes[i].part != boxes[begin].part), len(boxes))
        seen = Layout(found, [], False, {})
        inputs, kinds = [], []
        for box in boxes[begin:end]:
            again = [boxes[a.source] for a in box.arrows if a.kind == "used"]  # of these the kind counts
            own = [a.source for a in box.arrows if a.kind != "used"]
            inputs.append([i - begin if i >= begin else -1 - seen.shown_for(i) for i in own])
            kinds.append((box.kind, box.structure, *((one.kind, one.structure) for one in again)))
        starts = [begin + i in first for i in range(end - begin)]
        found = found + [r._replace(start=r.start + begin) for r in repeats(kinds, inputs, starts)]
        begin = end
    return found


def lay_out(boxes: Sequence[Box], folds: list[Repeat]) -> Layout:
    """Frames around parts, around boxes whose names begin alike, and around folded blocks."""
    layout = Layout(folds, [], any(box.is_leaf and box.lines for box in boxes), {})
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
    box, read = boxes[i], layout.read.get(i, ())
    more = [*box.lines, *([f"reads {', '.join(read)}"] if read else [])]
    lines = [line for line in (box.name and names_of(boxes, layout, i), *more) if line]
    look = {
        "label": as_label(*lines),
        "tooltip": as_tooltip(*(line for line in (box.name, *more) if line)),
    }
    if not box.is_leaf:
        return {**look, "fillcolor": KINDS.get(box.kind, OTHER)[0], "class": "op"}
    return look | look_of_leaf(box.kind, layout.wide)


def names_of(boxes: Sequence[Box], layout: Layout, i: int) -> list[str]:
    """The name of a box, or the first and the last of those that it stands for, in pieces."""
    return from_to(boxes[i], boxes[layout.last_for(i)])


def from_to(first: Box, last: Box) -> list[str]:
    """The names of two boxes, which stand for those between: `gradient of fc7 ... fc2_weight`; or the name of both."""
    if not first.name or last.name == first.name:
        return [first.name or "".join(first.lines[:1])]
    words = first.name[: first.name.rfind(" ") + 1]
    stem, _, ending = first.name.partition("_")
    name = stem if ending and ending == last.name.partition("_")[2] else first.name
    return [name, " \N{HORIZONTAL ELLIPSIS} ", last.name.removeprefix(words)]


def read_again(boxes: Sequence[Box], layout: Layout, i: int) -> list[str]:
    """The names of what a box of a backward part reads again: of folded boxes what the first and the last read."""
    first, last = ([a.source for a in boxes[j].arrows if a.kind == "used"] for j in (i, layout.last_for(i)))
    pairs = zip(first, last, strict=True)
    return ["".join(map(shortened, from_to(boxes[a], boxes[b]))) for a, b in pairs]


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
    if kind in ("gradient", "factor", "backward"):
        look = {} if kind == "factor" else {"color": GRADIENT, "fontcolor": GRADIENT, "class": "own"}
        drawing.edge(f"n{target}", f"n{source}", label=text, minlen=rows, dir="back", **look)
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
    rows += [(kind, look_of_leaf(kind, layout.wide)) for kind in LEAVES if kind in kinds]
    if layout.folds:
        times = layout.folds[0].times
        rows.append((f"\N{MULTIPLICATION SIGN} {times}: a block, {times} times", PLAIN))
    orange = [kind for kind in ("gradient", "backward") if kind in arrows]
    rows += [(f"orange arrow: {kind}", {**PLAIN, "fontcolor": GRADIENT, "class": "own"}) for kind in orange]
    if "used" in arrows:
        rows.append(("dashed: a value used again", PLAIN))
    legend = graphviz.Digraph(name="cluster_legend", graph_attr={"peripheries": "0", "label": "", **CLEAR})
    for i, (words, look) in enumerate(rows):
        legend.node(f"legend{i}", label=as_label(words), **{"fontsize": "10", "height": "0.25", **look})
        if i:
            legend.edge(f"legend{i - 1}", f"legend{i}", style="invis", minlen="1")
    drawing.subgraph(legend)
