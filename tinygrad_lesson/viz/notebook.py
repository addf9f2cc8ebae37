"""What a notebook shows of a symbol, a tensor with a graph, and a plan: a picture, or why there is none."""

from __future__ import annotations

import html
from typing import Any

from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.graph import ancestors
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.viz.draw import draw
from tinygrad_lesson.viz.render import MISSING, render_svg

LARGEST = 20_000  # nodes of a graph that is drawn unasked
PATIENCE = 5.0  # seconds


def bundle(x: Any) -> dict[str, str]:
    """The forms of `x` by MIME type; text alone where there is nothing to draw, or nothing that draws."""
    forms = {"text/plain": str(x) if not isinstance(x, Tensor | Symbol) else repr(x)}
    if isinstance(x, Tensor) and (x.node is None or x.node.is_variable):
        return forms
    heads = [x] if isinstance(x, Tensor) else getattr(x, "heads", ())
    count = len(ancestors([edge.node for edge in heads]))  # type: ignore[misc]
    svg, reason = None, f"the graph has {count} nodes; viz.draw(x) draws it" if count > LARGEST else MISSING
    if count <= LARGEST:
        try:
            svg = render_svg(draw(x), PATIENCE)
        except LessonError as error:
            reason = str(error)
    if svg is None:
        told = html.escape(f"{forms['text/plain']}\n({reason})")
        return {**forms, "text/html": f"<pre>{told}</pre>"}
    told = f"<pre>{html.escape(forms['text/plain'])}</pre>" if isinstance(x, Tensor) else ""
    return {**forms, "image/svg+xml": svg, "text/html": f"<div>{told}{svg}</div>"}
