"""What the site has beside its pages: reference, notebooks to download, the other language's link."""

from __future__ import annotations

import html
import re
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import reference
from myst_nb.core.read import read_myst_markdown_notebook

HERE = Path(__file__).parents[1]
LANGUAGES = {"lesson": ("en", "zh", "繁體中文"), "zh": ("zh-Hant-TW", "lesson", "English")}
FOLDERS = ("lesson", "zh", "howto")
PACKAGE = ("tinygrad_lesson", "pyproject.toml", "README.md", "LICENSE")


BROKEN = re.compile(
    r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])"
)  # Chinese has no spaces
DRAWING = re.compile(r'<img [^>]*src="[^"]*_images/(\w+\.svg)"[^>]*>')


def is_notebook(page: Path) -> bool:
    """Whether a page has cells of code."""
    return page.exists() and "\n```{code-cell}" in page.read_text("utf-8")


def heading(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """A line above a page of the lesson: the same in the other language, and as a notebook."""
    folder, _, name = pagename.partition("/")
    language, other, called = LANGUAGES.get(folder, ("en", "", ""))
    context["language"] = language
    if not name or "body" not in context:
        return
    context["body"] = DRAWING.sub(lambda found: drawing(app, found), context["body"])
    context["body"] = BROKEN.sub("", context["body"])
    links = []
    if other:
        target = context["pathto"](f"{other}/{name}")
        links.append(f'<a href="{html.escape(target)}" hreflang="{LANGUAGES[other][0]}">{called}</a>')
    if is_notebook(HERE / f"{pagename}.md"):
        target = f"../notebooks/{folder}/{name}.ipynb"
        links.append(f'<a href="{target}" download>{"筆記本" if folder == "zh" else "notebook"} (.ipynb)</a>')
    if links:
        context["body"] = f'<p class="page-line">{" · ".join(links)}</p>\n{context["body"]}'


def drawing(app: Any, found: re.Match[str]) -> str:
    """A drawn graph as a part of the page, so that its colours are those of the page, by day and by night."""
    for source, name in app.builder.images.items():
        if name == found[1]:
            text = (Path(app.srcdir) / source).read_text("utf-8")
            return text[text.index("<svg") :]
    return found[0]


def write_notebooks(app: Any, error: Exception | None) -> None:
    """Each page with code as a notebook, not yet run, and the package as an archive that pip installs."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir) / "notebooks"
    for folder in FOLDERS:
        for page in sorted((HERE / folder).glob("*.md")):
            if is_notebook(page):
                notebook = read_myst_markdown_notebook(page.read_text("utf-8"))
                (out / folder).mkdir(parents=True, exist_ok=True)
                nbformat.write(notebook, out / folder / f"{page.stem}.ipynb")
    write_package(out / "tinygrad_lesson.zip")


def write_package(target: Path) -> None:
    """The package's sources, packed: `pip install tinygrad_lesson.zip`."""
    root = HERE.parent
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in PACKAGE:
            path = root / name
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and file.suffix != ".pyc":
                    archive.write(file, f"tinygrad_lesson/{file.relative_to(root)}")


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx."""
    app.connect("builder-inited", lambda app: reference.write())
    app.connect("html-page-context", heading)
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
