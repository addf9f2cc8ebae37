"""How Sphinx makes the site: `make docs`, which writes it to `docs/_build/html`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import tinygrad_lesson

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "tools"))
import laboratory  # noqa: E402
import stamp  # noqa: E402

project = "tinygrad_lesson"
author = "the authors of tinygrad_lesson"
project_copyright = "the authors of tinygrad_lesson"
version = release = tinygrad_lesson.__version__
language = "en"

extensions = ["myst_nb", "formulas", "site_parts"]
exclude_patterns = ["_build", "tools"]
html_theme = "furo"
html_title = "tinygrad_lesson"
html_static_path = ["style"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False

myst_enable_extensions = ["dollarmath", "substitution"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

EXTRA = HERE / "_build" / "extra"
html_extra_path = [str(EXTRA)]
made = laboratory.write(EXTRA / "laboratory.html")
LINK = '<a href="{}laboratory.html">{}</a>'
myst_substitutions = {  # beside the lesson, in both languages; nothing where there is no laboratory
    "laboratory": LINK.format("../", "Try it yourself in the laboratory") + "." if made else "",
    "laboratory_zh": LINK.format("../", "到實驗室自己試試看") + "。" if made else "",
    "laboratory_home": LINK.format("", "the laboratory") if made else "`make lesson`",
}

# What a notebook prints is kept beside the site, until its code or the package changes.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "executed" / stamp.of_package())
nb_execution_timeout = 120
nb_execution_raise_on_error = True
logging.getLogger("traitlets").setLevel(logging.WARNING)  # it tells of each page that is run
nb_merge_streams = True
