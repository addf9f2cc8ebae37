"""Loops and choices as lines of a program: what a step does, indented, as Python writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.engine.graph import ancestors
from tinygrad_lesson.engine.interpret import interpret
from tinygrad_lesson.plan import Builder, Passes
from tinygrad_lesson.viz.boxes import Known
from tinygrad_lesson.viz.printer import Word, literal

INDENT = "    "


def inside(writer: Any, body: Any, words: Sequence[Word], results: Any) -> None:
    """The lines of a body on such inputs, indented; `results` makes the last ones of its results."""
    builder = Builder(Passes())
    for leaf, x in (*body.leaves, *body.constants):
        builder.leaf(leaf, x.shape, x.dtype)
    heads = builder.graph(body.heads)
    order = ancestors([edge.node for edge in heads])
    dtypes = {edge: dtype for edge, dtype in builder.dtypes.items() if dtype is not None}
    around = writer.known, writer.users, writer.body
    writer.known = Known(builder.shapes, dtypes, {}, {})
    writer.users, writer.body = Counter(edge.node for node in order for edge in node.inputs), []
    writer.values.update({leaf: (word,) for (leaf, _), word in zip(body.leaves, words, strict=True)})
    writer.values.update({leaf: (Word(literal(x)),) for leaf, x in body.constants})
    interpret(writer, order)
    lines = [*writer.body, *results([writer.read(edge) for edge in heads])]
    writer.known, writer.users, writer.body = around
    writer.body += [f"{INDENT}{line}" for line in lines]


def together(words: Sequence[Word]) -> str:
    """Several with commas between."""
    return ", ".join([word.text for word in words])


def loop(writer: Any, op: Any, inputs: Sequence[Word]) -> list[Word]:
    """The lines of a `Scan`, and the names of its results."""
    seen, first, xs = op.parts(inputs)
    free = writer.printer.free_name
    states = [Word(free("state")) for _ in first]
    rows = [Word(free("rows")) for _ in op.body.results[op.carried :]]
    if states:
        writer.body.append(f"{together(states)} = {together(first)}")
    for row, (shape, dtype) in zip(rows, op.body.results[op.carried :], strict=True):
        writer.body.append(f"{row.text} = np.empty({(op.length, *shape)}, np.{dtype})")
    i, back = free("i"), "[::-1]" if op.reverse else ""
    writer.body.append(f"for {i} in range({op.length}){back}:")

    def results(found: Sequence[Word]) -> list[str]:
        pairs = zip(rows, found[op.carried :], strict=True)
        lines = [f"{row.text}[{i}] = {word.text}" for row, word in pairs]
        return lines + ([f"{together(states)} = {together(found[: op.carried])}"] if states else [])

    inside(writer, op.body, [*seen, *states, *[Word(f"{x.text}[{i}]") for x in xs]], results)
    return [*states, *rows]


def choice(writer: Any, op: Any, inputs: Sequence[Word]) -> list[Word]:
    """The lines of a `Cond`, and the names of its results."""
    names = [Word(writer.printer.free_name("chosen")) for _ in op.true.results]
    for head, body in ((f"if {inputs[0].text}:", op.true), ("else:", op.false)):
        writer.body.append(head)
        inside(writer, body, inputs[1:], lambda found: [f"{together(names)} = {together(found)}"])
    return names


LINES = {"scan": loop, "cond": choice}


def lines_of(writer: Any, node: Any, inputs: Sequence[Word]) -> tuple[Word, ...]:
    """The lines of a node whose op holds plans of its own; expressions among its inputs get names first."""
    op, named = node.op, []
    for word in inputs:
        if word.signed or not word.text.replace("_", "").isalnum():
            word = writer.printer.line("t", word.text)
            writer.body.append(writer.printer.lines[-1])
        named.append(word)
    return tuple(LINES[op.plans()[0]](writer, op, named))
