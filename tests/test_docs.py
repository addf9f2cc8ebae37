"""The pages for readers: their code runs and prints what they say, and their links lead somewhere."""

import contextlib
import doctest
import io
import re
from pathlib import Path
from unittest import mock

import pytest

from tinygrad_lesson.op import FUNCTIONS, OPS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    ROOT.glob("docs/*.md")
)
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\s*^```text\n(?P<printed>.*?)^```)?", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"(?:\]\(|src=\")(?!https?://)([^)#\"]+)")


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):  # a page may declare an op
        run(page)


def run(page):
    """Run the blocks of code in turn, as one program, and compare what each prints."""
    text = page.read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        line = text[: block.start()].count("\n") + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + block["code"], name_of(page), "exec"), names)
        expected = block["printed"] or ""
        same = doctest.OutputChecker().check_output(expected, printed.getvalue(), doctest.ELLIPSIS)
        assert same, f"{name_of(page)}, line {line} prints\n{printed.getvalue()}instead of\n{expected}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/gradient_checks.md"])
def test_pages_for_learners_have_code_that_is_run(page):
    blocks = list(BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")))
    assert sum(block["printed"] is not None for block in blocks) >= 3
