"""The pages for readers: their code runs and prints what they say, and their links lead somewhere."""

import contextlib
import doctest
import io
import re
import subprocess
import sys
import tomllib
from itertools import chain
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
def test_code_prints_what_the_page_says(page, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if page.name == "gpu.md":
        request.getfixturevalue("xp")
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):  # a page may declare an op
        run(page)


def run(page):
    """Run the blocks of code in turn, as one program, and compare what each prints."""
    for line, block, printed in outputs(page):
        expected = block["printed"] or ""
        same = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
        assert same, f"{name_of(page)}, line {line} prints\n{printed}instead of\n{expected}"


def outputs(page):
    """Line, block and what it prints, for each block of code in turn."""
    text = page.read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        line = text[: block.start()].count("\n") + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + block["code"], name_of(page), "exec"), names)
        yield line, block, printed.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/gradient_checks.md"])
def test_pages_for_learners_have_code_that_is_run(page):
    blocks = list(BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")))
    assert sum(block["printed"] is not None for block in blocks) >= 3


def test_the_page_of_dependencies_declares_what_pyproject_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?([^\s;]*).*", text).groups() for text in wanted]
    lines = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    missing = [
        f"{name} {bounds}"
        for name, bounds in declared
        if bounds and not any(name in line and f"`{bounds}`" in line for line in table)
    ]
    assert missing == []


def test_the_oldest_versions_are_read_off_pyproject():
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "lowest.py"], capture_output=True, text=True, check=True
    )
    oldest = dict(line.split("==") for line in done.stdout.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in chain(project["dependencies"], project["optional-dependencies"]["test"]):
        name = re.match(r"[\w-]+", text)[0]
        assert f">={oldest[name]}" in text


def write(page):
    """Put what the blocks of a page print now under them; paths and last digits of this machine become `...`."""
    text, written, end = page.read_text(encoding="utf-8"), [], 0
    for _, block, printed in outputs(page):
        if block["printed"] is not None:
            plain = re.sub(
                r"/\S*tinygrad_lesson/\S+|(?<=at most )\S+|(?<= ± )\S+|(?<=\.md:)\d+", "...", printed
            )
            written += [text[end : block.start("printed")], plain]
            end = block.end("printed")
    page.write_text("".join([*written, text[end:]]), encoding="utf-8")


if __name__ == "__main__":  # python tests/test_docs.py docs/gradient_checks.md, then read what changed
    for name in sys.argv[1:]:
        write(ROOT / name)
