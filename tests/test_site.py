"""The site: its pages' code runs, both languages have the same, and Sphinx builds it without a warning."""

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest import mock

import matplotlib
import numpy as np
import pytest

from tinygrad_lesson.lesson.networks import NETWORKS
from tinygrad_lesson.op import FUNCTIONS, OPS

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS / "tools"))
import cells  # noqa: E402

PAGES = sorted(page for folder in ("lesson", "howto") for page in (DOCS / folder).glob("*.md"))
WITH_CODE = [page for page in PAGES if cells.cells(page.read_text("utf-8"))]
NEEDED = ("sphinx", "myst_nb", "furo", "ipykernel")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize(
    ("english", "chinese"), cells.pairs(), ids=lambda page: f"{page.parent.name}-{page.stem}"
)
def test_both_languages_have_the_same_code_and_formulas(english, chinese):
    ours, theirs = english.read_text("utf-8"), chinese.read_text("utf-8")
    assert cells.cells(theirs) == cells.cells(ours)
    formulas = re.compile(r"^\$\$\n.*?^\$\$$", re.MULTILINE | re.DOTALL)
    assert formulas.findall(theirs) == formulas.findall(ours)
    assert theirs.count("\n## ") == ours.count("\n## ")


def test_the_lesson_has_ten_pages_and_each_begins_by_installing_what_is_missing():
    lesson = [page for page in WITH_CODE if page.parent.name == "lesson"]
    assert len(lesson) == 10
    assert len({cells.programs(page.read_text("utf-8"))[0] for page in WITH_CODE}) == 1


CALLS_IN_R = """
    mx.cpu mx.exec.backward mx.exec.forward mx.exec.update.arg.arrays mx.exec.update.aux.arrays mx.nd.array mx.opt.create
    mx.opt.get.updater mx.set.seed mx.simple.bind mx.symbol.Activation mx.symbol.BatchNorm mx.symbol.FullyConnected
    mx.symbol.LeakyReLU mx.symbol.MakeLoss mx.symbol.Variable mx.symbol.broadcast_mul mx.symbol.broadcast_plus
    mx.symbol.concat mx.symbol.log mx.symbol.mean mx.symbol.softmax mx.init.uniform mx.model.extract.model mx.model.init.params
"""  # all that the lesson uses


def test_every_call_of_the_lesson_in_r_has_its_line():
    lines = (DOCS / "howto" / "mxnet_r.md").read_text("utf-8").splitlines()
    first = " ".join(line.split(" | ")[0] for line in lines if line.startswith("| "))
    assert [name for name in CALLS_IN_R.split() if f"{name}(" not in first] == []


TABLES = {
    "vanishing": ("mlp4", "mlp8"),
    "batch_norm": ("bn8", "bn25"),
    "residual": ("res6", "res25"),
    "dense": ("dense6",),
}
ROWS = {
    "batch_norm": ("bn8",),
    "residual": ("res6",),
    "dense": ("dense6",),
    "by_hand": ("bn8", "res6", "dense6"),
}


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_the_code_of_a_page_runs_and_prints_the_lessons_numbers_beside_ours(
    page, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names = {"__name__": "__main__"}
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):  # a page may declare an op
        for code in cells.programs(page.read_text("utf-8"))[1:]:
            exec(compile(code, page.name, "exec"), names)
    said = capsys.readouterr().out
    for name in TABLES.get(page.stem, ()):
        for row in NETWORKS[name].confusion:  # at the right of each line
            assert re.search(rf"^\d.*\b{r' +'.join(map(str, row))} *$", said, re.MULTILINE)
    for name in ROWS.get(page.stem, ()):
        assert f"in the lesson {np.array(NETWORKS[name].first_row)}" in said


@pytest.mark.parametrize("index", [DOCS / "lesson" / "index.md", DOCS / "zh" / "index.md"], ids=str)
def test_every_section_of_the_lesson_has_its_page(index):
    rows = [line for line in index.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 12
    led = {re.search(r"\]\((.*)\.md\)", row)[1] for row in rows}
    assert led == {page.stem for page in (DOCS / "lesson").glob("*.md")} - {"index"} | {"../howto/mxnet_r"}


@pytest.mark.skipif(bool(MISSING), reason=f"make docs installs what is missing: {', '.join(MISSING)}")
def test_sphinx_builds_the_site_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", str(tmp_path / "read")]
    command += [
        "-D",
        "nb_execution_mode=off",
        "-D",
        "suppress_warnings=myst-nb.lexer",
    ]  # which comes with execution
    command += [str(DOCS), str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    page = (tmp_path / "site" / "zh" / "why.html").read_text("utf-8")
    for part in (
        "<math",
        'lang="zh-Hant-TW"',
        'href="../lesson/why.html"',
        'href="../notebooks/zh/why.ipynb"',
    ):
        assert part in page
    assert '<script src="http' not in page  # it works without a network
    notebook = json.loads((tmp_path / "site" / "notebooks" / "zh" / "why.ipynb").read_text("utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code == [text.strip() for text in cells.programs((DOCS / "zh" / "why.md").read_text("utf-8"))]
    with zipfile.ZipFile(tmp_path / "site" / "notebooks" / "tinygrad_lesson.zip") as archive:
        assert {"tinygrad_lesson/pyproject.toml", "tinygrad_lesson/tinygrad_lesson/lesson/iris.csv"} <= set(
            archive.namelist()
        )
