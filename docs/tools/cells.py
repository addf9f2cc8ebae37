"""The cells of code of a page: the Chinese pages have those of the English ones.

python docs/tools/cells.py      puts the English cells into the Chinese pages, in their order
"""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
CELL = re.compile(r"^```\{code-cell\}.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"\A```\{code-cell\}[^\n]*\n(?::[^\n]*\n)*\n?(.*?)^```\Z", re.MULTILINE | re.DOTALL)


def cells(text: str) -> list[str]:
    """Each cell of a page as it stands there, fences and tags included."""
    return CELL.findall(text)


def programs(text: str) -> list[str]:
    """The code of each cell."""
    return [CODE.match(cell)[1] for cell in cells(text)]  # type: ignore[index]


def with_cells(text: str, wanted: list[str]) -> str:
    """The page with other cells in the places of its own.

    Errors
        ValueError if it has more or fewer.
    """
    found = len(cells(text))
    if found != len(wanted):
        raise ValueError(f"it has {found} cells, expected {len(wanted)}")
    rest = iter(wanted)
    return CELL.sub(lambda _: next(rest), text)


def pairs() -> list[tuple[Path, Path]]:
    """Each page of the lesson in English and in Chinese."""
    return [(page, DOCS / "zh" / page.name) for page in sorted((DOCS / "lesson").glob("*.md"))]


if __name__ == "__main__":
    for english, chinese in pairs():
        old = chinese.read_text("utf-8")
        new = with_cells(old, cells(english.read_text("utf-8")))
        if new != old:
            chinese.write_text(new, "utf-8")
            print(chinese)
