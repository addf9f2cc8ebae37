"""One network as a column: its layers from the inputs down, with what stands between them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import graphviz

from tinygrad_lesson.train.marks import DEAD, VANISHING, WORDS
from tinygrad_lesson.viz.architecture import Part
from tinygrad_lesson.viz.dot import ARROW, BOX, as_label, as_name, as_tooltip
from tinygrad_lesson.viz.fold import Repeat
from tinygrad_lesson.viz.render import Drawing

SMALLEST = 1e-16  # where the scale of colours ends at the latest
SKIP = "#d55e00"  # Okabe and Ito's vermilion
GREY = "#eeeeee"
BAD = "#cc0000"
PLAIN = {"shape": "plain", "class": "plain", "fillcolor": "none", "style": ""}
CLEAR = {"bgcolor": "transparent"}  # of a cluster, which else has the page's own
MANY = 300  # parts shown above which Graphviz looks less long for the best places
TITLE_WIDTH = 18  # characters of a line of a title: no more than a layer is wide, in any font
STRIPES = 48  # a folded block shows so many layers one by one, of more the worst of some
MARKED = {"style": "filled,rounded,dashed", "penwidth": "2", "color": "#808080"}
WRONG = {"style": "filled,rounded", "penwidth": "3", "color": BAD}
ENTRY = {"shape": "point", "width": "0.05", "class": "plain", "label": ""}
SKIPPING = {"color": SKIP, "penwidth": "1.8", "weight": "0", "class": "own"}


class Column(NamedTuple):
    """One network of a picture: its parts, and for each weight a number, if there are numbers.

    `names` are those of the weights in the order in which their layers are numbered.
    """

    title: str
    prefix: str  # of what Graphviz calls its nodes
    parts: list[Part]
    folds: list[Repeat]
    names: Sequence[str]
    numbers: Mapping[str, float] | None = None
    marks: Mapping[str, str] = {}  # by weight, what is wrong with its gradient, in a word

    def block(self, i: int) -> Repeat | None:
        """The blocks that part `i` belongs to, if they are folded."""
        return next((fold for fold in self.folds if fold.start <= i < fold.stop), None)

    def shown_for(self, i: int) -> int:
        """The part that is drawn for part `i`."""
        fold = self.block(i)
        return i if fold is None else fold.start + (i - fold.start) % fold.period

    def same(self, i: int) -> list[Part]:
        """The parts that are drawn as one with part `i`."""
        fold = self.block(i)
        return [self.parts[i]] if fold is None else self.parts[self.shown_for(i) : fold.stop : fold.period]

    @property
    def shown(self) -> list[int]:
        """The parts that are drawn."""
        return [i for i in range(len(self.parts)) if self.shown_for(i) == i]

    def add_to(self, drawing: graphviz.Digraph, scale: Scale) -> list[str | None]:
        """Draw the network downwards; what stands for each layer, None for all but the first of a block."""
        title = textwrap.wrap(self.title, TITLE_WIDTH, break_long_words=False)
        drawing.attr(label=as_label(*title), fontsize="14", margin="12", peripheries="0", **CLEAR)
        row: list[str | None] = []
        for i in self.shown:
            part = self.parts[i]
            name, same, block = f"{self.prefix}{i}", self.same(i), self.block(i)
            inside = frame(f"{self.prefix}{block.start}", block.times) if block else graphviz.Digraph()
            if block and block.start == i and self.entered(block):
                inside.node(self.entry(block), group=self.prefix, **ENTRY)
                tail = self.tail(self.entered(block)[0])
                drawing.edge(tail, self.entry(block), arrowhead="none", weight="100")
            if part.weights:
                number = self.names.index(part.weights[0])
                look = look_of_layer(same, self.numbers, self.marks, scale)
                inside.node(name, id=f"{self.prefix}layer-{number}", group=self.prefix, **look)
                if len(same) > 1 and self.numbers is not None:
                    add_stripes(inside, name, values_of(same, self.numbers), scale)
                row += [name, *[None] * (len(same) - 1)]
            else:
                inside.node(name, group=self.prefix, **look_of_step(part, same))
            drawing.subgraph(inside)
            self.add_arrows(drawing, i)
        return row

    def add_arrows(self, drawing: graphviz.Digraph, i: int) -> None:
        """The arrows into one part; those that pass layers by stand out."""
        part, block, name = self.parts[i], self.block(i), f"{self.prefix}{i}"
        for number, (source, shape) in enumerate(zip(part.inputs, part.shapes, strict=True)):
            skips = number > 0 and part.depth - self.parts[source].depth > 1
            look = SKIPPING if skips else {"label": as_label(f" {shape}" if shape else ""), "weight": "100"}
            if block and source in self.entered(block):
                drawing.edge(self.entry(block), name, **look)
            else:
                drawing.edge(self.tail(source), name, **look)

    def tail(self, i: int) -> str:
        """What Graphviz calls the node from which the arrows out of part `i` go."""
        striped = len(self.same(i)) > 1 and self.parts[i].weights and self.numbers is not None
        return f"{self.prefix}{self.shown_for(i)}" + ("-stripes" if striped else "")

    def entered(self, block: Repeat) -> list[int]:
        """The part before a folded block to which several of its parts go back, if there is one.

        In the other repetitions they go back to the block before, so a skip is drawn within the frame: it passes a
        block by, not all of them.
        """
        first = range(block.start, block.start + block.period)
        before = [source for i in first for source in self.parts[i].inputs if source < block.start]
        return [source for source in dict.fromkeys(before) if before.count(source) > 1][:1]

    def entry(self, block: Repeat) -> str:
        """What Graphviz calls the point at which a folded block is entered."""
        return f"{self.prefix}{block.start}-in"


class Scale(NamedTuple):
    """Colours for numbers between `low` and `high`, both powers of ten."""

    low: float
    high: float

    def colour(self, number: float) -> str:
        """Viridis on a logarithmic scale; white for what has no logarithm."""
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        if not math.isfinite(number) or number <= 0:
            return "#ffffff"
        share = math.log(number / self.low) / math.log(self.high / self.low)
        return str(to_hex(colormaps["viridis"](min(max(share, 0.0), 1.0))))

    def swatches(self) -> list[float]:
        """Powers of ten for the legend, from `high` down to `low`."""
        decades = round(math.log10(self.high / self.low))
        return [*(self.high / 10.0**k for k in range(0, decades, -(-decades // 8))), self.low]

    def told(self, number: float, shown: Sequence[float]) -> str:
        """A number of the legend; at an end also that those of `shown` beyond it have the same colour."""
        beyond = number == self.low and any(0 < n < number for n in shown)
        above = number == self.high and any(n > number for n in shown)
        return f"{number:.0e}" + (" or less" if beyond else " or more" if above else "")


def scale_of(numbers: Sequence[float]) -> Scale:
    """A scale of whole decades that holds all numbers, down to the smallest that is told apart."""
    known = [n for n in numbers if math.isfinite(n) and n > 0] or [1e-8, 1.0]
    low = 10.0 ** math.floor(math.log10(max(min(known), SMALLEST)))
    high = 10.0 ** math.ceil(math.log10(max(*known, low * 10)))
    return Scale(low, high)


def canvas(title: str, columns: Sequence[Column]) -> graphviz.Digraph:
    """An empty picture for some networks, drawn from the inputs down."""
    drawing = Drawing(name=as_name(title), format="svg", node_attr=BOX, edge_attr=ARROW)
    drawing.attr("graph", rankdir="TB", newrank="true", ranksep="0.28", nodesep="0.35", pad="0.1")
    drawing.attr("graph", fontname="Helvetica", fontsize="12", bgcolor="#ffffff")
    if sum(len(column.shown) for column in columns) > MANY:
        drawing.attr("graph", nslimit="0.1")  # a thousand layers take 3 s instead of 27
    return drawing


def frame(name: str, times: int) -> graphviz.Digraph:
    """The frame around a block that repeats."""
    look = {"labeljust": "r", "style": "rounded,filled", "fillcolor": "#f7f7f7", "color": "#999999"}
    look |= {"fontsize": "14", "margin": "10", "peripheries": "1", "class": "block"}
    label = f"\N{MULTIPLICATION SIGN} {times}"
    return graphviz.Digraph(name=f"cluster_{name}", graph_attr={**look, "label": label})


def values_of(same: Sequence[Part], numbers: Mapping[str, float]) -> list[float]:
    """The numbers of the weights of some layers."""
    return [numbers[weight] for part in same for weight in part.weights]


def worst_of(values: Sequence[float]) -> float:
    """NaN if there is any, else the smallest."""
    return min(values, key=lambda n: -1.0 if math.isnan(n) else n)


def look_of_layer(
    same: Sequence[Part], numbers: Mapping[str, float] | None, wrong: Mapping[str, str], scale: Scale
) -> dict[str, str]:
    """Colour, outline and lines of a layer, or of those that one stands for."""
    name = [same[0].name] if len(same) == 1 else [same[0].name, " \N{HORIZONTAL ELLIPSIS} ", same[-1].name]
    look = {"class": "layer", "width": "1.9", "fillcolor": "#ffffff"}
    if numbers is None:
        return {**look, "label": as_label(name), "tooltip": as_tooltip("".join(name))}
    values = values_of(same, numbers)
    marks = [wrong[weight] for part in same for weight in part.weights if wrong.get(weight)]
    told = dict.fromkeys(marks)
    lines: list[str | list[str]]
    if len(values) == 1:
        fill = scale.colour(values[0])
        look |= {"fillcolor": fill, "fontcolor": ink_on(fill)}
        lines = [[*name, f"   {told_number(values[0])}"], *told]
    else:
        numeric = [n for n in values if not math.isnan(n)] or values
        lines = [name, f"{told_number(min(numeric))} to {told_number(max(numeric))}"]
        lines += [f"{marks.count(mark)} of {len(values)}: {mark}" for mark in told]
    if told:
        look |= outline_of(list(told))
    whole = [f"{w}: {numbers[w]:.3g}" for part in same[:40] for w in part.weights]
    return {**look, "label": as_label(*lines), "tooltip": as_tooltip(*whole)}


def outline_of(marks: Sequence[str]) -> dict[str, str]:
    """The outline of what is marked: dashed for numbers too small, red for those too large or none."""
    return MARKED if set(marks) <= {WORDS[VANISHING], WORDS[DEAD]} else WRONG


def add_stripes(drawing: graphviz.Digraph, name: str, values: Sequence[float], scale: Scale) -> None:
    """Under a folded layer a stripe for each layer it stands for, or for the worst of some."""
    size = layers_in_a_stripe(values)
    groups = [values[i : i + size] for i in range(0, len(values), size)]
    colours = ":".join(scale.colour(worst_of(group)) for group in groups)
    look = {"style": "striped", "fillcolor": colours, "label": "", "width": "1.9", "height": "0.28"}
    tooltip = (
        "a stripe for each layer, the first at the left"
        if size == 1
        else f"a stripe for the worst of {size} layers"
    )
    drawing.node(f"{name}-stripes", tooltip=tooltip, **look)
    drawing.edge(name, f"{name}-stripes", arrowhead="none", weight="100")


def layers_in_a_stripe(values: Sequence[object]) -> int:
    """How many of these layers share a stripe, so that there are not too many."""
    return -(-len(values) // STRIPES)


def told_number(number: float) -> str:
    """A number with two digits."""
    return f"{number:.1e}" if math.isfinite(number) and number else f"{number:g}"


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "#000000"


def look_of_step(part: Part, same: Sequence[Part]) -> dict[str, str]:
    """What stands between layers: small and grey."""
    whole = [node.name for p in same[:40] for node in p.nodes]
    plain = {"class": part.kind, "tooltip": as_tooltip(*whole), "fillcolor": GREY, "color": GREY}
    if part.kind == "join" and len(part.name) == 1:
        return {
            **plain,
            "label": part.name,
            "shape": "circle",
            "margin": "0",
            "width": "0.28",
            "fixedsize": "true",
        }
    label = part.name + (f" {part.shape}" if part.kind == "input" and part.shape else "")
    return {**plain, "label": as_label(label), "fontsize": "10", "height": "0.22", "fontcolor": "#333333"}


def align(drawing: graphviz.Digraph, rows: Sequence[Sequence[str | None]]) -> None:
    """Layers that are equally many from the input stand in one row."""
    for row in zip_longest(*rows):
        with drawing.subgraph() as same:
            same.attr(rank="same")
            for name in filter(None, row):
                same.node(name)
