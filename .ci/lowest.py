"""Print the oldest version of each package that pyproject.toml admits, as constraints for pip.

python .ci/lowest.py
"""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?>=(?P<version>[\w.]+)(?:[,;]|$)")


def lowest(project: dict) -> list[str]:
    """`name==version` for what the project needs, and for its extras, those that name the project itself aside."""
    extras = chain.from_iterable(project["optional-dependencies"].values())
    wanted = [text for text in (*project["dependencies"], *extras) if not text.startswith(project["name"])]
    found = {text: REQUIREMENT.match(text) for text in wanted}
    if unbounded := [text for text, match in found.items() if match is None]:
        raise SystemExit(f"pyproject.toml: no lower bound in {', '.join(unbounded)}; write `name>=version`")
    return [f"{match['name']}=={match['version']}" for match in found.values()]


if __name__ == "__main__":
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    print("\n".join(lowest(tomllib.loads(text)["project"])))
